//! OpenAI Chat Completions: `POST /v1/chat/completions`, whole or streamed, with what the many servers
//! that speak it add. The older text completions differ only in where the text is.

mod stream;

use agentsight_model::{Message, Part, ToolDefinition, Usage};
use serde_json::{Map, Value};

use super::reading::vendor;
use super::reading::{
    Context, Draft, Fields, Notes, into_object, into_text, other, result_of, tool_call,
};
use super::{Fit, Provider, Seen, Stream, reading};
use crate::media;

pub(super) struct OpenAiChat;

impl Provider for OpenAiChat {
    fn names(&self) -> (&'static str, &'static str) {
        ("openai", "openai.chat_completions")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let request = seen.request;
        let messages = request.get("messages").is_some_and(has_roles);
        let prompt = request.contains_key("prompt") && request.contains_key("model");
        let path = seen.path.ends_with("/completions");
        Fit {
            answer: seen.any_answer(|answer| {
                let object = answer.text("object");
                let named = object.starts_with("chat.completion") || object == "text_completion";
                let choices = answer.get("choices").is_some_and(Value::is_array);
                choices && (named || messages || prompt || path)
            }),
            request: messages && has_own_tools(request),
            possible: (messages && (path || request.contains_key("model"))) || (prompt && path),
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, seen: &Context, draft: &mut Draft) {
        let model = body.take_string("model");
        draft.request_model = model.or_else(|| deployment_in(&seen.path));
        draft.operation = "chat";
        for message in body.take_list("messages") {
            let message = reading::message(message, &mut draft.notes, message_of);
            draft.request.messages.push(message);
        }
        if draft.request.messages.is_empty() && body.contains_key("prompt") {
            draft.operation = "text_completion";
            let parts = prompt_of(body.take("prompt"), &mut draft.notes);
            let role = "user".to_owned();
            draft.request.messages.push(Message { role, parts });
        }
        let tools = body.take_list("tools").into_iter();
        let functions = body.take_list("functions").into_iter();
        draft.request.tools = tools.chain(functions).map(tool_of).collect();
        draft.request.parameters = body;
    }

    fn read_answer(&self, mut body: Map<String, Value>, draft: &mut Draft) {
        let choices = body.take_list("choices");
        read_frame(&body, draft);
        for choice in choices {
            let mut choice = into_object(choice);
            draft.finish(choice.take_string("finish_reason"));
            let mut message = choice.take_object("message");
            if let Value::String(text) = choice.take("text") {
                message.insert("content".to_owned(), text.into());
            }
            let parts = parts_of(&mut message, &mut draft.notes);
            draft.answer(parts);
        }
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::new(stream::Assembly::default())
    }
}

/// What servers add beside the choices and is worth keeping: who answered, at which price, how fast.
const SAID: [&str; 7] = [
    "citations",
    "provider",
    "search_results",
    "service_tier",
    "system_fingerprint",
    "timings",
    "x_groq",
];

fn has_roles(messages: &Value) -> bool {
    let Some(messages) = messages.as_array() else {
        return false;
    };
    messages
        .iter()
        .all(|message| message.get("role").is_some_and(Value::is_string))
}

/// The deployment in a path of Azure, such as `/openai/deployments/<name>/chat/completions`.
pub(super) fn deployment_in(path: &str) -> Option<String> {
    let (_, rest) = path.split_once("/deployments/")?;
    let (name, _) = rest.split_once('/')?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Whether tools are described, or called, as only this dialect does.
fn has_own_tools(request: &Map<String, Value>) -> bool {
    let list = |key: &str| {
        request
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    list("tools").any(|tool| tool.get("function").is_some())
        || list("messages")
            .any(|m| m.get("tool_calls").is_some() || m.get("tool_call_id").is_some())
}

/// What stands beside the choices, in whole answers and in chunks.
fn read_frame(body: &Map<String, Value>, draft: &mut Draft) {
    let text = |key: &str| Some(body.text(key).to_owned()).filter(|text| !text.is_empty());
    draft.response.id = draft.response.id.take().or_else(|| text("id"));
    draft.response_model = draft.response_model.take().or_else(|| text("model"));
    draft.vendor = draft.vendor.or_else(|| vendor::by_shape(body));
    draft.keep(body, &SAID);
    let groq = || body.get("x_groq")?.get("usage");
    let usage = body.get("usage").filter(|usage| usage.is_object());
    if let Some(usage) = usage.or_else(groq).and_then(Value::as_object) {
        draft.usage = usage_of(usage);
        draft.counted = usage.clone();
    }
}

fn usage_of(usage: &Map<String, Value>) -> Usage {
    let detail = |group: &str, key: &str| usage.get(group)?.as_object()?.count(key);
    let input = usage.count("prompt_tokens");
    let output = usage.count("completion_tokens");
    let reasoning = detail("completion_tokens_details", "reasoning_tokens");
    let with_reasoning = output.unwrap_or(0).saturating_add(reasoning.unwrap_or(0));
    // Some servers count reasoning beside the completion; their total tells.
    let beside = reasoning.is_some_and(|count| count > 0)
        && usage.count("total_tokens") == Some(input.unwrap_or(0).saturating_add(with_reasoning));
    Usage {
        input_tokens: input,
        output_tokens: if beside { Some(with_reasoning) } else { output },
        cache_read_input_tokens: detail("prompt_tokens_details", "cached_tokens")
            .or_else(|| usage.count("prompt_cache_hit_tokens")),
        cache_creation_input_tokens: detail("prompt_tokens_details", "cache_write_tokens"),
        reasoning_output_tokens: reasoning,
        ..Usage::default()
    }
}

fn prompt_of(prompt: Value, notes: &mut Notes) -> Vec<Part> {
    match prompt {
        Value::String(content) => vec![Part::Text { content }],
        Value::Array(items) if items.iter().all(Value::is_string) => items
            .into_iter()
            .map(|item| Part::Text {
                content: into_text(item),
            })
            .collect(),
        prompt => vec![other("prompt", prompt, notes)],
    }
}

fn tool_of(tool: Value) -> ToolDefinition {
    let mut tool = into_object(tool);
    let kind = tool.text("type").to_owned();
    let mut inner = match tool.take(if kind.is_empty() { "function" } else { &kind }) {
        Value::Object(inner) => inner,
        _ => tool,
    };
    let name = inner.take_string("name").unwrap_or(kind);
    let description = inner.take_string("description");
    let parameters = inner
        .remove("parameters")
        .or_else(|| inner.remove("format"));
    ToolDefinition {
        name,
        description,
        parameters,
    }
}

fn message_of(mut message: Map<String, Value>, notes: &mut Notes) -> Message {
    let role = message.take_text("role");
    match role.as_str() {
        "tool" | "function" => {
            let response = result_of(content_of(message.take("content"), notes));
            let part = Part::ToolCallResponse {
                id: message.take_string("tool_call_id"),
                name: message.take_string("name"),
                response,
                is_error: None,
            };
            Message {
                role: "tool".to_owned(),
                parts: vec![part],
            }
        }
        _ => Message {
            parts: parts_of(&mut message, notes),
            role: if role == "developer" {
                "system".to_owned()
            } else {
                role
            },
        },
    }
}

/// The parts of a message, in the order in which a model makes them: reasoning, content, calls.
fn parts_of(message: &mut Map<String, Value>, notes: &mut Notes) -> Vec<Part> {
    let mut parts = Vec::new();
    let reasoning = message.take_first_string(&["reasoning_content", "reasoning"]);
    parts.extend(reasoning.map(|content| Part::Reasoning { content }));
    parts.extend(content_of(message.take("content"), notes));
    let refusal = message.take_string("refusal");
    parts.extend(refusal.map(|content| Part::Text { content }));
    for image in message.take_list("images") {
        parts.push(content_part(image, notes));
    }
    if let Value::Object(audio) = message.take("audio") {
        parts.extend(audio_parts(audio, notes));
    }
    for call in message.take_list("tool_calls") {
        parts.push(call_of(into_object(call)));
    }
    if let Value::Object(mut function) = message.take("function_call") {
        let name = function.take_text("name");
        parts.push(tool_call(None, name, function.take_text("arguments")));
    }
    parts
}

fn call_of(mut call: Map<String, Value>) -> Part {
    let id = call.take_string("id");
    if let Value::Object(mut custom) = call.take("custom") {
        return Part::ToolCall {
            id,
            name: custom.take_text("name"),
            arguments: custom.take("input"),
        };
    }
    let mut function = call.take_object("function");
    let name = function.take_text("name");
    match function.take("arguments") {
        Value::String(text) => tool_call(id, name, text),
        arguments => Part::ToolCall {
            id,
            name,
            arguments,
        },
    }
}

/// Content: a string, or a list of parts. Empty text, as beside tool calls, is no part.
fn content_of(content: Value, notes: &mut Notes) -> Vec<Part> {
    match content {
        Value::Null => Vec::new(),
        Value::String(content) if content.is_empty() => Vec::new(),
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
        Value::String(content) => return Part::Text { content },
        Value::Object(part) => part,
        part => return notes.misplaced("content", part),
    };
    let kind = part.text("type").to_owned();
    match kind.as_str() {
        "text" => Part::Text {
            content: part.take_text("text"),
        },
        "refusal" => Part::Text {
            content: part.take_text("refusal"),
        },
        "thinking" => Part::Reasoning {
            content: thinking_in(&mut part),
        },
        "image_url" | "video_url" | "audio_url" => {
            let url = match part.take(&kind) {
                Value::Object(mut inner) => inner.take_text("url"),
                url => into_text(url),
            };
            media::from_url(url, kind.trim_end_matches("_url"), &mut notes.parts)
        }
        "input_audio" => {
            let mut audio = part.take_object("input_audio");
            let declared = format!("audio/{}", audio.take_text("format"));
            media::blob(&audio.take_text("data"), Some(&declared), &mut notes.parts)
        }
        "file" => {
            let mut file = part.take_object("file");
            match file.take_string("file_data") {
                Some(data) => media::blob(&data, None, &mut notes.parts),
                None => Part::Uri {
                    modality: "file".to_owned(),
                    mime_type: None,
                    uri: file
                        .take_first_string(&["file_id", "filename"])
                        .unwrap_or_default(),
                },
            }
        }
        _ => other(&kind, Value::Object(part), notes),
    }
}

/// What a model said, and what of it is written. In requests, only the id of an earlier answer.
fn audio_parts(mut audio: Map<String, Value>, notes: &mut Notes) -> Vec<Part> {
    let transcript = audio.take_string("transcript");
    let data = audio.take_string("data");
    if transcript.is_none() && data.is_none() {
        return vec![other("audio", Value::Object(audio), notes)];
    }
    let text = transcript.map(|content| Part::Text { content });
    let sound = data.map(|digits| media::blob(&digits, Some(ANY_SOUND), &mut notes.parts));
    text.into_iter().chain(sound).collect()
}

/// The type of sound whose format stands in the request, or nowhere.
const ANY_SOUND: &str = "audio/*";

/// The text of a thought of Mistral's models, which is a list of texts.
fn thinking_in(part: &mut Map<String, Value>) -> String {
    let texts = part.take_list("thinking").into_iter();
    texts
        .map(|item| match item {
            Value::Object(mut item) => item.take_text("text"),
            item => into_text(item),
        })
        .collect()
}
