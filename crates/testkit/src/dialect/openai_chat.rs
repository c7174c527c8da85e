//! OpenAI Chat Completions: `POST /v1/chat/completions`.

use serde_json::{Value, json};

use super::{Answer, Asked, Event, Format, Framing, elements, is_true, pieces, string, with};

pub(super) const FORMAT: Format = Format {
    read,
    call_id: |suffix| Some(format!("call_{suffix}")),
    finish_reason: |calls| if calls { "tool_calls" } else { "stop" },
    document,
    events,
    error: openai_error,
};

fn read(_target: &str, body: &Value) -> Asked {
    Asked {
        model: string(body, "model"),
        framing: if is_true(body, "stream") {
            Framing::Sse
        } else {
            Framing::Document
        },
        tool_results: elements(body, "messages")
            .iter()
            .filter(|message| string(message, "role") == "tool")
            .count(),
        usage_in_stream: body
            .get("stream_options")
            .is_some_and(|options| is_true(options, "include_usage")),
    }
}

fn usage(answer: &Answer) -> Value {
    let input = answer.usage.input_tokens.unwrap_or(0);
    let output = answer.usage.output_tokens.unwrap_or(0);
    json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input.saturating_add(output),
        "prompt_tokens_details": { "cached_tokens": answer.usage.cache_read_input_tokens.unwrap_or(0) },
        "completion_tokens_details": {
            "reasoning_tokens": answer.usage.reasoning_output_tokens.unwrap_or(0),
        },
    })
}

fn document(answer: &Answer) -> Value {
    let mut message = json!({ "role": "assistant", "content": answer.text });
    if !answer.calls.is_empty() {
        let calls = answer.calls.iter();
        let calls: Vec<Value> = calls
            .map(|call| {
                json!({ "id": call.id, "type": "function", "function": {
                    "name": call.name, "arguments": call.arguments.to_string(),
                } })
            })
            .collect();
        message = with(message, "tool_calls", calls);
    }
    json!({
        "id": answer.id("chatcmpl-"), "object": "chat.completion", "created": 1_790_000_000,
        "model": answer.model,
        "choices": [{ "index": 0, "message": message, "finish_reason": answer.finish_reason }],
        "usage": usage(answer),
    })
}

fn events(answer: &Answer) -> Vec<Event> {
    let chunk = |choices: Value, usage: Value| {
        Event::plain(&json!({
            "id": answer.id("chatcmpl-"), "object": "chat.completion.chunk", "created": 1_790_000_000,
            "model": answer.model, "choices": choices, "usage": usage,
        }))
    };
    let delta = |delta: Value, finish_reason: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish_reason });
        chunk(json!([choice]), Value::Null)
    };
    let mut events = vec![delta(json!({ "role": "assistant", "content": "" }), None)];
    for text in answer.text_deltas() {
        events.push(delta(json!({ "content": text }), None));
    }
    for (index, call) in answer.calls.iter().enumerate() {
        let start = json!({ "index": index, "id": call.id, "type": "function",
            "function": { "name": call.name, "arguments": "" } });
        events.push(delta(json!({ "tool_calls": [start] }), None));
        for piece in pieces(&call.arguments.to_string(), answer.delta_chars) {
            let more = json!({ "index": index, "function": { "arguments": piece } });
            events.push(delta(json!({ "tool_calls": [more] }), None));
        }
    }
    events.push(delta(json!({}), Some(answer.finish_reason)));
    if answer.usage_in_stream {
        events.push(chunk(json!([]), usage(answer)));
    }
    events.push(Event {
        name: None,
        data: "[DONE]".to_owned(),
    });
    events
}

/// An error as both OpenAI dialects have it.
pub(super) fn openai_error(status: u16, message: &str) -> Value {
    let kind = match status {
        429 => "rate_limit_exceeded",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    json!({ "error": { "message": message, "type": kind, "param": null, "code": null } })
}
