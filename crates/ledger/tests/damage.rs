//! Every bit of a ledger counts, and every byte: a ledger with one of them wrong or missing is never
//! taken for whole, and the place is named.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;

use agentsight_ledger::{LedgerError, Problem, ProblemKind, Reader, Verdict, blocks, verify};
use common::{Ledger, event, files, segment_name, small};
use proptest::prelude::*;

const RECORDS: u64 = 48;

/// Where the part of a segment begins that the byte at `offset` belongs to: a block, or the header.
fn part_start(bounds: &[usize], offset: usize) -> u64 {
    bounds
        .iter()
        .rev()
        .find(|start| **start <= offset)
        .map_or(0, |start| *start as u64)
}

fn segment_number(name: &str) -> Option<u32> {
    (1..100).find(|number| segment_name(*number) == name)
}

fn names_the_place(problems: &[Problem], segment: Option<u32>, offset: u64) -> bool {
    problems
        .iter()
        .any(|problem| problem.segment == segment && problem.offset == offset)
}

/// Reads everything; whatever comes is an event that was written, or an error.
fn read_tolerantly(ledger: &Ledger) -> (u64, u64) {
    let (mut events, mut errors) = (0, 0);
    for item in Reader::open(&ledger.dir).unwrap() {
        match item {
            Ok((seq, read)) => {
                assert_eq!(read, event(seq));
                events += 1;
            }
            Err(_) => errors += 1,
        }
        assert!(
            events + errors < 10 * RECORDS,
            "the reader does not come to an end"
        );
    }
    (events, errors)
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_located() {
    // Every byte of a closed ledger; the other differs at its end only.
    for (ledger, step) in [
        (Ledger::closed(RECORDS, small()), 1),
        (Ledger::interrupted(RECORDS, small()), 7),
    ] {
        let copy = ledger.copy();
        for name in files(&ledger.dir) {
            let segment = segment_number(&name);
            let bounds = segment.map(|number| ledger.block_bounds(number));
            let whole = fs::read(ledger.path(&name)).unwrap();
            for index in (0..whole.len()).step_by(step) {
                let mut bytes = whole.clone();
                bytes[index] ^= 1 << (index % 8);
                fs::write(copy.path(&name), &bytes).unwrap();
                let problems = copy.problems();
                assert_eq!(problems.len(), 1, "{name} byte {index}: {problems:#?}");
                let offset = match &bounds {
                    Some(bounds) => part_start(bounds, index),
                    None => index as u64 / 512 * 512,
                };
                assert!(
                    names_the_place(&problems, segment, offset),
                    "{name} byte {index} in the part at {offset}: {problems:#?}"
                );
            }
            fs::write(copy.path(&name), &whole).unwrap();
        }
    }
}

#[test]
fn a_segment_cut_anywhere_is_found_and_located() {
    for ledger in [
        Ledger::closed(RECORDS, small()),
        Ledger::interrupted(RECORDS, small()),
    ] {
        for number in 1..=ledger.segments() {
            let bounds = ledger.block_bounds(number);
            let copy = ledger.copy();
            let whole = fs::read(ledger.segment(number)).unwrap();
            for length in 0..whole.len() {
                fs::write(copy.segment(number), &whole[..length]).unwrap();
                let problems = copy.problems();
                let [problem] = &problems[..] else {
                    panic!("segment {number} cut to {length}: {problems:#?}");
                };
                assert_eq!(problem.kind, ProblemKind::CutTail, "{length}: {problem}");
                assert_eq!(problem.segment, Some(number));
                let at = if length < 256 {
                    0
                } else {
                    part_start(&bounds, length)
                };
                assert_eq!(problem.offset, at, "cut to {length}: {problem}");
                assert!(
                    problem.records.end == records_after(&ledger, number),
                    "{problem}"
                );
            }
        }
    }
}

/// Number of the first record behind a segment.
fn records_after(ledger: &Ledger, segment: u32) -> u64 {
    ledger
        .blocks()
        .iter()
        .find(|block| block.position.segment > segment)
        .map_or(RECORDS, |block| block.first_seq)
}

#[test]
fn a_cut_head_is_found() {
    let ledger = Ledger::closed(RECORDS, small());
    let copy = ledger.copy();
    let whole = fs::read(ledger.path("HEAD")).unwrap();
    for length in 0..whole.len() {
        fs::write(copy.path("HEAD"), &whole[..length]).unwrap();
        assert_eq!(copy.problems()[0].kind, ProblemKind::BadHead);
        read_tolerantly(&copy);
    }
}

#[test]
fn a_reader_steps_over_a_damaged_block_and_reads_all_others() {
    let ledger = Ledger::closed(RECORDS, small());
    for block in ledger.blocks().iter().filter(|block| block.records > 0) {
        // In the magic, a length, the hash of the block before, and the content.
        for inner in [0, 20, 24, 60, 100] {
            let copy = ledger.copy();
            let offset = block.position.offset as usize + inner;
            copy.edit_segment(block.position.segment, |bytes| bytes[offset] ^= 4);
            let read = read_tolerantly(&copy);
            assert_eq!(
                read,
                (RECORDS - u64::from(block.records), 1),
                "byte {inner} of {block:?}"
            );
        }
    }
}

#[test]
fn a_reader_tells_of_missing_and_foreign_segments() {
    let ledger = Ledger::closed(RECORDS, small());
    assert!(ledger.segments() > 2);
    let copy = ledger.copy();
    fs::remove_file(copy.segment(2)).unwrap();
    let (events, errors) = read_tolerantly(&copy);
    assert!(events < RECORDS && errors == 1);

    let copy = ledger.copy();
    fs::copy(ledger.segment(1), copy.segment(2)).unwrap();
    let (events, errors) = read_tolerantly(&copy);
    assert!(events < RECORDS && errors == 1);
}

#[derive(Clone, Debug)]
enum Edit {
    Flip {
        file: usize,
        at: usize,
        mask: u8,
    },
    Cut {
        file: usize,
        at: usize,
    },
    Insert {
        file: usize,
        at: usize,
        bytes: Vec<u8>,
    },
    Remove {
        file: usize,
        at: usize,
        count: usize,
    },
    Delete {
        file: usize,
    },
    Move {
        from: usize,
        to: usize,
    },
}

fn edit() -> impl Strategy<Value = Edit> {
    let file = || 0..8_usize;
    let at = || 0..4096_usize;
    prop_oneof![
        4 => (file(), at(), 1..=255_u8).prop_map(|(file, at, mask)| Edit::Flip { file, at, mask }),
        1 => (file(), at()).prop_map(|(file, at)| Edit::Cut { file, at }),
        2 => (file(), at(), prop::collection::vec(any::<u8>(), 1..80))
            .prop_map(|(file, at, bytes)| Edit::Insert { file, at, bytes }),
        2 => (file(), at(), 1..200_usize)
            .prop_map(|(file, at, count)| Edit::Remove { file, at, count }),
        1 => file().prop_map(|file| Edit::Delete { file }),
        1 => (file(), file()).prop_map(|(from, to)| Edit::Move { from, to }),
    ]
}

fn apply(ledger: &Ledger, edit: &Edit) {
    let names = files(&ledger.dir);
    let path = |index: &usize| ledger.path(&names[index % names.len()]);
    if names.is_empty() {
        return;
    }
    let change = |file: &usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(path(file)).unwrap();
        change(&mut bytes);
        fs::write(path(file), bytes).unwrap();
    };
    match edit {
        Edit::Flip { file, at, mask } => change(file, &|bytes| {
            let length = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at % length) {
                *byte ^= mask;
            }
        }),
        Edit::Cut { file, at } => change(file, &|bytes| bytes.truncate(at % (bytes.len() + 1))),
        Edit::Insert {
            file,
            at,
            bytes: new,
        } => change(file, &|bytes| {
            let at = at % (bytes.len() + 1);
            bytes.splice(at..at, new.iter().copied());
        }),
        Edit::Remove { file, at, count } => change(file, &|bytes| {
            let at = at % (bytes.len() + 1);
            bytes.drain(at..(at + count).min(bytes.len()));
        }),
        Edit::Delete { file } => fs::remove_file(path(file)).unwrap(),
        Edit::Move { from, to } => fs::rename(path(from), path(to)).unwrap(),
    }
}

fn contents(ledger: &Ledger) -> Vec<(String, Vec<u8>)> {
    files(&ledger.dir)
        .into_iter()
        .map(|name| {
            let bytes = fs::read(ledger.path(&name)).unwrap();
            (name, bytes)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_edits_of_a_closed_ledger_are_found(edits in prop::collection::vec(edit(), 1..4)) {
        let ledger = Ledger::closed(RECORDS, small());
        let before = contents(&ledger);
        edits.iter().for_each(|edit| apply(&ledger, edit));
        match verify(&ledger.dir) {
            Ok(report) => {
                let same = contents(&ledger) == before;
                prop_assert_eq!(report.verdict == Verdict::Damaged, !same, "{:#?}", report);
                prop_assert!(report.records <= RECORDS);
                prop_assert_eq!(report.problems.is_empty(), same);
            }
            Err(error) => prop_assert!(matches!(error, LedgerError::NotALedger(_)), "{error}"),
        }
        if let Ok(reader) = Reader::open(&ledger.dir) {
            for (seq, read) in reader.take(10 * RECORDS as usize).flatten() {
                prop_assert_eq!(read, event(seq));
            }
        }
    }

    #[test]
    fn no_file_content_makes_anything_panic(
        segment in prop::collection::vec(any::<u8>(), 0..2000),
        head in prop::collection::vec(any::<u8>(), 0..1100),
        keep in 0..700_usize,
    ) {
        let ledger = Ledger::closed(8, small());
        ledger.edit_segment(1, |bytes| {
            bytes.truncate(keep);
            bytes.extend_from_slice(&segment);
        });
        fs::write(ledger.path("HEAD"), head).unwrap();
        prop_assert_eq!(ledger.verify().verdict, Verdict::Damaged);
        prop_assert!(Reader::open(&ledger.dir).unwrap().take(1000).count() < 1000);
        prop_assert!(blocks(&ledger.dir).unwrap().take(1000).count() < 1000);
    }
}
