//! What a verification finds, in terms that a person can follow up.

use std::fmt;
use std::ops::Range;

use crate::files::{HEAD_NAME, segment_name};
use crate::{ChainHash, Head};

/// What to hold a ledger against besides itself.
#[derive(Clone, Debug)]
pub struct VerifyOptions<'a> {
    /// The session that the ledger has to be of.
    pub session_id: Option<&'a str>,
    /// A state that the ledger is known to have been in, such as the index keeps.
    pub known: Option<KnownState>,
    /// Problems that are listed; further ones are counted.
    pub max_problems: usize,
}

impl Default for VerifyOptions<'_> {
    fn default() -> Self {
        Self {
            session_id: None,
            known: None,
            max_problems: 100,
        }
    }
}

/// A state that a ledger is known to have been in. A ledger that was rolled back or rewritten as a whole
/// is consistent; only somebody who knows an earlier state can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownState {
    /// Records at that time.
    pub records: u64,
    /// Chain hash at that time.
    pub chain: ChainHash,
}

impl From<&Head> for KnownState {
    fn from(head: &Head) -> Self {
        Self {
            records: head.records,
            chain: head.chain,
        }
    }
}

/// The outcome of a verification.
#[derive(Clone, Debug)]
pub struct Report {
    /// The session, as far as the ledger says so.
    pub session_id: Option<String>,
    /// The result in one word.
    pub verdict: Verdict,
    /// Records in blocks that are as they were written.
    pub records: u64,
    /// Blocks that are as they were written.
    pub blocks: u64,
    /// Segment files.
    pub segments: u64,
    /// Length of all segment files.
    pub bytes: u64,
    /// Bytes at the end that a write left behind which never finished. No record is lost with them
    /// that `HEAD` counts.
    pub torn_bytes: u64,
    /// Chain hash at the last block that is as it was written: what to keep elsewhere.
    pub chain: ChainHash,
    /// What is wrong, in the order of the files; at most [`VerifyOptions::max_problems`].
    pub problems: Vec<Problem>,
    /// Problems beyond those.
    pub unlisted_problems: u64,
}

/// The result of a verification in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it was written, up to the end, or up to this moment if the session runs.
    Intact {
        /// Records.
        records: u64,
        /// Whether the session ended in order; otherwise it is being written.
        closed: bool,
    },
    /// Everything that was written is there, but the session's monitor ended without closing it.
    Interrupted {
        /// Records.
        records: u64,
    },
    /// Something is wrong: [`Report::problems`].
    Damaged,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub kind: ProblemKind,
    /// The segment file; `None` for `HEAD`.
    pub segment: Option<u32>,
    /// Where the block (or header, or end) that has the problem begins in that file.
    pub offset: u64,
    /// The block's position in the file, from 0; of no meaning for problems of the file as a whole.
    pub block: u64,
    /// The records concerned, as exactly as can be told; empty if none is.
    pub records: Range<u64>,
    /// What was found, in words.
    pub detail: String,
}

/// The kinds of things that can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// Bytes of a block are not those that were written.
    Changed,
    /// A block is consistent in itself, but not the one that its successor was written after.
    Replaced,
    /// The end is missing.
    CutTail,
    /// Records or blocks are missing.
    Removed,
    /// Records, blocks or segments are not where they were written.
    Reordered,
    /// Records or blocks are there more than once.
    Duplicated,
    /// Records are there that were not written.
    Inserted,
    /// A segment file is missing.
    MissingSegment,
    /// A segment of another session, or the ledger of another session.
    ForeignSegment,
    /// The header of a segment is not the one that was written.
    BadSegmentHeader,
    /// The boundaries of a block are not those that were written.
    BadBlockHeader,
    /// `HEAD` is missing or not what a writer leaves behind.
    BadHead,
    /// A block has the right hash, but not the content that a writer puts into one.
    Malformed,
    /// Something follows the end, or more than a writer can have left follows the last known state.
    AfterEnd,
    /// The ledger never was in a state that it is known to have been in.
    Rewritten,
    /// A file could not be read.
    Unreadable,
}

impl ProblemKind {
    /// A stable name for scripts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Replaced => "replaced",
            Self::CutTail => "cut-tail",
            Self::Removed => "removed",
            Self::Reordered => "reordered",
            Self::Duplicated => "duplicated",
            Self::Inserted => "inserted",
            Self::MissingSegment => "missing-segment",
            Self::ForeignSegment => "foreign-segment",
            Self::BadSegmentHeader => "bad-segment-header",
            Self::BadBlockHeader => "bad-block-header",
            Self::BadHead => "bad-head",
            Self::Malformed => "malformed",
            Self::AfterEnd => "after-end",
            Self::Rewritten => "rewritten",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Problem {
    /// Name of the file that has the problem.
    #[must_use]
    pub fn file(&self) -> String {
        self.segment
            .map_or_else(|| HEAD_NAME.to_owned(), segment_name)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offset,
            block,
            records,
            detail,
            ..
        } = self;
        write!(
            f,
            "{}: {} at byte {offset}",
            self.kind.as_str(),
            self.file()
        )?;
        if self.segment.is_some() {
            write!(f, " (block {block})")?;
        }
        match records.end.saturating_sub(records.start) {
            0 => {}
            1 => write!(f, ", record {}", records.start)?,
            _ => write!(f, ", records {} to {}", records.start, records.end - 1)?,
        }
        write!(f, ": {detail}")
    }
}
