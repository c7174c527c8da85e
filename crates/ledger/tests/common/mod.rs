//! Small ledgers to damage.

#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(unreachable_pub, reason = "a module that several test files include")]

use std::fs;
use std::path::{Path, PathBuf};

use agentsight_ledger::{BlockInfo, Options, Problem, Report, Verdict, Writer, blocks, verify};
use agentsight_model::{Event, EventBody, FileDelete, FileRef, KTime, ProcessFork, ProcessKey};
use tempfile::TempDir;

pub const SESSION: &str = "01JCZ9V8Q4SESSION";

/// Blocks and segments so small that a few records make many of them.
pub fn small() -> Options {
    Options {
        segment_bytes: 2048,
        block_bytes: 600,
        ..Options::default()
    }
}

pub fn event(number: u64) -> Event {
    let process = ProcessKey {
        tgid: 1000 + number as u32 % 7,
        start_ns: 5_000_000_000 + number,
    };
    let body = if number.is_multiple_of(3) {
        EventBody::FileDelete(FileDelete {
            file: FileRef {
                path: format!("/home/user/project/target/{number}.tmp"),
                ino: number,
                ..FileRef::default()
            },
            directory: false,
        })
    } else {
        EventBody::ProcessFork(ProcessFork {
            child: ProcessKey {
                tgid: 2000 + number as u32,
                start_ns: 6_000_000_000 + number,
            },
            comm: format!("worker-{number}"),
        })
    };
    Event {
        time: KTime(7_000_000_000 + number * 1000),
        process,
        body,
    }
}

/// A ledger in a directory of its own.
pub struct Ledger {
    _temp: TempDir,
    pub dir: PathBuf,
}

impl Ledger {
    pub fn empty_place() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join(SESSION);
        Self { _temp: temp, dir }
    }

    /// A ledger with `records` records that was closed in order.
    pub fn closed(records: u64, options: Options) -> Self {
        let this = Self::empty_place();
        this.write(SESSION, records, options).close().unwrap();
        this
    }

    /// A ledger with `records` records whose writer went away.
    pub fn interrupted(records: u64, options: Options) -> Self {
        let this = Self::empty_place();
        drop(this.write(SESSION, records, options));
        this
    }

    pub fn write(&self, session: &str, records: u64, options: Options) -> Writer {
        let mut writer = Writer::create(&self.dir, session, options).unwrap();
        for number in 0..records {
            assert_eq!(writer.append(&event(number)).unwrap(), number);
        }
        writer
    }

    /// A copy to damage.
    pub fn copy(&self) -> Self {
        let copy = Self::empty_place();
        fs::create_dir(&copy.dir).unwrap();
        for entry in fs::read_dir(&self.dir).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.dir.join(entry.file_name())).unwrap();
        }
        copy
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn segment(&self, number: u32) -> PathBuf {
        self.path(&segment_name(number))
    }

    pub fn blocks(&self) -> Vec<BlockInfo> {
        blocks(&self.dir).unwrap().map(Result::unwrap).collect()
    }

    /// Where each block of a segment begins, and where the last ends.
    pub fn block_bounds(&self, segment: u32) -> Vec<usize> {
        let length = fs::metadata(self.segment(segment)).unwrap().len();
        self.blocks()
            .iter()
            .filter(|block| block.position.segment == segment)
            .map(|block| block.position.offset)
            .chain([length])
            .map(|offset| offset as usize)
            .collect()
    }

    pub fn segments(&self) -> u32 {
        self.blocks().last().unwrap().position.segment
    }

    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path(name);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    pub fn edit_segment(&self, number: u32, change: impl FnOnce(&mut Vec<u8>)) {
        self.edit(&segment_name(number), change);
    }

    pub fn verify(&self) -> Report {
        verify(&self.dir).unwrap()
    }

    /// The problems of a ledger that has some.
    pub fn problems(&self) -> Vec<Problem> {
        let report = self.verify();
        assert_eq!(report.verdict, Verdict::Damaged, "{report:?}");
        assert!(!report.problems.is_empty());
        report.problems
    }
}

pub fn segment_name(number: u32) -> String {
    format!("ledger-{number:06}.seg")
}

/// Names of the files of a ledger.
pub fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
