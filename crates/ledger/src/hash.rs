//! The two hashes of a ledger: the chain over blocks and the leaf over one record.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// A SHA-256 value of the chain. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// What the first segment continues: nothing.
    pub const GENESIS: Self = Self([0; 32]);

    /// SHA-256 of the concatenation of `parts`.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A string that is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chain hash has 64 hexadecimal digits")]
pub struct ChainHashError;

impl FromStr for ChainHash {
    type Err = ChainHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(ChainHashError);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| ChainHashError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ChainHashError)?;
        }
        Ok(Self(hash))
    }
}

/// Bytes of a leaf hash that a block keeps. Enough to name the record that an accident or an edit
/// changed; the security of the log rests on the chain, never on these.
pub(crate) const LEAF_BYTES: usize = 8;

/// The leading bytes of the RFC 6962 leaf hash of a record, SHA-256(0x00 || record). The full hash can
/// be recomputed from the record whenever a Merkle tree over the log is wanted.
pub(crate) fn leaf(record: &[u8]) -> [u8; LEAF_BYTES] {
    let hash: [u8; 32] = Sha256::new()
        .chain_update([0])
        .chain_update(record)
        .finalize()
        .into();
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leaf_of_an_empty_record_is_that_of_rfc_6962() {
        // SHA-256(0x00), as in the test vectors of RFC 6962 implementations.
        let expected = [0x6e, 0x34, 0x0b, 0x9c, 0xff, 0xb3, 0x7a, 0x98];
        assert_eq!(leaf(b""), expected);
    }

    #[test]
    fn a_hash_survives_its_text() {
        let hash = ChainHash::of(&[b"a", b"bc"]);
        assert_eq!(
            hash.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }

    #[test]
    fn malformed_hashes_are_refused() {
        for text in [
            "",
            "00",
            &"0".repeat(63),
            &"g".repeat(64),
            &"é".repeat(32),
            &"+1".repeat(32),
        ] {
            assert_eq!(text.parse::<ChainHash>(), Err(ChainHashError), "{text:?}");
        }
    }
}
