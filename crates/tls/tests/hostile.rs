//! Files that an attacker made: an error or an answer, never a panic, within bounds.

#![allow(clippy::unwrap_used, reason = "tests")]

mod synthetic;

use std::path::Path;
use std::time::{Duration, Instant};

use agentsight_tls::{Options, describe, locate, maybe_tls};
use proptest::prelude::*;
use synthetic::{Recipe, build};

/// Far more than any file of a few kilobytes needs, even on a busy machine without optimisation.
const LIMIT: Duration = Duration::from_secs(20);

/// What the fuzz target `elf` begins with.
const CORPUS: &str = "../../fuzz/corpus/elf";

/// Looks at `bytes` in every way.
fn look(bytes: &[u8]) {
    let start = Instant::now();
    let mut options = vec![
        Options::default(),
        Options::symbols_only(),
        Options::code_only(),
    ];
    for options in &mut options {
        options.max_scanned_bytes = 64 << 20;
        if let Ok(located) = locate(bytes, options) {
            for (_, hook) in located.hooks() {
                assert!(hook.file_offset < bytes.len() as u64);
            }
            assert!(!describe(&located).is_empty());
        }
    }
    let _ = maybe_tls(bytes);
    assert!(start.elapsed() < LIMIT, "took {:?}", start.elapsed());
}

fn recipes() -> impl Strategy<Value = Recipe> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(unwind, sections, second_write)| {
        Recipe {
            unwind,
            sections,
            second_write,
            ..Recipe::default()
        }
    })
}

/// Numbers that break arithmetic.
fn nasty() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 7),
        Just(1 << 63),
        Just(u64::from(u32::MAX)),
        Just(0x7fff_ffff),
        0..0x4000_u64,
        0x40_0000..0x40_4000_u64,
    ]
}

proptest! {
    #[test]
    fn flipped_bytes(
        recipe in recipes(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..48),
    ) {
        let mut bytes = build(recipe).bytes;
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        look(&bytes);
    }

    #[test]
    fn nasty_header_fields(
        recipe in recipes(),
        fields in prop::collection::vec((0..70_usize, nasty()), 1..6),
    ) {
        let mut bytes = build(recipe).bytes;
        for (at, value) in fields {
            // The file header's fields and those of the program headers, 8 bytes at a time.
            let at = 16 + at * 4;
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        look(&bytes);
    }

    #[test]
    fn nasty_section_headers(fields in prop::collection::vec((0..32_usize, nasty()), 1..6)) {
        let mut bytes = build(Recipe::default()).bytes;
        let table = bytes.len() - 4 * 64;
        for (at, value) in fields {
            bytes[table + at * 8..table + at * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
        look(&bytes);
    }

    #[test]
    fn nasty_unwind_data(fields in prop::collection::vec((0..120_usize, any::<u32>()), 1..8)) {
        let mut bytes = build(Recipe::default()).bytes;
        // The table lies behind the strings, in the second page.
        for (at, value) in fields {
            let at = 0x1080 + at * 4;
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        look(&bytes);
    }

    #[test]
    fn random_code(code in prop::collection::vec(any::<u8>(), 400)) {
        let mut bytes = build(Recipe::default()).bytes;
        bytes[0x2000..0x2000 + 400].copy_from_slice(&code);
        look(&bytes);
    }

    #[test]
    fn cut_files(recipe in recipes(), cut in any::<prop::sample::Index>()) {
        let mut bytes = build(recipe).bytes;
        bytes.truncate(cut.index(bytes.len()));
        look(&bytes);
    }

    #[test]
    fn noise(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        look(&bytes);
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0".to_vec();
        elf.extend(bytes);
        look(&elf);
    }
}

/// Code in which every instruction refers to an anchor, and every call goes to the next one.
#[test]
fn code_made_of_anchors_costs_no_more_than_the_limits() {
    let mut program = build(Recipe {
        unwind: false,
        sections: false,
        ..Recipe::default()
    })
    .bytes;
    let text = 0x2000;
    let count = 60_000;
    program.truncate(text);
    let strings = 0x40_1000_u64;
    for index in 0..count {
        let here = 0x40_0000 + (text + index * 12) as u64;
        program.extend([0x48, 0x8d, 0x15]);
        program.extend((strings.wrapping_sub(here + 7) as u32).to_le_bytes());
        program.extend([0xe8, 0, 0, 0, 0]);
    }
    let size = (count * 12) as u64;
    let at = 64 + 56 + 32;
    program[at..at + 8].copy_from_slice(&size.to_le_bytes());
    look(&program);
}

/// Writes the files that fuzzing begins with. Run it after a change of the programs made by hand.
#[test]
#[ignore = "writes files"]
fn write_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join(CORPUS);
    std::fs::create_dir_all(&corpus).unwrap();
    for (name, recipe) in [
        ("whole", Recipe::default()),
        (
            "no-unwind",
            Recipe {
                unwind: false,
                ..Recipe::default()
            },
        ),
        (
            "no-sections",
            Recipe {
                sections: false,
                ..Recipe::default()
            },
        ),
        (
            "two-candidates",
            Recipe {
                second_write: true,
                ..Recipe::default()
            },
        ),
        (
            "garbage",
            Recipe {
                garbage: true,
                ..Recipe::default()
            },
        ),
    ] {
        std::fs::write(corpus.join(name), build(recipe).bytes).unwrap();
    }
    std::fs::write(corpus.join("four-bytes"), b"\x7fELF").unwrap();
}

/// Files that were once of interest, kept so that they stay harmless.
#[test]
fn the_corpus_is_harmless() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join(CORPUS);
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        look(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0);
}
