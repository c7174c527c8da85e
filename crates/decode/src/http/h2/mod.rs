//! HTTP/2 (RFC 9113), as an observer of one connection sees it.
//!
//! Each direction is a sequence of frames; what belongs together is told by stream. Watching may begin
//! at any byte: the reader searches for the next frame, and header fields that refer to what was sent
//! before are marked as unknown. Pushed responses are passed over, but their header blocks are read, as
//! later ones refer to them.

mod fields;
mod frame;
mod hpack;
mod stream;

use std::collections::{BTreeMap, VecDeque};

use agentsight_model::{Direction, KTime};

use super::h1::opposite;
use super::message::{Exchange, Flaw, Message};
use super::{Fault, Limits};
use fields::{Fields, Role};
use frame::{FrameReader, Header, Piece, flag, kind};
pub(super) use frame::{PREFACE, guess};
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
    fields: hpack::Decoder,
    block: Option<Block>,
}

/// A header block that goes on in the next frame.
struct Block {
    stream: u32,
    /// Whether it belongs to a response that the server pushes.
    promised: bool,
    ends_stream: bool,
    started: KTime,
    bytes: Vec<u8>,
    /// Whether parts of it are missing.
    broken: bool,
}

impl Side {
    fn new(seen: &[u8], limits: Limits) -> Self {
        Self {
            frames: FrameReader::new(seen, limits.head_bytes),
            fields: hpack::Decoder::new(),
            block: None,
        }
    }

    fn held_bytes(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |block| block.bytes.len());
        self.frames
            .held_bytes()
            .saturating_add(self.fields.held_bytes())
            .saturating_add(block)
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
                Piece::Lost => self.lose(direction),
                Piece::Data {
                    stream,
                    bytes,
                    last,
                } => self.data(direction, time, stream, bytes, last, out),
                Piece::Frame {
                    header,
                    payload,
                    started,
                } => self.frame(direction, (started, time), header, payload, out),
                Piece::Skipped { header, started } => {
                    self.skipped(direction, (started, time), header, out);
                }
            }
        }
        None
    }

    /// Falls out of step with one direction.
    fn lose(&mut self, direction: Direction) {
        self.fault.get_or_insert(Fault::OutOfStep);
        self.entered = true;
        let side = self.side(direction);
        side.block = None;
        side.fields.forget();
        for stream in self.streams.values_mut() {
            stream.half(direction).gap();
        }
    }

    fn note_gap(&mut self, direction: Direction, stream: u32) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.half(direction).gap();
        }
    }

    fn frame(
        &mut self,
        direction: Direction,
        times: (KTime, KTime),
        header: Header,
        payload: Vec<u8>,
        out: &mut Vec<Exchange>,
    ) {
        match header.kind {
            kind::HEADERS | kind::PUSH_PROMISE => {
                let bytes = block_of(header, &payload);
                self.begin_block(direction, times, header, bytes, out);
            }
            kind::CONTINUATION => self.continue_block(direction, times.1, header, &payload, out),
            kind::RST_STREAM => self.end_stream(header.stream, times.1, out),
            kind::GOAWAY => self.go_away(direction, times.1, &payload, out),
            _ => {}
        }
    }

    /// Takes a frame whose payload was not read.
    fn skipped(
        &mut self,
        direction: Direction,
        times: (KTime, KTime),
        header: Header,
        out: &mut Vec<Exchange>,
    ) {
        match header.kind {
            kind::HEADERS | kind::PUSH_PROMISE => {
                self.begin_block(direction, times, header, None, out);
            }
            kind::CONTINUATION => {
                if let Some(block) = &mut self.side(direction).block {
                    block.broken = true;
                }
                self.continue_block(direction, times.1, header, &[], out);
            }
            kind::RST_STREAM => self.end_stream(header.stream, times.1, out),
            _ => {}
        }
    }

    fn begin_block(
        &mut self,
        direction: Direction,
        (started, time): (KTime, KTime),
        header: Header,
        bytes: Option<&[u8]>,
        out: &mut Vec<Exchange>,
    ) {
        let side = self.side(direction);
        if side.block.is_some() {
            // The block before was never ended: frames are missing.
            side.fields.forget();
        }
        let promised = header.kind == kind::PUSH_PROMISE;
        side.block = Some(Block {
            stream: header.stream,
            promised,
            ends_stream: !promised && header.has(flag::END_STREAM),
            started,
            bytes: bytes.unwrap_or_default().to_vec(),
            broken: bytes.is_none(),
        });
        if header.has(flag::END_HEADERS) {
            self.end_block(direction, time, out);
        }
    }

    fn continue_block(
        &mut self,
        direction: Direction,
        time: KTime,
        header: Header,
        bytes: &[u8],
        out: &mut Vec<Exchange>,
    ) {
        let limit = self.limits.head_bytes;
        let side = self.side(direction);
        match &mut side.block {
            Some(block) if block.stream == header.stream => {
                let room = limit.saturating_sub(block.bytes.len());
                block.broken |= room < bytes.len();
                if !block.broken {
                    block.bytes.extend_from_slice(bytes);
                }
            }
            // Its beginning was not seen.
            _ => side.fields.forget(),
        }
        if header.has(flag::END_HEADERS) {
            self.end_block(direction, time, out);
        }
    }

    fn end_block(&mut self, direction: Direction, time: KTime, out: &mut Vec<Exchange>) {
        let side = self.side(direction);
        let Some(block) = side.block.take() else {
            self.entered = true;
            return;
        };
        let mut fields = Fields::default();
        if block.broken {
            side.fields.forget();
            self.entered = true;
        } else if side
            .fields
            .decode(&block.bytes, &mut |field| fields.push(&field))
            .is_err()
        {
            self.fault.get_or_insert(Fault::BrokenFields);
        }
        // Streams with an even number are pushed.
        if block.promised || block.stream.is_multiple_of(2) {
            return;
        }
        match fields.role() {
            Some(Role::Request) => self.requests_from = Some(direction),
            Some(Role::Response) => self.requests_from = Some(opposite(direction)),
            None => {}
        }
        self.head(direction, (block.started, time), block.stream, fields, out);
        if block.ends_stream {
            self.end_half(direction, block.stream, time, None, out);
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

    /// Takes the fields that begin a message, or end one.
    fn head(
        &mut self,
        direction: Direction,
        (started, time): (KTime, KTime),
        id: u32,
        fields: Fields,
        out: &mut Vec<Exchange>,
    ) {
        let role = self.role(direction);
        let is_request = role == Some(Role::Request);
        if !self.has_stream(id, is_request, time, out) {
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

/// The header block in a frame that begins one, without what stands around it; `None` if there is less
/// than what must stand around it.
fn block_of(header: Header, payload: &[u8]) -> Option<&[u8]> {
    let mut block = payload;
    if header.has(flag::PADDED) {
        let (&length, rest) = block.split_first()?;
        let end = rest.len().checked_sub(usize::from(length))?;
        block = rest.get(..end)?;
    }
    if header.kind == kind::PUSH_PROMISE {
        // The number of the promised stream.
        block = block.get(4..)?;
    } else if header.has(flag::PRIORITY) {
        block = block.get(5..)?;
    }
    Some(block)
}
