//! How a stored session grows with its turns.
//! `cargo test -p agentsight-store --test growth -- --nocapture` prints the figures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fmt::Write as _;
use std::path::Path;

use agentsight_ledger::{Options, Reader, Writer};
use agentsight_model::{
    Event, EventBody, KTime, LlmCall, Message, Part, ProcessKey, SessionStart, Usage,
};
use agentsight_session::{Deduplicator, SessionGraph};
use serde_json::json;

const SESSION: &str = "01J8ZQ4Y3V7M2N5P6R8S9T0W1X";

/// What a turn adds: a tool's result and an answer, of about as many bytes as an agent's.
const RESULT_BYTES: usize = 4000;
const ANSWER_BYTES: usize = 1000;

/// Words that do not repeat each other, so that compression does not hide what is measured.
struct Words(u64);

impl Words {
    fn text(&mut self, bytes: usize) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            // xorshift (Marsaglia 2003).
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            write!(text, "{:x} ", self.0).unwrap();
        }
        text
    }

    fn message(&mut self, role: &str, bytes: usize) -> Message {
        Message {
            role: role.into(),
            parts: vec![Part::Text {
                content: self.text(bytes),
            }],
        }
    }
}

fn call(number: usize, messages: Vec<Message>, system: &str, answer: Message) -> LlmCall {
    let body = json!({
        "bytes": 0, "sha256": "", "wire_bytes": 0, "encoding": null, "complete": true,
    });
    let mut call: LlmCall = serde_json::from_value(json!({
        "id": format!("llm-{number}"), "provider": "anthropic", "api": "anthropic.messages",
        "model": "m", "request_model": "m", "operation": "chat",
        "process": ProcessKey::default(), "endpoint": "https://model.example/v1/messages",
        "transport": "http/1.1", "status": 200, "started": number, "first_byte": null,
        "ended": number + 1, "complete": true,
        "request": {"messages": [], "system": [{"type": "text", "content": system}],
                    "tools": [], "parameters": {}, "body": body},
        "response": {"messages": [], "id": null, "body": body},
        "finish_reasons": [], "usage": Usage::default(),
    }))
    .unwrap();
    call.request.messages = messages;
    call.response.messages = vec![answer];
    call
}

fn event(body: EventBody) -> Event {
    Event {
        time: KTime(1),
        process: ProcessKey::default(),
        body,
    }
}

/// Stored bytes of a session of `turns` turns, and what is read back of its last request.
fn stored(turns: usize, once: bool) -> (u64, usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(SESSION);
    let mut writer = Writer::create(&path, SESSION, Options::default()).unwrap();
    let start = SessionStart::default();
    let begin = event(EventBody::SessionStart(Box::new(start)));
    writer.append(&begin).unwrap();
    let mut words = Words(0x2545_f491_4f6c_dd1d);
    let system = words.text(10_000);
    let mut history = vec![words.message("user", 200)];
    let mut all = Deduplicator::default();
    for turn in 1..=turns {
        let answer = words.message("assistant", ANSWER_BYTES);
        let call = call(turn, history.clone(), &system, answer.clone());
        history.extend([answer, words.message("tool", RESULT_BYTES)]);
        let (pieces, call) = if once {
            all.split(call)
        } else {
            (Vec::new(), call)
        };
        for piece in pieces {
            let body = EventBody::LlmContent(Box::new(piece));
            writer.append(&event(body)).unwrap();
        }
        let body = EventBody::LlmCall(Box::new(call));
        writer.append(&event(body)).unwrap();
    }
    writer.close().unwrap();
    (bytes_in(&path), last_request(&path))
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

/// Bytes of text in the last request, as the ledger gives it back.
fn last_request(directory: &Path) -> usize {
    let mut graph = SessionGraph::default();
    for record in Reader::open(directory).unwrap() {
        let (seq, event) = record.unwrap();
        graph.apply(seq, &event);
    }
    let document = graph.document();
    assert!(document.coverage.omitted.is_empty());
    let last = document.llm_calls.last().unwrap();
    let parts = last.request.messages.iter().flat_map(|said| &said.parts);
    parts
        .map(|part| match part {
            Part::Text { content } => content.len(),
            _ => 0,
        })
        .sum()
}

#[test]
fn a_session_grows_with_what_is_new_in_it() {
    let mut growth = Vec::new();
    for turns in [10, 20, 40, 80, 160] {
        let (bytes, read_back) = stored(turns, true);
        let (repeated, same) = stored(turns, false);
        assert_eq!(read_back, same);
        println!("{turns:4} turns: {bytes:9} bytes stored; repeated with each call {repeated:9}");
        growth.push(bytes);
    }
    // Twice the turns add twice as much, give or take a tenth.
    for step in growth.windows(3) {
        let (first, second) = (step[1] - step[0], step[2] - step[1]);
        assert!(second * 10 < first * 22, "{growth:?}");
    }
}
