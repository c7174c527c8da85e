//! Where the function begins that an address belongs to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::{Entries, Routine, Work};
use crate::LocateError;
use crate::elf::Elf;
use crate::scan::Scanner;
use crate::unwind::UnwindTable;

/// How far before an address its function may begin, where only calls can tell.
const MAX_DISTANCE_BYTES: u64 = 16 << 10;
/// How far behind an address functions that it may jump to are told apart from its own code.
const LOOK_AHEAD_BYTES: u64 = 8 << 10;
/// Candidates that are tried for one address. The right one is the nearest, unless code of another function
/// looks like a call to somewhere in between.
const MAX_CANDIDATES: usize = 8;
/// Functions below an address that are looked at before a new one is searched.
const MAX_KNOWN: usize = 4;

/// The first instruction of a function, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) address: u64,
    pub(crate) evidence: String,
}

/// A function with the addresses in it that were asked for.
pub(crate) type Resolved = (Start, Routine, Vec<u64>);

/// Finds functions of one file.
pub(crate) struct Starts<'a> {
    elf: &'a Elf<'a>,
    unwind: Option<UnwindTable>,
    entries: Entries<'a>,
    work: Rc<Work>,
}

impl<'a> Starts<'a> {
    pub(crate) fn new(elf: &'a Elf<'a>) -> Result<Self, LocateError> {
        let work = Rc::default();
        Ok(Self {
            elf,
            unwind: UnwindTable::read(elf)?,
            entries: Entries::new(elf, &work),
            work,
        })
    }

    /// Whether there was more code to follow than the limits allow.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.work.is_used_up()
    }

    /// The function that begins at `address`.
    pub(crate) fn routine(&self, address: u64) -> Result<Routine, LocateError> {
        Routine::trace(self.elf, address, &|to| self.is_start(to), &self.work)
    }

    /// The functions that hold `addresses`; each with all of the addresses that it holds. Addresses whose
    /// function is not known for certain are left out.
    pub(crate) fn resolve(
        &mut self,
        scanner: &Scanner<'_>,
        addresses: &[u64],
    ) -> Result<Vec<Resolved>, LocateError> {
        let mut found = BTreeMap::new();
        let left = self.assign(addresses, &mut found, |address| self.by_unwind(address))?;
        let (uncovered, _): (Vec<u64>, Vec<u64>) = left
            .into_iter()
            .partition(|address| self.covering(*address).is_none());
        if uncovered.is_empty() {
            return Ok(found.into_values().collect());
        }
        self.entries.learn_calls(scanner, &windows(&uncovered))?;
        let left = self.assign(&uncovered, &mut found, |address| self.by_calls(address))?;
        if !left.is_empty() {
            self.entries.learn_pointers(scanner, &windows(&left))?;
            self.assign(&left, &mut found, |address| self.by_mentions(address))?;
        }
        Ok(found.into_values().collect())
    }

    /// Gives each of `addresses` to the function that holds it, one known already or one that `find` finds.
    /// Returns the addresses that are left.
    fn assign(
        &self,
        addresses: &[u64],
        found: &mut BTreeMap<u64, Resolved>,
        find: impl Fn(u64) -> Result<Option<(Start, Routine)>, LocateError>,
    ) -> Result<Vec<u64>, LocateError> {
        let mut left = Vec::new();
        for address in addresses {
            let mut known = found.range_mut(..=address).rev().take(MAX_KNOWN);
            if let Some((_, (_, _, held))) =
                known.find(|(_, (_, r, _))| r.step_at(*address).is_some())
            {
                held.push(*address);
            } else if let Some((start, routine)) = find(*address)?
                && self.work.keep(routine.steps.len())
            {
                found.insert(start.address, (start, routine, vec![*address]));
            } else {
                left.push(*address);
            }
        }
        Ok(left)
    }

    fn by_unwind(&self, address: u64) -> Result<Option<(Start, Routine)>, LocateError> {
        let Some(range) = self.covering(address) else {
            return Ok(None);
        };
        let found = self.reaching(range.start, address, "unwind table")?;
        Ok(found.filter(|(_, routine)| !self.is_fragment(routine)))
    }

    fn by_calls(&self, address: u64) -> Result<Option<(Start, Routine)>, LocateError> {
        let candidates = self.entries.called_in(before(address));
        for (candidate, evidence) in candidates.take(MAX_CANDIDATES) {
            if let Some(found) = self.reaching(candidate, address, &evidence)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What is not called by its address must show that it is a function: it makes room on the stack.
    fn by_mentions(&self, address: u64) -> Result<Option<(Start, Routine)>, LocateError> {
        let candidates = self.entries.mentioned_in(before(address));
        for (candidate, evidence) in candidates.take(MAX_CANDIDATES) {
            let found = self.reaching(candidate, address, &evidence)?;
            if let Some(found) = found.filter(|(_, routine)| routine.begins_with_frame()) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The function at `start`, if the instruction at `address` can be reached from there.
    fn reaching(
        &self,
        start: u64,
        address: u64,
        evidence: &str,
    ) -> Result<Option<(Start, Routine)>, LocateError> {
        let routine = self.routine(start)?;
        let is_function = routine.is_sound && routine.is_balanced();
        let reaches = is_function && routine.step_at(address).is_some();
        Ok(reaches.then(|| {
            let evidence = format!("begins at {start:#x} ({evidence})");
            let start = Start {
                address: start,
                evidence,
            };
            (start, routine)
        }))
    }

    /// Range of the function that the unwind table says covers `address`.
    fn covering(&self, address: u64) -> Option<Range<u64>> {
        let unwind = self.unwind.as_ref()?;
        unwind.covering(self.elf, address).ok().flatten()
    }

    /// Whether it jumps to the middle of another function: then it is a part of that one which the compiler
    /// moved away, with an entry of its own in the unwind table.
    fn is_fragment(&self, routine: &Routine) -> bool {
        routine
            .exits
            .iter()
            .any(|to| self.covering(*to).is_some_and(|range| range.start != *to))
    }

    fn is_start(&self, address: u64) -> bool {
        let is_listed = self
            .unwind
            .as_ref()
            .is_some_and(|unwind| unwind.begins_at(address));
        is_listed || self.entries.is_certain(address)
    }
}

/// Where the function of `address` may begin.
fn before(address: u64) -> Range<u64> {
    address.saturating_sub(MAX_DISTANCE_BYTES)..address.saturating_add(1)
}

/// The code around `addresses`, in order and without overlap.
fn windows(addresses: &[u64]) -> Vec<Range<u64>> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    let mut windows: Vec<Range<u64>> = Vec::new();
    for address in sorted {
        let end = address.saturating_add(LOOK_AHEAD_BYTES);
        let window = address.saturating_sub(MAX_DISTANCE_BYTES)..end;
        match windows.last_mut() {
            Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
            _ => windows.push(window),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_sorted_and_apart() {
        let ranges = windows(&[1 << 20, 5, (1 << 20) + 100, 3 << 20]);
        assert_eq!(ranges.len(), 3);
        assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        assert_eq!(ranges[0].start, 0);
        assert!(ranges[1].contains(&((1 << 20) + 100)));
        assert_eq!(windows(&[u64::MAX]).len(), 1);
        assert!(windows(&[]).is_empty());
    }
}
