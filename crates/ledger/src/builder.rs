//! Collects records into a block and gives the block its bytes.
//!
//! A record is first *staged* behind the records of the block, which tells its size; then it is added
//! to the block or, where it does not fit, kept for the next. All buffers are kept from block to block.
//! A record is hashed when it is added, while it is in the cache; sealing hashes the stored bytes once.

use agentsight_model::{Event, KTime};
use zstd::bulk::Compressor;

use crate::format::{
    BLOCK_HEADER_BYTES, BLOCK_TRAILER_BYTES, BlockHeader, BlockTrailer, Codec, MAX_BLOCK_RAW_BYTES,
    MAX_EXPANSION, MAX_RECORD_BYTES, RECORD_HEADER_BYTES,
};
use crate::record::{self, NewRecord};
use crate::{ChainHash, Encoding, Kind, KindSet, LedgerError, hash};

/// Capacity that the buffers keep after one large record made them larger.
const KEPT_CAPACITY: usize = 4 * MAX_BLOCK_RAW_BYTES;

/// The block that is being collected.
pub(crate) struct BlockBuilder {
    /// The records of the block, then the staged one.
    raw: Vec<u8>,
    /// Length of the records of the block.
    added_bytes: usize,
    raw_limit: usize,
    leaves: Vec<u8>,
    summary: Summary,
    compressor: Compressor<'static>,
    /// The packed records.
    stored: Vec<u8>,
    codec: Codec,
    /// The sealed block.
    block: Vec<u8>,
}

/// What the header of a block says about its records.
#[derive(Clone, Copy, Debug)]
struct Summary {
    records: u32,
    earliest: KTime,
    latest: KTime,
    kinds: KindSet,
}

impl Summary {
    const EMPTY: Self = Self {
        records: 0,
        earliest: KTime(u64::MAX),
        latest: KTime(0),
        kinds: KindSet(0),
    };
}

/// What a block has to know about the staged record besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staged {
    kind: Kind,
    time: KTime,
}

impl BlockBuilder {
    pub(crate) fn new(raw_limit: usize, level: i32) -> Result<Self, LedgerError> {
        Ok(Self {
            raw: Vec::new(),
            added_bytes: 0,
            raw_limit: raw_limit.min(MAX_BLOCK_RAW_BYTES),
            leaves: Vec::new(),
            summary: Summary::EMPTY,
            compressor: Compressor::new(level).map_err(LedgerError::Compression)?,
            stored: Vec::new(),
            codec: Codec::Plain,
            block: Vec::new(),
        })
    }

    /// Records in the block.
    pub(crate) fn records(&self) -> u32 {
        self.summary.records
    }

    /// Serialises an event behind the records of the block.
    pub(crate) fn stage(&mut self, event: &Event) -> Result<Staged, LedgerError> {
        self.raw.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        if let Err(error) = serde_json::to_writer(&mut self.raw, event) {
            self.unstage();
            return Err(LedgerError::Encode(error));
        }
        let staged = Staged {
            kind: Kind::from_name(event.body.kind()),
            time: event.time,
        };
        self.finish_staging(staged, Encoding::JSON)
    }

    /// Puts a serialised record behind the records of the block.
    pub(crate) fn stage_raw(&mut self, new: &NewRecord<'_>) -> Result<Staged, LedgerError> {
        // Checked before the payload is copied, as it may be of any size.
        check_size(new.payload.len().saturating_add(RECORD_HEADER_BYTES))?;
        self.raw.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        self.raw.extend_from_slice(new.payload);
        let staged = Staged {
            kind: new.kind,
            time: new.time,
        };
        self.finish_staging(staged, new.encoding)
    }

    fn finish_staging(
        &mut self,
        staged: Staged,
        encoding: Encoding,
    ) -> Result<Staged, LedgerError> {
        let record = self.raw.get_mut(self.added_bytes..).unwrap_or_default();
        let bytes = record.len();
        if let Some(header) = record.first_chunk_mut::<RECORD_HEADER_BYTES>() {
            let payload_bytes = bytes.saturating_sub(RECORD_HEADER_BYTES);
            *header = record::header(payload_bytes as u32, encoding, staged.kind);
        }
        check_size(bytes).inspect_err(|_| self.unstage())?;
        Ok(staged)
    }

    /// Whether the staged record has to go into another block than those before it.
    pub(crate) fn overflows(&self) -> bool {
        self.added_bytes > 0 && self.raw.len() > self.raw_limit
    }

    /// Forgets the staged record.
    pub(crate) fn unstage(&mut self) {
        self.raw.truncate(self.added_bytes);
    }

    /// Adds the staged record to the block.
    pub(crate) fn add(&mut self, staged: Staged) {
        let record = self.raw.get(self.added_bytes..).unwrap_or_default();
        self.leaves.extend_from_slice(&hash::leaf(record));
        self.added_bytes = self.raw.len();
        let summary = &mut self.summary;
        summary.records += 1;
        summary.earliest = summary.earliest.min(staged.time);
        summary.latest = summary.latest.max(staged.time);
        summary.kinds.insert(staged.kind);
    }

    /// Compresses the records of the block; returns the length that the whole block will have.
    pub(crate) fn pack(&mut self) -> Result<u64, LedgerError> {
        let raw = self.raw.get(..self.added_bytes).unwrap_or_default();
        self.stored.clear();
        self.codec = Codec::Plain;
        if !raw.is_empty() {
            self.stored
                .reserve(zstd::zstd_safe::compress_bound(raw.len()));
            let length = self
                .compressor
                .compress_to_buffer(raw, &mut self.stored)
                .map_err(LedgerError::Compression)?;
            let expands_too_much =
                raw.len() > MAX_BLOCK_RAW_BYTES && raw.len() / MAX_EXPANSION > length;
            if length < raw.len() && !expands_too_much {
                self.codec = Codec::Zstd;
            } else {
                self.stored.clear();
                self.stored.extend_from_slice(raw);
            }
        }
        let bytes =
            BLOCK_HEADER_BYTES + self.stored.len() + self.leaves.len() + BLOCK_TRAILER_BYTES;
        Ok(bytes as u64)
    }

    /// Gives the packed block its header and trailer: its bytes and its hash.
    pub(crate) fn seal(
        &mut self,
        first_seq: u64,
        prev: ChainHash,
        flags: u8,
    ) -> (&[u8], ChainHash) {
        let summary = self.summary;
        let header = BlockHeader {
            codec: self.codec,
            flags,
            first_seq,
            records: summary.records,
            raw_bytes: self.added_bytes as u32,
            stored_bytes: self.stored.len() as u32,
            earliest: summary.earliest.min(summary.latest),
            latest: summary.latest,
            kinds: summary.kinds,
            prev,
        };
        self.block.clear();
        header.put(&mut self.block);
        self.block.extend_from_slice(&self.stored);
        self.block.extend_from_slice(&self.leaves);
        let hash = ChainHash::of(&[&self.block]);
        let trailer = BlockTrailer {
            hash,
            block_bytes: header.block_bytes() as u32,
        };
        trailer.put(&mut self.block);
        (&self.block, hash)
    }

    /// Begins the next block, with the staged record still staged.
    pub(crate) fn restart(&mut self) {
        self.raw.drain(..self.added_bytes);
        self.added_bytes = 0;
        self.summary = Summary::EMPTY;
        self.leaves.clear();
        self.stored.clear();
        self.block.clear();
        for buffer in [&mut self.raw, &mut self.stored, &mut self.block] {
            if buffer.capacity() > KEPT_CAPACITY {
                buffer.shrink_to(KEPT_CAPACITY);
            }
        }
    }
}

impl std::fmt::Debug for BlockBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockBuilder")
            .field("summary", &self.summary)
            .field("raw_bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}

fn check_size(bytes: usize) -> Result<(), LedgerError> {
    if bytes > MAX_RECORD_BYTES {
        return Err(LedgerError::RecordTooLarge {
            bytes,
            limit: MAX_RECORD_BYTES,
        });
    }
    Ok(())
}
