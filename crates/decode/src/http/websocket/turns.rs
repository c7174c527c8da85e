//! Turns: what the client sent, and what the server sent in answer to it.

use std::collections::VecDeque;

use agentsight_model::{Direction, KTime};

use super::peek::{Answer, Ask};
use crate::http::Limits;
use crate::http::body::BodyReader;
use crate::http::message::{Exchange, Flaw, Headers, Message, StartLine};

/// The coding of compressed messages, as the handshake names it.
const DEFLATE: &str = "permessage-deflate";

/// How the end of a turn is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One message of the client, and a response that says when it ends.
    Whole,
    /// Messages of the client, and a response that says when it ends.
    Live,
    /// It ends when the client speaks again after the server.
    Plain,
}

/// A turn that has not ended.
struct Turn {
    number: u64,
    kind: Kind,
    stream: Option<Vec<u8>>,
    response_id: Option<Vec<u8>>,
    /// Whether its response has begun.
    answered: bool,
    request: Half,
    response: Half,
}

/// One direction of a turn: its messages, joined by line feeds.
#[derive(Default)]
struct Half {
    open: Option<OpenHalf>,
}

struct OpenHalf {
    started: KTime,
    ended: KTime,
    reader: BodyReader,
}

/// The turns of one connection.
pub(super) struct Turns {
    limits: Limits,
    open: VecDeque<Turn>,
    next_number: u64,
    held_bytes: usize,
    /// Whether messages were lost since the client asked for something.
    uncertain: bool,
}

/// What all turns of a connection share.
pub(super) struct Handshake {
    pub(super) scheme: &'static str,
    pub(super) client: Direction,
    pub(super) target: String,
    pub(super) headers: Headers,
}

/// Where the bytes of a message go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    turn: u64,
    is_request: bool,
    /// Whether the turn ends with the message.
    ends: bool,
}

impl Turns {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: VecDeque::new(),
            next_number: 0,
            held_bytes: 0,
            uncertain: false,
        }
    }

    /// Bytes of bodies held.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether there are as many turns as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= self.limits.pending_requests
    }

    /// Begins a message of the client.
    pub(super) fn ask(
        &mut self,
        ask: &Ask,
        handshake: &Handshake,
        out: &mut Vec<Exchange>,
    ) -> Place {
        let place = |turn| Place {
            turn,
            is_request: true,
            ends: false,
        };
        if std::mem::take(&mut self.uncertain) {
            // Which of them an answer belongs to can no longer be told.
            self.end_all(Some(Flaw::Hole), handshake, out);
        }
        let last = self.open.back();
        let goes_on = last.is_some_and(|turn| match ask {
            Ask::Whole { .. } => false,
            Ask::Part => turn.kind == Kind::Live && !turn.answered,
            Ask::Other => turn.kind == Kind::Plain && turn.response.open.is_none(),
        });
        if let Some(number) = last.map(|turn| turn.number).filter(|_| goes_on) {
            return place(number);
        }
        // What waits for no response in particular is over once the client goes on.
        self.end_some(
            |turn| turn.kind != Kind::Whole && !turn.answered,
            handshake,
            out,
        );
        let (kind, stream) = match ask {
            Ask::Whole { stream } => (Kind::Whole, stream.clone()),
            Ask::Part => (Kind::Live, None),
            Ask::Other => (Kind::Plain, None),
        };
        place(self.begin(kind, stream, handshake, out))
    }

    /// Begins a message of the server.
    pub(super) fn answer(
        &mut self,
        answer: &Answer,
        handshake: &Handshake,
        out: &mut Vec<Exchange>,
    ) -> Place {
        let number = match self.asked(answer) {
            Some(number) => number,
            None => {
                let kind = if answer.answers {
                    Kind::Live
                } else {
                    Kind::Plain
                };
                self.begin(kind, None, handshake, out)
            }
        };
        let mut ends = answer.ends;
        if let Some(turn) = self.turn(number) {
            if turn.response_id.is_none() {
                turn.response_id.clone_from(&answer.response);
            }
            if answer.answers && turn.kind == Kind::Plain {
                turn.kind = Kind::Live;
            }
            turn.answered |= answer.answers || turn.kind == Kind::Whole;
            ends |= answer.fails && turn.kind == Kind::Whole;
        }
        Place {
            turn: number,
            is_request: false,
            ends,
        }
    }

    /// The turn that a message of the server belongs to.
    fn asked(&self, answer: &Answer) -> Option<u64> {
        let find = |wanted: &dyn Fn(&Turn) -> bool| self.open.iter().find(|turn| wanted(turn));
        let same = |own: &Option<Vec<u8>>, other: &Option<Vec<u8>>| own.is_some() && own == other;
        let fresh = |turn: &Turn| turn.response_id.is_none();
        let begins = answer.response.is_some();
        let found = find(&|turn| same(&turn.stream, &answer.stream))
            .or_else(|| find(&|turn| same(&turn.response_id, &answer.response)))
            .or_else(|| find(&|turn| turn.kind == Kind::Whole && (fresh(turn) || !begins)))
            .or_else(|| find(&|turn| turn.kind == Kind::Live && turn.answered && !begins))
            .or_else(|| find(&|turn| turn.kind == Kind::Live && fresh(turn)))
            .or_else(|| self.open.back().filter(|turn| turn.kind == Kind::Plain));
        found.map(|turn| turn.number)
    }

    /// Takes bytes of a message, without compression; `first` if they are its first ones.
    pub(super) fn push(&mut self, place: Place, first: bool, bytes: &[u8], time: KTime) {
        let limits = self.limits;
        let held = self.held_bytes;
        let Some(turn) = self.turn(place.turn) else {
            return;
        };
        let half = turn.half(place.is_request);
        let before = half.held_bytes();
        let is_new = half.open.is_none();
        let open = half
            .open
            .get_or_insert_with(|| OpenHalf::new(limits, held, time));
        if held >= limits.connection_bytes {
            open.reader.keep_no_more();
        }
        if first && !is_new {
            open.reader.push_decoded(b"\n");
        }
        open.reader.push_decoded(bytes);
        open.ended = time;
        let after = half.held_bytes();
        self.note_held(before, after);
    }

    /// Notes that bytes of a message are missing here.
    pub(super) fn gap(&mut self, place: Place) {
        if let Some(open) = self.half(place) {
            open.reader.gap();
        }
    }

    /// Notes that a message could not be read any further.
    pub(super) fn spoil(&mut self, place: Place, flaw: Flaw) {
        if let Some(open) = self.half(place) {
            open.reader.spoil(flaw);
        }
    }

    /// Ends a message that took `wire_bytes` bytes on the wire.
    pub(super) fn end_message(
        &mut self,
        place: Place,
        (wire_bytes, compressed): (u64, bool),
        handshake: &Handshake,
        out: &mut Vec<Exchange>,
    ) {
        if let Some(open) = self.half(place) {
            open.reader.count_wire(wire_bytes);
            if compressed {
                open.reader.name_coding(DEFLATE);
            }
        }
        if place.ends {
            self.end_some(|turn| turn.number == place.turn, handshake, out);
        }
    }

    /// Notes that messages of either direction were lost.
    pub(super) fn note_loss(&mut self, of_client: bool) {
        self.uncertain |= !of_client && !self.open.is_empty();
    }

    /// Ends all turns, because nothing comes any more.
    pub(super) fn end_all(
        &mut self,
        flaw: Option<Flaw>,
        handshake: &Handshake,
        out: &mut Vec<Exchange>,
    ) {
        while let Some(turn) = self.open.pop_front() {
            // A response that does not say where it ends has none.
            let flaw = flaw.filter(|_| turn.kind != Kind::Plain);
            self.put_out(turn, flaw, handshake, out);
        }
    }

    fn begin(
        &mut self,
        kind: Kind,
        stream: Option<Vec<u8>>,
        handshake: &Handshake,
        out: &mut Vec<Exchange>,
    ) -> u64 {
        while self.is_full() {
            let Some(oldest) = self.open.pop_front() else {
                break;
            };
            self.put_out(oldest, Some(Flaw::Cut), handshake, out);
        }
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        self.open.push_back(Turn {
            number,
            kind,
            stream,
            response_id: None,
            answered: false,
            request: Half::default(),
            response: Half::default(),
        });
        number
    }

    fn end_some(
        &mut self,
        wanted: impl Fn(&Turn) -> bool,
        handshake: &Handshake,
        out: &mut Vec<Exchange>,
    ) {
        while let Some(at) = self.open.iter().position(&wanted) {
            if let Some(turn) = self.open.remove(at) {
                self.put_out(turn, None, handshake, out);
            }
        }
    }

    fn put_out(
        &mut self,
        turn: Turn,
        flaw: Option<Flaw>,
        handshake: &Handshake,
        out: &mut Vec<Exchange>,
    ) {
        let held = turn.request.held_bytes();
        let held = held.saturating_add(turn.response.held_bytes());
        self.note_held(held, 0);
        let request = turn.request.finish(None).map(|request| Message {
            start: StartLine::Request {
                method: "GET".to_owned(),
                target: handshake.target.clone(),
            },
            headers: handshake.headers.clone(),
            ..request
        });
        let response = turn.response.finish(flaw).map(|response| Message {
            start: StartLine::Response {
                status: 101,
                reason: String::new(),
            },
            ..response
        });
        if request.is_none() && response.is_none() {
            return;
        }
        out.push(Exchange {
            transport: "websocket",
            scheme: handshake.scheme,
            requests_from: handshake.client,
            request: request.unwrap_or_default(),
            response,
        });
    }

    fn turn(&mut self, number: u64) -> Option<&mut Turn> {
        self.open.iter_mut().find(|turn| turn.number == number)
    }

    fn half(&mut self, place: Place) -> Option<&mut OpenHalf> {
        let turn = self.turn(place.turn)?;
        turn.half(place.is_request).open.as_mut()
    }

    fn note_held(&mut self, before: usize, after: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(before).saturating_add(after);
    }
}

impl Turn {
    fn half(&mut self, is_request: bool) -> &mut Half {
        if is_request {
            &mut self.request
        } else {
            &mut self.response
        }
    }
}

impl OpenHalf {
    fn new(limits: Limits, held: usize, time: KTime) -> Self {
        let room = limits.connection_bytes.saturating_sub(held);
        let keep = limits.body_bytes.min(room);
        Self {
            started: time,
            ended: time,
            reader: BodyReader::new(&Headers::default(), keep, limits.decoded_bytes),
        }
    }
}

impl Half {
    fn held_bytes(&self) -> usize {
        self.open
            .as_ref()
            .map_or(0, |open| open.reader.held_bytes())
    }

    fn finish(self, flaw: Option<Flaw>) -> Option<Message> {
        let open = self.open?;
        Some(Message {
            body: open.reader.finish(flaw),
            started: open.started,
            body_started: Some(open.started),
            ended: open.ended,
            ..Message::default()
        })
    }
}
