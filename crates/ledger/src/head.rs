//! `HEAD`: how far the ledger goes, kept apart from it, so that a tail that somebody cut off is told
//! from a session that was interrupted.
//!
//! Two slots of one sector each are written in turn. Whatever happens during a write, the other slot
//! still holds the state before it; there is no temporary file, and nothing to rename on every flush.
//! The writer holds an advisory lock on the file for as long as it lives, which tells a session that
//! runs from one that was interrupted.

use std::fs::{File, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::fields::{Fields, PutFields};
use crate::files::{self, HEAD_NAME};
use crate::format::{VERSION, put_session_id, take_session_id};
use crate::{ChainHash, LedgerError};

const MAGIC: [u8; 8] = *b"ASLHEAD\0";
const SLOT_BYTES: usize = 512;
const HASHED_BYTES: usize = SLOT_BYTES - 32;
const HEAD_BYTES: usize = 2 * SLOT_BYTES;
const FLAG_CLOSED: u16 = 1;

/// Times that `HEAD` is read before a damaged slot is believed to be damaged rather than being
/// written at this moment.
const READ_ATTEMPTS: usize = 3;

/// How far a ledger goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The session.
    pub session_id: String,
    /// Counts writes of `HEAD`.
    pub generation: u64,
    /// Records written.
    pub records: u64,
    /// Records known to survive a power failure.
    pub synced_records: u64,
    /// Segment that is being written, from 1.
    pub segment: u32,
    /// Length of that segment.
    pub offset: u64,
    /// Chain hash at that place.
    pub chain: ChainHash,
    /// Whether the session ended in order.
    pub closed: bool,
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SLOT_BYTES);
        bytes.put(&MAGIC);
        bytes.put_u16(VERSION);
        bytes.put_u16(if self.closed { FLAG_CLOSED } else { 0 });
        bytes.put_u32(self.segment);
        bytes.put_u64(self.generation);
        bytes.put_u64(self.records);
        bytes.put_u64(self.offset);
        bytes.put_u64(self.synced_records);
        put_session_id(&mut bytes, &self.session_id);
        bytes.put(&self.chain.0);
        // Room for the id of a signing key (32), a signature (64), and what else a checkpoint needs.
        bytes.zeros_until(HASHED_BYTES);
        let hash = ChainHash::of(&[&bytes]);
        bytes.put(&hash.0);
        bytes
    }

    fn decode(slot: &[u8]) -> Option<Self> {
        let (hashed, hash) = slot.split_last_chunk::<32>()?;
        if ChainHash::of(&[hashed]).0 != *hash {
            return None;
        }
        let mut fields = Fields::new(slot);
        if fields.array() != Some(MAGIC) || fields.u16() != Some(VERSION) {
            return None;
        }
        let flags = fields.u16()?;
        let segment = fields.u32()?;
        let generation = fields.u64()?;
        let records = fields.u64()?;
        let offset = fields.u64()?;
        let synced_records = fields.u64()?;
        Some(Self {
            session_id: take_session_id(&mut fields)?,
            generation,
            records,
            synced_records,
            segment,
            offset,
            chain: ChainHash(fields.array()?),
            closed: flags & FLAG_CLOSED != 0,
        })
    }

    fn slot_offset(&self) -> u64 {
        (self.generation % 2) * SLOT_BYTES as u64
    }
}

/// What was found in a `HEAD` file.
#[derive(Debug)]
pub(crate) struct HeadState {
    /// The newer of the slots that are whole.
    pub(crate) head: Option<Head>,
    /// Where the file is not what a writer leaves behind.
    pub(crate) damage: Option<(u64, &'static str)>,
}

/// Reads how far the ledger in `dir` goes.
///
/// # Errors
/// If there is no `HEAD`, if it cannot be read, or if neither of its slots is whole.
pub fn read_head(dir: &Path) -> Result<Head, LedgerError> {
    files::require_directory(dir)?;
    let path = dir.join(HEAD_NAME);
    let state = read_state(dir).map_err(|error| {
        if files::is_missing(&error) {
            LedgerError::NotALedger(dir.to_owned())
        } else {
            error
        }
    })?;
    state
        .head
        .ok_or_else(|| LedgerError::damaged(&path, 0, "neither slot is whole"))
}

/// Whether a writer has the ledger in `dir` open. `false` if that cannot be told.
#[must_use]
pub fn is_being_written(dir: &Path) -> bool {
    files::open(&dir.join(HEAD_NAME))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

pub(crate) fn read_state(dir: &Path) -> Result<HeadState, LedgerError> {
    let path = dir.join(HEAD_NAME);
    let file = files::open(&path)?;
    let mut state = read_once(&file, &path)?;
    for _ in 1..READ_ATTEMPTS {
        if state.damage.is_none() {
            break;
        }
        state = read_once(&file, &path)?;
    }
    Ok(state)
}

fn read_once(file: &File, path: &Path) -> Result<HeadState, LedgerError> {
    // One byte more than a writer makes, so that an appended one is seen.
    let mut bytes = [0; HEAD_BYTES + 1];
    let length = read_up_to(file, &mut bytes).map_err(LedgerError::io("read", path))?;
    let slots = bytes.get(..length).unwrap_or_default();
    let (first, rest) = slots.split_at_checked(SLOT_BYTES).unwrap_or((slots, &[]));
    let (second, rest) = rest.split_at_checked(SLOT_BYTES).unwrap_or((rest, &[]));
    let (first, second) = (slot(first, 0), slot(second, 1));
    let damage = if first.is_none() {
        Some((0, "the first slot is not whole"))
    } else if second.is_none() {
        Some((SLOT_BYTES as u64, "the second slot is not whole"))
    } else if !rest.is_empty() {
        Some((HEAD_BYTES as u64, "bytes follow the slots"))
    } else if !consecutive(first.as_ref(), second.as_ref()) {
        Some((0, "the slots do not follow each other"))
    } else {
        None
    };
    let head = first
        .into_iter()
        .chain(second)
        .max_by_key(|head| head.generation);
    Ok(HeadState { head, damage })
}

/// A slot, if it is whole and stands where a writer puts it.
fn slot(bytes: &[u8], index: u64) -> Option<Head> {
    Head::decode(bytes).filter(|head| head.generation % 2 == index)
}

fn consecutive(first: Option<&Head>, second: Option<&Head>) -> bool {
    match (first, second) {
        (Some(first), Some(second)) => {
            first.generation.abs_diff(second.generation) == 1
                && first.session_id == second.session_id
        }
        _ => false,
    }
}

fn read_up_to(file: &File, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64)? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

/// The writer's side of `HEAD`.
#[derive(Debug)]
pub(crate) struct HeadFile {
    file: File,
    path: PathBuf,
    head: Head,
}

impl HeadFile {
    /// Makes `HEAD` in `dir`; it must not exist.
    pub(crate) fn create(dir: &Path, head: Head) -> Result<Self, LedgerError> {
        let path = dir.join(HEAD_NAME);
        let file = files::create(&path)?;
        // Nobody else knows the file yet; if somebody is that fast, the session merely looks
        // interrupted while it runs.
        let _ = file.try_lock();
        let mut this = Self { file, path, head };
        this.put()?;
        this.head.generation += 1;
        this.put()?;
        Ok(this)
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Applies `change` and writes the result; on failure the state stays as it was.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Head)) -> Result<(), LedgerError> {
        let before = self.head.clone();
        change(&mut self.head);
        self.head.generation += 1;
        self.put().inspect_err(|_| self.head = before)
    }

    /// Makes writing fail, or work again.
    #[cfg(test)]
    pub(crate) fn set_writable(&mut self, writable: bool) {
        self.file = std::fs::OpenOptions::new()
            .read(true)
            .write(writable)
            .open(&self.path)
            .unwrap();
    }

    pub(crate) fn sync(&self) -> Result<(), LedgerError> {
        self.file
            .sync_data()
            .map_err(LedgerError::io("sync", &self.path))
    }

    fn put(&self) -> Result<(), LedgerError> {
        self.file
            .write_all_at(&self.head.encode(), self.head.slot_offset())
            .map_err(LedgerError::io("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            session_id: "s1".into(),
            generation: 0,
            records: 0,
            synced_records: 0,
            segment: 1,
            offset: 256,
            chain: ChainHash([1; 32]),
            closed: false,
        }
    }

    #[test]
    fn the_newest_state_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let mut file = HeadFile::create(temp.path(), head()).unwrap();
        for records in 1..5 {
            file.update(|head| head.records = records).unwrap();
            let read = read_head(temp.path()).unwrap();
            assert_eq!(read, *file.head());
            assert_eq!(read.records, records);
        }
        assert!(is_being_written(temp.path()));
        drop(file);
        assert!(!is_being_written(temp.path()));
    }

    #[test]
    fn a_damaged_slot_leaves_the_other() {
        let temp = tempfile::tempdir().unwrap();
        let mut file = HeadFile::create(temp.path(), head()).unwrap();
        file.update(|head| head.records = 1).unwrap();
        file.update(|head| head.records = 2).unwrap();
        let path = temp.path().join(HEAD_NAME);
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len(), HEAD_BYTES);
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            let state = read_state(temp.path()).unwrap();
            let slot = index / SLOT_BYTES * SLOT_BYTES;
            assert_eq!(state.damage.unwrap().0, slot as u64, "byte {index}");
            assert!(
                state.head.is_some_and(|head| head.records > 0),
                "byte {index}"
            );
        }
    }

    #[test]
    fn any_other_length_is_damage() {
        let temp = tempfile::tempdir().unwrap();
        HeadFile::create(temp.path(), head()).unwrap();
        let path = temp.path().join(HEAD_NAME);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(
                read_state(temp.path()).unwrap().damage.is_some(),
                "{length} bytes"
            );
        }
        std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert!(read_state(temp.path()).unwrap().damage.is_some());
    }

    #[test]
    fn a_directory_without_head_is_no_ledger() {
        let temp = tempfile::tempdir().unwrap();
        assert!(matches!(
            read_head(temp.path()),
            Err(LedgerError::NotALedger(_))
        ));
    }
}
