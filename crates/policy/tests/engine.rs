//! The engine: state stays bounded whatever comes, labels flow, conversations are read as the ledger keeps them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::{Arc, LazyLock};

use agentsight_model::{
    Channel, ChannelKind, ContentPiece, Event, EventBody, IpcPipe, KTime, LlmCall, LlmContent,
    Message, NetworkDns, Part, ProcessKey,
};
use agentsight_policy::{Engine, Found, Limits, RuleSet, Source, default_pack};
use agentsight_session::Deduplicator;
use agentsight_testkit::EventBuilder;
use proptest::prelude::*;
use serde_json::json;

fn rules(texts: &[&str]) -> Arc<RuleSet> {
    let sources = texts
        .iter()
        .enumerate()
        .map(|(at, text)| Source::new(format!("{at}.yaml"), *text));
    Arc::new(RuleSet::load(sources).unwrap_or_else(|errors| panic!("{errors}")))
}

fn pack() -> Arc<RuleSet> {
    static PACK: LazyLock<Arc<RuleSet>> =
        LazyLock::new(|| Arc::new(RuleSet::load(default_pack()).unwrap()));
    Arc::clone(&PACK)
}

fn judge(engine: &mut Engine, events: &[Event]) -> Vec<Found> {
    (0_u64..)
        .zip(events)
        .flat_map(|(seq, event)| engine.observe(seq, event))
        .collect()
}

fn ids(found: &[Found]) -> Vec<&str> {
    found
        .iter()
        .map(|found| found.finding.rule.as_str())
        .collect()
}

const SMALL: Limits = Limits {
    processes: 64,
    carriers: 64,
    names: 64,
    partials: 64,
    findings_per_rule: 5,
};

#[test]
fn a_hostile_stream_finds_its_limits_and_what_is_dropped_is_counted() {
    let rules = rules(&[
        "id: l\ntitle: t\neffect: label\non: file.read\nmatch: { path: /s }\nlabels: { process: x }\n",
        "id: s\ntitle: \"{file.path}\"\nseverity: low\nsequence:\n  within: 1h\n  by: process\n  steps:\n    - { on: file.read }\n    - { on: file.write }\n",
        "id: c\ntitle: \"{file.path}\"\nseverity: low\non: file.create\nthreshold: { count: 2, within: 1h, by: process, distinct: file.path }\n",
    ]);
    let mut engine = Engine::with_limits(rules, SMALL);
    let mut builder = EventBuilder::new();
    for pid in 1..2_000 {
        builder
            .fork(1, pid)
            .exec(pid, &["x"])
            .open_read(pid, "/s")
            .create(pid, &format!("/o{pid}"))
            .create(pid, &format!("/p{pid}"));
        builder.push(
            pid,
            EventBody::NetworkDns(NetworkDns {
                question: format!("n{pid}"),
                addresses: vec![std::net::Ipv4Addr::from(pid).into()],
                ..NetworkDns::default()
            }),
        );
    }
    let found = judge(&mut engine, &builder.build());
    let counters = engine.counters();
    assert_eq!(found.len(), 10, "each rule tells five times");
    assert!(counters.repeated > 3_000, "{counters:?}");
    assert!(counters.evicted > 5_000, "{counters:?}");
}

#[test]
fn a_label_reaches_what_was_opened_before_and_readers_that_wait() {
    let rules = rules(&[
        "id: l\ntitle: t\neffect: label\non: file.read\nmatch: { path: /s }\nlabels: { process: x }\n",
        "id: r\ntitle: \"{process.name} {file.path}\"\nseverity: low\non: file.read\nmatch: { label: x, path: \"/end*\" }\n",
    ]);
    let pipe = |builder: &mut EventBuilder,
                pid: u32,
                (kind, ino, peer_ino): (ChannelKind, u64, u64),
                write: bool| {
        let mut pipe = IpcPipe {
            channel: Channel {
                kind,
                ino,
                peer_ino,
            },
            ..IpcPipe::default()
        };
        pipe.access.write = write;
        pipe.access.read = !write;
        builder.push(pid, EventBody::IpcPipe(pipe));
    };
    let mut builder = EventBuilder::new();
    // 2 writes to 3 by a pipe, 3 to 4 by a pair of sockets, 4 to a file, and only then 2 reads the secret.
    builder
        .exec(2, &["a"])
        .exec(3, &["b"])
        .exec(4, &["c"])
        .exec(5, &["d"])
        .exec(6, &["e"]);
    pipe(&mut builder, 3, (ChannelKind::Pipe, 7, 0), false);
    pipe(&mut builder, 2, (ChannelKind::Pipe, 7, 0), true);
    pipe(&mut builder, 3, (ChannelKind::Unix, 8, 9), true);
    pipe(&mut builder, 4, (ChannelKind::Unix, 9, 8), false);
    builder
        .create(4, "/out")
        .open_read(2, "/s")
        .open_read(4, "/end4")
        .open_read(5, "/out")
        .open_read(5, "/end5")
        .open_read(6, "/end6");
    let found = judge(&mut Engine::new(rules), &builder.build());
    let titles: Vec<&str> = found
        .iter()
        .map(|found| found.finding.title.as_str())
        .collect();
    assert_eq!(titles, ["c /end4", "d /end5"]);
}

#[test]
fn order_and_time_of_a_sequence_matter() {
    let text = "id: s\ntitle: t\nseverity: low\nsequence:\n  within: 10s\n  by: process\n  steps:\n    - { on: file.read, match: { path: /a } }\n    - { on: file.read, match: { path: /b } }\n    - { on: file.read, match: { path: /c } }\n";
    for (steps, fires) in [
        ("abc", true),
        ("aabbc", true),
        ("acb", false),
        ("ab_c", false),
        ("a_abc", true),
        ("abaWc", true),
        ("aXbc", false),
    ] {
        let mut builder = EventBuilder::new();
        builder.exec(1, &["x"]).exec(2, &["y"]);
        for step in steps.chars() {
            match step {
                '_' => drop(builder.advance(11_000_000_000)),
                'W' => drop(builder.advance(5_000_000_000)),
                // The same file by another process.
                'X' => drop(builder.open_read(2, "/b").advance(11_000_000_000)),
                file => drop(builder.open_read(1, &format!("/{file}"))),
            }
        }
        let found = judge(&mut Engine::new(rules(&[text])), &builder.build());
        assert_eq!(!found.is_empty(), fires, "{steps}");
    }
}

fn call(id: u64, process: ProcessKey, messages: Vec<Message>, answer: Part) -> LlmCall {
    let mut call: LlmCall = serde_json::from_value(json!({
        "id": format!("llm-{id}"), "provider": "anthropic", "api": "anthropic.messages", "model": "m",
        "request_model": null, "operation": "chat", "process": process, "endpoint": "https://x/y",
        "transport": "h2", "status": 200, "started": id, "first_byte": null, "ended": id, "complete": true,
        "request": {"messages": [], "system": [], "tools": [{"name": "mcp__s__t", "description": "d"}], "parameters": {},
            "body": {"bytes": 0, "sha256": "", "wire_bytes": 0, "encoding": null, "complete": true}},
        "response": {"messages": [], "id": null,
            "body": {"bytes": 0, "sha256": "", "wire_bytes": 0, "encoding": null, "complete": true}},
        "finish_reasons": [],
        "usage": {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": null, "cache_creation_input_tokens": null, "reasoning_output_tokens": null},
    }))
    .unwrap();
    call.request.messages = messages;
    call.response.messages = vec![Message {
        role: "assistant".into(),
        parts: vec![answer],
    }];
    call
}

fn asks(id: &str, command: &str) -> Part {
    Part::ToolCall {
        id: Some(id.into()),
        name: "Bash".into(),
        arguments: json!({ "command": command }),
    }
}

fn result(id: &str, text: &str) -> Message {
    let response = Part::ToolCallResponse {
        id: Some(id.into()),
        name: None,
        response: text.into(),
        is_error: None,
    };
    Message {
        role: "user".into(),
        parts: vec![response],
    }
}

/// Three turns of a conversation, each repeating what came before.
fn conversation() -> Vec<LlmCall> {
    let process = ProcessKey {
        tgid: 1,
        start_ns: 1,
    };
    let said = |part: Part| Message {
        role: "assistant".into(),
        parts: vec![part],
    };
    let mut history = vec![Message {
        role: "user".into(),
        parts: vec![Part::Text {
            content: "go".into(),
        }],
    }];
    let mut calls = vec![call(1, process, history.clone(), asks("a", "one"))];
    history.extend([said(asks("a", "one")), result("a", "first result")]);
    calls.push(call(2, process, history.clone(), asks("b", "two")));
    history.extend([said(asks("b", "two")), result("b", "second result")]);
    calls.push(call(
        3,
        process,
        history,
        Part::Text {
            content: "done".into(),
        },
    ));
    calls
}

#[test]
fn tools_are_seen_once_as_they_come_and_as_the_ledger_keeps_them() {
    let rules = rules(&[
        "id: c\ntitle: \"{tool.name} {tool.arguments}\"\nseverity: low\non: tool.call\n",
        "id: r\ntitle: \"{tool.name} {tool.result}\"\nseverity: low\non: tool.result\n",
        "id: d\ntitle: \"{tool.server} {tool.description}\"\nseverity: low\non: tool.definition\n",
    ]);
    let event = |call: LlmCall| Event {
        time: call.ended,
        process: call.process,
        body: EventBody::LlmCall(Box::new(call)),
    };
    let whole: Vec<Event> = conversation().into_iter().map(event).collect();
    let mut contents = Deduplicator::default();
    let mut stored = Vec::new();
    for whole in conversation() {
        let (pieces, rest) = contents.split(whole);
        let piece = |piece| Event {
            time: rest.ended,
            process: rest.process,
            body: EventBody::LlmContent(Box::new(piece)),
        };
        stored.extend(pieces.into_iter().map(piece));
        stored.push(event(rest));
    }
    for events in [whole, stored] {
        let mut engine = Engine::new(Arc::clone(&rules));
        let found = judge(&mut engine, &events);
        let mut titles: Vec<&str> = found
            .iter()
            .map(|found| found.finding.title.as_str())
            .collect();
        titles.sort_unstable();
        assert_eq!(
            titles,
            [
                "Bash first result",
                "Bash one",
                "Bash second result",
                "Bash two",
                "s d"
            ]
        );
        assert_eq!(engine.counters().repeated, 0);
    }
}

#[test]
fn pieces_of_conversations_are_bounded() {
    let mut engine = Engine::new(rules(&[
        "id: r\ntitle: t\nseverity: low\non: tool.result\n",
    ]));
    let text = "x".repeat(1 << 20);
    for number in 0..200 {
        let piece = LlmContent {
            sha256: number.to_string(),
            content: ContentPiece::Message(result("a", &text)),
        };
        engine.observe(
            None,
            &Event {
                time: KTime(1),
                process: ProcessKey::default(),
                body: EventBody::LlmContent(Box::new(piece)),
            },
        );
    }
    // A quarter of a megabyte of each is kept, and 32 MB of all.
    assert!(engine.counters().evicted > 0);
}

#[test]
fn plain_coding_gives_no_high_finding() {
    let mut builder = EventBuilder::new();
    builder.exec(1, &["/home/dev/.local/share/claude/versions/2.1.0"]);
    builder
        .open_read(1, "/home/dev/.claude/.credentials.json")
        .create(1, "/home/dev/.claude.json")
        .open_read(1, "/project/CLAUDE.md");
    builder.connect(1, "203.0.113.1:443".parse().unwrap());
    for (pid, argv) in [
        (2, vec!["/usr/bin/bash", "-c", "npm test && git status"]),
        (3, vec!["node", "/usr/bin/npm", "test"]),
        (
            4,
            vec![
                "git",
                "commit",
                "-m",
                "fix the parser: read ~/.ssh/config no more",
            ],
        ),
        (5, vec!["rg", "-n", "fn main", "src"]),
        (6, vec!["cargo", "test"]),
        (7, vec!["curl", "-s", "https://docs.example/api.json"]),
    ] {
        builder
            .fork(1, pid)
            .exec(pid, &argv)
            .create(pid, "/project/out")
            .open_read(pid, "/etc/passwd")
            .open_read(pid, "/project/.git/config");
        if pid != 2 {
            builder.connect(pid, "203.0.113.2:443".parse().unwrap());
        }
        builder.exit(pid, 0);
    }
    let found = judge(&mut Engine::new(pack()), &builder.build());
    assert_eq!(ids(&found), Vec::<&str>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_event_makes_the_pack_panic(paths in prop::collection::vec("\\PC{0,60}|(/[a-z.*{}~]{0,12}){0,5}", 1..20), names in prop::collection::vec("\\PC{0,20}", 1..8)) {
        let words: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut builder = EventBuilder::new();
        builder.exec(1, &words);
        for path in &paths {
            builder.open_read(1, path).create(1, path).fork(1, 2).exec(2, &[path]);
        }
        judge(&mut Engine::new(pack()), &builder.build());
    }
}
