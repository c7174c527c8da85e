//! Pieces of streams that only carry text on are read on a way of their own. What comes out must be what
//! reading all of them whole gives: a field that no one knows makes that happen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use agentsight_decode::llm;
use agentsight_model::{LlmCall, ProcessKey};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{decode, message, received, sent};

/// The call that a stream of these events makes. `whole`: with a field in each that no one knows, and
/// positions that only the whole reading takes.
fn call(path: &str, events: &[Value], whole: bool) -> LlmCall {
    let request = json!({"model": "m", "max_tokens": 1, "input": "x",
        "messages": [{"role": "user", "content": "x"}]})
    .to_string();
    let mut body = String::new();
    for event in events {
        let mut event = event.clone();
        if whole {
            event["unknown"] = json!({"a": 1});
            for key in ["output_index", "content_index", "summary_index"] {
                if let Some(index) = event.get(key).and_then(Value::as_f64) {
                    event[key] = json!(index);
                }
            }
        }
        body.push_str(&format!("data: {event}\n\n"));
    }
    let head = |first: &str, media_type: &str, length: usize| {
        format!("{first}\nContent-Type: {media_type}\nContent-Length: {length}")
    };
    let first = format!("POST {path} HTTP/1.1");
    let asked = head(&first, "application/json", request.len());
    let answered = head("HTTP/1.1 200 OK", "text/event-stream", body.len());
    let exchanges = decode(&vec![
        sent(message(&asked, request.as_bytes())),
        received(message(&answered, body.as_bytes())),
    ]);
    let process = ProcessKey {
        tgid: 1,
        start_ns: 1,
    };
    let mut call = llm::decode(&exchanges[0], process, "llm-1").unwrap();
    // The one thing that differs by design.
    call.response.body = Default::default();
    call
}

fn any_texts() -> impl Strategy<Value = Vec<(u8, u8, String)>> {
    prop::collection::vec((0..3_u8, 0..4_u8, any::<String>()), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn chat_completions(texts in any_texts(), fingerprint in any::<bool>()) {
        let chunk = |index: u8, delta: Value| json!({"id": "c", "object": "chat.completion.chunk",
            "model": "m", "created": 1, "service_tier": "default", "usage": null,
            "system_fingerprint": if fingerprint { json!(index) } else { json!("fp") },
            "choices": [{"index": index, "delta": delta, "finish_reason": null}]});
        let mut events: Vec<_> = texts.iter().map(|(index, kind, text)| chunk(*index, match kind {
            0 => json!({"content": text}),
            1 => json!({"reasoning_content": text, "content": null}),
            2 => json!({"reasoning": text, "role": "assistant"}),
            _ => json!({"tool_calls": [{"index": 0, "id": "t", "function": {"arguments": text}}]}),
        })).collect();
        events.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
        let path = "/v1/chat/completions";
        prop_assert_eq!(call(path, &events, false), call(path, &events, true));
    }

    #[test]
    fn anthropic_messages(texts in any_texts()) {
        let mut events = vec![json!({"type": "message_start", "message": {"id": "m", "type": "message",
            "role": "assistant", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}})];
        for (index, kind) in ["text", "thinking", "tool_use"].iter().enumerate() {
            events.push(json!({"type": "content_block_start", "index": index,
                "content_block": {"type": kind, "id": "t", "name": "n"}}));
        }
        for (index, _, text) in &texts {
            let (kind, key) = [("text_delta", "text"), ("thinking_delta", "thinking"),
                ("input_json_delta", "partial_json")][usize::from(*index)];
            events.push(json!({"type": "content_block_delta", "index": index,
                "delta": {"type": kind, key: text}}));
        }
        events.push(json!({"type": "message_stop"}));
        prop_assert_eq!(call("/v1/messages", &events, false), call("/v1/messages", &events, true));
    }

    #[test]
    fn responses(texts in any_texts()) {
        let mut events = vec![json!({"type": "response.created",
            "response": {"id": "r", "object": "response", "status": "in_progress", "output": []}})];
        for (index, kind, text) in &texts {
            let kind = ["output_text", "refusal", "reasoning_summary_text", "function_call_arguments"]
                [usize::from(*kind)];
            events.push(json!({"type": format!("response.{kind}.delta"), "output_index": index,
                "content_index": 0, "summary_index": index, "delta": text, "sequence_number": 1}));
        }
        let path = "/v1/responses";
        prop_assert_eq!(call(path, &events, false), call(path, &events, true));
    }
}
