//! How fast bytes become exchanges, and exchanges conversations: `cargo xtask bench decode`.
//!
//! One thread, from memory, in runs of 16 KiB as TLS records bring them. Each line is the best of many
//! runs, in megabytes (10^6 bytes) of plaintext a second; allocations are counted in one more run.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::alloc::System;
use std::hint::black_box;
use std::time::{Duration, Instant};

use agentsight_decode::http::sse::Parser;
use agentsight_decode::http::{Connection, Exchange, Limits};
use agentsight_decode::llm;
use agentsight_model::Direction::{self, Received, Sent};
use agentsight_model::{KTime, ProcessKey};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a TLS record carries at most.
const RUN_BYTES: usize = 16 << 10;

/// How long one line is measured.
const MEASURED: Duration = Duration::from_millis(1500);

type Script = Vec<(Direction, Vec<u8>)>;

/// Megabytes a second of the best run: what else the machine does can only make one slower.
fn measure(bytes: usize, mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut best = Duration::MAX;
    while begun.elapsed() < MEASURED {
        let started = Instant::now();
        work();
        best = best.min(started.elapsed());
    }
    bytes as f64 / 1e6 / best.as_secs_f64()
}

fn allocations(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    change.allocations + change.reallocations
}

fn report(name: &str, bytes: usize, chunks: usize, mut work: impl FnMut()) {
    let speed = measure(bytes, &mut work);
    let count = allocations(&mut work);
    let each = match chunks {
        0 => String::new(),
        chunks => format!("{:.2}", count as f64 / chunks as f64),
    };
    println!("| {name} | {bytes} | {speed:.0} | {count} | {each} |");
}

fn exchanges(script: &Script) -> Vec<Exchange> {
    let mut connection = Connection::new(Limits::default());
    let mut out = Vec::new();
    for (direction, bytes) in script {
        for run in bytes.chunks(RUN_BYTES) {
            connection.push(*direction, KTime(1), run, &mut out);
        }
    }
    connection.finish(KTime(2), &mut out);
    out
}

fn calls(script: &Script) -> usize {
    let process = ProcessKey {
        tgid: 1,
        start_ns: 1,
    };
    let found = exchanges(script);
    let calls = found
        .iter()
        .filter_map(|exchange| llm::decode(exchange, process, "llm-1"));
    calls.filter(|call| black_box(call).complete).count()
}

fn bytes_of(script: &Script) -> usize {
    script.iter().map(|(_, bytes)| bytes.len()).sum()
}

fn message(head: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("{head}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn chunked(head: &str, pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for piece in pieces {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// Many frames of data on one stream, after a header block without references.
fn http2(body: &[u8]) -> Script {
    let frame = |kind: u8, flags: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        [&head[..], payload].concat()
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let request = [&preface[..], &frame(1, 5, b"\x83\x87\x84\x01\x01h")].concat();
    let mut answer = frame(1, 4, b"\x88");
    for piece in body.chunks(RUN_BYTES) {
        answer.extend_from_slice(&frame(0, 0, piece));
    }
    answer.extend_from_slice(&frame(0, 1, b""));
    vec![(Sent, request), (Received, answer)]
}

/// A request as a coding agent sends it late in a session: a long system prompt, two dozen tools, and a
/// history of calls of tools and their results.
fn agent_request() -> Vec<u8> {
    let sentence =
        "Reads a file; \"offset\" and \"limit\" are lines.\nResults come with numbers.\n";
    let tools: Vec<Value> = (0..24)
        .map(|number| {
            json!({"name": format!("tool_{number}"), "description": sentence.repeat(20),
                "input_schema": {"type": "object", "required": ["path"], "properties": {
                    "path": {"type": "string", "description": sentence}, "limit": {"type": "integer"}}}})
        })
        .collect();
    let mut messages = vec![json!({"role": "user", "content": "Mend the build."})];
    for number in 0..60 {
        let id = format!("toolu_{number:024}");
        messages.push(json!({"role": "assistant", "content": [
            {"type": "text", "text": sentence},
            {"type": "tool_use", "id": id, "name": "tool_1", "input": {"path": "/src/main.rs"}}]}));
        messages.push(json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": id, "content": sentence.repeat(30)}]}));
    }
    let system = json!([{"type": "text", "text": sentence.repeat(250),
        "cache_control": {"type": "ephemeral"}}]);
    json!({"model": "claude-sonnet-4-5", "max_tokens": 32000, "stream": true, "system": system,
        "tools": tools, "messages": messages})
    .to_string()
    .into_bytes()
}

fn event(name: &str, data: &Value) -> Vec<u8> {
    format!("event: {name}\ndata: {data}\n\n").into_bytes()
}

/// The pieces of an answer of Anthropic's: a text, and a call with long arguments.
fn anthropic_answer(pieces: usize) -> Vec<Vec<u8>> {
    let mut out = vec![event(
        "message_start",
        &json!({"type": "message_start", "message": {"id": "msg_1", "type": "message",
            "role": "assistant", "model": "claude-sonnet-4-5", "content": [],
            "usage": {"input_tokens": 9, "output_tokens": 1}}}),
    )];
    let blocks = [
        (json!({"type": "text", "text": ""}), "text_delta", "text"),
        (
            json!({"type": "tool_use", "id": "toolu_1", "name": "tool_1", "input": {}}),
            "input_json_delta",
            "partial_json",
        ),
    ];
    for (index, (start, kind, key)) in blocks.into_iter().enumerate() {
        let begun = json!({"type": "content_block_start", "index": index, "content_block": start});
        out.push(event("content_block_start", &begun));
        for number in 0..pieces / 2 {
            let text = match (index, number) {
                (0, _) => " some words",
                (_, 0) => "{\"path\": \"",
                (_, number) if number + 1 == pieces / 2 => "\"}",
                _ => "more/path/",
            };
            let delta = json!({"type": "content_block_delta", "index": index,
                "delta": {"type": kind, key: text}});
            out.push(event("content_block_delta", &delta));
        }
        let ended = json!({"type": "content_block_stop", "index": index});
        out.push(event("content_block_stop", &ended));
    }
    out.push(event(
        "message_delta",
        &json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 900}}),
    ));
    out.push(event("message_stop", &json!({"type": "message_stop"})));
    out
}

/// The pieces of an answer of OpenAI's chat completions.
fn openai_answer(pieces: usize) -> Vec<Vec<u8>> {
    let chunk = |delta: Value, reason: Value| {
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "gpt-5", "service_tier": "default", "system_fingerprint": "fp_1",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}],
            "usage": null});
        format!("data: {chunk}\n\n").into_bytes()
    };
    let mut out: Vec<_> = (0..pieces)
        .map(|_| chunk(json!({"content": " some words"}), Value::Null))
        .collect();
    out.push(chunk(json!({}), json!("stop")));
    out.push(b"data: [DONE]\n\n".to_vec());
    out
}

fn framing() {
    let body = b"abcdefghijklmnopqrstuvwxyz 0123456789\n".repeat(1 << 18);
    let request = || message("POST /upload HTTP/1.1\r\nHost: h", b"");
    let answer = message("HTTP/1.1 200 OK\r\nContent-Type: text/plain", &body);
    let pieces: Vec<_> = body.chunks(4096).map(<[u8]>::to_vec).collect();
    let in_chunks = chunked("HTTP/1.1 200 OK\r\nContent-Type: text/plain", &pieces);
    for (name, script) in [
        (
            "HTTP/1.1, one body",
            vec![(Sent, request()), (Received, answer)],
        ),
        (
            "HTTP/1.1, chunks of 4 KiB",
            vec![(Sent, request()), (Received, in_chunks)],
        ),
        ("HTTP/2, frames of 16 KiB", http2(&body)),
    ] {
        assert_eq!(exchanges(&script).len(), 1);
        report(name, bytes_of(&script), 0, || {
            black_box(exchanges(&script));
        });
    }
}

fn conversations() {
    const PIECES: usize = 5000;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream";
    let ask = |path: &str, body: &[u8]| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json");
        message(&head, body)
    };
    let small = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    let openai = openai_answer(PIECES);
    let plain = openai.concat();
    report("events alone, 5,000 pieces", plain.len(), PIECES, || {
        let (mut parser, mut out) = (Parser::default(), Vec::new());
        for run in plain.chunks(RUN_BYTES) {
            parser.push(run, &mut out);
        }
        black_box(out);
    });
    for (name, request, answer, pieces) in [
        (
            "call: a coding agent's turn, Anthropic",
            ask("/v1/messages", &agent_request()),
            chunked(head, &anthropic_answer(400)),
            400,
        ),
        (
            "call: 5,000 pieces, Anthropic",
            ask("/v1/messages", small.as_bytes()),
            chunked(head, &anthropic_answer(PIECES)),
            PIECES,
        ),
        (
            "call: 5,000 pieces, OpenAI",
            ask("/v1/chat/completions", small.as_bytes()),
            chunked(head, &openai),
            PIECES,
        ),
    ] {
        let script = vec![(Sent, request), (Received, answer)];
        assert_eq!(calls(&script), 1, "{name}");
        report(name, bytes_of(&script), pieces, || {
            black_box(calls(&script));
        });
    }
}

fn main() {
    println!("| what | bytes | MB/s | allocations | a piece |");
    println!("|---|---|---|---|---|");
    framing();
    conversations();
}
