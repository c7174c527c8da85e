//! Bytes of pipes and sockets in, requests of MCP out.

use agentsight_model::*;
use agentsight_session::{Assembler, AssemblerOptions};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The client, its server, and a launcher between them.
const CLIENT: ProcessKey = process(10);
const SERVER: ProcessKey = process(30);

/// The pipe to the server's standard input, and the one from its standard output.
const TO: u64 = 100;
const FROM: u64 = 200;

const fn process(tgid: u32) -> ProcessKey {
    ProcessKey { tgid, start_ns: 5 }
}

fn pipe(ino: u64) -> Channel {
    Channel {
        kind: ChannelKind::Pipe,
        ino,
        peer_ino: 0,
    }
}

fn socket(ino: u64, peer_ino: u64) -> Channel {
    Channel {
        kind: ChannelKind::Unix,
        ino,
        peer_ino,
    }
}

/// A conversation as the assembler hears it.
struct Talk {
    assembler: Assembler,
    events: Vec<Event>,
    now: u64,
}

impl Talk {
    fn new(content: bool) -> Self {
        let mut options = AssemblerOptions::new([1; 32]);
        options.content = content;
        Self {
            assembler: Assembler::new(options),
            events: Vec::new(),
            now: 0,
        }
    }

    fn time(&mut self) -> KTime {
        self.now += 10;
        KTime(self.now)
    }

    fn uses(&mut self, process: ProcessKey, channel: Channel, write: bool) {
        let event = Event {
            time: self.time(),
            process,
            body: EventBody::IpcPipe(IpcPipe {
                channel,
                access: Access {
                    read: !write,
                    write,
                    ..Access::default()
                },
                ..IpcPipe::default()
            }),
        };
        self.assembler.observe(&event, &mut self.events);
    }

    /// The usual ends of two pipes.
    fn ends(&mut self) {
        self.uses(CLIENT, pipe(TO), true);
        self.uses(SERVER, pipe(TO), false);
        self.uses(SERVER, pipe(FROM), true);
        self.uses(CLIENT, pipe(FROM), false);
    }

    fn bytes(&mut self, process: ProcessKey, channel: Channel, direction: Direction, bytes: &[u8]) {
        let data = ChannelData {
            time: self.time(),
            process,
            channel,
            direction,
            missing_bytes: 0,
            bytes: bytes.to_vec(),
        };
        self.assembler.channel(&data, &mut self.events);
    }

    fn client(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.bytes(CLIENT, pipe(TO), Direction::Sent, line.as_bytes());
    }

    fn server(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.bytes(SERVER, pipe(FROM), Direction::Sent, line.as_bytes());
    }

    fn exits(&mut self, process: ProcessKey) {
        let event = Event {
            time: self.time(),
            process,
            body: EventBody::ProcessExit(ProcessExit {
                code: Some(0),
                signal: None,
                resources: ResourceUse::default(),
            }),
        };
        self.assembler.observe(&event, &mut self.events);
    }

    fn calls(&self) -> Vec<&RpcCall> {
        self.events
            .iter()
            .filter_map(|event| match &event.body {
                EventBody::McpCall(call) | EventBody::A2aCall(call) | EventBody::RpcCall(call) => {
                    Some(call.as_ref())
                }
                _ => None,
            })
            .collect()
    }

    fn finish(mut self) -> Self {
        let time = self.time();
        self.assembler.finish(time, &mut self.events);
        self
    }
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn note(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

fn result(id: u64, result: &Value) -> Value {
    json!({"result": result, "jsonrpc": "2.0", "id": id})
}

fn opening() -> [Value; 3] {
    [
        request(
            0,
            "initialize",
            &json!({"protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": {"name": "agent", "version": "1"}}),
        ),
        result(
            0,
            &json!({"protocolVersion": "2025-06-18", "capabilities": {},
                "serverInfo": {"name": "files", "version": "9"}}),
        ),
        note("notifications/initialized", &Value::Null),
    ]
}

fn opened(content: bool) -> Talk {
    let mut talk = Talk::new(content);
    talk.ends();
    let [ask, answer, done] = opening();
    talk.client(&ask);
    talk.server(&answer);
    talk.client(&done);
    talk
}

fn summary(calls: &[&RpcCall]) -> Vec<String> {
    calls
        .iter()
        .map(|call| {
            let name = call.name.as_deref().unwrap_or("-");
            format!(
                "{} {} {name} {}",
                call.id,
                call.method,
                call.status.as_str()
            )
        })
        .collect()
}

#[test]
fn requests_meet_their_answers_across_two_pipes() {
    let mut talk = opened(true);
    let text = "x".repeat(200_000);
    talk.client(&request(
        1,
        "tools/call",
        &json!({"name": "read", "arguments": {"path": "a"},
        "_meta": {"progressToken": 1, "traceparent": "00-1-2-01"}}),
    ));
    talk.server(&note(
        "notifications/progress",
        &json!({"progressToken": 1, "progress": 5}),
    ));
    talk.server(&result(
        1,
        &json!({"content": [{"type": "text", "text": text}]}),
    ));
    let calls = talk.calls();
    assert_eq!(
        summary(&calls),
        [
            "mcp-1 initialize - ok",
            "mcp-2 notifications/initialized - notification",
            "mcp-3 tools/call read ok",
        ]
    );
    let call = calls[2];
    assert_eq!((call.client, call.server), (Some(CLIENT), Some(SERVER)));
    assert_eq!(call.result.as_ref().unwrap()["content"][0]["text"], text);
    assert_eq!(call.revision.as_deref(), Some("2025-06-18"));
    assert_eq!(call.server_info.as_ref().unwrap().name, "files");
    assert_eq!(call.traceparent.as_deref(), Some("00-1-2-01"));
    assert_eq!(call.progress_count, 1);
    assert_eq!(
        (call.transport.as_str(), call.endpoint.as_str()),
        ("pipe", "pipe:[100]")
    );
    assert!(call.complete && call.ended > call.started);
    assert!(call.response.as_ref().unwrap().bytes > 200_000);
}

#[test]
fn a_server_may_ask_its_client() {
    let mut talk = opened(true);
    talk.client(&request(1, "tools/call", &json!({"name": "think"})));
    talk.server(&request(
        1,
        "sampling/createMessage",
        &json!({"messages": []}),
    ));
    talk.client(&result(1, &json!({"role": "assistant"})));
    talk.server(&result(1, &json!({"isError": true, "content": []})));
    talk.server(&note(
        "notifications/message",
        &json!({"level": "info", "data": "x"}),
    ));
    let calls = talk.calls();
    let asked = calls[2];
    assert_eq!(asked.method, "sampling/createMessage");
    assert_eq!(asked.initiator, RpcSide::Server);
    assert_eq!((asked.client, asked.server), (Some(CLIENT), Some(SERVER)));
    assert_eq!(asked.revision.as_deref(), Some("2025-06-18"));
    assert_eq!(calls[3].status, RpcStatus::Error);
    assert_eq!(calls[4].initiator, RpcSide::Server);
    assert_eq!(talk.events[3].process, CLIENT);
    assert_eq!(talk.events[2].process, SERVER);
}

#[test]
fn what_is_taken_back_or_never_answered_is_told() {
    let mut talk = opened(true);
    talk.client(&request(1, "tools/call", &json!({"name": "slow"})));
    talk.client(&note("notifications/cancelled", &json!({"requestId": 1})));
    talk.client(&request(2, "tools/call", &json!({"name": "crash"})));
    talk.client(&request(3, "tools/call", &json!({"name": "bad"})));
    talk.server(&json!({"jsonrpc": "2.0", "id": 3, "error": {"code": -32602, "message": "no"}}));
    talk.exits(SERVER);
    let calls = talk.calls();
    assert_eq!(
        summary(&calls[2..]),
        [
            "mcp-3 tools/call slow cancelled",
            "mcp-4 tools/call bad error",
            "mcp-5 tools/call crash unanswered",
        ]
    );
    assert_eq!(calls[3].error.as_ref().unwrap().code, -32602);
    assert!(!calls[4].complete);
    let ends: Vec<_> = talk
        .events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::ChannelEnd(end) => {
                Some((event.process, end.protocol.as_str(), end.messages))
            }
            _ => None,
        })
        .collect();
    assert_eq!(ends, [(SERVER, "mcp", 2)]);
}

#[test]
fn one_side_of_a_socket_is_enough() {
    // The client is not watched: everything is captured at the server.
    let mut talk = Talk::new(true);
    let [ask, answer, _] = opening();
    let end = socket(8, 7);
    let line = |message: &Value| format!("{message}\n").into_bytes();
    talk.bytes(SERVER, end.clone(), Direction::Received, &line(&ask));
    talk.bytes(SERVER, end.clone(), Direction::Sent, &line(&answer));
    let calls = talk.calls();
    assert_eq!(summary(&calls), ["mcp-1 initialize - ok"]);
    assert_eq!((calls[0].client, calls[0].server), (None, Some(SERVER)));
    assert_eq!(calls[0].transport, "unix");
}

#[test]
fn an_answer_waits_until_it_is_known_whose_it_is() {
    let mut talk = Talk::new(true);
    let [ask, answer, _] = opening();
    let line = |message: &Value| format!("{message}\n").into_bytes();
    // Both are captured where they are read, so neither writer is known.
    talk.bytes(SERVER, pipe(TO), Direction::Received, &line(&ask));
    talk.bytes(CLIENT, pipe(FROM), Direction::Received, &line(&answer));
    assert!(talk.calls().is_empty());
    talk.uses(SERVER, pipe(FROM), true);
    talk.uses(CLIENT, pipe(TO), true);
    let calls = talk.calls();
    assert_eq!(summary(&calls), ["mcp-1 initialize - ok"]);
    assert_eq!(calls[0].server, Some(SERVER));
}

#[test]
fn servers_of_one_client_are_kept_apart() {
    let mut talk = Talk::new(true);
    for number in 0..20_u64 {
        let server = process(50 + u32::try_from(number).unwrap());
        for (who, ino, write) in [
            (CLIENT, 1000 + number, true),
            (server, 1000 + number, false),
            (server, 2000 + number, true),
            (CLIENT, 2000 + number, false),
        ] {
            talk.uses(who, pipe(ino), write);
        }
    }
    // All of them have the same request open at once, and answer last to first.
    for number in 0..20 {
        let ask = format!(
            "{}\n",
            request(1, "tools/call", &json!({"name": format!("t{number}")}))
        );
        talk.bytes(CLIENT, pipe(1000 + number), Direction::Sent, ask.as_bytes());
    }
    for number in (0..20_u64).rev() {
        let server = process(50 + u32::try_from(number).unwrap());
        let answer = format!("{}\n", result(1, &json!({"n": number})));
        talk.bytes(
            server,
            pipe(2000 + number),
            Direction::Sent,
            answer.as_bytes(),
        );
    }
    let calls = talk.calls();
    assert_eq!(calls.len(), 20);
    for call in calls {
        let number = call.result.as_ref().unwrap()["n"].as_u64().unwrap();
        assert_eq!(call.name, Some(format!("t{number}")));
        assert_eq!(u64::from(call.server.unwrap().tgid), 50 + number);
    }
}

#[test]
fn language_servers_are_counted_only() {
    let mut talk = Talk::new(true);
    talk.ends();
    let headed = |message: &Value| {
        let text = message.to_string();
        format!("Content-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
    };
    let ask = request(1, "initialize", &json!({"processId": 1, "rootUri": null}));
    talk.bytes(CLIENT, pipe(TO), Direction::Sent, &headed(&ask));
    let answer = headed(&result(1, &json!({"capabilities": {}})));
    talk.bytes(SERVER, pipe(FROM), Direction::Sent, &answer);
    let open = note(
        "textDocument/didOpen",
        &json!({"textDocument": {"text": "fn main"}}),
    );
    talk.bytes(CLIENT, pipe(TO), Direction::Sent, &headed(&open));
    let talk = talk.finish();
    assert!(talk.calls().is_empty());
    let json = serde_json::to_string(&talk.events).unwrap();
    assert_eq!(json.matches(r#""protocol":"lsp""#).count(), 2, "{json}");
    assert!(!json.contains("fn main"));
}

#[test]
fn secrets_and_content_do_not_leave() {
    let secret = "AKIAQ7XW2MZP4RTY6NBD";
    let ask = request(
        1,
        "tools/call",
        &json!({"name": "put", "arguments": {"password": "hunter2hunter2",
        "text": format!("key {secret}, please")}}),
    );
    let image = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let answer = result(
        1,
        &json!({"content": [
            {"type": "text", "text": secret},
            {"type": "image", "mimeType": "image/png", "data": image},
        ]}),
    );
    for content in [true, false] {
        let mut talk = opened(content);
        talk.client(&ask);
        talk.server(&answer);
        let json = serde_json::to_string(&talk.events).unwrap();
        for hidden in [secret, "hunter2", image] {
            assert!(!json.contains(hidden), "{hidden} in {json}");
        }
        assert_eq!(json.contains("please"), content);
        let call = talk.calls()[2];
        assert_eq!(call.parts[0].mime_type.as_deref(), Some("image/png"));
        assert_eq!(
            (call.parts[0].width, call.parts[0].height),
            (Some(1), Some(1))
        );
        assert_eq!(call.name.as_deref(), Some("put"));
    }
}

#[test]
fn facts_survive_json() {
    let mut talk = opened(true);
    talk.client(&request(1, "tools/call", &json!({"name": "x"})));
    let talk = talk.finish();
    for event in &talk.events {
        let json = serde_json::to_string(event).unwrap();
        assert_eq!(
            &serde_json::from_str::<Event>(&json).unwrap(),
            event,
            "{json}"
        );
    }
}

proptest! {
    /// However the bytes are cut, the same facts come out; and whatever they are, memory stays bounded.
    #[test]
    fn any_split_gives_the_same_calls(
        cuts in prop::collection::vec(1_usize..400, 1..40),
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let [ask, answer, done] = opening();
        let noise: Vec<u8> = noise.into_iter().filter(|byte| *byte != b'\n').collect();
        let line = |message: &Value| format!("{message}\n").into_bytes();
        let mut to = [line(&ask), line(&done)].concat();
        to.extend(line(&request(1, "tools/call", &json!({"name": "é"}))));
        let mut from = line(&answer);
        from.extend_from_slice(b"log ");
        from.extend(noise);
        from.push(b'\n');
        from.extend(line(&result(1, &json!([1]))));
        let run = |cuts: &[usize]| {
            let mut talk = Talk::new(true);
            talk.ends();
            let mut cuts = cuts.iter().cycle();
            for (who, channel, bytes) in [(CLIENT, pipe(TO), &to), (SERVER, pipe(FROM), &from)] {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let count = (*cuts.next().unwrap()).min(rest.len());
                    talk.bytes(who, channel.clone(), Direction::Sent, &rest[..count]);
                    rest = &rest[count..];
                }
            }
            let talk = talk.finish();
            let calls = talk.calls().into_iter().cloned().map(|call| RpcCall {
                started: KTime(0),
                ended: KTime(0),
                ..call
            });
            calls.collect::<Vec<_>>()
        };
        prop_assert_eq!(run(&cuts), run(&[usize::MAX]));
    }
}

/// What the reference server for files and a client of it said, line by line.
#[test]
fn a_real_server_is_understood() {
    let client = include_str!("transcripts/filesystem.client");
    let server = include_str!("transcripts/filesystem.server");
    let mut talk = Talk::new(true);
    talk.ends();
    let (mut to, mut from) = (client.lines(), server.lines());
    // After `initialized`, the server asks for the roots of its client.
    for side in "cscsccscscscscs".chars() {
        let (who, channel, line) = match side {
            'c' => (CLIENT, pipe(TO), to.next()),
            _ => (SERVER, pipe(FROM), from.next()),
        };
        let line = format!("{}\n", line.unwrap());
        talk.bytes(who, channel, Direction::Sent, line.as_bytes());
    }
    let talk = talk.finish();
    assert_eq!(
        summary(&talk.calls()),
        [
            "mcp-1 initialize - ok",
            "mcp-2 notifications/initialized - notification",
            "mcp-3 roots/list - ok",
            "mcp-4 tools/call read_text_file ok",
            "mcp-5 tools/call write_file ok",
            "mcp-6 tools/call read_text_file error",
            "mcp-7 tools/call no_such_tool error",
            "mcp-8 prompts/list - error",
        ]
    );
    for call in talk.calls() {
        assert_eq!(
            (call.client, call.server),
            (Some(CLIENT), Some(SERVER)),
            "{call:?}"
        );
        assert_eq!(
            call.server_info.as_ref().unwrap().name,
            "secure-filesystem-server"
        );
        assert!(call.complete);
    }
}
