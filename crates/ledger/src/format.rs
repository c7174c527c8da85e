//! Byte layouts of version 1, as `docs/adr/0006-ledger-format.md` has them. All integers are
//! little-endian; reserved bytes are written as zero and ignored by readers.

use agentsight_model::KTime;

use crate::fields::{Fields, PutFields};
use crate::files::SESSION_ID_BYTES;
use crate::hash::LEAF_BYTES;
use crate::{ChainHash, KindSet};

/// The version that this program writes, and the newest that it reads.
pub(crate) const VERSION: u16 = 1;

/// Largest record, payload and its header together. Bounds what one record can make a reader allocate,
/// with room for a conversation of several million tokens.
pub const MAX_RECORD_BYTES: usize = 64 << 20;

/// Largest raw length of a block that holds more than one record.
pub(crate) const MAX_BLOCK_RAW_BYTES: usize = 256 << 10;

/// Most that a block above [`MAX_BLOCK_RAW_BYTES`] may grow when decompressed; a writer stores what
/// compresses better than that as it is. Keeps the work of reading linear in the size of the file.
pub(crate) const MAX_EXPANSION: usize = 256;

/// Bytes in front of the payload of a record.
pub(crate) const RECORD_HEADER_BYTES: usize = 8;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 256;
pub(crate) const BLOCK_HEADER_BYTES: usize = 88;
pub(crate) const BLOCK_TRAILER_BYTES: usize = 40;

const SEGMENT_MAGIC: [u8; 8] = *b"ASLEDGER";
const BLOCK_MAGIC: [u8; 4] = *b"ASLB";
const TRAILER_MAGIC: [u8; 4] = *b"BLSA";
/// Part of a segment header that its own hash covers.
const SEGMENT_HASHED_BYTES: usize = SEGMENT_HEADER_BYTES - 32;

/// No record can have a number beyond this, so that sums of numbers and counts never overflow.
const MAX_SEQ: u64 = u64::MAX / 2;

/// The first bytes of a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) version: u16,
    pub(crate) segment: u32,
    pub(crate) first_seq: u64,
    pub(crate) session_id: String,
    /// Chain hash at the end of the segment before.
    pub(crate) prev: ChainHash,
}

impl SegmentHeader {
    /// The header's bytes and their hash, which the first block of the segment continues.
    pub(crate) fn encode(&self) -> (Vec<u8>, ChainHash) {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.put(&SEGMENT_MAGIC);
        bytes.put_u16(self.version);
        bytes.put_u16(SEGMENT_HEADER_BYTES as u16);
        bytes.put_u32(self.segment);
        bytes.put_u64(self.first_seq);
        bytes.put_u32(0);
        put_session_id(&mut bytes, &self.session_id);
        bytes.put(&self.prev.0);
        // Room for the id of a signing key (32) and a signature over everything before it (64).
        bytes.zeros_until(SEGMENT_HASHED_BYTES);
        let hash = ChainHash::of(&[&bytes]);
        bytes.put(&hash.0);
        (bytes, hash)
    }

    /// The fields of a header, whether or not its hash holds; `None` if it is no segment header.
    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        if fields.array()? != SEGMENT_MAGIC {
            return None;
        }
        let version = fields.u16()?;
        let _header_bytes = fields.u16()?;
        let segment = fields.u32()?;
        let first_seq = fields.u64().filter(|seq| *seq <= MAX_SEQ)?;
        let _flags = fields.u32()?;
        let session_id = take_session_id(&mut fields)?;
        Some(Self {
            version,
            segment,
            first_seq,
            session_id,
            prev: ChainHash(fields.array()?),
        })
    }

    /// The hash that the header should have, and the one that it has.
    pub(crate) fn hashes(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> (ChainHash, ChainHash) {
        let (hashed, stored) = bytes
            .split_last_chunk::<32>()
            .map_or((&bytes[..], [0; 32]), |(hashed, stored)| (hashed, *stored));
        (ChainHash::of(&[hashed]), ChainHash(stored))
    }
}

/// Puts 68 bytes: length, padding, id.
pub(crate) fn put_session_id(bytes: &mut Vec<u8>, id: &str) {
    let start = bytes.len();
    bytes.put_u8(id.len().min(SESSION_ID_BYTES) as u8);
    bytes.zeros_until(start + 4);
    bytes.put(id.as_bytes());
    bytes.zeros_until(start + 4 + SESSION_ID_BYTES);
}

pub(crate) fn take_session_id(fields: &mut Fields<'_>) -> Option<String> {
    let length = usize::from(fields.u8()?);
    fields.slice(3)?;
    let id = fields.slice(SESSION_ID_BYTES)?.get(..length)?;
    let id = std::str::from_utf8(id).ok()?;
    crate::is_session_id(id).then(|| id.to_owned())
}

/// How the records of a block are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Plain = 0,
    Zstd = 1,
}

/// The last block of a ledger that was closed in order.
pub(crate) const BLOCK_FLAG_END: u8 = 1;

/// What is known of a block without decompressing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) codec: Codec,
    pub(crate) flags: u8,
    pub(crate) first_seq: u64,
    pub(crate) records: u32,
    pub(crate) raw_bytes: u32,
    pub(crate) stored_bytes: u32,
    pub(crate) earliest: KTime,
    pub(crate) latest: KTime,
    pub(crate) kinds: KindSet,
    pub(crate) prev: ChainHash,
}

impl BlockHeader {
    pub(crate) fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put(&BLOCK_MAGIC);
        bytes.put_u16(VERSION);
        bytes.put_u8(self.codec as u8);
        bytes.put_u8(self.flags);
        bytes.put_u64(self.first_seq);
        bytes.put_u32(self.records);
        bytes.put_u32(self.raw_bytes);
        bytes.put_u32(self.stored_bytes);
        bytes.put_u32(0);
        bytes.put_u64(self.earliest.0);
        bytes.put_u64(self.latest.0);
        bytes.put_u64(self.kinds.0);
        bytes.put(&self.prev.0);
    }

    /// A header that could be a writer's: `Err` says what rules that out.
    pub(crate) fn decode(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Result<Self, &'static str> {
        let header = Self::fields(bytes)?;
        header.check()?;
        Ok(header)
    }

    fn fields(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Result<Self, &'static str> {
        const SHORT: &str = "block header is too short";
        let mut fields = Fields::new(bytes);
        if fields.array() != Some(BLOCK_MAGIC) {
            return Err("no block begins here");
        }
        if fields.u16() != Some(VERSION) {
            return Err("block has an unknown version");
        }
        let codec = match fields.u8() {
            Some(0) => Codec::Plain,
            Some(1) => Codec::Zstd,
            _ => return Err("block has an unknown codec"),
        };
        let flags = fields.u8().ok_or(SHORT)?;
        let first_seq = fields.u64().ok_or(SHORT)?;
        let records = fields.u32().ok_or(SHORT)?;
        let raw_bytes = fields.u32().ok_or(SHORT)?;
        let stored_bytes = fields.u32().ok_or(SHORT)?;
        let _reserved = fields.u32();
        Ok(Self {
            codec,
            flags,
            first_seq,
            records,
            raw_bytes,
            stored_bytes,
            earliest: KTime(fields.u64().ok_or(SHORT)?),
            latest: KTime(fields.u64().ok_or(SHORT)?),
            kinds: KindSet(fields.u64().ok_or(SHORT)?),
            prev: ChainHash(fields.array().ok_or(SHORT)?),
        })
    }

    /// Every bound that a writer keeps, so that nothing is allocated or walked on a liar's word.
    fn check(&self) -> Result<(), &'static str> {
        let (raw, stored) = (self.raw_bytes as usize, self.stored_bytes as usize);
        let records = self.records as usize;
        if self.first_seq > MAX_SEQ {
            return Err("block has an impossible record number");
        }
        if self.codec == Codec::Plain && stored != raw {
            return Err("block has two lengths for the same bytes");
        }
        if raw > MAX_RECORD_BYTES || stored > raw || records > raw / RECORD_HEADER_BYTES {
            return Err("block has impossible lengths");
        }
        if raw > MAX_BLOCK_RAW_BYTES && (records > 1 || raw / MAX_EXPANSION > stored) {
            return Err("block is larger than a writer makes it");
        }
        if (records == 0) != (raw == 0) || (records == 0 && !self.is_end()) {
            return Err("block holds no record");
        }
        Ok(())
    }

    pub(crate) fn is_end(&self) -> bool {
        self.flags & BLOCK_FLAG_END != 0
    }

    /// Number of the record after the block's last.
    pub(crate) fn end_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.records))
    }

    pub(crate) fn leaf_bytes(&self) -> usize {
        self.records as usize * LEAF_BYTES
    }

    /// Length of the whole block, header and trailer included: little more than [`MAX_RECORD_BYTES`],
    /// as a block with many records is small.
    pub(crate) fn block_bytes(&self) -> usize {
        BLOCK_HEADER_BYTES + self.stored_bytes as usize + self.leaf_bytes() + BLOCK_TRAILER_BYTES
    }
}

/// The last bytes of a block. The length lets a reader walk backwards from a known end, which finds
/// the blocks behind one whose header is damaged without trusting what looks like a header elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockTrailer {
    pub(crate) hash: ChainHash,
    pub(crate) block_bytes: u32,
}

impl BlockTrailer {
    pub(crate) fn put(self, bytes: &mut Vec<u8>) {
        bytes.put(&self.hash.0);
        bytes.put_u32(self.block_bytes);
        bytes.put(&TRAILER_MAGIC);
    }

    pub(crate) fn decode(bytes: &[u8; BLOCK_TRAILER_BYTES]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let trailer = Self {
            hash: ChainHash(fields.array()?),
            block_bytes: fields.u32()?,
        };
        (fields.array() == Some(TRAILER_MAGIC)).then_some(trailer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> SegmentHeader {
        SegmentHeader {
            version: VERSION,
            segment: 7,
            first_seq: 99,
            session_id: "01JCZ9".into(),
            prev: ChainHash([3; 32]),
        }
    }

    fn block() -> BlockHeader {
        BlockHeader {
            codec: Codec::Zstd,
            flags: 0,
            first_seq: 5,
            records: 2,
            raw_bytes: 100,
            stored_bytes: 50,
            earliest: KTime(1),
            latest: KTime(2),
            kinds: KindSet(4),
            prev: ChainHash([9; 32]),
        }
    }

    fn encoded(header: &BlockHeader) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = Vec::new();
        header.put(&mut bytes);
        bytes.try_into().unwrap()
    }

    #[test]
    fn headers_and_trailers_survive_their_bytes() {
        let (bytes, hash) = segment().encode();
        let bytes: [u8; SEGMENT_HEADER_BYTES] = bytes.try_into().unwrap();
        assert_eq!(SegmentHeader::decode(&bytes), Some(segment()));
        assert_eq!(SegmentHeader::hashes(&bytes), (hash, hash));

        assert_eq!(BlockHeader::decode(&encoded(&block())), Ok(block()));

        let trailer = BlockTrailer {
            hash,
            block_bytes: 7,
        };
        let mut bytes = Vec::new();
        trailer.put(&mut bytes);
        let bytes: [u8; BLOCK_TRAILER_BYTES] = bytes.try_into().unwrap();
        assert_eq!(BlockTrailer::decode(&bytes), Some(trailer));
    }

    #[test]
    fn every_byte_of_a_segment_header_is_covered() {
        let (bytes, _) = segment().encode();
        for index in 0..bytes.len() {
            let mut bytes: [u8; SEGMENT_HEADER_BYTES] = bytes.clone().try_into().unwrap();
            bytes[index] ^= 1;
            let (computed, stored) = SegmentHeader::hashes(&bytes);
            assert_ne!(computed, stored, "byte {index}");
        }
    }

    #[test]
    fn headers_that_no_writer_makes_are_refused() {
        let large = MAX_BLOCK_RAW_BYTES as u32 + 1;
        for (name, header) in [
            (
                "stored > raw",
                BlockHeader {
                    stored_bytes: 101,
                    ..block()
                },
            ),
            (
                "more records than fit",
                BlockHeader {
                    records: 13,
                    ..block()
                },
            ),
            (
                "records without bytes",
                BlockHeader {
                    raw_bytes: 0,
                    stored_bytes: 0,
                    ..block()
                },
            ),
            (
                "bytes without records",
                BlockHeader {
                    records: 0,
                    ..block()
                },
            ),
            (
                "empty, not the end",
                BlockHeader {
                    records: 0,
                    raw_bytes: 0,
                    stored_bytes: 0,
                    ..block()
                },
            ),
            (
                "above the limit",
                BlockHeader {
                    raw_bytes: u32::MAX,
                    records: 1,
                    ..block()
                },
            ),
            (
                "large, two records",
                BlockHeader {
                    raw_bytes: large,
                    stored_bytes: large,
                    ..block()
                },
            ),
            (
                "expands too much",
                BlockHeader {
                    raw_bytes: 60 << 20,
                    records: 1,
                    ..block()
                },
            ),
            (
                "sequence",
                BlockHeader {
                    first_seq: u64::MAX,
                    ..block()
                },
            ),
        ] {
            assert!(BlockHeader::decode(&encoded(&header)).is_err(), "{name}");
        }
    }
}
