//! A recorded session: its document, and the facts in its ledger.

use std::path::Path;

use agentsight_ledger::Reader;
use agentsight_model::document::{Action, Call, SessionDocument};
use agentsight_model::{EventClass, Message, Part};
use serde_json::Value;

use super::Site;

/// The only session of a store.
pub(crate) struct Recorded {
    /// What `agentsight show --json` prints.
    pub(crate) json: String,
    pub(crate) document: SessionDocument,
    /// The records of the ledger, decompressed, as they are stored.
    pub(crate) records: Vec<String>,
}

impl Recorded {
    #[track_caller]
    pub(super) fn read(site: &Site) -> Self {
        let shown = site.agentsight(["show", "last", "--json"]).end().ok();
        assert_eq!(shown.stderr, "", "`show` has something to complain of");
        let json = shown.text().to_owned();
        Self {
            document: serde_json::from_str(&json).unwrap(),
            json,
            records: records(&site.session()),
        }
    }

    /// What holds of every session that ended in order.
    #[track_caller]
    pub(super) fn assert_in_order(&self) {
        assert_eq!(self.document.session.status, "ended");
        // How many texts are compared with files is bounded, and that is said; everything else is there.
        let mut omitted = self.document.coverage.omitted.clone();
        omitted.remove("llm.sources");
        assert!(omitted.is_empty(), "{omitted:?}");
        self.assert_conserved();
        let parsed: Value = serde_json::from_str(&self.json).unwrap();
        for action in parsed["actions"].as_array().unwrap() {
            let known = self.document.processes.iter().any(|process| {
                Some(process.key.to_string().as_str()) == action["process"].as_str()
            });
            assert!(known, "an action of a process that is not listed: {action}");
        }
    }

    /// Nothing vanishes uncounted: what was produced is stored or counted as dropped, by class.
    #[track_caller]
    pub(crate) fn assert_conserved(&self) {
        for class in EventClass::ALL {
            let counters = &self.document.coverage.events[&class];
            assert_eq!(
                counters.produced,
                counters.stored + counters.dropped_count(),
                "{class:?}: {counters:?}"
            );
            let in_ledger = self.count_records(match class {
                EventClass::Process => &["process.fork", "process.exec", "process.exit"],
                EventClass::File => &["file.open", "file.delete", "file.rename"],
                EventClass::Network => &["network.connect", "network.accept", "network.listen"],
                EventClass::Tls => &[],
                EventClass::Stdio => &["ipc.pipe"],
                EventClass::Security => &["process.signal", "process.ptrace", "file.pass"],
            });
            assert!(
                in_ledger as u64 <= counters.stored,
                "{class:?}: {in_ledger} in the ledger, {counters:?}"
            );
        }
    }

    /// Asserts that nothing was lost, of any class.
    #[track_caller]
    pub(crate) fn assert_nothing_dropped(&self) {
        for (class, counters) in &self.document.coverage.events {
            assert_eq!(counters.dropped_count(), 0, "{class:?}: {counters:?}");
        }
        assert_eq!(self.document.coverage.tls.missing_bytes, 0);
    }

    /// Records of the ledger of one of these kinds. What findings rest on has kinds, too, further in.
    pub(crate) fn count_records(&self, kinds: &[&str]) -> usize {
        #[derive(serde::Deserialize)]
        struct Tag<'a> {
            #[serde(borrow)]
            kind: std::borrow::Cow<'a, str>,
        }
        self.records
            .iter()
            .filter_map(|record| serde_json::from_str::<Tag<'_>>(record).ok())
            .filter(|tag| kinds.contains(&&*tag.kind))
            .count()
    }

    pub(crate) fn actions<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Action> {
        self.document
            .actions
            .iter()
            .filter(move |action| action.kind == kind)
    }

    pub(crate) fn action(&self, id: &str) -> &Action {
        self.document
            .actions
            .iter()
            .find(|action| action.id == id)
            .unwrap_or_else(|| panic!("no action {id}"))
    }

    /// Actions of this kind on this file.
    pub(crate) fn on_file<'a>(&'a self, kind: &'a str, path: &Path) -> Vec<&'a Action> {
        let path = path.to_str().unwrap();
        self.actions(kind)
            .filter(|action| action.attributes["file.path"] == path)
            .collect()
    }

    /// Program runs with these arguments.
    pub(crate) fn execs(&self, argv: &[&str]) -> Vec<&Action> {
        self.actions("process.exec")
            .filter(|action| {
                action.attributes["process.command_args"] == Value::from(argv.to_vec())
            })
            .collect()
    }

    /// Asserts that none of these texts is anywhere in what was stored or shown.
    #[track_caller]
    pub(crate) fn assert_without(&self, texts: &[&str]) {
        for text in texts {
            assert!(!self.json.contains(text), "{text} is in the document");
            for record in &self.records {
                assert!(!record.contains(text), "{text} is in the ledger: {record}");
            }
        }
    }
}

/// Every record of a ledger, as it is stored.
#[track_caller]
fn records(session: &Path) -> Vec<String> {
    let mut reader = Reader::open(session).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next_raw() {
        let record = record.unwrap();
        records.push(String::from_utf8(record.payload.to_vec()).unwrap());
    }
    records
}

/// All text of a model's answer.
pub(crate) fn texts(call: &Call) -> String {
    parts(&call.response.messages)
        .filter_map(|part| match part {
            Part::Text { content } => Some(content.as_str()),
            _ => None,
        })
        .collect()
}

fn parts(messages: &[Message]) -> impl Iterator<Item = &Part> {
    messages.iter().flat_map(|message| &message.parts)
}
