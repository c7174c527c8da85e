//! Where the function begins that an address belongs to.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::{Isa, Routine};
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

/// The first instruction of a function, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) address: u64,
    pub(crate) evidence: String,
}

/// Finds functions of one file.
pub(crate) struct Starts<'a> {
    elf: &'a Elf<'a>,
    isa: &'static Isa,
    unwind: Option<UnwindTable>,
    /// Targets of calls and jumps near the addresses of interest, with how often each is called.
    called: BTreeMap<u64, usize>,
}

impl<'a> Starts<'a> {
    pub(crate) fn new(elf: &'a Elf<'a>) -> Result<Self, LocateError> {
        Ok(Self {
            elf,
            isa: Isa::of(elf.machine),
            unwind: UnwindTable::read(elf)?,
            called: BTreeMap::new(),
        })
    }

    /// The functions that hold `addresses`; each with all of the addresses that it holds. Addresses whose
    /// function is not known for certain are left out.
    pub(crate) fn resolve(
        &mut self,
        scanner: &Scanner<'_>,
        addresses: &[u64],
    ) -> Result<Vec<(Start, Routine, Vec<u64>)>, LocateError> {
        let mut covered = HashMap::new();
        let mut uncovered = Vec::new();
        for address in addresses {
            match self.by_unwind(*address)? {
                Some(range) => {
                    covered.insert(*address, range.start);
                }
                None => uncovered.push(*address),
            }
        }
        if !uncovered.is_empty() {
            self.learn_calls(scanner, &uncovered)?;
        }
        let mut found: BTreeMap<u64, (Start, Routine, Vec<u64>)> = BTreeMap::new();
        for address in addresses {
            let known = found
                .values_mut()
                .find(|(_, r, _)| r.step_at(*address).is_some());
            if let Some((_, _, held)) = known {
                held.push(*address);
                continue;
            }
            let function = match covered.get(address) {
                Some(start) => self.reaching(*start, *address, "unwind table")?,
                None => self.by_calls(*address)?,
            };
            if let Some((start, routine)) = function {
                found.insert(start.address, (start, routine, vec![*address]));
            }
        }
        Ok(found.into_values().collect())
    }

    /// The function that begins at `address`.
    pub(crate) fn routine(&self, address: u64) -> Result<Routine, LocateError> {
        Routine::trace(self.elf, address, &|to| self.is_start(to))
    }

    fn by_unwind(&self, address: u64) -> Result<Option<Range<u64>>, LocateError> {
        match &self.unwind {
            Some(unwind) => unwind.covering(self.elf, address),
            None => Ok(None),
        }
    }

    fn learn_calls(&mut self, scanner: &Scanner<'_>, addresses: &[u64]) -> Result<(), LocateError> {
        let mut windows: Vec<Range<u64>> = Vec::new();
        let mut sorted = addresses.to_vec();
        sorted.sort_unstable();
        for address in sorted {
            let window = address.saturating_sub(MAX_DISTANCE_BYTES)
                ..address.saturating_add(LOOK_AHEAD_BYTES);
            match windows.last_mut() {
                Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
                _ => windows.push(window),
            }
        }
        for call in scanner.find_calls(&windows)? {
            if call.target.is_multiple_of(self.isa.function_alignment) {
                *self.called.entry(call.target).or_default() += 1;
            }
        }
        Ok(())
    }

    fn by_calls(&self, address: u64) -> Result<Option<(Start, Routine)>, LocateError> {
        let first = address.saturating_sub(MAX_DISTANCE_BYTES);
        let candidates = self
            .called
            .range(first..=address)
            .rev()
            .take(MAX_CANDIDATES);
        for (candidate, count) in candidates {
            let evidence = format!("target of {count} calls");
            if let Some(found) = self.reaching(*candidate, address, &evidence)? {
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
        let reached = routine.is_sound && routine.step_at(address).is_some();
        Ok(reached.then(|| {
            let evidence = format!("begins at {start:#x} ({evidence})");
            let start = Start {
                address: start,
                evidence,
            };
            (start, routine)
        }))
    }

    fn is_start(&self, address: u64) -> bool {
        if self.called.contains_key(&address) {
            return true;
        }
        let unwind = self.unwind.as_ref();
        unwind.is_some_and(|unwind| unwind.begins_at(address))
    }
}
