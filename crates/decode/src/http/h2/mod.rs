//! HTTP/2 (RFC 9113), as an observer of one connection sees it.
//!
//! Each direction is a sequence of frames; what belongs together is told by stream. Watching may begin
//! at any byte: the reader searches for the next frame, and header fields that refer to what was sent
//! before are marked as unknown. Pushed responses are passed over, but their header blocks are read, as
//! later ones refer to them.

mod block;
mod fields;
mod frame;
mod hpack;
mod stream;

use std::collections::{BTreeMap, VecDeque};

use agentsight_model::{Direction, KTime};

use super::h1::opposite;
use super::message::{Exchange, Flaw, Message};
use super::{Fault, Limits};
use block::{Blocks, Head};
use fields::Role;
use frame::{FrameReader, Header, Piece, kind};
pub(super) use frame::{PREFACE, guess, hunter};
use stream::{Half, Stream};

/// Ids of streams that ended are remembered, so that late frames do not begin them anew.
const REMEMBERED_STREAMS: usize = 256;

/// Decoder of one connection.
pub(super) struct Http2 {
    limits: Limits,
    scheme: &'static str,
    sent: Side,
    received: Side,
    /// Known once the client's preface or a header block was read.
    requests_from: Option<Direction>,
    streams: BTreeMap<u32, Stream>,
    ended: VecDeque<u32>,
    /// Whether streams may have begun unseen.
    entered: bool,
    held_bytes: usize,
    skipped_bytes: u64,
    fault: Option<Fault>,
}

/// One direction.
struct Side {
    frames: FrameReader,
    blocks: Blocks,
}

impl Side {
    fn new(seen: &[u8], limits: Limits) -> Self {
        Self {
            frames: FrameReader::new(seen, limits.head_bytes),
            blocks: Blocks::new(limits.head_bytes),
        }
    }

    fn held_bytes(&self) -> usize {
        let frames = self.frames.held_bytes();
        frames.saturating_add(self.blocks.held_bytes())
    }
}

impl Http2 {
    /// A decoder of both directions from where watching began.
    pub(super) fn new(limits: Limits, scheme: &'static str) -> Self {
        Self {
            limits,
            scheme,
            sent: Side::new(&[], limits),
            received: Side::new(&[], limits),
            requests_from: None,
            streams: BTreeMap::new(),
            ended: VecDeque::new(),
            entered: true,
            held_bytes: 0,
            skipped_bytes: 0,
            fault: None,
        }
    }

    /// A decoder for a connection whose client sent the first bytes of its preface already.
    pub(super) fn after_preface(
        limits: Limits,
        scheme: &'static str,
        client: Direction,
        seen: &[u8],
    ) -> Self {
        let mut http2 = Self::new(limits, scheme);
        *http2.side(client) = Side::new(seen, limits);
        http2
    }

    /// A decoder for a connection that was switched over; the response to `request` is on stream 1.
    pub(super) fn upgraded(
        limits: Limits,
        scheme: &'static str,
        client: Direction,
        request: Option<Message>,
    ) -> Self {
        let mut http2 = Self::new(limits, scheme);
        http2.requests_from = Some(client);
        http2.entered = false;
        if let Some(request) = request {
            let mut stream = Stream::default();
            *stream.half(client) = Half::Done(Box::new(request));
            http2.streams.insert(1, stream);
        }
        http2
    }

    /// Bytes that belong to no message.
    pub(super) fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
            .saturating_add(self.sent.frames.skipped_bytes)
            .saturating_add(self.received.frames.skipped_bytes)
    }

    /// The first thing that went wrong.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Bytes of bodies, header blocks and tables held in memory.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.held_bytes
            .saturating_add(self.sent.held_bytes())
            .saturating_add(self.received.held_bytes())
    }

    /// Takes bytes.
    pub(super) fn push(
        &mut self,
        direction: Direction,
        time: KTime,
        bytes: &[u8],
        out: &mut Vec<Exchange>,
    ) {
        let mut rest = bytes;
        let mut found = self.read(direction, time, &mut rest, out);
        loop {
            // What a search found comes before the rest, and may itself lead to a search.
            while let Some(bytes) = found {
                let mut again = bytes.as_slice();
                found = self.read(direction, time, &mut again, out);
                if let Some(found) = &mut found {
                    found.extend_from_slice(again);
                }
            }
            if rest.is_empty() {
                return;
            }
            found = self.read(direction, time, &mut rest, out);
        }
    }

    /// Leaves out `missing` bytes that were not captured.
    pub(super) fn hole(
        &mut self,
        direction: Direction,
        time: KTime,
        missing: u64,
        out: &mut Vec<Exchange>,
    ) {
        let stream = self.side(direction).frames.data_stream();
        if self.side(direction).frames.hole(missing) {
            if let Some(stream) = stream {
                self.note_gap(direction, stream);
            }
            self.push(direction, time, &[], out);
        } else {
            self.lose(direction);
        }
    }

    /// Ends the connection: what is unfinished comes out as far as it was seen.
    pub(super) fn finish(&mut self, time: KTime, out: &mut Vec<Exchange>) {
        for direction in [Direction::Sent, Direction::Received] {
            while let Some(found) = self.side(direction).frames.finish() {
                self.push(direction, time, &found, out);
            }
        }
        while let Some((&id, _)) = self.streams.first_key_value() {
            self.end_stream(id, time, out);
        }
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }

    /// Reads until the input ends, or a search found bytes that come before it.
    fn read(
        &mut self,
        direction: Direction,
        time: KTime,
        input: &mut &[u8],
        out: &mut Vec<Exchange>,
    ) -> Option<Vec<u8>> {
        while let Some(piece) = self.side(direction).frames.next(input, time) {
            match piece {
                Piece::Found(bytes) => return Some(bytes),
                Piece::Preface => {
                    self.requests_from = Some(direction);
                    self.entered = false;
                }
                Piece::Lost(bytes) => {
                    self.lose(direction);
                    return Some(bytes);
                }
                Piece::Data {
                    stream,
                    bytes,
                    last,
                } => self.data(direction, time, stream, bytes, last, out),
                Piece::Frame {
                    header,
                    payload,
                    started,
                } => self.frame(direction, (started, time), header, Some(&payload), out),
                Piece::Skipped { header, started } => {
                    self.frame(direction, (started, time), header, None, out);
                }
            }
        }
        None
    }

    /// Falls out of step with one direction.
    fn lose(&mut self, direction: Direction) {
        self.fault.get_or_insert(Fault::OutOfStep);
        self.entered = true;
        self.side(direction).blocks.lose();
        for stream in self.streams.values_mut() {
            stream.half(direction).gap();
        }
    }

    fn note_gap(&mut self, direction: Direction, stream: u32) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.half(direction).gap();
        }
    }

    /// Takes a frame; `None` if its payload was not read.
    fn frame(
        &mut self,
        direction: Direction,
        (started, time): (KTime, KTime),
        header: Header,
        payload: Option<&[u8]>,
        out: &mut Vec<Exchange>,
    ) {
        let blocks = &mut self.side(direction).blocks;
        let head = match header.kind {
            kind::HEADERS | kind::PUSH_PROMISE => blocks.begin(header, payload, started),
            kind::CONTINUATION => blocks.go_on(header, payload),
            kind::RST_STREAM => return self.end_stream(header.stream, time, out),
            kind::GOAWAY => return self.go_away(direction, time, payload.unwrap_or_default(), out),
            _ => return,
        };
        if let Some(head) = head {
            self.head(direction, time, head, out);
        }
    }

    /// Takes what a header block says.
    fn head(&mut self, direction: Direction, time: KTime, head: Head, out: &mut Vec<Exchange>) {
        self.entered |= head.is_broken;
        if head.is_malformed {
            self.fault.get_or_insert(Fault::BrokenFields);
        }
        if head.is_pushed {
            return;
        }
        if self.requests_from.is_none()
            && let Some(role) = head.fields.role()
        {
            let client = match role {
                Role::Request => direction,
                Role::Response => opposite(direction),
            };
            self.requests_from = Some(client);
            self.end_lone_responses(client, time, out);
        }
        let (stream, ends_stream) = (head.stream, head.ends_stream);
        self.begin_or_end(direction, time, head, out);
        if ends_stream {
            self.end_half(direction, stream, time, None, out);
        }
    }

    fn role(&self, direction: Direction) -> Option<Role> {
        let requests_from = self.requests_from?;
        Some(if requests_from == direction {
            Role::Request
        } else {
            Role::Response
        })
    }

    /// Takes the fields that begin a message, or stand at its end.
    fn begin_or_end(
        &mut self,
        direction: Direction,
        time: KTime,
        Head {
            stream: id,
            started,
            fields,
            ..
        }: Head,
        out: &mut Vec<Exchange>,
    ) {
        let role = self.role(direction);
        if !self.has_stream(id, role == Some(Role::Request), time, out) {
            return;
        }
        let (limits, held) = (self.limits, self.buffered_bytes());
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let before = stream.held_bytes();
        match stream.half(direction) {
            Half::Idle if fields.is_interim() => {}
            half @ Half::Idle => {
                *half = Half::open(fields.into_message(role, started), limits, held);
            }
            Half::Open(open) => open.message.trailers = fields.into_trailers(),
            Half::Done(_) => {}
        }
        let after = stream.held_bytes();
        self.note_held(before, after);
    }

    fn note_held(&mut self, before: usize, after: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(before).saturating_add(after);
    }

    /// Takes bytes of a body.
    fn data(
        &mut self,
        direction: Direction,
        time: KTime,
        id: u32,
        bytes: &[u8],
        last: bool,
        out: &mut Vec<Exchange>,
    ) {
        let known = !id.is_multiple_of(2) && self.has_stream(id, false, time, out);
        let (limits, held) = (self.limits, self.buffered_bytes());
        let Some(stream) = self.streams.get_mut(&id).filter(|_| known) else {
            self.skipped_bytes = self.skipped_bytes.saturating_add(bytes.len() as u64);
            return;
        };
        let half = stream.half(direction);
        if matches!(half, Half::Idle) {
            // The message began before watching did, or where bytes were lost.
            let message = Message {
                started: time,
                ..Message::default()
            };
            *half = Half::open(message, limits, held);
            half.gap();
        }
        let before = half.held_bytes();
        half.push(bytes, time, held >= limits.connection_bytes);
        let after = half.held_bytes();
        self.note_held(before, after);
        if last {
            self.end_half(direction, id, time, None, out);
        }
    }

    /// Whether there is a stream of that number, or can be one now.
    fn has_stream(
        &mut self,
        id: u32,
        is_request: bool,
        time: KTime,
        out: &mut Vec<Exchange>,
    ) -> bool {
        if self.streams.contains_key(&id) {
            return true;
        }
        let may_begin = is_request || self.entered || self.requests_from.is_none();
        if !may_begin || self.ended.contains(&id) {
            return false;
        }
        while self.streams.len() >= self.limits.pending_requests {
            self.fault.get_or_insert(Fault::TooManyPending);
            let Some((&oldest, _)) = self.streams.first_key_value() else {
                break;
            };
            self.end_stream(oldest, time, out);
        }
        self.streams.insert(id, Stream::default());
        true
    }

    fn go_away(
        &mut self,
        direction: Direction,
        time: KTime,
        payload: &[u8],
        out: &mut Vec<Exchange>,
    ) {
        let Some(bytes) = payload.first_chunk().copied() else {
            return;
        };
        if self.role(direction) != Some(Role::Response) {
            return;
        }
        // Requests after the last one that the server says it looked at get no answer.
        let last = u32::from_be_bytes(bytes) & (u32::MAX >> 1);
        while let Some((&id, _)) = self.streams.last_key_value() {
            if id <= last {
                return;
            }
            self.end_stream(id, time, out);
        }
    }

    fn end_half(
        &mut self,
        direction: Direction,
        id: u32,
        time: KTime,
        flaw: Option<Flaw>,
        out: &mut Vec<Exchange>,
    ) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let before = stream.held_bytes();
        stream.half(direction).end(time, flaw);
        let after = stream.held_bytes();
        let is_response = self.requests_from == Some(opposite(direction));
        let whole = match stream.half(opposite(direction)) {
            Half::Done(_) => true,
            // A response whose request was not seen.
            Half::Idle => is_response,
            Half::Open(_) => false,
        };
        let whole = whole && matches!(stream.half(direction), Half::Done(_));
        self.note_held(before, after);
        if whole {
            self.end_stream(id, time, out);
        }
    }

    /// Puts out what turns out to be responses whose requests were not seen.
    fn end_lone_responses(&mut self, client: Direction, time: KTime, out: &mut Vec<Exchange>) {
        let streams = self.streams.iter_mut();
        let lone = streams.filter_map(|(&id, stream)| {
            let ended = matches!(stream.half(opposite(client)), Half::Done(_));
            (ended && matches!(stream.half(client), Half::Idle)).then_some(id)
        });
        for id in lone.collect::<Vec<_>>() {
            self.end_stream(id, time, out);
        }
    }

    /// Ends a stream and puts out what there is of it.
    fn end_stream(&mut self, id: u32, time: KTime, out: &mut Vec<Exchange>) {
        let Some(mut stream) = self.streams.remove(&id) else {
            return;
        };
        if self.ended.len() >= REMEMBERED_STREAMS {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
        self.held_bytes = self.held_bytes.saturating_sub(stream.held_bytes());
        let client = self.requests_from.unwrap_or(Direction::Sent);
        let request = stream.half(client).take(time);
        let response = stream.half(opposite(client)).take(time);
        if request.is_none() && response.is_none() {
            return;
        }
        out.push(Exchange {
            transport: "h2",
            scheme: self.scheme,
            requests_from: client,
            request: request.unwrap_or_default(),
            response,
        });
    }
}
