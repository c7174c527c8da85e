//! The report as a person sees it, on a document made by hand.

use agentsight_model::document::*;
use agentsight_model::{
    ClassCounters, DropReason, EventClass, LlmError, Message, Part, PartInfo, ProcessKey,
    RpcStatus, Usage,
};
use serde_json::{Map, Value, json};

use super::text::columns;
use super::{ReportOptions, render};

fn key(tgid: u32) -> ProcessKey {
    ProcessKey {
        tgid,
        start_ns: u64::from(tgid),
    }
}

fn time(ms: u64) -> String {
    format!("2026-01-02T03:04:{:02}.{:03}000000Z", ms / 1000, ms % 1000)
}

fn process(tgid: u32, parent: u32, argv: &[&str], (start, end): (u64, u64), code: i32) -> Process {
    Process {
        key: key(tgid),
        pid: tgid,
        parent_key: Some(key(parent)),
        exe: format!("/usr/bin/{}", argv[0]),
        argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
        started_at: time(start),
        ended_at: Some(time(end)),
        exit_code: Some(code),
        ..Process::default()
    }
}

struct Actions(Vec<Action>);

impl Actions {
    fn add(
        &mut self,
        process: u32,
        kind: &str,
        tool: Option<&str>,
        intent: &str,
        attributes: Value,
    ) {
        let Value::Object(attributes) = attributes else {
            panic!("attributes are an object");
        };
        self.0.push(Action {
            id: format!("a{}", self.0.len()),
            kind: kind.into(),
            time: time(0),
            process: key(process),
            attributes,
            tool_call: tool.map(str::to_owned),
            intent: intent.into(),
            link: tool.map(|_| Link {
                confidence: 1.0,
                evidence: vec!["argv-contains".into()],
            }),
            verdict: None,
        });
    }

    fn exec(&mut self, process: u32, tool: Option<&str>, intent: &str, argv: &[&str]) {
        self.add(
            process,
            "process.exec",
            tool,
            intent,
            json!({"process.command_args": argv}),
        );
        if process != 11
            && let Some(action) = self.0.last_mut()
            && let Some(link) = &mut action.link
        {
            link.evidence = vec!["lineage".into()];
        }
    }

    fn file(
        &mut self,
        process: u32,
        kind: &str,
        tool: Option<&str>,
        intent: &str,
        path: &str,
        bytes: u64,
    ) {
        let attributes =
            json!({"file.path": path, "agentsight.bytes": bytes, "agentsight.count": 1});
        self.add(process, kind, tool, intent, attributes);
    }
}

fn said(role: &str, text: &str) -> Message {
    Message {
        role: role.into(),
        parts: vec![Part::Text {
            content: text.into(),
        }],
    }
}

fn call(id: &str, prompt: &str, answer: &str, (input, cached, output): (u64, u64, u64)) -> Call {
    Call {
        id: id.into(),
        model: Some("claude-sonnet-4-5".into()),
        process: key(10),
        endpoint: "https://api.anthropic.com/v1/messages".into(),
        duration_ms: 812.0,
        complete: true,
        request: CallRequest {
            messages: vec![said("user", prompt)],
            ..CallRequest::default()
        },
        response: CallResponse {
            messages: vec![said("assistant", answer)],
            ..CallResponse::default()
        },
        cost_usd: Some(0.0041),
        usage: Usage {
            input_tokens: Some(input),
            cache_read_input_tokens: Some(cached),
            output_tokens: Some(output),
            ..Usage::default()
        },
        ..Call::default()
    }
}

fn tool(id: &str, call: &str, name: &str, arguments: Value, status: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        name: name.into(),
        arguments,
        llm_call: call.into(),
        requested_at: time(1000),
        finished_at: (status != "pending").then(|| time(1212)),
        status: status.into(),
        ..ToolCall::default()
    }
}

fn actions() -> Vec<Action> {
    let mut actions = Actions(Vec::new());
    let build = Some("t1");
    let wrapped = "source /h/snapshot.sh && eval './build.sh' < /dev/null && pwd -P >| /tmp/cwd";
    actions.exec(10, None, "none", &["claude", "-p", "Run it"]);
    actions.exec(18, None, "none", &["git", "status"]);
    actions.exec(19, None, "none", &["git", "log"]);
    actions.exec(11, build, "stated", &["/bin/bash", "-c", wrapped]);
    actions.exec(12, build, "stated", &["/bin/bash", "./build.sh"]);
    actions.exec(15, build, "implied", &["readlink", "-f", "."]);
    actions.exec(13, build, "unstated", &["rm", "-f", "old-report.txt"]);
    actions.exec(14, build, "unstated", &["cat", "/home/u/.ssh/id_ed25519"]);
    for number in 0..43 {
        let path = format!("/usr/lib/x86_64-linux-gnu/lib{number}.so");
        actions.file(12, "file.read", build, "implied", &path, 832);
    }
    actions.file(12, "file.write", build, "implied", "/dev/null", 10);
    actions.file(12, "file.read", build, "stated", "/w/build.sh", 480);
    actions.file(12, "file.create", build, "unstated", "/w/main.c", 0);
    actions.file(12, "file.write", build, "unstated", "/w/main.c", 27);
    actions.file(13, "file.delete", build, "unstated", "/w/old-report.txt", 0);
    actions.file(
        14,
        "file.read",
        build,
        "unstated",
        "/home/u/.ssh/id_ed25519",
        411,
    );
    actions.add(
        12,
        "network.connect",
        build,
        "unstated",
        json!({
            "network.peer.address": "203.0.113.7", "network.peer.port": 80, "agentsight.count": 1,
            "agentsight.network.sent_bytes": 498, "agentsight.network.received_bytes": 81,
        }),
    );
    actions.file(
        10,
        "file.write",
        Some("t2"),
        "stated",
        "/w/docs/summary.md",
        2_120,
    );
    actions.file(
        10,
        "file.write",
        None,
        "none",
        "/home/u/.claude/history.jsonl",
        5_300,
    );
    actions.file(
        10,
        "file.write",
        None,
        "none",
        "/home/u/.claude.json.tmp.1",
        200,
    );
    actions.file(10, "file.write", None, "none", "/tmp/claude-0/a/b", 7);
    actions.file(10, "file.create", None, "none", "/w/.mcp.lock", 0);
    actions.file(10, "file.write", None, "none", "/srv/log", 7);
    actions.file(10, "file.write", None, "none", "/dev/tty", 5_300);
    actions.file(10, "file.read", None, "none", "/w/.mcp.json", 10);
    actions.file(10, "file.read", None, "none", "/usr/share/zoneinfo/UTC", 10);
    actions.file(
        10,
        "file.read",
        None,
        "none",
        "/home/u/.claude/settings.json",
        10,
    );
    actions.add(10, "network.connect", None, "none", json!({
        "network.peer.address": "2001:db8::1", "network.peer.port": 443, "agentsight.count": 3,
        "agentsight.network.sent_bytes": 182_000, "agentsight.network.received_bytes": 1_250_000,
    }));
    actions.add(
        10,
        "http.exchange",
        None,
        "none",
        json!({
            "server.address": "statsig.example", "agentsight.count": 3,
        }),
    );
    actions.0
}

fn coverage() -> Coverage {
    let mut coverage = Coverage::default();
    let counters = ClassCounters {
        produced: 1_238,
        stored: 1_236,
        dropped: [(DropReason::RingFull, 2)].into(),
    };
    coverage.events.insert(EventClass::File, counters);
    coverage.tls.streams = 4;
    coverage.tls.undecoded_streams = 1;
    coverage.tls.plaintext_bytes = 1_432_000;
    coverage
}

fn document() -> SessionDocument {
    let answer = "I ran it.\n\nThe build succeeded.\nIt prints:\n> build ok\n> done\n";
    let mut failed = call(
        "llm-3",
        "Run ./build.sh and tell me whether it succeeded.",
        "",
        (0, 0, 0),
    );
    failed.status = Some(429);
    failed.error = Some(LlmError {
        kind: "rate_limit_error".into(),
        message: "Too many requests".into(),
    });
    let tools = vec![
        tool(
            "t1",
            "llm-1",
            "Bash",
            json!({"command": "./build.sh", "description": "Build"}),
            "ok",
        ),
        tool(
            "t2",
            "llm-2",
            "Write",
            json!({"file_path": "/w/docs/summary.md", "content": "x"}),
            "ok",
        ),
        tool(
            "t3",
            "llm-2",
            "Bash",
            json!({"command": "sleep 100"}),
            "pending",
        ),
    ];
    let prompt = "Run ./build.sh and tell me whether it succeeded.\nBe brief.";
    SessionDocument {
        session: Session {
            id: "01JGH2Y3".into(),
            agent: AgentName {
                name: "claude-code".into(),
                version: Some("2.1.330".into()),
            },
            command: [
                "claude",
                "-p",
                "Run ./build.sh and tell me whether it succeeded.",
            ]
            .map(str::to_owned)
            .to_vec(),
            cwd: "/w".into(),
            started_at: time(0),
            ended_at: Some(time(12_400)),
            exit_code: Some(0),
            status: "ended".into(),
            ..Session::default()
        },
        processes: vec![
            process(10, 1, &["claude"], (0, 12_400), 0),
            process(11, 10, &["bash"], (1000, 1200), 0),
            process(12, 11, &["bash"], (1010, 1190), 0),
            process(13, 12, &["rm"], (1020, 1023), 0),
            process(14, 12, &["cat"], (1030, 1032), 1),
        ],
        llm_calls: vec![
            call("llm-1", prompt, "Running the build.", (12_034, 10_240, 42)),
            call("llm-2", prompt, answer, (12_500, 12_000, 180)),
            failed,
        ],
        tool_calls: tools,
        actions: actions(),
        agents: vec![Agent {
            id: "agent-1".into(),
            name: "claude-code".into(),
            parent: None,
            processes: vec![key(10)],
            kind: Agent::AGENT.into(),
            version: None,
        }],
        coverage: coverage(),
        findings: vec![Finding {
            rule: "secret-then-network".into(),
            severity: "high".into(),
            title: "A process read a private key and then sent data to 203.0.113.7".into(),
            ..Finding::default()
        }],
        ..SessionDocument::default()
    }
}

#[test]
fn a_report() {
    insta::assert_snapshot!(render(&document(), &ReportOptions::default()));
}

#[test]
fn a_narrow_report() {
    let options = ReportOptions {
        color: false,
        width: 60,
    };
    insta::assert_snapshot!(render(&document(), &options));
}

#[test]
fn an_empty_report() {
    insta::assert_snapshot!(render(
        &SessionDocument::default(),
        &ReportOptions::default()
    ));
}

#[test]
fn colour_is_all_that_colour_adds() {
    let options = ReportOptions {
        color: true,
        ..ReportOptions::default()
    };
    let coloured = render(&document(), &options);
    assert!(coloured.contains("\x1b[1mclaude-code\x1b[0m"));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        stripped.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    stripped.push_str(rest);
    assert_eq!(stripped, render(&document(), &ReportOptions::default()));
}

/// Puts `poison` into every string of a JSON value.
fn poisoned(value: &mut Value, poison: &str) {
    match value {
        Value::String(text) => text.insert_str(text.len() / 2, poison),
        Value::Array(items) => items.iter_mut().for_each(|item| poisoned(item, poison)),
        Value::Object(map) => map.values_mut().for_each(|value| poisoned(value, poison)),
        _ => {}
    }
}

#[test]
fn hostile_text_anywhere_reaches_no_terminal() {
    for poison in [
        "\x1b[2J\x1b]0;x\x07",
        "\u{202e}\u{2066}",
        "\r\n\x08",
        "\u{9b}31m",
        "日本\u{301}\u{301}\u{301}",
    ] {
        let mut doc = document();
        for action in &mut doc.actions {
            let mut attributes = Value::Object(std::mem::take(&mut action.attributes));
            poisoned(&mut attributes, poison);
            action.attributes = attributes.as_object().cloned().unwrap_or_else(Map::new);
        }
        for call in &mut doc.llm_calls {
            call.model = Some(format!("m{poison}"));
            call.endpoint.push_str(poison);
            call.endpoint.insert_str(10, poison);
            call.request.messages = vec![said("user", &format!("a{poison}b"))];
            call.response.messages = vec![said("assistant", &format!("a{poison}b"))];
            call.error = Some(LlmError {
                kind: poison.into(),
                message: poison.into(),
            });
        }
        for tool in &mut doc.tool_calls {
            tool.name.push_str(poison);
            poisoned(&mut tool.arguments, poison);
        }
        doc.session.id.push_str(poison);
        doc.session.status = format!("x{poison}");
        doc.session.exit_code = None;
        doc.session.agent.name.push_str(poison);
        doc.session.agent.version = Some(poison.into());
        doc.session.command.push(poison.into());
        doc.findings[0].title.push_str(poison);
        doc.findings[0].rule.push_str(poison);
        doc.findings[0].severity.push_str(poison);
        doc.findings[0].verdict = Some(poison.into());
        doc.coverage.omitted.insert(poison.into(), 1);
        for process in &mut doc.processes {
            process.exe.push_str(poison);
        }
        for width in [0, 40, 77, 500] {
            let report = render(
                &doc,
                &ReportOptions {
                    color: false,
                    width,
                },
            );
            let is_bad = |c: char| {
                (c.is_control() && c != '\n')
                    || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            assert!(!report.contains(is_bad), "{report}");
            for line in report.lines() {
                assert!(columns(line) <= width.clamp(40, 140), "{width}: {line}");
            }
        }
    }
}

#[test]
fn a_long_session_is_shortened() {
    let mut doc = document();
    let first = doc.llm_calls[0].clone();
    doc.llm_calls = (0..500)
        .map(|n| Call {
            id: format!("c{n}"),
            ..first.clone()
        })
        .collect();
    for n in 0..1000 {
        let mut action = doc.actions[5].clone();
        action.process = key(1000 + n);
        doc.actions.push(action);
    }
    let report = render(&doc, &ReportOptions::default());
    assert!(report.contains("… 460 more model calls …"));
    assert!(report.lines().count() < 300, "{}", report.lines().count());
}

#[test]
fn processes_that_are_each_others_parents_are_drawn_once() {
    let mut doc = document();
    doc.processes[1].parent_key = Some(key(12));
    doc.processes[2].parent_key = Some(key(11));
    let _ = render(&doc, &ReportOptions::default());
}

#[test]
fn servers_are_listed_with_what_was_asked_of_them() {
    let mut doc = document();
    doc.agents.push(Agent {
        id: "server-1".into(),
        name: "files\u{1b}[31m".into(),
        kind: "mcp-server".into(),
        version: Some("9".into()),
        parent: Some("agent-1".into()),
        processes: vec![],
    });
    for (number, status) in [RpcStatus::Ok, RpcStatus::Error, RpcStatus::Notification]
        .into_iter()
        .enumerate()
    {
        doc.mcp_calls.push(RemoteCall {
            id: format!("mcp-{number}"),
            method: "tools/call".into(),
            name: Some(format!("tool-{number}")),
            server_id: Some("server-1".into()),
            status,
            ..RemoteCall::default()
        });
    }
    if let Some(tool) = doc.tool_calls.first_mut() {
        tool.mcp_call = Some("mcp-0".into());
    }
    let text = render(
        &doc,
        &ReportOptions {
            color: false,
            width: 100,
        },
    );
    for shown in [
        "Servers",
        "2 requests · 1 error",
        "tool-0",
        "tool-1",
        "by files",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(
        !text.contains("tool-2") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[test]
fn an_agent_that_is_called_is_a_server() {
    let mut doc = document();
    doc.a2a_calls.push(RemoteCall {
        server_id: Some("agent-1".into()),
        ..RemoteCall::default()
    });
    let text = render(&doc, &ReportOptions::default());
    let (_, servers) = text.split_once("Servers\n").unwrap();
    assert!(servers.trim_start().starts_with("claude-code"), "{servers}");

    doc.a2a_calls = vec![RemoteCall::default()];
    assert!(!render(&doc, &ReportOptions::default()).contains("Servers"));
}

#[test]
fn what_is_no_text_is_shown_once_a_conversation() {
    let mut doc = document();
    for (position, name) in [(0, "one"), (1, "one"), (2, "two")] {
        let call = &mut doc.llm_calls[position];
        call.error = None;
        call.finish_reasons = vec!["max_tokens".into(), "end_turn".into()];
        call.usage.reasoning_output_tokens = Some(1_030);
        call.thread = Some(CallThread {
            conversation: name.into(),
            ..CallThread::default()
        });
        call.parts = (0..6)
            .map(|number| PartInfo {
                modality: "image".into(),
                mime_type: Some("image/png\u{1b}[2J".into()),
                declared_mime_type: Some("image/jpeg".into()),
                sha256: format!("{number}"),
                width: Some(640),
                height: Some(480),
                duration_ms: Some(1_500),
                file: Some(agentsight_model::SourceFile {
                    path: "/w/a.png".into(),
                    ..Default::default()
                }),
                ..PartInfo::default()
            })
            .collect();
    }
    let options = ReportOptions {
        color: false,
        width: 140,
    };
    let text = render(&doc, &options);
    let count = |what: &str| text.matches(what).count();
    let line = "▪ image/png␛[2J  640 × 480  said to be image/jpeg  from a.png";
    assert_eq!((count(line), count("… 2 more that are not text")), (8, 2));
    assert_eq!((count(" · max_tokens · "), count("end_turn")), (3, 0));
    assert_eq!(count("(1,030 reasoning)"), 3);
}
