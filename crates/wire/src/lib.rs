//! The records that cross from the kernel to user space.
//!
//! The types in [`generated`] mirror `bpf/include/wire.h`, which is the only definition; they are
//! generated from the BTF of the kernel programs by `cargo xtask gen`, and a test in crate `bpf` fails
//! when the two differ. This crate turns bytes into references to those types, with every length
//! checked, and does no more: what a record means is the business of crate `decode`.
//!
//! Bytes come from a ring buffer that the kernel side fills, but they are treated as hostile all the
//! same: a wrong length is an error, never a panic.

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

#[allow(missing_docs)] // Documented where they are defined.
#[rustfmt::skip]
pub mod generated;

pub use generated::*;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// A record that is not what its kind asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Fewer bytes than the fixed part of the record.
    #[error("record of kind {kind} has {length} bytes, fewer than its fixed part")]
    Short {
        /// `rec_header.kind`, or 0 if not even the header is there.
        kind: u16,
        /// Bytes there are.
        length: usize,
    },
    /// The lengths of its pieces add up to more than there is.
    #[error("record of kind {kind} says that it is longer than it is")]
    Overlong {
        /// `rec_header.kind`.
        kind: u16,
    },
    /// Bytes not aligned as the ring buffer aligns them.
    #[error("record is not aligned to 8 bytes")]
    Unaligned,
}

/// The header of a record.
///
/// # Errors
/// If there are fewer bytes than a header.
pub fn header(bytes: &[u8]) -> Result<&rec_header, WireError> {
    fixed::<rec_header>(bytes, 0).map(|(header, _)| header)
}

/// The fixed part of a record and the bytes after it.
///
/// # Errors
/// If there are too few bytes, or they are not aligned.
pub fn fixed<T>(bytes: &[u8], kind: u16) -> Result<(&T, Pieces<'_>), WireError>
where
    T: FromBytes + KnownLayout + Immutable,
{
    match T::ref_from_prefix(bytes) {
        Ok((record, rest)) => Ok((record, Pieces { kind, rest })),
        Err(zerocopy::CastError::Alignment(_)) => Err(WireError::Unaligned),
        Err(_) => Err(WireError::Short {
            kind,
            length: bytes.len(),
        }),
    }
}

/// The bytes after the fixed part of a record, taken piece by piece.
#[derive(Debug, Clone, Copy)]
pub struct Pieces<'a> {
    kind: u16,
    rest: &'a [u8],
}

impl<'a> Pieces<'a> {
    /// Takes the next `length` bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn take(&mut self, length: u32) -> Result<&'a [u8], WireError> {
        let (piece, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or(WireError::Overlong { kind: self.kind })?;
        self.rest = rest;
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn a_record_is_read_back() {
        let mut record = process_argv_rec::default();
        record.header.kind = EV_PROCESS_ARGV as u16;
        record.bytes = 3;
        let mut bytes = record.as_bytes().to_vec();
        bytes.extend_from_slice(b"abc");
        let kind = header(&bytes).unwrap().kind;
        let (read, mut pieces) = fixed::<process_argv_rec>(&bytes, kind).unwrap();
        assert_eq!(read.bytes, 3);
        assert_eq!(pieces.take(read.bytes).unwrap(), b"abc");
        assert_eq!(pieces.take(1), Err(WireError::Overlong { kind }));
    }

    #[test]
    fn short_records_are_errors() {
        for length in 0..size_of::<process_exec_rec>() {
            let bytes = vec![0_u64; length / 8 + 1];
            let bytes = &bytes.as_bytes()[..length];
            assert!(fixed::<process_exec_rec>(bytes, 2).is_err());
        }
    }
}
