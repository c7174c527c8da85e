//! Names what happened to the records of a block that is not what was written, by comparing the leaf
//! hashes that the block keeps with those of the records that it yields.

use std::collections::HashSet;
use std::ops::Range;

use super::report::ProblemKind;
use crate::block::{Block, Unpacker};
use crate::format::BlockHeader;
use crate::hash::{self, LEAF_BYTES};
use crate::record::Records;

/// What happened to the records of a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) kind: ProblemKind,
    /// The records concerned, counted from the block's first.
    pub(crate) records: Range<u64>,
    pub(crate) detail: &'static str,
}

type Leaf = [u8; LEAF_BYTES];

/// Compares a damaged block with what it was.
pub(crate) fn compare(unpacker: &mut Unpacker, header: &BlockHeader, block: &Block) -> Difference {
    let stated: Vec<Leaf> = block.leaves().collect();
    let mut records = Records::new(unpacker.salvage(header, block));
    let found: Vec<Leaf> = records
        .by_ref()
        // A block with many more records than it states is only ever said to have more.
        .take(stated.len().saturating_mul(2).saturating_add(1))
        .map(|record| hash::leaf(record.bytes))
        .collect();
    let whole = records.rest().is_empty();
    compare_leaves(&stated, &found, whole)
}

/// Compares the leaves that were written with those that were found; `whole` if nothing but records was.
fn compare_leaves(stated: &[Leaf], found: &[Leaf], whole: bool) -> Difference {
    let prefix = common(stated.iter().zip(found));
    let (stated_rest, found_rest) = (
        stated.get(prefix..).unwrap_or_default(),
        found.get(prefix..).unwrap_or_default(),
    );
    let suffix = common(stated_rest.iter().rev().zip(found_rest.iter().rev()));
    let stated_middle = without_suffix(stated_rest, suffix);
    let found_middle = without_suffix(found_rest, suffix);
    let start = prefix as u64;
    let (end, kind, detail) = match (stated_middle, found_middle) {
        ([], []) if whole => {
            return Difference {
                kind: ProblemKind::Changed,
                records: 0..stated.len() as u64,
                detail: "what the block says about its records was changed; their content was not",
            };
        }
        ([], found) if whole && all_among(found, stated) => (
            start,
            ProblemKind::Duplicated,
            "records are repeated before this one",
        ),
        ([], _) if whole => (
            start,
            ProblemKind::Inserted,
            "records were put in before this one",
        ),
        (missing, []) if whole => (
            start + missing.len() as u64,
            ProblemKind::Removed,
            "records were taken out of the block",
        ),
        (stated, found) if whole && same_in_another_order(stated, found) => (
            start + stated.len() as u64,
            ProblemKind::Reordered,
            "records were moved within the block",
        ),
        (stated, found) if whole && stated.len() == found.len() => (
            start + stated.len() as u64,
            ProblemKind::Changed,
            "the first of these records, or its leaf hash, was changed",
        ),
        _ => (
            stated.len() as u64,
            ProblemKind::Changed,
            "the block cannot be read from the first of these records on",
        ),
    };
    Difference {
        kind,
        records: start..end,
        detail,
    }
}

fn common<'a>(pairs: impl Iterator<Item = (&'a Leaf, &'a Leaf)>) -> usize {
    pairs.take_while(|(stated, found)| stated == found).count()
}

fn without_suffix(leaves: &[Leaf], suffix: usize) -> &[Leaf] {
    leaves
        .get(..leaves.len().saturating_sub(suffix))
        .unwrap_or_default()
}

fn all_among(leaves: &[Leaf], known: &[Leaf]) -> bool {
    let known: HashSet<&Leaf> = known.iter().collect();
    leaves.iter().all(|leaf| known.contains(leaf))
}

fn same_in_another_order(stated: &[Leaf], found: &[Leaf]) -> bool {
    let sorted = |leaves: &[Leaf]| {
        let mut leaves = leaves.to_vec();
        leaves.sort_unstable();
        leaves
    };
    stated.len() == found.len() && sorted(stated) == sorted(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(text: &str) -> Vec<Leaf> {
        text.bytes().map(|byte| [byte; LEAF_BYTES]).collect()
    }

    #[test]
    fn what_happened_to_the_records_is_named() {
        use ProblemKind::{Changed, Duplicated, Inserted, Removed, Reordered};
        for (stated, found, whole, kind, records) in [
            ("abcd", "abcd", true, Changed, 0..4),
            ("abcd", "abXd", true, Changed, 2..3),
            ("abcd", "XbcY", true, Changed, 0..4),
            ("abcd", "abd", true, Removed, 2..3),
            ("abcd", "", true, Removed, 0..4),
            ("abcd", "bcd", true, Removed, 0..1),
            ("aaaa", "aaa", true, Removed, 3..4),
            ("abcd", "acbd", true, Reordered, 1..3),
            ("abcd", "abccd", true, Duplicated, 3..3),
            ("abcd", "abXcd", true, Inserted, 2..2),
            ("abcd", "ab", false, Changed, 2..4),
            ("abcd", "abcd", false, Changed, 4..4),
            ("abcd", "aXYZd", true, Changed, 1..4),
        ] {
            let difference = compare_leaves(&leaves(stated), &leaves(found), whole);
            assert_eq!(
                (difference.kind, difference.records),
                (kind, records),
                "{stated} -> {found}"
            );
        }
    }
}
