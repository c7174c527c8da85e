//! Bounds of functions from unwind data.
//!
//! The table may be absent, or list only a part of the functions: Claude Code 2.1.330 has 3,224 entries for
//! 118 MB of code. So an entry counts only if its own length says that it covers the address; the nearest
//! entry below may belong to another function.

use std::ops::Range;

use crate::LocateError;
use crate::bytes::{c_string_at, i32_at, u32_at, u64_at};
use crate::elf::Elf;

/// More entries than this are not read; the largest known program has a tenth of it.
const MAX_ENTRIES: usize = 4 << 20;
const ENTRY_BYTES: usize = 8;
/// More of one record than this is not read; what is of interest is in its first bytes.
const RECORD_BYTES: usize = 128;

/// The sorted table of `.eh_frame_hdr`.
pub(crate) struct UnwindTable {
    /// Address that the table's numbers are relative to.
    base: u64,
    entries: Vec<u8>,
}

impl UnwindTable {
    /// Reads the table, if the file has one of the only form that linkers write.
    pub(crate) fn read(elf: &Elf<'_>) -> Result<Option<Self>, LocateError> {
        let Some(base) = elf.unwind_header else {
            return Ok(None);
        };
        let header = elf.read_memory(base, 12)?;
        // Version 1; a 4-byte pointer to .eh_frame; a 4-byte count; pairs of 4-byte signed distances
        // from the header.
        let is_usual =
            matches!(header.as_slice(), [1, pointer, 0x03, 0x3b, ..] if pointer & 0x0f == 0x0b);
        let Some(count) = u32_at(&header, 8).filter(|_| is_usual) else {
            return Ok(None);
        };
        let count = usize::try_from(count).map_or(MAX_ENTRIES, |count| count.min(MAX_ENTRIES));
        let entries = elf.read_memory(base.saturating_add(12), count * ENTRY_BYTES)?;
        Ok(Some(Self { base, entries }))
    }

    /// Number of functions that the table lists.
    pub(crate) fn entry_count(&self) -> usize {
        self.entries.len() / ENTRY_BYTES
    }

    /// Whether a function that is listed begins at `address`.
    pub(crate) fn begins_at(&self, address: u64) -> bool {
        self.last_not_after(address)
            .is_some_and(|(start, _)| start == address)
    }

    /// The range of the function that covers `address`, if one does.
    pub(crate) fn covering(
        &self,
        elf: &Elf<'_>,
        address: u64,
    ) -> Result<Option<Range<u64>>, LocateError> {
        let Some((start, record)) = self.last_not_after(address) else {
            return Ok(None);
        };
        let range = read_range(elf, record)?;
        // A table that disagrees with the record that it points to proves nothing.
        Ok(range.filter(|range| range.start == start && range.contains(&address)))
    }

    /// The last entry that begins at or before `address`: start of its function, address of its record.
    fn last_not_after(&self, address: u64) -> Option<(u64, u64)> {
        let (mut low, mut high) = (0, self.entry_count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?.0 <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.entry(low.checked_sub(1)?)
    }

    fn entry(&self, index: usize) -> Option<(u64, u64)> {
        let at = index.checked_mul(ENTRY_BYTES)?;
        let start = i64::from(i32_at(&self.entries, at)?);
        let record = i64::from(i32_at(&self.entries, at + 4)?);
        Some((
            self.base.wrapping_add_signed(start),
            self.base.wrapping_add_signed(record),
        ))
    }
}

/// The range of code that the frame description at `record` is about.
fn read_range(elf: &Elf<'_>, record: u64) -> Result<Option<Range<u64>>, LocateError> {
    let bytes = elf.read_memory(record, RECORD_BYTES)?;
    // Lengths of 0 and of 0xffffffff mean an end mark and a 64-bit form that nobody writes.
    let (Some(1..0xffff_fff0), Some(distance)) = (u32_at(&bytes, 0), u32_at(&bytes, 4)) else {
        return Ok(None);
    };
    let common = record.wrapping_add(4).wrapping_sub(u64::from(distance));
    let common = elf.read_memory(common, RECORD_BYTES)?;
    Ok(pointer_encoding(&common).and_then(|encoding| parse_range(&bytes, record, encoding)))
}

fn parse_range(bytes: &[u8], record: u64, encoding: u8) -> Option<Range<u64>> {
    let (start, length) = match encoding & 0x0f {
        0x03 => (u64::from(u32_at(bytes, 8)?), u64::from(u32_at(bytes, 12)?)),
        0x0b => (
            i64::from(i32_at(bytes, 8)?).cast_unsigned(),
            u64::from(u32_at(bytes, 12)?),
        ),
        0x00 | 0x04 | 0x0c => (u64_at(bytes, 8)?, u64_at(bytes, 16)?),
        _ => return None,
    };
    let start = match encoding & 0xf0 {
        0x00 => start,
        0x10 => record.wrapping_add(8).wrapping_add(start),
        _ => return None,
    };
    Some(start..start.checked_add(length)?)
}

/// How the records that belong to a common record write addresses: the `R` of its augmentation.
fn pointer_encoding(common: &[u8]) -> Option<u8> {
    if u32_at(common, 4)? != 0 || !matches!(common.get(8)?, 1 | 3) {
        return None;
    }
    let augmentation = c_string_at(common, 9, 8)?;
    let mut at = 10 + augmentation.len();
    if augmentation.is_empty() {
        return Some(0);
    }
    // Code alignment, data alignment, return register, then the length of what follows.
    for _ in 0..4 {
        at = after_leb128(common, at)?;
    }
    if augmentation.first() != Some(&b'z') {
        return None;
    }
    for letter in augmentation.iter().skip(1) {
        match letter {
            b'R' => return common.get(at).copied(),
            b'L' => at += 1,
            b'P' => {
                at += match common.get(at)? & 0x0f {
                    0x02 | 0x0a => 3,
                    0x03 | 0x0b => 5,
                    0x00 | 0x04 | 0x0c => 9,
                    _ => return None,
                };
            }
            b'S' | b'B' => {}
            _ => return None,
        }
    }
    Some(0)
}

fn after_leb128(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes
        .get(at..)?
        .iter()
        .take(10)
        .position(|b| b & 0x80 == 0)?;
    Some(at + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pointer_encoding_is_found_behind_other_augmentations() {
        let common = |augmentation: &[u8], data: &[u8]| {
            let mut bytes = vec![0x20, 0, 0, 0, 0, 0, 0, 0, 1];
            bytes.extend(augmentation);
            bytes.extend([0, 1, 0x78, 0x10, u8::try_from(data.len()).unwrap()]);
            bytes.extend(data);
            bytes
        };
        for (augmentation, data, expected) in [
            (&b"zR"[..], &[0x1b][..], Some(0x1b)),
            (b"zPLR", &[0x9b, 1, 2, 3, 4, 0x1b, 0x1b], Some(0x1b)),
            (b"zRS", &[0x03], Some(0x03)),
            (b"zPR", &[0x08, 0x1b], None),
            (b"zL", &[0x1b], Some(0)),
            (b"eh", &[0x1b], None),
        ] {
            assert_eq!(pointer_encoding(&common(augmentation, data)), expected);
        }
    }

    #[test]
    fn a_range_that_wraps_is_none() {
        let mut bytes = vec![0; 24];
        bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes[16..24].copy_from_slice(&2_u64.to_le_bytes());
        assert_eq!(parse_range(&bytes, 0, 0x04), None);
        assert_eq!(parse_range(&bytes, 0, 0x40), None);
        assert_eq!(parse_range(&bytes[..20], 0, 0x04), None);
    }
}
