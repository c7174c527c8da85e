//! What shows that a function begins somewhere, where no unwind data says it: calls, jumps and pointers.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::rc::Rc;

use super::{Isa, Work};
use crate::LocateError;
use crate::elf::Elf;
use crate::scan::Scanner;

/// Bytes before an instruction from which it must be reached.
const LEAD_BYTES: u8 = 64;
/// Places among them to begin at.
const LEAD_BEGINS: usize = 16;
/// What functions are aligned to that jumps may go to.
const JUMP_ALIGNMENT: u64 = 16;
/// Targets below an address that are looked at.
const MAX_NEAR: usize = 64;
/// Calls that are kept for one target.
const MAX_WITNESSES: usize = 4;

/// Possible first instructions, in the parts of the code that were asked for.
pub(crate) struct Entries<'a> {
    elf: &'a Elf<'a>,
    work: Rc<Work>,
    isa: &'static Isa,
    called: BTreeMap<u64, Target>,
    jumped: BTreeMap<u64, Target>,
    pointed: BTreeSet<u64>,
    /// Whether instructions that were asked for are real.
    real: RefCell<HashMap<u64, bool>>,
}

/// Where calls go to.
#[derive(Debug, Default)]
struct Target {
    count: usize,
    /// A few of the calls.
    calls: Vec<u64>,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(elf: &'a Elf<'a>, work: &Rc<Work>) -> Self {
        Self {
            elf,
            work: Rc::clone(work),
            isa: Isa::of(elf.machine),
            called: BTreeMap::new(),
            jumped: BTreeMap::new(),
            pointed: BTreeSet::new(),
            real: RefCell::new(HashMap::new()),
        }
    }

    /// Learns from the code what is called in `windows`.
    pub(crate) fn learn_calls(
        &mut self,
        scanner: &Scanner<'_>,
        windows: &[Range<u64>],
    ) -> Result<(), LocateError> {
        for call in scanner.find_calls(windows)? {
            let targets = match call.is_jump {
                false => &mut self.called,
                true if call.target.is_multiple_of(JUMP_ALIGNMENT) => &mut self.jumped,
                true => continue,
            };
            let target = targets.entry(call.target).or_default();
            target.count += 1;
            if target.calls.len() < MAX_WITNESSES {
                target.calls.push(call.at);
            }
        }
        Ok(())
    }

    /// Learns from data what in `windows` has its address kept.
    pub(crate) fn learn_pointers(
        &mut self,
        scanner: &Scanner<'_>,
        windows: &[Range<u64>],
    ) -> Result<(), LocateError> {
        let pointers = scanner.find_pointers(windows)?;
        self.pointed.extend(pointers.into_iter().map(|(_, to)| to));
        Ok(())
    }

    /// Functions that are called and begin in `range`, the last one first.
    pub(crate) fn called_in(&self, range: Range<u64>) -> impl Iterator<Item = (u64, String)> {
        let candidates = self.called.range(range).rev().take(MAX_NEAR);
        let real = candidates.filter(|(address, _)| self.is_called(**address));
        real.map(|(address, target)| (*address, format!("target of {} calls", target.count)))
    }

    /// What is jumped to in `range`, or has its address kept in data, the last one first. The turns of a
    /// loop are jumps, too, and a table of a `switch` keeps addresses.
    pub(crate) fn mentioned_in(&self, range: Range<u64>) -> impl Iterator<Item = (u64, String)> {
        let jumps = self.jumped.range(range.clone()).rev().take(MAX_NEAR);
        let jumped = jumps
            .filter(|(_, target)| self.is_witnessed(target))
            .map(|(address, target)| (*address, format!("target of {} jumps", target.count)));
        let pointers = self.pointed.range(range).rev().take(MAX_NEAR);
        let pointed = pointers.map(|address| (*address, "its address is kept in data".to_owned()));
        let mut all: Vec<(u64, String)> = jumped.chain(pointed).collect();
        all.sort_by_key(|(address, _)| std::cmp::Reverse(*address));
        all.into_iter()
    }

    /// Whether a function begins at `address` for certain.
    pub(crate) fn is_certain(&self, address: u64) -> bool {
        // In a file that can be loaded anywhere, tables of a `switch` keep distances.
        let is_pointed = !self.elf.fixed_addresses && self.pointed.contains(&address);
        is_pointed || self.is_called(address)
    }

    /// Whether `address` is the target of what is an instruction, not only looks like a call.
    fn is_called(&self, address: u64) -> bool {
        self.called
            .get(&address)
            .is_some_and(|target| self.is_witnessed(target))
    }

    fn is_witnessed(&self, target: &Target) -> bool {
        target.calls.iter().any(|at| self.is_instruction(*at))
    }

    /// Whether an instruction begins at `address`. Whoever begins to decode at a wrong byte is in step
    /// again after a few instructions; so that most of those who begin a little before must meet here.
    fn is_instruction(&self, address: u64) -> bool {
        if self.isa.has_fixed_width {
            return true;
        }
        if let Some(is_real) = self.real.borrow().get(&address) {
            return *is_real;
        }
        let first = address.saturating_sub(u64::from(LEAD_BYTES));
        let code = self
            .elf
            .read_memory(first, usize::from(LEAD_BYTES) + 16)
            .unwrap_or_default();
        let met = (0..LEAD_BEGINS)
            .filter(|skip| self.meets(&code, first, *skip, address))
            .count();
        let is_real = met >= LEAD_BEGINS * 3 / 4;
        self.real.borrow_mut().insert(address, is_real);
        is_real
    }

    fn meets(&self, code: &[u8], first: u64, skip: usize, address: u64) -> bool {
        let mut here = first.saturating_add(skip as u64);
        while here < address && self.work.take() {
            let at = usize::try_from(here.saturating_sub(first)).unwrap_or(usize::MAX);
            let step = (self.isa.decode)(code.get(at..).unwrap_or_default(), here);
            // A byte that makes no sense is where to begin again.
            here = here.saturating_add(u64::from(step.byte_count.max(1)));
        }
        here == address
    }
}
