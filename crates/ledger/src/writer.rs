//! Writes the ledger of one session.
//!
//! What is written is never read back or changed. After every block `HEAD` is brought up to date, and
//! no further block is written until that has worked: so at most one block lies beyond `HEAD`, and a
//! verifier may take anything more for an addition by somebody else.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use agentsight_model::Event;

use crate::builder::{BlockBuilder, Staged};
use crate::files;
use crate::format::{BLOCK_FLAG_END, SEGMENT_HEADER_BYTES, SegmentHeader, VERSION};
use crate::head::{Head, HeadFile};
use crate::{ChainHash, LedgerError, NewRecord};

/// Full segments that may wait for the next [`Writer::sync`]; one more is synced when it is full.
const MAX_UNSYNCED_SEGMENTS: usize = 4;

/// How a ledger is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Length at which a new segment begins. A segment is longer only if it holds a single block.
    pub segment_bytes: u64,
    /// Raw bytes at which a block is written, at most 256 KiB.
    pub block_bytes: usize,
    /// Level of compression.
    pub zstd_level: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            block_bytes: 256 << 10,
            zstd_level: 1,
        }
    }
}

/// Writes the ledger of one session. Dropping it without [`Writer::close`] leaves an interrupted
/// session behind, with everything that was appended.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    options: Options,
    builder: BlockBuilder,
    head: HeadFile,
    segment: Segment,
    /// Full segments that are not synced.
    unsynced: Vec<Segment>,
    /// Chain hash at the end of the segment.
    chain: ChainHash,
    /// Records in blocks that are written.
    written_records: u64,
    /// `HEAD` does not say yet what was written.
    head_is_behind: bool,
    /// Something was written since the last sync.
    dirty: bool,
    /// The directory has names that are not synced.
    names_unsynced: bool,
}

/// The file that is being written.
#[derive(Debug)]
struct Segment {
    file: File,
    path: PathBuf,
    number: u32,
    /// Where the next block goes.
    end: u64,
    /// An attempt to write at `end` failed, so that bytes may lie there.
    torn: bool,
}

impl Writer {
    /// Begins the ledger of a session in `dir`, which is made if it does not exist; the directory
    /// above it must.
    ///
    /// # Errors
    /// If the id cannot name a session, if there is a ledger already, if `dir` is a link, or if a
    /// file cannot be made.
    pub fn create(dir: &Path, session_id: &str, options: Options) -> Result<Self, LedgerError> {
        if !files::is_session_id(session_id) {
            return Err(LedgerError::BadSessionId(session_id.to_owned()));
        }
        let builder = BlockBuilder::new(options.block_bytes, options.zstd_level)?;
        files::create_directory(dir)?;
        // `HEAD` first: then a ledger without one was tampered with, whenever a crash comes.
        let head = HeadFile::create(
            dir,
            Head {
                session_id: session_id.to_owned(),
                generation: 0,
                records: 0,
                synced_records: 0,
                segment: 0,
                offset: 0,
                chain: ChainHash::GENESIS,
                closed: false,
            },
        )?;
        let (segment, chain) = Segment::create(dir, session_id, 1, 0, ChainHash::GENESIS)?;
        let mut this = Self {
            dir: dir.to_owned(),
            options,
            builder,
            head,
            segment,
            unsynced: Vec::new(),
            chain,
            written_records: 0,
            head_is_behind: true,
            dirty: true,
            names_unsynced: true,
        };
        this.update_head()?;
        Ok(this)
    }

    /// Appends an event; returns its number. It is in memory until the block is full or
    /// [`Writer::flush`] is called.
    ///
    /// # Errors
    /// If the event is too large, or if the block before it could not be written. The event is not
    /// in the ledger then and the caller has to count it as lost; later events may succeed.
    pub fn append(&mut self, event: &Event) -> Result<u64, LedgerError> {
        let staged = self.builder.stage(event)?;
        self.add(staged)
    }

    /// Appends a record that is serialised already; returns its number.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn append_raw(&mut self, record: &NewRecord<'_>) -> Result<u64, LedgerError> {
        let staged = self.builder.stage_raw(record)?;
        self.add(staged)
    }

    fn add(&mut self, staged: Staged) -> Result<u64, LedgerError> {
        if self.builder.overflows() {
            self.write_block(0)
                .inspect_err(|_| self.builder.unstage())?;
        }
        let seq = self.records();
        self.builder.add(staged);
        Ok(seq)
    }

    /// Records appended so far, which is the number that the next one gets.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.written_records + u64::from(self.builder.records())
    }

    /// How far the ledger goes on disk.
    #[must_use]
    pub fn head(&self) -> &Head {
        self.head.head()
    }

    /// Hands everything appended so far to the operating system: it survives the end of this process,
    /// and readers see it.
    ///
    /// # Errors
    /// If writing fails. What was appended stays in memory, and the next call tries again.
    pub fn flush(&mut self) -> Result<(), LedgerError> {
        if self.builder.records() > 0 {
            self.write_block(0)?;
        }
        self.update_head()
    }

    /// Flushes, and makes everything appended so far survive a power failure. Cheap if there is
    /// nothing new.
    ///
    /// # Errors
    /// If writing or syncing fails.
    pub fn sync(&mut self) -> Result<(), LedgerError> {
        self.flush()?;
        if !self.dirty {
            return Ok(());
        }
        self.sync_segments()?;
        let records = self.written_records;
        self.head.update(|head| head.synced_records = records)?;
        self.head.sync()?;
        self.dirty = false;
        Ok(())
    }

    /// Ends the ledger in order, and syncs it.
    ///
    /// # Errors
    /// If writing or syncing fails; the session is an interrupted one then.
    pub fn close(mut self) -> Result<Head, LedgerError> {
        self.flush()?;
        self.write_block(BLOCK_FLAG_END)?;
        // Before `HEAD` says so: a power failure must not make it claim an end that is not there.
        self.sync_segments()?;
        self.head.update(|head| {
            head.synced_records = head.records;
            head.closed = true;
        })?;
        self.head.sync()?;
        Ok(self.head.head().clone())
    }

    fn sync_segments(&mut self) -> Result<(), LedgerError> {
        while let Some(segment) = self.unsynced.last() {
            segment.sync()?;
            self.unsynced.pop();
        }
        self.segment.sync()?;
        if self.names_unsynced {
            files::sync_directory(&self.dir)?;
            self.names_unsynced = false;
        }
        Ok(())
    }

    fn write_block(&mut self, flags: u8) -> Result<(), LedgerError> {
        self.update_head()?;
        let block_bytes = self.builder.pack()?;
        if self
            .segment
            .is_full(block_bytes, self.options.segment_bytes)
        {
            self.roll()?;
        }
        let (block, hash) = self.builder.seal(self.written_records, self.chain, flags);
        self.segment.append(block)?;
        self.chain = hash;
        self.written_records += u64::from(self.builder.records());
        self.builder.restart();
        self.dirty = true;
        self.head_is_behind = true;
        self.update_head()
    }

    /// Begins the next segment.
    fn roll(&mut self) -> Result<(), LedgerError> {
        if self.unsynced.len() >= MAX_UNSYNCED_SEGMENTS {
            self.segment.sync()?;
        }
        let (segment, chain) = Segment::create(
            &self.dir,
            &self.head.head().session_id,
            self.segment.number.saturating_add(1),
            self.written_records,
            self.chain,
        )?;
        let full = std::mem::replace(&mut self.segment, segment);
        if self.unsynced.len() < MAX_UNSYNCED_SEGMENTS {
            self.unsynced.push(full);
        }
        self.chain = chain;
        self.names_unsynced = true;
        self.dirty = true;
        self.head_is_behind = true;
        self.update_head()
    }

    fn update_head(&mut self) -> Result<(), LedgerError> {
        if !self.head_is_behind {
            return Ok(());
        }
        let (records, chain) = (self.written_records, self.chain);
        let (segment, offset) = (self.segment.number, self.segment.end);
        self.head.update(|head| {
            head.records = records;
            head.chain = chain;
            head.segment = segment;
            head.offset = offset;
        })?;
        self.head_is_behind = false;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.head.head().closed {
            // The last records matter most when a monitor dies; there is nobody left to tell of an error.
            let _ = self.flush();
        }
    }
}

impl Segment {
    /// Makes a segment file with its header; returns the header's hash too.
    fn create(
        dir: &Path,
        session_id: &str,
        number: u32,
        first_seq: u64,
        prev: ChainHash,
    ) -> Result<(Self, ChainHash), LedgerError> {
        let header = SegmentHeader {
            version: VERSION,
            segment: number,
            first_seq,
            session_id: session_id.to_owned(),
            prev,
        };
        let (bytes, hash) = header.encode();
        let path = files::segment_path(dir, number);
        let mut segment = Self {
            file: files::create(&path)?,
            path,
            number,
            end: 0,
            torn: false,
        };
        if let Err(error) = segment.append(&bytes) {
            // So that the next attempt can make it anew; a header that is cut short is harmless.
            let _ = std::fs::remove_file(&segment.path);
            return Err(error);
        }
        Ok((segment, hash))
    }

    fn is_full(&self, block_bytes: u64, limit: u64) -> bool {
        self.end > SEGMENT_HEADER_BYTES as u64 && self.end.saturating_add(block_bytes) > limit
    }

    /// Appends bytes whole, or leaves the segment as it was as far as later calls see it.
    fn append(&mut self, bytes: &[u8]) -> Result<(), LedgerError> {
        if self.torn {
            self.file
                .set_len(self.end)
                .map_err(LedgerError::io("repair", &self.path))?;
        }
        self.torn = true;
        self.file
            .write_all_at(bytes, self.end)
            .map_err(LedgerError::io("write", &self.path))?;
        self.torn = false;
        self.end = self.end.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn sync(&self) -> Result<(), LedgerError> {
        self.file
            .sync_data()
            .map_err(LedgerError::io("sync", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use agentsight_model::{DropReason, EventClass, KTime, Loss};

    use super::*;
    use crate::{Reader, Verdict, verify};

    fn event(number: u64) -> Event {
        Loss::new(EventClass::File, DropReason::RingFull, number).into_event(KTime(number))
    }

    fn small() -> Options {
        Options {
            segment_bytes: 1500,
            block_bytes: 300,
            ..Options::default()
        }
    }

    impl Segment {
        fn set_writable(&mut self, writable: bool) {
            self.file = std::fs::OpenOptions::new()
                .read(true)
                .write(writable)
                .open(&self.path)
                .unwrap();
        }
    }

    /// Appends until the writer refuses; the numbers of the events that it took.
    fn append_until_refused(writer: &mut Writer, from: u64) -> Vec<u64> {
        let mut taken = Vec::new();
        for number in from..from + 1000 {
            match writer.append(&event(number)) {
                Ok(_) => taken.push(number),
                Err(LedgerError::Io { .. }) => return taken,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the writer took everything");
    }

    fn counts(dir: &Path) -> Vec<u64> {
        Reader::open(dir)
            .unwrap()
            .map(|item| item.unwrap().1.time.0)
            .collect()
    }

    #[test]
    fn a_disk_that_fails_loses_only_what_is_refused() {
        for broken in ["segment", "head", "both"] {
            let temp = tempfile::tempdir().unwrap();
            let dir = temp.path().join("s");
            let mut writer = Writer::create(&dir, "s", small()).unwrap();
            let mut taken = Vec::new();
            for round in 0..5 {
                let set = |writer: &mut Writer, writable| {
                    if broken != "head" {
                        writer.segment.set_writable(writable);
                    }
                    if broken != "segment" {
                        writer.head.set_writable(writable);
                    }
                };
                set(&mut writer, false);
                taken.extend(append_until_refused(&mut writer, round * 1000));
                assert!(writer.flush().is_err());
                let more = append_until_refused(&mut writer, round * 1000 + 500);
                assert!(more.len() < 20, "memory is bounded");
                taken.extend(more);
                set(&mut writer, true);
            }
            assert_eq!(writer.records(), taken.len() as u64);
            writer.close().unwrap();
            assert_eq!(counts(&dir), taken, "{broken}");
            let records = taken.len() as u64;
            let closed = true;
            assert_eq!(
                verify(&dir).unwrap().verdict,
                Verdict::Intact { records, closed }
            );
        }
    }

    #[test]
    fn a_segment_that_cannot_be_made_is_tried_again() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("s");
        let mut writer = Writer::create(&dir, "s", small()).unwrap();
        let obstacle = files::segment_path(&dir, 2);
        std::fs::create_dir(&obstacle).unwrap();
        let mut refused = 0;
        for number in 0..200 {
            refused += u64::from(writer.append(&event(number)).is_err());
        }
        assert!(refused > 0);
        std::fs::remove_dir(&obstacle).unwrap();
        writer.append(&event(200)).unwrap();
        writer.close().unwrap();
        assert_eq!(counts(&dir).len() as u64, 201 - refused);
        let closed = true;
        let records = 201 - refused;
        assert_eq!(
            verify(&dir).unwrap().verdict,
            Verdict::Intact { records, closed }
        );
    }

    #[test]
    fn bytes_of_a_failed_write_are_cut_off_before_the_next() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("s");
        let mut writer = Writer::create(&dir, "s", small()).unwrap();
        writer.append(&event(0)).unwrap();
        writer.segment.torn = true;
        let end = writer.segment.end;
        writer
            .segment
            .file
            .write_all_at(&[0xAA; 5000], end)
            .unwrap();
        writer.close().unwrap();
        assert_eq!(counts(&dir), [0]);
        let report = verify(&dir).unwrap();
        assert_eq!((report.records, report.torn_bytes), (1, 0));
    }
}
