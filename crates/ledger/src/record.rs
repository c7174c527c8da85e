//! One record: a small header and the serialised event.
//!
//! ```text
//! payload length u32 | encoding u8 | kind u8 | reserved u16 | payload
//! ```

use agentsight_model::KTime;

use crate::Kind;
use crate::fields::{Fields, PutFields};
use crate::format::RECORD_HEADER_BYTES;

/// How the payload of a record is encoded. Other values are readable as raw records only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encoding(pub u8);

impl Encoding {
    /// One [`agentsight_model::Event`] as JSON.
    pub const JSON: Self = Self(1);
}

/// A record to be appended as it is.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// When it happened.
    pub time: KTime,
    /// The kind of event, for readers that skip what they do not look for.
    pub kind: Kind,
    /// How the payload is encoded.
    pub encoding: Encoding,
    /// The serialised event.
    pub payload: &'a [u8],
}

/// A record as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Its number, from 0.
    pub seq: u64,
    /// The kind of event.
    pub kind: Kind,
    /// How the payload is encoded.
    pub encoding: Encoding,
    /// The serialised event.
    pub payload: &'a [u8],
}

/// The header of a record with `payload_bytes` bytes of payload.
pub(crate) fn header(
    payload_bytes: u32,
    encoding: Encoding,
    kind: Kind,
) -> [u8; RECORD_HEADER_BYTES] {
    let mut bytes = Vec::with_capacity(RECORD_HEADER_BYTES);
    bytes.put_u32(payload_bytes);
    bytes.put_u8(encoding.0);
    bytes.put_u8(kind.0);
    bytes.zeros_until(RECORD_HEADER_BYTES);
    bytes.first_chunk().copied().unwrap_or_default()
}

/// A record within the raw bytes of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framed<'a> {
    pub(crate) encoding: Encoding,
    pub(crate) kind: Kind,
    pub(crate) payload: &'a [u8],
    /// Header and payload: what the leaf hash covers.
    pub(crate) bytes: &'a [u8],
}

/// Takes the records out of the raw bytes of a block, one by one. Ends early, with bytes left over, if
/// the next ones are no record.
pub(crate) struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    pub(crate) fn new(raw: &'a [u8]) -> Self {
        Self(raw)
    }

    /// Bytes that no record was made of yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Framed<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut fields = Fields::new(self.0);
        let payload_bytes = fields.u32()? as usize;
        let encoding = Encoding(fields.u8()?);
        let kind = Kind(fields.u8()?);
        fields.u16()?;
        let payload = fields.slice(payload_bytes)?;
        let (bytes, rest) = self
            .0
            .split_at_checked(RECORD_HEADER_BYTES + payload_bytes)?;
        self.0 = rest;
        Some(Framed {
            encoding,
            kind,
            payload,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_until_the_bytes_are_none() {
        let mut raw = Vec::new();
        for payload in [&b"one"[..], b"", b"three"] {
            raw.put(&header(payload.len() as u32, Encoding::JSON, Kind(4)));
            raw.put(payload);
        }
        raw.put(&header(9, Encoding::JSON, Kind(4)));
        let mut records = Records::new(&raw);
        let payloads: Vec<_> = records.by_ref().map(|record| record.payload).collect();
        assert_eq!(payloads, [&b"one"[..], b"", b"three"]);
        assert_eq!(records.rest().len(), RECORD_HEADER_BYTES);
    }

    #[test]
    fn a_huge_length_is_no_record() {
        let raw = header(u32::MAX, Encoding::JSON, Kind(1));
        assert!(Records::new(&raw).next().is_none());
    }
}
