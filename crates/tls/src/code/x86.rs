//! AMD64 instructions as [`Step`]s.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register as Name,
};

use super::{Callee, Effect, Flow, Isa, Register, StackChange, Step};

/// The longest instruction.
const MAX_INSTRUCTION_BYTES: usize = 15;

/// AMD64 with the System V calling convention.
pub(super) const ISA: Isa = Isa {
    // rdi rsi rdx rcx r8 r9
    arguments: &[7, 6, 2, 1, 8, 9],
    stack_pointer: 4,
    // rax rcx rdx rsi rdi r8-r11
    volatile: 0x0fc7,
    has_fixed_width: false,
    decode,
};

fn decode(bytes: &[u8], address: u64) -> Step {
    let bytes = bytes.get(..MAX_INSTRUCTION_BYTES).unwrap_or(bytes);
    let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
    Step {
        address,
        byte_count: u8::try_from(instruction.len()).unwrap_or(u8::MAX),
        flow: flow(&instruction),
        effect: effect(&instruction),
        stack: stack(&instruction),
    }
}

fn stack(instruction: &Instruction) -> StackChange {
    let is_target = register(instruction.op0_register()) == Some(ISA.stack_pointer);
    let by = match instruction.mnemonic() {
        Mnemonic::Call | Mnemonic::Ret => 0,
        Mnemonic::Push | Mnemonic::Pop => -i64::from(instruction.stack_pointer_increment()),
        Mnemonic::Leave => return StackChange::Unknown,
        Mnemonic::Sub if is_target && is_immediate(instruction) => {
            instruction.immediate(1).cast_signed()
        }
        Mnemonic::Add if is_target && is_immediate(instruction) => {
            instruction.immediate(1).cast_signed().saturating_neg()
        }
        Mnemonic::Lea if is_target => match effect(instruction) {
            Effect::Add(_, from, by) if from == ISA.stack_pointer => {
                by.cast_signed().saturating_neg()
            }
            _ => return StackChange::Unknown,
        },
        Mnemonic::Cmp | Mnemonic::Test => 0,
        _ if is_target => return StackChange::Unknown,
        _ => 0,
    };
    StackChange::Grows(by)
}

fn is_immediate(instruction: &Instruction) -> bool {
    instruction.op1_register() == Name::None && instruction.op1_kind() != OpKind::Memory
}

fn flow(instruction: &Instruction) -> Flow {
    if instruction.is_invalid() || is_implausible(instruction.mnemonic()) {
        return Flow::Invalid;
    }
    match instruction.flow_control() {
        FlowControl::Next => Flow::Next,
        FlowControl::UnconditionalBranch => Flow::Jump(instruction.near_branch_target()),
        FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => {
            Flow::Branch(instruction.near_branch_target())
        }
        FlowControl::Return => Flow::Return,
        FlowControl::Call if instruction.mnemonic() == Mnemonic::Call => {
            Flow::Call(Callee::At(instruction.near_branch_target()))
        }
        FlowControl::IndirectCall if instruction.is_ip_rel_memory_operand() => {
            Flow::Call(Callee::Kept(instruction.ip_rel_memory_address()))
        }
        FlowControl::IndirectCall => Flow::Call(Callee::Unknown),
        // System calls come back.
        FlowControl::Call => Flow::Next,
        FlowControl::IndirectBranch | FlowControl::Interrupt | FlowControl::Exception => Flow::End,
    }
}

/// Instructions that no compiler makes for a program: a decoder that meets one is out of step.
fn is_implausible(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::In
            | Mnemonic::Out
            | Mnemonic::Insb
            | Mnemonic::Insd
            | Mnemonic::Outsb
            | Mnemonic::Outsd
            | Mnemonic::Hlt
            | Mnemonic::Cli
            | Mnemonic::Sti
            | Mnemonic::Iretd
            | Mnemonic::Iretq
            | Mnemonic::Retf
            | Mnemonic::Enter
            | Mnemonic::Xlatb
            | Mnemonic::Loopne
            | Mnemonic::Loope
            | Mnemonic::Loop
    )
}

fn effect(instruction: &Instruction) -> Effect {
    let target = register(instruction.op0_register());
    match (instruction.mnemonic(), target) {
        (Mnemonic::Mov, Some(target)) => match instruction.op1_kind() {
            OpKind::Register => copy(instruction, target),
            OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64 => {
                Effect::Set(target, width(instruction, instruction.immediate(1)))
            }
            _ => Effect::Clobber(bit(target)),
        },
        (Mnemonic::Lea, Some(target)) if instruction.is_ip_rel_memory_operand() => {
            Effect::Set(target, instruction.ip_rel_memory_address())
        }
        (Mnemonic::Lea, Some(target)) => lea(instruction, target),
        (Mnemonic::Xor | Mnemonic::Sub, Some(target))
            if instruction.op1_kind() == OpKind::Register
                && instruction.op0_register() == instruction.op1_register() =>
        {
            Effect::Set(target, 0)
        }
        (Mnemonic::Push, None) => push(instruction),
        (Mnemonic::Pop, Some(target)) => Effect::Pop(target),
        _ => written(instruction),
    }
}

/// `mov` between registers. One of 32 bits clears the upper half, which is no matter for the constants of
/// interest; narrower ones keep a part of the old value.
fn copy(instruction: &Instruction, target: Register) -> Effect {
    let wide = instruction.op0_register().size() >= 4;
    match register(instruction.op1_register()) {
        Some(from) if wide => Effect::Add(target, from, 0),
        _ => Effect::Clobber(bit(target)),
    }
}

fn lea(instruction: &Instruction, target: Register) -> Effect {
    let has_index = instruction.memory_index() != Name::None;
    match register(instruction.memory_base()) {
        Some(base) if !has_index => Effect::Add(target, base, instruction.memory_displacement64()),
        _ => Effect::Clobber(bit(target)),
    }
}

fn push(instruction: &Instruction) -> Effect {
    match instruction.op0_kind() {
        OpKind::Immediate8to64 | OpKind::Immediate32to64 => Effect::Push(instruction.immediate(0)),
        _ => Effect::Clobber(0),
    }
}

/// The value as a register of the operand's width holds it.
fn width(instruction: &Instruction, value: u64) -> u64 {
    match instruction.code() {
        Code::Mov_r32_imm32 | Code::Mov_rm32_imm32 => value & 0xffff_ffff,
        _ => value,
    }
}

fn written(instruction: &Instruction) -> Effect {
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(instruction);
    let mask = info
        .used_registers()
        .iter()
        .filter(|used| {
            !matches!(
                used.access(),
                OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
            )
        })
        .filter_map(|used| register(used.register()))
        .fold(0, |mask, register| mask | bit(register));
    let stores = info
        .used_memory()
        .iter()
        .find(|used| matches!(used.access(), OpAccess::Write | OpAccess::ReadWrite));
    match stores {
        Some(memory) if mask == 0 => Effect::Store(register(memory.base())),
        _ => Effect::Clobber(mask),
    }
}

fn bit(register: Register) -> u32 {
    1_u32.checked_shl(u32::from(register)).unwrap_or(0)
}

/// The number of a general register of any width.
fn register(name: Name) -> Option<Register> {
    let full = name.full_register();
    if !full.is_gpr64() {
        return None;
    }
    u8::try_from(full.number()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_become_steps() {
        let rip = 0x1000;
        for (bytes, flow, effect) in [
            (&[0xbf, 0x10, 0, 0, 0][..], Flow::Next, Effect::Set(7, 16)),
            (&[0x31, 0xf6], Flow::Next, Effect::Set(6, 0)),
            (
                &[0x48, 0x8d, 0x15, 1, 0, 0, 0],
                Flow::Next,
                Effect::Set(2, 0x1008),
            ),
            (&[0x48, 0x89, 0xfb], Flow::Next, Effect::Add(3, 7, 0)),
            (&[0x88, 0xc3], Flow::Next, Effect::Clobber(1 << 3)),
            (
                &[0x48, 0x8d, 0x4c, 0x24, 8],
                Flow::Next,
                Effect::Add(1, 4, 8),
            ),
            (&[0x48, 0x8d, 0x04, 0x37], Flow::Next, Effect::Clobber(1)),
            (&[0x6a, 0x42], Flow::Next, Effect::Push(0x42)),
            (&[0x5e], Flow::Next, Effect::Pop(6)),
            (&[0x48, 0x89, 0x47, 8], Flow::Next, Effect::Store(Some(7))),
            (
                &[0xe8, 0, 1, 0, 0],
                Flow::Call(Callee::At(0x1105)),
                Effect::Clobber(1 << 4),
            ),
            (
                &[0xff, 0xd0],
                Flow::Call(Callee::Unknown),
                Effect::Clobber(1 << 4),
            ),
            (
                &[0xff, 0x15, 2, 0, 0, 0],
                Flow::Call(Callee::Kept(0x1008)),
                Effect::Clobber(1 << 4),
            ),
            (&[0x74, 0x10], Flow::Branch(0x1012), Effect::Clobber(0)),
            (&[0xeb, 0xfe], Flow::Jump(0x1000), Effect::Clobber(0)),
            (&[0xc3], Flow::Return, Effect::Clobber(1 << 4)),
            (&[0x0f, 0x0b], Flow::End, Effect::Clobber(0)),
            (&[0xf4], Flow::Invalid, Effect::Clobber(0)),
            (&[], Flow::Invalid, Effect::Clobber(0)),
        ] {
            let step = decode(bytes, rip);
            assert_eq!((step.flow, step.effect), (flow, effect), "{bytes:02x?}");
        }
    }
}
