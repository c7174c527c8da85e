//! Passes over files of a few segments, with finds around the ends of pieces.

use std::collections::BTreeSet;

use super::*;
use crate::elf::testing::image;

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x800_0000;

/// Runs `test` on a file of code and constants.
fn scan<T>(
    machine: Machine,
    code: &[u8],
    data: &[u8],
    test: impl FnOnce(&Scanner<'_>) -> Result<T, LocateError>,
) -> T {
    let file = image(machine, &[(CODE, 5, code), (DATA, 4, data)]);
    let source = file.as_slice();
    let elf = Elf::open(&source).unwrap();
    let scanner = Scanner::new(&elf, &Options::default());
    let result = test(&scanner).unwrap();
    assert!(!scanner.is_cut_short());
    result
}

/// Places around the ends of chunks.
fn places() -> impl Iterator<Item = usize> {
    [0, CHUNK_BYTES, 2 * CHUNK_BYTES]
        .into_iter()
        .flat_map(|end| (0..24).map(move |distance| (end + distance).saturating_sub(12)))
}

#[test]
fn constants_are_found_once_wherever_chunks_end() {
    for at in places() {
        let mut data = vec![0; 2 * CHUNK_BYTES + 64];
        data[at..at + 8].copy_from_slice(b"ssl_lib.");
        let found = scan(Machine::X86_64, &[0; 16], &data, |scanner| {
            scanner.find_constants(&[b"ssl_lib.", b"absent"])
        });
        assert_eq!(found, [vec![DATA + at as u64], vec![]], "at {at}");
    }
}

#[test]
fn pointers_are_found_at_their_alignment_only() {
    for at in places() {
        let mut data = vec![0; 2 * CHUNK_BYTES + 64];
        data[at..at + 8].copy_from_slice(&CODE.to_le_bytes());
        let found = scan(Machine::X86_64, &[0; 16], &data, |scanner| {
            scanner.find_pointers(&[5..6, CODE..CODE + 4, CODE + 8..CODE + 9])
        });
        let expected = if at % 8 == 0 {
            vec![(DATA + at as u64, CODE)]
        } else {
            Vec::new()
        };
        assert_eq!(found, expected, "at {at}");
    }
}

#[test]
fn references_and_calls_are_found_wherever_chunks_end() {
    for at in places() {
        let mut code = vec![0x90; 2 * CHUNK_BYTES + 64];
        let next = CODE + at as u64 + 7;
        code[at..at + 3].copy_from_slice(&[0x48, 0x8d, 0x3d]);
        let distance = u32::try_from(DATA + 5 - next).unwrap();
        code[at + 3..at + 7].copy_from_slice(&distance.to_le_bytes());
        code[at + 7] = 0xe8;
        let back = (CODE + 32).wrapping_sub(next + 5) as u32;
        code[at + 8..at + 12].copy_from_slice(&back.to_le_bytes());
        let (references, calls) = scan(Machine::X86_64, &code, b"0123456789", |scanner| {
            let references = scanner.find_references(&[DATA, DATA + 5])?;
            Ok((
                references,
                scanner.find_calls(&[CODE + 32..CODE + 33, DATA..DATA + 1])?,
            ))
        });
        let reference = Reference {
            at: next - 6,
            target: DATA + 5,
        };
        assert_eq!(references, [reference], "at {at}");
        let call = Call {
            target: CODE + 32,
            at: next,
            is_jump: false,
        };
        assert_eq!(calls, [call], "at {at}");
    }
}

#[test]
fn arm_addresses_may_take_two_or_three_instructions() {
    // adrp x1, DATA; nop; add x1, x1, #0x10; add x2, x1, #0x20; bl CODE + 0x40
    let page = u32::try_from((DATA - CODE) >> 12).unwrap();
    let adrp = 0x9000_0001 | (page & 3) << 29 | (page >> 2) << 5;
    let code: Vec<u8> = [adrp, 0xd503_201f, 0x9100_4021, 0x9100_8022, 0x9400_000c]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .chain([0; 64])
        .collect();
    let (references, calls) = scan(Machine::Aarch64, &code, &[0; 64], |scanner| {
        let references = scanner.find_references(&[DATA + 0x10, DATA + 0x30])?;
        let entry = CODE + 0x40..CODE + 0x41;
        Ok((
            references,
            scanner.find_calls(std::slice::from_ref(&entry))?,
        ))
    });
    assert_eq!(
        references,
        [
            Reference {
                at: CODE + 8,
                target: DATA + 0x10
            },
            Reference {
                at: CODE + 12,
                target: DATA + 0x30
            },
        ]
    );
    let call = Call {
        target: CODE + 0x40,
        at: CODE + 16,
        is_jump: false,
    };
    assert_eq!(calls, [call]);
}

#[test]
fn membership_in_ranges() {
    let ranges = [2..4, 8..9, 20..30];
    let inside: Vec<u64> = (0..40)
        .filter(|address| is_within(&ranges, *address))
        .collect();
    let expected: Vec<u64> = ranges.iter().cloned().flatten().collect();
    assert_eq!(inside, expected);
}

#[test]
fn pointers_of_relocations_are_found_wherever_chunks_end() {
    // Enough entries for two ends of chunks to lie within an entry.
    let count = 2 * CHUNK_BYTES / RELOCATION_BYTES + 8;
    let mut data = Vec::new();
    for index in 0..count as u64 {
        for word in [DATA + 8 * index, 8, CODE + index] {
            data.extend(word.to_le_bytes());
        }
    }
    let file = image(Machine::X86_64, &[(CODE, 5, &[0; 16]), (DATA, 4, &data)]);
    let source = file.as_slice();
    let mut elf = Elf::open(&source).unwrap();
    elf.dynamic.rela = Some(DATA);
    elf.dynamic.rela_bytes = Some(data.len() as u64);
    let scanner = Scanner::new(&elf, &Options::default());
    let wanted: BTreeSet<u64> = (0..count as u64).map(|index| DATA + 8 * index).collect();
    let pointers = scanner.pointers_at(&wanted).unwrap();
    for index in 0..count as u64 {
        assert_eq!(
            pointers.get(&(DATA + 8 * index)),
            Some(&(CODE + index)),
            "{index}"
        );
    }
}
