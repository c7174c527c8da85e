//! Sequences and thresholds that have begun and are not complete.

use std::collections::VecDeque;

use agentsight_model::{Evidence, KTime};

use super::Hit;
use super::recent::RecentMap;
use crate::rule::Program;

/// Pieces of evidence that a threshold shows: the first and the latest ones.
const MAX_EVIDENCE: usize = 8;

/// How far a sequence has come: for each step the latest way to it.
type Ways = Vec<Option<Way>>;

#[derive(Clone, Debug)]
struct Way {
    began: KTime,
    evidence: Vec<Evidence>,
}

#[derive(Debug, Default)]
struct Tally {
    /// The latest events: time and what makes each another one.
    events: VecDeque<(KTime, u64)>,
    evidence: VecDeque<Evidence>,
}

/// Everything that waits for more events, by rule and by what the events have in common.
#[derive(Debug)]
pub(crate) struct Partials {
    ways: RecentMap<(usize, u64), Ways>,
    tallies: RecentMap<(usize, u64), Tally>,
}

impl Partials {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            ways: RecentMap::new(limit),
            // A tally may hold a thousand times.
            tallies: RecentMap::new(limit.div_ceil(4)),
        }
    }

    pub(crate) fn evicted(&self) -> u64 {
        let tallies = self.tallies.evicted();
        self.ways.evicted().saturating_add(tallies)
    }

    /// A step holds. Gives the evidence of all steps if it was the last one.
    pub(crate) fn step(
        &mut self,
        program: &Program,
        hit: &Hit,
        time: KTime,
    ) -> Option<Vec<Evidence>> {
        let key = (hit.rule, hit.key);
        let Some(before) = hit.step.checked_sub(1) else {
            let way = Way {
                began: time,
                evidence: vec![hit.evidence.clone()],
            };
            if self.ways.get(&key).is_none() {
                self.ways.insert(key, vec![None; program.steps.len()]);
            }
            if let Some(first) = self.ways.get_mut(&key).and_then(|ways| ways.first_mut()) {
                *first = Some(way);
            }
            return None;
        };
        let ways = self.ways.get_mut(&key)?;
        let mut way = ways.get(before)?.clone()?;
        if time < way.began || time.since(way.began) > program.within_ns {
            return None;
        }
        way.evidence.push(hit.evidence.clone());
        if hit.step.saturating_add(1) == program.steps.len() {
            self.ways.remove(&key);
            return Some(way.evidence);
        }
        if let Some(slot) = ways.get_mut(hit.step) {
            *slot = Some(way);
        }
        None
    }

    /// Counts an event. Gives evidence if there have been enough.
    pub(crate) fn count(
        &mut self,
        program: &Program,
        hit: &Hit,
        time: KTime,
    ) -> Option<Vec<Evidence>> {
        let threshold = program.threshold?;
        let key = (hit.rule, hit.key);
        if self.tallies.get(&key).is_none() {
            self.tallies.insert(key, Tally::default());
        }
        let tally = self.tallies.get_mut(&key)?;
        let is_old = |at: &KTime| time.since(*at) > program.within_ns;
        while tally.events.front().is_some_and(|(at, _)| is_old(at)) {
            tally.events.pop_front();
        }
        while tally
            .evidence
            .front()
            .is_some_and(|evidence| is_old(&evidence.time))
        {
            tally.evidence.pop_front();
        }
        if threshold.distinct.is_some()
            && let Some(same) = tally
                .events
                .iter_mut()
                .find(|(_, what)| *what == hit.distinct)
        {
            same.0 = time;
            return None;
        }
        tally.events.push_back((time, hit.distinct));
        if tally.evidence.len() >= MAX_EVIDENCE {
            tally.evidence.pop_back();
        }
        tally.evidence.push_back(hit.evidence.clone());
        if tally.events.len() < threshold.count {
            return None;
        }
        let evidence = std::mem::take(&mut tally.evidence);
        self.tallies.remove(&key);
        Some(evidence.into())
    }

    /// Other rules are in force: `same` gives the new number of a rule that has not changed.
    pub(crate) fn renumber(&mut self, same: &dyn Fn(usize) -> Option<usize>) {
        let ways: Vec<_> = self.ways.drain().collect();
        for ((rule, key), way) in ways {
            if let Some(rule) = same(rule) {
                self.ways.insert((rule, key), way);
            }
        }
        let tallies: Vec<_> = self.tallies.drain().collect();
        for ((rule, key), tally) in tallies {
            if let Some(rule) = same(rule) {
                self.tallies.insert((rule, key), tally);
            }
        }
    }
}
