//! HTTP/1.0 and HTTP/1.1, as an observer of one connection sees them.
//!
//! Each direction is read on its own; what a head turns out to be, a request or a response, tells which
//! side is the client. Responses go to requests in order. Where bytes are lost, the decoder never
//! guesses which request a response belongs to: it leaves the request without a response, and the
//! response without a request.

use agentsight_model::{Direction, KTime};

use super::body::{BodyReader, Framing};
use super::chunked::Progress;
use super::head::{Head, HeadReader, Start};
use super::message::{Exchange, Flaw, Message, StartLine};
use super::pairing::{Pair, Pairing, protocol_name};
use super::{Fault, Limits};

/// Decoder of one connection.
pub(super) struct Http1 {
    limits: Limits,
    scheme: &'static str,
    sent: Side,
    received: Side,
    /// Known once a head was read.
    requests_from: Option<Direction>,
    pairing: Pairing,
    skipped_bytes: u64,
    fault: Option<Fault>,
    switched: Option<String>,
}

/// One direction.
#[derive(Default)]
struct Side {
    state: State,
}

enum State {
    Head(HeadReader),
    Body(Box<OpenMessage>),
}

impl Default for State {
    fn default() -> Self {
        Self::Head(HeadReader::default())
    }
}

/// A message whose head was read and whose body has not ended.
struct OpenMessage {
    message: Message,
    framing: Framing,
    reader: BodyReader,
    /// Whether it is a response without a request.
    orphan: bool,
}

impl Http1 {
    pub(super) fn new(limits: Limits, scheme: &'static str) -> Self {
        Self {
            limits,
            scheme,
            sent: Side::default(),
            received: Side::default(),
            requests_from: None,
            pairing: Pairing::default(),
            skipped_bytes: 0,
            fault: None,
            switched: None,
        }
    }

    /// Whether an HTTP/1 message was seen.
    pub(super) fn is_recognised(&self) -> bool {
        self.requests_from.is_some()
    }

    /// Bytes that belong to no message.
    pub(super) fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// The first thing that went wrong.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The protocol that the connection goes on with, once it left HTTP/1; told once.
    pub(super) fn take_switched(&mut self) -> Option<String> {
        self.switched.take()
    }

    /// Bytes of bodies and heads held in memory.
    pub(super) fn buffered_bytes(&self) -> usize {
        let [sent, received] = [&self.sent, &self.received].map(|side| match &side.state {
            State::Head(reader) => reader.buffered().len(),
            State::Body(open) => open.reader.held_bytes(),
        });
        let open = sent.saturating_add(received);
        open.saturating_add(self.pairing.body_bytes())
    }

    /// Takes bytes; those after a switch to another protocol are left in `input`.
    pub(super) fn push(
        &mut self,
        direction: Direction,
        time: KTime,
        input: &mut &[u8],
        out: &mut Vec<Exchange>,
    ) {
        while !input.is_empty() && self.switched.is_none() {
            match std::mem::take(&mut self.side(direction).state) {
                State::Head(reader) => self.push_head(direction, reader, time, input, out),
                State::Body(open) => self.push_body(direction, open, time, input, out),
            }
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
        match std::mem::take(&mut self.side(direction).state) {
            State::Head(reader) => self.lose(direction, reader),
            State::Body(mut open) => match open.framing.skip(missing, &mut open.reader) {
                Progress::More => self.side(direction).state = State::Body(open),
                Progress::Done => self.end_message(direction, *open, time, None, out),
                Progress::Broken => {
                    self.end_message(direction, *open, time, Some(Flaw::Hole), out);
                    self.lose(direction, HeadReader::default());
                }
            },
        }
    }

    /// Ends the connection: what is unfinished comes out as far as it was seen.
    pub(super) fn finish(&mut self, time: KTime, out: &mut Vec<Exchange>) {
        let requests = self.requests_from.unwrap_or(Direction::Sent);
        for direction in [requests, opposite(requests)] {
            match std::mem::take(&mut self.side(direction).state) {
                State::Head(mut reader) => {
                    reader.abandon();
                    self.count_skipped(&mut reader);
                }
                State::Body(open) => {
                    let ends = matches!(open.framing, Framing::UntilClose);
                    let flaw = (!ends).then_some(Flaw::Cut);
                    self.end_message(direction, *open, time, flaw, out);
                }
            }
        }
        while let Some(pair) = self.pairing.pop() {
            out.push(self.exchange(pair));
        }
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }

    fn push_head(
        &mut self,
        direction: Direction,
        mut reader: HeadReader,
        time: KTime,
        input: &mut &[u8],
        out: &mut Vec<Exchange>,
    ) {
        let head = reader.push(input, time, self.limits.head_bytes);
        self.count_skipped(&mut reader);
        if reader.take_lost_step() {
            self.note_loss(direction);
        }
        self.side(direction).state = State::Head(reader);
        let Some(head) = head else { return };
        let role = match &head.start {
            Start::Http2 => {
                self.requests_from = None;
                self.switched = Some("h2".to_owned());
                return;
            }
            Start::Message(StartLine::Response { .. }) => opposite(direction),
            Start::Message(_) => direction,
        };
        if *self.requests_from.get_or_insert(role) != role {
            // Both sides cannot be the client: this head was taken out of something else.
            self.lose(direction, HeadReader::default());
        } else if role == direction {
            self.begin_request(direction, head, time, out);
        } else {
            self.begin_response(direction, head, time, out);
        }
    }

    fn push_body(
        &mut self,
        direction: Direction,
        mut open: Box<OpenMessage>,
        time: KTime,
        input: &mut &[u8],
        out: &mut Vec<Exchange>,
    ) {
        open.message.body_started.get_or_insert(time);
        match open.framing.push(input, &mut open.reader) {
            Progress::More => self.side(direction).state = State::Body(open),
            Progress::Done => self.end_message(direction, *open, time, None, out),
            Progress::Broken => {
                self.fault.get_or_insert(Fault::BrokenBody);
                self.end_message(direction, *open, time, Some(Flaw::Corrupt), out);
                self.lose(direction, HeadReader::default());
            }
        }
    }

    /// Falls out of step with one direction.
    fn lose(&mut self, direction: Direction, mut reader: HeadReader) {
        reader.abandon();
        self.count_skipped(&mut reader);
        self.side(direction).state = State::Head(reader);
        self.note_loss(direction);
    }

    fn note_loss(&mut self, direction: Direction) {
        if self.is_recognised() {
            self.fault.get_or_insert(Fault::OutOfStep);
        }
        if self.requests_from == Some(opposite(direction)) {
            self.pairing.note_loss();
        }
    }

    fn count_skipped(&mut self, reader: &mut HeadReader) {
        self.skipped_bytes = self.skipped_bytes.saturating_add(reader.take_skipped());
    }

    fn begin_request(
        &mut self,
        direction: Direction,
        head: Head,
        time: KTime,
        out: &mut Vec<Exchange>,
    ) {
        if self.is_lost(opposite(direction)) {
            // A client that waits for answers before it asks again has had them: they were lost.
            self.give_up_pending(out);
        }
        if self.pairing.len() >= self.limits.pending_requests {
            self.fault.get_or_insert(Fault::TooManyPending);
            let oldest = self.pairing.pop();
            out.extend(oldest.map(|pair| self.exchange(pair)));
        }
        let message = message_of(head);
        self.pairing.begin_request(&message);
        let framing = Framing::declared(&message.headers, Framing::EMPTY);
        self.begin_body(direction, message, framing, false, time, out);
    }

    fn begin_response(
        &mut self,
        direction: Direction,
        head: Head,
        time: KTime,
        out: &mut Vec<Exchange>,
    ) {
        let message = message_of(head);
        let status = message.status().unwrap_or_default();
        if self.pairing.take_uncertain() {
            self.give_up_pending(out);
        }
        if (100..200).contains(&status) && status != 101 {
            // An interim response: the one that counts follows.
            self.pairing.give_leave();
            return;
        }
        let expected = self.pairing.begin_response();
        let success = (200..300).contains(&status);
        if status == 101 {
            let named = message.headers.get("upgrade").map(protocol_name);
            self.switched = Some(
                named
                    .or(expected.upgrade)
                    .unwrap_or_else(|| "unknown".to_owned()),
            );
        } else if expected.method == "CONNECT" && success {
            self.switched = Some("tunnel".to_owned());
        }
        let head = expected.method == "HEAD";
        let bodiless = self.switched.is_some() || head || matches!(status, 204 | 304);
        let framing = if bodiless {
            Some(Framing::EMPTY)
        } else {
            Framing::declared(&message.headers, Framing::UntilClose)
        };
        self.begin_body(direction, message, framing, expected.orphan, time, out);
    }

    fn begin_body(
        &mut self,
        direction: Direction,
        message: Message,
        framing: Option<Framing>,
        orphan: bool,
        time: KTime,
        out: &mut Vec<Exchange>,
    ) {
        let keep = self.limits.keep_for(&message, self.buffered_bytes());
        let reader = BodyReader::new(&message.headers, keep, self.limits.decoded_bytes);
        let broken = framing.is_none();
        let open = OpenMessage {
            message,
            framing: framing.unwrap_or(Framing::EMPTY),
            reader,
            orphan,
        };
        if broken {
            self.fault.get_or_insert(Fault::BrokenBody);
            self.end_message(direction, open, time, Some(Flaw::Corrupt), out);
            self.lose(direction, HeadReader::default());
        } else if open.framing.is_at_end() {
            self.end_message(direction, open, time, None, out);
        } else {
            self.side(direction).state = State::Body(Box::new(open));
        }
    }

    fn end_message(
        &mut self,
        direction: Direction,
        open: OpenMessage,
        time: KTime,
        flaw: Option<Flaw>,
        out: &mut Vec<Exchange>,
    ) {
        let orphan = open.orphan;
        let mut message = open.message;
        message.trailers = open.framing.trailers();
        message.body = open.reader.finish(flaw);
        message.ended = time;
        if self.requests_from == Some(direction) {
            self.pairing.end_request(message);
        } else if orphan {
            out.push(self.exchange((Message::default(), Some(message))));
        } else {
            self.pairing.end_response(message);
            self.end_refused_request(time);
        }
        while let Some(pair) = self.pairing.pop_whole() {
            out.push(self.exchange(pair));
        }
    }

    fn end_refused_request(&mut self, time: KTime) {
        let refused = self.pairing.is_refused();
        let Some(requests) = self.requests_from.filter(|_| refused) else {
            return;
        };
        match std::mem::take(&mut self.side(requests).state) {
            State::Body(open) if open.reader.wire_bytes() == 0 => {
                let mut message = open.message;
                message.body = open.reader.finish(Some(Flaw::Cut));
                message.ended = time;
                self.pairing.end_request(message);
                self.side(requests).state = State::Head(HeadReader::hunting());
            }
            state => self.side(requests).state = state,
        }
    }

    fn is_lost(&mut self, direction: Direction) -> bool {
        matches!(&self.side(direction).state, State::Head(reader) if reader.is_hunting())
    }

    /// Lets go of all requests whose response can no longer be told from others.
    fn give_up_pending(&mut self, out: &mut Vec<Exchange>) {
        while let Some(pair) = self.pairing.pop_ended() {
            out.push(self.exchange(pair));
        }
    }

    fn exchange(&self, pair: Pair) -> Exchange {
        let (request, response) = pair;
        Exchange {
            transport: "http/1.1",
            scheme: self.scheme,
            requests_from: self.requests_from.unwrap_or(Direction::Sent),
            request,
            response,
        }
    }
}

fn message_of(head: Head) -> Message {
    let start = match head.start {
        Start::Message(start) => start,
        Start::Http2 => StartLine::Unseen,
    };
    Message {
        start,
        headers: head.headers,
        started: head.started,
        ..Message::default()
    }
}

pub(super) fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Sent => Direction::Received,
        Direction::Received => Direction::Sent,
    }
}
