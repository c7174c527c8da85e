//! Whatever is done to a ledger is found, named and located.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::ops::Range;

use ProblemKind::{
    AfterEnd, BadHead, CutTail, Duplicated, ForeignSegment, MissingSegment, Removed, Reordered,
    Rewritten,
};
use agentsight_ledger::{
    KnownState, Problem, ProblemKind, Verdict, VerifyOptions, read_head, verify_with,
};
use common::{Ledger, SESSION, segment_name, small};

const RECORDS: u64 = 60;

/// Kind, segment and records of the only problem.
fn only(problems: &[Problem]) -> (ProblemKind, Option<u32>, Range<u64>) {
    let [problem] = problems else {
        panic!("not one problem: {problems:#?}");
    };
    (problem.kind, problem.segment, problem.records.clone())
}

/// Records of the block at `index` in a segment.
fn records_of(ledger: &Ledger, segment: u32, index: usize) -> Range<u64> {
    let block = ledger
        .blocks()
        .into_iter()
        .filter(|block| block.position.segment == segment)
        .nth(index)
        .unwrap();
    block.first_seq..block.first_seq + u64::from(block.records)
}

/// Records of a whole segment.
fn records_of_segment(ledger: &Ledger, segment: u32) -> Range<u64> {
    let blocks = ledger.blocks();
    let mut own = blocks
        .iter()
        .filter(|block| block.position.segment == segment);
    let first = own.next().unwrap();
    let last = own.next_back().unwrap_or(first);
    first.first_seq..last.first_seq + u64::from(last.records)
}

#[test]
fn a_removed_block_is_found() {
    let ledger = Ledger::closed(RECORDS, small());
    for index in 0..2 {
        let copy = ledger.copy();
        let bounds = ledger.block_bounds(2);
        copy.edit_segment(2, |bytes| {
            bytes.drain(bounds[index]..bounds[index + 1]);
        });
        let problems = copy.problems();
        assert_eq!(
            only(&problems),
            (Removed, Some(2), records_of(&ledger, 2, index))
        );
        assert_eq!(problems[0].offset, bounds[index] as u64);
    }
}

#[test]
fn a_removed_last_block_of_a_segment_is_a_cut_tail_of_it() {
    let ledger = Ledger::closed(RECORDS, small());
    let copy = ledger.copy();
    let bounds = ledger.block_bounds(2);
    let index = bounds.len() - 2;
    copy.edit_segment(2, |bytes| bytes.truncate(bounds[index]));
    let problems = copy.problems();
    assert_eq!(
        only(&problems),
        (CutTail, Some(2), records_of(&ledger, 2, index))
    );
    assert_eq!(problems[0].offset, bounds[index] as u64);
}

#[test]
fn a_repeated_block_is_found() {
    let ledger = Ledger::closed(RECORDS, small());
    let copy = ledger.copy();
    let bounds = ledger.block_bounds(2);
    copy.edit_segment(2, |bytes| {
        let block = bytes[bounds[0]..bounds[1]].to_vec();
        bytes.splice(bounds[1]..bounds[1], block);
    });
    let problems = copy.problems();
    assert_eq!(
        only(&problems),
        (Duplicated, Some(2), records_of(&ledger, 2, 0))
    );
    assert_eq!(problems[0].offset, bounds[1] as u64);
    assert_eq!(problems[0].block, 1);
}

#[test]
fn exchanged_blocks_are_found() {
    let ledger = Ledger::closed(RECORDS, small());
    let copy = ledger.copy();
    let bounds = ledger.block_bounds(2);
    copy.edit_segment(2, |bytes| {
        bytes[bounds[0]..bounds[2]].rotate_left(bounds[1] - bounds[0]);
    });
    assert_eq!(
        only(&copy.problems()),
        (Reordered, Some(2), records_of(&ledger, 2, 0))
    );
}

#[test]
fn exchanged_segments_are_found() {
    let ledger = Ledger::closed(RECORDS, small());
    assert!(ledger.segments() >= 4);
    let copy = ledger.copy();
    fs::rename(ledger.segment(2), copy.segment(3)).unwrap();
    fs::rename(ledger.segment(3), copy.segment(2)).unwrap();
    let problems = copy.problems();
    let kinds: Vec<_> = problems
        .iter()
        .map(|problem| (problem.kind, problem.segment))
        .collect();
    assert_eq!(kinds, [(Reordered, Some(2)), (Reordered, Some(3))]);
}

#[test]
fn missing_segments_are_found() {
    let ledger = Ledger::closed(RECORDS, small());
    let last = ledger.segments();
    for number in 1..=last {
        let copy = ledger.copy();
        fs::remove_file(copy.segment(number)).unwrap();
        assert_eq!(
            only(&copy.problems()),
            (
                MissingSegment,
                Some(number),
                records_of_segment(&ledger, number)
            ),
        );
    }
    let copy = ledger.copy();
    for number in 1..=last {
        fs::remove_file(copy.segment(number)).unwrap();
    }
    assert_eq!(
        only(&copy.problems()),
        (MissingSegment, Some(1), 0..RECORDS)
    );
}

#[test]
fn segments_of_another_session_are_found() {
    let ledger = Ledger::closed(RECORDS, small());
    let other = Ledger::empty_place();
    other.write("another", RECORDS, small()).close().unwrap();
    for number in [1, 2, ledger.segments()] {
        let copy = ledger.copy();
        fs::copy(other.segment(number), copy.segment(number)).unwrap();
        assert_eq!(
            only(&copy.problems()),
            (
                ForeignSegment,
                Some(number),
                records_of_segment(&ledger, number)
            ),
        );
    }
    let options = VerifyOptions {
        session_id: Some(SESSION),
        ..VerifyOptions::default()
    };
    let report = verify_with(&other.dir, &options).unwrap();
    assert_eq!(report.problems[0].kind, ForeignSegment);
    assert_eq!(report.problems[0].file(), "HEAD");
}

#[test]
fn a_block_of_another_session_is_found() {
    let ledger = Ledger::closed(RECORDS, small());
    let other = Ledger::empty_place();
    // The same events in blocks of the same size: only the chain tells them apart.
    other
        .write("another-session-x", RECORDS, small())
        .close()
        .unwrap();
    let bounds = ledger.block_bounds(2);
    assert_eq!(bounds, other.block_bounds(2));
    let foreign = fs::read(other.segment(2)).unwrap();
    let copy = ledger.copy();
    copy.edit_segment(2, |bytes| {
        bytes[bounds[1]..bounds[2]].copy_from_slice(&foreign[bounds[1]..bounds[2]]);
    });
    let problems = copy.problems();
    let places: Vec<_> = problems
        .iter()
        .map(|problem| (problem.kind, problem.offset))
        .collect();
    // It does not continue what came before it, and what comes after does not continue it.
    assert_eq!(
        places,
        [
            (ProblemKind::Replaced, bounds[0] as u64),
            (ProblemKind::Replaced, bounds[1] as u64)
        ]
    );
}

#[test]
fn additions_are_found() {
    let closed = Ledger::closed(RECORDS, small());
    let last = closed.segments();
    let copy = closed.copy();
    copy.edit_segment(last, |bytes| bytes.push(0));
    assert_eq!(
        only(&copy.problems()),
        (AfterEnd, Some(last), RECORDS..RECORDS)
    );

    let copy = closed.copy();
    fs::copy(closed.segment(1), copy.segment(last + 1)).unwrap();
    assert_eq!(copy.problems()[0].segment, Some(last + 1));
}

#[test]
fn a_head_that_is_gone_or_of_another_time_is_found() {
    let ledger = Ledger::closed(RECORDS, small());
    let copy = ledger.copy();
    fs::remove_file(copy.path("HEAD")).unwrap();
    assert_eq!(only(&copy.problems()), (BadHead, None, 0..0));

    let shorter = Ledger::closed(RECORDS - 1, small());
    let copy = ledger.copy();
    fs::copy(shorter.path("HEAD"), copy.path("HEAD")).unwrap();
    assert!(!copy.problems().is_empty());
}

#[test]
fn a_torn_write_is_no_tampering() {
    let ledger = Ledger::interrupted(RECORDS, small());
    let last = ledger.segments();
    let block = fs::read(ledger.segment(1)).unwrap()[256..].to_vec();
    for torn in [&block[..1], &block[..50], &block[..200], &[0; 300]] {
        let copy = ledger.copy();
        copy.edit_segment(last, |bytes| bytes.extend_from_slice(torn));
        let report = copy.verify();
        assert_eq!(
            report.verdict,
            Verdict::Interrupted { records: RECORDS },
            "{report:#?}"
        );
        assert_eq!(report.torn_bytes, torn.len() as u64);
    }
    let copy = ledger.copy();
    fs::write(copy.segment(last + 1), b"ASLEDG").unwrap();
    let report = copy.verify();
    assert_eq!(report.verdict, Verdict::Interrupted { records: RECORDS });
    assert_eq!(report.torn_bytes, 6);
}

#[test]
fn one_block_beyond_head_is_the_writers_and_two_are_not() {
    let ledger = Ledger::empty_place();
    let mut writer = ledger.write(SESSION, 0, small());
    let mut heads = Vec::new();
    for number in 0..3 {
        writer.append(&common::event(number)).unwrap();
        writer.flush().unwrap();
        heads.push(fs::read(ledger.path("HEAD")).unwrap());
    }
    drop(writer);
    let copy = ledger.copy();
    fs::write(copy.path("HEAD"), &heads[1]).unwrap();
    assert_eq!(copy.verify().verdict, Verdict::Interrupted { records: 3 });
    fs::write(copy.path("HEAD"), &heads[0]).unwrap();
    assert_eq!(only(&copy.problems()), (AfterEnd, Some(1), 2..2));
}

#[test]
fn what_the_index_knows_tells_a_ledger_that_was_rolled_back_or_rewritten() {
    let ledger = Ledger::closed(RECORDS, small());
    let known = KnownState::from(&read_head(&ledger.dir).unwrap());
    let options = VerifyOptions {
        known: Some(known),
        ..VerifyOptions::default()
    };
    let report = verify_with(&ledger.dir, &options).unwrap();
    assert_eq!(
        report.verdict,
        Verdict::Intact {
            records: RECORDS,
            closed: true
        }
    );

    let shorter = Ledger::closed(RECORDS - 5, small());
    let report = verify_with(&shorter.dir, &options).unwrap();
    let last = shorter.segments();
    assert_eq!(
        only(&report.problems),
        (CutTail, Some(last), RECORDS - 5..RECORDS)
    );

    let mut other = small();
    other.block_bytes = 500;
    let rewritten = Ledger::closed(RECORDS, other);
    let report = verify_with(&rewritten.dir, &options).unwrap();
    assert_eq!(report.problems[0].kind, Rewritten);
}

#[test]
fn a_hole_in_the_middle_leaves_the_rest_verified() {
    let ledger = Ledger::closed(RECORDS, small());
    let copy = ledger.copy();
    let bounds = ledger.block_bounds(1);
    copy.edit_segment(1, |bytes| {
        bytes.drain(bounds[1] + 10..bounds[1] + 20);
    });
    let report = copy.verify();
    let lost = records_of(&ledger, 1, 1);
    assert_eq!(
        only(&report.problems),
        (ProblemKind::BadBlockHeader, Some(1), lost.clone())
    );
    assert_eq!(report.records, RECORDS - (lost.end - lost.start));
}

#[test]
fn the_list_of_problems_is_bounded_and_the_rest_counted() {
    let ledger = Ledger::closed(RECORDS, small());
    for block in ledger.blocks() {
        let offset = block.position.offset as usize;
        // The reserved field of the block header.
        ledger.edit_segment(block.position.segment, |bytes| bytes[offset + 28] ^= 1);
    }
    let options = VerifyOptions {
        max_problems: 3,
        ..VerifyOptions::default()
    };
    let report = verify_with(&ledger.dir, &options).unwrap();
    assert_eq!(report.verdict, Verdict::Damaged);
    assert_eq!(report.problems.len(), 3);
    assert_eq!(report.unlisted_problems as usize, ledger.blocks().len() - 3);
    assert_eq!(report.records, 0);
}

#[test]
fn problems_are_told_in_one_line() {
    let ledger = Ledger::closed(RECORDS, small());
    let bounds = ledger.block_bounds(2);
    ledger.edit_segment(2, |bytes| {
        bytes.drain(bounds[1]..bounds[2]);
    });
    let problems = ledger.problems();
    let records = problems[0].records.clone();
    assert_eq!(
        problems[0].to_string(),
        format!(
            "removed: {} at byte {} (block 1), records {} to {}: records are missing before this block",
            segment_name(2),
            bounds[1],
            records.start,
            records.end - 1
        )
    );
}
