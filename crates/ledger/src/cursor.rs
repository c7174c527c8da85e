//! Walks over the blocks of a ledger in the order of its files, tolerating what it meets: a ledger that
//! is being written, one that stops short, and damage, which is reported once and stepped over.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::block::{self, BlockFault};
use crate::files;
use crate::format::{BlockHeader, SEGMENT_HEADER_BYTES, SegmentHeader, VERSION};
use crate::head;
use crate::{ChainHash, LedgerError};

/// Where a block begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockPosition {
    /// Number of the segment, from 1.
    pub segment: u32,
    /// Offset in the segment file.
    pub offset: u64,
}

/// A segment file that is open for reading.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    pub(crate) number: u32,
    pub(crate) length: u64,
    /// `None` if the file is shorter than a header.
    header: Option<[u8; SEGMENT_HEADER_BYTES]>,
}

impl SegmentFile {
    pub(crate) fn open(dir: &Path, number: u32) -> Result<Self, LedgerError> {
        let path = files::segment_path(dir, number);
        let file = files::open(&path)?;
        let length = files::length(&file, &path)?;
        let header =
            block::read_segment_header(&file, length).map_err(LedgerError::io("read", &path))?;
        Ok(Self {
            file,
            path,
            number,
            length,
            header,
        })
    }

    /// Whether the file ends within its header.
    pub(crate) fn is_cut_in_header(&self) -> bool {
        self.header.is_none()
    }

    /// The fields of the header, believable or not.
    pub(crate) fn header(&self) -> Option<SegmentHeader> {
        self.header.as_ref().and_then(SegmentHeader::decode)
    }

    /// The hash that the header should have, and the one that it has.
    pub(crate) fn header_hashes(&self) -> Option<(ChainHash, ChainHash)> {
        self.header.as_ref().map(SegmentHeader::hashes)
    }

    /// Takes the file's length again, as a writer may have appended to it.
    fn refresh_length(&mut self) -> Result<(), LedgerError> {
        self.length = files::length(&self.file, &self.path)?;
        Ok(())
    }

    fn damaged(&self, offset: u64, reason: &'static str) -> LedgerError {
        LedgerError::damaged(&self.path, offset, reason)
    }

    /// Refuses segments whose blocks must not be taken for this session's.
    fn check(&self, session_id: Option<&str>) -> Result<(), Refused> {
        let damaged = |reason| self.damaged(0, reason);
        let header = match (self.header(), self.header_hashes()) {
            (Some(header), Some((computed, stored))) if computed == stored => header,
            // The blocks behind it vouch for themselves.
            _ => return Err(Refused::Header(damaged("segment header is damaged"))),
        };
        if header.version > VERSION {
            return Err(Refused::Segment(LedgerError::UnsupportedVersion {
                path: self.path.clone(),
                found: header.version,
                supported: VERSION,
            }));
        }
        if session_id.is_some_and(|id| id != header.session_id) {
            return Err(Refused::Segment(damaged("segment is of another session")));
        }
        if header.segment != self.number {
            return Err(Refused::Segment(damaged(
                "segment has another one's number",
            )));
        }
        Ok(())
    }
}

/// How much of a segment cannot be used.
enum Refused {
    Header(LedgerError),
    Segment(LedgerError),
}

/// A place in a ledger, and how to go on from there.
#[derive(Debug)]
pub(crate) struct Cursor {
    dir: PathBuf,
    session_id: Option<String>,
    /// The next block to read.
    next: BlockPosition,
    segment: Option<SegmentFile>,
    /// The directory cannot be read any more, so that no attempt could get further.
    stuck: bool,
}

/// The start of the first block of a segment.
fn segment_start(segment: u32) -> BlockPosition {
    BlockPosition {
        segment,
        offset: SEGMENT_HEADER_BYTES as u64,
    }
}

impl Cursor {
    pub(crate) fn open(dir: &Path) -> Result<Self, LedgerError> {
        files::require_directory(dir)?;
        let session_id = match head::read_state(dir) {
            Ok(state) => state.head.map(|head| head.session_id),
            Err(error) if files::is_missing(&error) => {
                if files::list_segments(dir)?.is_empty() {
                    return Err(LedgerError::NotALedger(dir.to_owned()));
                }
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            dir: dir.to_owned(),
            session_id,
            next: segment_start(1),
            segment: None,
            stuck: false,
        })
    }

    pub(crate) fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    pub(crate) fn seek(&mut self, position: BlockPosition) {
        if self
            .segment
            .as_ref()
            .is_some_and(|segment| segment.number != position.segment)
        {
            self.segment = None;
        }
        self.next = position;
    }

    /// An error about the block at `position`, which is in the open segment.
    pub(crate) fn damaged(&self, position: BlockPosition, reason: &'static str) -> LedgerError {
        let path = files::segment_path(&self.dir, position.segment);
        LedgerError::damaged(&path, position.offset, reason)
    }

    /// Loads the next block by `load`, which is given the file, the block's offset and the file's
    /// length. `None` at the end of what is there; a later call may find more.
    pub(crate) fn next_block<F>(
        &mut self,
        mut load: F,
    ) -> Option<Result<(BlockPosition, BlockHeader), LedgerError>>
    where
        F: FnMut(&File, u64, u64) -> Result<BlockHeader, BlockFault>,
    {
        while !self.stuck {
            match self.step(&mut load) {
                Ok(Step::Block(position, header)) => return Some(Ok((position, header))),
                Ok(Step::Again) => {}
                Ok(Step::End) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    /// One attempt. After an error the cursor stands behind what caused it.
    fn step<F>(&mut self, load: &mut F) -> Result<Step, LedgerError>
    where
        F: FnMut(&File, u64, u64) -> Result<BlockHeader, BlockFault>,
    {
        let Some(mut segment) = self.segment.take() else {
            return self.enter();
        };
        let position = self.next;
        let mut loaded = load(&segment.file, position.offset, segment.length);
        let mut following = None;
        if loaded.is_err() {
            // What follows is looked for before the file is looked at again: a writer that goes on to the
            // next segment writes no more to this one, so that an end seen after that is the end.
            following = self.following()?;
            segment.refresh_length()?;
            loaded = load(&segment.file, position.offset, segment.length);
        }
        let fault = match loaded {
            Ok(header) => {
                self.next.offset = position.offset.saturating_add(header.block_bytes() as u64);
                self.segment = Some(segment);
                return Ok(Step::Block(position, header));
            }
            Err(fault) => fault,
        };
        match (fault, following) {
            (BlockFault::End | BlockFault::Short, None) => {
                self.segment = Some(segment);
                Ok(Step::End)
            }
            (BlockFault::End, Some(_)) => {
                self.next = segment_start(position.segment.saturating_add(1));
                Ok(Step::Again)
            }
            (BlockFault::Io(error), _) => {
                let path = segment.path.clone();
                self.leave(segment, following);
                Err(LedgerError::io("read", &path)(error))
            }
            (BlockFault::Short, Some(_)) => {
                Err(self.step_over(segment, following, "the file ends within a block"))
            }
            (BlockFault::NotABlock(reason), _) => Err(self.step_over(segment, following, reason)),
        }
    }

    /// Goes on behind damage, in the same segment if there are blocks behind it.
    fn step_over(
        &mut self,
        segment: SegmentFile,
        following: Option<u32>,
        reason: &'static str,
    ) -> LedgerError {
        let offset = self.next.offset;
        let error = segment.damaged(offset, reason);
        match block::backtrack(&segment.file, offset, segment.length).resume {
            Some(resume) => {
                self.next.offset = resume;
                self.segment = Some(segment);
            }
            None => self.leave(segment, following),
        }
        error
    }

    /// Gives up what is left of a segment.
    fn leave(&mut self, segment: SegmentFile, following: Option<u32>) {
        if following.is_some() {
            self.next = segment_start(segment.number.saturating_add(1));
        } else {
            self.next.offset = segment.length;
            self.segment = Some(segment);
        }
    }

    /// The number of the next segment that there is.
    fn following(&mut self) -> Result<Option<u32>, LedgerError> {
        let current = self.next.segment;
        let numbers = files::list_segments(&self.dir).inspect_err(|_| self.stuck = true)?;
        Ok(numbers.into_iter().find(|number| *number > current))
    }

    /// Opens the segment at the cursor.
    fn enter(&mut self) -> Result<Step, LedgerError> {
        let number = self.next.segment;
        let segment = match SegmentFile::open(&self.dir, number) {
            Ok(segment) => segment,
            Err(error) => return self.enter_failed(error),
        };
        if segment.is_cut_in_header() && self.following()?.is_none() {
            // The writer is about to write it, or was interrupted there.
            return Ok(Step::End);
        }
        let refused = segment.check(self.session_id.as_deref());
        if self.session_id.is_none() {
            self.session_id = segment.header().map(|header| header.session_id);
        }
        match refused {
            Ok(()) => {
                self.segment = Some(segment);
                Ok(Step::Again)
            }
            Err(Refused::Header(error)) => {
                self.segment = Some(segment);
                Err(error)
            }
            Err(Refused::Segment(error)) => {
                self.next = segment_start(number.saturating_add(1));
                Err(error)
            }
        }
    }

    fn enter_failed(&mut self, error: LedgerError) -> Result<Step, LedgerError> {
        let Some(following) = self.following()? else {
            // Not there yet, or not readable: either way a later call may find more.
            return if files::is_missing(&error) {
                Ok(Step::End)
            } else {
                self.next = segment_start(self.next.segment.saturating_add(1));
                Err(error)
            };
        };
        let missing = self.next;
        self.next = segment_start(following);
        if files::is_missing(&error) {
            return Err(self.damaged(
                BlockPosition {
                    offset: 0,
                    ..missing
                },
                "segment is missing",
            ));
        }
        Err(error)
    }
}

enum Step {
    Block(BlockPosition, BlockHeader),
    Again,
    End,
}
