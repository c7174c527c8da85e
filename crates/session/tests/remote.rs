//! MCP and A2A over HTTP: plaintext in, requests out.

use agentsight_model::*;
use agentsight_session::{Assembler, AssemblerOptions};
use serde_json::{Value, json};

const CLIENT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 5,
};

/// Connections of one client to one server.
struct Site {
    assembler: Assembler,
    events: Vec<Event>,
    now: u64,
}

impl Site {
    fn new() -> Self {
        Self {
            assembler: Assembler::new(AssemblerOptions::new([1; 32])),
            events: Vec::new(),
            now: 0,
        }
    }

    fn run(&mut self, connection: u64, direction: Direction, text: &str) {
        self.now += 10;
        let payload = Payload {
            time: KTime(self.now),
            stream: StreamKey {
                process: CLIENT,
                object: connection,
            },
            tid: 1,
            direction,
            cleartext: false,
            missing_bytes: 0,
            bytes: text.as_bytes().to_vec(),
        };
        self.assembler.payload(payload, &mut self.events);
    }

    fn asks(&mut self, connection: u64, line: &str, headers: &str, body: &str) {
        let text = format!(
            "{line} HTTP/1.1\r\nHost: tools.example\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.run(connection, Direction::Sent, &text);
    }

    fn answers(&mut self, connection: u64, status: u16, headers: &str, body: &str) {
        let text = format!(
            "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.run(connection, Direction::Received, &text);
    }

    fn calls(&self) -> Vec<&RpcCall> {
        self.events
            .iter()
            .filter_map(|event| match &event.body {
                EventBody::McpCall(call) | EventBody::A2aCall(call) => Some(call.as_ref()),
                _ => None,
            })
            .collect()
    }

    fn summary(&self) -> Vec<String> {
        let one = |call: &&RpcCall| {
            let name = call.name.as_deref().unwrap_or("-");
            let status = call.status.as_str();
            format!("{} {} {name} {status}", call.transport, call.method)
        };
        self.calls().iter().map(one).collect()
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.events.iter().map(|event| event.body.kind()).collect()
    }
}

const JSON: &str = "Content-Type: application/json\r\n";
const STREAM: &str = "Content-Type: text/event-stream\r\n";

fn request(id: u64, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

fn result(id: u64, result: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

fn events(messages: &[String]) -> String {
    let event = |message: &String| format!("event: message\ndata: {message}\n\n");
    messages.iter().map(event).collect()
}

#[test]
fn streamable_http_answers_by_json_or_by_a_stream() {
    let mut site = Site::new();
    let open = json!({"protocolVersion": "2025-11-25", "clientInfo": {"name": "c"}});
    site.asks(1, "POST /mcp", JSON, &request(0, "initialize", &open));
    let opened = json!({"protocolVersion": "2025-06-18", "serverInfo": {"name": "remote"}});
    let session = format!("{JSON}Mcp-Session-Id: abc\r\n");
    site.answers(1, 200, &session, &result(0, &opened));
    let headers = format!("{JSON}Mcp-Session-Id: abc\r\nMCP-Protocol-Version: 2025-06-18\r\n");
    let done = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    site.asks(1, "POST /mcp", &headers, done);
    site.answers(1, 202, "", "");
    let call = json!({"name": "find", "arguments": {"q": 1}, "_meta": {"progressToken": "p"}});
    site.asks(1, "POST /mcp", &headers, &request(1, "tools/call", &call));
    let progress =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p"}}"#;
    let stream = [progress.to_owned(), result(1, &json!({"content": []}))];
    site.answers(1, 200, STREAM, &events(&stream));
    // A pretty-printed body, and an error of HTTP.
    let pretty = request(2, "tools/list", &Value::Null).replace(',', ",\n  ");
    site.asks(1, "POST /mcp", &headers, &pretty);
    site.answers(1, 401, "", "");

    assert_eq!(
        site.summary(),
        [
            "streamable-http initialize - ok",
            "streamable-http notifications/initialized - notification",
            "streamable-http tools/call find ok",
            "streamable-http tools/list - error",
        ]
    );
    assert!(!site.kinds().contains(&"http.exchange"));
    let call = site.calls()[2];
    assert_eq!(call.progress_count, 1);
    assert_eq!(call.server_info.as_ref().unwrap().name, "remote");
    assert_eq!(call.revision.as_deref(), Some("2025-06-18"));
    assert_eq!(call.endpoint, "https://tools.example/mcp");
    assert_eq!((call.client, call.server), (Some(CLIENT), None));
    assert_eq!(site.calls()[3].error.as_ref().unwrap().code, 401);
}

#[test]
fn a_server_asks_on_one_exchange_and_is_answered_on_another() {
    let mut site = Site::new();
    let headers = format!("{JSON}Mcp-Session-Id: abc\r\n");
    let call = json!({"name": "think"});
    site.asks(1, "POST /mcp", &headers, &request(1, "tools/call", &call));
    site.asks(
        2,
        "POST /mcp",
        &headers,
        &result(7, &json!({"action": "accept"})),
    );
    site.answers(2, 202, "", "");
    let stream = [
        request(7, "elicitation/create", &json!({"message": "?"})),
        result(1, &json!({"content": []})),
    ];
    site.answers(1, 200, STREAM, &events(&stream));
    assert_eq!(
        site.summary(),
        [
            "streamable-http elicitation/create - ok",
            "streamable-http tools/call think ok",
        ]
    );
    let asked = site.calls()[0];
    assert_eq!(asked.initiator, RpcSide::Server);
    assert_eq!(asked.client, Some(CLIENT));
    assert_eq!(asked.result, Some(json!({"action": "accept"})));
}

#[test]
fn the_older_transport_answers_on_the_stream_that_was_opened_first() {
    let mut site = Site::new();
    site.asks(1, "GET /sse", "", "");
    let path = "POST /messages/?session_id=5";
    site.asks(
        2,
        path,
        JSON,
        &request(1, "tools/call", &json!({"name": "old"})),
    );
    site.answers(2, 202, "", "Accepted");
    let stream = format!(
        "event: endpoint\ndata: /messages/?session_id=5\n\n{}",
        events(&[result(1, &json!({"content": []}))])
    );
    site.answers(1, 200, STREAM, &stream);
    assert_eq!(site.summary(), ["sse tools/call old ok"]);
}

#[test]
fn what_was_not_answered_comes_out_at_the_end() {
    let mut site = Site::new();
    site.asks(
        1,
        "POST /messages/?session_id=5",
        JSON,
        &request(1, "tools/list", &json!({})),
    );
    site.answers(1, 202, "", "Accepted");
    assert!(site.calls().is_empty());
    site.assembler.finish(KTime(999), &mut site.events);
    assert_eq!(site.summary(), ["sse tools/list - unanswered"]);
}

#[test]
fn agents_are_called_by_json_rpc_and_by_rest() {
    let mut site = Site::new();
    site.asks(1, "GET /.well-known/agent-card.json", "", "");
    let card =
        json!({"name": "planner", "version": "3", "url": "https://tools.example/", "skills": []});
    site.answers(1, 200, JSON, &card.to_string());
    let message =
        json!({"message": {"messageId": "m", "role": "user", "contextId": "c", "parts": []}});
    site.asks(1, "POST /", JSON, &request(1, "message/stream", &message));
    let stream = [
        result(
            1,
            &json!({"kind": "task", "id": "t", "contextId": "c", "status": {"state": "working"}}),
        ),
        result(
            1,
            &json!({"kind": "status-update", "taskId": "t", "contextId": "c",
            "status": {"state": "completed"}, "final": true}),
        ),
    ];
    site.answers(1, 200, STREAM, &events(&stream));
    site.asks(1, "POST /v1/message:send", JSON, &message.to_string());
    let task =
        json!({"task": {"id": "t2", "contextId": "c", "status": {"state": "TASK_STATE_FAILED"}}});
    site.answers(1, 200, JSON, &task.to_string());

    assert_eq!(
        site.summary(),
        [
            "http-rest GetAgentCard planner ok",
            "http-json-rpc message/stream planner ok",
            "http-rest SendMessage planner error",
        ]
    );
    let streamed = site.calls()[1];
    let task = streamed.task.as_ref().unwrap();
    assert_eq!(task.id.as_deref(), Some("t"));
    assert_eq!(task.context.as_deref(), Some("c"));
    assert_eq!(task.state.as_deref(), Some("completed"));
    assert_eq!(
        streamed.result.as_ref().unwrap().as_array().unwrap().len(),
        2
    );
    assert_eq!(
        site.calls()[2].task.as_ref().unwrap().state.as_deref(),
        Some("failed")
    );
}

#[test]
fn other_json_over_http_stays_what_it_is() {
    let mut site = Site::new();
    for (path, body) in [
        ("POST /", request(1, "eth_blockNumber", &json!([]))),
        (
            "POST /",
            request(1, "initialize", &json!({"protocolVersion": 1})),
        ),
        ("POST /x", json!({"id": 1, "result": {}}).to_string()),
        ("GET /.well-known/agent.json", String::new()),
        ("POST /v1/message:send", json!({"text": 1}).to_string()),
    ] {
        site.asks(1, path, JSON, &body);
        site.answers(1, 200, JSON, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    }
    assert_eq!(site.kinds(), ["http.exchange"; 5]);
}
