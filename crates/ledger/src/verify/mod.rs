//! Checks that a ledger is what was written, and names every place where it is not.
//!
//! The blocks are read once, in the order of the files. A block is first held against its own hash, so
//! that one changed block is one problem and not the failure of everything behind it; then against the
//! order of the records and the hash of the block before it; then its content is unpacked and held
//! against the leaf hashes. No record is parsed.

mod diff;
mod report;
mod state;

use std::path::Path;

pub use report::{KnownState, Problem, ProblemKind, Report, Verdict, VerifyOptions};
use state::{Place, State};

use crate::block::{self, Block, BlockFault, Unpacker};
use crate::cursor::SegmentFile;
use crate::files;
use crate::format::{BlockHeader, SEGMENT_HEADER_BYTES, SegmentHeader, VERSION};
use crate::head::{self, Head, HeadState};
use crate::record::Records;
use crate::{LedgerError, hash, is_being_written};

/// Blocks or segments that a writer can have written without saying so in `HEAD`.
const MAX_BEYOND_HEAD: u32 = 1;

/// Checks the ledger in `dir` against itself and its `HEAD`.
///
/// # Errors
/// If there is no ledger, or if the directory cannot be read. Files that cannot be read are problems of
/// the report.
pub fn verify(dir: &Path) -> Result<Report, LedgerError> {
    verify_with(dir, &VerifyOptions::default())
}

/// Checks the ledger in `dir` against itself, its `HEAD`, and what else is known of it.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(dir: &Path, options: &VerifyOptions<'_>) -> Result<Report, LedgerError> {
    files::require_directory(dir)?;
    // Before the segments are read: what is written from then on lies beyond this state.
    let head = head::read_state(dir);
    let segments = files::list_segments(dir)?;
    if segments.is_empty() && head.as_ref().is_err_and(files::is_missing) {
        return Err(LedgerError::NotALedger(dir.to_owned()));
    }
    let mut verifier = Verifier::new(dir, options, head)?;
    verifier.segments(&segments);
    Ok(verifier.finish())
}

struct Verifier<'a> {
    dir: &'a Path,
    head: Option<Head>,
    session_id: Option<String>,
    state: State,
    block: Block,
    unpacker: Unpacker,
    beyond_head: u32,
    /// Whatever follows is not looked at: it is being written, or it follows the end.
    stopped: bool,
    running: bool,
    records: u64,
    blocks: u64,
    segment_count: u64,
    bytes: u64,
    torn_bytes: u64,
}

impl<'a> Verifier<'a> {
    fn new(
        dir: &'a Path,
        options: &VerifyOptions<'_>,
        head: Result<HeadState, LedgerError>,
    ) -> Result<Self, LedgerError> {
        let (head, damage) = match head {
            Ok(HeadState { head, damage }) => (
                head,
                damage.map(|(offset, reason)| (offset, reason.to_owned())),
            ),
            Err(error) if files::is_missing(&error) => (None, Some((0, "HEAD is missing".into()))),
            Err(error) => (None, Some((0, error.to_string()))),
        };
        let mut state = State::new(head.as_ref(), options.known, options.max_problems);
        if let Some((offset, reason)) = damage {
            let place = Place {
                offset,
                ..Place::default()
            };
            state.problem(ProblemKind::BadHead, place, 0..0, reason);
        }
        let session_id = options
            .session_id
            .map(str::to_owned)
            .or_else(|| head.as_ref().map(|head| head.session_id.clone()));
        if let Some(head) = head.as_ref()
            && session_id.as_deref() != Some(&head.session_id)
        {
            let detail = format!("the ledger is that of session {}", head.session_id);
            state.problem(ProblemKind::ForeignSegment, Place::default(), 0..0, detail);
        }
        Ok(Self {
            dir,
            head,
            session_id,
            state,
            block: Block::default(),
            unpacker: Unpacker::new().map_err(LedgerError::Compression)?,
            beyond_head: 0,
            stopped: false,
            running: false,
            records: 0,
            blocks: 0,
            segment_count: 0,
            bytes: 0,
            torn_bytes: 0,
        })
    }

    fn segments(&mut self, numbers: &[u32]) {
        let mut expected = 1;
        for &number in numbers {
            if self.stopped {
                return;
            }
            if number > expected {
                self.missing_segments(expected, number - 1);
            }
            self.segment(number);
            expected = number.saturating_add(1);
        }
        let last = self.head.as_ref().map_or(0, |head| head.segment);
        if last >= expected && !self.stopped {
            self.missing_segments(expected, last);
        }
    }

    fn missing_segments(&mut self, first: u32, last: u32) {
        let detail = if first == last {
            "the segment file is missing".to_owned()
        } else {
            format!("segment files {first} to {last} are missing")
        };
        self.state
            .lose(ProblemKind::MissingSegment, start_of(first), detail);
    }

    fn segment(&mut self, number: u32) {
        let segment = match SegmentFile::open(self.dir, number) {
            Ok(segment) => segment,
            Err(error) => {
                let detail = error.to_string();
                self.state
                    .lose(ProblemKind::Unreadable, start_of(number), detail);
                return;
            }
        };
        if self.is_beyond_head(number) && self.is_moving() {
            self.stopped = true;
            return;
        }
        self.segment_count += 1;
        self.bytes = self.bytes.saturating_add(segment.length);
        if self.enter(&segment) {
            self.walk(&segment);
        }
    }

    /// Whether what comes next is not counted by `HEAD`.
    fn is_beyond_head(&self, segment: u32) -> bool {
        self.state.head_is_reached()
            || self
                .head
                .as_ref()
                .is_some_and(|head| segment > head.segment)
    }

    /// Whether a writer is at work, so that what lies beyond the `HEAD` that was read is its business.
    fn is_moving(&mut self) -> bool {
        if !self.running {
            let generation = self.head.as_ref().map(|head| head.generation);
            self.running = is_being_written(self.dir)
                || head::read_state(self.dir).is_ok_and(|now| {
                    now.head.is_some() && now.head.map(|head| head.generation) != generation
                });
        }
        self.running
    }

    /// Checks the header of a segment; whether its blocks are to be read.
    fn enter(&mut self, segment: &SegmentFile) -> bool {
        let place = start_of(segment.number);
        let beyond_head = self.is_beyond_head(segment.number);
        let Some((computed, stated)) = segment.header_hashes() else {
            if beyond_head {
                self.torn_bytes = self.torn_bytes.saturating_add(segment.length);
            } else {
                let detail = "the file ends within its header";
                self.state.lose(ProblemKind::CutTail, place, detail);
            }
            return false;
        };
        let header = segment.header().filter(|_| computed == stated);
        let Some(header) = header else {
            let here = self.state.next_seq()..self.state.next_seq();
            let detail = "the header was changed";
            self.state
                .problem(ProblemKind::BadSegmentHeader, place, here, detail);
            self.state.enter_damaged_segment(place, [computed, stated]);
            return true;
        };
        if let Some((kind, detail)) = self.foreign(segment, &header) {
            self.state.lose(kind, place, detail);
            return false;
        }
        if beyond_head && !self.admit_beyond_head(place) {
            return false;
        }
        self.state
            .enter_segment(place, header.first_seq, header.prev, computed);
        true
    }

    /// Why the blocks of a segment are not this session's next.
    fn foreign(
        &mut self,
        segment: &SegmentFile,
        header: &SegmentHeader,
    ) -> Option<(ProblemKind, String)> {
        let session_id = self
            .session_id
            .get_or_insert_with(|| header.session_id.clone());
        if header.version > VERSION {
            let detail = format!(
                "format version {} is newer than this program",
                header.version
            );
            return Some((ProblemKind::BadSegmentHeader, detail));
        }
        if *session_id != header.session_id {
            let detail = format!("the segment is of session {}", header.session_id);
            return Some((ProblemKind::ForeignSegment, detail));
        }
        if header.segment != segment.number {
            let detail = format!("the file holds segment {}", header.segment);
            return Some((ProblemKind::Reordered, detail));
        }
        None
    }

    /// Counts something that `HEAD` does not count; `false` if a writer cannot have left it.
    fn admit_beyond_head(&mut self, place: Place) -> bool {
        self.beyond_head += 1;
        let closed = self.head.as_ref().is_some_and(|head| head.closed);
        if !closed && self.beyond_head <= MAX_BEYOND_HEAD {
            return true;
        }
        self.after_end(place);
        false
    }

    fn after_end(&mut self, place: Place) {
        let here = self.state.next_seq()..self.state.next_seq();
        let detail = "something was added behind the end of the ledger";
        self.state
            .problem(ProblemKind::AfterEnd, place, here, detail);
        self.stopped = true;
    }

    fn walk(&mut self, segment: &SegmentFile) {
        let mut place = start_of(segment.number);
        place.offset = SEGMENT_HEADER_BYTES as u64;
        while !self.stopped && place.offset < segment.length {
            if self.is_beyond_head(segment.number) && self.is_moving() {
                self.stopped = true;
                return;
            }
            place.offset = match self.block.read(&segment.file, place.offset, segment.length) {
                Ok(header) => {
                    self.one_block(place, &header);
                    place.offset.saturating_add(header.block_bytes() as u64)
                }
                Err(fault) => match self.fault(segment, place, fault) {
                    Some(resume) => resume,
                    None => return,
                },
            };
            place.block += 1;
        }
    }

    fn one_block(&mut self, place: Place, header: &BlockHeader) {
        let (computed, stated) = (self.block.computed_hash(), self.block.stated_hash());
        let whole = computed == stated;
        if self.state.is_after_end(header) && whole {
            self.after_end(place);
            return;
        }
        if self.is_beyond_head(place.segment) {
            if !whole {
                self.torn(header.block_bytes() as u64, place);
                return;
            }
            if !self.admit_beyond_head(place) {
                return;
            }
        }
        if whole {
            self.state.block(place, header, computed);
            self.content(place, header);
        } else {
            let difference = diff::compare(&mut self.unpacker, header, &self.block);
            self.state
                .changed_block(place, header, [computed, stated], &difference);
        }
    }

    /// Bytes at `place` that no `HEAD` counts and that are no block.
    fn torn(&mut self, bytes: u64, place: Place) {
        if self.head.as_ref().is_some_and(|head| head.closed) {
            self.after_end(place);
        }
        self.torn_bytes = self.torn_bytes.saturating_add(bytes);
        self.stopped = true;
    }

    /// Checks that a block which has the right hash holds what a writer puts into one.
    fn content(&mut self, place: Place, header: &BlockHeader) {
        let mut leaves = self.block.leaves();
        let whole = self
            .unpacker
            .unpack(header, &self.block)
            .is_some_and(|raw| {
                let mut records = Records::new(raw);
                let same = records
                    .by_ref()
                    .all(|record| leaves.next() == Some(hash::leaf(record.bytes)));
                same && records.rest().is_empty() && leaves.next().is_none()
            });
        drop(leaves);
        if whole {
            self.blocks += 1;
            self.records = self.records.saturating_add(u64::from(header.records));
        } else {
            let records = header.first_seq..header.end_seq();
            let detail = "the block's content is not what a writer makes, though its hash is right";
            self.state
                .problem(ProblemKind::Malformed, place, records, detail);
        }
    }

    /// Handles a place where no block can be read; where to go on, if there is such a place.
    fn fault(&mut self, segment: &SegmentFile, place: Place, fault: BlockFault) -> Option<u64> {
        let reason = match fault {
            BlockFault::Io(error) => {
                let detail = format!("the file cannot be read: {error}");
                self.state.lose(ProblemKind::Unreadable, place, detail);
                return None;
            }
            BlockFault::End | BlockFault::Short => "the file ends within a block",
            BlockFault::NotABlock(reason) => reason,
        };
        if self.is_beyond_head(segment.number) {
            self.torn(segment.length.saturating_sub(place.offset), place);
            return None;
        }
        // Where `HEAD` says that the last segment ends is a better end than that of the file, which may
        // have a torn write behind it; but blocks that were removed or added move it.
        let head_end = self
            .head
            .as_ref()
            .filter(|head| head.segment == segment.number && head.offset <= segment.length)
            .map(|head| head.offset);
        let found = [head_end.unwrap_or(segment.length), segment.length]
            .map(|end| block::backtrack(&segment.file, place.offset, end));
        let resume = found.iter().find_map(|found| found.resume);
        let ends_whole = head_end.is_some() || found.iter().any(|found| found.ends_whole);
        let kind = if reason == "the file ends within a block" && resume.is_none() && !ends_whole {
            ProblemKind::CutTail
        } else {
            ProblemKind::BadBlockHeader
        };
        self.state.lose(kind, place, reason);
        resume
    }

    fn finish(mut self) -> Report {
        let head = self.head.as_ref();
        let finished = self.state.finish(head);
        if !finished.closed && !self.running {
            self.running = is_being_written(self.dir);
        }
        let damaged = !finished.problems.is_empty() || finished.unlisted_problems > 0;
        let records = self.records;
        let verdict = if damaged {
            Verdict::Damaged
        } else if finished.closed || self.running {
            Verdict::Intact {
                records,
                closed: finished.closed,
            }
        } else {
            Verdict::Interrupted { records }
        };
        Report {
            session_id: self.session_id,
            verdict,
            records,
            blocks: self.blocks,
            segments: self.segment_count,
            bytes: self.bytes,
            torn_bytes: self.torn_bytes,
            chain: finished.chain,
            problems: finished.problems,
            unlisted_problems: finished.unlisted_problems,
        }
    }
}

/// The header of a segment.
fn start_of(segment: u32) -> Place {
    Place {
        segment,
        offset: 0,
        block: 0,
    }
}
