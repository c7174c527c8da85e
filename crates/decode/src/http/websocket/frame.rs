//! Frames of a WebSocket (RFC 6455, section 5.2), cut out of one direction of a connection.

use agentsight_model::KTime;

use super::inflate;
use crate::http::chunked::take_front;
use crate::http::hunt::{Guess, Hunter, MAX_FRAME_BYTES, Quarry};

/// The longest header.
const MAX_HEADER_BYTES: usize = 14;

/// Bytes of a compressed payload that are looked at to see whether it is one.
const PROBE_BYTES: usize = 64;

/// Compressed payloads that are looked at in one direction. A look takes microseconds.
const MAX_PROBES: u32 = 1 << 14;

/// What frames are for.
pub(super) mod opcode {
    pub(in crate::http::websocket) const CONTINUATION: u8 = 0;
    pub(in crate::http::websocket) const BINARY: u8 = 2;
    pub(in crate::http::websocket) const PONG: u8 = 10;
    /// The first one for control frames.
    pub(in crate::http::websocket) const CLOSE: u8 = 8;
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: u8,
    /// Whether the message ends with this frame.
    pub(super) last: bool,
    pub(super) compressed: bool,
    pub(super) length: u64,
    key: Option<[u8; 4]>,
}

/// What the first bytes of a frame say.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    More,
    Invalid,
    Header(Header, usize),
}

impl Header {
    pub(super) fn is_masked(&self) -> bool {
        self.key.is_some()
    }

    pub(super) fn is_control(&self) -> bool {
        self.opcode >= opcode::CLOSE
    }

    fn parse(bytes: &[u8]) -> Parsed {
        let (first, second, rest) = match bytes {
            [first, second, rest @ ..] => (*first, *second, rest),
            _ => return Parsed::More,
        };
        let short = u64::from(second & 0x7f);
        let (length, extra, least) = match short {
            126 => match rest.first_chunk() {
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2, 126),
                None => return Parsed::More,
            },
            127 => match rest.first_chunk() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 8, 1 << 16),
                None => return Parsed::More,
            },
            short => (short, 0, 0),
        };
        let masked = second & 0x80 != 0;
        let key = rest
            .get(extra..)
            .and_then(|rest| rest.first_chunk().copied());
        if masked && key.is_none() {
            return Parsed::More;
        }
        let header = Self {
            opcode: first & 0x0f,
            last: first & 0x80 != 0,
            compressed: first & 0x40 != 0,
            length,
            key: key.filter(|_| masked),
        };
        let known = matches!(
            header.opcode,
            opcode::CONTINUATION..=opcode::BINARY | opcode::CLOSE..=opcode::PONG
        );
        let control = !header.is_control() || header.last && !header.compressed && short < 126;
        if first & 0x30 != 0 || !known || !control || length < least || length >> 63 != 0 {
            return Parsed::Invalid;
        }
        let used = 2_usize.saturating_add(extra);
        Parsed::Header(header, used.saturating_add(if masked { 4 } else { 0 }))
    }

    /// Removes the mask of bytes that stand at `offset` in the payload.
    fn unmask(&self, bytes: &[u8], offset: u64) -> Vec<u8> {
        let Some(key) = self.key else {
            return bytes.to_vec();
        };
        let skip = usize::try_from(offset & 3).unwrap_or(0);
        let key = key.iter().cycle().skip(skip);
        bytes
            .iter()
            .zip(key)
            .map(|(byte, key)| byte ^ key)
            .collect()
    }
}

/// A search for frames. Their headers alone say little: only whole messages of JSON are taken for some.
pub(in crate::http) fn hunter(masked: bool, probes_left: u32) -> Hunter {
    let quarry = Quarry {
        guess: if masked { guess_masked } else { guess_unmasked },
        confirm,
    };
    Hunter::new(quarry, probes_left)
}

fn guess_masked(bytes: &[u8]) -> Guess {
    guess(bytes, true)
}

fn guess_unmasked(bytes: &[u8]) -> Guess {
    guess(bytes, false)
}

fn guess(bytes: &[u8], masked: bool) -> Guess {
    if !matches!(bytes.first(), None | Some(0x81 | 0x82 | 0xc1 | 0xc2)) {
        return Guess::No;
    }
    let (header, used) = match Header::parse(bytes) {
        Parsed::More => return Guess::More,
        Parsed::Invalid => return Guess::No,
        Parsed::Header(header, used) => (header, used),
    };
    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
    let total = length.saturating_add(used);
    if header.is_masked() != masked || total > MAX_FRAME_BYTES || length < 2 {
        return Guess::No;
    }
    let opening = bytes.get(used..used.saturating_add(1)).unwrap_or_default();
    match header.unmask(opening, 0).first() {
        None => Guess::More,
        Some(b'{' | b'[') => Guess::Frame(total),
        Some(_) if header.compressed => Guess::Frame(total),
        Some(_) => Guess::No,
    }
}

/// Whether a frame holds the beginning of a document.
fn confirm(bytes: &[u8]) -> bool {
    let Parsed::Header(header, used) = Header::parse(bytes) else {
        return false;
    };
    if !header.compressed {
        return true;
    }
    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
    let payload = bytes.get(used..).unwrap_or_default();
    let probe = payload.len().min(length).min(PROBE_BYTES);
    let payload = header.unmask(payload.get(..probe).unwrap_or_default(), 0);
    matches!(inflate::first_byte(&payload), Some(b'{' | b'['))
}

/// What a run of bytes led to.
#[derive(Debug)]
pub(super) enum Piece {
    /// A frame begins.
    Begin(Header, KTime),
    /// Bytes of its payload, without mask.
    Payload(Header, Vec<u8>),
    /// It ends.
    End(Header),
    /// These bytes are no frame: the next one is searched for, from them on.
    Lost(Vec<u8>),
    /// A frame was found; these bytes come before what is left of the input.
    Found(Vec<u8>),
}

/// Reads the frames of one direction.
#[derive(Debug)]
pub(super) struct FrameReader {
    state: State,
    /// Whether frames are masked: those of clients are, those of servers are not.
    masked: bool,
    /// Whether frames may be compressed.
    may_compress: bool,
    probes_left: u32,
    pub(super) skipped_bytes: u64,
}

#[derive(Debug)]
enum State {
    Header { bytes: Vec<u8>, started: KTime },
    Payload { header: Header, read: u64 },
    Hunting(Hunter),
}

impl State {
    fn header() -> Self {
        Self::Header {
            bytes: Vec::new(),
            started: KTime::default(),
        }
    }
}

impl FrameReader {
    /// A reader at the beginning of a direction.
    pub(super) fn new(masked: bool, may_compress: bool) -> Self {
        Self {
            state: State::header(),
            masked,
            may_compress,
            probes_left: MAX_PROBES,
            skipped_bytes: 0,
        }
    }

    /// A reader in the middle of a direction.
    pub(super) fn hunting(masked: bool) -> Self {
        let mut reader = Self::new(masked, true);
        reader.state = State::Hunting(hunter(masked, MAX_PROBES));
        reader
    }

    /// Bytes held.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.state {
            State::Header { bytes, .. } => bytes.len(),
            State::Hunting(hunter) => hunter.held_bytes(),
            State::Payload { .. } => 0,
        }
    }

    /// Reads up to the next piece.
    pub(super) fn next(&mut self, input: &mut &[u8], time: KTime) -> Option<Piece> {
        match &mut self.state {
            State::Header { .. } => self.header(input, time),
            State::Payload { header, read } => {
                let header = *header;
                let left = header.length.saturating_sub(*read);
                if left == 0 {
                    self.state = State::header();
                    return Some(Piece::End(header));
                }
                let bytes = take_front(input, left);
                let offset = *read;
                *read = read.saturating_add(bytes.len() as u64);
                let some = !bytes.is_empty();
                some.then(|| Piece::Payload(header, header.unmask(bytes, offset)))
            }
            State::Hunting(hunter) => {
                let found = hunter.push(input, &mut self.skipped_bytes)?;
                self.probes_left = hunter.looks_left();
                self.state = State::header();
                Some(Piece::Found(found))
            }
        }
    }

    /// Leaves out `missing` bytes; false if the reader fell out of step.
    pub(super) fn hole(&mut self, missing: u64) -> bool {
        if let State::Payload { header, read } = &mut self.state {
            let after = read.saturating_add(missing);
            if after <= header.length {
                *read = after;
                return true;
            }
        }
        if let State::Header { bytes, .. } = &self.state {
            self.count_skipped(bytes.len());
        }
        if let State::Hunting(hunter) = &self.state {
            self.probes_left = hunter.looks_left();
            self.count_skipped(hunter.held_bytes());
        }
        self.hunt();
        false
    }

    /// Ends the direction: gives what a search found last, and counts what was not read.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.state, State::header()) {
            State::Hunting(hunter) => hunter.finish(&mut self.skipped_bytes),
            State::Header { bytes, .. } => {
                self.count_skipped(bytes.len());
                None
            }
            State::Payload { .. } => None,
        }
    }

    fn count_skipped(&mut self, count: usize) {
        self.skipped_bytes = self.skipped_bytes.saturating_add(count as u64);
    }

    fn hunt(&mut self) {
        // What was negotiated cannot be relied on any more.
        self.may_compress = true;
        self.state = State::Hunting(hunter(self.masked, self.probes_left));
    }

    fn header(&mut self, input: &mut &[u8], time: KTime) -> Option<Piece> {
        let State::Header { bytes, started } = &mut self.state else {
            return None;
        };
        loop {
            let (&byte, rest) = input.split_first()?;
            if bytes.is_empty() {
                *started = time;
            }
            bytes.push(byte);
            *input = rest;
            let parsed = Header::parse(bytes);
            if let Parsed::Header(header, _) = parsed
                && header.is_masked() == self.masked
                && (self.may_compress || !header.compressed)
            {
                let started = *started;
                self.state = State::Payload { header, read: 0 };
                return Some(Piece::Begin(header, started));
            }
            if parsed != Parsed::More || bytes.len() >= MAX_HEADER_BYTES {
                let bytes = std::mem::take(bytes);
                self.hunt();
                return Some(Piece::Lost(bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_standard_says() {
        let header = |opcode, last, compressed, length, key| Header {
            opcode,
            last,
            compressed,
            length,
            key,
        };
        let key = Some([1, 2, 3, 4]);
        for (bytes, expected) in [
            (
                &[0x81, 5][..],
                Parsed::Header(header(1, true, false, 5, None), 2),
            ),
            (
                &[0xc1, 0x85, 1, 2, 3, 4],
                Parsed::Header(header(1, true, true, 5, key), 6),
            ),
            (
                &[0x02, 126, 1, 0],
                Parsed::Header(header(2, false, false, 256, None), 4),
            ),
            (
                &[0x80, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4],
                Parsed::Header(header(0, true, false, 1 << 16, key), 14),
            ),
            (
                &[0x89, 0],
                Parsed::Header(header(9, true, false, 0, None), 2),
            ),
            (&[], Parsed::More),
            (&[0x81, 126, 1], Parsed::More),
            (&[0x81, 0x85, 1, 2, 3], Parsed::More),
            // Reserved bits and opcodes, long and cut control frames, lengths in too many bytes.
            (&[0x91, 5], Parsed::Invalid),
            (&[0x83, 5], Parsed::Invalid),
            (&[0x8b, 5], Parsed::Invalid),
            (&[0x09, 0], Parsed::Invalid),
            (&[0x89, 126, 0, 200], Parsed::Invalid),
            (&[0x81, 126, 0, 5], Parsed::Invalid),
            (&[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Parsed::Invalid),
        ] {
            assert_eq!(Header::parse(bytes), expected, "{bytes:?}");
        }
    }
}
