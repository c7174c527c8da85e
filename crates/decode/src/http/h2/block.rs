//! Header blocks: put together from their frames, and decompressed.

use agentsight_model::KTime;

use super::fields::Fields;
use super::frame::{Header, flag, kind};
use super::hpack::Decoder;

/// The header blocks of one direction.
pub(super) struct Blocks {
    decoder: Decoder,
    open: Option<Block>,
    limit_bytes: usize,
}

/// A block that goes on in the next frame.
struct Block {
    header: Header,
    started: KTime,
    bytes: Vec<u8>,
    /// Whether parts of it are missing.
    broken: bool,
}

/// What a block says.
pub(super) struct Head {
    pub(super) stream: u32,
    /// Whether it belongs to a response that the server pushes.
    pub(super) is_pushed: bool,
    pub(super) ends_stream: bool,
    pub(super) started: KTime,
    pub(super) fields: Fields,
    /// Whether fields are missing, because parts of the block are.
    pub(super) is_broken: bool,
    /// Whether fields are missing, because the block is malformed.
    pub(super) is_malformed: bool,
}

impl Blocks {
    /// Reads blocks of at most `limit_bytes`.
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            decoder: Decoder::new(),
            open: None,
            limit_bytes,
        }
    }

    /// Bytes held.
    pub(super) fn held_bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |block| block.bytes.len());
        self.decoder.held_bytes().saturating_add(open)
    }

    /// Notes that blocks may have been missed.
    pub(super) fn lose(&mut self) {
        self.open = None;
        self.decoder.forget();
    }

    /// Takes a frame that begins a block; `None` if its payload was not read.
    pub(super) fn begin(
        &mut self,
        header: Header,
        payload: Option<&[u8]>,
        started: KTime,
    ) -> Option<Head> {
        if self.open.is_some() {
            // The block before was never ended: frames are missing.
            self.decoder.forget();
        }
        let bytes = payload.and_then(|payload| fragment(header, payload));
        self.open = Some(Block {
            header,
            started,
            bytes: bytes.unwrap_or_default().to_vec(),
            broken: bytes.is_none(),
        });
        self.end_if(header)
    }

    /// Takes a frame that continues a block; `None` if its payload was not read.
    pub(super) fn go_on(&mut self, header: Header, payload: Option<&[u8]>) -> Option<Head> {
        match &mut self.open {
            Some(block) if block.header.stream == header.stream => {
                let room = self.limit_bytes.saturating_sub(block.bytes.len());
                match payload.filter(|bytes| bytes.len() <= room && !block.broken) {
                    Some(bytes) => block.bytes.extend_from_slice(bytes),
                    None => block.broken = true,
                }
            }
            // Its beginning was not seen.
            _ => self.lose(),
        }
        self.end_if(header)
    }

    /// Ends the block if the frame with this header is its last.
    fn end_if(&mut self, header: Header) -> Option<Head> {
        if !header.has(flag::END_HEADERS) {
            return None;
        }
        let block = self.open.take()?;
        let mut fields = Fields::default();
        let mut is_malformed = false;
        if block.broken {
            self.decoder.forget();
        } else {
            let mut emit = |field| fields.push(&field);
            is_malformed = self.decoder.decode(&block.bytes, &mut emit).is_err();
        }
        let header = block.header;
        let promised = header.kind == kind::PUSH_PROMISE;
        Some(Head {
            stream: header.stream,
            is_pushed: promised || header.stream.is_multiple_of(2),
            ends_stream: !promised && header.has(flag::END_STREAM),
            started: block.started,
            fields,
            is_broken: block.broken,
            is_malformed,
        })
    }
}

/// What a frame that begins a block holds of it; `None` if there is less than what stands around it.
fn fragment(header: Header, payload: &[u8]) -> Option<&[u8]> {
    let mut block = payload;
    if header.has(flag::PADDED) {
        let (&length, rest) = block.split_first()?;
        let end = rest.len().checked_sub(usize::from(length))?;
        block = rest.get(..end)?;
    }
    if header.kind == kind::PUSH_PROMISE {
        // The number of the promised stream.
        block = block.get(4..)?;
    } else if header.has(flag::PRIORITY) {
        block = block.get(5..)?;
    }
    Some(block)
}
