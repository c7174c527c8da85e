//! What can be reached from a function's first instruction.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::{Callee, Effect, Flow, Isa, Register, StackChange, Step, Work};
use crate::LocateError;
use crate::elf::Elf;

/// More code of one function than this is not looked at; the functions of interest have a few hundred bytes.
const MAX_ROUTINE_BYTES: usize = 64 << 10;
/// More instructions of one function than this are not followed.
const MAX_STEPS: usize = 8192;
/// More instructions than this are not looked at in search of a register's value.
const MAX_TRACED_STEPS: usize = 2048;
/// A value that is computed in more steps than this is unknown.
const MAX_TRACE_DEPTH: u8 = 6;

/// Instructions within which a function makes room on the stack.
const MAX_PROLOGUE_STEPS: usize = 8;

/// The instructions of one function.
pub(crate) struct Routine {
    pub(crate) start: u64,
    /// By address.
    pub(crate) steps: BTreeMap<u64, Step>,
    /// Where it jumps to beyond itself.
    pub(crate) exits: BTreeSet<u64>,
    /// Whether every path was followed to its end, and every instruction made sense.
    pub(crate) is_sound: bool,
    isa: &'static Isa,
    before: HashMap<u64, Vec<u64>>,
    work: Rc<Work>,
}

/// A way through the code.
#[derive(Clone, Copy)]
struct Path {
    address: u64,
    /// Bytes that were put on the stack, as long as it can be told.
    depth: Option<i64>,
    /// Whether there were any before.
    had_frame: bool,
    /// Whether the last instruction was a call.
    is_behind_call: bool,
}

impl Path {
    fn begin(address: u64) -> Self {
        Self {
            address,
            depth: Some(0),
            had_frame: false,
            is_behind_call: false,
        }
    }

    fn advance(&mut self, step: &Step) {
        self.address = step.end();
        self.is_behind_call = matches!(step.flow, Flow::Call(_));
        self.depth = match (self.depth, step.stack) {
            (Some(depth), StackChange::Grows(by)) => Some(depth.saturating_add(by)),
            _ => None,
        };
        // A constant on its way over the stack is no frame.
        let is_constant = matches!(step.effect, Effect::Push(_));
        self.had_frame |= !is_constant && self.depth.is_some_and(|depth| depth > 0);
    }

    /// Whether all was taken from the stack again: what follows is a return, or a jump that is one call
    /// and a return.
    fn is_unwound(&self) -> bool {
        self.had_frame && self.depth == Some(0)
    }
}

/// The constants that a register may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Constants {
    pub(crate) values: BTreeSet<u64>,
    /// Whether it may hold an address within the stack.
    pub(crate) stack: bool,
    /// Whether it may hold something else.
    pub(crate) others: bool,
}

impl Routine {
    /// Follows the code from `start`. Jumps to an address for which `is_start` holds leave the function, as
    /// do those that go back before `start`.
    pub(crate) fn trace(
        elf: &Elf<'_>,
        start: u64,
        is_start: &dyn Fn(u64) -> bool,
        work: &Rc<Work>,
    ) -> Result<Self, LocateError> {
        let bytes = elf.read_memory(start, MAX_ROUTINE_BYTES)?;
        let mut routine = Self {
            start,
            steps: BTreeMap::new(),
            exits: BTreeSet::new(),
            is_sound: !bytes.is_empty(),
            isa: Isa::of(elf.machine),
            before: HashMap::new(),
            work: Rc::clone(work),
        };
        let mut pending = vec![Path::begin(start)];
        while let Some(path) = pending.pop() {
            routine.follow(&bytes, path, is_start, &mut pending);
        }
        routine.is_sound &= routine.steps.len() < MAX_STEPS && !routine.overlaps();
        Ok(routine)
    }

    /// Decodes along a path until control cannot go on or joins what was decoded already.
    fn follow(
        &mut self,
        bytes: &[u8],
        mut path: Path,
        is_start: &dyn Fn(u64) -> bool,
        pending: &mut Vec<Path>,
    ) {
        let mut pushed = None;
        while !self.steps.contains_key(&path.address) && self.steps.len() < MAX_STEPS {
            let Some(step) = self.decode(bytes, path.address, &mut pushed) else {
                // Behind a call that does not come back there may be anything.
                self.is_sound &= path.is_behind_call;
                return;
            };
            path.advance(&step);
            self.steps.insert(step.address, step);
            if let Flow::Branch(to) | Flow::Jump(to) = step.flow {
                let ends_call = matches!(step.flow, Flow::Jump(_)) && path.is_unwound();
                if ends_call || self.is_exit(to, is_start) {
                    self.exits.insert(to);
                } else {
                    self.before.entry(to).or_default().push(step.address);
                    pending.push(Path {
                        address: to,
                        ..path
                    });
                }
            }
            let ends = matches!(step.flow, Flow::Jump(_) | Flow::Return | Flow::End);
            // Code that runs into the next function called something that does not come back.
            if ends || is_start(path.address) {
                return;
            }
            self.before
                .entry(path.address)
                .or_default()
                .push(step.address);
        }
    }

    /// The instruction at `address`, if it makes sense.
    fn decode(&self, bytes: &[u8], address: u64, pushed: &mut Option<u64>) -> Option<Step> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let code = bytes.get(at..).filter(|_| self.work.take())?;
        let mut step = (self.isa.decode)(code, address);
        if step.flow == Flow::Invalid || usize::from(step.byte_count) > code.len() {
            return None;
        }
        // A small constant may take the way over the stack.
        if let (Effect::Pop(register), Some(value)) = (step.effect, *pushed) {
            step.effect = Effect::Set(register, value);
        }
        *pushed = match step.effect {
            Effect::Push(value) => Some(value),
            _ => None,
        };
        Some(step)
    }

    fn is_exit(&self, to: u64, is_start: &dyn Fn(u64) -> bool) -> bool {
        let within = to
            .checked_sub(self.start)
            .is_some_and(|distance| distance < MAX_ROUTINE_BYTES as u64);
        !within || (to != self.start && is_start(to))
    }

    /// Whether two paths read the same bytes as different instructions: then one of them is wrong.
    fn overlaps(&self) -> bool {
        let mut end = 0;
        self.steps.values().any(|step| {
            let overlaps = step.address < end;
            end = step.end();
            overlaps
        })
    }

    /// Whether it leaves the stack as it found it, on one way at least, or cannot be told to not do so.
    /// Code from the middle of a function takes more from the stack than it put there.
    pub(crate) fn is_balanced(&self) -> bool {
        let mut depths: HashMap<u64, i64> = HashMap::new();
        let mut pending = vec![(self.start, 0_i64)];
        let mut leaves = false;
        while let Some((address, depth)) = pending.pop() {
            let Some(step) = self.steps.get(&address) else {
                continue;
            };
            if depths.insert(address, depth).is_some() {
                continue;
            }
            let StackChange::Grows(by) = step.stack else {
                return true;
            };
            let depth = depth.saturating_add(by);
            let exits = match step.flow {
                Flow::Jump(to) | Flow::Branch(to) => self.exits.contains(&to),
                Flow::Return => true,
                _ => false,
            };
            if exits && depth == 0 {
                return true;
            }
            leaves |= exits;
            if let Flow::Jump(to) | Flow::Branch(to) = step.flow {
                pending.push((to, depth));
            }
            if !matches!(step.flow, Flow::Jump(_) | Flow::Return | Flow::End) {
                pending.push((step.end(), depth));
            }
        }
        !leaves
    }

    /// Whether it changes memory that is not its own: not the stack's, by its pointer or by one made of it.
    pub(crate) fn stores_outside_stack(&self) -> bool {
        self.steps.values().any(|step| match step.effect {
            Effect::Store(Some(base)) if base != self.isa.stack_pointer => {
                !self.constants_at(step.address, base).stack
            }
            _ => false,
        })
    }

    /// Whether it puts something on the stack before it does anything else of note.
    pub(crate) fn begins_with_frame(&self) -> bool {
        let first = self.steps.values().take(MAX_PROLOGUE_STEPS);
        let mut ordinary = first.take_while(|step| step.flow == Flow::Next);
        ordinary.any(|step| matches!(step.stack, StackChange::Grows(1..)))
    }

    /// The instruction that `address` is a byte of, if it can be reached.
    pub(crate) fn step_at(&self, address: u64) -> Option<&Step> {
        let (_, step) = self.steps.range(..=address).next_back()?;
        step.covers(address).then_some(step)
    }

    /// Calls to a known address: (address of the call, function).
    pub(crate) fn calls(&self) -> impl Iterator<Item = (u64, u64)> {
        self.steps.values().filter_map(|step| match step.flow {
            Flow::Call(Callee::At(to)) => Some((step.address, to)),
            _ => None,
        })
    }

    /// Where the addresses of functions are kept that it calls.
    pub(crate) fn kept_callees(&self) -> impl Iterator<Item = u64> {
        self.steps.values().filter_map(|step| match step.flow {
            Flow::Call(Callee::Kept(at)) => Some(at),
            _ => None,
        })
    }

    /// Functions that it calls, or ends in a jump to.
    pub(crate) fn callees(&self) -> BTreeSet<u64> {
        self.calls()
            .map(|(_, to)| to)
            .chain(self.exits.iter().copied())
            .collect()
    }

    /// Constants that it forms, addresses among them.
    pub(crate) fn constants(&self) -> BTreeSet<u64> {
        let formed = self.steps.values().flat_map(|step| match step.effect {
            Effect::Set(_, value) => vec![value],
            // An address may take two instructions.
            Effect::Add(register, from, _) if from != self.isa.stack_pointer => self
                .constants_at(step.end(), register)
                .values
                .into_iter()
                .collect(),
            _ => Vec::new(),
        });
        formed.collect()
    }

    /// What the C calling convention's argument `index` may be before the instruction at `at`.
    pub(crate) fn argument_at(&self, at: u64, index: usize) -> Constants {
        match self.isa.arguments.get(index) {
            Some(register) => self.constants_at(at, *register),
            None => Constants::default(),
        }
    }

    /// What `register` may hold before the instruction at `at`.
    pub(crate) fn constants_at(&self, at: u64, register: Register) -> Constants {
        let mut constants = Constants::default();
        let mut left = MAX_TRACED_STEPS;
        self.collect(at, register, 0, MAX_TRACE_DEPTH, &mut left, &mut constants);
        constants
    }

    fn collect(
        &self,
        at: u64,
        register: Register,
        added: u64,
        depth: u8,
        left: &mut usize,
        constants: &mut Constants,
    ) {
        let mut seen = HashSet::new();
        let mut pending: Vec<u64> = vec![at];
        while let Some(here) = pending.pop() {
            let before = self.before.get(&here);
            // The function's own arguments are not known.
            constants.others |= here == self.start || before.is_none();
            for address in before.into_iter().flatten() {
                if !seen.insert(*address) {
                    continue;
                }
                let Some(step) = self.steps.get(address) else {
                    continue;
                };
                if *left == 0 || !self.work.take() {
                    constants.others = true;
                    return;
                }
                *left -= 1;
                match definition(step, register, self.isa.volatile) {
                    Definition::None => pending.push(*address),
                    Definition::Constant(value) => {
                        constants.values.insert(value.wrapping_add(added));
                    }
                    Definition::Sum(from, _) if from == self.isa.stack_pointer => {
                        constants.stack = true;
                    }
                    Definition::Sum(from, more) if depth > 0 => {
                        let added = added.wrapping_add(more);
                        self.collect(*address, from, added, depth - 1, left, constants);
                    }
                    Definition::Sum(..) | Definition::Unknown => constants.others = true,
                }
            }
        }
    }
}

/// What an instruction makes of one register.
enum Definition {
    None,
    Constant(u64),
    Sum(Register, u64),
    Unknown,
}

fn definition(step: &Step, register: Register, volatile: u32) -> Definition {
    let is_in = |mask: u32| {
        mask.checked_shr(u32::from(register))
            .is_some_and(|m| m & 1 == 1)
    };
    if matches!(step.flow, Flow::Call(_)) && is_in(volatile) {
        return Definition::Unknown;
    }
    match step.effect {
        Effect::Set(target, value) | Effect::SetBase(target, value) if target == register => {
            Definition::Constant(value)
        }
        Effect::Add(target, from, value) if target == register => Definition::Sum(from, value),
        Effect::Pop(target) if target == register => Definition::Unknown,
        Effect::Clobber(mask) if is_in(mask) => Definition::Unknown,
        _ => Definition::None,
    }
}
