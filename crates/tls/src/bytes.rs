//! Little-endian numbers and strings in untrusted bytes.

/// The `N` bytes at `offset`, if they are all there.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// The 16-bit number at `offset`.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

/// The 32-bit number at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

/// The signed 32-bit number at `offset`.
pub(crate) fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    array_at(bytes, offset).map(i32::from_le_bytes)
}

/// The 64-bit number at `offset`.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

/// The bytes from `offset` to the next NUL, which must come within `limit` bytes.
pub(crate) fn c_string_at(bytes: &[u8], offset: usize, limit: usize) -> Option<&[u8]> {
    let rest = bytes.get(offset..)?;
    let rest = rest.get(..limit.saturating_add(1)).unwrap_or(rest);
    rest.get(..memchr::memchr(0, rest)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_past_the_end() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(u16_at(&bytes, 7), Some(0x0908));
        assert_eq!(u16_at(&bytes, 8), None);
        assert_eq!(u32_at(&bytes, 5), Some(0x0908_0706));
        assert_eq!(u32_at(&bytes, 6), None);
        assert_eq!(u64_at(&bytes, 1), Some(0x0908_0706_0504_0302));
        assert_eq!(u64_at(&bytes, usize::MAX), None);
    }

    #[test]
    fn a_string_needs_its_nul_within_the_limit() {
        assert_eq!(c_string_at(b"ab\0cd", 0, 8), Some(&b"ab"[..]));
        assert_eq!(c_string_at(b"ab\0cd", 0, 2), Some(&b"ab"[..]));
        assert_eq!(c_string_at(b"ab\0cd", 0, 1), None);
        assert_eq!(c_string_at(b"ab\0cd", 3, 8), None);
        assert_eq!(c_string_at(b"ab", 9, 8), None);
    }
}
