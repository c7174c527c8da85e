//! Labels and how they flow: from process to child, to files and channels that a labelled process writes, and
//! from them to whoever reads.
//!
//! They do not flow into agents: what an agent reads goes to its model, and what it starts later follows from
//! the answer, not from the bytes. Otherwise everything after the first look at a secret would bear its label.

use std::collections::{HashMap, VecDeque};

use agentsight_model::{Channel, ChannelKind, FileRef, ProcessKey};

/// Readers of one channel that get the labels that come later.
const MAX_READERS: usize = 64;

/// A set of labels: bit `n` is the label at index `n` of the rule set's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSet(pub(crate) u64);

impl LabelSet {
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The same labels in another set of names: `bits` gives the new number of each old one.
    pub(crate) fn remapped(self, bits: &[Option<usize>]) -> Self {
        let old = (0_u32..64).zip(bits);
        let kept = old.filter(|(bit, _)| self.0 >> bit & 1 == 1);
        let new = kept.filter_map(|(_, new)| 1_u64.checked_shl(u32::try_from((*new)?).ok()?));
        Self(new.fold(0, |set, bit| set | bit))
    }
}

/// The names of the labels in a set.
pub(crate) fn labels_in(set: LabelSet, names: &[String]) -> impl Iterator<Item = &str> {
    let bits = (0_u32..64).zip(names);
    bits.filter(move |(bit, _)| set.0 >> bit & 1 == 1)
        .map(|(_, name)| name.as_str())
}

/// Something that bytes lie in or pass through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FlowKey {
    /// Device and inode.
    File(u64, u64),
    /// Hash of the path, where the inode is not known.
    Path(u64),
    Channel(ChannelKind, u64),
}

impl FlowKey {
    /// The key of a regular file; nothing flows through devices and the kernel's own file systems.
    pub(crate) fn of_file(file: &FileRef) -> Option<Self> {
        let path = file.path.as_str();
        let special = ["/dev/", "/proc/", "/sys/"];
        if path.is_empty() || special.iter().any(|prefix| path.starts_with(prefix)) {
            return None;
        }
        Some(if file.ino == 0 {
            Self::Path(super::hash_of(path))
        } else {
            Self::File(file.dev, file.ino)
        })
    }

    /// Where what is written to this end arrives.
    pub(crate) fn written_to(channel: &Channel) -> Self {
        match channel.kind {
            ChannelKind::Unix if channel.peer_ino != 0 => {
                Self::Channel(channel.kind, channel.peer_ino)
            }
            kind => Self::Channel(kind, channel.ino),
        }
    }

    /// Where what is read from this end comes from.
    pub(crate) fn read_from(channel: &Channel) -> Self {
        Self::Channel(channel.kind, channel.ino)
    }
}

#[derive(Debug, Default)]
struct Carrier {
    labels: LabelSet,
    /// Of a channel: who reads it.
    readers: Vec<ProcessKey>,
}

/// The labels of files and channels.
#[derive(Debug, Default)]
pub(crate) struct FlowTable {
    carriers: HashMap<FlowKey, Carrier>,
    order: VecDeque<FlowKey>,
    limit: usize,
    pub(crate) evicted: u64,
}

impl FlowTable {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    pub(crate) fn labels(&self, key: FlowKey) -> LabelSet {
        self.carriers
            .get(&key)
            .map_or(LabelSet::default(), |carrier| carrier.labels)
    }

    /// Adds labels; gives the processes that read from there, if that changes anything for them.
    pub(crate) fn add(&mut self, key: FlowKey, labels: LabelSet) -> Vec<ProcessKey> {
        if labels.is_empty() {
            return Vec::new();
        }
        let carrier = self.carrier(key);
        if carrier.labels.contains_all(labels) {
            return Vec::new();
        }
        carrier.labels = carrier.labels.union(labels);
        carrier.readers.clone()
    }

    /// Takes note of a reader of a channel; gives the labels that it gets.
    pub(crate) fn read_by(&mut self, key: FlowKey, reader: ProcessKey) -> LabelSet {
        let carrier = self.carrier(key);
        if carrier.readers.len() < MAX_READERS && !carrier.readers.contains(&reader) {
            carrier.readers.push(reader);
        }
        carrier.labels
    }

    /// Whether some file or channel bears one of these labels.
    pub(crate) fn bears(&self, labels: LabelSet) -> bool {
        let mut carriers = self.carriers.values();
        carriers.any(|carrier| carrier.labels.intersects(labels))
    }

    /// Changes every set of labels, as other rules are in force.
    pub(crate) fn relabel(&mut self, remap: &dyn Fn(LabelSet) -> LabelSet) {
        for carrier in self.carriers.values_mut() {
            carrier.labels = remap(carrier.labels);
        }
    }

    /// A file was made or emptied: what was there before is gone. That a name was removed is no reason to
    /// forget: the inode may have others.
    pub(crate) fn forget(&mut self, key: FlowKey) {
        if let Some(carrier) = self.carriers.get_mut(&key) {
            carrier.labels = LabelSet::default();
        }
    }

    fn carrier(&mut self, key: FlowKey) -> &mut Carrier {
        if !self.carriers.contains_key(&key) {
            if self.order.len() >= self.limit.max(1)
                && let Some(oldest) = self.order.pop_front()
            {
                self.carriers.remove(&oldest);
                self.evicted = self.evicted.saturating_add(1);
            }
            self.order.push_back(key);
        }
        self.carriers.entry(key).or_default()
    }
}
