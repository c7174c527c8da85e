//! Stores with sessions in them.

#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(unreachable_pub, reason = "a module that several test files include")]
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use agentsight_ledger::{Head, Options, Reader, Writer, blocks, read_head};
use agentsight_model::document::{
    Action, AgentName, Call, Finding, Link, Process, Session, SessionDocument, ToolCall,
};
use agentsight_model::{
    DropReason, Event, EventBody, EventClass, KTime, Loss, Message, Part, ProcessKey, SessionStart,
    Usage, WallClock,
};
use agentsight_store::{Mode, Store};
use serde_json::json;
use tempfile::TempDir;

pub const FIRST: &str = "01JCZ8AAAA";
pub const SECOND: &str = "01JCZ9BBBB";

pub struct Place {
    _temp: TempDir,
    pub dir: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("store");
        Self { _temp: temp, dir }
    }

    /// A store with two sessions that were recorded and indexed.
    pub fn with_two_sessions() -> Self {
        let place = Self::new();
        let mut store = place.open();
        for id in [FIRST, SECOND] {
            place.record(&store, id, 100).close().unwrap();
            index(&mut store, id);
        }
        place
    }

    pub fn open(&self) -> Store {
        Store::open(&self.dir, Mode::Write).unwrap()
    }

    pub fn read(&self) -> Store {
        Store::open(&self.dir, Mode::Read).unwrap()
    }

    pub fn index_path(&self) -> PathBuf {
        self.dir.join("index.sqlite")
    }

    /// Names in the store's directory.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn record(&self, store: &Store, id: &str, records: u64) -> Writer {
        let options = Options {
            block_bytes: 1000,
            segment_bytes: 4000,
            ..Options::default()
        };
        let mut writer = Writer::create(&store.session_dir(id).unwrap(), id, options).unwrap();
        for number in 0..records {
            writer.append(&event(id, number)).unwrap();
        }
        writer
    }

    /// A connection of its own, to see what is in the index.
    pub fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.index_path()).unwrap()
    }

    pub fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.sql().query_row(&sql, [], |row| row.get(0)).unwrap()
    }
}

pub fn event(id: &str, number: u64) -> Event {
    let time = KTime(1_000_000_000 * number);
    if number > 0 {
        return Loss::new(EventClass::File, DropReason::RingFull, number).into_event(time);
    }
    Event {
        time,
        process: ProcessKey::default(),
        body: EventBody::SessionStart(Box::new(SessionStart {
            id: id.into(),
            command: vec!["agent".into(), "--fix".into()],
            cwd: "/home/dev/project".into(),
            user: "dev".into(),
            clock: WallClock {
                offset_ns: 1_763_000_000_000_000_000,
            },
            ..SessionStart::default()
        })),
    }
}

pub fn index(store: &mut Store, id: &str) -> Head {
    let dir = store.session_dir(id).unwrap();
    let head = read_head(&dir).unwrap();
    let blocks: Vec<_> = blocks(&dir).unwrap().map(Result::unwrap).collect();
    store
        .index_session(&document(id), &blocks, Some(&head))
        .unwrap();
    head
}

/// What a session crate would make of a ledger.
pub fn document_of(dir: &Path) -> Result<SessionDocument, Infallible> {
    let reader = Reader::open(dir).unwrap();
    Ok(document(reader.session_id().unwrap()))
}

pub fn key(tgid: u32) -> ProcessKey {
    ProcessKey {
        tgid,
        start_ns: 7_000,
    }
}

pub fn process(tgid: u32, parent: Option<u32>) -> Process {
    Process {
        key: key(tgid),
        pid: tgid,
        parent_key: parent.map(key),
        exe: format!("/usr/bin/p{tgid}"),
        argv: vec![format!("p{tgid}")],
        ..Process::default()
    }
}

fn message(role: &str, content: &str) -> Message {
    Message {
        role: role.into(),
        parts: vec![Part::Text {
            content: content.into(),
        }],
    }
}

fn call(id: &str, tokens: u64) -> Call {
    let mut call = Call {
        id: id.into(),
        provider: "anthropic".into(),
        model: Some("model-a".into()),
        usage: Usage {
            input_tokens: Some(tokens),
            output_tokens: Some(tokens / 10),
            ..Usage::default()
        },
        cost_usd: Some(0.25),
        complete: true,
        ..Call::default()
    };
    call.request.messages = vec![message("user", "Fix the build.\nPlease.")];
    call.response.messages = vec![message("assistant", "Done.")];
    call
}

fn action(id: &str, kind: &str, tool_call: Option<&str>) -> Action {
    Action {
        id: id.into(),
        kind: kind.into(),
        tool_call: tool_call.map(str::to_owned),
        intent: "stated".into(),
        link: tool_call.map(|_| Link {
            confidence: 0.9,
            evidence: vec!["argv-exact".into(), "lineage".into()],
        }),
        ..Action::default()
    }
}

pub fn document(id: &str) -> SessionDocument {
    SessionDocument {
        session: Session {
            id: id.into(),
            agent: AgentName {
                name: "test-agent".into(),
                version: Some("1.2".into()),
            },
            command: vec!["agent".into(), "--fix".into()],
            user: "dev".into(),
            started_at: "2025-11-13T02:13:20.000Z".into(),
            ended_at: Some("2025-11-13T02:15:00.000Z".into()),
            exit_code: Some(3),
            status: "ended".into(),
            ..Session::default()
        },
        processes: vec![process(1, None), process(2, Some(1)), process(3, Some(2))],
        llm_calls: vec![call("llm-1", 1000), call("llm-2", 500)],
        tool_calls: vec![ToolCall {
            id: "tool-1".into(),
            name: "shell".into(),
            kind: "shell".into(),
            arguments: json!({"command": "make"}),
            status: "error".into(),
            llm_call: "llm-1".into(),
            ..ToolCall::default()
        }],
        actions: vec![
            action("a1", "process.exec", Some("tool-1")),
            action("a2", "file.write", Some("tool-1")),
            action("a3", "file.open", None),
        ],
        findings: vec![Finding {
            id: "f1".into(),
            rule: "secret-read".into(),
            severity: "high".into(),
            ..Finding::default()
        }],
        ..SessionDocument::default()
    }
}
