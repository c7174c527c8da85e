//! Tables that hold the latest so many entries.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// A map that drops its oldest entry when it is full.
#[derive(Debug)]
pub(crate) struct RecentMap<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
    evicted: u64,
}

impl<K: Eq + Hash + Clone, V> RecentMap<K, V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            map: HashMap::new(),
            order: VecDeque::new(),
            limit: limit.max(1),
            evicted: 0,
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// Puts in a value, in place of the one that is there.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if let Some(known) = self.map.get_mut(&key) {
            *known = value;
            return;
        }
        // Removed keys are still in the order: skip them.
        while self.map.len() >= self.limit || self.order.len() >= self.limit.saturating_mul(2) {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if self.map.remove(&oldest).is_some() {
                self.evicted = self.evicted.saturating_add(1);
            }
        }
        self.order.push_back(key.clone());
        self.map.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.map.remove(key);
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        self.order.clear();
        self.map.drain()
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }
}

/// A set that drops its oldest entry when it is full.
#[derive(Debug)]
pub(crate) struct RecentSet {
    set: HashSet<u64>,
    order: VecDeque<u64>,
    limit: usize,
}

impl RecentSet {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            set: HashSet::new(),
            order: VecDeque::new(),
            limit: limit.max(1),
        }
    }

    /// Whether it was not there before.
    pub(crate) fn insert(&mut self, value: u64) -> bool {
        if !self.set.insert(value) {
            return false;
        }
        if self.order.len() >= self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        self.order.push_back(value);
        true
    }
}
