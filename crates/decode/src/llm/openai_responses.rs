//! OpenAI Responses: `POST /v1/responses`, whole or streamed. A WebSocket carries the same objects.

use std::collections::BTreeMap;

use agentsight_model::{Message, Part, ToolDefinition, Usage};
use serde_json::{Map, Value, json};

use super::reading::plain;
use super::reading::{
    Context, Draft, Fields, Notes, StreamEvent, error_of, into_object, into_text, message, other,
    result_of, tool_call,
};
use super::{Fit, Provider, Seen, Stream};
use crate::{json, media};

pub(super) struct OpenAiResponses;

impl Provider for OpenAiResponses {
    fn names(&self) -> (&'static str, &'static str) {
        ("openai", "openai.responses")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        // Fields that no request for embeddings has, which has `input` and `model` too.
        const OWN: [&str; 8] = [
            "instructions",
            "previous_response_id",
            "max_output_tokens",
            "reasoning",
            "conversation",
            "store",
            "tools",
            "stream",
        ];
        let request = seen.request;
        let possible = match request.get("input") {
            Some(Value::Array(items)) => items.iter().all(Value::is_object),
            Some(Value::String(_)) => true,
            _ => false,
        };
        let path = seen.path.ends_with("/responses");
        Fit {
            answer: seen.any_answer(|answer| {
                answer.text("object").starts_with("response")
                    && answer.get("output").is_some_and(Value::is_array)
                    || answer.text("type").starts_with("response.")
            }),
            request: possible && OWN.iter().any(|key| request.contains_key(*key)),
            possible: possible && path,
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, _: &Context, draft: &mut Draft) {
        draft.operation = "chat";
        draft.request_model = body.take_string("model");
        // On a WebSocket, this is what makes a message a request.
        body.retain(|key, value| key != "type" || *value != "response.create");
        let notes = &mut draft.notes;
        draft.request.system = content_of(body.take("instructions"), notes);
        draft.request.messages = match body.take("input") {
            Value::Null => Vec::new(),
            Value::Array(items) => items
                .into_iter()
                .map(|item| message(item, notes, message_of))
                .collect(),
            input => vec![Message {
                role: "user".to_owned(),
                parts: content_of(input, notes),
            }],
        };
        draft.request.tools = body.take_list("tools").into_iter().map(tool_of).collect();
        draft.request.parameters = body;
    }

    fn read_answer(&self, body: Map<String, Value>, draft: &mut Draft) {
        read_response(body, Vec::new(), draft);
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::new(Assembly::default())
    }
}

/// Reads a response object; `items` stand in for its output where it has none.
fn read_response(mut body: Map<String, Value>, items: Vec<Value>, draft: &mut Draft) {
    draft.response.id = body.take_string("id");
    draft.response_model = body.take_string("model");
    if let Value::Object(usage) = body.take("usage") {
        draft.usage = usage_of(&usage);
        draft.counted = usage;
    }
    draft.keep(&body, &["service_tier"]);
    let status = body.take_string("status");
    let mut details = body.take_object("incomplete_details");
    // A response in progress has not finished for any reason yet.
    let status = status.filter(|status| status != "in_progress" && status != "queued");
    draft.finish(details.take_string("reason").or(status));
    if let error @ Value::Object(_) = body.take("error") {
        draft.error = Some(error_of(error, None));
    }
    let mut output = body.take_list("output");
    if output.is_empty() {
        output = items;
    }
    let mut parts = Vec::new();
    for item in output {
        parts.extend(parts_of(into_object(item), &mut draft.notes));
    }
    draft.answer(parts);
}

fn usage_of(usage: &Map<String, Value>) -> Usage {
    let detail = |group: &str, key: &str| usage.get(group)?.as_object()?.count(key);
    Usage {
        input_tokens: usage.count("input_tokens"),
        output_tokens: usage.count("output_tokens"),
        cache_read_input_tokens: detail("input_tokens_details", "cached_tokens"),
        cache_creation_input_tokens: detail("input_tokens_details", "cache_write_tokens"),
        reasoning_output_tokens: detail("output_tokens_details", "reasoning_tokens"),
        ..Usage::default()
    }
}

pub(super) fn tool_of(tool: Value) -> ToolDefinition {
    let mut tool = into_object(tool);
    let kind = tool.take_text("type");
    let name = tool
        .take_first_string(&["name", "server_label"])
        .unwrap_or(kind);
    let description = tool.take_string("description");
    let parameters = tool
        .remove("parameters")
        .or_else(|| (!tool.is_empty()).then_some(Value::Object(tool)));
    ToolDefinition {
        name,
        description,
        parameters,
    }
}

/// An item of the input, as a message of whoever it is from.
pub(super) fn message_of(mut item: Map<String, Value>, notes: &mut Notes) -> Message {
    let role = item.take_string("role");
    let parts = parts_of(item, notes);
    let is_result = |part: &Part| matches!(part, Part::ToolCallResponse { .. });
    let role = match role.as_deref() {
        Some("developer") => "system",
        Some(role) => role,
        None if parts.last().is_some_and(is_result) => "tool",
        None => "assistant",
    };
    Message {
        role: role.to_owned(),
        parts,
    }
}

/// The parts of an item of input or output.
fn parts_of(mut item: Map<String, Value>, notes: &mut Notes) -> Vec<Part> {
    let kind = item.text("type").to_owned();
    match kind.as_str() {
        "message" | "" => content_of(item.take("content"), notes),
        "reasoning" => vec![reasoning_of(item)],
        "function_call" => {
            let id = item.take_first_string(&["call_id", "id"]);
            let name = item.take_text("name");
            vec![tool_call(id, name, item.take_text("arguments"))]
        }
        "custom_tool_call" => vec![Part::ToolCall {
            id: item.take_first_string(&["call_id", "id"]),
            name: item.take_text("name"),
            arguments: item.take("input"),
        }],
        "local_shell_call" | "shell_call" | "computer_call" => {
            call_of(kind.trim_end_matches("_call"), "action", item)
        }
        "apply_patch_call" => call_of("apply_patch", "operation", item),
        "image_generation_call" if !item.text("result").is_empty() => {
            vec![media::blob(
                &item.take_text("result"),
                None,
                &mut notes.parts,
            )]
        }
        "mcp_call" => mcp_call_of(item, notes),
        _ if kind.ends_with("_output") => vec![Part::ToolCallResponse {
            id: item.take_first_string(&["call_id", "id"]),
            name: None,
            response: output_of(item.take("output"), notes),
            is_error: None,
        }],
        _ => vec![other(&kind, Value::Object(item), notes)],
    }
}

/// A call of a tool that the dialect itself defines; `key` holds what it is to do.
fn call_of(name: &str, key: &str, mut item: Map<String, Value>) -> Vec<Part> {
    vec![Part::ToolCall {
        id: item.take_first_string(&["call_id", "id"]),
        name: name.to_owned(),
        arguments: item.take(key),
    }]
}

/// A call that the provider made itself; its result is in the same item.
fn mcp_call_of(mut item: Map<String, Value>, notes: &mut Notes) -> Vec<Part> {
    let id = item.take_string("id");
    let name = item.take_text("name");
    let error = item.take("error");
    let call = tool_call(id.clone(), name.clone(), item.take_text("arguments"));
    let (is_error, output) = match error {
        Value::Null => (None, item.take("output")),
        error => (Some(true), error),
    };
    if output.is_null() {
        return vec![call];
    }
    let result = Part::ToolCallResponse {
        id,
        name: Some(name),
        response: output_of(output, notes),
        is_error,
    };
    vec![call, result]
}

fn reasoning_of(mut item: Map<String, Value>) -> Part {
    let texts = |list: Vec<Value>| -> Vec<String> {
        let objects = list.into_iter().map(into_object);
        objects.map(|mut part| part.take_text("text")).collect()
    };
    // The full text, where the provider gives it, else summaries.
    let mut content = texts(item.take_list("content"));
    if content.is_empty() {
        content = texts(item.take_list("summary"));
    }
    Part::Reasoning {
        content: content.join("\n\n"),
    }
}

fn output_of(output: Value, notes: &mut Notes) -> Value {
    match output {
        Value::String(text) => Value::String(text),
        Value::Array(items) if items.iter().all(is_content_part) => {
            result_of(content_of(Value::Array(items), notes))
        }
        mut output => {
            media::strip(&mut output, &mut notes.parts);
            output
        }
    }
}

fn is_content_part(value: &Value) -> bool {
    let kind = value
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    kind.starts_with("input_") || kind.starts_with("output_")
}

fn content_of(content: Value, notes: &mut Notes) -> Vec<Part> {
    match content {
        Value::Null => Vec::new(),
        Value::String(content) => vec![Part::Text { content }],
        Value::Array(items) => items
            .into_iter()
            .map(|item| content_part(item, notes))
            .collect(),
        content => vec![notes.misplaced("content", content)],
    }
}

fn content_part(part: Value, notes: &mut Notes) -> Part {
    let mut part = match part {
        Value::Object(part) => part,
        part => return notes.misplaced("content", part),
    };
    let kind = part.text("type").to_owned();
    match kind.as_str() {
        "input_text" | "output_text" | "text" | "summary_text" => Part::Text {
            content: part.take_text("text"),
        },
        "refusal" => Part::Text {
            content: part.take_text("refusal"),
        },
        "input_image" | "input_file" => {
            let modality = kind.trim_start_matches("input_");
            let inline = part.take_string("file_data");
            match part.take_first_string(&["image_url", "file_url", "file_id", "filename"]) {
                _ if inline.is_some() => {
                    media::blob(&inline.unwrap_or_default(), None, &mut notes.parts)
                }
                Some(url) => media::from_url(url, modality, &mut notes.parts),
                None => other(&kind, Value::Object(part), notes),
            }
        }
        "input_audio" => {
            let mut audio = part.take_object("input_audio");
            let declared = format!("audio/{}", audio.take_text("format"));
            media::blob(&audio.take_text("data"), Some(&declared), &mut notes.parts)
        }
        _ => other(&kind, Value::Object(part), notes),
    }
}

/// A streamed response, put together.
#[derive(Default)]
pub(super) struct Assembly {
    /// The response object, as last sent.
    response: Map<String, Value>,
    items: BTreeMap<u64, Item>,
}

/// An item of the output: as last sent, and the text of its deltas by the place where it belongs.
#[derive(Default)]
struct Item {
    value: Map<String, Value>,
    done: bool,
    deltas: BTreeMap<(Place, u64), String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Summary,
    Reasoning,
    Content,
    Refusal,
    Arguments,
    Input,
}

impl Stream for Assembly {
    fn take_plain(&mut self, data: &[u8], _: &Draft) -> bool {
        let Some(delta) = plain::response_delta(data) else {
            return false;
        };
        let Some((place, index)) = place_of(delta.kind) else {
            return false;
        };
        let index = match index {
            "summary_index" => delta.summary_index,
            "" => 0,
            _ => delta.content_index,
        };
        let item = self.items.entry(delta.output_index).or_default();
        let text = item.deltas.entry((place, index)).or_default();
        json::append_string(delta.delta, text);
        true
    }

    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        let (kind, mut event) = event.into_typed();
        match kind.as_str() {
            "error" => {
                draft.ended = true;
                draft.fail(Value::Object(event), None);
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                draft.ended = true;
                self.response = event.take_object("response");
                let status = kind.trim_start_matches("response.");
                self.response
                    .entry("status")
                    .or_insert_with(|| status.into());
            }
            "response.created" | "response.in_progress" | "response.queued" => {
                self.response = event.take_object("response");
            }
            "response.output_item.added" | "response.output_item.done" => {
                let item = self.item(&event);
                item.done = kind.ends_with(".done");
                item.value = event.take_object("item");
            }
            _ => self.take_delta(&kind, event),
        }
    }

    fn finish(self: Box<Self>, draft: &mut Draft) {
        let Self { response, items } = *self;
        let items = items.into_values().map(Item::finish).collect();
        read_response(response, items, draft);
    }
}

impl Assembly {
    fn item(&mut self, event: &Map<String, Value>) -> &mut Item {
        let index = event.count("output_index").unwrap_or(0);
        self.items.entry(index).or_default()
    }

    fn take_delta(&mut self, kind: &str, mut event: Map<String, Value>) {
        let Some((place, index)) = place_of(kind) else {
            return;
        };
        let index = event.count(index).unwrap_or(0);
        let delta = event.take_text("delta");
        let text = self.item(&event).deltas.entry((place, index)).or_default();
        text.push_str(&delta);
    }
}

/// Where the text of a delta belongs, and the field that says to which piece there.
fn place_of(kind: &str) -> Option<(Place, &'static str)> {
    Some(match kind {
        "response.reasoning_summary_text.delta" => (Place::Summary, "summary_index"),
        "response.reasoning_text.delta" => (Place::Reasoning, "content_index"),
        "response.output_text.delta" => (Place::Content, "content_index"),
        "response.refusal.delta" => (Place::Refusal, "content_index"),
        "response.function_call_arguments.delta" | "response.mcp_call_arguments.delta" => {
            (Place::Arguments, "")
        }
        "response.custom_tool_call_input.delta" => (Place::Input, ""),
        _ => return None,
    })
}

impl Item {
    /// The item as it would have come in one piece.
    fn finish(self) -> Value {
        let Self {
            mut value,
            done,
            deltas,
        } = self;
        if done {
            return Value::Object(value);
        }
        for ((place, _), text) in deltas {
            let (kind, key, piece) = match place {
                Place::Summary => (
                    "reasoning",
                    "summary",
                    json!({"type": "summary_text", "text": text}),
                ),
                Place::Reasoning => (
                    "reasoning",
                    "content",
                    json!({"type": "reasoning_text", "text": text}),
                ),
                Place::Content => (
                    "message",
                    "content",
                    json!({"type": "output_text", "text": text}),
                ),
                Place::Refusal => (
                    "message",
                    "content",
                    json!({"type": "refusal", "refusal": text}),
                ),
                Place::Arguments => ("function_call", "arguments", Value::String(text)),
                Place::Input => ("custom_tool_call", "input", Value::String(text)),
            };
            value.entry("type").or_insert_with(|| kind.into());
            match (value.get_mut(key), piece) {
                (Some(Value::Array(pieces)), piece @ Value::Object(_)) => pieces.push(piece),
                (_, piece @ Value::Object(_)) => {
                    value.insert(key.to_owned(), Value::Array(vec![piece]));
                }
                (_, piece) => {
                    value.insert(key.to_owned(), Value::String(into_text(piece)));
                }
            }
        }
        Value::Object(value)
    }
}
