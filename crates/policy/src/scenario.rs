//! Short histories in YAML, and what rules say about them: `tests:` in rule files, and the corpus.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use agentsight_model::{
    Access, Channel, ChannelKind, Event, EventBody, FileAttributes, FileDelete, FileLink, FileMap,
    FileOpen, FilePass, FileRef, FileRename, FileTruncate, HttpExchange, IpcPipe, KTime, KernelAct,
    LlmCall, LlmRequest, LlmResponse, Message, NetworkAccept, NetworkClose, NetworkConnect,
    NetworkDns, NetworkListen, NetworkProtocol, NetworkSocket, NetworkUnix, Part,
    ProcessCredentials, ProcessExec, ProcessExit, ProcessFork, ProcessKey, ProcessSignal,
    ProcessTrace, ResourceUse, SessionStart, SocketId, TlsConnection, ToolDefinition, Usage,
};
use serde_json::Value;

use crate::diagnostic::Diagnostic;
use crate::engine::Engine;
use crate::rule::{CaseFile, EventFile, Rule, RuleSet, duration_ns};

/// Time between two events of a history, unless it says otherwise: one millisecond.
const STEP_NS: u64 = 1_000_000;
/// Times that one event may be repeated.
const MAX_TIMES: u32 = 10_000;
const DEFAULT_CWD: &str = "/home/dev/project";
const DEFAULT_AGENT: &str = "/home/dev/.local/share/claude/versions/2.1.0";

/// What came of one test of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// The rule.
    pub rule: String,
    /// The test.
    pub name: String,
    /// Whether the rule should have fired.
    pub should_fire: bool,
    /// Why it failed, if it did, with its place.
    pub failure: Option<Diagnostic>,
}

/// Runs the tests of every rule, each with all rules of the set in force (labels come from others).
#[must_use]
pub fn run_tests(rules: &Arc<RuleSet>) -> Vec<TestResult> {
    let mut results = Vec::new();
    for rule in rules.rules() {
        for (should_fire, case) in &rule.cases {
            let failure = run_case(rules, rule, *should_fire, case);
            results.push(TestResult {
                rule: rule.id.clone(),
                name: case.name.value.clone(),
                should_fire: *should_fire,
                failure,
            });
        }
    }
    results
}

fn run_case(
    rules: &Arc<RuleSet>,
    rule: &Rule,
    should_fire: bool,
    case: &CaseFile,
) -> Option<Diagnostic> {
    let place = case.name.referenced;
    let failure = |message: String| {
        Some(Diagnostic {
            file: rule.file.clone(),
            line: place.line(),
            column: place.column(),
            message,
            hint: None,
        })
    };
    let events = match events_of(case) {
        Ok(events) => events,
        Err((place, message)) => {
            return Some(Diagnostic {
                file: rule.file.clone(),
                line: place.0,
                column: place.1,
                message,
                hint: None,
            });
        }
    };
    let fired = fired(rules, &events);
    // A rule that only labels fires if some process or file bears the label, which findings do not show.
    let is_fired = if rule.effect == crate::Effect::Label {
        let mut engine = Engine::new(Arc::clone(rules));
        for (seq, event) in (0_u64..).zip(&events) {
            engine.observe(seq, event);
        }
        engine.bears(rule.program.process_labels.union(rule.program.file_labels))
    } else {
        fired.contains(&rule.id)
    };
    match (should_fire, is_fired) {
        (true, false) => failure(format!(
            "rule `{}` does not fire on `{}`{}",
            rule.id,
            case.name.value,
            if fired.is_empty() {
                String::new()
            } else {
                format!("; these do: {}", fired.join(", "))
            }
        )),
        (false, true) => failure(format!("rule `{}` fires on `{}`", rule.id, case.name.value)),
        _ => None,
    }
}

/// The rules that fire on a history.
pub(crate) fn fired(rules: &Arc<RuleSet>, events: &[Event]) -> Vec<String> {
    let mut engine = Engine::new(Arc::clone(rules));
    let mut fired: Vec<String> = Vec::new();
    for (seq, event) in (0_u64..).zip(events) {
        for found in engine.observe(seq, event) {
            if !fired.contains(&found.finding.rule) {
                fired.push(found.finding.rule);
            }
        }
    }
    fired
}

/// A line and a column, and what is wrong there.
type Wrong = ((u64, u64), String);

/// The events of a history.
pub(crate) fn events_of(case: &CaseFile) -> Result<Vec<Event>, Wrong> {
    let mut history = History::new(case);
    for event in &case.events {
        let place = event.referenced;
        let wrong = |message| ((place.line(), place.column()), message);
        let times = event.value.times.unwrap_or(1).min(MAX_TIMES);
        for time in 0..times {
            history.add(&event.value, time).map_err(wrong)?;
        }
    }
    Ok(history.events)
}

/// A history as it grows.
struct History {
    now_ns: u64,
    next_pid: u32,
    next_id: u64,
    by_name: BTreeMap<String, ProcessKey>,
    latest: ProcessKey,
    cwd: String,
    events: Vec<Event>,
}

impl History {
    fn new(case: &CaseFile) -> Self {
        let mut history = Self {
            now_ns: STEP_NS,
            next_pid: 1000,
            next_id: 1,
            by_name: BTreeMap::new(),
            latest: ProcessKey::default(),
            cwd: case.cwd.clone().unwrap_or_else(|| DEFAULT_CWD.to_owned()),
            events: Vec::new(),
        };
        let agent = history.new_key();
        history.by_name.insert("agent".to_owned(), agent);
        history.latest = agent;
        history.push(
            agent,
            EventBody::SessionStart(Box::new(SessionStart {
                cwd: history.cwd.clone(),
                user: "dev".to_owned(),
                uid: 1000,
                ..SessionStart::default()
            })),
        );
        let command = case.agent.as_deref().unwrap_or(DEFAULT_AGENT);
        let argv: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        history.exec(agent, ProcessKey::default(), &argv, &EventFile::default());
        history
    }

    fn new_key(&mut self) -> ProcessKey {
        self.next_pid = self.next_pid.saturating_add(1);
        ProcessKey {
            tgid: self.next_pid,
            start_ns: self.now_ns,
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id = self.next_id.saturating_add(1);
        self.next_id
    }

    fn push(&mut self, process: ProcessKey, body: EventBody) {
        self.now_ns = self.now_ns.saturating_add(STEP_NS);
        self.events.push(Event {
            time: KTime(self.now_ns),
            process,
            body,
        });
    }

    fn add(&mut self, file: &EventFile, time: u32) -> Result<(), String> {
        if let Some(after) = &file.after {
            let ns = duration_ns(after).ok_or_else(|| format!("`{after}` is no time"))?;
            self.now_ns = self.now_ns.saturating_add(ns);
        }
        if let Some(argv) = &file.exec {
            return self.start(file, argv);
        }
        let process = match &file.who {
            None => self.latest,
            Some(name) => self.named(name)?,
        };
        let body = self
            .body(file, time)?
            .ok_or("an event needs an act, such as `exec` or `read`")?;
        self.push(process, body);
        Ok(())
    }

    fn named(&self, name: &str) -> Result<ProcessKey, String> {
        let known = self.by_name.get(name).copied();
        known.ok_or_else(|| format!("no process is called `{name}`"))
    }

    fn start(&mut self, file: &EventFile, argv: &crate::rule::Words) -> Result<(), String> {
        let mut words: Vec<String> = argv.texts().map(str::to_owned).collect();
        if let [line] = words.as_slice() {
            words = line.split_whitespace().map(str::to_owned).collect();
        }
        let parent = self.named(file.parent.as_deref().unwrap_or("agent"))?;
        let known = file.who.as_ref().and_then(|name| self.by_name.get(name));
        let key = match known {
            Some(key) => *key,
            None => {
                let child = self.new_key();
                let fork = ProcessFork {
                    child,
                    comm: String::new(),
                };
                self.push(parent, EventBody::ProcessFork(fork));
                child
            }
        };
        if let Some(name) = &file.who {
            self.by_name.insert(name.clone(), key);
        }
        self.latest = key;
        self.exec(key, parent, &words, file);
        Ok(())
    }

    fn exec(&mut self, key: ProcessKey, parent: ProcessKey, argv: &[String], file: &EventFile) {
        let name = argv.first().map_or("", String::as_str);
        let exe = match &file.exe {
            Some(exe) => exe.clone(),
            None if name.starts_with('/') => name.to_owned(),
            None => format!("/usr/bin/{name}"),
        };
        let exec = ProcessExec {
            parent,
            exe: file_ref(&exe, 0o100_755),
            filename: exe,
            argv: argv.to_vec(),
            cwd: file.cwd.clone().unwrap_or_else(|| self.cwd.clone()),
            uid: file.uid.unwrap_or(1000),
            gid: 1000,
            ..ProcessExec::default()
        };
        self.push(key, EventBody::ProcessExec(Box::new(exec)));
    }

    /// A path: `./x` is below the workspace, and `#` is the number of the repetition.
    fn path(&self, path: &str, time: u32) -> String {
        let path = path.replace('#', &time.to_string());
        match path.strip_prefix("./") {
            Some(rest) => format!("{}/{rest}", self.cwd),
            None => path,
        }
    }

    fn body(&mut self, file: &EventFile, time: u32) -> Result<Option<EventBody>, String> {
        if let Some(body) = self.file_body(file, time) {
            return Ok(Some(body));
        }
        if let Some(body) = self.network_body(file, time)? {
            return Ok(Some(body));
        }
        if let Some(body) = self.model_body(file)? {
            return Ok(Some(body));
        }
        Ok(self.other_body(file))
    }

    fn file_body(&mut self, file: &EventFile, time: u32) -> Option<EventBody> {
        let mode = file.mode.unwrap_or(0o100_644);
        let at = |history: &Self, path: &str| file_ref(&history.path(path, time), mode);
        let opened = [
            (&file.read, access(true, false, false)),
            (&file.write, access(false, true, false)),
            (&file.create, access(false, true, true)),
        ];
        if let Some((path, access)) = opened
            .into_iter()
            .find_map(|(path, access)| Some((path.as_deref()?, access)))
        {
            return Some(EventBody::FileOpen(FileOpen {
                use_id: self.new_id(),
                file: at(self, path),
                access,
                inherited: false,
            }));
        }
        let attributes = [
            (&file.chmod, "chmod"),
            (&file.chown, "chown"),
            (&file.setxattr, "setxattr"),
        ];
        if let Some((path, operation)) = attributes
            .into_iter()
            .find_map(|(path, operation)| Some((path.as_deref()?, operation)))
        {
            return Some(EventBody::FileAttributes(FileAttributes {
                operation: operation.to_owned(),
                file: at(self, path),
                owner: file.owner.map(|uid| (uid, uid)),
                attribute: file.attribute.clone(),
            }));
        }
        let links = [(&file.link, false), (&file.symlink, true)];
        if let Some(((name, target), symbolic)) = links
            .into_iter()
            .find_map(|(pair, symbolic)| Some((pair.as_ref()?, symbolic)))
        {
            return Some(EventBody::FileLink(FileLink {
                file: at(self, name),
                target: self.path(target, time),
                symbolic,
            }));
        }
        if let Some((from, to)) = &file.rename {
            return Some(EventBody::FileRename(FileRename {
                from: at(self, from),
                to: at(self, to),
            }));
        }
        if let Some(path) = &file.delete {
            return Some(EventBody::FileDelete(FileDelete {
                file: at(self, path),
                directory: false,
            }));
        }
        if let Some(path) = &file.truncate {
            return Some(EventBody::FileTruncate(FileTruncate {
                file: at(self, path),
                length: 0,
            }));
        }
        if let Some(path) = &file.mmap {
            return Some(EventBody::FileMap(FileMap {
                file: at(self, path),
                shared: false,
                write: file.writable,
                execute: true,
            }));
        }
        let path = file.pass.as_ref()?;
        Some(EventBody::FilePass(FilePass {
            received: true,
            channel: "scm_rights".to_owned(),
            file: at(self, path),
        }))
    }

    fn network_body(&mut self, file: &EventFile, time: u32) -> Result<Option<EventBody>, String> {
        let socket = SocketId(self.new_id());
        let local = SocketAddr::from(([10, 0, 0, 5], 40_000));
        if let Some(remote) = &file.connect {
            return Ok(Some(EventBody::NetworkConnect(NetworkConnect {
                socket,
                protocol: NetworkProtocol::Tcp,
                local: None,
                remote: address(remote)?,
            })));
        }
        if let Some(local) = &file.listen {
            let local = address(local)?;
            return Ok(Some(EventBody::NetworkListen(NetworkListen {
                socket,
                local,
            })));
        }
        if let Some(remote) = &file.accept {
            return Ok(Some(EventBody::NetworkAccept(NetworkAccept {
                socket,
                local,
                remote: address(remote)?,
            })));
        }
        if let Some(remote) = &file.close {
            return Ok(Some(EventBody::NetworkClose(NetworkClose {
                socket,
                protocol: NetworkProtocol::Tcp,
                local: Some(local),
                remote: Some(address(remote)?),
                sent_bytes: file.sent,
                received_bytes: 0,
            })));
        }
        if let Some(question) = &file.dns {
            return Ok(Some(EventBody::NetworkDns(NetworkDns {
                question: question.replace('#', &time.to_string()),
                record_type: file.record_type.clone().unwrap_or_else(|| "A".to_owned()),
                response: (!file.answer.is_empty()).then(|| "NOERROR".to_owned()),
                addresses: file.answer.clone(),
                server: None,
            })));
        }
        if let Some(name) = &file.tls {
            return Ok(Some(EventBody::TlsConnection(Box::new(TlsConnection {
                socket,
                server_name: Some(name.clone()),
                plaintext: file.plaintext,
                ..TlsConnection::default()
            }))));
        }
        let Some(request) = &file.http else {
            return Ok(None);
        };
        let (method, url) = request
            .split_once(' ')
            .ok_or_else(|| format!("`{request}` is not of the form `GET host/path`"))?;
        let at = url.find('/').unwrap_or(url.len());
        let (host, target) = url.split_at(at);
        Ok(Some(EventBody::HttpExchange(Box::new(HttpExchange {
            method: method.to_owned(),
            host: host.to_owned(),
            target: target.to_owned(),
            status: file.status.or(Some(200)),
            transport: "http/1.1".to_owned(),
            request_bytes: file.request_bytes,
            response_bytes: 0,
            ended: KTime(self.now_ns),
            complete: true,
            grpc: None,
        }))))
    }

    /// A conversation with a model, with at most one tool in it.
    fn model_body(&mut self, file: &EventFile) -> Result<Option<EventBody>, String> {
        let mut call = self.call(file);
        if let Some(result) = &file.result {
            call.request.messages.push(message(
                "tool",
                Part::ToolCallResponse {
                    id: None,
                    name: file.tool.clone(),
                    response: Value::String(result.clone()),
                    is_error: Some(file.error),
                },
            ));
        } else if let Some(name) = &file.tool {
            let arguments = file.arguments.iter();
            let arguments = arguments.map(|(name, value)| (name.clone(), value.as_str().into()));
            call.response.messages.push(message(
                "assistant",
                Part::ToolCall {
                    id: None,
                    name: name.clone(),
                    arguments: Value::Object(arguments.collect()),
                },
            ));
        } else if let Some(name) = &file.definition {
            call.request.tools.push(ToolDefinition {
                name: name.clone(),
                description: file.text.clone(),
                parameters: None,
            });
        } else if file.llm.is_none() {
            return Ok(None);
        }
        Ok(Some(EventBody::LlmCall(Box::new(call))))
    }

    fn call(&mut self, file: &EventFile) -> LlmCall {
        let model = file
            .model
            .clone()
            .unwrap_or_else(|| "claude-sonnet-4-5".to_owned());
        let host = file.llm.as_deref().unwrap_or("api.anthropic.com");
        LlmCall {
            id: format!("llm-{}", self.new_id()),
            provider: "anthropic".to_owned(),
            api: "anthropic.messages".to_owned(),
            model: Some(model),
            request_model: None,
            operation: "chat".to_owned(),
            process: ProcessKey::default(),
            endpoint: format!("https://{host}/v1/messages"),
            transport: "h2".to_owned(),
            status: Some(200),
            started: KTime(self.now_ns),
            first_byte: None,
            ended: KTime(self.now_ns),
            complete: true,
            request: LlmRequest::default(),
            response: LlmResponse::default(),
            finish_reasons: Vec::new(),
            usage: Usage {
                input_tokens: Some(file.tokens),
                output_tokens: Some(file.tokens),
                ..Usage::default()
            },
            error: None,
            parts: Vec::new(),
            content: None,
            texts: Vec::new(),
        }
    }

    fn other_body(&mut self, file: &EventFile) -> Option<EventBody> {
        let named = |name: &Option<String>| {
            let known = name.as_ref().and_then(|name| self.by_name.get(name));
            known.copied().unwrap_or(ProcessKey {
                tgid: 1,
                start_ns: 1,
            })
        };
        if let Some(signal) = file.signal {
            return Some(EventBody::ProcessSignal(ProcessSignal {
                target: named(&file.target),
                target_comm: file.target.clone().unwrap_or_default(),
                signal,
            }));
        }
        if let Some(operation) = &file.ptrace {
            return Some(EventBody::ProcessTrace(ProcessTrace {
                operation: operation.clone(),
                target: named(&file.target),
                ..ProcessTrace::default()
            }));
        }
        if let Some(operation) = &file.credentials {
            return Some(EventBody::ProcessCredentials(ProcessCredentials {
                operation: operation.clone(),
                uid: file.uid.unwrap_or(file.euid),
                euid: file.euid,
                ..ProcessCredentials::default()
            }));
        }
        if let Some(code) = file.exit {
            return Some(EventBody::ProcessExit(ProcessExit {
                code: Some(code),
                signal: None,
                resources: ResourceUse::default(),
            }));
        }
        if let Some(path) = &file.unix {
            return Some(EventBody::NetworkUnix(NetworkUnix {
                path: path.clone(),
                ..NetworkUnix::default()
            }));
        }
        if let Some(family) = &file.socket {
            return Some(EventBody::NetworkSocket(NetworkSocket {
                family: family.clone(),
                ..NetworkSocket::default()
            }));
        }
        for (ino, access) in [
            (file.pipe_write, access(false, true, false)),
            (file.pipe_read, access(true, false, false)),
        ] {
            if let Some(ino) = ino {
                return Some(EventBody::IpcPipe(IpcPipe {
                    use_id: self.new_id(),
                    channel: Channel {
                        kind: ChannelKind::Pipe,
                        ino,
                        peer_ino: 0,
                    },
                    path: String::new(),
                    access,
                }));
            }
        }
        self.kernel_body(file)
    }

    fn kernel_body(&self, file: &EventFile) -> Option<EventBody> {
        type Make = fn(KernelAct) -> EventBody;
        let acts: [(&Option<String>, Make); 5] = [
            (&file.bpf, EventBody::KernelBpf),
            (&file.mount, EventBody::KernelMount),
            (&file.namespace, EventBody::KernelNamespace),
            (&file.module, EventBody::KernelModule),
            (&file.io_uring, EventBody::KernelIoUring),
        ];
        let mut acts = acts.into_iter();
        let (operation, make) = acts.find_map(|(name, make)| Some((name.as_ref()?, make)))?;
        Some(make(KernelAct {
            operation: operation.clone(),
            arguments: file.argument.into_iter().collect(),
            file: file
                .file
                .as_ref()
                .map(|path| file_ref(&self.path(path, 0), 0)),
            name: file.name.clone(),
            ..KernelAct::default()
        }))
    }
}

fn access(read: bool, write: bool, create: bool) -> Access {
    Access {
        read,
        write,
        create,
        truncate: false,
    }
}

fn message(role: &str, part: Part) -> Message {
    Message {
        role: role.to_owned(),
        parts: vec![part],
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 443)))
        .map_err(|_| format!("`{text}` is no address such as `192.0.2.1:443`"))
}

/// A file whose inode depends on nothing but its path.
fn file_ref(path: &str, mode: u32) -> FileRef {
    FileRef {
        path: path.to_owned(),
        path_cut: false,
        dev: 1 << 20,
        ino: crate::engine::hash_of(path) | 1,
        mode,
    }
}
