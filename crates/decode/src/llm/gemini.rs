//! Gemini: `POST .../models/<model>:generateContent`, and `:streamGenerateContent` as server-sent
//! events or as one JSON array. Also inside the wrapping that Google's own command-line agent uses.

use std::collections::BTreeMap;

use agentsight_model::{Message, Part, ToolDefinition, Usage};
use serde_json::{Map, Value};

use super::reading::{
    Context, Draft, Fields, Notes, StreamEvent, into_object, message, other, push_text,
};
use super::{Fit, Provider, Seen, Stream};
use crate::media;

pub(super) struct Gemini;

impl Provider for Gemini {
    fn names(&self) -> (&'static str, &'static str) {
        ("gcp.gemini", "gemini.generate_content")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let body = match seen.request.get("request").and_then(Value::as_object) {
            Some(inner) => inner,
            None => seen.request,
        };
        let path = seen.path.to_ascii_lowercase().ends_with("generatecontent");
        let shape = body.get("contents").is_some_and(has_parts);
        // Counting tokens takes the same request.
        let request = shape && !seen.path.ends_with(":countTokens");
        Fit {
            answer: seen.any_answer(|answer| {
                let answer = answer
                    .get("response")
                    .and_then(Value::as_object)
                    .unwrap_or(answer);
                let frame =
                    answer.contains_key("usageMetadata") || answer.contains_key("modelVersion");
                answer.get("candidates").is_some_and(Value::is_array) && (frame || shape || path)
                    || answer.contains_key("promptFeedback") && frame
            }),
            request,
            possible: request,
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, seen: &Context, draft: &mut Draft) {
        draft.operation = "generate_content";
        let outer_model = body.take_string("model");
        if let Value::Object(inner) = body.take("request") {
            body = inner;
        }
        let model = outer_model.or_else(|| body.take_string("model"));
        // Questions of tokens name it as the path does.
        let model = model.map(|name| name.trim_start_matches("models/").to_owned());
        draft.request_model = model.or_else(|| model_in(&seen.path));
        let notes = &mut draft.notes;
        for key in ["systemInstruction", "system_instruction"] {
            let instruction = match body.take(key) {
                Value::String(text) => vec![Part::Text { content: text }],
                instruction => parts_of(into_object(instruction).take_list("parts"), notes),
            };
            draft.request.system.extend(instruction);
        }
        let contents = body.take_list("contents").into_iter();
        draft.request.messages = contents
            .map(|content| message(content, notes, message_of))
            .collect();
        let tools = body.take_list("tools").into_iter();
        draft.request.tools = tools.flat_map(|tool| tools_of(into_object(tool))).collect();
        draft.request.parameters = body;
    }

    fn read_answer(&self, body: Map<String, Value>, draft: &mut Draft) {
        let complete = draft.ended;
        let mut assembly = Box::<Assembly>::default();
        assembly.take_chunk(body, draft);
        assembly.finish(draft);
        draft.ended = complete;
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::<Assembly>::default()
    }
}

fn has_parts(contents: &Value) -> bool {
    match contents {
        Value::Array(items) => items.iter().all(|item| item.get("parts").is_some()),
        content => content.get("parts").is_some(),
    }
}

/// The model in a path such as `/v1beta/models/<model>:generateContent`.
pub(super) fn model_in(path: &str) -> Option<String> {
    let (_, rest) = path.rsplit_once("/models/")?;
    let model = rest.split(':').next().filter(|model| !model.is_empty())?;
    Some(model.to_owned())
}

pub(super) fn message_of(mut content: Map<String, Value>, notes: &mut Notes) -> Message {
    let parts = parts_of(content.take_list("parts"), notes);
    let is_result = |part: &Part| matches!(part, Part::ToolCallResponse { .. });
    let role = match content.text("role") {
        _ if !parts.is_empty() && parts.iter().all(is_result) => "tool",
        "model" => "assistant",
        "" => "user",
        role => role,
    };
    Message {
        role: role.to_owned(),
        parts,
    }
}

/// A tool of the request: declared functions, and what the provider runs itself.
pub(super) fn tools_of(mut tool: Map<String, Value>) -> Vec<ToolDefinition> {
    let mut declared = tool.take_list("functionDeclarations");
    declared.extend(tool.take_list("function_declarations"));
    let functions = declared.into_iter().map(|function| {
        let mut function = into_object(function);
        let schemas = [
            "parametersJsonSchema",
            "parameters_json_schema",
            "parameters",
        ];
        ToolDefinition {
            name: function.take_text("name"),
            description: function.take_string("description"),
            parameters: schemas.iter().find_map(|key| function.remove(*key)),
        }
    });
    let built_in = tool.into_iter().map(|(name, settings)| ToolDefinition {
        name,
        description: None,
        parameters: Some(settings),
    });
    functions.chain(built_in).collect()
}

pub(super) fn parts_of(parts: Vec<Value>, notes: &mut Notes) -> Vec<Part> {
    parts.into_iter().map(|part| part_of(part, notes)).collect()
}

fn part_of(part: Value, notes: &mut Notes) -> Part {
    let mut part = match part {
        Value::Object(part) => part,
        part => return notes.misplaced("part", part),
    };
    let thought = part.get("thought").and_then(Value::as_bool) == Some(true);
    if let Value::String(content) = part.take("text") {
        return if thought {
            Part::Reasoning { content }
        } else {
            Part::Text { content }
        };
    }
    // Fields are spelled in two ways.
    let mut named = |camel: &str, snake: &str| match (part.take(camel), part.take(snake)) {
        (Value::Object(map), _) | (_, Value::Object(map)) => Some(map),
        _ => None,
    };
    if let Some(mut call) = named("functionCall", "function_call") {
        return Part::ToolCall {
            id: call.take_string("id"),
            name: call.take_text("name"),
            arguments: match call.take("args") {
                Value::Null => Value::Object(Map::new()),
                arguments => arguments,
            },
        };
    }
    if let Some(result) = named("functionResponse", "function_response") {
        return result_of(result, notes);
    }
    if let Some(mut data) = named("inlineData", "inline_data") {
        let declared = data.take_first_string(&["mimeType", "mime_type"]);
        return media::blob(
            &data.take_text("data"),
            declared.as_deref(),
            &mut notes.parts,
        );
    }
    if let Some(mut file) = named("fileData", "file_data") {
        let mime_type = file.take_first_string(&["mimeType", "mime_type"]);
        let modality = media::modality(mime_type.as_deref().unwrap_or_default());
        return Part::Uri {
            modality: modality.to_owned(),
            mime_type,
            uri: file
                .take_first_string(&["fileUri", "file_uri"])
                .unwrap_or_default(),
        };
    }
    let name = part.keys().next().cloned().unwrap_or_default();
    other(&name, Value::Object(part), notes)
}

pub(super) fn result_of(mut result: Map<String, Value>, notes: &mut Notes) -> Part {
    let mut response = result.take("response");
    media::strip(&mut response, &mut notes.parts);
    // Media of a result stand beside it; their description joins the result.
    let attached = parts_of(result.take_list("parts"), notes);
    if let (Value::Object(map), false) = (&mut response, attached.is_empty()) {
        let attached = serde_json::to_value(&attached).unwrap_or_default();
        map.insert("parts".to_owned(), attached);
    }
    Part::ToolCallResponse {
        id: result.take_string("id"),
        name: result.take_string("name"),
        response,
        is_error: None,
    }
}

/// Chunks of an answer, put together.
#[derive(Default)]
struct Assembly {
    candidates: BTreeMap<u64, Candidate>,
    usage: Map<String, Value>,
}

#[derive(Default)]
struct Candidate {
    parts: Vec<Part>,
    finish_reason: Option<String>,
}

impl Stream for Assembly {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        self.take_chunk(into_object(event.data), draft);
    }

    fn finish(self: Box<Self>, draft: &mut Draft) {
        draft.usage = usage_of(&self.usage);
        draft.counted = self.usage;
        for candidate in self.candidates.into_values() {
            draft.finish(candidate.finish_reason);
            draft.answer(candidate.parts);
        }
    }
}

impl Assembly {
    fn take_chunk(&mut self, mut chunk: Map<String, Value>, draft: &mut Draft) {
        if let Value::Object(inner) = chunk.take("response") {
            chunk = inner;
        }
        if chunk.get("error").is_some_and(Value::is_object) {
            draft.ended = true;
            draft.fail(Value::Object(chunk), None);
            return;
        }
        draft.response.id = chunk.take_string("responseId").or(draft.response.id.take());
        draft.response_model = chunk
            .take_string("modelVersion")
            .or(draft.response_model.take());
        // Counts are running totals.
        self.usage.extend(chunk.take_object("usageMetadata"));
        let mut feedback = chunk.take_object("promptFeedback");
        if let Some(reason) = feedback.take_string("blockReason") {
            draft.ended = true;
            draft.finish(Some(reason));
        }
        for candidate in chunk.take_list("candidates") {
            self.take_candidate(into_object(candidate), draft);
        }
    }

    fn take_candidate(&mut self, mut candidate: Map<String, Value>, draft: &mut Draft) {
        let index = candidate.count("index").unwrap_or(0);
        let own = self.candidates.entry(index).or_default();
        let mut content = candidate.take_object("content");
        for part in parts_of(content.take_list("parts"), &mut draft.notes) {
            match part {
                Part::Text { content } if content.is_empty() => {}
                Part::Text { content } => push_text(&mut own.parts, content, false),
                Part::Reasoning { content } => push_text(&mut own.parts, content, true),
                part => own.parts.push(part),
            }
        }
        if let Some(reason) = candidate.take_string("finishReason") {
            own.finish_reason = Some(reason);
        }
        draft.ended = self.candidates.values().all(|c| c.finish_reason.is_some());
    }
}

/// The prompt's count includes what the cache served; thoughts, and what tools of the provider added to
/// the prompt, are counted beside the rest.
pub(super) fn usage_of(usage: &Map<String, Value>) -> Usage {
    let sum = |first: &str, second: &str| match (usage.count(first), usage.count(second)) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    };
    Usage {
        input_tokens: sum("promptTokenCount", "toolUsePromptTokenCount"),
        output_tokens: sum("candidatesTokenCount", "thoughtsTokenCount"),
        cache_read_input_tokens: usage.count("cachedContentTokenCount"),
        cache_creation_input_tokens: None,
        reasoning_output_tokens: usage.count("thoughtsTokenCount"),
        ..Usage::default()
    }
}
