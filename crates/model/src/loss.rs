//! Loss accounting: nothing vanishes uncounted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Classes of events that are counted apart. The numbers are those of `enum event_class` in `wire.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum EventClass {
    /// Processes: fork, exec, exit.
    Process = 0,
    /// Files.
    File = 1,
    /// Sockets.
    Network = 2,
    /// Plaintext of TLS streams.
    Tls = 3,
    /// What goes over pipes, unix sockets and terminals.
    Stdio = 4,
    /// Acts on other processes, on names and attributes, on the kernel.
    Security = 5,
}

impl EventClass {
    /// Every class, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Process,
        Self::File,
        Self::Network,
        Self::Tls,
        Self::Stdio,
        Self::Security,
    ];

    /// The name used in JSON and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::File => "file",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Stdio => "stdio",
            Self::Security => "security",
        }
    }
}

/// Why something was lost. The numbers are those of `enum drop_reason` in `wire.h`; reasons that arise
/// in user space follow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum DropReason {
    /// The ring buffer had no room.
    RingFull = 0,
    /// A kernel map had no room.
    MapFull = 1,
    /// Memory of the process could not be read.
    ReadFault = 2,
    /// More than the sensor carries.
    TooLong = 3,
    /// One process did the same act more often in a second than is told.
    Flood = 4,
    /// A record did not have the form that its kind asks for.
    Malformed = 64,
    /// The ledger could not be written.
    WriteFailed = 65,
}

impl DropReason {
    /// Reasons that the kernel side counts, in the order of their numbers.
    pub const KERNEL: [Self; 5] = [
        Self::RingFull,
        Self::MapFull,
        Self::ReadFault,
        Self::TooLong,
        Self::Flood,
    ];

    /// The name used in JSON and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::MapFull => "map_full",
            Self::ReadFault => "read_fault",
            Self::TooLong => "too_long",
            Self::Flood => "flood",
            Self::Malformed => "malformed",
            Self::WriteFailed => "write_failed",
        }
    }
}

/// A number of events of one class that were lost for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What was lost.
    pub class: EventClass,
    /// Why.
    pub reason: DropReason,
    /// How many events.
    pub count: u64,
}

/// Totals of one class. Always `produced == stored + dropped.values().sum()`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounters {
    /// Records that the kernel side made or tried to make.
    pub produced: u64,
    /// Records that reached the pipeline's end.
    pub stored: u64,
    /// Records lost, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
}

impl ClassCounters {
    /// Records lost, for whatever reason.
    #[must_use]
    pub fn dropped_count(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Records that are neither stored nor known to be lost. Anything but 0 is a defect.
    #[must_use]
    pub fn unaccounted(&self) -> u64 {
        self.produced
            .saturating_sub(self.stored)
            .saturating_sub(self.dropped_count())
    }
}
