//! Cohere Chat: `POST /v2/chat`, whole or streamed, and the older `/v1/chat`, where the newest message
//! stands apart from the history.

use std::collections::BTreeMap;

use agentsight_model::{Message, Part, ToolDefinition, Usage};
use serde_json::{Map, Value};

use super::reading::{
    Context, Draft, Fields, Notes, StreamEvent, into_object, into_text, message, other, push_text,
    result_of, tool_call,
};
use super::{Fit, Provider, Seen, Stream};
use crate::media;

pub(super) struct CohereChat;

/// Events of a stream, of both versions.
const EVENTS: [&str; 14] = [
    "citation-end",
    "citation-start",
    "content-delta",
    "content-end",
    "content-start",
    "message-end",
    "message-start",
    "stream-end",
    "stream-start",
    "text-generation",
    "tool-call-delta",
    "tool-call-end",
    "tool-call-start",
    "tool-plan-delta",
];

/// Reasons to stop are in capital letters, unlike those of OpenAI's dialect, which the request is close to.
const REASONS: [&str; 7] = [
    "COMPLETE",
    "ERROR",
    "ERROR_LIMIT",
    "ERROR_TOXIC",
    "MAX_TOKENS",
    "STOP_SEQUENCE",
    "TOOL_CALL",
];

impl Provider for CohereChat {
    fn names(&self) -> (&'static str, &'static str) {
        ("cohere", "cohere.chat")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let request = seen.request;
        let path = seen.path.ends_with("/v2/chat") || seen.path.ends_with("/v1/chat");
        let asks = request.get("messages").is_some_and(Value::is_array)
            || request.get("message").is_some_and(Value::is_string);
        Fit {
            answer: seen.any_answer(|answer| {
                let kind = match answer.text("event_type") {
                    "" => answer.text("type"),
                    kind => kind,
                };
                EVENTS.contains(&kind)
                    || REASONS.contains(&answer.text("finish_reason"))
                        && (answer.get("message").is_some_and(Value::is_object)
                            || answer.contains_key("generation_id"))
            }),
            request: path && asks,
            possible: path && asks,
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, _: &Context, draft: &mut Draft) {
        draft.operation = "chat";
        draft.request_model = body.take_string("model");
        let notes = &mut draft.notes;
        if let Some(content) = body.take_string("preamble") {
            draft.request.system.push(Part::Text { content });
        }
        let mut messages = body.take_list("chat_history");
        messages.extend(body.take_list("messages"));
        draft.request.messages = messages
            .into_iter()
            .map(|value| message(value, notes, message_of))
            .collect();
        if let Some(content) = body.take_string("message") {
            let parts = vec![Part::Text { content }];
            let role = "user".to_owned();
            draft.request.messages.push(Message { role, parts });
        }
        draft.request.tools = body.take_list("tools").into_iter().map(tool_of).collect();
        draft.request.parameters = body;
    }

    fn read_answer(&self, body: Map<String, Value>, draft: &mut Draft) {
        read_whole(body, draft);
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::<Assembly>::default()
    }
}

/// Reads an answer that came whole, of either version.
fn read_whole(mut body: Map<String, Value>, draft: &mut Draft) {
    draft.response.id = body.take_first_string(&["id", "response_id", "generation_id"]);
    draft.finish(body.take_string("finish_reason"));
    let meta = body.take_object("meta");
    read_usage(body.get("usage").and_then(Value::as_object), draft);
    read_usage(Some(&meta), draft);
    let mut said = match body.take("message") {
        Value::Object(message) => message,
        _ => body,
    };
    let parts = parts_of(&mut said, &mut draft.notes);
    draft.answer(parts);
}

/// `tokens` is what the model read and wrote; `billed_units` is what is paid for.
fn read_usage(usage: Option<&Map<String, Value>>, draft: &mut Draft) {
    let Some(usage) = usage.filter(|usage| usage.contains_key("tokens")) else {
        return;
    };
    let tokens = |key: &str| usage.get("tokens")?.as_object()?.count(key);
    draft.usage = Usage {
        input_tokens: tokens("input_tokens"),
        output_tokens: tokens("output_tokens"),
        cache_read_input_tokens: usage.count("cached_tokens"),
        ..Usage::default()
    };
    draft.counted = usage.clone();
    draft.counted.remove("api_version");
}

fn message_of(mut message: Map<String, Value>, notes: &mut Notes) -> Message {
    let role = message.take_text("role").to_lowercase();
    let role = match role.as_str() {
        "chatbot" => "assistant".to_owned(),
        _ => role,
    };
    if role != "tool" {
        let parts = parts_of(&mut message, notes);
        return Message { role, parts };
    }
    let parts = match message.take_list("tool_results") {
        results if results.is_empty() => vec![Part::ToolCallResponse {
            id: message.take_string("tool_call_id"),
            name: None,
            response: result_of(content_of(message.take("content"), notes)),
            is_error: None,
        }],
        results => results
            .into_iter()
            .map(|result| {
                let mut result = into_object(result);
                let mut call = result.take_object("call");
                Part::ToolCallResponse {
                    id: None,
                    name: call.take_string("name"),
                    response: result.take("outputs"),
                    is_error: None,
                }
            })
            .collect(),
    };
    Message { role, parts }
}

/// The parts of a message, in the order in which a model makes them: the plan, content, calls.
fn parts_of(message: &mut Map<String, Value>, notes: &mut Notes) -> Vec<Part> {
    let mut parts = Vec::new();
    let plan = message.take_string("tool_plan");
    parts.extend(plan.map(|content| Part::Reasoning { content }));
    // Of the first version: `text` in answers, `message` in the history.
    let text = message.take_first_string(&["text", "message"]);
    parts.extend(text.map(|content| Part::Text { content }));
    parts.extend(content_of(message.take("content"), notes));
    for call in message.take_list("tool_calls") {
        parts.push(call_of(into_object(call)));
    }
    parts
}

fn content_of(content: Value, notes: &mut Notes) -> Vec<Part> {
    match content {
        Value::Null => Vec::new(),
        Value::String(content) if content.is_empty() => Vec::new(),
        Value::String(content) => vec![Part::Text { content }],
        Value::Array(items) => items.into_iter().map(|item| part_of(item, notes)).collect(),
        content => vec![notes.misplaced("content", content)],
    }
}

fn part_of(part: Value, notes: &mut Notes) -> Part {
    let mut part = match part {
        Value::String(content) => return Part::Text { content },
        Value::Object(part) => part,
        part => return notes.misplaced("content", part),
    };
    let kind = part.text("type").to_owned();
    match kind.as_str() {
        "text" => Part::Text {
            content: part.take_text("text"),
        },
        "thinking" => Part::Reasoning {
            content: part.take_text("thinking"),
        },
        "image_url" => {
            let url = match part.take("image_url") {
                Value::Object(mut inner) => inner.take_text("url"),
                url => into_text(url),
            };
            media::from_url(url, "image", &mut notes.parts)
        }
        "document" => {
            let mut document = part.take_object("document");
            match document.take("data") {
                Value::String(content) => Part::Text { content },
                data => other("document", data, notes),
            }
        }
        _ => other(&kind, Value::Object(part), notes),
    }
}

fn call_of(mut call: Map<String, Value>) -> Part {
    let id = call.take_string("id");
    if let Value::Object(mut function) = call.take("function") {
        let name = function.take_text("name");
        return tool_call(id, name, function.take_text("arguments"));
    }
    Part::ToolCall {
        id,
        name: call.take_text("name"),
        arguments: call.take("parameters"),
    }
}

fn tool_of(tool: Value) -> ToolDefinition {
    let mut tool = into_object(tool);
    let mut inner = match tool.take("function") {
        Value::Object(function) => function,
        _ => tool,
    };
    ToolDefinition {
        name: inner.take_text("name"),
        description: inner.take_string("description"),
        parameters: inner
            .remove("parameters")
            .or_else(|| inner.remove("parameter_definitions")),
    }
}

/// A streamed answer, put together.
#[derive(Default)]
struct Assembly {
    plan: String,
    content: Vec<Part>,
    calls: BTreeMap<u64, Call>,
    /// The whole answer, which the last event of the first version has.
    whole: Option<Map<String, Value>>,
}

#[derive(Default)]
struct Call {
    id: Option<String>,
    name: String,
    arguments: String,
}

impl Stream for Assembly {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        let (kind, mut event) = event.into_typed();
        let kind = event.take_string("event_type").unwrap_or(kind);
        let mut delta = event.take_object("delta");
        match kind.as_str() {
            "message-start" => draft.response.id = event.take_string("id"),
            "content-start" | "content-delta" | "tool-plan-delta" | "tool-call-start"
            | "tool-call-delta" => {
                let index = event.count("index").unwrap_or(0);
                self.message(index, delta.take_object("message"));
            }
            "text-generation" => push_text(&mut self.content, event.take_text("text"), false),
            "message-end" => {
                draft.ended = true;
                draft.finish(delta.take_string("finish_reason"));
                read_usage(delta.get("usage").and_then(Value::as_object), draft);
                if let Some(error) = delta.take_string("error") {
                    draft.fail(error.into(), None);
                }
            }
            "stream-end" => {
                draft.ended = true;
                self.whole = Some(event.take_object("response"));
                draft.finish(event.take_string("finish_reason"));
            }
            _ if super::has_error(&event) => {
                draft.ended = true;
                draft.fail(Value::Object(event), None);
            }
            _ => {}
        }
    }

    fn finish(self: Box<Self>, draft: &mut Draft) {
        if let Some(whole) = self.whole {
            let reasons = std::mem::take(&mut draft.finish_reasons);
            read_whole(whole, draft);
            if draft.finish_reasons.is_empty() {
                draft.finish_reasons = reasons;
            }
            return;
        }
        let mut parts = Vec::new();
        if !self.plan.is_empty() {
            parts.push(Part::Reasoning { content: self.plan });
        }
        parts.extend(self.content);
        let calls = self.calls.into_values();
        parts.extend(calls.map(|call| tool_call(call.id, call.name, call.arguments)));
        draft.answer(parts);
    }
}

impl Assembly {
    /// Adds a piece of a message.
    fn message(&mut self, index: u64, mut message: Map<String, Value>) {
        self.plan.push_str(&message.take_text("tool_plan"));
        let mut content = message.take_object("content");
        for (key, reasoning) in [("thinking", true), ("text", false)] {
            if let Some(text) = content.take_string(key) {
                push_text(&mut self.content, text, reasoning);
            }
        }
        if let Value::Object(mut fragment) = message.take("tool_calls") {
            let call = self.calls.entry(index).or_default();
            call.id = call.id.take().or(fragment.take_string("id"));
            let mut function = fragment.take_object("function");
            call.name.push_str(&function.take_text("name"));
            call.arguments.push_str(&function.take_text("arguments"));
        }
    }
}
