//! Functions made by hand, and what is seen in them.

use std::collections::BTreeSet;

use super::{Routine, Starts};
use crate::elf::{Elf, testing::image};
use crate::scan::Scanner;
use crate::{Machine, Options};

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x80_0000;

/// Bytes with an `int3` for all that is not given, so that nothing runs on by accident.
fn code(parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0xcc; 0x200];
    for (at, part) in parts {
        bytes[*at..*at + part.len()].copy_from_slice(part);
    }
    bytes
}

fn with_starts<T>(bytes: &[u8], test: impl FnOnce(&mut Starts<'_>, &Scanner<'_>) -> T) -> T {
    let file = image(Machine::X86_64, &[(CODE, 5, bytes), (DATA, 6, &[0; 64])]);
    let source = file.as_slice();
    let elf = Elf::open(&source).unwrap();
    let scanner = Scanner::new(&elf, &Options::default());
    test(&mut Starts::new(&elf).unwrap(), &scanner)
}

fn routine(bytes: &[u8], at: u64) -> Routine {
    with_starts(bytes, |starts, _| starts.routine(CODE + at).unwrap())
}

fn values(values: &[u64]) -> BTreeSet<u64> {
    values.iter().copied().collect()
}

#[test]
fn an_argument_may_be_what_any_way_sets_it_to() {
    let bytes = code(&[
        (0x00, &[0x74, 0x0e]),          // je 0x10
        (0x02, &[0xbe, 66, 0, 0, 0]),   // mov esi, 66
        (0x07, &[0xeb, 0x17]),          // jmp 0x20
        (0x10, &[0x6a, 111]),           // push 111
        (0x12, &[0x5e]),                // pop rsi
        (0x13, &[0xeb, 0x0b]),          // jmp 0x20
        (0x20, &[0x31, 0xff]),          // xor edi, edi
        (0x22, &[0xe8, 0x39, 0, 0, 0]), // call 0x60
        (0x27, &[0xe8, 0x34, 0, 0, 0]), // call 0x60
        (0x2c, &[0xc3]),                // ret
        (0x60, &[0xc3]),                // ret
    ]);
    let routine = routine(&bytes, 0);
    assert!(routine.is_sound && routine.is_balanced());
    let first = routine.argument_at(CODE + 0x22, 1);
    assert_eq!((first.values, first.others), (values(&[66, 111]), false));
    assert_eq!(routine.argument_at(CODE + 0x22, 0).values, values(&[0]));
    // A call leaves nothing of the arguments, and a function's own are not known.
    for (at, index) in [(0x27, 1), (0x22, 2)] {
        let argument = routine.argument_at(CODE + at, index);
        assert_eq!(
            (argument.values, argument.others),
            (values(&[]), true),
            "{at:#x}"
        );
    }
    assert_eq!(routine.callees(), values(&[CODE + 0x60]));
}

#[test]
fn places_on_the_stack_are_known_through_copies() {
    let bytes = code(&[
        (0x00, &[0x55]),                   // push rbp
        (0x01, &[0x48, 0x89, 0xe5]),       // mov rbp, rsp
        (0x04, &[0x48, 0x83, 0xec, 0x20]), // sub rsp, 32
        (0x08, &[0x48, 0x8d, 0x45, 0xf0]), // lea rax, [rbp-16]
        (0x0c, &[0x48, 0x89, 0xc1]),       // mov rcx, rax
        (0x0f, &[0x48, 0x89, 0x08]),       // mov [rax], rcx
        (0x12, &[0xe8, 0x09, 0, 0, 0]),    // call 0x20
        (0x17, &[0x48, 0x83, 0xc4, 0x20]), // add rsp, 32
        (0x1b, &[0x5d]),                   // pop rbp
        (0x1c, &[0xc3]),                   // ret
        (0x20, &[0x48, 0x89, 0x0f]),       // mov [rdi], rcx
        (0x23, &[0xc3]),                   // ret
    ]);
    let outer = routine(&bytes, 0);
    assert!(outer.argument_at(CODE + 0x12, 3).stack);
    assert!(!outer.argument_at(CODE + 0x12, 0).stack);
    assert!(outer.is_balanced() && outer.begins_with_frame());
    assert!(!outer.stores_outside_stack());
    assert!(routine(&bytes, 0x20).stores_outside_stack());
}

#[test]
fn code_from_the_middle_of_a_function_takes_too_much_from_the_stack() {
    let bytes = code(&[
        (0x00, &[0x53]),                 // push rbx
        (0x01, &[0x48, 0x83, 0xec, 16]), // sub rsp, 16
        (0x10, &[0x90]),                 // nop
        (0x05, &[0xeb, 0x09]),           // jmp 0x10
        (0x11, &[0x48, 0x83, 0xc4, 16]), // add rsp, 16
        (0x15, &[0x5b]),                 // pop rbx
        (0x16, &[0xc3]),                 // ret
    ]);
    assert!(routine(&bytes, 0).is_balanced());
    for middle in [0x05, 0x10, 0x11, 0x15] {
        assert!(!routine(&bytes, middle).is_balanced(), "{middle:#x}");
    }
}

#[test]
fn a_jump_with_nothing_left_on_the_stack_is_a_call() {
    let bytes = code(&[
        (0x00, &[0x53]),       // push rbx
        (0x01, &[0x74, 0xfd]), // je 0x00: a loop
        (0x03, &[0x5b]),       // pop rbx
        (0x04, &[0xeb, 0x1a]), // jmp 0x20: a last call
        (0x20, &[0xc3]),       // ret
        (0x30, &[0xeb, 0xee]), // jmp 0x20: no frame before, a part of the function
    ]);
    let framed = routine(&bytes, 0);
    assert_eq!(framed.callees(), values(&[CODE + 0x20]));
    assert!(framed.step_at(CODE + 0x20).is_none());
    assert!(routine(&bytes, 0x30).callees().is_empty() || routine(&bytes, 0x30).is_sound);
}

#[test]
fn nonsense_counts_unless_it_is_behind_a_call() {
    let behind_call = code(&[(0x00, &[0xe8, 0x1b, 0, 0, 0, 0x06]), (0x20, &[0xc3])]);
    assert!(routine(&behind_call, 0).is_sound);
    let behind_nop = code(&[(0x00, &[0x90, 0x06])]);
    assert!(!routine(&behind_nop, 0).is_sound);
    // Two ways that read the same bytes in two ways: jump into an immediate.
    let overlap = code(&[(0x00, &[0x74, 0x01, 0xbe, 0x90, 0x90, 0x90, 0xc3, 0xc3])]);
    assert!(!routine(&overlap, 0).is_sound);
    assert!(!routine(&code(&[]), 0x300).is_sound);
}

#[test]
fn what_looks_like_a_call_within_an_instruction_is_none() {
    // Function A at 0x40 and B at 0x80 are called from 0x00; within an immediate of B there is what looks
    // like a call of 0x90, in the middle of B.
    let bytes = code(&[
        (
            0x00,
            &[0x53, 0xe8, 0x3a, 0, 0, 0, 0xe8, 0x75, 0, 0, 0, 0x5b, 0xc3],
        ),
        (0x40, &[0xc3]),
        (0x80, &[0x48, 0xb8, 0xe8, 0x09, 0, 0, 0, 0, 0, 0]), // movabs rax, ..
        (0x8a, &[0x0f, 0x1f, 0x80, 0, 0, 0, 0]),             // nop
        (0x91, &[0x31, 0xc0, 0xc3]),                         // xor eax, eax; ret
    ]);
    with_starts(&bytes, |starts, scanner| {
        let found = starts
            .resolve(scanner, &[CODE + 0x92, CODE + 0x40])
            .unwrap();
        let found: Vec<u64> = found
            .iter()
            .map(|(start, _, _)| start.address - CODE)
            .collect();
        assert_eq!(found, [0x40, 0x80]);
    });
}
