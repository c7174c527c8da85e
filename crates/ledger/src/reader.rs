//! Reads the records of a ledger, in order and lazily.

use std::path::Path;

use agentsight_model::{Event, KTime};

use crate::block::{self, Block, Unpacker};
use crate::cursor::{BlockPosition, Cursor};
use crate::format::BlockHeader;
use crate::record::Records;
use crate::{Encoding, KindSet, LedgerError, RawRecord};

/// Reads the records of a ledger, whether it is complete, still being written, or stops short.
///
/// As an iterator it yields numbered events. An `Err` item reports damage (or a record that is no event)
/// once, and what lies behind it follows. `None` means that there is nothing more at this moment: after
/// it, a ledger that is being written may yield more.
///
/// Every block is checked against its own hash before it is decompressed; only [`crate::verify`] checks
/// that the blocks are all there and in order.
#[derive(Debug)]
pub struct Reader {
    cursor: Cursor,
    block: Block,
    unpacker: Unpacker,
    current: Current,
    closed: bool,
}

/// The block that records are taken from.
#[derive(Debug)]
struct Current {
    position: BlockPosition,
    /// Raw bytes that were taken.
    taken_bytes: usize,
    next_seq: u64,
    end_seq: u64,
}

impl Current {
    fn at(position: BlockPosition) -> Self {
        Self {
            position,
            taken_bytes: 0,
            next_seq: 0,
            end_seq: 0,
        }
    }
}

impl Reader {
    /// Opens the ledger in `dir`, at its first record.
    ///
    /// # Errors
    /// If there is no ledger, or if it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        Ok(Self {
            cursor: Cursor::open(dir)?,
            block: Block::default(),
            unpacker: Unpacker::new().map_err(LedgerError::Compression)?,
            current: Current::at(BlockPosition {
                segment: 1,
                offset: 0,
            }),
            closed: false,
        })
    }

    /// The session, as far as the ledger says so.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.cursor.session_id()
    }

    /// Whether the end of a session that ended in order was read.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Goes on with the block at `position`, as [`blocks`] or an index has it.
    pub fn seek(&mut self, position: BlockPosition) {
        self.cursor.seek(position);
        self.current = Current::at(position);
        self.closed = false;
    }

    /// The next record, as it is stored. `None` as for the iterator.
    pub fn next_raw(&mut self) -> Option<Result<RawRecord<'_>, LedgerError>> {
        if let Err(error) = self.fill()? {
            return Some(Err(error));
        }
        let current = &mut self.current;
        let rest = self.unpacker.raw().get(current.taken_bytes..)?;
        let Some(record) = Records::new(rest).next() else {
            current.next_seq = current.end_seq;
            let reason = "block holds fewer records than it states";
            return Some(Err(self.cursor.damaged(current.position, reason)));
        };
        let seq = current.next_seq;
        current.taken_bytes += record.bytes.len();
        current.next_seq += 1;
        Some(Ok(RawRecord {
            seq,
            kind: record.kind,
            encoding: record.encoding,
            payload: record.payload,
        }))
    }

    /// Makes sure that there is a record to take.
    fn fill(&mut self) -> Option<Result<(), LedgerError>> {
        while self.current.next_seq >= self.current.end_seq {
            if let Err(error) = self.load()? {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }

    fn load(&mut self) -> Option<Result<(), LedgerError>> {
        let block = &mut self.block;
        let loaded = self
            .cursor
            .next_block(|file, offset, length| block.read(file, offset, length))?;
        Some(loaded.and_then(|(position, header)| self.unpack(position, &header)))
    }

    fn unpack(&mut self, position: BlockPosition, header: &BlockHeader) -> Result<(), LedgerError> {
        if self.block.computed_hash() != self.block.stated_hash() {
            return Err(self.cursor.damaged(position, "block was changed"));
        }
        if self.unpacker.unpack(header, &self.block).is_none() {
            let reason = "block does not decompress to what it states";
            return Err(self.cursor.damaged(position, reason));
        }
        self.closed = header.is_end();
        self.current = Current {
            position,
            taken_bytes: 0,
            next_seq: header.first_seq,
            end_seq: header.end_seq(),
        };
        Ok(())
    }
}

impl Iterator for Reader {
    type Item = Result<(u64, Event), LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_raw()?.and_then(decode))
    }
}

fn decode(record: RawRecord<'_>) -> Result<(u64, Event), LedgerError> {
    let seq = record.seq;
    if record.encoding != Encoding::JSON {
        return Err(LedgerError::UnknownEncoding {
            seq,
            encoding: record.encoding.0,
        });
    }
    serde_json::from_slice(record.payload)
        .map(|event| (seq, event))
        .map_err(|source| LedgerError::Record { seq, source })
}

/// What is known of a block without decompressing it: one entry of a sparse index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Where it begins.
    pub position: BlockPosition,
    /// Number of its first record.
    pub first_seq: u64,
    /// How many records it holds; 0 only for the mark that ends a closed ledger.
    pub records: u32,
    /// Time of the earliest of them.
    pub earliest: KTime,
    /// Time of the latest of them.
    pub latest: KTime,
    /// The kinds of events in it.
    pub kinds: KindSet,
}

/// The blocks of a ledger, by their headers alone. Items and the end are as for [`Reader`].
#[derive(Debug)]
pub struct Blocks(Cursor);

/// Lists the blocks of the ledger in `dir`.
///
/// # Errors
/// If there is no ledger, or if it cannot be read.
pub fn blocks(dir: &Path) -> Result<Blocks, LedgerError> {
    Cursor::open(dir).map(Blocks)
}

impl Iterator for Blocks {
    type Item = Result<BlockInfo, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        let peeked = self.0.next_block(|file, offset, length| {
            block::peek(file, offset, length).map(|(header, _)| header)
        })?;
        Some(peeked.map(|(position, header)| BlockInfo {
            position,
            first_seq: header.first_seq,
            records: header.records,
            earliest: header.earliest,
            latest: header.latest,
            kinds: header.kinds,
        }))
    }
}
