//! What the Rust compiler leaves in a program, stripped or not: places in the source that a message may
//! name, and the tables of trait objects.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::LocateError;
use crate::bytes::{u32_at, u64_at};
use crate::elf::Elf;
use crate::scan::Scanner;

/// The longest path of a source file that is believed.
pub(crate) const MAX_PATH_BYTES: u64 = 512;
/// Words of a table that are looked at: its head, and what may follow the last method of interest.
const VTABLE_WORDS: usize = 10;
/// The largest object that a table is believed to be of.
const MAX_OBJECT_BYTES: u64 = 64 << 10;
/// Tables beyond this number are not looked at; a function refers to a few.
const MAX_VTABLES: usize = 512;

/// A place in the source, `{path, length, line, column}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) address: u64,
    pub(crate) line: u32,
}

/// Finds the places in source files whose path ends with one of `files`; of each, `hits` says where its
/// ending is in the file.
pub(crate) fn locations(
    elf: &Elf<'_>,
    scanner: &Scanner<'_>,
    files: &[(&[u8], &[u64])],
) -> Result<Vec<Vec<Location>>, LocateError> {
    let mut endings: Vec<(u64, u64, usize)> = Vec::new();
    for (index, (file, hits)) in files.iter().enumerate() {
        let length = file.len() as u64;
        endings.extend(
            hits.iter()
                .map(|at| (*at, at.saturating_add(length), index)),
        );
    }
    endings.sort_unstable();
    let mut locations = vec![Vec::new(); files.len()];
    for (address, path) in scanner.find_pointers(&before_endings(&endings))? {
        let bytes = elf.read_memory(address, 24)?;
        let (Some(length), Some(line)) = (u64_at(&bytes, 8), u32_at(&bytes, 16)) else {
            continue;
        };
        let end = path.saturating_add(length);
        // The length may count a closing NUL.
        let mut matching = endings.iter();
        let ending = matching.find(|(_, at, _)| end == *at || end == at.saturating_add(1));
        if let Some((_, _, index)) = ending
            && let Some(found) = locations.get_mut(*index)
        {
            found.push(Location { address, line });
        }
    }
    Ok(locations)
}

/// Where paths may begin, in order and without overlap.
fn before_endings(endings: &[(u64, u64, usize)]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for (at, _, _) in endings {
        let range = at.saturating_sub(MAX_PATH_BYTES)..*at;
        match ranges.last_mut() {
            Some(last) if range.start <= last.end => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

/// Methods of the trait objects' tables among `addresses`, by the table's address.
pub(crate) fn vtables(
    elf: &Elf<'_>,
    scanner: &Scanner<'_>,
    addresses: &BTreeSet<u64>,
) -> Result<BTreeMap<u64, Vec<u64>>, LocateError> {
    let tables: Vec<u64> = addresses
        .iter()
        .copied()
        .filter(|at| at.is_multiple_of(8) && elf.is_data(*at))
        .take(MAX_VTABLES)
        .collect();
    let words_of =
        |table: u64| (0..VTABLE_WORDS as u64).map(move |index| table.saturating_add(8 * index));
    let wanted: BTreeSet<u64> = tables.iter().copied().flat_map(words_of).collect();
    let pointers = scanner.pointers_at(&wanted)?;
    let mut found = BTreeMap::new();
    for table in tables {
        let words = words_of(table).map(|at| pointers.get(&at).copied().unwrap_or(0));
        let words: Vec<u64> = words.collect();
        let methods = methods(&words, |word| elf.is_text(word));
        if !methods.is_empty() {
            found.insert(table, methods);
        }
    }
    Ok(found)
}

/// The methods of a trait object's table `{drop, size, alignment, method..}`; none if it is no such table.
fn methods(words: &[u64], is_code: impl Fn(u64) -> bool) -> Vec<u64> {
    let is_head = |words: &[u64]| {
        matches!(words, [drop, size, alignment, ..]
            if (*drop == 0 || is_code(*drop))
                && (1..=MAX_OBJECT_BYTES).contains(size)
                && !is_code(*size)
                && alignment.is_power_of_two()
                && *alignment <= 64)
    };
    let mut methods = Vec::new();
    let mut rest = words
        .get(3..)
        .filter(|_| is_head(words))
        .unwrap_or_default();
    // Code behind a method is another one, unless it begins the next table.
    while let Some((word, after)) = rest.split_first() {
        if !is_code(*word) || (!methods.is_empty() && is_head(rest)) {
            break;
        }
        methods.push(*word);
        rest = after;
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_told_from_what_follows() {
        let is_code = |word: u64| (0x1000..0x2000).contains(&word);
        for (words, expected) in [
            // Alone, before data, before another table.
            (&[0x1000, 560, 16, 0x1100, 0, 0, 0, 0][..], &[0x1100][..]),
            (&[0x1000, 560, 16, 0x1100, 0x9000, 5, 0, 0], &[0x1100]),
            (&[0, 560, 16, 0x1100, 0x1010, 24, 8, 0x1200], &[0x1100]),
            // Two methods; before another table.
            (
                &[0x1000, 560, 16, 0x1100, 0x1200, 0, 0, 0],
                &[0x1100, 0x1200],
            ),
            (
                &[0x1000, 560, 16, 0x1100, 0x1200, 0x1300, 24, 8],
                &[0x1100, 0x1200],
            ),
            // No table.
            (&[0x1000, 0x1010, 16, 0x1100, 0, 0, 0, 0], &[]),
            (&[0x1000, 560, 3, 0x1100, 0, 0, 0, 0], &[]),
            (&[0x9000, 560, 16, 0x1100, 0, 0, 0, 0], &[]),
            (&[0x1000, 560, 16, 0x9000, 0, 0, 0, 0], &[]),
            (&[0x1000, 560], &[]),
            (&[], &[]),
        ] {
            assert_eq!(methods(words, is_code), expected, "{words:x?}");
        }
    }
}
