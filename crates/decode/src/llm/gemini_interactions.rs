//! Gemini Interactions: `POST /v1beta/interactions`, whole or streamed.
//!
//! An interaction is a list of steps: what the user says, thoughts, calls of tools and their results, what
//! the model says. Revisions before May 2026 give a flat list of outputs instead, and name the events of
//! streams otherwise; both are read.

use std::collections::BTreeMap;

use agentsight_model::{Message, Part, ToolDefinition, Usage};
use serde_json::{Map, Value};

use super::reading::{
    Context, Draft, Fields, Notes, StreamEvent, into_list, into_object, into_text, other,
    push_text, result_of, tool_call,
};
use super::{Fit, Provider, Seen, Stream};
use crate::media;

pub(super) struct GeminiInteractions;

impl Provider for GeminiInteractions {
    fn names(&self) -> (&'static str, &'static str) {
        ("gcp.gemini", "gemini.interactions")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let request = seen.request;
        let path = seen.path.ends_with("/interactions");
        let asks = request.contains_key("input")
            && (request.contains_key("model") || request.contains_key("agent"));
        let own = ["previous_interaction_id", "generation_config", "agent"];
        Fit {
            answer: seen.any_answer(|answer| {
                answer.text("object") == "interaction"
                    || answer.text("event_type").starts_with("interaction.")
                    || answer.text("event_type").starts_with("step.")
            }),
            request: asks && (path || own.iter().any(|key| request.contains_key(*key))),
            possible: path && asks,
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, _: &Context, draft: &mut Draft) {
        draft.operation = "generate_content";
        draft.request_model = body.take_first_string(&["model", "agent"]);
        let notes = &mut draft.notes;
        draft.request.system = match body.take("system_instruction") {
            Value::Null => Vec::new(),
            instruction => contents_of(instruction, notes),
        };
        draft.request.messages = messages_of(body.take("input"), notes);
        draft.request.tools = body.take_list("tools").into_iter().map(tool_of).collect();
        draft.request.parameters = body;
    }

    fn read_answer(&self, body: Map<String, Value>, draft: &mut Draft) {
        let steps = read_interaction(body, draft);
        let parts = steps
            .into_iter()
            .flat_map(|step| step_parts(into_object(step), &mut draft.notes))
            .collect();
        draft.answer(parts);
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::<Assembly>::default()
    }
}

/// Reads what stands beside the steps, and gives the steps.
fn read_interaction(mut body: Map<String, Value>, draft: &mut Draft) -> Vec<Value> {
    let text = |body: &mut Map<String, Value>, key: &str| body.take_string(key);
    draft.response.id = text(&mut body, "id").or(draft.response.id.take());
    draft.response_model = text(&mut body, "model").or(draft.response_model.take());
    if let Value::Object(usage) = body.take("usage") {
        draft.usage = usage_of(&usage);
        draft.counted = usage;
    }
    if let error @ Value::Object(_) = body.take("error") {
        draft.fail(error, None);
    }
    let status = body.take_string("status");
    draft.finish(status.filter(|status| status != "in_progress"));
    let mut steps = body.take_list("steps");
    steps.extend(body.take_list("outputs"));
    steps
}

/// Thoughts, and what tools of the provider added to the prompt, are counted beside the rest.
fn usage_of(usage: &Map<String, Value>) -> Usage {
    let sum = |first: &str, second: &str| match (usage.count(first), usage.count(second)) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    };
    let thoughts = match usage.count("total_thought_tokens") {
        None => "total_reasoning_tokens",
        Some(_) => "total_thought_tokens",
    };
    Usage {
        input_tokens: sum("total_input_tokens", "total_tool_use_tokens"),
        output_tokens: sum("total_output_tokens", thoughts),
        cache_read_input_tokens: usage.count("total_cached_tokens"),
        reasoning_output_tokens: usage.count(thoughts),
        ..Usage::default()
    }
}

/// The input: a text, contents of one message, or turns and steps.
fn messages_of(input: Value, notes: &mut Notes) -> Vec<Message> {
    let user = |parts| Message {
        role: "user".to_owned(),
        parts,
    };
    let mut messages: Vec<Message> = Vec::new();
    for item in into_list(input) {
        let mut item = match item {
            Value::Object(item) => item,
            Value::String(content) => {
                messages.push(user(vec![Part::Text { content }]));
                continue;
            }
            item => {
                messages.push(user(vec![notes.misplaced("input", item)]));
                continue;
            }
        };
        let role = match (item.take_string("role").as_deref(), item.text("type")) {
            (Some("model"), _) => "assistant".to_owned(),
            (Some(role), _) => role.to_owned(),
            (None, "model_output" | "thought") => "assistant".to_owned(),
            (None, kind) if kind.ends_with("_call") => "assistant".to_owned(),
            (None, kind) if kind.ends_with("_result") => "tool".to_owned(),
            (None, _) => "user".to_owned(),
        };
        let parts = step_parts(item, notes);
        match messages.last_mut() {
            Some(last) if last.role == role => last.parts.extend(parts),
            _ => messages.push(Message { role, parts }),
        }
    }
    messages
}

fn tool_of(tool: Value) -> ToolDefinition {
    let mut tool = into_object(tool);
    let kind = tool.take_text("type");
    if kind == "function" {
        return ToolDefinition {
            name: tool.take_text("name"),
            description: tool.take_string("description"),
            parameters: tool.remove("parameters"),
        };
    }
    ToolDefinition {
        name: kind,
        description: None,
        parameters: (!tool.is_empty()).then_some(Value::Object(tool)),
    }
}

fn contents_of(content: Value, notes: &mut Notes) -> Vec<Part> {
    into_list(content)
        .into_iter()
        .flat_map(|item| match item {
            Value::String(content) => vec![Part::Text { content }],
            item => step_parts(into_object(item), notes),
        })
        .collect()
}

/// The parts of a step, or of a piece of content.
fn step_parts(mut step: Map<String, Value>, notes: &mut Notes) -> Vec<Part> {
    let kind = step.text("type").to_owned();
    let part = match kind.as_str() {
        "user_input" | "model_output" | "" => return contents_of(step.take("content"), notes),
        "text" => Part::Text {
            content: step.take_text("text"),
        },
        "thought" => Part::Reasoning {
            content: texts_in(step.take("summary")),
        },
        "image" | "audio" | "video" | "document" => media_of(&kind, &mut step, notes),
        _ if kind.ends_with("_call") => Part::ToolCall {
            id: step.take_string("id"),
            name: match step.take_string("name") {
                Some(name) => name,
                None => kind.trim_end_matches("_call").to_owned(),
            },
            arguments: step.take("arguments"),
        },
        _ if kind.ends_with("_result") => {
            let response = match step.take("result") {
                Value::Array(items) => result_of(contents_of(Value::Array(items), notes)),
                mut result => {
                    media::strip(&mut result, &mut notes.parts);
                    result
                }
            };
            Part::ToolCallResponse {
                id: step.take_string("call_id"),
                name: step.take_string("name"),
                response,
                is_error: step.get("is_error").and_then(Value::as_bool),
            }
        }
        _ => other(&kind, Value::Object(step), notes),
    };
    vec![part]
}

fn texts_in(summary: Value) -> String {
    let texts = into_list(summary).into_iter().map(|item| match item {
        Value::Object(mut item) => item.take_text("text"),
        item => into_text(item),
    });
    texts.collect()
}

fn media_of(kind: &str, item: &mut Map<String, Value>, notes: &mut Notes) -> Part {
    let mime_type = item.take_string("mime_type");
    match item.take("data") {
        Value::String(digits) => media::blob(&digits, mime_type.as_deref(), &mut notes.parts),
        _ => Part::Uri {
            modality: kind.to_owned(),
            mime_type,
            uri: item.take_text("uri"),
        },
    }
}

/// A streamed interaction, put together.
#[derive(Default)]
struct Assembly {
    steps: BTreeMap<u64, Step>,
    /// Steps of the last event, which stand in where none came.
    whole: Vec<Value>,
}

#[derive(Default)]
struct Step {
    start: Map<String, Value>,
    parts: Vec<Part>,
    arguments: String,
}

impl Stream for Assembly {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        if event.data.as_str().is_some() {
            return;
        }
        let (kind, mut event) = event.into_typed();
        let kind = event.take_string("event_type").unwrap_or(kind);
        let index = event.count("index").unwrap_or(0);
        match kind.as_str() {
            "interaction.created" | "interaction.start" => {
                read_interaction(event.take_object("interaction"), draft);
            }
            "interaction.completed" | "interaction.complete" => {
                draft.ended = true;
                self.whole = read_interaction(event.take_object("interaction"), draft);
            }
            "step.start" | "content.start" => {
                let start = event.take_first_object(&["step", "content"]);
                self.steps.entry(index).or_default().start = start;
            }
            "step.delta" | "content.delta" => {
                let step = self.steps.entry(index).or_default();
                step.take(event.take_object("delta"), &mut draft.notes);
            }
            "error" => {
                draft.ended = true;
                draft.fail(Value::Object(event), None);
            }
            _ => {}
        }
    }

    fn finish(self: Box<Self>, draft: &mut Draft) {
        let notes = &mut draft.notes;
        let mut parts: Vec<Part> = Vec::new();
        for step in self.steps.into_values() {
            step.finish(&mut parts, notes);
        }
        if parts.is_empty() {
            for step in self.whole {
                parts.extend(step_parts(into_object(step), notes));
            }
        }
        draft.answer(parts);
    }
}

impl Step {
    fn take(&mut self, mut delta: Map<String, Value>, notes: &mut Notes) {
        let kind = delta.text("type").to_owned();
        match kind.as_str() {
            "text" => push_text(&mut self.parts, delta.take_text("text"), false),
            "thought_summary" => {
                push_text(&mut self.parts, texts_in(delta.take("content")), true);
            }
            "thought_signature" | "text_annotation_delta" => {}
            "arguments_delta" => self.arguments.push_str(&delta.take_text("arguments")),
            _ => self.parts.extend(step_parts(delta, notes)),
        }
    }

    /// The parts of the step: what it began with, unless its pieces say it all.
    fn finish(self, parts: &mut Vec<Part>, notes: &mut Notes) {
        let mut start = self.start;
        let kind = start.text("type").to_owned();
        if !self.arguments.is_empty() {
            let (id, name) = (start.take_string("id"), start.take_text("name"));
            parts.push(tool_call(id, name, self.arguments));
        } else if kind.ends_with("_call") || kind.ends_with("_result") {
            // A piece of the same kind is the whole of it.
            if self.parts.is_empty() {
                parts.extend(step_parts(start, notes));
            }
        } else {
            let begun = step_parts(start, notes);
            let empty = |part: &Part| match part {
                Part::Text { content } | Part::Reasoning { content } => content.is_empty(),
                _ => false,
            };
            parts.extend(begun.into_iter().filter(|part| !empty(part)));
        }
        parts.extend(self.parts);
    }
}
