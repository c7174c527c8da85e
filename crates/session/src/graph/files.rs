//! What each process did with each file.
//!
//! A use (one `use_id` of a process) has running totals, of which the last event holds. One record is
//! kept per process and path, however often it is used. Within a record, *episodes* keep uses apart
//! that lie apart in time, as an agent that reads the same file for two tool calls does so twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use agentsight_model::{
    Access, FileDelete, FileOpen, FileRef, FileRename, FileUse, KTime, ProcessKey,
};

use super::budget::Budget;

/// Episodes kept per process and path; later ones are added to the last. Enough for the calls of a
/// conversation that return to one file, and a bound for a process that polls it all day.
const MAX_EPISODES: usize = 32;

/// Totals kept until their open event comes.
const MAX_EARLY: usize = 1 << 16;

/// Growth of totals within this time of the last use belongs to the same episode: a program between two
/// reads, not an agent between two tool calls, who waits at least for a network round trip.
const EPISODE_GAP_NS: u64 = 2_000_000;

/// Sums over uses of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) opens: u64,
    pub(crate) creates: u64,
    pub(crate) reads: u64,
    pub(crate) read_bytes: u64,
    pub(crate) writes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) access: Access,
}

impl Totals {
    fn of(usage: &FileUse) -> Self {
        Self {
            opens: usage.opens,
            creates: usage.creates,
            reads: usage.reads,
            read_bytes: usage.read_bytes,
            writes: usage.writes,
            written_bytes: usage.written_bytes,
            access: usage.access,
        }
    }

    /// What `self` has more than `earlier`.
    fn beyond(&self, earlier: &Self) -> Self {
        Self {
            opens: self.opens.saturating_sub(earlier.opens),
            creates: self.creates.saturating_sub(earlier.creates),
            reads: self.reads.saturating_sub(earlier.reads),
            read_bytes: self.read_bytes.saturating_sub(earlier.read_bytes),
            writes: self.writes.saturating_sub(earlier.writes),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            access: self.access,
        }
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.opens = self.opens.saturating_add(more.opens);
        self.creates = self.creates.saturating_add(more.creates);
        self.reads = self.reads.saturating_add(more.reads);
        self.read_bytes = self.read_bytes.saturating_add(more.read_bytes);
        self.writes = self.writes.saturating_add(more.writes);
        self.written_bytes = self.written_bytes.saturating_add(more.written_bytes);
        self.access.read |= more.access.read;
        self.access.write |= more.access.write;
        self.access.create |= more.access.create;
        self.access.truncate |= more.access.truncate;
    }

    fn is_idle(&self) -> bool {
        self.opens == 0 && self.creates == 0 && self.reads == 0 && self.writes == 0
    }
}

/// Uses that lie close together in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Episode {
    /// Number of the first event that told of it.
    pub(crate) seq: u64,
    pub(crate) first: KTime,
    pub(crate) last: KTime,
    pub(crate) totals: Totals,
}

/// Which process and which path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    pub(crate) process: ProcessKey,
    pub(crate) path: Arc<str>,
}

/// Everything that one process did with one path, apart from removing and renaming it.
#[derive(Clone, Debug)]
pub(crate) struct FileRecord {
    pub(crate) key: FileKey,
    /// The last file seen under that path. Its own path is empty: it is in `key`.
    pub(crate) file: FileRef,
    pub(crate) inherited: bool,
    pub(crate) episodes: Vec<Episode>,
}

/// A removal or renaming, as often as the process did the same.
#[derive(Clone, Debug)]
pub(crate) struct NameRecord {
    pub(crate) seq: u64,
    pub(crate) first: KTime,
    pub(crate) last: KTime,
    pub(crate) count: u64,
    pub(crate) process: ProcessKey,
    pub(crate) file: FileRef,
    /// The old name, if it was renamed.
    pub(crate) from: Option<FileRef>,
    pub(crate) directory: bool,
}

#[derive(Debug)]
struct UseSlot {
    record: usize,
    episode: usize,
    totals: Totals,
    /// Whether `totals` were only guessed from the open event.
    provisional: bool,
}

/// Files and names that the processes of a session used.
#[derive(Debug, Default)]
pub(crate) struct FileTable {
    records: Vec<FileRecord>,
    index: HashMap<FileKey, usize>,
    uses: HashMap<(ProcessKey, u64), UseSlot>,
    /// Totals that came before the open event that they continue: the two travel on different ways.
    early: HashMap<(ProcessKey, u64), (u64, FileUse)>,
    paths: HashSet<Arc<str>>,
    names: Vec<NameRecord>,
    name_index: HashMap<(ProcessKey, String, Option<String>), usize>,
}

impl FileTable {
    pub(crate) fn records(&self) -> &[FileRecord] {
        &self.records
    }

    /// Uses of which totals are known, but no name.
    pub(crate) fn nameless_count(&self) -> u64 {
        u64::try_from(self.early.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn names(&self) -> &[NameRecord] {
        &self.names
    }

    fn record(
        &mut self,
        process: ProcessKey,
        open: &FileOpen,
        budget: &mut Budget,
    ) -> Option<usize> {
        // One copy of each path, as thousands of processes read the same libraries.
        let known = self.paths.get(open.file.path.as_str()).map(Arc::clone);
        let path = known.unwrap_or_else(|| Arc::from(open.file.path.as_str()));
        let key = FileKey { process, path };
        if let Some(position) = self.index.get(&key) {
            return Some(*position);
        }
        if !budget.record("file.open") {
            return None;
        }
        self.paths.insert(Arc::clone(&key.path));
        let position = self.records.len();
        self.records.push(FileRecord {
            key: key.clone(),
            file: FileRef::default(),
            inherited: open.inherited,
            episodes: Vec::with_capacity(1),
        });
        self.index.insert(key, position);
        Some(position)
    }

    pub(super) fn open(
        &mut self,
        seq: u64,
        time: KTime,
        process: ProcessKey,
        open: &FileOpen,
        budget: &mut Budget,
    ) {
        let Some(position) = self.record(process, open, budget) else {
            return;
        };
        let Some(record) = self.records.get_mut(position) else {
            return;
        };
        record.file = FileRef {
            path: String::new(),
            ..open.file.clone()
        };
        let totals = Totals {
            opens: u64::from(!open.inherited),
            creates: u64::from(open.access.create && !open.inherited),
            access: open.access,
            ..Totals::default()
        };
        let episode = add_episode(record, seq, time, totals);
        let slot = UseSlot {
            record: position,
            episode,
            totals,
            provisional: true,
        };
        let key = (process, open.use_id);
        if self.uses.contains_key(&key) || budget.record("file.open") {
            self.uses.insert(key, slot);
        }
        if let Some((seq, usage)) = self.early.remove(&key) {
            self.totals(seq, process, &usage, budget);
        }
    }

    pub(super) fn totals(
        &mut self,
        seq: u64,
        process: ProcessKey,
        usage: &FileUse,
        budget: &mut Budget,
    ) {
        let key = (process, usage.use_id);
        let Some(slot) = self.uses.get_mut(&key) else {
            // Only the last totals count, so each replaces the one before it.
            if self.early.contains_key(&key) || self.early.len() < MAX_EARLY {
                self.early.insert(key, (seq, usage.clone()));
            } else {
                budget.omit("file.use");
            }
            return;
        };
        let Some(record) = self.records.get_mut(slot.record) else {
            return;
        };
        let now = Totals::of(usage);
        let more = now.beyond(&slot.totals);
        let Some(episode) = record.episodes.get_mut(slot.episode) else {
            return;
        };
        if slot.provisional || usage.last.since(episode.last) <= EPISODE_GAP_NS {
            episode.totals.add(&more);
            episode.last = episode.last.max(usage.last);
            if slot.provisional {
                episode.first = episode.first.min(usage.first);
            }
        } else if !more.is_idle() {
            slot.episode = add_episode(record, seq, usage.last, more);
        }
        slot.totals = now;
        slot.provisional = false;
    }

    pub(super) fn delete(
        &mut self,
        seq: u64,
        time: KTime,
        process: ProcessKey,
        delete: &FileDelete,
        budget: &mut Budget,
    ) {
        let key = (process, delete.file.path.clone(), None);
        if let Some(known) = self.name(&key, time) {
            known.directory = delete.directory;
        } else if budget.record("file.delete") {
            let record = NameRecord {
                seq,
                first: time,
                last: time,
                count: 1,
                process,
                file: delete.file.clone(),
                from: None,
                directory: delete.directory,
            };
            self.name_index.insert(key, self.names.len());
            self.names.push(record);
        }
    }

    pub(super) fn rename(
        &mut self,
        seq: u64,
        time: KTime,
        process: ProcessKey,
        rename: &FileRename,
        budget: &mut Budget,
    ) {
        let key = (
            process,
            rename.to.path.clone(),
            Some(rename.from.path.clone()),
        );
        if self.name(&key, time).is_none() && budget.record("file.rename") {
            let record = NameRecord {
                seq,
                first: time,
                last: time,
                count: 1,
                process,
                file: rename.to.clone(),
                from: Some(rename.from.clone()),
                directory: false,
            };
            self.name_index.insert(key, self.names.len());
            self.names.push(record);
        }
    }

    /// The record of the same removal or renaming by the same process, if there is one, counted up.
    fn name(
        &mut self,
        key: &(ProcessKey, String, Option<String>),
        time: KTime,
    ) -> Option<&mut NameRecord> {
        let known = self.names.get_mut(*self.name_index.get(key)?)?;
        known.count = known.count.saturating_add(1);
        known.last = known.last.max(time);
        Some(known)
    }
}

/// Adds an episode, or extends the last one if there are too many or it is the same use going on.
/// Gives its place.
fn add_episode(record: &mut FileRecord, seq: u64, time: KTime, totals: Totals) -> usize {
    let full = record.episodes.len() >= MAX_EPISODES;
    if let Some(last) = record.episodes.last_mut()
        && (full || time.since(last.last) <= EPISODE_GAP_NS)
    {
        last.totals.add(&totals);
        last.last = last.last.max(time);
    } else {
        record.episodes.push(Episode {
            seq,
            first: time,
            last: time,
            totals,
        });
    }
    record.episodes.len().saturating_sub(1)
}
