//! The functions of a kernel program that are active at once fit into the stack of the oldest kernels.
//!
//! All frames of a call chain share 512 bytes before Linux 6.13, which gives each function a stack of its own. A
//! newer kernel lets in what older ones refuse, so this is computed from the instructions as the verifier does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind};

const STACK_BYTES: u64 = 512; // MAX_BPF_STACK
const FRAMES: usize = 8; // MAX_CALL_FRAMES
/// The verifier rounds each frame up to this.
const FRAME_ROUND: u64 = 32;

// Documentation/bpf/standardization/instruction-set.rst
const INSTRUCTION_BYTES: u64 = 8;
const FRAME_POINTER: u8 = 10;
const CLASS: u8 = 7;
const LDX: u8 = 1;
const ST: u8 = 2;
const STX: u8 = 3;
const ADD_IMMEDIATE: u8 = 0x07;
const MOVE: u8 = 0xbf;
const CALL: u8 = 0x85;
const CALL_OF_FUNCTION: u8 = 1;

/// Where a function begins: number of the section, offset in it.
type Place = (usize, u64);

#[derive(Debug)]
struct Function {
    name: String,
    frame: u64,
    calls: Vec<Place>,
}

#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    fn read(bytes: &[u8]) -> Self {
        Self {
            code: bytes[0],
            to: bytes[1] & 0xf,
            from: bytes[1] >> 4,
            offset: i16::from_le_bytes([bytes[2], bytes[3]]),
            immediate: i32::from_le_bytes(bytes[4..8].try_into().unwrap()),
        }
    }

    /// How far below the frame pointer it reads or writes.
    fn depth(self) -> u64 {
        let is_own = match self.code & CLASS {
            LDX => self.from == FRAME_POINTER,
            ST | STX => self.to == FRAME_POINTER,
            _ => false,
        };
        if is_own { below(self.offset.into()) } else { 0 }
    }
}

fn below(offset: i64) -> u64 {
    u64::try_from(-offset).unwrap_or(0)
}

/// The deepest place of the frame that instructions use, or take the address of.
fn frame_of(code: &[Instruction]) -> u64 {
    let mut is_frame_pointer = [false; 16];
    let mut frame = 0;
    for instruction in code {
        frame = frame.max(instruction.depth());
        let to = usize::from(instruction.to);
        if instruction.code == ADD_IMMEDIATE && is_frame_pointer[to] {
            frame = frame.max(below(instruction.immediate.into()));
        }
        if !matches!(instruction.code & CLASS, ST | STX) {
            is_frame_pointer[to] = instruction.code == MOVE && instruction.from == FRAME_POINTER;
        }
    }
    frame
}

fn functions() -> BTreeMap<Place, Function> {
    let bytes = std::fs::read(agentsight_bpf::OBJECT_PATH).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let mut functions = BTreeMap::new();
    for symbol in file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
    {
        let index = symbol.section_index().unwrap();
        let section = file.section_by_index(index).unwrap();
        let relocated: BTreeMap<u64, Place> = section
            .relocations()
            .filter_map(|(at, relocation)| {
                let RelocationTarget::Symbol(target) = relocation.target() else {
                    return None;
                };
                let target = file.symbol_by_index(target).ok()?;
                Some((at, (target.section_index()?.0, target.address())))
            })
            .collect();
        let data = section.data().unwrap();
        let range = symbol.address()..symbol.address() + symbol.size();
        let code: Vec<Instruction> = data
            [usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
            .chunks_exact(8)
            .map(Instruction::read)
            .collect();
        let places = (range.start..).step_by(usize::try_from(INSTRUCTION_BYTES).unwrap());
        let calls = places
            .zip(&code)
            .filter(|(_, instruction)| {
                instruction.code == CALL && instruction.from == CALL_OF_FUNCTION
            })
            .filter_map(|(at, instruction)| {
                let ahead = i64::from(instruction.immediate) + 1;
                let (target, base) = match relocated.get(&at) {
                    Some(&(target, base)) => (target, base),
                    None => (index.0, at),
                };
                let offset = base.checked_add_signed(ahead * INSTRUCTION_BYTES.cast_signed())?;
                Some((target, offset))
            })
            .collect();
        let function = Function {
            name: symbol.name().unwrap().to_owned(),
            frame: frame_of(&code),
            calls,
        };
        functions.insert((index.0, range.start), function);
    }
    functions
}

/// The deepest chain of calls from a function on: its bytes and its functions.
fn deepest(
    functions: &BTreeMap<Place, Function>,
    place: Place,
    above: usize,
) -> (u64, Vec<String>) {
    assert!(above < 64, "a program that calls itself");
    let Some(function) = functions.get(&place) else {
        return (0, Vec::new()); // a function of the kernel
    };
    let own = function.frame.max(1).next_multiple_of(FRAME_ROUND);
    let (below, mut chain) = function
        .calls
        .iter()
        .map(|&callee| deepest(functions, callee, above + 1))
        .max_by_key(|(bytes, _)| *bytes)
        .unwrap_or_default();
    chain.insert(0, format!("{} {}", function.name, function.frame));
    (own + below, chain)
}

fn longest(functions: &BTreeMap<Place, Function>, place: Place) -> usize {
    functions.get(&place).map_or(0, |function| {
        1 + function
            .calls
            .iter()
            .map(|&callee| longest(functions, callee))
            .max()
            .unwrap_or(0)
    })
}

#[test]
fn every_chain_of_calls_fits_into_the_stack() {
    let functions = functions();
    assert!(
        functions
            .values()
            .any(|function| !function.calls.is_empty() && function.frame > 0)
    );
    for &place in functions.keys() {
        let (bytes, chain) = deepest(&functions, place, 0);
        assert!(
            bytes <= STACK_BYTES,
            "{bytes} bytes, and kernels before 6.13 have {STACK_BYTES}: {}; move what is large into a global function \
             or a table of one entry",
            chain.join(" > ")
        );
        assert!(
            longest(&functions, place) <= FRAMES,
            "{}",
            chain.join(" > ")
        );
    }
}
