//! The scripted server on the wire: what it promises in its truth is what a client gets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod common;

use std::io::Read;
use std::time::{Duration, Instant};

use agentsight_model::Usage;
use agentsight_testkit::{Dialect, Fault, ModelServer, Outcome, Script, ToolRequest, Turn};
use common::Client;
use serde_json::{Value, json};

/// A request in each dialect, streamed and not.
fn requests() -> Vec<(Dialect, bool, String, Vec<u8>)> {
    let mut requests = Vec::new();
    for stream in [true, false] {
        let body = |body: Value| body.to_string().into_bytes();
        let messages = json!([{ "role": "user", "content": "go" }]);
        requests.push((
            Dialect::AnthropicMessages,
            stream,
            "/v1/messages".to_owned(),
            body(json!({ "model": "m", "messages": messages, "stream": stream })),
        ));
        requests.push((
            Dialect::OpenAiChat,
            stream,
            "/v1/chat/completions".to_owned(),
            body(json!({ "model": "m", "messages": messages, "stream": stream })),
        ));
        requests.push((
            Dialect::OpenAiResponses,
            stream,
            "/v1/responses".to_owned(),
            body(json!({ "model": "m", "input": messages, "stream": stream })),
        ));
        let verb = if stream {
            "streamGenerateContent?alt=sse"
        } else {
            "generateContent"
        };
        requests.push((
            Dialect::Gemini,
            stream,
            format!("/v1beta/models/m:{verb}"),
            body(json!({ "contents": [{ "role": "user", "parts": [{ "text": "go" }] }] })),
        ));
    }
    let target = "/v1beta/models/m:streamGenerateContent".to_owned();
    requests.push((Dialect::Gemini, true, target, b"{}".to_vec()));
    requests
}

fn turn() -> Turn {
    Turn::text("I shall look – ümläuts and all.").tool(ToolRequest::shell("ls -l"))
}

#[test]
fn the_truth_is_what_went_over_the_wire() {
    for write_bytes in [1, 7, usize::MAX] {
        let script = Script::new([turn()])
            .write_bytes(write_bytes)
            .delta_chars(3);
        let server = ModelServer::start(script).unwrap();
        let mut client = Client::connect(&server);
        for (dialect, stream, target, body) in requests() {
            let case = format!("{dialect:?} {stream} {write_bytes}");
            let answer = client.post(&target, "", &body);
            assert!(answer.complete, "{case}");
            let truth = server.truth();
            let exchange = truth.last().unwrap();
            assert_eq!(exchange.dialect, dialect, "{case}");
            assert_eq!(exchange.stream, stream, "{case}");
            assert_eq!(exchange.model, "m", "{case}");
            assert_eq!(
                exchange.request.content.as_deref(),
                Some(body.as_slice()),
                "{case}"
            );
            assert_eq!(exchange.response.content, Some(answer.body), "{case}");
            assert_eq!(exchange.outcome, Outcome::Complete, "{case}");
            assert_eq!(exchange.status, Some(200), "{case}");
            assert_eq!(
                exchange.tool_calls[0].arguments,
                json!({ "command": "ls -l" })
            );
        }
        assert!(
            server
                .truth()
                .iter()
                .all(|exchange| exchange.connection == 1)
        );
    }
}

#[test]
fn compressed_answers_decompress_to_the_truth() {
    let server = ModelServer::start(Script::new([turn()]).gzip()).unwrap();
    let mut client = Client::connect(&server);
    for (dialect, stream, target, body) in requests() {
        let answer = client.post(&target, "Accept-Encoding: br, gzip\r\n", &body);
        assert!(
            answer.head.contains("Content-Encoding: gzip"),
            "{}",
            answer.head
        );
        let mut decoded = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(answer.body.as_slice());
        decoder.read_to_end(&mut decoded).unwrap();
        let exchange = server.truth().pop().unwrap();
        assert_eq!(
            exchange.response.content,
            Some(decoded),
            "{dialect:?} {stream}"
        );
        assert_eq!(exchange.response.wire_bytes, answer.body.len() as u64);
        assert_eq!(exchange.response.encoding.as_deref(), Some("gzip"));
    }
    let (_, _, target, body) = requests().remove(0);
    let plain = client.post(&target, "", &body);
    assert!(!plain.head.contains("Content-Encoding"), "not asked for");
}

#[test]
fn usage_is_the_scripts_if_it_says() {
    let usage = Usage {
        input_tokens: Some(1200),
        output_tokens: Some(80),
        cache_read_input_tokens: Some(1000),
        cache_creation_input_tokens: Some(100),
        reasoning_output_tokens: Some(0),
        ..Usage::default()
    };
    let server = ModelServer::start(Script::new([Turn::text("x").usage(usage)])).unwrap();
    let mut client = Client::connect(&server);
    let body = br#"{"model":"m","messages":[]}"#;
    let answer: Value =
        serde_json::from_slice(&client.post("/v1/messages", "", body).body).unwrap();
    assert_eq!(answer["usage"]["input_tokens"], 100);
    assert_eq!(server.truth()[0].usage, usage);
}

#[test]
fn faults_happen_as_often_as_scripted() {
    let fault = Fault::Status {
        code: 429,
        retry_after_seconds: Some(3),
    };
    for (dialect, stream, target, body) in requests() {
        let server = ModelServer::start(Script::new([turn().fault(fault.clone(), 2)])).unwrap();
        let mut client = Client::connect(&server);
        for expected in [429, 429, 200, 200] {
            let answer = client.post(&target, "", &body);
            let line = format!("HTTP/1.1 {expected} ");
            assert!(
                answer.head.starts_with(&line),
                "{dialect:?} {stream}: {}",
                answer.head
            );
            assert_eq!(answer.head.contains("Retry-After: 3"), expected == 429);
        }
        let truth = server.truth();
        let statuses: Vec<_> = truth.iter().map(|exchange| exchange.status).collect();
        assert_eq!(statuses, [429, 429, 200, 200].map(Some));
        let calls: Vec<_> = truth
            .iter()
            .map(|exchange| exchange.tool_calls.len())
            .collect();
        assert_eq!(calls, [0, 0, 1, 1]);
    }
}

#[test]
fn truncated_answers_end_in_good_order() {
    for (dialect, stream, target, body) in requests() {
        let fault = Fault::Truncated { pieces: 2 };
        let server = ModelServer::start(Script::new([turn().fault(fault, 1)])).unwrap();
        let mut client = Client::connect(&server);
        let cut = client.post(&target, "", &body);
        let whole = client.post(&target, "", &body);
        let case = format!("{dialect:?} {stream}");
        assert!(cut.complete && whole.complete, "{case}");
        assert!(cut.body.len() < whole.body.len(), "{case}");
        let truth = server.truth();
        assert_eq!(truth[0].outcome, Outcome::Truncated, "{case}");
        assert_eq!(truth[0].response.content, Some(cut.body), "{case}");
        assert_eq!(truth[1].outcome, Outcome::Complete, "{case}");
    }
}

#[test]
fn cut_answers_break_the_connection() {
    for gzip in [false, true] {
        for (dialect, stream, target, body) in requests() {
            let fault = Fault::Cut { pieces: 2 };
            let mut script = Script::new([turn().fault(fault, 1)]);
            if gzip {
                script = script.gzip();
            }
            let server = ModelServer::start(script).unwrap();
            let mut client = Client::connect(&server);
            let answer = client.post(&target, "Accept-Encoding: gzip\r\n", &body);
            let case = format!("{dialect:?} {stream} {gzip}");
            assert!(!answer.complete, "{case}");
            assert!(!answer.body.is_empty(), "{case}");
            assert_eq!(server.truth()[0].outcome, Outcome::Cut, "{case}");
        }
    }
}

#[test]
fn an_answer_without_end_stays_open_until_the_server_stops() {
    let fault = Fault::NoEnd { pieces: 3 };
    let server = ModelServer::start(Script::new([turn().fault(fault, u32::MAX)])).unwrap();
    for (dialect, stream, target, body) in requests() {
        let mut client = Client::connect(&server);
        client.patience(Duration::from_millis(300));
        let begun = Instant::now();
        let answer = client.post(&target, "", &body);
        let case = format!("{dialect:?} {stream}");
        assert!(!answer.complete, "{case}");
        assert!(
            begun.elapsed() >= Duration::from_millis(300),
            "{case}: closed"
        );
        let exchange = server.truth().pop().unwrap();
        assert_eq!(exchange.outcome, Outcome::NoEnd, "{case}");
        assert_eq!(exchange.response.content, Some(answer.body), "{case}");
    }
    let mut waiting = Client::connect(&server);
    waiting.send(b"POST /v1/messages HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    server.stop();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "stopping took too long"
    );
}

#[test]
fn garbage_is_what_the_script_says() {
    let garbage = b"\x00\xff\x16\x03\x01 not http\r\n\r\n".to_vec();
    let fault = Fault::Garbage(garbage.clone());
    let server = ModelServer::start(Script::new([turn().fault(fault, 1)])).unwrap();
    let mut client = Client::connect(&server);
    client.send(b"POST /v1/messages HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(client.raw(), garbage);
    let truth = server.truth();
    assert_eq!(
        (truth[0].status, truth[0].outcome),
        (None, Outcome::Garbage)
    );
}

#[test]
fn nesting_leaves_the_answer_whole() {
    for (dialect, stream, target, body) in requests() {
        let fault = Fault::NestedJson { levels: 100 };
        let server = ModelServer::start(Script::new([turn().fault(fault, 1)])).unwrap();
        let answer = Client::connect(&server).post(&target, "", &body);
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains(&"[".repeat(100)), "{dialect:?} {stream}");
        if !stream {
            serde_json::from_str::<Value>(&text).unwrap();
        }
        assert_eq!(server.truth()[0].outcome, Outcome::Complete);
    }
}

#[test]
fn large_bodies_pass() {
    let words = "0123456789abcdef".repeat(5_000);
    let server = ModelServer::start(Script::new([Turn::text(words.clone())])).unwrap();
    let mut client = Client::connect(&server);
    let body = json!({ "model": "m", "stream": true, "messages": [
        { "role": "user", "content": "x".repeat(2 << 20) },
    ] });
    let body = body.to_string().into_bytes();
    let answer = client.post("/v1/messages", "", &body);
    assert!(answer.complete);
    let exchange = server.truth().pop().unwrap();
    assert_eq!(exchange.request.content, Some(body));
    assert_eq!(exchange.text, words);
    let deltas = exchange.response.as_str().matches("text_delta").count();
    assert_eq!(deltas, 5_000);
}

#[test]
fn other_requests_are_counted_and_echo_echoes() {
    let server = ModelServer::start(Script::new([])).unwrap();
    let mut client = Client::connect(&server);
    let payload = vec![7; 100_000];
    assert_eq!(
        client
            .post("/echo", "Expect: 100-continue\r\n", &payload)
            .head,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    assert_eq!(client.answer().body, payload);
    assert!(
        client
            .post("/nothing", "", b"")
            .head
            .starts_with("HTTP/1.1 404")
    );
    let wrong = client.post("/v1/messages", "", b"no json");
    assert!(wrong.head.starts_with("HTTP/1.1 400"), "{}", wrong.head);
    client.send(b"GET /v1/messages HTTP/1.1\r\n\r\n");
    assert!(client.answer().head.starts_with("HTTP/1.1 404"));
    assert_eq!(server.other_requests(), 3);
    assert!(server.truth().is_empty());
}

#[test]
fn clients_that_break_the_protocol_harm_nobody() {
    let server = ModelServer::start(Script::new([Turn::text("still here")])).unwrap();
    for bytes in [
        &b"\x00\x01\x02"[..],
        b"GET /\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut client = Client::connect(&server);
        client.send(bytes);
        client.patience(Duration::from_millis(200));
        client.raw();
    }
    // No TLS at all.
    let mut plain = std::net::TcpStream::connect(server.address()).unwrap();
    std::io::Write::write_all(&mut plain, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    drop(plain);
    let answer = Client::connect(&server).post("/v1/messages", "", b"{}");
    assert!(String::from_utf8_lossy(&answer.body).contains("still here"));
}

#[test]
fn many_clients_at_once_get_their_own_turns() {
    let script = Script::new([turn(), Turn::text("done")]);
    let server = ModelServer::start(script).unwrap();
    let result = json!({ "role": "tool", "content": "" });
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (server, result) = (&server, &result);
            scope.spawn(move || {
                let messages = vec![result.clone(); number % 2];
                let body = json!({ "model": number.to_string(), "messages": messages });
                let body = body.to_string();
                let mut client = Client::connect(server);
                for _ in 0..5 {
                    let answer = client.post("/v1/chat/completions", "", body.as_bytes());
                    assert_eq!(
                        String::from_utf8_lossy(&answer.body).contains("done"),
                        number % 2 == 1
                    );
                }
            });
        }
    });
    let truth = server.truth();
    assert_eq!(truth.len(), 80);
    for exchange in &truth {
        assert_eq!(exchange.turn, exchange.tool_results);
    }
    let mut ids: Vec<_> = truth
        .iter()
        .flat_map(|e| &e.tool_calls)
        .map(|c| c.id.clone())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40, "call ids are unique");
}
