//! Numbers for the kinds of events, so that a block can say what it holds without being decompressed.

use std::fmt;

/// Every kind, at the index that is its number. Append-only: ledgers of any age carry these numbers.
const KINDS: &[&str] = &[
    "other",
    "session.start",
    "session.end",
    "process.fork",
    "process.exec",
    "process.exit",
    "process.seen",
    "file.open",
    "file.use",
    "file.delete",
    "file.rename",
    "network.connect",
    "network.accept",
    "network.listen",
    "network.close",
    "llm.call",
    "http.exchange",
    "stream.end",
    "loss",
    "tls.connection",
    "process.signal",
    "process.ptrace",
    "process.credentials",
    "file.link",
    "file.chmod",
    "file.truncate",
    "file.mmap",
    "file.pass",
    "ipc.pipe",
    "kernel.bpf",
    "kernel.mount",
    "kernel.namespace",
    "kernel.module",
    "kernel.io_uring",
    "network.dns",
    "network.unix",
    "network.socket",
    "llm.message",
    "llm.sources",
    "container",
    "mcp.call",
    "a2a.call",
    "rpc.call",
    "channel.end",
    "finding",
    "policy",
];

/// The number of an event kind. Kinds without a number are [`Kind::OTHER`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u8);

impl Kind {
    /// A kind that this version has no number for.
    pub const OTHER: Self = Self(0);

    /// The number of a serialised tag such as `process.exec`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        KINDS
            .iter()
            .position(|kind| *kind == name)
            .and_then(|index| u8::try_from(index).ok())
            .map_or(Self::OTHER, Self)
    }

    /// The serialised tag; `other` for numbers that this version does not know.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS.get(usize::from(self.0)).copied().unwrap_or("other")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of kinds: bit `n` stands for the kind of number `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KindSet(pub u64);

impl KindSet {
    /// Adds a kind. Numbers beyond the set's width count as [`Kind::OTHER`].
    pub fn insert(&mut self, kind: Kind) {
        self.0 |= Self::bit(kind);
    }

    /// Whether a kind, or one that has no bit of its own, is in the set.
    #[must_use]
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    fn bit(kind: Kind) -> u64 {
        1_u64
            .checked_shl(u32::from(kind.0))
            .unwrap_or(1_u64 << Kind::OTHER.0)
    }
}

impl FromIterator<Kind> for KindSet {
    fn from_iter<T: IntoIterator<Item = Kind>>(kinds: T) -> Self {
        kinds.into_iter().fold(Self::default(), |mut set, kind| {
            set.insert(kind);
            set
        })
    }
}

#[cfg(test)]
mod tests {
    use agentsight_model::Event;

    use super::*;

    /// Kinds that the model knows, from the list that serde prints for an unknown one.
    fn model_kinds() -> Vec<String> {
        let json = r#"{"time":0,"actor":"1.1","kind":"no such kind"}"#;
        let message = serde_json::from_str::<Event>(json).unwrap_err().to_string();
        let (_, list) = message.split_once("expected").unwrap();
        list.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_kind_of_the_model_has_a_number() {
        let kinds = model_kinds();
        assert!(kinds.len() > 10, "the list was not understood: {kinds:?}");
        for kind in kinds {
            assert_ne!(
                Kind::from_name(&kind),
                Kind::OTHER,
                "append this line to KINDS in crates/ledger/src/kind.rs:\n    \"{kind}\","
            );
        }
    }

    #[test]
    fn numbers_fit_the_set_and_names_are_unique() {
        assert!(KINDS.len() <= 64);
        for (number, name) in KINDS.iter().enumerate() {
            assert_eq!(usize::from(Kind::from_name(name).0), number);
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let exec = Kind::from_name("process.exec");
        let set: KindSet = [exec, Kind(200)].into_iter().collect();
        assert!(set.contains(exec));
        assert!(
            set.contains(Kind::OTHER),
            "a number without a bit counts as other"
        );
        assert!(!set.contains(Kind::from_name("loss")));
    }
}
