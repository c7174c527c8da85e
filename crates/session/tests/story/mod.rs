//! Writes the events of a session as a story: who started what, what a model asked for, what happened.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use agentsight_model::document::{Action, SessionDocument, ToolCall};
use agentsight_model::*;
use agentsight_session::SessionGraph;
use serde_json::Value;

pub struct Story {
    pub events: Vec<Event>,
    now: u64,
    pids: u32,
    uses: u64,
    calls: u64,
}

pub const CWD: &str = "/w";

impl Story {
    /// A session with one process: the agent.
    pub fn new() -> (Self, ProcessKey) {
        let mut story = Self {
            events: Vec::new(),
            now: 1_000_000_000,
            pids: 100,
            uses: 0,
            calls: 0,
        };
        story.push(
            ProcessKey::default(),
            EventBody::SessionStart(Box::new(SessionStart {
                id: "01J".into(),
                command: vec!["agent".into()],
                cwd: CWD.into(),
                content: true,
                ..SessionStart::default()
            })),
        );
        let agent = story.key();
        story.exec(
            agent,
            ProcessKey {
                tgid: 1,
                start_ns: 1,
            },
            "/usr/bin/agent",
            &["agent", "-p", "do it"],
        );
        (story, agent)
    }

    pub fn key(&mut self) -> ProcessKey {
        self.pids += 1;
        self.tick(1);
        ProcessKey {
            tgid: self.pids,
            start_ns: self.now,
        }
    }

    /// Lets some milliseconds pass.
    pub fn tick(&mut self, ms: u64) {
        self.now += ms * 1_000_000;
    }

    pub fn time(&self) -> KTime {
        KTime(self.now)
    }

    pub fn push(&mut self, process: ProcessKey, body: EventBody) {
        self.tick(1);
        self.events.push(Event {
            time: KTime(self.now),
            process,
            body,
        });
    }

    pub fn fork(&mut self, parent: ProcessKey) -> ProcessKey {
        let child = self.key();
        self.push(
            parent,
            EventBody::ProcessFork(ProcessFork {
                child,
                comm: "parent".into(),
            }),
        );
        child
    }

    pub fn exec(&mut self, process: ProcessKey, parent: ProcessKey, exe: &str, argv: &[&str]) {
        self.push(
            process,
            EventBody::ProcessExec(Box::new(ProcessExec {
                parent,
                exe: file(exe),
                filename: exe.into(),
                argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
                cwd: CWD.into(),
                ..ProcessExec::default()
            })),
        );
    }

    /// Forks and runs a program.
    pub fn spawn(&mut self, parent: ProcessKey, exe: &str, argv: &[&str]) -> ProcessKey {
        let child = self.fork(parent);
        self.exec(child, parent, exe, argv);
        child
    }

    pub fn exit(&mut self, process: ProcessKey, code: i32) {
        self.push(
            process,
            EventBody::ProcessExit(ProcessExit {
                code: Some(code),
                signal: None,
                resources: ResourceUse::default(),
            }),
        );
    }

    fn open(&mut self, process: ProcessKey, path: &str, access: Access) -> (u64, KTime) {
        self.uses += 1;
        let use_id = self.uses;
        self.push(
            process,
            EventBody::FileOpen(FileOpen {
                use_id,
                file: file(path),
                access,
                inherited: false,
            }),
        );
        (use_id, self.time())
    }

    pub fn reads(&mut self, process: ProcessKey, path: &str) {
        let access = Access {
            read: true,
            ..Access::default()
        };
        let (use_id, first) = self.open(process, path, access);
        self.totals(
            process,
            FileUse {
                reads: 2,
                read_bytes: 10,
                ..usage(use_id, first, access)
            },
        );
    }

    pub fn writes(&mut self, process: ProcessKey, path: &str) {
        let access = Access {
            write: true,
            create: true,
            ..Access::default()
        };
        let (use_id, first) = self.open(process, path, access);
        self.totals(
            process,
            FileUse {
                creates: 1,
                writes: 1,
                written_bytes: 5,
                ..usage(use_id, first, access)
            },
        );
    }

    pub fn totals(&mut self, process: ProcessKey, usage: FileUse) {
        let last = self.time();
        self.push(process, EventBody::FileUse(FileUse { last, ..usage }));
    }

    pub fn deletes(&mut self, process: ProcessKey, path: &str) {
        self.push(
            process,
            EventBody::FileDelete(FileDelete {
                file: file(path),
                directory: false,
            }),
        );
    }

    pub fn renames(&mut self, process: ProcessKey, from: &str, to: &str) {
        self.push(
            process,
            EventBody::FileRename(FileRename {
                from: file(from),
                to: file(to),
            }),
        );
    }

    pub fn connects(&mut self, process: ProcessKey, remote: &str, socket: u64) {
        self.push(
            process,
            EventBody::NetworkConnect(NetworkConnect {
                socket: SocketId(socket),
                protocol: NetworkProtocol::Tcp,
                local: None,
                remote: remote.parse().unwrap(),
            }),
        );
    }

    /// A conversation with a model that takes ten milliseconds.
    pub fn llm(&mut self, process: ProcessKey, request: Vec<Message>, answer: Vec<Part>) -> String {
        let started = KTime(self.now);
        self.tick(10);
        self.llm_from(process, started, request, answer)
    }

    pub fn llm_from(
        &mut self,
        process: ProcessKey,
        started: KTime,
        request: Vec<Message>,
        answer: Vec<Part>,
    ) -> String {
        self.calls += 1;
        let id = format!("llm-{}", self.calls);
        let call = llm_call(&id, process, (started, KTime(self.now)), request, answer);
        self.push(process, EventBody::LlmCall(Box::new(call)));
        id
    }

    pub fn document(&self) -> SessionDocument {
        let mut graph = SessionGraph::default();
        for (seq, event) in self.events.iter().enumerate() {
            graph.apply(seq as u64, event);
        }
        graph.document()
    }
}

pub fn llm_call(
    id: &str,
    process: ProcessKey,
    (started, ended): (KTime, KTime),
    request: Vec<Message>,
    answer: Vec<Part>,
) -> LlmCall {
    LlmCall {
        id: id.into(),
        provider: "anthropic".into(),
        api: "anthropic.messages".into(),
        model: Some("m".into()),
        request_model: None,
        operation: "chat".into(),
        process,
        endpoint: "https://model.example/v1/messages".into(),
        transport: "http/1.1".into(),
        status: Some(200),
        started,
        first_byte: Some(KTime(started.0 + 1_000_000)),
        ended,
        complete: true,
        request: LlmRequest {
            messages: request,
            ..LlmRequest::default()
        },
        response: LlmResponse {
            messages: vec![Message {
                role: "assistant".into(),
                parts: answer,
            }],
            ..LlmResponse::default()
        },
        finish_reasons: vec!["stop".into()],
        usage: Usage::default(),
        error: None,
        parts: Vec::new(),
        content: None,
        texts: Vec::new(),
    }
}

fn usage(use_id: u64, first: KTime, access: Access) -> FileUse {
    FileUse {
        use_id,
        opens: 1,
        creates: 0,
        reads: 0,
        read_bytes: 0,
        writes: 0,
        written_bytes: 0,
        access,
        first,
        last: first,
    }
}

pub fn file(path: &str) -> FileRef {
    FileRef {
        path: path.into(),
        ino: 7,
        dev: 3,
        ..FileRef::default()
    }
}

pub fn user(text: &str) -> Message {
    Message {
        role: "user".into(),
        parts: vec![Part::Text {
            content: text.into(),
        }],
    }
}

pub fn assistant(parts: Vec<Part>) -> Message {
    Message {
        role: "assistant".into(),
        parts,
    }
}

pub fn text(content: &str) -> Part {
    Part::Text {
        content: content.into(),
    }
}

pub fn asks(id: Option<&str>, name: &str, arguments: Value) -> Part {
    Part::ToolCall {
        id: id.map(str::to_owned),
        name: name.into(),
        arguments,
    }
}

pub fn result(id: Option<&str>, name: Option<&str>, response: &str) -> Message {
    Message {
        role: "tool".into(),
        parts: vec![Part::ToolCallResponse {
            id: id.map(str::to_owned),
            name: name.map(str::to_owned),
            response: response.into(),
            is_error: None,
        }],
    }
}

pub fn tool<'a>(document: &'a SessionDocument, id: &str) -> &'a ToolCall {
    document
        .tool_calls
        .iter()
        .find(|tool| tool.id == id)
        .unwrap_or_else(|| panic!("no tool call {id}"))
}

/// The only action of a kind whose file or program ends with `object`.
pub fn action<'a>(document: &'a SessionDocument, kind: &str, object: &str) -> &'a Action {
    let found: Vec<&Action> = document
        .actions
        .iter()
        .filter(|action| action.kind == kind)
        .filter(|action| {
            [
                "file.path",
                "process.executable.path",
                "network.peer.address",
            ]
            .iter()
            .any(|name| {
                action
                    .attributes
                    .get(*name)
                    .and_then(Value::as_str)
                    .is_some_and(|text| text.ends_with(object))
            })
        })
        .collect();
    match found.as_slice() {
        [only] => only,
        _ => panic!("{} actions {kind} {object}", found.len()),
    }
}

/// Tool call and evidence of the exec of each process whose arguments hold `text`, in order.
pub fn causes_of(document: &SessionDocument, text: &str) -> Vec<(Option<String>, Vec<String>)> {
    let holds = |action: &&Action| {
        action.kind == "process.exec"
            && action.attributes["process.command_args"]
                .to_string()
                .contains(text)
    };
    let cause = |action: &Action| {
        (
            action.tool_call.clone(),
            action
                .link
                .clone()
                .map(|link| link.evidence)
                .unwrap_or_default(),
        )
    };
    document.actions.iter().filter(holds).map(cause).collect()
}
