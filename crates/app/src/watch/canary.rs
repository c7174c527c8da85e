//! The canary: a harmless call of our own that must come back as a record.
//!
//! Programs may be detached, rings may be stuck, tracing may be turned off: whatever the reason, a monitor that
//! sees nothing must not look like a machine on which nothing happens.

use std::time::{Duration, Instant};

use agentsight_model::{EventBody, Evidence, Finding, KTime, ProcessKey, Severity};

/// How often it sings.
const EVERY: Duration = Duration::from_secs(5);
/// How long a record may take. Rounds take 10 ms; a machine under full load takes its time.
const PATIENCE: Duration = Duration::from_secs(3);

/// Says whether the sensor still sees.
#[derive(Debug)]
pub(crate) struct Canary {
    number: u32,
    sang: Instant,
    /// The number that was heard last.
    heard: u32,
    is_silent: bool,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is not heard any more.
    FellSilent,
    /// It is heard again.
    Returned,
}

impl Canary {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            number: 0,
            // The first one at once: a sensor that never saw anything is worst.
            sang: now.checked_sub(EVERY).unwrap_or(now),
            heard: 0,
            is_silent: false,
        }
    }

    /// Whether it is time to sing, and with which number.
    pub(crate) fn song(&mut self, now: Instant) -> Option<u32> {
        if now.duration_since(self.sang) < EVERY {
            return None;
        }
        self.sang = now;
        self.number = self.number.wrapping_add(1);
        Some(self.number)
    }

    /// A record of it came.
    pub(crate) fn heard(&mut self, number: u64) {
        if number == u64::from(self.number) {
            self.heard = self.number;
        }
    }

    /// What is to be told, once each time.
    pub(crate) fn check(&mut self, now: Instant) -> Option<Change> {
        let is_missing = self.heard != self.number;
        if is_missing && !self.is_silent && now.duration_since(self.sang) >= PATIENCE {
            self.is_silent = true;
            return Some(Change::FellSilent);
        }
        if !is_missing && self.is_silent {
            self.is_silent = false;
            return Some(Change::Returned);
        }
        None
    }
}

/// The finding that tells of it.
pub(crate) fn finding(change: Change, time: KTime, number: u64) -> EventBody {
    let (rule, severity, title) = match change {
        Change::FellSilent => (
            "sensor-silent",
            Severity::Critical,
            "the sensor does not see our own system calls any more: the record has a gap from here on",
        ),
        Change::Returned => (
            "sensor-returned",
            Severity::Info,
            "the sensor sees our own system calls again: the gap in the record ends here",
        ),
    };
    EventBody::Finding(Box::new(Finding {
        id: format!("{rule}-{number}"),
        rule: rule.to_owned(),
        severity,
        title: title.to_owned(),
        taxonomy: vec!["attack-18:T1562.001".to_owned()],
        evidence: vec![Evidence {
            time,
            process: ProcessKey::default(),
            kind: "sensor.canary".to_owned(),
            summary: format!("canary {number}"),
            ..Evidence::default()
        }],
        verdict: "alert".to_owned(),
        ..Finding::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_told_once_and_so_is_its_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut canary = Canary::new(start);
        assert_eq!(canary.song(start), Some(1));
        assert_eq!(canary.song(at(1)), None);
        assert_eq!(canary.check(at(1)), None, "it may be on its way");
        canary.heard(1);
        assert_eq!(canary.check(at(4)), None);

        assert_eq!(canary.song(at(5)), Some(2));
        canary.heard(1); // an old one says nothing
        assert_eq!(canary.check(at(8)), Some(Change::FellSilent));
        assert_eq!(canary.check(at(9)), None);
        assert_eq!(canary.song(at(10)), Some(3));
        assert_eq!(canary.check(at(10)), None);
        canary.heard(3);
        assert_eq!(canary.check(at(11)), Some(Change::Returned));
        assert_eq!(canary.check(at(12)), None);
    }
}
