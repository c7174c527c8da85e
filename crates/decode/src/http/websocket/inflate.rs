//! Messages compressed with permessage-deflate (RFC 7692).
//!
//! What was decompressed last is kept whether or not the parties agreed on it: who does not refer to
//! earlier messages is read all the same, so nothing need be known of what was negotiated. A message
//! that refers to something that was not seen is refused, never filled up with something else.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// The furthest that a message can refer back (RFC 1951, section 3.2.5).
const WINDOW_BYTES: usize = 32 << 10;

const BUFFER_BYTES: usize = 2 * WINDOW_BYTES;

/// What senders cut off the end of each message (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A message that cannot be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrupt;

/// Decompresses the messages of one direction, one after the other.
pub(super) struct Inflater {
    state: Box<DecompressorOxide>,
    /// What was put out last, at its front.
    buffer: Vec<u8>,
    filled: usize,
}

impl Inflater {
    /// An inflater that knows nothing of what went before.
    pub(super) fn new() -> Self {
        Self {
            state: Box::default(),
            buffer: vec![0; BUFFER_BYTES],
            filled: 0,
        }
    }

    /// Bytes held.
    pub(super) fn held_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Takes bytes of a message and hands what they stand for to `emit`, which tells whether to go on.
    /// After an error, the rest of the message is of no use, and later ones may be.
    pub(super) fn push(
        &mut self,
        input: &[u8],
        emit: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), Corrupt> {
        let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let mut rest = input;
        loop {
            let (status, consumed, produced) =
                decompress(&mut self.state, rest, &mut self.buffer, self.filled, flags);
            rest = rest.get(consumed..).unwrap_or_default();
            let end = self.filled.saturating_add(produced);
            let goes_on = emit(self.buffer.get(self.filled..end).unwrap_or_default());
            self.filled = end;
            match status {
                TINFLStatus::NeedsMoreInput => return Ok(()),
                TINFLStatus::HasMoreOutput if goes_on => self.slide(),
                // A sender may mark a block as the last one; the next one begins anew.
                TINFLStatus::Done if goes_on => {
                    *self.state = DecompressorOxide::default();
                    if rest.is_empty() {
                        return Ok(());
                    }
                }
                _ => {
                    self.forget();
                    return Err(Corrupt);
                }
            }
        }
    }

    /// Takes the end of a message.
    pub(super) fn end(&mut self, emit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Corrupt> {
        self.push(&TAIL, emit)
    }

    /// Forgets what went before: parts of it are missing.
    pub(super) fn forget(&mut self) {
        *self.state = DecompressorOxide::default();
        self.filled = 0;
    }

    /// Makes room, but for what can be referred to.
    fn slide(&mut self) {
        let from = self.filled.saturating_sub(WINDOW_BYTES);
        self.buffer.copy_within(from..self.filled, 0);
        self.filled = self.filled.saturating_sub(from);
    }
}

/// The first byte that the beginning of a message stands for, if it can be one.
pub(super) fn first_byte(input: &[u8]) -> Option<u8> {
    let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (mut state, mut out) = (DecompressorOxide::default(), [0; 64]);
    let (status, _, produced) = decompress(&mut state, input, &mut out, 0, flags);
    let sound = matches!(
        status,
        TINFLStatus::NeedsMoreInput | TINFLStatus::HasMoreOutput | TINFLStatus::Done
    );
    out.first().copied().filter(|_| sound && produced > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    use super::*;

    fn inflate(inflater: &mut Inflater, message: &[u8], pieces: usize) -> Result<Vec<u8>, Corrupt> {
        let mut out = Vec::new();
        let mut emit = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            true
        };
        for piece in message.chunks(pieces) {
            inflater.push(piece, &mut emit)?;
        }
        inflater.end(&mut emit)?;
        Ok(out)
    }

    /// A message as a sender makes it, which goes on from the ones before.
    fn deflate(compress: &mut Compress, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.len() * 2 + 1000);
        compress
            .compress_vec(message, &mut out, FlushCompress::Sync)
            .unwrap();
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - 4);
        out
    }

    #[test]
    fn examples_of_the_standard_are_decompressed() {
        // RFC 7692, section 7.2.3: one block, the same again with the first as context, without
        // compression, marked as the last block, and in two blocks.
        let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let mut inflater = Inflater::new();
        for message in [
            &first[..],
            &[0xf2, 0x00, 0x11, 0x00, 0x00],
            &[
                0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
            ],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
            &first[..],
        ] {
            assert_eq!(inflate(&mut inflater, message, 3).unwrap(), b"Hello");
        }
    }

    #[test]
    fn what_refers_to_something_unseen_is_refused() {
        let mut compress = Compress::new(Compression::best(), false);
        let text: Vec<u8> = (0..5000_u32)
            .flat_map(|n| format!("{n},").into_bytes())
            .collect();
        let messages: Vec<_> = (0..3).map(|_| deflate(&mut compress, &text)).collect();
        let mut inflater = Inflater::new();
        assert_eq!(inflate(&mut inflater, &messages[1], 100), Err(Corrupt));
        assert_eq!(inflate(&mut inflater, &messages[2], 100), Err(Corrupt));
        // One who does not refer back is read at once.
        let alone = deflate(&mut Compress::new(Compression::best(), false), &text);
        assert_eq!(inflate(&mut inflater, &alone, 100).unwrap(), text);
    }

    #[test]
    fn output_ends_where_it_is_told_to() {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&vec![0; 10 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        let mut total = 0;
        let mut emit = |bytes: &[u8]| {
            total += bytes.len();
            total < 1 << 20
        };
        assert_eq!(Inflater::new().push(&bomb, &mut emit), Err(Corrupt));
        assert!(total < (1 << 20) + BUFFER_BYTES);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn messages_that_go_on_from_each_other_are_decompressed(
            messages in prop::collection::vec(prop::collection::vec("[a-e]{1,9}", 0..9), 1..9),
            times in prop::sample::select(vec![1, 20, 5000]),
            pieces in 1..500_usize,
        ) {
            let mut compress = Compress::new(Compression::best(), false);
            let mut inflater = Inflater::new();
            for message in messages {
                let text = message.concat().repeat(times).into_bytes();
                let coded = deflate(&mut compress, &text);
                prop_assert_eq!(inflate(&mut inflater, &coded, pieces).unwrap(), text);
            }
        }

        #[test]
        fn any_bytes_are_taken(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
            let mut inflater = Inflater::new();
            for message in messages {
                let whole = inflate(&mut Inflater::new(), &message, 1000);
                prop_assert_eq!(inflate(&mut Inflater::new(), &message, 1), whole);
                let _ = inflate(&mut inflater, &message, 7);
            }
        }
    }
}
