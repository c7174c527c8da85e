//! State: totals, results, limits, and events that contradict each other.

mod story;

use std::net::SocketAddr;

use agentsight_model::*;
use agentsight_session::{GraphLimits, SessionGraph};
use proptest::prelude::*;
use serde_json::json;
use story::*;

#[test]
fn the_last_totals_of_a_use_hold() {
    let (mut story, agent) = Story::new();
    let access = Access {
        read: true,
        ..Access::default()
    };
    for use_id in [1, 2] {
        story.push(
            agent,
            EventBody::FileOpen(FileOpen {
                use_id,
                file: file("/w/a"),
                access,
                inherited: false,
            }),
        );
        for reads in [1, 4, 9] {
            let first = story.time();
            story.totals(
                agent,
                FileUse {
                    use_id,
                    opens: 1,
                    creates: 0,
                    reads,
                    read_bytes: reads * 100,
                    writes: 0,
                    written_bytes: 0,
                    access,
                    first,
                    last: first,
                },
            );
        }
    }
    let document = story.document();
    let read = action(&document, "file.read", "/w/a");
    assert_eq!(read.attributes["agentsight.count"], 18);
    assert_eq!(read.attributes["agentsight.bytes"], 1800);
    assert_eq!(read.attributes["file.inode"], "7");
    assert_eq!(
        action(&document, "file.open", "/w/a").attributes["agentsight.count"],
        2
    );
    assert!(
        document
            .actions
            .iter()
            .all(|action| action.kind != "file.write" && action.kind != "file.create")
    );
}

#[test]
fn totals_may_come_before_the_open_that_they_continue() {
    let (mut story, agent) = Story::new();
    story.reads(agent, "/w/a");
    let last = story.events.len() - 1;
    story.events.swap(last - 1, last);
    let document = story.document();
    let read = action(&document, "file.read", "/w/a");
    assert_eq!(
        (
            &read.attributes["agentsight.count"],
            &read.attributes["agentsight.bytes"]
        ),
        (&json!(2), &json!(10))
    );
    assert!(document.coverage.omitted.is_empty());
}

#[test]
fn totals_without_an_open_are_counted_as_left_out() {
    let (mut story, agent) = Story::new();
    story.reads(agent, "/w/a");
    story
        .events
        .retain(|event| event.body.kind() != "file.open");
    let document = story.document();
    assert_eq!(document.coverage.omitted["file.use"], 1);
}

#[test]
fn connections_to_one_address_are_one_action() {
    let (mut story, agent) = Story::new();
    for socket in 0..3 {
        story.connects(agent, "10.0.0.1:443", socket);
    }
    for socket in 0..2 {
        story.push(
            agent,
            EventBody::NetworkClose(NetworkClose {
                socket: SocketId(socket),
                protocol: NetworkProtocol::Tcp,
                local: None,
                remote: None,
                sent_bytes: 10,
                received_bytes: 100,
            }),
        );
    }
    let document = story.document();
    let connect = action(&document, "network.connect", "10.0.0.1");
    assert_eq!(connect.attributes["agentsight.count"], 3);
    assert_eq!(connect.attributes["agentsight.network.sent_bytes"], 20);
    assert_eq!(connect.attributes["network.peer.port"], 443);
    assert_eq!(connect.attributes["network.transport"], "tcp");
    assert_eq!(connect.attributes["network.type"], "ipv4");
}

#[test]
fn the_session_and_its_processes() {
    let (mut story, agent) = Story::new();
    let child = story.spawn(agent, "/usr/bin/python3.12", &["python3", "a.py"]);
    let forked = story.fork(child);
    story.exit(forked, 0);
    story.exit(child, 3);
    let running = story.document();
    assert_eq!(running.session.status, "running");
    story.push(
        agent,
        EventBody::SessionEnd(SessionEnd {
            exit_code: Some(0),
            ..SessionEnd::default()
        }),
    );
    let document = story.document();
    assert_eq!(
        (document.session.status.as_str(), document.session.exit_code),
        ("ended", Some(0))
    );
    assert!(document.session.started_at.ends_with('Z') && document.session.started_at.len() == 30);
    let of = |key: ProcessKey| {
        document
            .processes
            .iter()
            .find(|process| process.key == key)
            .unwrap()
    };
    assert_eq!(
        (of(child).exit_code, of(child).parent_key),
        (Some(3), Some(agent))
    );
    assert_eq!(of(child).exe_inode, "3:7");
    // A process that only forked runs what its parent ran.
    assert_eq!(of(forked).argv, ["python3", "a.py"]);

    let mut graph = SessionGraph::default();
    for (seq, event) in story.events.iter().enumerate().take(3) {
        graph.apply(seq as u64, event);
    }
    graph.mark_interrupted();
    assert_eq!(graph.document().session.status, "interrupted");
}

#[test]
fn results_are_matched_by_id_whatever_the_history_repeats() {
    let (mut story, agent) = Story::new();
    let first = assistant(vec![
        asks(Some("a"), "x", json!({})),
        asks(Some("b"), "x", json!({})),
    ]);
    story.llm(agent, vec![user("q")], first.parts.clone());
    let mut failed = result(Some("a"), None, "bad");
    if let Part::ToolCallResponse { is_error, .. } = &mut failed.parts[0] {
        *is_error = Some(true);
    }
    let mut history = vec![user("q"), first, result(Some("b"), None, "good"), failed];
    story.llm(
        agent,
        history.clone(),
        vec![asks(Some("c"), "x", json!({}))],
    );
    history.push(user("more"));
    story.llm(agent, history, vec![text("end")]);
    let document = story.document();
    let seen: Vec<_> = document
        .tool_calls
        .iter()
        .map(|tool| (tool.id.as_str(), tool.status.as_str(), tool.result.clone()))
        .collect();
    assert_eq!(
        seen,
        [
            ("a", "error", Some(json!("bad"))),
            ("b", "ok", Some(json!("good"))),
            ("c", "pending", None)
        ]
    );
    let second = &document.llm_calls[1];
    assert_eq!(
        tool(&document, "a").finished_at.as_ref(),
        Some(&second.started_at)
    );
}

#[test]
fn results_without_ids_are_matched_by_name_and_order() {
    let (mut story, agent) = Story::new();
    let mut history = vec![user("q")];
    for turn in 0..3 {
        let calls = vec![
            asks(None, "read", json!({"path": "a"})),
            asks(None, "shell", json!({"command": "ls"})),
            asks(None, "read", json!({"path": "a"})),
        ];
        story.llm(agent, history.clone(), calls.clone());
        history.extend([
            assistant(calls),
            result(None, Some("read"), &format!("r{turn}.1")),
            result(None, Some("shell"), &format!("s{turn}")),
            result(None, Some("read"), &format!("r{turn}.2")),
        ]);
    }
    story.llm(agent, history, vec![text("end")]);
    let results: Vec<_> = story
        .document()
        .tool_calls
        .iter()
        .map(|tool| tool.result.clone().unwrap())
        .collect();
    assert_eq!(
        results,
        [
            "r0.1", "s0", "r0.2", "r1.1", "s1", "r1.2", "r2.1", "s2", "r2.2"
        ]
    );
}

#[test]
fn ids_that_an_agent_makes_up_are_seen_through() {
    let (mut story, agent) = Story::new();
    story.llm(
        agent,
        vec![user("q")],
        vec![asks(Some("provider-1"), "shell", json!({"command": "ls"}))],
    );
    let renamed = assistant(vec![asks(
        Some("shell-1-abc"),
        "shell",
        json!({"command": "ls"}),
    )]);
    story.llm(
        agent,
        vec![
            user("q"),
            renamed,
            result(Some("shell-1-abc"), Some("shell"), "files"),
        ],
        vec![text("end")],
    );
    assert_eq!(
        tool(&story.document(), "provider-1").result,
        Some(json!("files"))
    );
}

#[test]
fn one_id_for_every_call_is_told_apart_by_time() {
    let (mut story, agent) = Story::new();
    let mut history = vec![user("q")];
    for turn in 0..3 {
        let call = asks(
            Some("call_0"),
            "shell",
            json!({"command": format!("echo {turn}")}),
        );
        story.llm(agent, history.clone(), vec![call.clone()]);
        history.extend([
            assistant(vec![call]),
            result(Some("call_0"), None, &format!("{turn}")),
        ]);
    }
    story.llm(agent, history, vec![text("end")]);
    let document = story.document();
    let seen: Vec<_> = document
        .tool_calls
        .iter()
        .map(|tool| (tool.id.as_str(), tool.result.clone().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            ("call_0", json!("0")),
            ("call_0~2", json!("1")),
            ("call_0~3", json!("2"))
        ]
    );
}

#[test]
fn only_new_items_come_where_the_provider_keeps_the_history() {
    let (mut story, agent) = Story::new();
    story.llm(
        agent,
        vec![user("q")],
        vec![
            asks(Some("a"), "shell", json!({})),
            asks(Some("b"), "shell", json!({})),
        ],
    );
    story.llm(
        agent,
        vec![result(Some("a"), None, "1"), result(Some("b"), None, "2")],
        vec![asks(None, "x", json!({}))],
    );
    story.llm(agent, vec![result(None, None, "3")], vec![text("end")]);
    let results: Vec<_> = story
        .document()
        .tool_calls
        .iter()
        .map(|tool| tool.result.clone().unwrap())
        .collect();
    assert_eq!(results, ["1", "2", "3"]);
}

#[test]
fn an_answer_that_is_filed_after_the_next_request_loses_nothing() {
    let (mut story, agent) = Story::new();
    let call = asks(Some("a"), "shell", json!({"command": "ls"}));
    story.llm(agent, vec![user("q")], vec![call.clone()]);
    story.llm(
        agent,
        vec![
            user("q"),
            assistant(vec![call]),
            result(Some("a"), None, "1"),
        ],
        vec![text("end")],
    );
    let last = story.events.len() - 1;
    story.events.swap(last - 1, last);
    let document = story.document();
    assert_eq!(document.tool_calls.len(), 1);
    assert_eq!(document.tool_calls[0].result, Some(json!("1")));
    assert_eq!(document.llm_calls[0].id, "llm-1");
}

#[test]
fn requests_are_given_back_whole_though_shared_parts_are_kept_once() {
    let (mut story, agent) = Story::new();
    let mut history = vec![user("first")];
    let mut expected = Vec::new();
    for turn in 0..5 {
        story.llm(
            agent,
            history.clone(),
            vec![text(&format!("answer {turn}"))],
        );
        story.llm(agent, vec![user("title?")], vec![text("title")]);
        expected.extend([history.clone(), vec![user("title?")]]);
        history.extend([
            assistant(vec![text(&format!("answer {turn}"))]),
            user("next"),
        ]);
    }
    let document = story.document();
    let requests: Vec<_> = document
        .llm_calls
        .iter()
        .map(|call| call.request.messages.clone())
        .collect();
    assert_eq!(requests, expected);
}

#[test]
fn what_goes_beyond_the_limits_is_counted() {
    let (mut story, agent) = Story::new();
    for number in 0..50 {
        story.reads(agent, &format!("/w/{number}"));
        story.spawn(agent, "/bin/x", &["x", &"y".repeat(1000)]);
    }
    let mut graph = SessionGraph::with_limits(GraphLimits {
        records: 60,
        content_bytes: 5000,
    });
    for (seq, event) in story.events.iter().enumerate() {
        graph.apply(seq as u64, event);
    }
    let document = graph.document();
    let omitted = &document.coverage.omitted;
    assert!(
        omitted["file.open"] > 0
            && omitted["process.exec"] > 0
            && omitted["process.command_args"] > 0
    );
    assert!(
        document
            .processes
            .iter()
            .all(|process| process.argv.concat().len() < 1100)
    );
    assert!(
        document
            .processes
            .iter()
            .any(|process| process.argv.concat().len() == 257)
    );
}

#[test]
fn contradictions_are_harmless() {
    let (mut story, agent) = Story::new();
    let (a, b) = (story.key(), story.key());
    // Each the other's parent, a process that is its own parent, an exit before the start, and twice.
    story.exit(a, 1);
    story.exit(a, 2);
    story.push(
        a,
        EventBody::ProcessFork(ProcessFork {
            child: b,
            comm: String::new(),
        }),
    );
    story.push(
        b,
        EventBody::ProcessFork(ProcessFork {
            child: a,
            comm: String::new(),
        }),
    );
    story.push(
        agent,
        EventBody::ProcessFork(ProcessFork {
            child: agent,
            comm: String::new(),
        }),
    );
    story.exec(a, a, "", &[]);
    story.llm(
        a,
        vec![user("q")],
        vec![
            asks(None, "", json!(null)),
            asks(Some(""), "bash", json!({"command": ""})),
        ],
    );
    story.llm(
        b,
        vec![result(Some(""), None, ""), result(None, None, "")],
        vec![],
    );
    let document = story.document();
    assert_eq!(
        document
            .processes
            .iter()
            .find(|process| process.key == a)
            .unwrap()
            .exit_code,
        Some(1)
    );
}

#[test]
fn the_same_events_give_the_same_document() {
    let (mut story, agent) = Story::new();
    for number in 0..20 {
        let id = format!("t{number}");
        story.llm(
            agent,
            vec![user("q")],
            vec![asks(Some(&id), "bash", json!({"command": "ls"}))],
        );
        let shell = story.spawn(agent, "/bin/bash", &["bash", "-c", "ls"]);
        story.reads(shell, "/w/a");
        story.writes(shell, &format!("/w/{number}"));
        story.deletes(shell, "/w/a");
        story.llm(agent, vec![result(Some(&id), None, "a")], vec![text("ok")]);
    }
    let text = |story: &Story| serde_json::to_string(&story.document()).unwrap();
    assert_eq!(text(&story), text(&story));
    // A document made half way changes nothing.
    let mut graph = SessionGraph::default();
    for (seq, event) in story.events.iter().enumerate() {
        graph.apply(seq as u64, event);
        if seq % 50 == 0 {
            let _ = graph.document();
        }
    }
    assert_eq!(
        serde_json::to_string(&graph.document()).unwrap(),
        text(&story)
    );
    // Ids are unique.
    let document = story.document();
    let mut ids: Vec<_> = document.actions.iter().map(|action| &action.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), document.actions.len());
}

/// Events over few processes, files and ids, so that they meet in every odd way.
fn any_event() -> impl Strategy<Value = Event> {
    let key = (0_u32..5, 0_u64..5).prop_map(|(tgid, start_ns)| ProcessKey { tgid, start_ns });
    let name = prop::sample::select(vec![
        "",
        "/",
        "/w/a",
        "/w/../a",
        "ls",
        "bash",
        "*",
        "~/x",
        "/proc/self/mem",
    ]);
    (key.clone(), key, 0_u64..20, name.clone(), name, 0_u8..12).prop_map(
        |(process, other, number, one, two, kind)| {
            let access = Access {
                read: number % 2 == 0,
                write: number % 3 == 0,
                create: number % 5 == 0,
                truncate: false,
            };
            let body = match kind {
                0 => EventBody::ProcessFork(ProcessFork {
                    child: other,
                    comm: one.into(),
                }),
                1 => EventBody::ProcessExec(Box::new(ProcessExec {
                    parent: other,
                    exe: file(one),
                    filename: two.into(),
                    argv: vec![one.into(), "-c".into(), two.into()],
                    cwd: two.into(),
                    ..ProcessExec::default()
                })),
                2 => EventBody::ProcessExit(ProcessExit {
                    code: None,
                    signal: Some(9),
                    resources: ResourceUse::default(),
                }),
                3 => EventBody::FileOpen(FileOpen {
                    use_id: number,
                    file: file(one),
                    access,
                    inherited: number % 7 == 0,
                }),
                4 => EventBody::FileUse(FileUse {
                    use_id: number,
                    opens: number,
                    creates: u64::MAX,
                    reads: number * 3,
                    read_bytes: u64::MAX,
                    writes: 0,
                    written_bytes: 1,
                    access,
                    first: KTime(u64::MAX),
                    last: KTime(number),
                }),
                5 => EventBody::FileDelete(FileDelete {
                    file: file(one),
                    directory: true,
                }),
                6 => EventBody::FileRename(FileRename {
                    from: file(one),
                    to: file(two),
                }),
                7 => EventBody::LlmCall(Box::new(llm_call(
                    "llm-1",
                    process,
                    (KTime(number), KTime(number / 2)),
                    vec![
                        result(Some(one), Some(two), two),
                        result(None, None, one),
                        assistant(vec![asks(Some(two), one, json!({"command": one}))]),
                        result(Some(two), None, one),
                    ],
                    vec![
                        asks(Some(one), two, json!({"command": two, "path": one})),
                        asks(None, "bash", json!([one])),
                    ],
                ))),
                8 => EventBody::NetworkConnect(NetworkConnect {
                    socket: SocketId(number),
                    protocol: NetworkProtocol::Udp,
                    local: None,
                    remote: SocketAddr::from(([0; 16], 53)),
                }),
                9 => EventBody::NetworkClose(NetworkClose {
                    socket: SocketId(number),
                    protocol: NetworkProtocol::Tcp,
                    local: None,
                    remote: Some(SocketAddr::from(([1, 2, 3, 4], 5))),
                    sent_bytes: u64::MAX,
                    received_bytes: u64::MAX,
                }),
                10 => EventBody::ProcessSeen(Box::new(ProcessSeen {
                    parent: other,
                    exe: file(two),
                    ..ProcessSeen::default()
                })),
                _ => EventBody::Loss(Loss::new(EventClass::File, DropReason::RingFull, u64::MAX)),
            };
            Event {
                time: KTime(number),
                process,
                body,
            }
        },
    )
}

proptest! {
    #[test]
    fn any_events_in_any_order_make_a_consistent_document(events in prop::collection::vec(any_event(), 0..120)) {
        let mut graph = SessionGraph::default();
        for (seq, event) in events.iter().enumerate() {
            graph.apply(seq as u64, event);
        }
        let document = graph.document();
        let ids: std::collections::HashSet<_> = document.tool_calls.iter().map(|tool| tool.id.as_str()).collect();
        prop_assert_eq!(ids.len(), document.tool_calls.len());
        for action in &document.actions {
            prop_assert_eq!(action.tool_call.is_some(), action.link.is_some());
            prop_assert_eq!(action.tool_call.is_none(), action.intent == "none");
            if let Some(tool_call) = &action.tool_call {
                prop_assert!(tool(&document, tool_call).actions.contains(&action.id));
            }
        }
        let listed: usize = document.tool_calls.iter().map(|tool| tool.actions.len()).sum();
        prop_assert_eq!(listed, document.actions.iter().filter(|action| action.tool_call.is_some()).count());
    }
}
