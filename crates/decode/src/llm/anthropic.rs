//! Anthropic Messages: `POST /v1/messages`, whole or streamed; also where clouds serve it.

use std::collections::BTreeMap;

use agentsight_model::{Message, Part, ToolDefinition, Usage};
use serde_json::{Map, Value};

use super::reading::plain;
use super::reading::{
    Context, Draft, Fields, Notes, StreamEvent, into_object, message, other, result_of, tool_call,
};
use super::{Fit, Provider, Seen, Stream, bedrock_converse};
use crate::{json, media};

pub(super) struct Anthropic;

impl Provider for Anthropic {
    fn names(&self) -> (&'static str, &'static str) {
        ("anthropic", "anthropic.messages")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let request = seen.request;
        let path = seen.path.ends_with("/messages");
        // A limit is compulsory; who forgets it is told so by an error.
        let possible = request.get("messages").is_some_and(Value::is_array)
            && (path || request.contains_key("max_tokens"));
        let versioned = seen.headers.get("anthropic-version").is_some()
            || request.contains_key("anthropic_version");
        Fit {
            answer: seen.any_answer(|answer| match answer.text("type") {
                "message" => answer.contains_key("content"),
                "message_start" | "content_block_start" | "content_block_delta" => true,
                "error" => {
                    let error = answer.get("error").is_some_and(Value::is_object);
                    error && possible && (versioned || path)
                }
                _ => false,
            }),
            request: possible && (versioned || has_own_tools(request)),
            possible,
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, seen: &Context, draft: &mut Draft) {
        draft.operation = "chat";
        let model = body.take_string("model");
        draft.request_model = model.or_else(|| model_in(&seen.path));
        let notes = &mut draft.notes;
        draft.request.system = parts_of(body.take("system"), notes);
        draft.request.messages = body
            .take_list("messages")
            .into_iter()
            .map(|value| message(value, notes, message_of))
            .collect();
        draft.request.tools = body.take_list("tools").into_iter().map(tool_of).collect();
        draft.request.parameters = body;
    }

    fn read_answer(&self, body: Map<String, Value>, draft: &mut Draft) {
        read_message(body, draft);
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::new(Assembly::default())
    }
}

/// The model in the path that a cloud serves it at: `/model/<model>/invoke` (Bedrock), or
/// `.../publishers/anthropic/models/<model>:rawPredict` (Vertex AI).
fn model_in(path: &str) -> Option<String> {
    let bedrock = || {
        path.contains("/invoke")
            .then(|| bedrock_converse::model_in(path))?
    };
    let vertex = path
        .rsplit_once("/publishers/anthropic/models/")
        .and_then(|(_, rest)| rest.split(':').next());
    let vertex = vertex.filter(|model| !model.is_empty());
    vertex.map(str::to_owned).or_else(bedrock)
}

/// Whether a tool is described as only this dialect does.
fn has_own_tools(request: &Map<String, Value>) -> bool {
    let tools = request.get("tools").and_then(Value::as_array);
    tools.is_some_and(|tools| tools.iter().any(|tool| tool.get("input_schema").is_some()))
}

/// Reads a whole message of the assistant.
fn read_message(mut body: Map<String, Value>, draft: &mut Draft) {
    draft.response.id = body.take_string("id");
    draft.response_model = body.take_string("model");
    draft.finish(body.take_string("stop_reason"));
    if let Value::Object(usage) = body.take("usage") {
        draft.usage = usage_of(&usage);
        draft.counted = usage;
    }
    let parts = parts_of(body.take("content"), &mut draft.notes);
    draft.answer(parts);
}

/// `input_tokens` leaves out what the cache served and took; the conventions count it in.
fn usage_of(usage: &Map<String, Value>) -> Usage {
    let read = usage.count("cache_read_input_tokens");
    let created = usage.count("cache_creation_input_tokens");
    let input = usage.count("input_tokens").map(|fresh| {
        fresh
            .saturating_add(read.unwrap_or(0))
            .saturating_add(created.unwrap_or(0))
    });
    let details = usage
        .get("output_tokens_details")
        .and_then(Value::as_object);
    Usage {
        input_tokens: input,
        output_tokens: usage.count("output_tokens"),
        cache_read_input_tokens: read,
        cache_creation_input_tokens: created,
        reasoning_output_tokens: details.and_then(|d| d.count("thinking_tokens")),
        ..Usage::default()
    }
}

fn message_of(mut message: Map<String, Value>, notes: &mut Notes) -> Message {
    let parts = parts_of(message.take("content"), notes);
    let is_result = |part: &Part| matches!(part, Part::ToolCallResponse { .. });
    let role = match message.take_text("role") {
        _ if !parts.is_empty() && parts.iter().all(is_result) => "tool".to_owned(),
        role => role,
    };
    Message { role, parts }
}

fn tool_of(tool: Value) -> ToolDefinition {
    let mut tool = into_object(tool);
    let name = tool
        .take_first_string(&["name", "type"])
        .unwrap_or_default();
    let description = tool.take_string("description");
    // Tools that the provider runs have settings in place of a schema.
    let parameters = tool.remove("input_schema").or_else(|| {
        tool.retain(|key, _| key != "cache_control");
        (!tool.is_empty()).then_some(Value::Object(tool))
    });
    ToolDefinition {
        name,
        description,
        parameters,
    }
}

/// Content: a string, or a list of blocks.
fn parts_of(content: Value, notes: &mut Notes) -> Vec<Part> {
    match content {
        Value::String(content) => vec![Part::Text { content }],
        Value::Array(blocks) => blocks
            .into_iter()
            .map(|block| part_of(block, notes))
            .collect(),
        Value::Null => Vec::new(),
        content => vec![notes.misplaced("content", content)],
    }
}

fn part_of(block: Value, notes: &mut Notes) -> Part {
    let mut block = match block {
        Value::Object(block) => block,
        block => return notes.misplaced("content", block),
    };
    let kind = block.text("type").to_owned();
    match kind.as_str() {
        "text" => Part::Text {
            content: block.take_text("text"),
        },
        "thinking" => Part::Reasoning {
            content: block.take_text("thinking"),
        },
        // Encrypted: there is nothing to read in it.
        "redacted_thinking" => Part::Reasoning {
            content: String::new(),
        },
        "tool_use" | "server_tool_use" | "mcp_tool_use" => Part::ToolCall {
            id: block.take_string("id"),
            name: block.take_text("name"),
            arguments: block.take("input"),
        },
        "image" | "document" => media_of(&kind, block, notes),
        _ if kind.ends_with("tool_result") => Part::ToolCallResponse {
            id: block.take_string("tool_use_id"),
            name: None,
            is_error: block.get("is_error").and_then(Value::as_bool),
            response: match block.take("content") {
                Value::Object(result) => match other("result", Value::Object(result), notes) {
                    Part::Other { content, .. } => content,
                    _ => Value::Null,
                },
                content => result_of(parts_of(content, notes)),
            },
        },
        _ => other(&kind, Value::Object(block), notes),
    }
}

fn media_of(modality: &str, mut block: Map<String, Value>, notes: &mut Notes) -> Part {
    let mut source = block.take_object("source");
    let mime_type = source.take_string("media_type");
    match source.text("type") {
        "base64" => media::blob(
            &source.take_text("data"),
            mime_type.as_deref(),
            &mut notes.parts,
        ),
        "text" => Part::Text {
            content: source.take_text("data"),
        },
        "url" => media::from_url(source.take_text("url"), modality, &mut notes.parts),
        "file" => Part::Uri {
            modality: modality.to_owned(),
            mime_type,
            uri: source.take_text("file_id"),
        },
        _ => {
            block.insert("source".to_owned(), Value::Object(source));
            other(modality, Value::Object(block), notes)
        }
    }
}

/// A streamed message, put together.
#[derive(Default)]
struct Assembly {
    message: Map<String, Value>,
    usage: Map<String, Value>,
    blocks: BTreeMap<u64, Block>,
}

#[derive(Default)]
struct Block {
    start: Map<String, Value>,
    text: String,
    input: String,
}

impl Stream for Assembly {
    fn take_plain(&mut self, data: &[u8], _: &Draft) -> bool {
        let Some(delta) = plain::anthropic_delta(data) else {
            return false;
        };
        let Some(block) = self.blocks.get_mut(&delta.index) else {
            return false;
        };
        if block.start.is_empty() {
            return false;
        }
        let text = match delta.kind {
            b"input_json_delta" => &mut block.input,
            _ => &mut block.text,
        };
        json::append_string(delta.text, text);
        true
    }

    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        let (kind, mut event) = event.into_typed();
        let index = event.count("index").unwrap_or(0);
        match kind.as_str() {
            "message_start" => {
                self.message = event.take_object("message");
                self.update_usage(self.message.get("usage").cloned().unwrap_or_default());
            }
            "content_block_start" => {
                let start = event.take_object("content_block");
                self.blocks.insert(
                    index,
                    Block {
                        start,
                        ..Block::default()
                    },
                );
            }
            "content_block_delta" => {
                let mut delta = event.take_object("delta");
                let block = self.blocks.entry(index).or_default();
                block.text.push_str(&delta.take_text("text"));
                block.text.push_str(&delta.take_text("thinking"));
                block.input.push_str(&delta.take_text("partial_json"));
                block.expect(delta.text("type"));
            }
            "message_delta" => {
                let delta = event.take_object("delta");
                self.message.extend(delta);
                self.update_usage(event.take("usage"));
            }
            "message_stop" => draft.ended = true,
            "error" => {
                draft.ended = true;
                draft.fail(Value::Object(event), None);
            }
            _ => {}
        }
    }

    fn finish(self: Box<Self>, draft: &mut Draft) {
        let Self {
            mut message,
            usage,
            blocks,
        } = *self;
        let content = blocks.into_values().map(Block::finish).collect();
        message.insert("content".to_owned(), Value::Array(content));
        message.insert("usage".to_owned(), Value::Object(usage));
        read_message(message, draft);
    }
}

impl Assembly {
    /// Counts are running totals: what is given replaces what was given before.
    fn update_usage(&mut self, usage: Value) {
        let given = into_object(usage).into_iter();
        self.usage
            .extend(given.filter(|(_, value)| !value.is_null()));
    }
}

impl Block {
    /// Makes up for the start of a block that was not seen, by the kind of its deltas.
    fn expect(&mut self, delta_kind: &str) {
        if self.start.is_empty() {
            let kind = match delta_kind {
                "input_json_delta" => "tool_use",
                "thinking_delta" | "signature_delta" => "thinking",
                _ => "text",
            };
            self.start.insert("type".to_owned(), kind.into());
        }
    }

    /// The block as it would have come in one piece.
    fn finish(self) -> Value {
        let Self {
            mut start,
            text,
            input,
        } = self;
        let key = match start.text("type") {
            "thinking" => "thinking",
            _ => "text",
        };
        if !text.is_empty() {
            let whole = start.take_text(key) + &text;
            start.insert(key.to_owned(), whole.into());
        }
        if !input.is_empty()
            && let Part::ToolCall { arguments, .. } = tool_call(None, String::new(), input)
        {
            start.insert("input".to_owned(), arguments);
        }
        Value::Object(start)
    }
}

#[cfg(test)]
mod tests {
    use super::model_in;

    #[test]
    fn clouds_name_the_model_in_the_path() {
        for (path, expected) in [
            (
                "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke",
                Some("us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
            ),
            (
                "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
                Some("claude-sonnet-4-5@20250929"),
            ),
            ("/v1/messages", None),
            ("/model//invoke", None),
        ] {
            assert_eq!(model_in(path).as_deref(), expected, "{path}");
        }
    }
}
