//! How much may be kept, and the count of what was not.

use std::collections::BTreeMap;

use super::GraphLimits;

/// Hands out room for records and text, and counts what found none.
#[derive(Debug)]
pub(crate) struct Budget {
    records_left: u64,
    content_left: u64,
    omitted: BTreeMap<&'static str, u64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(GraphLimits::default())
    }
}

impl Budget {
    pub(crate) fn new(limits: GraphLimits) -> Self {
        Self {
            records_left: limits.records,
            content_left: limits.content_bytes,
            omitted: BTreeMap::new(),
        }
    }

    /// Asks for room for one record; counts it under `kind` if there is none.
    pub(crate) fn record(&mut self, kind: &'static str) -> bool {
        if self.records_left == 0 {
            self.omit(kind);
            return false;
        }
        self.records_left = self.records_left.saturating_sub(1);
        true
    }

    /// Asks for room for `bytes` of text; counts one piece under `kind` if there is not enough.
    pub(crate) fn content(&mut self, kind: &'static str, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if bytes > self.content_left {
            self.omit(kind);
            return false;
        }
        self.content_left = self.content_left.saturating_sub(bytes);
        true
    }

    /// Counts one event of `kind` that is left out.
    pub(crate) fn omit(&mut self, kind: &'static str) {
        let count = self.omitted.entry(kind).or_default();
        *count = count.saturating_add(1);
    }

    /// What was left out so far, by kind.
    pub(crate) fn omitted(&self) -> BTreeMap<String, u64> {
        self.omitted
            .iter()
            .map(|(kind, count)| ((*kind).to_owned(), *count))
            .collect()
    }
}
