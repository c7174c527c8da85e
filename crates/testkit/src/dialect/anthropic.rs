//! Anthropic Messages: `POST /v1/messages`.

use serde_json::{Value, json};

use super::{Answer, Asked, Event, Format, Framing, elements, is_true, pieces, string, with};

pub(super) const FORMAT: Format = Format {
    read,
    call_id: |suffix| Some(format!("toolu_{suffix}")),
    finish_reason: |calls| if calls { "tool_use" } else { "end_turn" },
    document,
    events,
    error,
};

fn read(_target: &str, body: &Value) -> Asked {
    let blocks = elements(body, "messages")
        .iter()
        .flat_map(|message| elements(message, "content"));
    Asked {
        model: string(body, "model"),
        framing: if is_true(body, "stream") {
            Framing::Sse
        } else {
            Framing::Document
        },
        tool_results: blocks
            .filter(|block| string(block, "type") == "tool_result")
            .count(),
        usage_in_stream: true,
    }
}

/// In this dialect the input does not include what went through a cache.
fn usage(answer: &Answer, output_tokens: u64) -> Value {
    let cache_read = answer.usage.cache_read_input_tokens.unwrap_or(0);
    let cache_creation = answer.usage.cache_creation_input_tokens.unwrap_or(0);
    let input = answer.usage.input_tokens.unwrap_or(0);
    json!({
        "input_tokens": input.saturating_sub(cache_read).saturating_sub(cache_creation),
        "cache_read_input_tokens": cache_read,
        "cache_creation_input_tokens": cache_creation,
        "output_tokens": output_tokens,
    })
}

fn document(answer: &Answer) -> Value {
    let mut content = Vec::new();
    if !answer.text.is_empty() {
        content.push(json!({ "type": "text", "text": answer.text }));
    }
    content.extend(answer.calls.iter().map(|call| {
        json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments })
    }));
    json!({
        "id": answer.id("msg_"), "type": "message", "role": "assistant", "model": answer.model,
        "content": content, "stop_reason": answer.finish_reason, "stop_sequence": null,
        "usage": usage(answer, answer.usage.output_tokens.unwrap_or(0)),
    })
}

fn events(answer: &Answer) -> Vec<Event> {
    let mut events = Vec::new();
    let mut push = |name, data: Value| {
        events.push(Event::named(name, &with(data, "type", name)));
    };
    push(
        "message_start",
        json!({ "message": {
            "id": answer.id("msg_"), "type": "message", "role": "assistant", "model": answer.model,
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage(answer, 1),
        } }),
    );
    push("ping", json!({}));
    let mut index = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        push(
            "content_block_start",
            json!({ "index": index, "content_block": start }),
        );
        for delta in deltas {
            push(
                "content_block_delta",
                json!({ "index": index, "delta": delta }),
            );
        }
        push("content_block_stop", json!({ "index": index }));
        index += 1;
    };
    if !answer.text.is_empty() {
        let deltas = answer.text_deltas().into_iter();
        block(
            json!({ "type": "text", "text": "" }),
            deltas
                .map(|text| json!({ "type": "text_delta", "text": text }))
                .collect(),
        );
    }
    for call in &answer.calls {
        let arguments = call.arguments.to_string();
        let deltas = pieces(&arguments, answer.delta_chars).into_iter();
        block(
            json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": {} }),
            deltas
                .map(|json| json!({ "type": "input_json_delta", "partial_json": json }))
                .collect(),
        );
    }
    push(
        "message_delta",
        json!({
            "delta": { "stop_reason": answer.finish_reason, "stop_sequence": null },
            "usage": { "output_tokens": answer.usage.output_tokens },
        }),
    );
    push("message_stop", json!({}));
    events
}

fn error(status: u16, message: &str) -> Value {
    let kind = match status {
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}
