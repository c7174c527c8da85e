//! The tables that header fields refer to: the static one, and what was seen of the dynamic one.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use super::Field;

/// What RFC 7541 (section 4.1) counts for an entry beside its name and value.
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// The table's size until the encoder says otherwise (RFC 9113, section 6.5.2).
const DEFAULT_CAPACITY_BYTES: usize = 4096;

/// What is kept of a table, however large the encoder may make it. Entries beyond are unknown.
const KEPT_BYTES: usize = 256 << 10;

/// RFC 7541, appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

static SHARED_STATIC: LazyLock<Vec<(Arc<str>, Arc<str>)>> = LazyLock::new(|| {
    let entries = STATIC.iter();
    entries
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
});

/// The entries that were inserted while the connection was watched, newest first. Whatever came before
/// them is unknown: an index that reaches further back stands for nothing that could be named.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    /// Size of `entries`; those whose name is unknown count with an empty one.
    size_bytes: usize,
    capacity_bytes: usize,
    /// Whether the capacity is known: from the connection's start on, or because the encoder named it.
    capacity_known: bool,
}

#[derive(Debug)]
struct Entry {
    name: Option<Arc<str>>,
    value: Arc<str>,
    size_bytes: usize,
}

impl Table {
    /// The table of a connection that is watched from its start.
    pub(super) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size_bytes: 0,
            capacity_bytes: DEFAULT_CAPACITY_BYTES,
            capacity_known: true,
        }
    }

    /// Forgets everything: insertions may have been missed.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
        self.size_bytes = 0;
        self.capacity_known = false;
    }

    /// Bytes held.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// What an index stands for. Index 0 stands for nothing.
    pub(super) fn get(&self, index: u32) -> Option<Field> {
        let place = usize::try_from(index).ok()?.checked_sub(1)?;
        if let Some((name, value)) = SHARED_STATIC.get(place) {
            return Some(Field {
                name: Some(name.clone()),
                value: Some(value.clone()),
            });
        }
        let entry = self.entries.get(place.saturating_sub(STATIC.len()));
        Some(entry.map_or_else(Field::default, |entry| Field {
            name: entry.name.clone(),
            value: Some(entry.value.clone()),
        }))
    }

    /// Inserts an entry whose name and value have these lengths in bytes. One that is larger than the
    /// table leaves it empty (RFC 7541, section 4.4). Where the capacity is a guess it may be kept by
    /// mistake, but then nothing refers to it: what the encoder inserts next gets the same index.
    pub(super) fn insert(
        &mut self,
        name: Option<Arc<str>>,
        value: Arc<str>,
        (name_bytes, value_bytes): (usize, usize),
    ) {
        let size_bytes = ENTRY_OVERHEAD_BYTES
            .saturating_add(name_bytes)
            .saturating_add(value_bytes);
        self.entries.push_front(Entry {
            name,
            value,
            size_bytes,
        });
        self.size_bytes = self.size_bytes.saturating_add(size_bytes);
        self.evict();
    }

    /// Takes the size that the encoder gives the table.
    pub(super) fn resize(&mut self, capacity_bytes: usize) {
        self.capacity_bytes = capacity_bytes;
        self.capacity_known = true;
        self.evict();
    }

    fn evict(&mut self) {
        // Where the capacity is a guess, entries are kept longer: what the encoder has evicted does no
        // harm, as nothing refers to it.
        let limit = if self.capacity_known {
            self.capacity_bytes.min(KEPT_BYTES)
        } else {
            KEPT_BYTES
        };
        while self.size_bytes > limit {
            let Some(oldest) = self.entries.pop_back() else {
                return;
            };
            self.size_bytes = self.size_bytes.saturating_sub(oldest.size_bytes);
        }
    }
}
