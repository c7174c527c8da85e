//! 64-bit ARM instructions as [`Step`]s. Only what forms constants and moves control is told apart; of the
//! rest it matters which register may have changed.

use super::{Callee, Effect, Flow, Isa, Register, StackChange, Step};
use crate::bytes::u32_at;

/// 64-bit ARM with its procedure call standard.
pub(super) const ISA: Isa = Isa {
    arguments: &[0, 1, 2, 3, 4, 5, 6, 7],
    stack_pointer: 31,
    // x0-x18 and the link register
    volatile: 0x4007_ffff,
    has_fixed_width: true,
    decode,
};

fn decode(bytes: &[u8], address: u64) -> Step {
    let code = u32_at(bytes, 0);
    let (flow, effect) = match code {
        Some(code) => (flow(code, address), effect(code, address)),
        None => (Flow::Invalid, Effect::Clobber(0)),
    };
    Step {
        address,
        byte_count: 4,
        flow,
        effect,
        // Calls are told from data by their place, so that nothing has to be proved by the stack.
        stack: StackChange::Unknown,
    }
}

fn flow(code: u32, address: u64) -> Flow {
    let to = |shift: u32, bits: u32| {
        let field = (code >> shift) << (32 - bits);
        let words = i64::from(field.cast_signed() >> (32 - bits));
        address.wrapping_add_signed(words * 4)
    };
    match code {
        c if c & 0xfc00_0000 == 0x1400_0000 => Flow::Jump(to(0, 26)),
        c if c & 0xfc00_0000 == 0x9400_0000 => Flow::Call(Callee::At(to(0, 26))),
        // b.cond, cbz and cbnz; tbz and tbnz
        c if c & 0xff00_0010 == 0x5400_0000 || c & 0x7e00_0000 == 0x3400_0000 => {
            Flow::Branch(to(5, 19))
        }
        c if c & 0x7e00_0000 == 0x3600_0000 => Flow::Branch(to(5, 14)),
        // ret and its authenticated forms
        c if c & 0xffff_fc1f == 0xd65f_0000 || c & 0xffff_fbff == 0xd65f_0bff => Flow::Return,
        c if c & 0xfeff_f000 == 0xd61f_0000 => Flow::End,
        c if c & 0xfeff_f000 == 0xd63f_0000 => Flow::Call(Callee::Unknown),
        // brk; udf, which is also what zeroed memory is
        c if c & 0xffe0_001f == 0xd420_0000 => Flow::End,
        c if c >> 16 == 0 => Flow::Invalid,
        _ => Flow::Next,
    }
}

fn effect(code: u32, address: u64) -> Effect {
    let rd = low_register(code);
    let rn = low_register(code >> 5);
    let immediate = u64::from(code >> 10 & 0xfff);
    match code {
        // adrp; adr
        c if c & 0x9f00_0000 == 0x9000_0000 => Effect::SetBase(
            rd,
            (address & !0xfff).wrapping_add_signed(page_field(c) << 12),
        ),
        c if c & 0x9f00_0000 == 0x1000_0000 => {
            Effect::Set(rd, address.wrapping_add_signed(page_field(c)))
        }
        // add with an immediate, of either width
        c if c & 0x7fc0_0000 == 0x1100_0000 => Effect::Add(rd, rn, immediate),
        // movz of either width, not shifted; movn is a negative number, not of interest
        c if c & 0x7fe0_0000 == 0x5280_0000 => Effect::Set(rd, u64::from(c >> 5 & 0xffff)),
        // mov from a register: orr with the zero register
        c if c & 0x7fe0_ffe0 == 0x2a00_03e0 => match low_register(c >> 16) {
            31 => Effect::Set(rd, 0),
            from => Effect::Add(rd, from, 0),
        },
        // stores: single, pair
        c if is_store(c) => Effect::Store(Some(rn)),
        // ldp writes two registers
        c if c & 0x3a40_0000 == 0x2840_0000 => {
            Effect::Clobber(bit(rd) | bit(low_register(c >> 10)))
        }
        // branches write none, calls are the caller's matter
        c if c & 0x1c00_0000 == 0x1400_0000 => Effect::Clobber(0),
        _ => Effect::Clobber(bit(rd)),
    }
}

fn is_store(code: u32) -> bool {
    let single = code & 0x3b00_0000 == 0x3900_0000 || code & 0x3b00_0000 == 0x3800_0000;
    let pair = code & 0x3a40_0000 == 0x2800_0000;
    (single && code >> 22 & 3 == 0) || pair
}

fn page_field(code: u32) -> i64 {
    let field = (code >> 5 & 0x7_ffff) << 2 | (code >> 29 & 3);
    i64::from((field << 11).cast_signed() >> 11)
}

fn low_register(code: u32) -> Register {
    (code & 31) as u8
}

fn bit(register: Register) -> u32 {
    // 31 is the zero register or the stack pointer: neither carries a constant.
    if register < 31 { 1 << register } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_become_steps() {
        for (code, flow, effect) in [
            (0x9000_0001_u32, Flow::Next, Effect::SetBase(1, 0x1_2000)),
            (0xb000_0001, Flow::Next, Effect::SetBase(1, 0x1_3000)),
            (0x9104_8c21, Flow::Next, Effect::Add(1, 1, 0x123)),
            (0x5280_0200, Flow::Next, Effect::Set(0, 16)),
            (0xaa01_03e0, Flow::Next, Effect::Add(0, 1, 0)),
            (0x2a1f_03e1, Flow::Next, Effect::Set(1, 0)),
            (
                0x9400_0002,
                Flow::Call(Callee::At(0x1_2350)),
                Effect::Clobber(0),
            ),
            (0x17ff_ffff, Flow::Jump(0x1_2344), Effect::Clobber(0)),
            (0x5400_0040, Flow::Branch(0x1_2350), Effect::Clobber(0)),
            (0xb400_0040, Flow::Branch(0x1_2350), Effect::Clobber(0)),
            (0x3600_0040, Flow::Branch(0x1_2350), Effect::Clobber(0)),
            (0xd65f_03c0, Flow::Return, Effect::Clobber(0)),
            (0xd65f_0bff, Flow::Return, Effect::Clobber(0)),
            (0xd61f_0200, Flow::End, Effect::Clobber(0)),
            (0xd63f_0100, Flow::Call(Callee::Unknown), Effect::Clobber(0)),
            (0xd420_0020, Flow::End, Effect::Clobber(0)),
            (0, Flow::Invalid, Effect::Clobber(1)),
            (0xf900_0041, Flow::Next, Effect::Store(Some(2))),
            (0xa940_0841, Flow::Next, Effect::Clobber(0b110)),
        ] {
            let step = decode(&code.to_le_bytes(), 0x1_2348);
            assert_eq!((step.flow, step.effect), (flow, effect), "{code:08x}");
        }
    }
}
