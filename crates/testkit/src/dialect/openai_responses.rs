//! OpenAI Responses: `POST /v1/responses`.
//!
//! Only requests that carry the whole conversation in `input` are understood: the server remembers no
//! `previous_response_id`.

use serde_json::{Value, json};

use super::openai_chat::openai_error;
use super::{Answer, Asked, Event, Format, Framing, elements, is_true, pieces, string, with};

pub(super) const FORMAT: Format = Format {
    read,
    call_id: |suffix| Some(format!("call_{suffix}")),
    finish_reason: |_| "completed",
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
        tool_results: elements(body, "input")
            .iter()
            .filter(|item| string(item, "type").ends_with("_call_output"))
            .count(),
        usage_in_stream: true,
    }
}

fn usage(answer: &Answer) -> Value {
    let input = answer.usage.input_tokens.unwrap_or(0);
    let output = answer.usage.output_tokens.unwrap_or(0);
    json!({
        "input_tokens": input, "output_tokens": output, "total_tokens": input.saturating_add(output),
        "input_tokens_details": { "cached_tokens": answer.usage.cache_read_input_tokens.unwrap_or(0) },
        "output_tokens_details": {
            "reasoning_tokens": answer.usage.reasoning_output_tokens.unwrap_or(0),
        },
    })
}

/// The items of the answer: a message, then the calls.
fn items(answer: &Answer) -> Vec<Value> {
    let mut items = Vec::new();
    if !answer.text.is_empty() {
        items.push(json!({
            "type": "message", "id": answer.id("msg_"), "role": "assistant", "status": "completed",
            "content": [text_part(&answer.text)],
        }));
    }
    items.extend(answer.calls.iter().enumerate().map(|(index, call)| {
        json!({
            "type": "function_call", "id": answer.id(&format!("fc_{index}_")), "call_id": call.id,
            "name": call.name, "arguments": call.arguments.to_string(), "status": "completed",
        })
    }));
    items
}

fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [] })
}

fn response(answer: &Answer, status: &str, output: &[Value], usage: Value) -> Value {
    json!({
        "id": answer.id("resp_"), "object": "response", "created_at": 1_790_000_000, "status": status,
        "error": null, "incomplete_details": null, "model": answer.model, "output": output,
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "usage": usage,
    })
}

fn document(answer: &Answer) -> Value {
    response(answer, "completed", &items(answer), usage(answer))
}

fn events(answer: &Answer) -> Vec<Event> {
    let mut stream = Stream { events: Vec::new() };
    let begun = response(answer, "in_progress", &[], Value::Null);
    stream.push("response.created", json!({ "response": begun }));
    stream.push("response.in_progress", json!({ "response": begun }));
    for (index, item) in items(answer).iter().enumerate() {
        stream.push_item(index, item, answer);
    }
    let done = document(answer);
    stream.push("response.completed", json!({ "response": done }));
    stream.events
}

struct Stream {
    events: Vec<Event>,
}

impl Stream {
    fn push(&mut self, name: &'static str, data: Value) {
        let data = with(data, "type", name);
        let data = with(data, "sequence_number", self.events.len());
        self.events.push(Event::named(name, &data));
    }

    fn push_item(&mut self, index: usize, item: &Value, answer: &Answer) {
        let id = string(item, "id");
        let at = |key: &str, value: Value| {
            with(json!({ "item_id": id, "output_index": index }), key, value)
        };
        let in_content = |key: &str, value: Value| with(at(key, value), "content_index", 0);
        let is_message = string(item, "type") == "message";
        let begun = with(item.clone(), "status", "in_progress");
        let begun = if is_message {
            with(begun, "content", json!([]))
        } else {
            with(begun, "arguments", "")
        };
        self.push(
            "response.output_item.added",
            json!({ "output_index": index, "item": begun }),
        );
        if is_message {
            let added = in_content("part", text_part(""));
            self.push("response.content_part.added", added);
            for text in answer.text_deltas() {
                let delta = in_content("delta", json!(text));
                self.push("response.output_text.delta", delta);
            }
            let done = in_content("text", json!(answer.text));
            self.push("response.output_text.done", done);
            let done = in_content("part", text_part(&answer.text));
            self.push("response.content_part.done", done);
        } else {
            let arguments = string(item, "arguments");
            for piece in pieces(&arguments, answer.delta_chars) {
                let delta = at("delta", json!(piece));
                self.push("response.function_call_arguments.delta", delta);
            }
            let done = at("arguments", json!(arguments));
            self.push("response.function_call_arguments.done", done);
        }
        self.push(
            "response.output_item.done",
            json!({ "output_index": index, "item": item }),
        );
    }
}
