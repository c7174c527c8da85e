//! Identities and clocks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names one process for the life of the machine's boot.
///
/// A pid alone is reused; the pair of thread-group id (as the initial pid namespace sees it) and the
/// group leader's start time on the boot clock is not. Written as `tgid.start_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Thread-group id in the initial pid namespace.
    pub tgid: u32,
    /// `task_struct.start_boottime` of the group leader, in nanoseconds.
    pub start_ns: u64,
}

/// A string that is not of the form `tgid.start_ns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessKeyError;

impl fmt::Display for ProcessKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a process key has the form `tgid.start_ns`")
    }
}

impl std::error::Error for ProcessKeyError {}

impl fmt::Display for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.tgid, self.start_ns)
    }
}

impl FromStr for ProcessKey {
    type Err = ProcessKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tgid, start_ns) = text.split_once('.').ok_or(ProcessKeyError)?;
        Ok(Self {
            tgid: tgid.parse().map_err(|_| ProcessKeyError)?,
            start_ns: start_ns.parse().map_err(|_| ProcessKeyError)?,
        })
    }
}

impl Serialize for ProcessKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProcessKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A moment on the kernel's boot clock (`CLOCK_BOOTTIME`), in nanoseconds. Orders events exactly.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct KTime(pub u64);

impl KTime {
    /// Nanoseconds from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How boot-clock times of one session map to wall-clock times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallClock {
    /// Nanoseconds to add to a [`KTime`] to get nanoseconds since the Unix epoch.
    pub offset_ns: i64,
}

impl WallClock {
    /// Nanoseconds since the Unix epoch at `time`; saturates instead of overflowing.
    #[must_use]
    pub fn unix_ns(self, time: KTime) -> i64 {
        i64::try_from(time.0)
            .unwrap_or(i64::MAX)
            .saturating_add(self.offset_ns)
    }
}

/// Names one socket for as long as the kernel keeps it; unique together with its first time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SocketId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_key_survives_json() {
        let key = ProcessKey {
            tgid: 42,
            start_ns: 7_000_000_001,
        };
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, "\"42.7000000001\"");
        assert_eq!(serde_json::from_str::<ProcessKey>(&json).unwrap(), key);
    }

    #[test]
    fn malformed_keys_are_refused() {
        for text in [
            "",
            "1",
            ".",
            "1.",
            ".1",
            "a.1",
            "1.b",
            "1.2.3",
            "-1.5",
            "4294967296.1",
        ] {
            assert!(text.parse::<ProcessKey>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn wall_time_saturates() {
        let clock = WallClock {
            offset_ns: i64::MAX,
        };
        assert_eq!(clock.unix_ns(KTime(u64::MAX)), i64::MAX);
    }
}
