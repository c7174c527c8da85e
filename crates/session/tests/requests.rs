//! Tool calls that went to an MCP server, and what the server did for them.

mod story;

use agentsight_model::*;
use serde_json::{Value, json};
use story::*;

const MS: u64 = 1_000_000;

/// A request to a server that takes from `started` until now.
fn calls_tool(
    story: &mut Story,
    number: u64,
    (client, server): (ProcessKey, ProcessKey),
    (name, arguments): (&str, Value),
    started: KTime,
) {
    let ended = story.time();
    let call = RpcCall {
        id: format!("mcp-{number}"),
        protocol: "mcp".into(),
        method: "tools/call".into(),
        name: Some(name.into()),
        client: Some(client),
        server: Some(server),
        transport: "pipe".into(),
        endpoint: "pipe:[7]".into(),
        request_id: Some(json!(number)),
        params: json!({"name": name, "arguments": arguments}),
        result: Some(json!({"content": []})),
        status: RpcStatus::Ok,
        started,
        ended,
        complete: true,
        request: RpcBody {
            bytes: 50,
            sha256: number.to_string(),
            complete: true,
        },
        response: Some(RpcBody::default()),
        server_info: Some(RpcPeer {
            name: "files".into(),
            version: Some("9".into()),
        }),
        ..RpcCall::default()
    };
    story.push(client, EventBody::McpCall(Box::new(call)));
}

#[test]
fn what_a_server_does_between_request_and_answer_follows_from_the_tool_call() {
    let (mut story, agent) = Story::new();
    let server = story.spawn(agent, "/usr/bin/node", &["node", "/opt/files-server.js"]);
    story.reads(server, "/opt/before.json");
    let arguments = json!({"query": "everything"});
    let asked = asks(Some("t1"), "mcp__files__search", arguments.clone());
    story.llm(agent, vec![user("go")], vec![asked]);
    let started = story.time();
    story.reads(server, "/data/secret.db");
    let child = story.spawn(server, "/usr/bin/rg", &["rg", "x"]);
    story.connects(server, "192.0.2.9:443", 1);
    story.reads(child, "/data/other.db");
    story.exit(child, 0);
    calls_tool(
        &mut story,
        1,
        (agent, server),
        ("search", arguments),
        started,
    );
    story.tick(5);
    story.reads(server, "/opt/after.json");
    story.llm(
        agent,
        vec![user("go"), result(Some("t1"), None, "done")],
        vec![text("ok")],
    );

    let document = story.document();
    let tool = tool(&document, "t1");
    assert_eq!(
        (tool.kind.as_str(), tool.mcp_call.as_deref()),
        ("mcp", Some("mcp-1"))
    );
    let read = action(&document, "file.read", "secret.db");
    assert_eq!(read.tool_call.as_deref(), Some("t1"));
    let link = read.link.as_ref().unwrap();
    assert_eq!(link.evidence, ["mcp-request", "window"]);
    assert!((link.confidence - 0.9).abs() < 1e-9);
    // Nothing in the call says that this is read.
    assert_eq!(read.intent, "unstated");
    for (kind, object) in [("process.exec", "rg"), ("file.read", "other.db")] {
        let found = action(&document, kind, object);
        assert_eq!(found.tool_call.as_deref(), Some("t1"), "{object}");
    }
    let connected = document
        .actions
        .iter()
        .find(|one| one.kind == "network.connect");
    assert_eq!(connected.unwrap().tool_call.as_deref(), Some("t1"));
    for object in ["before.json", "after.json"] {
        assert_eq!(
            action(&document, "file.read", object).tool_call,
            None,
            "{object}"
        );
    }

    let call = &document.mcp_calls[0];
    assert_eq!(call.tool_call.as_deref(), Some("t1"));
    assert_eq!(call.server_id.as_deref(), Some("server-1"));
    let [agent, node] = &document.agents[..] else {
        panic!("{:?}", document.agents);
    };
    assert_eq!(
        (agent.kind.as_str(), node.kind.as_str()),
        ("agent", "mcp-server")
    );
    assert_eq!(
        (node.name.as_str(), node.version.as_deref()),
        ("files", Some("9"))
    );
    assert_eq!(node.parent.as_deref(), Some("agent-1"));
    assert_eq!(node.processes, [server]);
    let ways: Vec<_> = document
        .messages
        .iter()
        .map(|message| {
            (
                message.from.as_str(),
                message.to.as_str(),
                message.channel.as_str(),
            )
        })
        .collect();
    assert_eq!(
        ways,
        [
            ("agent-1", "server-1", "pipe"),
            ("server-1", "agent-1", "pipe")
        ]
    );
}

#[test]
fn equal_calls_are_carried_one_by_one() {
    let (mut story, agent) = Story::new();
    let server = story.spawn(agent, "/usr/bin/node", &["node", "s.js"]);
    let arguments = json!({"n": 1});
    let ask = |id| asks(Some(id), "fs_get", arguments.clone());
    story.llm(
        agent,
        vec![user("go")],
        vec![ask("a"), ask("b"), asks(Some("c"), "fs_get", json!({}))],
    );
    for number in 1..=3 {
        let started = story.time();
        story.tick(3);
        let arguments = if number == 3 {
            Value::Null
        } else {
            arguments.clone()
        };
        calls_tool(
            &mut story,
            number,
            (agent, server),
            ("get", arguments),
            started,
        );
    }
    let document = story.document();
    let carried: Vec<_> = ["a", "b", "c"]
        .map(|id| tool(&document, id).mcp_call.clone().unwrap())
        .to_vec();
    assert_eq!(carried, ["mcp-1", "mcp-2", "mcp-3"]);
}

#[test]
fn both_ends_of_a_connection_are_one_request() {
    let (mut story, agent) = Story::new();
    let server = story.spawn(agent, "/usr/bin/node", &["node", "s.js"]);
    let now = story.time();
    let half = |client, server, shift| RpcCall {
        id: "mcp-1".into(),
        protocol: "mcp".into(),
        method: "tools/list".into(),
        client,
        server,
        request_id: Some(json!(1)),
        started: KTime(now.0 + shift),
        ended: KTime(now.0 + 9 * MS),
        ..RpcCall::default()
    };
    story.push(
        agent,
        EventBody::McpCall(Box::new(half(None, Some(server), 5))),
    );
    story.push(
        agent,
        EventBody::McpCall(Box::new(half(Some(agent), None, 0))),
    );
    let document = story.document();
    assert_eq!(document.mcp_calls.len(), 1);
    let call = &document.mcp_calls[0];
    assert_eq!((call.client, call.server), (Some(agent), Some(server)));
}
