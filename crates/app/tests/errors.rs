//! What users are told when something goes wrong, word for word, with the exit code. Needs no root: what
//! only root gets to see is in `e2e`, and how errors of the kernel side are told is a unit test of
//! `failure`.
//!
//! `INSTA_UPDATE=always cargo test -p agentsight --test errors` writes the snapshots anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agentsight_ledger::{Options, Writer};
use agentsight_model::{Event, EventBody, KTime, ProcessKey, SessionEnd, SessionStart};
use agentsight_store::{Mode, Store};
use agentsight_testkit::EventBuilder;
use tempfile::TempDir;

/// Calls with what they print, one after the other.
struct Transcript {
    folder: TempDir,
    text: String,
}

impl Transcript {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            text: String::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Calls `agentsight` in the folder; `STORE` in an argument stands for the folder's path.
    fn call(&mut self, arguments: &[&str]) -> &mut Self {
        let folder = self.folder.path().to_str().unwrap().to_owned();
        let given = arguments.iter().map(|word| word.replace("STORE", &folder));
        let output = Command::new(env!("CARGO_BIN_EXE_agentsight"))
            .args(given)
            .current_dir(&folder)
            .env("AGENTSIGHT_STORE", self.path("store"))
            .env_remove("COLUMNS")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let shown = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let text = text.replace(&folder, "STORE");
            without(&without(&text, "at byte "), "chain ")
        };
        let text = &mut self.text;
        writeln!(text, "$ agentsight {}", arguments.join(" ")).unwrap();
        text.push_str(&shown(&output.stdout));
        text.push_str(&shown(&output.stderr));
        writeln!(text, "[exit code {}]\n", output.status.code().unwrap()).unwrap();
        self
    }

    /// Records a session of a few processes, without watching any.
    fn record(&mut self, id: &str, has_ended: bool) -> PathBuf {
        let store = Store::open(&self.path("store"), Mode::Write).unwrap();
        let folder = store.session_dir(id).unwrap();
        let mut writer = Writer::create(&folder, id, Options::default()).unwrap();
        for event in events(id, has_ended) {
            writer.append(&event).unwrap();
            // A block each, so that damage hits one of them.
            writer.flush().unwrap();
        }
        if has_ended {
            writer.close().unwrap();
        }
        folder
    }
}

/// The text with `?` for each word behind `mark`: places and hashes change with whatever the events say.
fn without(text: &str, mark: &str) -> String {
    let mut pieces = text.split(mark);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric());
        out = out + mark + "?" + &piece[end.unwrap_or(piece.len())..];
    }
    out
}

/// Where a block begins in the segment.
fn block_offset(session: &Path, number: usize) -> usize {
    let block = agentsight_ledger::blocks(session).unwrap().nth(number);
    usize::try_from(block.unwrap().unwrap().position.offset).unwrap()
}

fn events(id: &str, has_ended: bool) -> Vec<Event> {
    let root = ProcessKey {
        tgid: 10,
        start_ns: 1,
    };
    let start = SessionStart {
        id: id.to_owned(),
        command: vec!["agent".to_owned()],
        ..SessionStart::default()
    };
    let mut builder = EventBuilder::new();
    builder
        .exec(10, &["agent"])
        .fork(10, 11)
        .exec(11, &["ls"])
        .exit(11, 0)
        .exit(10, 0);
    let mut events = vec![Event {
        time: KTime(0),
        process: root,
        body: EventBody::SessionStart(Box::new(start)),
    }];
    events.extend(builder.build());
    if has_ended {
        events.push(end(root));
    }
    events
}

fn end(root: ProcessKey) -> Event {
    Event {
        time: KTime(10_000_000),
        process: root,
        body: EventBody::SessionEnd(SessionEnd {
            exit_code: Some(0),
            signal: None,
            counters: BTreeMap::new(),
        }),
    }
}

fn segment(session: &Path) -> PathBuf {
    let mut paths = fs::read_dir(session)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .find(|path| path.extension().is_some_and(|suffix| suffix == "seg"))
        .unwrap()
}

/// Reads a session and prints nothing of it but what is wrong with it.
const NOTHING: &[&str] = &["events", "--kind", "network.listen"];

const FIRST: &str = "01AAAAAAAAAAAAAAAAAAAAAAAA";
const SECOND: &str = "01AABBBBBBBBBBBBBBBBBBBBBB";

#[test]
fn usage() {
    let mut transcript = Transcript::new();
    for arguments in [
        &["nonsense"][..],
        &["--nonsense"],
        &["run"],
        &["run", "--"],
        &["run", "--json"],
        &["run", "--nonsense", "--", "true"],
        &["attach"],
        &["attach", "--pid"],
        &["attach", "--pid", "one"],
        &["attach", "--pid", "-1"],
        &["show", "one", "two"],
        &["events", "--kind"],
        &["tls", "inspect"],
    ] {
        transcript.call(arguments);
    }
    insta::assert_snapshot!(transcript.text);
}

#[test]
fn no_store() {
    let mut transcript = Transcript::new();
    fs::write(transcript.path("file"), "x").unwrap();
    fs::create_dir(transcript.path("empty")).unwrap();
    symlink(transcript.path("empty"), transcript.path("link")).unwrap();
    for store in ["nowhere", "file", "empty", "link"] {
        let store = format!("STORE/{store}");
        for command in ["sessions", "show", "events"] {
            transcript.call(&[command, "--store", &store]);
        }
        transcript.call(&["verify", &store]);
    }
    insta::assert_snapshot!(transcript.text);
}

#[test]
fn no_session() {
    let mut transcript = Transcript::new();
    Store::open(&transcript.path("store"), Mode::Write).unwrap();
    for arguments in [
        &["sessions"][..],
        &["sessions", "--json"],
        &["show"],
        &["events"],
        &["verify"],
    ] {
        transcript.call(arguments);
    }
    transcript.record(FIRST, true);
    transcript.record(SECOND, true);
    for session in ["01AA", "01XX", "../x", "", "01aab"] {
        transcript.call(&["events", session, "--kind", "network.listen"]);
    }
    insta::assert_snapshot!(transcript.text);
}

#[test]
fn damaged_ledgers() {
    let mut transcript = Transcript::new();
    let session = transcript.record(FIRST, true);
    let segment = segment(&session);
    let head = session.join("HEAD");
    let fourth = block_offset(&session, 3);
    let (whole, whole_head) = (fs::read(&segment).unwrap(), fs::read(&head).unwrap());
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let say = |what: &str, bytes: &[u8], transcript: &mut Transcript| {
        fs::write(&segment, bytes).unwrap();
        transcript.text.push_str(&format!("== {what}\n"));
        transcript.call(&["verify"]).call(NOTHING);
    };
    say("as it was", &whole, &mut transcript);
    say("the header changed", &changed(20), &mut transcript);
    say("a block changed", &changed(fourth + 200), &mut transcript);
    say(
        "the last byte cut",
        &whole[..whole.len() - 1],
        &mut transcript,
    );
    say(
        "cut within a block",
        &whole[..fourth + 200],
        &mut transcript,
    );
    say("emptied", &[], &mut transcript);
    say(
        "something added",
        &[&whole[..], b"more"].concat(),
        &mut transcript,
    );
    fs::write(&head, &whole_head[..100]).unwrap();
    say("HEAD cut", &whole, &mut transcript);
    fs::remove_file(&head).unwrap();
    say("HEAD removed", &whole, &mut transcript);
    fs::write(&head, &whole_head).unwrap();
    fs::remove_file(&segment).unwrap();
    transcript.text.push_str("== the segment removed\n");
    transcript.call(&["verify"]).call(NOTHING);
    symlink("/etc/passwd", &segment).unwrap();
    transcript
        .text
        .push_str("== a link in place of the segment\n");
    transcript.call(&["verify"]).call(NOTHING);
    fs::remove_file(&segment).unwrap();
    fs::create_dir(&segment).unwrap();
    transcript
        .text
        .push_str("== a folder in place of the segment\n");
    transcript.call(&["verify"]).call(NOTHING);
    insta::assert_snapshot!(transcript.text);
}

#[test]
fn interrupted_sessions() {
    let mut transcript = Transcript::new();
    transcript.record(FIRST, false);
    transcript.call(&["verify"]).call(NOTHING);
    insta::assert_snapshot!(transcript.text);
}

#[test]
fn damaged_indexes() {
    let mut transcript = Transcript::new();
    transcript.record(FIRST, true);
    let index = transcript.path("store/index.sqlite");
    for (what, content) in [("no database", "nonsense"), ("nothing", "")] {
        let _ = fs::remove_file(transcript.path("store/index.sqlite-wal"));
        let _ = fs::remove_file(transcript.path("store/index.sqlite-shm"));
        fs::write(&index, content).unwrap();
        transcript
            .text
            .push_str(&format!("== {what} in place of the index\n"));
        transcript
            .call(NOTHING)
            .call(&["sessions"])
            .call(&["sessions"]);
    }
    fs::remove_file(&index).unwrap();
    symlink("/etc/passwd", &index).unwrap();
    transcript
        .text
        .push_str("== a link in place of the index\n");
    transcript.call(&["sessions"]).call(NOTHING);
    insta::assert_snapshot!(transcript.text);
}

#[test]
fn files_without_tls_code() {
    let mut transcript = Transcript::new();
    fs::write(transcript.path("text"), "no program\n").unwrap();
    fs::write(transcript.path("cut"), b"\x7fELF\x02\x01\x01").unwrap();
    fs::create_dir(transcript.path("folder")).unwrap();
    for file in ["nowhere", "text", "cut", "folder"] {
        transcript.call(&["tls", "inspect", &format!("STORE/{file}")]);
    }
    insta::assert_snapshot!(transcript.text);
}

#[test]
fn settings() {
    let mut calls = Transcript::new();
    for (name, text) in [
        (
            "negative.yaml",
            "prices:\n  - model: m\n    input: -1\n    output: 2\n",
        ),
        (
            "unknown.yaml",
            "prices:\n  - model: m\n    inputs: 1\n    output: 2\n",
        ),
        ("group.yaml", "patterns:\n  - kind: a\n    pattern: '('\n"),
        ("empty.yaml", "patterns:\n  - kind: a\n    pattern: 'x*'\n"),
    ] {
        fs::write(calls.path(name), text).unwrap();
    }
    for arguments in [
        &["run", "--prices", "STORE/negative.yaml", "true"][..],
        &["run", "--prices", "STORE/unknown.yaml", "true"],
        &["run", "--prices", "STORE/none.yaml", "true"],
        &["run", "--redact", "STORE/group.yaml", "true"],
        &["run", "--redact", "STORE/empty.yaml", "true"],
    ] {
        calls.call(arguments);
    }
    insta::assert_snapshot!("settings", calls.text);
}
