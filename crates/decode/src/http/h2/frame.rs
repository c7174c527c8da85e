//! Frames of HTTP/2 (RFC 9113, section 4), cut out of one direction of a connection.

use agentsight_model::KTime;

use crate::http::chunked::take_front;
use crate::http::hunt::{Guess, Hunter, Quarry};

/// What a client sends first (RFC 9113, section 3.4).
pub(in crate::http) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(in crate::http) const HEADER_BYTES: usize = 9;

/// Largest payload until the receiver allows more.
const DEFAULT_PAYLOAD_BYTES: u32 = 16 << 10;

/// So many typical headers in a row prove that the reader is in step; until then, others are not
/// believed.
const ENOUGH_PROOFS: u8 = 4;

/// Types of frames.
pub(super) mod kind {
    pub(in crate::http::h2) const DATA: u8 = 0;
    pub(in crate::http::h2) const HEADERS: u8 = 1;
    pub(in crate::http::h2) const PRIORITY: u8 = 2;
    pub(in crate::http::h2) const RST_STREAM: u8 = 3;
    pub(in crate::http::h2) const SETTINGS: u8 = 4;
    pub(in crate::http::h2) const PUSH_PROMISE: u8 = 5;
    pub(in crate::http::h2) const PING: u8 = 6;
    pub(in crate::http::h2) const GOAWAY: u8 = 7;
    pub(in crate::http::h2) const WINDOW_UPDATE: u8 = 8;
    pub(in crate::http::h2) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(super) mod flag {
    pub(in crate::http::h2) const ACK: u8 = 0x1;
    pub(in crate::http::h2) const END_STREAM: u8 = 0x1;
    pub(in crate::http::h2) const END_HEADERS: u8 = 0x4;
    pub(in crate::http::h2) const PADDED: u8 = 0x8;
    pub(in crate::http::h2) const PRIORITY: u8 = 0x20;
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Header {
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    reserved: bool,
}

impl Header {
    fn parse(bytes: [u8; HEADER_BYTES]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
            reserved: s0 & 0x80 != 0,
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether a frame with this header can stand in a stream of frames.
    fn is_valid(&self) -> bool {
        use kind::{
            CONTINUATION, DATA, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM,
            SETTINGS, WINDOW_UPDATE,
        };
        let on_stream = self.stream != 0;
        match self.kind {
            DATA | HEADERS | PUSH_PROMISE | CONTINUATION => on_stream,
            PRIORITY => on_stream && self.length == 5,
            RST_STREAM => on_stream && self.length == 4,
            SETTINGS => !on_stream && self.length.is_multiple_of(6),
            PING => !on_stream && self.length == 8,
            GOAWAY => !on_stream && self.length >= 8,
            WINDOW_UPDATE => self.length == 4,
            // Unknown types are to be ignored, whatever they carry.
            _ => self.length <= DEFAULT_PAYLOAD_BYTES,
        }
    }

    /// Whether a frame with this header may be taken for one where nothing else says so.
    fn is_typical(&self) -> bool {
        // The flags that the standard defines, by type.
        const FLAGS: [u8; 10] = [0x09, 0x2d, 0, 0, 0x01, 0x0c, 0x01, 0, 0, 0x04];
        let flags = FLAGS.get(usize::from(self.kind));
        // Streams with an even number are those of pushed responses, which hardly anyone sends.
        let on_stream = self.stream == 0 || self.stream & 1 == 1 && self.stream < 1 << 24;
        let says_something = match self.kind {
            kind::DATA => self.length > 0 || self.has(flag::END_STREAM),
            kind::HEADERS => self.length > 0,
            _ => true,
        };
        self.is_valid()
            && !self.reserved
            && self.length <= DEFAULT_PAYLOAD_BYTES
            && on_stream
            && says_something
            && flags.is_some_and(|defined| self.flags & !defined == 0)
    }
}

/// A search for frames. Their headers tell enough: no closer look is needed.
pub(in crate::http) fn hunter() -> Hunter {
    let confirm = |_: &[u8]| true;
    Hunter::new(Quarry { guess, confirm }, u32::MAX)
}

/// Whether bytes may be the beginning of a frame.
pub(in crate::http) fn guess(bytes: &[u8]) -> Guess {
    // Typical frames are shorter than 64 KiB.
    if bytes.first().is_some_and(|&byte| byte != 0) {
        return Guess::No;
    }
    let Some(header) = bytes.first_chunk().copied().map(Header::parse) else {
        return Guess::More;
    };
    match usize::try_from(header.length) {
        Ok(length) if header.is_typical() => Guess::Frame(length.saturating_add(HEADER_BYTES)),
        _ => Guess::No,
    }
}

/// What a run of bytes led to.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// Bytes of the body of a message; `last` if the frame ends with them, and the message too.
    Data {
        stream: u32,
        bytes: &'a [u8],
        last: bool,
    },
    /// A whole frame of another type.
    Frame {
        header: Header,
        payload: Vec<u8>,
        started: KTime,
    },
    /// A frame whose payload was not read, because it is too long or bytes of it are missing.
    Skipped { header: Header, started: KTime },
    /// What a client sends first.
    Preface,
    /// These bytes are no frame: the next one is searched for, from them on.
    Lost(Vec<u8>),
    /// A frame was found; these bytes come before what is left of the input.
    Found(Vec<u8>),
}

/// Reads the frames of one direction.
#[derive(Debug)]
pub(super) struct FrameReader {
    state: State,
    /// Typical headers seen in a row.
    proofs: u8,
    limit_bytes: usize,
    pub(super) skipped_bytes: u64,
}

#[derive(Debug)]
enum State {
    /// At the beginning of the stream.
    Opening(Vec<u8>),
    Header {
        bytes: Vec<u8>,
        started: KTime,
    },
    Data(Data),
    Payload {
        header: Header,
        payload: Vec<u8>,
        started: KTime,
    },
    Skip {
        header: Header,
        left: u32,
        started: KTime,
    },
    Hunting(Hunter),
}

/// A frame with bytes of a body, in the middle of being read.
#[derive(Debug)]
struct Data {
    header: Header,
    /// Whether the length of the padding comes next.
    at_padding_length: bool,
    left: u32,
    padding: u32,
}

impl State {
    fn header() -> Self {
        Self::Header {
            bytes: Vec::with_capacity(HEADER_BYTES),
            started: KTime::default(),
        }
    }
}

impl FrameReader {
    /// A reader at the beginning of a direction, or in the middle of one; `seen` was read already. It
    /// does not read payloads of more than `limit_bytes`.
    pub(super) fn new(seen: &[u8], limit_bytes: usize) -> Self {
        Self {
            state: State::Opening(seen.to_vec()),
            proofs: 0,
            limit_bytes,
            skipped_bytes: 0,
        }
    }

    /// Bytes held.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.state {
            State::Opening(bytes) | State::Header { bytes, .. } => bytes.len(),
            State::Payload { payload, .. } => payload.len(),
            State::Hunting(hunter) => hunter.held_bytes(),
            State::Data(_) | State::Skip { .. } => 0,
        }
    }

    /// Reads up to the next piece.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8], time: KTime) -> Option<Piece<'a>> {
        loop {
            let at_end = input.is_empty();
            // Each state says whether it can go on without input.
            let piece = match &mut self.state {
                State::Opening(_) => self.open(input),
                State::Header { .. } => self.header(input, time),
                State::Data(_) => self.data(input),
                State::Payload { .. } => self.payload(input),
                State::Skip { .. } => self.skip(input),
                State::Hunting(hunter) => {
                    let found = hunter.push(input, &mut self.skipped_bytes);
                    found.map(|found| self.in_step(Piece::Found(found)))
                }
            };
            if piece.is_some() || at_end {
                return piece;
            }
        }
    }

    /// Leaves out `missing` bytes; false if the reader fell out of step.
    pub(super) fn hole(&mut self, missing: u64) -> bool {
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        match &mut self.state {
            State::Data(data) if !data.at_padding_length => {
                let total = data.left.saturating_add(data.padding);
                if missing <= total {
                    let after = total.saturating_sub(missing);
                    data.left = data.left.saturating_sub(missing);
                    data.padding = after.saturating_sub(data.left);
                    return true;
                }
            }
            State::Skip { left, .. } if missing <= *left => {
                *left = left.saturating_sub(missing);
                return true;
            }
            State::Payload {
                header,
                payload,
                started,
            } => {
                let read = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                let left = header.length.saturating_sub(read);
                if missing <= left {
                    self.state = State::Skip {
                        header: *header,
                        left: left.saturating_sub(missing),
                        started: *started,
                    };
                    return true;
                }
            }
            _ => {}
        }
        self.lose();
        false
    }

    /// The stream whose body is being read.
    pub(super) fn data_stream(&self) -> Option<u32> {
        match &self.state {
            State::Data(data) => Some(data.header.stream),
            _ => None,
        }
    }

    /// Ends the direction: gives what a search found last, and counts what was not read.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        let state = std::mem::replace(&mut self.state, State::header());
        let rest = match state {
            State::Hunting(hunter) => return hunter.finish(&mut self.skipped_bytes),
            State::Opening(bytes) | State::Header { bytes, .. } => bytes.len(),
            State::Payload { payload, .. } => payload.len(),
            State::Data(_) | State::Skip { .. } => 0,
        };
        self.count_skipped(rest);
        None
    }

    fn count_skipped(&mut self, count: usize) {
        self.skipped_bytes = self.skipped_bytes.saturating_add(count as u64);
    }

    fn in_step<'a>(&mut self, piece: Piece<'a>) -> Piece<'a> {
        self.state = State::header();
        piece
    }

    fn lose(&mut self) {
        self.count_skipped(self.held_bytes());
        self.proofs = 0;
        self.state = State::Hunting(hunter());
    }

    fn open<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        let State::Opening(bytes) = &mut self.state else {
            return None;
        };
        loop {
            let is_preface = PREFACE.starts_with(bytes);
            if is_preface && bytes.len() == PREFACE.len() {
                self.proofs = ENOUGH_PROOFS;
                return Some(self.in_step(Piece::Preface));
            }
            if !is_preface && bytes.len() >= HEADER_BYTES {
                let bytes = std::mem::take(bytes);
                self.state = match guess(&bytes) {
                    Guess::Frame(_) => State::header(),
                    _ => State::Hunting(hunter()),
                };
                return Some(Piece::Found(bytes));
            }
            let (&byte, rest) = input.split_first()?;
            bytes.push(byte);
            *input = rest;
        }
    }

    fn header<'a>(&mut self, input: &mut &'a [u8], time: KTime) -> Option<Piece<'a>> {
        let State::Header { bytes, started } = &mut self.state else {
            return None;
        };
        if bytes.is_empty() {
            *started = time;
        }
        let missing = HEADER_BYTES.saturating_sub(bytes.len());
        bytes.extend_from_slice(take_front(input, missing as u64));
        let header = Header::parse(bytes.first_chunk().copied()?);
        let started = *started;
        let trusted = self.proofs >= ENOUGH_PROOFS;
        if !header.is_valid() || !trusted && !header.is_typical() {
            let bytes = std::mem::take(bytes);
            self.proofs = 0;
            self.state = State::Hunting(hunter());
            return Some(Piece::Lost(bytes));
        }
        // Nothing else begins like the first frame of a connection.
        let opens = header.kind == kind::SETTINGS && !header.has(flag::ACK);
        self.proofs = self
            .proofs
            .saturating_add(if opens { ENOUGH_PROOFS } else { 1 });
        self.begin(header, started)
    }

    /// Begins the payload of a frame; an empty one ends at once.
    fn begin<'a>(&mut self, header: Header, started: KTime) -> Option<Piece<'a>> {
        let fits = usize::try_from(header.length).is_ok_and(|length| length <= self.limit_bytes);
        let is_read = matches!(
            header.kind,
            kind::HEADERS
                | kind::CONTINUATION
                | kind::PUSH_PROMISE
                | kind::RST_STREAM
                | kind::GOAWAY
        );
        self.state = match header.kind {
            kind::DATA => State::Data(Data {
                header,
                at_padding_length: header.has(flag::PADDED) && header.length > 0,
                left: header.length,
                padding: 0,
            }),
            _ if is_read && fits => State::Payload {
                header,
                payload: Vec::new(),
                started,
            },
            _ => State::Skip {
                header,
                left: header.length,
                started,
            },
        };
        None
    }

    fn data<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        let State::Data(data) = &mut self.state else {
            return None;
        };
        if data.at_padding_length {
            let length = take_front(input, 1);
            let padding = u32::from(*length.first()?);
            data.at_padding_length = false;
            data.left = data.left.saturating_sub(1);
            // Padding that is longer than the frame is an error of the sender.
            data.padding = padding.min(data.left);
            data.left = data.left.saturating_sub(data.padding);
        }
        let bytes = take_front(input, u64::from(data.left));
        let taken = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        data.left = data.left.saturating_sub(taken);
        if data.left == 0 {
            let padding = take_front(input, u64::from(data.padding));
            let taken = u32::try_from(padding.len()).unwrap_or(u32::MAX);
            data.padding = data.padding.saturating_sub(taken);
        }
        let ends = data.left == 0 && data.padding == 0;
        let (stream, header) = (data.header.stream, data.header);
        if ends {
            self.state = State::header();
        }
        let last = ends && header.has(flag::END_STREAM);
        (last || ends || !bytes.is_empty()).then_some(Piece::Data {
            stream,
            bytes,
            last,
        })
    }

    fn payload<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        let State::Payload {
            header,
            payload,
            started,
        } = &mut self.state
        else {
            return None;
        };
        let read = payload.len() as u64;
        let left = u64::from(header.length).saturating_sub(read);
        payload.extend_from_slice(take_front(input, left));
        if (payload.len() as u64) < u64::from(header.length) {
            return None;
        }
        let piece = Piece::Frame {
            header: *header,
            payload: std::mem::take(payload),
            started: *started,
        };
        Some(self.in_step(piece))
    }

    fn skip<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        let State::Skip {
            header,
            left,
            started,
        } = &mut self.state
        else {
            return None;
        };
        let taken = take_front(input, u64::from(*left));
        *left = left.saturating_sub(u32::try_from(taken.len()).unwrap_or(u32::MAX));
        if *left > 0 {
            return None;
        }
        let (header, started) = (*header, *started);
        Some(self.in_step(Piece::Skipped { header, started }))
    }
}
