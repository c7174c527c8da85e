//! What is written is read back, whole, early, late and in parts.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;

use agentsight_ledger::{
    Encoding, Kind, LedgerError, MAX_RECORD_BYTES, NewRecord, Options, Reader, Verdict, Writer,
    is_being_written, read_head,
};
use agentsight_model::{Event, KTime};
use common::{Ledger, SESSION, event, small};

fn read_all(ledger: &Ledger) -> Vec<(u64, Event)> {
    Reader::open(&ledger.dir)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn expected(records: u64) -> Vec<(u64, Event)> {
    (0..records).map(|number| (number, event(number))).collect()
}

fn raw(payload: &[u8]) -> NewRecord<'_> {
    NewRecord {
        time: KTime(1),
        kind: Kind::from_name("file.open"),
        encoding: Encoding(9),
        payload,
    }
}

#[test]
fn events_come_back_in_order_with_their_numbers() {
    for records in [0, 1, 2, 50, 500] {
        for options in [small(), Options::default()] {
            let ledger = Ledger::closed(records, options);
            assert_eq!(read_all(&ledger), expected(records));
            let report = ledger.verify();
            assert_eq!(
                report.verdict,
                Verdict::Intact {
                    records,
                    closed: true
                }
            );
            assert_eq!(report.session_id.as_deref(), Some(SESSION));
            assert_eq!(report.torn_bytes, 0);
            assert_eq!(report.chain, read_head(&ledger.dir).unwrap().chain);
        }
    }
}

#[test]
fn small_limits_make_many_blocks_and_segments() {
    let ledger = Ledger::closed(100, small());
    let blocks = ledger.blocks();
    assert!(ledger.segments() > 3 && blocks.len() > 10);
    let mut next_seq = 0;
    for block in &blocks {
        assert_eq!(block.first_seq, next_seq);
        next_seq += u64::from(block.records);
        assert!(block.earliest <= block.latest);
    }
    assert_eq!(next_seq, 100);
    for number in 1..=ledger.segments() {
        assert!(fs::metadata(ledger.segment(number)).unwrap().len() <= 2048);
    }
    assert!(blocks[0].kinds.contains(Kind::from_name("file.delete")));
    assert!(!blocks[0].kinds.contains(Kind::from_name("llm.call")));
    let last = blocks.last().unwrap();
    assert_eq!((last.records, last.latest), (0, KTime(0)));
}

#[test]
fn an_empty_ledger_is_one() {
    let ledger = Ledger::interrupted(0, small());
    assert!(read_all(&ledger).is_empty());
    assert_eq!(ledger.verify().verdict, Verdict::Interrupted { records: 0 });
}

#[test]
fn a_writer_that_goes_away_leaves_everything_appended() {
    let ledger = Ledger::interrupted(37, small());
    assert_eq!(read_all(&ledger), expected(37));
    assert_eq!(
        ledger.verify().verdict,
        Verdict::Interrupted { records: 37 }
    );
}

#[test]
fn a_reader_follows_a_writer() {
    let ledger = Ledger::empty_place();
    let mut writer = ledger.write(SESSION, 0, small());
    let mut reader = Reader::open(&ledger.dir).unwrap();
    let mut read = Vec::new();
    for number in 0..200 {
        writer.append(&event(number)).unwrap();
        if number % 7 == 0 {
            writer.flush().unwrap();
            read.extend(reader.by_ref().map(Result::unwrap));
            assert_eq!(read, expected(number + 1));
            let verdict = ledger.verify().verdict;
            let records = number + 1;
            assert_eq!(
                verdict,
                Verdict::Intact {
                    records,
                    closed: false
                }
            );
            assert!(is_being_written(&ledger.dir));
            assert!(!reader.is_closed());
        }
    }
    writer.close().unwrap();
    read.extend(reader.by_ref().map(Result::unwrap));
    assert_eq!(read, expected(200));
    assert!(reader.is_closed());
    assert!(!is_being_written(&ledger.dir));
}

#[test]
fn a_reader_starts_at_any_block() {
    let ledger = Ledger::closed(120, small());
    let mut reader = Reader::open(&ledger.dir).unwrap();
    for block in ledger.blocks().iter().rev() {
        reader.seek(block.position);
        let read: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!(read, expected(120)[block.first_seq as usize..]);
    }
}

#[test]
fn flushed_is_read_and_unflushed_is_not() {
    let ledger = Ledger::empty_place();
    let mut writer = ledger.write(SESSION, 3, Options::default());
    assert_eq!(writer.records(), 3);
    assert!(read_all(&ledger).is_empty());
    writer.flush().unwrap();
    assert_eq!(read_all(&ledger), expected(3));
    assert_eq!(writer.head().records, 3);
    assert_eq!(writer.head().synced_records, 0);
    writer.sync().unwrap();
    let synced = writer.head().clone();
    assert_eq!(synced.synced_records, 3);
    writer.sync().unwrap();
    assert_eq!(*writer.head(), synced, "there was nothing to sync");
}

#[test]
fn records_of_every_size_come_back() {
    let sizes = [
        0,
        1,
        100,
        599,
        600,
        700,
        256 << 10,
        (256 << 10) + 1,
        3 << 20,
    ];
    let ledger = Ledger::empty_place();
    let mut writer = ledger.write(SESSION, 0, small());
    // One that compresses well and one that does not.
    let noise: Vec<u8> = (0..3_u32 << 20)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let zeros = vec![0; 3 << 20];
    for size in sizes {
        for bytes in [&noise, &zeros] {
            writer.append_raw(&raw(&bytes[..size])).unwrap();
        }
    }
    writer.close().unwrap();
    let mut reader = Reader::open(&ledger.dir).unwrap();
    for (index, size) in sizes.into_iter().enumerate() {
        for (offset, bytes) in [&noise, &zeros].into_iter().enumerate() {
            let record = reader.next_raw().unwrap().unwrap();
            assert_eq!(record.seq, (2 * index + offset) as u64);
            assert_eq!(record.encoding, Encoding(9));
            assert_eq!(record.kind.name(), "file.open");
            assert!(record.payload == &bytes[..size], "{size} bytes");
        }
    }
    assert!(reader.next_raw().is_none());
    let records = 2 * sizes.len() as u64;
    assert_eq!(
        ledger.verify().verdict,
        Verdict::Intact {
            records,
            closed: true
        }
    );
}

#[test]
fn a_record_beyond_the_limit_is_refused_and_leaves_no_trace() {
    let ledger = Ledger::empty_place();
    let mut writer = ledger.write(SESSION, 2, small());
    let payload = vec![0; MAX_RECORD_BYTES];
    assert!(matches!(
        writer.append_raw(&raw(&payload)),
        Err(LedgerError::RecordTooLarge { .. })
    ));
    assert_eq!(writer.append(&event(2)).unwrap(), 2);
    let largest = &payload[..MAX_RECORD_BYTES - 8];
    assert_eq!(writer.append_raw(&raw(largest)).unwrap(), 3);
    writer.close().unwrap();
    let mut reader = Reader::open(&ledger.dir).unwrap();
    assert_eq!(
        reader
            .by_ref()
            .take(3)
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
        expected(3)
    );
    assert!(reader.next_raw().unwrap().unwrap().payload == largest);
    assert_eq!(ledger.verify().records, 4);
}

#[test]
fn records_that_are_no_events_are_reported_and_stepped_over() {
    let ledger = Ledger::empty_place();
    let mut writer = ledger.write(SESSION, 1, small());
    writer.append_raw(&raw(b"binary")).unwrap();
    let json = NewRecord {
        encoding: Encoding::JSON,
        ..raw(br#"{"time":1,"actor":"1.1","kind":"from.the.future"}"#)
    };
    writer.append_raw(&json).unwrap();
    writer.append(&event(3)).unwrap();
    writer.close().unwrap();
    let read: Vec<_> = Reader::open(&ledger.dir).unwrap().collect();
    assert!(matches!(read[0], Ok((0, _))));
    assert!(matches!(
        read[1],
        Err(LedgerError::UnknownEncoding {
            seq: 1,
            encoding: 9
        })
    ));
    assert!(matches!(read[2], Err(LedgerError::Record { seq: 2, .. })));
    assert!(matches!(read[3], Ok((3, _))));
    assert_eq!(read.len(), 4);
}

#[test]
fn a_ledger_is_never_written_twice() {
    let ledger = Ledger::closed(1, small());
    assert!(matches!(
        Writer::create(&ledger.dir, SESSION, small()),
        Err(LedgerError::AlreadyExists(_))
    ));
    assert_eq!(read_all(&ledger), expected(1));
}

#[test]
fn ids_that_leave_the_directory_are_refused() {
    let ledger = Ledger::empty_place();
    assert!(matches!(
        Writer::create(&ledger.dir, "../x", small()),
        Err(LedgerError::BadSessionId(_))
    ));
    assert!(!ledger.dir.exists());
}
