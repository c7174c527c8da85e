//! WebSocket (RFC 6455), as an observer of one connection sees it.
//!
//! Messages are put together from their frames, decompressed, and joined to turns: what a client says,
//! and what the server answers to it. A turn comes out as an exchange whose bodies are the messages of
//! either side, joined by line feeds. Which message belongs to which turn is told by what the messages
//! say, where the protocol inside is known, else by who speaks when.

mod frame;
mod inflate;
mod peek;
mod turns;

use agentsight_model::{Direction, KTime};

use super::message::{Exchange, Flaw, Headers};
use super::{Fault, Limits};
pub(super) use frame::hunter;
use frame::{FrameReader, Header, Piece, opcode};
use inflate::Inflater;
use turns::{Handshake, Place, Turns};

/// Bytes of a message that are looked at to see which turn it belongs to.
const PEEKED_BYTES: usize = 1 << 20;

/// Bytes kept of a target or a header field of the handshake: every turn gets a copy.
const MAX_FIELD_BYTES: usize = 4096;

/// Decoder of one connection.
pub(super) struct WebSocket {
    limits: Limits,
    handshake: Handshake,
    sent: Side,
    received: Side,
    turns: Turns,
    skipped_bytes: u64,
    fault: Option<Fault>,
}

/// One direction.
struct Side {
    frames: FrameReader,
    inflater: Option<Box<Inflater>>,
    message: Option<Incoming>,
}

/// A message in the middle of being read.
struct Incoming {
    started: KTime,
    compressed: bool,
    wire_bytes: u64,
    decoded_bytes: u64,
    /// Whether the rest of it cannot be read.
    spoilt: bool,
    target: Target,
}

/// Where the bytes of a message go.
enum Target {
    /// That is not clear yet: these are all so far.
    Unknown(Vec<u8>),
    Known(Place),
}

/// Sets up the frames of both directions.
struct Setup {
    client: Direction,
    frames: fn(bool, bool) -> FrameReader,
    may_compress: bool,
}

impl Side {
    fn new(direction: Direction, setup: &Setup) -> Self {
        Self {
            frames: (setup.frames)(direction == setup.client, setup.may_compress),
            inflater: None,
            message: None,
        }
    }

    fn held_bytes(&self) -> usize {
        let message = match &self.message {
            Some(Incoming {
                target: Target::Unknown(bytes),
                ..
            }) => bytes.len(),
            _ => 0,
        };
        let inflater = self.inflater.as_ref();
        let window = inflater.map_or(0, |inflater| inflater.held_bytes());
        let frames = self.frames.held_bytes();
        frames.saturating_add(window).saturating_add(message)
    }
}

impl WebSocket {
    /// A decoder of what follows the handshake in `upgrade`.
    pub(super) fn after(limits: Limits, upgrade: &Exchange) -> Self {
        const KEPT: [&str; 4] = ["host", "origin", "user-agent", "openai-beta"];
        let mut headers = Headers::default();
        for name in KEPT {
            if let Some(value) = upgrade.request.headers.get(name) {
                headers.push(name, cut(value));
            }
        }
        let response = upgrade.response.as_ref();
        let may_compress = response.is_some_and(|response| {
            let mut extensions = response.headers.elements("sec-websocket-extensions");
            extensions.any(|extension| {
                let name = extension.split(';').next().unwrap_or_default();
                name.trim().eq_ignore_ascii_case("permessage-deflate")
            })
        });
        let handshake = Handshake {
            scheme: upgrade.scheme,
            client: upgrade.requests_from,
            target: cut(upgrade.request.target()).to_owned(),
            headers,
        };
        let setup = Setup {
            client: handshake.client,
            frames: FrameReader::new,
            may_compress,
        };
        Self::new(limits, handshake, &setup)
    }

    /// A decoder of a connection whose handshake was not seen.
    pub(super) fn joined(limits: Limits, scheme: &'static str, client: Direction) -> Self {
        let handshake = Handshake {
            scheme,
            client,
            target: String::new(),
            headers: Headers::default(),
        };
        let setup = Setup {
            client,
            frames: |masked, _| FrameReader::hunting(masked),
            may_compress: true,
        };
        Self::new(limits, handshake, &setup)
    }

    fn new(limits: Limits, handshake: Handshake, setup: &Setup) -> Self {
        Self {
            limits,
            handshake,
            sent: Side::new(Direction::Sent, setup),
            received: Side::new(Direction::Received, setup),
            turns: Turns::new(limits),
            skipped_bytes: 0,
            fault: None,
        }
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

    /// Bytes of messages and windows held in memory.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.turns
            .held_bytes()
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
        if self.side(direction).frames.hole(missing) {
            self.miss(direction, time, out);
            self.push(direction, time, &[], out);
        } else {
            self.lose(direction, time, out);
        }
    }

    /// Ends the connection: what is unfinished comes out as far as it was seen.
    pub(super) fn finish(&mut self, time: KTime, out: &mut Vec<Exchange>) {
        for direction in [Direction::Sent, Direction::Received] {
            while let Some(found) = self.side(direction).frames.finish() {
                self.push(direction, time, &found, out);
            }
            self.give_up_message(direction, Flaw::Cut, time, out);
        }
        self.turns.end_all(Some(Flaw::Cut), &self.handshake, out);
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
                Piece::Lost(bytes) => {
                    self.lose(direction, time, out);
                    return Some(bytes);
                }
                Piece::Begin(header, started) => self.begin(direction, header, started, time, out),
                Piece::Payload(header, bytes) => {
                    self.payload(direction, header, &bytes, time, out);
                }
                Piece::End(header) => self.end(direction, header, time, out),
            }
        }
        None
    }

    fn begin(
        &mut self,
        direction: Direction,
        header: Header,
        started: KTime,
        time: KTime,
        out: &mut Vec<Exchange>,
    ) {
        if header.is_control() || header.opcode == opcode::CONTINUATION {
            return;
        }
        // A message that begins inside another one: the end of that one was not seen.
        self.give_up_message(direction, Flaw::Hole, time, out);
        let side = self.side(direction);
        if header.compressed {
            side.inflater
                .get_or_insert_with(|| Box::new(Inflater::new()));
        }
        side.message = Some(Incoming {
            started,
            compressed: header.compressed,
            wire_bytes: 0,
            decoded_bytes: 0,
            spoilt: false,
            target: Target::Unknown(Vec::new()),
        });
    }

    fn payload(
        &mut self,
        direction: Direction,
        header: Header,
        bytes: &[u8],
        time: KTime,
        out: &mut Vec<Exchange>,
    ) {
        if header.is_control() {
            return;
        }
        let Some(message) = &mut self.side(direction).message else {
            // Its beginning was not seen.
            self.skipped_bytes = self.skipped_bytes.saturating_add(bytes.len() as u64);
            return;
        };
        message.wire_bytes = message.wire_bytes.saturating_add(bytes.len() as u64);
        if message.spoilt {
            return;
        }
        if message.compressed {
            self.inflate(direction, Some(bytes), time, out);
        } else {
            self.take(direction, bytes, time, out);
        }
    }

    /// Decompresses bytes of a message, or its end.
    fn inflate(
        &mut self,
        direction: Direction,
        bytes: Option<&[u8]>,
        time: KTime,
        out: &mut Vec<Exchange>,
    ) {
        let limit = self.limits.decoded_bytes;
        let Some(mut inflater) = self.side(direction).inflater.take() else {
            return;
        };
        let mut within = true;
        let mut emit = |bytes: &[u8]| {
            within = self.take(direction, bytes, time, out) <= limit;
            within
        };
        let result = match bytes {
            Some(bytes) => inflater.push(bytes, &mut emit),
            None => inflater.end(&mut emit),
        };
        if !within {
            inflater.forget();
            self.spoil(direction, Flaw::Limit, time, out);
        } else if result.is_err() {
            self.spoil(direction, Flaw::Corrupt, time, out);
        }
        self.side(direction).inflater = Some(inflater);
    }

    /// Takes bytes of a message, and gives how many there were so far.
    fn take(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        time: KTime,
        out: &mut Vec<Exchange>,
    ) -> u64 {
        let Some(message) = &mut self.side(direction).message else {
            return 0;
        };
        message.decoded_bytes = message.decoded_bytes.saturating_add(bytes.len() as u64);
        let total = message.decoded_bytes;
        match &mut message.target {
            Target::Known(place) => {
                let place = *place;
                self.turns.push(place, false, bytes, time);
            }
            Target::Unknown(opening) => {
                opening.extend_from_slice(bytes);
                if opening.len() >= PEEKED_BYTES {
                    self.place(direction, time, out);
                }
            }
        }
        total
    }

    /// Decides which turn a message belongs to, by what there is of it.
    fn place(
        &mut self,
        direction: Direction,
        time: KTime,
        out: &mut Vec<Exchange>,
    ) -> Option<Place> {
        let of_client = direction == self.handshake.client;
        let message = self.side(direction).message.as_mut()?;
        let opening = match &mut message.target {
            Target::Known(place) => return Some(*place),
            Target::Unknown(opening) => std::mem::take(opening),
        };
        let started = message.started;
        if self.turns.is_full() {
            self.fault.get_or_insert(Fault::TooManyPending);
        }
        let peeked = opening.get(..PEEKED_BYTES).unwrap_or(&opening);
        let place = if of_client {
            self.turns.ask(&peek::ask(peeked), &self.handshake, out)
        } else {
            let answer = peek::answer(peeked);
            self.turns.answer(&answer, &self.handshake, out)
        };
        // The message began with its first frame.
        self.turns.push(place, true, &[], started);
        self.turns.push(place, false, &opening, time);
        if let Some(message) = &mut self.side(direction).message {
            message.target = Target::Known(place);
        }
        Some(place)
    }

    fn end(&mut self, direction: Direction, header: Header, time: KTime, out: &mut Vec<Exchange>) {
        if header.is_control() || !header.last {
            return;
        }
        let readable = |message: &Incoming| message.compressed && !message.spoilt;
        if self.side(direction).message.as_ref().is_some_and(readable) {
            self.inflate(direction, None, time, out);
        }
        self.end_message(direction, time, out);
    }

    fn end_message(&mut self, direction: Direction, time: KTime, out: &mut Vec<Exchange>) {
        let Some(place) = self.place(direction, time, out) else {
            return;
        };
        if let Some(message) = self.side(direction).message.take() {
            let wire = (message.wire_bytes, message.compressed);
            self.turns.end_message(place, wire, &self.handshake, out);
        }
    }

    /// Ends a message whose end was not seen.
    fn give_up_message(
        &mut self,
        direction: Direction,
        flaw: Flaw,
        time: KTime,
        out: &mut Vec<Exchange>,
    ) {
        if let Some(message) = &self.side(direction).message {
            if message.compressed {
                self.forget(direction);
            }
            self.spoil(direction, flaw, time, out);
            self.end_message(direction, time, out);
        }
    }

    /// Notes that the rest of a message cannot be read.
    fn spoil(&mut self, direction: Direction, flaw: Flaw, time: KTime, out: &mut Vec<Exchange>) {
        if let Some(place) = self.place(direction, time, out) {
            self.turns.spoil(place, flaw);
        }
        if let Some(message) = &mut self.side(direction).message {
            message.spoilt = true;
        }
    }

    /// Notes that bytes of a message are missing here.
    fn miss(&mut self, direction: Direction, time: KTime, out: &mut Vec<Exchange>) {
        let Some(message) = &self.side(direction).message else {
            return;
        };
        if message.compressed {
            self.forget(direction);
            self.spoil(direction, Flaw::Hole, time, out);
        } else if let Some(place) = self.place(direction, time, out) {
            self.turns.gap(place);
        }
    }

    fn forget(&mut self, direction: Direction) {
        if let Some(inflater) = &mut self.side(direction).inflater {
            inflater.forget();
        }
    }

    /// Falls out of step with one direction.
    fn lose(&mut self, direction: Direction, time: KTime, out: &mut Vec<Exchange>) {
        self.fault.get_or_insert(Fault::OutOfStep);
        self.give_up_message(direction, Flaw::Hole, time, out);
        self.forget(direction);
        self.turns.note_loss(direction == self.handshake.client);
    }
}

/// The beginning of a field.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(MAX_FIELD_BYTES);
    text.get(..end).unwrap_or_default()
}
