//! Functions, as far as the machine code shows them: where one begins, what can be reached from there,
//! which constants it gives to the functions that it calls.
//!
//! Decoders reduce instructions to [`Step`]s; everything else is the same for every processor.

mod aarch64;
mod entries;
mod routine;
mod starts;
#[cfg(test)]
mod tests;
mod x86;

use std::cell::Cell;

use entries::Entries;
pub(crate) use routine::Routine;
pub(crate) use starts::{Start, Starts};

use crate::elf::Machine;

/// A general register, by the number that the processor's manual gives it.
pub(crate) type Register = u8;

/// One instruction, reduced to what the locator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) address: u64,
    pub(crate) byte_count: u8,
    pub(crate) flow: Flow,
    pub(crate) effect: Effect,
    pub(crate) stack: StackChange,
}

impl Step {
    /// Address of the next instruction in memory.
    pub(crate) fn end(&self) -> u64 {
        self.address.saturating_add(u64::from(self.byte_count))
    }

    /// Whether `address` is one of the instruction's bytes.
    pub(crate) fn covers(&self, address: u64) -> bool {
        (self.address..self.end()).contains(&address)
    }
}

/// Where control goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// To the next instruction.
    Next,
    /// There or to the next instruction.
    Branch(u64),
    /// There.
    Jump(u64),
    /// To a function, and back to the next instruction.
    Call(Callee),
    /// Back to the caller.
    Return,
    /// To an address that is computed, or nowhere.
    End,
    /// No instruction that a compiler makes.
    Invalid,
}

/// Which function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callee {
    /// The one at this address.
    At(u64),
    /// The one whose address is kept here.
    Kept(u64),
    /// It is computed.
    Unknown,
}

/// What an instruction does to the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StackChange {
    /// The stack grows by so many bytes; it shrinks if the number is negative. Calls count as nothing, as
    /// they come back.
    Grows(i64),
    /// Something that cannot be told.
    Unknown,
}

/// What an instruction does to registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Changes the registers in the mask in some way, possibly none.
    Clobber(u32),
    /// Sets a register to a constant.
    Set(Register, u64),
    /// Sets a register to a constant that another instruction will add to.
    SetBase(Register, u64),
    /// Sets the first register to the second plus a constant.
    Add(Register, Register, u64),
    /// Puts a constant on the stack.
    Push(u64),
    /// Takes a register from the stack.
    Pop(Register),
    /// Keeps the registers in the mask in memory, of which the first register is the address.
    Store(Option<Register>),
}

/// How many instructions may be decoded or looked at for one file: fifty times what any known program needs,
/// and less than half a second.
const MAX_WORK: u64 = 4_000_000;
/// How many instructions may be kept for one file: twenty times what any known program needs, and about 40 MB.
const MAX_KEPT: usize = 1 << 18;

/// What is left of the work that may be done for one file.
pub(crate) struct Work {
    left: Cell<u64>,
    room: Cell<usize>,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            left: Cell::new(MAX_WORK),
            room: Cell::new(MAX_KEPT),
        }
    }
}

impl Work {
    /// Whether one more instruction may be looked at.
    pub(crate) fn take(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    /// Whether `count` more instructions may be kept.
    pub(crate) fn keep(&self, count: usize) -> bool {
        let room = self.room.get();
        self.room.set(room.saturating_sub(count));
        room > count
    }

    /// Whether nothing is left.
    pub(crate) fn is_used_up(&self) -> bool {
        self.left.get() == 0 || self.room.get() == 0
    }
}

/// The calling convention and the decoder of a processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Isa {
    /// Registers of the C calling convention's integer arguments, in order.
    pub(crate) arguments: &'static [Register],
    /// The register that holds the address of the stack.
    pub(crate) stack_pointer: Register,
    /// Registers that a called function may change.
    pub(crate) volatile: u32,
    /// Whether instructions can begin at multiples of their one length only.
    pub(crate) has_fixed_width: bool,
    /// Reduces the bytes at an address to steps until they end or make no sense.
    pub(crate) decode: fn(bytes: &[u8], address: u64) -> Step,
}

impl Isa {
    /// The one of `machine`.
    pub(crate) fn of(machine: Machine) -> &'static Self {
        match machine {
            Machine::X86_64 => &x86::ISA,
            Machine::Aarch64 => &aarch64::ISA,
        }
    }
}
