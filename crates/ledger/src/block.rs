//! Reads blocks back: first their bytes, with boundaries that can be believed, then their records.
//!
//! The hash of a block covers its bytes as they are stored. So a reader can tell that a block is what
//! was written before it hands any of it to the decompressor.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use zstd::bulk::Decompressor;

use crate::ChainHash;
use crate::format::{
    BLOCK_HEADER_BYTES, BLOCK_TRAILER_BYTES, BlockHeader, BlockTrailer, Codec, SEGMENT_HEADER_BYTES,
};
use crate::hash::LEAF_BYTES;

/// Largest window that a frame may ask a decoder to keep, as a power of two: that of the largest block.
const MAX_WINDOW_LOG: u32 = 26;

/// Capacity that buffers keep after one large block.
const KEPT_CAPACITY: usize = 4 << 20;

/// Why no block could be read at a place.
#[derive(Debug)]
pub(crate) enum BlockFault {
    /// The file ends here.
    End,
    /// The file ends within what may be a block.
    Short,
    /// The bytes here are no block of a writer.
    NotABlock(&'static str),
    /// The system refused.
    Io(io::Error),
}

impl From<io::Error> for BlockFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The file became shorter since its length was taken.
            io::ErrorKind::UnexpectedEof => Self::Short,
            _ => Self::Io(error),
        }
    }
}

fn read_array<const N: usize>(file: &File, offset: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// The first bytes of a segment file of `length` bytes, if it has as many.
pub(crate) fn read_segment_header(
    file: &File,
    length: u64,
) -> io::Result<Option<[u8; SEGMENT_HEADER_BYTES]>> {
    if length < SEGMENT_HEADER_BYTES as u64 {
        return Ok(None);
    }
    read_array(file, 0).map(Some)
}

/// Reads the header of the block at `offset` in a file of `length` bytes, and its trailer; both have to
/// agree on the block's length.
pub(crate) fn peek(
    file: &File,
    offset: u64,
    length: u64,
) -> Result<(BlockHeader, BlockTrailer), BlockFault> {
    let header = read_header(file, offset, length)?;
    let trailer_offset = offset
        .saturating_add(header.block_bytes() as u64)
        .saturating_sub(BLOCK_TRAILER_BYTES as u64);
    let trailer = check_trailer(&header, &read_array(file, trailer_offset)?)?;
    Ok((header, trailer))
}

fn read_header(file: &File, offset: u64, length: u64) -> Result<BlockHeader, BlockFault> {
    let left = length.saturating_sub(offset);
    if left == 0 {
        return Err(BlockFault::End);
    }
    if left < BLOCK_HEADER_BYTES as u64 {
        return Err(BlockFault::Short);
    }
    let header = BlockHeader::decode(&read_array(file, offset)?).map_err(BlockFault::NotABlock)?;
    // Before anything is allocated: the bytes have to be there.
    if left < header.block_bytes() as u64 {
        return Err(BlockFault::Short);
    }
    Ok(header)
}

fn check_trailer(
    header: &BlockHeader,
    bytes: &[u8; BLOCK_TRAILER_BYTES],
) -> Result<BlockTrailer, BlockFault> {
    BlockTrailer::decode(bytes)
        .filter(|trailer| trailer.block_bytes as usize == header.block_bytes())
        .ok_or(BlockFault::NotABlock(
            "block does not end where its header says",
        ))
}

/// What walking backwards from the end of a segment found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Backtrack {
    /// Where the first of an unbroken row of blocks begins that reaches to the end.
    pub(crate) resume: Option<u64>,
    /// Whether the segment ends with the end of a block: nothing was cut off within one.
    pub(crate) ends_whole: bool,
}

/// Walks backwards from `end`, the end of a block, while blocks join, but not beyond `from`.
///
/// Blocks between two damaged places are not found, so that the work is linear in the size of the
/// segment however much of it is damaged.
pub(crate) fn backtrack(file: &File, from: u64, end: u64) -> Backtrack {
    let mut start = end;
    let mut next_prev = None;
    let mut ends_whole = false;
    while let Some(trailer_offset) = start
        .checked_sub(BLOCK_TRAILER_BYTES as u64)
        .filter(|offset| *offset >= from)
    {
        let Some(trailer) = read_array(file, trailer_offset)
            .ok()
            .and_then(|bytes| BlockTrailer::decode(&bytes))
            .filter(|trailer| next_prev.is_none_or(|prev| prev == trailer.hash))
        else {
            break;
        };
        ends_whole = true;
        let Some(offset) = start
            .checked_sub(u64::from(trailer.block_bytes))
            .filter(|offset| *offset > from)
        else {
            break;
        };
        let Ok((header, _)) = peek(file, offset, start) else {
            break;
        };
        if offset.saturating_add(header.block_bytes() as u64) != start {
            break;
        }
        start = offset;
        next_prev = Some(header.prev);
    }
    Backtrack {
        resume: (start < end).then_some(start),
        ends_whole,
    }
}

/// The bytes of one block.
#[derive(Debug, Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    stored_bytes: usize,
    leaf_bytes: usize,
    trailer_hash: ChainHash,
}

impl Block {
    /// Reads the block at `offset` in a file of `length` bytes.
    pub(crate) fn read(
        &mut self,
        file: &File,
        offset: u64,
        length: u64,
    ) -> Result<BlockHeader, BlockFault> {
        let header = read_header(file, offset, length)?;
        if self.bytes.capacity() > KEPT_CAPACITY {
            self.bytes = Vec::new();
        }
        self.bytes.resize(header.block_bytes(), 0);
        file.read_exact_at(&mut self.bytes, offset)?;
        let trailer = self
            .bytes
            .last_chunk()
            .ok_or(BlockFault::Short)
            .and_then(|bytes| check_trailer(&header, bytes))?;
        self.stored_bytes = header.stored_bytes as usize;
        self.leaf_bytes = header.leaf_bytes();
        self.trailer_hash = trailer.hash;
        Ok(header)
    }

    /// The hash that the block says it has.
    pub(crate) fn stated_hash(&self) -> ChainHash {
        self.trailer_hash
    }

    /// The hash that it has.
    pub(crate) fn computed_hash(&self) -> ChainHash {
        let hashed = self.bytes.len().saturating_sub(BLOCK_TRAILER_BYTES);
        ChainHash::of(&[self.bytes.get(..hashed).unwrap_or_default()])
    }

    fn after_header(&self) -> &[u8] {
        self.bytes.get(BLOCK_HEADER_BYTES..).unwrap_or_default()
    }

    fn stored(&self) -> &[u8] {
        self.after_header()
            .get(..self.stored_bytes)
            .unwrap_or_default()
    }

    /// The leaf hashes that the block keeps of its records.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = [u8; LEAF_BYTES]> + '_ {
        let (leaves, _) = self
            .after_header()
            .get(self.stored_bytes..)
            .and_then(|rest| rest.get(..self.leaf_bytes))
            .unwrap_or_default()
            .as_chunks();
        leaves.iter().copied()
    }
}

/// Decompresses blocks, never beyond the length that their header states.
pub(crate) struct Unpacker {
    decompressor: Decompressor<'static>,
    raw: Vec<u8>,
}

impl Unpacker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            decompressor: Decompressor::new()?,
            raw: Vec::new(),
        })
    }

    /// Unpacks a block's records; `None` if they are not as long as the header states.
    pub(crate) fn unpack(&mut self, header: &BlockHeader, block: &Block) -> Option<&[u8]> {
        let raw_bytes = header.raw_bytes as usize;
        self.clear(raw_bytes);
        match header.codec {
            Codec::Plain => self.raw.extend_from_slice(block.stored()),
            Codec::Zstd => {
                self.decompressor
                    .decompress_to_buffer(block.stored(), &mut self.raw)
                    .ok()?;
            }
        }
        (self.raw.len() == raw_bytes).then_some(&self.raw)
    }

    /// Unpacks as much of a damaged block as it yields.
    pub(crate) fn salvage(&mut self, header: &BlockHeader, block: &Block) -> &[u8] {
        self.clear(0);
        match header.codec {
            Codec::Plain => self.raw.extend_from_slice(block.stored()),
            Codec::Zstd => {
                // An error ends what can be read; what was read before it stays.
                let _ = self.decode_stream(u64::from(header.raw_bytes), block.stored());
            }
        }
        &self.raw
    }

    /// What the last call unpacked.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    fn decode_stream(&mut self, raw_bytes: u64, stored: &[u8]) -> io::Result<()> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(stored)?;
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        // One byte more than stated, so that a block which yields too much does not look right.
        decoder.take(raw_bytes + 1).read_to_end(&mut self.raw)?;
        Ok(())
    }

    fn clear(&mut self, capacity: usize) {
        if self.raw.capacity() > KEPT_CAPACITY {
            self.raw = Vec::new();
        }
        self.raw.clear();
        self.raw.reserve(capacity);
    }
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker")
            .field("raw_bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}
