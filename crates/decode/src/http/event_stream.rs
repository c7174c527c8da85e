//! AWS event streams (`application/vnd.amazon.eventstream`), fed with any runs of bytes.
//!
//! A message is a prelude (total length, length of the headers, CRC-32 of both), headers, a payload, and
//! the CRC-32 of all of it; numbers are big-endian. Both checksums are held to: a message that fails is
//! dropped and counted, and where the prelude fails, or bytes are missing, the next prelude whose
//! checksum holds is searched for.

use super::message::Headers;
use crate::text::hexadecimal;

/// Media type of event streams.
pub const MEDIA_TYPE: &str = "application/vnd.amazon.eventstream";

/// Two lengths and their checksum.
const PRELUDE_BYTES: usize = 12;

/// Prelude and the checksum at the end.
const FRAME_BYTES: usize = 16;

/// Greatest length of headers that the service sends.
const MAX_HEADER_BYTES: usize = 128 << 10;

/// Greatest length of a payload that the service sends.
const MAX_PAYLOAD_BYTES: usize = 24 << 20;

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its headers, such as `:event-type`, with values of all types as text: bytes and UUIDs in
    /// hexadecimal, times in milliseconds since 1970.
    pub headers: Headers,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// An incremental parser.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are dealt with.
    at: usize,
    /// Whether the next prelude must be searched for.
    hunting: bool,
    dropped_count: u64,
}

impl Parser {
    /// Takes bytes and appends the messages that they complete to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Message>) {
        self.buffer.extend_from_slice(bytes);
        while self.step(out) {}
        self.buffer.drain(..self.at.min(self.buffer.len()));
        self.at = 0;
    }

    /// Notes that bytes are missing here: the message in progress is given up.
    pub fn gap(&mut self) {
        self.buffer.clear();
        self.lose_step();
    }

    /// Whether a message has begun that has not ended.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Messages that were given up, and searches for the next one.
    #[must_use]
    pub fn dropped_count(&self) -> u64 {
        self.dropped_count
    }

    fn lose_step(&mut self) {
        if !std::mem::replace(&mut self.hunting, true) {
            self.dropped_count = self.dropped_count.saturating_add(1);
        }
    }

    /// Reads a message or passes over a byte; false if more bytes are needed.
    fn step(&mut self, out: &mut Vec<Message>) -> bool {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let Some(prelude) = rest.first_chunk::<PRELUDE_BYTES>() else {
            return false;
        };
        let Some(lengths) = Lengths::read(prelude) else {
            self.lose_step();
            self.at = self.at.saturating_add(1);
            return true;
        };
        let Some(whole) = rest.get(..lengths.total) else {
            return false;
        };
        match message_of(whole, lengths.headers) {
            Some(message) => out.push(message),
            None => self.dropped_count = self.dropped_count.saturating_add(1),
        }
        self.hunting = false;
        self.at = self.at.saturating_add(lengths.total);
        true
    }
}

/// Whether bytes begin as an event stream does: with a prelude whose checksum holds.
#[must_use]
pub fn begins(bytes: &[u8]) -> bool {
    bytes
        .first_chunk::<PRELUDE_BYTES>()
        .is_some_and(|prelude| Lengths::read(prelude).is_some())
}

/// What a prelude says.
struct Lengths {
    total: usize,
    headers: usize,
}

impl Lengths {
    /// `None` if the checksum does not hold, or the lengths are beyond the limits.
    fn read(prelude: &[u8; PRELUDE_BYTES]) -> Option<Self> {
        let total = usize::try_from(be32(prelude, 0)?).ok()?;
        let headers = usize::try_from(be32(prelude, 4)?).ok()?;
        let payload = total.checked_sub(FRAME_BYTES)?.checked_sub(headers)?;
        let fits = headers <= MAX_HEADER_BYTES && payload <= MAX_PAYLOAD_BYTES;
        // The lengths are looked at first: a search tries this at every byte.
        if !fits || crc32fast::hash(prelude.get(..8)?) != be32(prelude, 8)? {
            return None;
        }
        Some(Self { total, headers })
    }
}

/// The message in `whole`, if its checksum holds.
fn message_of(whole: &[u8], header_bytes: usize) -> Option<Message> {
    let end = whole.len().checked_sub(4)?;
    if crc32fast::hash(whole.get(..end)?) != be32(whole, end)? {
        return None;
    }
    let inner = whole.get(PRELUDE_BYTES..end)?;
    let (headers, payload) = inner.split_at_checked(header_bytes)?;
    Some(Message {
        headers: headers_of(headers),
        payload: payload.to_vec(),
    })
}

/// Headers, up to the first one that is malformed; that one is counted as omitted.
fn headers_of(mut block: &[u8]) -> Headers {
    let mut headers = Headers::default();
    while !block.is_empty() {
        let Some((name, value)) = take_header(&mut block) else {
            headers.omit();
            break;
        };
        headers.push(name, value);
    }
    headers
}

/// Takes a header off the front of `block`: length of the name, name, type, value.
fn take_header(block: &mut &[u8]) -> Option<(String, String)> {
    let length = take(block, 1)?.first().copied()?;
    let name = lossy(take(block, usize::from(length))?);
    let kind = take(block, 1)?.first().copied()?;
    let value = match kind {
        0 => "true".to_owned(),
        1 => "false".to_owned(),
        2 => i8::from_be_bytes(take_array(block)?).to_string(),
        3 => i16::from_be_bytes(take_array(block)?).to_string(),
        4 => i32::from_be_bytes(take_array(block)?).to_string(),
        5 | 8 => i64::from_be_bytes(take_array(block)?).to_string(),
        6 | 7 => {
            let length = u16::from_be_bytes(take_array(block)?);
            let bytes = take(block, usize::from(length))?;
            if kind == 6 {
                hexadecimal(bytes)
            } else {
                lossy(bytes)
            }
        }
        9 => hexadecimal(take(block, 16)?),
        _ => return None,
    };
    Some((name, value))
}

fn take<'a>(block: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (front, rest) = block.split_at_checked(count)?;
    *block = rest;
    Some(front)
}

fn take_array<const N: usize>(block: &mut &[u8]) -> Option<[u8; N]> {
    take(block, N)?.try_into().ok()
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message with string headers.
    fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in headers {
            block.push(name.len() as u8);
            block.extend_from_slice(name.as_bytes());
            block.push(7);
            block.extend_from_slice(&(value.len() as u16).to_be_bytes());
            block.extend_from_slice(value.as_bytes());
        }
        frame(&block, payload)
    }

    fn frame(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let total = (FRAME_BYTES + headers.len() + payload.len()) as u32;
        let mut out = total.to_be_bytes().to_vec();
        out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
        out.extend_from_slice(headers);
        out.extend_from_slice(payload);
        out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
        out
    }

    fn parse(runs: &[&[u8]]) -> (Vec<Message>, u64, bool) {
        let mut parser = Parser::default();
        let mut out = Vec::new();
        runs.iter().for_each(|run| parser.push(run, &mut out));
        (out, parser.dropped_count(), parser.is_inside())
    }

    fn payloads(messages: &[Message]) -> Vec<&[u8]> {
        messages.iter().map(|m| m.payload.as_slice()).collect()
    }

    /// The smallest message, with the checksums that the protocol's own description gives for it.
    #[test]
    fn the_empty_message_has_known_checksums() {
        let bytes = b"\0\0\0\x10\0\0\0\0\x05\xc2\x48\xeb\x7d\x98\xc8\xff";
        assert_eq!(frame(b"", b""), bytes);
        assert_eq!(parse(&[bytes]), (vec![Message::default()], 0, false));
    }

    #[test]
    fn headers_of_every_type_are_read() {
        let block = [
            &b"\x01a\x00\x01b\x01\x01c\x02\xff\x01d\x03\xff\xfe\x01e\x04\0\0\x01\0"[..],
            b"\x01f\x05\xff\xff\xff\xff\xff\xff\xff\xff\x01g\x06\0\x02\xca\xfe\x01h\x07\0\x01x",
            b"\x01i\x08\0\0\0\0\0\0\x03\xe8\x01j\x09",
            &[0xab; 16],
        ]
        .concat();
        let (messages, ..) = parse(&[&frame(&block, b"p")]);
        let read: Vec<_> = messages[0].headers.iter().map(|(_, value)| value).collect();
        let uuid = "ab".repeat(16);
        let expected = [
            "true", "false", "-1", "-2", "256", "-1", "cafe", "x", "1000", &uuid,
        ];
        assert_eq!(read, expected);
        assert_eq!(messages[0].payload, b"p");
    }

    #[test]
    fn headers_end_where_they_are_malformed() {
        for block in [
            &b"\x05ab"[..],
            b"\x01a\x0a",
            b"\x01a\x07\0\x09x",
            b"\x01a\x09\0",
        ] {
            let (messages, dropped, _) = parse(&[&frame(block, b"p")]);
            assert_eq!(messages[0].headers.iter().count(), 0);
            assert_eq!(messages[0].headers.omitted_count(), 1);
            assert_eq!(dropped, 0);
        }
    }

    #[test]
    fn what_fails_its_checksum_is_dropped_and_the_rest_is_read() {
        let first = encode(&[(":event-type", "chunk")], b"one");
        let second = encode(&[], b"two");
        let whole = [first.clone(), second.clone()].concat();
        for at in 0..first.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0x40;
            let (messages, dropped, _) = parse(&[&broken]);
            assert_eq!(payloads(&messages), [b"two"], "byte {at}");
            assert_eq!(dropped, 1, "byte {at}");
        }
    }

    #[test]
    fn after_a_gap_the_next_message_is_found() {
        let message = encode(&[(":event-type", "chunk")], b"payload");
        for at in 0..message.len() {
            let mut parser = Parser::default();
            let mut out = Vec::new();
            parser.push(&message[..at], &mut out);
            parser.gap();
            parser.push(&message[at.min(3)..], &mut out);
            parser.push(&message, &mut out);
            assert_eq!(payloads(&out).last(), Some(&&b"payload"[..]), "byte {at}");
            assert!(!parser.is_inside());
            assert_eq!(parser.dropped_count(), 1);
        }
    }

    #[test]
    fn lengths_beyond_the_limits_are_no_prelude() {
        let prelude = |total: u32, headers: u32| {
            let mut out = [total.to_be_bytes(), headers.to_be_bytes()].concat();
            out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
            out
        };
        for (total, headers, expected) in [
            (16, 0, true),
            (15, 0, false),
            (20, 5, false),
            (u32::MAX, 0, false),
            (200_016, 200_000, false),
            (24 << 20, 0, true),
        ] {
            assert_eq!(begins(&prelude(total, headers)), expected, "{total}");
        }
        assert!(!begins(b"\0\0\0\x10"));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5),
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            size in 1..50_usize,
        ) {
            let messages = payloads.iter().map(|payload| encode(&[(":event-type", "x")], payload));
            let mut bytes = messages.collect::<Vec<_>>().concat();
            for (at, value) in noise {
                let at = at.index(bytes.len() + 1);
                bytes.insert(at, value);
            }
            let whole = parse(&[&bytes]);
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(&parse(&pieces), &whole);
        }
    }
}
