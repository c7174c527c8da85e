//! Amazon Bedrock Converse: `POST /model/<model>/converse` and `/converse-stream`. Models of Amazon's own
//! (Nova) take and give the same by `/invoke`, where each event of a stream is wrapped in its name.

use std::collections::BTreeMap;

use agentsight_model::{Message, Part, ToolDefinition, Usage};
use serde_json::{Map, Value};

use super::reading::{
    Context, Draft, Fields, Notes, StreamEvent, into_object, message, other, push_text, result_of,
    tool_call,
};
use super::{Fit, Provider, Seen, Stream};
use crate::media;
use crate::text::percent_decoded;

pub(super) struct BedrockConverse;

/// Events of a stream.
const EVENTS: [&str; 6] = [
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
];

impl Provider for BedrockConverse {
    fn names(&self) -> (&'static str, &'static str) {
        ("aws.bedrock", "bedrock.converse")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let request = seen.request;
        let path = seen.path.ends_with("/converse") || seen.path.ends_with("/converse-stream");
        let shape = request.get("messages").is_some_and(has_blocks);
        let own = ["inferenceConfig", "toolConfig", "schemaVersion"];
        Fit {
            answer: seen.any_answer(|answer| {
                let output = answer
                    .get("output")
                    .and_then(|output| output.get("message"));
                let named = |event: &&str| {
                    answer.text("type") == *event
                        || answer.get(*event).is_some_and(Value::is_object)
                };
                output.is_some() && answer.contains_key("stopReason") || EVENTS.iter().any(named)
            }),
            request: shape && (path || own.iter().any(|key| request.contains_key(*key))),
            possible: shape,
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, seen: &Context, draft: &mut Draft) {
        draft.operation = "chat";
        draft.request_model = model_in(&seen.path).or_else(|| body.take_string("modelId"));
        let notes = &mut draft.notes;
        draft.request.system = parts_of(body.take_list("system"), notes);
        draft.request.messages = body
            .take_list("messages")
            .into_iter()
            .map(|value| message(value, notes, message_of))
            .collect();
        let mut config = body.take_object("toolConfig");
        let tools = config.take_list("tools").into_iter();
        draft.request.tools = tools.filter(is_no_mark).map(tool_of).collect();
        if !config.is_empty() {
            body.insert("toolConfig".to_owned(), Value::Object(config));
        }
        draft.request.parameters = body;
    }

    fn read_answer(&self, mut body: Map<String, Value>, draft: &mut Draft) {
        draft.finish(body.take_string("stopReason"));
        read_metadata(&body, draft);
        let mut message = body.take_object("output").take_object("message");
        let parts = parts_of(message.take_list("content"), &mut draft.notes);
        draft.answer(parts);
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::<Assembly>::default()
    }
}

/// The model in a path such as `/model/<model>/converse`, which clients encode.
pub(super) fn model_in(path: &str) -> Option<String> {
    let (_, rest) = path.rsplit_once("/model/")?;
    let (model, _) = rest.split_once('/')?;
    (!model.is_empty()).then(|| percent_decoded(model))
}

/// Whether every message is a list of blocks that have no type: each is named by its only field.
fn has_blocks(messages: &Value) -> bool {
    let Some(messages) = messages.as_array() else {
        return false;
    };
    let has = |message: &Value| {
        let blocks = message.get("content").and_then(Value::as_array);
        blocks.is_some_and(|blocks| {
            blocks
                .iter()
                .all(|b| b.is_object() && b.get("type").is_none())
        })
    };
    !messages.is_empty() && messages.iter().all(has)
}

/// What stands beside the message.
fn read_metadata(body: &Map<String, Value>, draft: &mut Draft) {
    if let Some(usage) = body.get("usage").and_then(Value::as_object) {
        draft.usage = usage_of(usage);
        draft.counted = usage.clone();
    }
    draft.keep(body, &["metrics", "performanceConfig", "serviceTier"]);
}

/// `inputTokens` leaves out what the cache served and took, as the total shows; where a server counts
/// it in, the total shows that too.
fn usage_of(usage: &Map<String, Value>) -> Usage {
    let read = usage.count("cacheReadInputTokens");
    let written = usage.count("cacheWriteInputTokens");
    let output = usage.count("outputTokens");
    let input = usage.count("inputTokens").map(|fresh| {
        let counted_in =
            usage.count("totalTokens") == Some(fresh.saturating_add(output.unwrap_or(0)));
        let cached = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
        fresh.saturating_add(if counted_in { 0 } else { cached })
    });
    Usage {
        input_tokens: input,
        output_tokens: output,
        cache_read_input_tokens: read,
        cache_creation_input_tokens: written,
        ..Usage::default()
    }
}

fn message_of(mut message: Map<String, Value>, notes: &mut Notes) -> Message {
    let parts = parts_of(message.take_list("content"), notes);
    let is_result = |part: &Part| matches!(part, Part::ToolCallResponse { .. });
    let role = match message.take_text("role") {
        _ if !parts.is_empty() && parts.iter().all(is_result) => "tool".to_owned(),
        role => role,
    };
    Message { role, parts }
}

fn tool_of(tool: Value) -> ToolDefinition {
    let mut tool = into_object(tool);
    let kind = tool.keys().next().cloned().unwrap_or_default();
    let Value::Object(mut spec) = tool.take("toolSpec") else {
        return ToolDefinition {
            name: kind,
            description: None,
            parameters: Some(Value::Object(tool)),
        };
    };
    ToolDefinition {
        name: spec.take_text("name"),
        description: spec.take_string("description"),
        parameters: spec.take_object("inputSchema").remove("json"),
    }
}

fn parts_of(blocks: Vec<Value>, notes: &mut Notes) -> Vec<Part> {
    blocks
        .into_iter()
        .filter(is_no_mark)
        .map(|block| part_of(block, notes))
        .collect()
}

/// Whether a block says something: one kind only marks up to where the cache reaches.
fn is_no_mark(block: &Value) -> bool {
    block.get("cachePoint").is_none()
}

fn part_of(block: Value, notes: &mut Notes) -> Part {
    let mut block = match block {
        Value::Object(block) => block,
        Value::String(content) => return Part::Text { content },
        block => return notes.misplaced("content", block),
    };
    let kind = block.keys().next().cloned().unwrap_or_default();
    match (kind.as_str(), block.take(&kind)) {
        ("text", Value::String(content)) => Part::Text { content },
        ("json", value) => other("json", value, notes),
        ("toolUse", Value::Object(mut call)) => Part::ToolCall {
            id: call.take_string("toolUseId"),
            name: call.take_text("name"),
            arguments: call.take("input"),
        },
        ("toolResult", Value::Object(mut result)) => Part::ToolCallResponse {
            id: result.take_string("toolUseId"),
            name: None,
            is_error: match result.text("status") {
                "" => None,
                status => Some(status == "error"),
            },
            response: result_in(result.take_list("content"), notes),
        },
        // Redacted reasoning is encrypted: there is nothing to read in it.
        ("reasoningContent", Value::Object(mut reasoning)) => Part::Reasoning {
            content: reasoning.take_object("reasoningText").take_text("text"),
        },
        ("citationsContent", Value::Object(mut cited)) => {
            let texts = cited.take_list("content").into_iter();
            let text = |item| into_object(item).take_text("text");
            Part::Text {
                content: texts.map(text).collect(),
            }
        }
        ("image" | "document" | "video" | "audio", Value::Object(media)) => {
            media_of(&kind, media, notes)
        }
        (_, value) => {
            block.insert(kind.clone(), value);
            other(&kind, Value::Object(block), notes)
        }
    }
}

/// A tool's result: a single JSON value as it is, anything else as texts or parts.
fn result_in(mut content: Vec<Value>, notes: &mut Notes) -> Value {
    if let [Value::Object(only)] = content.as_mut_slice()
        && let Some(value) = only.remove("json")
    {
        return value;
    }
    result_of(parts_of(content, notes))
}

fn media_of(kind: &str, mut block: Map<String, Value>, notes: &mut Notes) -> Part {
    let mut source = block.take_object("source");
    let format = block.take_text("format");
    if let Value::String(digits) = source.take("bytes") {
        return media::blob(
            &digits,
            mime_type_of(kind, &format).as_deref(),
            &mut notes.parts,
        );
    }
    if let Value::String(content) = source.take("text") {
        return Part::Text { content };
    }
    match source.take("s3Location") {
        Value::Object(mut place) => Part::Uri {
            modality: kind.to_owned(),
            mime_type: mime_type_of(kind, &format),
            uri: place.take_text("uri"),
        },
        _ => {
            block.insert("source".to_owned(), Value::Object(source));
            other(kind, Value::Object(block), notes)
        }
    }
}

/// The media type that a format stands for.
fn mime_type_of(kind: &str, format: &str) -> Option<String> {
    let named = match format {
        "" => return None,
        "pdf" => "application/pdf",
        "csv" => "text/csv",
        "html" => "text/html",
        "md" => "text/markdown",
        "txt" => "text/plain",
        "three_gp" => "video/3gpp",
        "mp3" => "audio/mpeg",
        format if kind == "document" => return Some(format!("application/{format}")),
        format => return Some(format!("{kind}/{format}")),
    };
    Some(named.to_owned())
}

/// A streamed message, put together.
#[derive(Default)]
struct Assembly {
    blocks: BTreeMap<u64, Block>,
}

#[derive(Default)]
struct Block {
    parts: Vec<Part>,
    call: Option<(Option<String>, String)>,
    input: String,
}

impl Stream for Assembly {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        let (kind, mut event) = unwrapped(event);
        let index = event.count("contentBlockIndex").unwrap_or(0);
        match kind.as_str() {
            "contentBlockStart" => {
                let mut start = event.take_object("start");
                if let Value::Object(mut call) = start.take("toolUse") {
                    let id = call.take_string("toolUseId");
                    let block = self.blocks.entry(index).or_default();
                    block.call = Some((id, call.take_text("name")));
                }
            }
            "contentBlockDelta" => {
                let block = self.blocks.entry(index).or_default();
                block.take(event.take_object("delta"), &mut draft.notes);
            }
            "messageStop" => draft.finish(event.take_string("stopReason")),
            "metadata" => {
                draft.ended = true;
                read_metadata(&event, draft);
            }
            "error" => {
                draft.ended = true;
                draft.fail(Value::Object(event), None);
            }
            _ => {}
        }
    }

    fn finish(self: Box<Self>, draft: &mut Draft) {
        let parts = self.blocks.into_values().flat_map(Block::finish).collect();
        draft.answer(parts);
    }
}

/// An event and its name: that of its message, or the field that wraps it.
fn unwrapped(event: StreamEvent) -> (String, Map<String, Value>) {
    let (kind, mut map) = event.into_typed();
    let wrapped = EVENTS.iter().find(|name| map.contains_key(**name));
    match wrapped {
        Some(name) if kind.is_empty() => ((*name).to_owned(), map.take_object(name)),
        _ => (kind, map),
    }
}

impl Block {
    fn take(&mut self, mut delta: Map<String, Value>, notes: &mut Notes) {
        if let Value::String(text) = delta.take("text") {
            push_text(&mut self.parts, text, false);
        }
        if let Value::Object(mut call) = delta.take("toolUse") {
            self.call.get_or_insert_default();
            self.input.push_str(&call.take_text("input"));
        }
        if let Value::Object(mut reasoning) = delta.take("reasoningContent") {
            push_text(&mut self.parts, reasoning.take_text("text"), true);
        }
        delta.remove("citation");
        if !delta.is_empty() {
            self.parts.push(part_of(Value::Object(delta), notes));
        }
    }

    fn finish(self) -> Vec<Part> {
        let mut parts = self.parts;
        let call = self.call;
        parts.extend(call.map(|(id, name)| tool_call(id, name, self.input)));
        parts
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_total_shows_whether_the_cache_is_counted_in() {
        for (usage, expected) in [
            (
                json!({"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}),
                10,
            ),
            (
                json!({"inputTokens": 10, "outputTokens": 5, "totalTokens": 45,
                    "cacheReadInputTokens": 20, "cacheWriteInputTokens": 10}),
                40,
            ),
            (
                json!({"inputTokens": 40, "outputTokens": 5, "totalTokens": 45,
                    "cacheReadInputTokens": 20, "cacheWriteInputTokens": 10}),
                40,
            ),
        ] {
            let counts = usage_of(&into_object(usage.clone()));
            assert_eq!(counts.input_tokens, Some(expected), "{usage}");
        }
    }

    #[test]
    fn models_are_named_in_the_path() {
        for (path, expected) in [
            (
                "/model/amazon.nova-lite-v1%3A0/converse",
                Some("amazon.nova-lite-v1:0"),
            ),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fp/converse",
                Some("arn:aws:bedrock:us-east-1:1:inference-profile/p"),
            ),
            ("/model//converse", None),
            ("/converse", None),
        ] {
            assert_eq!(model_in(path).as_deref(), expected, "{path}");
        }
    }
}
