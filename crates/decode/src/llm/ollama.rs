//! Ollama: `POST /api/chat` and `/api/generate`, whole or as lines of JSON.
//!
//! Unlike its model, OpenAI's chat completions, arguments of calls are objects, images stand beside the
//! text, and the last line says `done`. Servers of old versions give calls no id.

use agentsight_model::{Message, Part, ToolDefinition, Usage};
use serde_json::{Map, Value};

use super::reading::{
    Context, Draft, Fields, Notes, StreamEvent, into_object, into_text, message, push_text,
    tool_call,
};
use super::{Fit, Provider, Seen, Stream};
use crate::media;

pub(super) struct Ollama;

impl Provider for Ollama {
    fn names(&self) -> (&'static str, &'static str) {
        ("ollama", "ollama.chat")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let request = seen.request;
        let path = seen.path.ends_with("/api/chat") || seen.path.ends_with("/api/generate");
        let named = request.get("model").is_some_and(Value::is_string);
        let asks = request.get("messages").is_some_and(Value::is_array)
            || request.get("prompt").is_some_and(Value::is_string);
        Fit {
            answer: seen.any_answer(is_answer),
            // Nothing but the path tells plain questions from those of other dialects.
            request: path && named && asks,
            possible: path && named,
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, seen: &Context, draft: &mut Draft) {
        draft.request_model = body.take_string("model");
        draft.operation = if seen.path.ends_with("/api/generate") || body.contains_key("prompt") {
            "text_completion"
        } else {
            "chat"
        };
        if let Some(content) = body.take_string("system") {
            draft.request.system.push(Part::Text { content });
        }
        for value in body.take_list("messages") {
            let message = message(value, &mut draft.notes, message_of);
            draft.request.messages.push(message);
        }
        if let Value::String(content) = body.take("prompt") {
            let mut parts = vec![Part::Text { content }];
            push_images(&mut parts, &mut body, &mut draft.notes);
            let role = "user".to_owned();
            draft.request.messages.push(Message { role, parts });
        }
        draft.request.tools = body.take_list("tools").into_iter().map(tool_of).collect();
        draft.request.parameters = body;
    }

    fn read_answer(&self, body: Map<String, Value>, draft: &mut Draft) {
        let whole = draft.ended;
        let mut answer = Assembly::default();
        answer.line(body, draft);
        draft.ended &= whole;
        Box::new(answer).finish(draft);
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::new(Assembly::default())
    }
}

/// Whether an object is an answer, or a line of one.
fn is_answer(answer: &Map<String, Value>) -> bool {
    let says = answer.get("message").is_some_and(Value::is_object)
        || answer.get("response").is_some_and(Value::is_string);
    says && answer.get("done").is_some_and(Value::is_boolean)
}

fn message_of(mut message: Map<String, Value>, notes: &mut Notes) -> Message {
    let role = message.take_text("role");
    if role == "tool" {
        let part = Part::ToolCallResponse {
            id: message.take_string("tool_call_id"),
            name: message.take_first_string(&["tool_name", "name"]),
            response: message.take("content"),
            is_error: None,
        };
        let mut parts = vec![part];
        push_images(&mut parts, &mut message, notes);
        return Message { role, parts };
    }
    let mut parts = Vec::new();
    push_parts(&mut parts, &mut message, notes);
    Message { role, parts }
}

/// Adds what a message says, in the order in which a model makes it.
fn push_parts(parts: &mut Vec<Part>, message: &mut Map<String, Value>, notes: &mut Notes) {
    if let Some(text) = message.take_string("thinking") {
        push_text(parts, text, true);
    }
    match message.take("content") {
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => push_text(parts, text, false),
        Value::Null => {}
        content => parts.push(notes.misplaced("content", content)),
    }
    push_images(parts, message, notes);
    for call in message.take_list("tool_calls") {
        parts.push(call_of(into_object(call)));
    }
}

fn push_images(parts: &mut Vec<Part>, message: &mut Map<String, Value>, notes: &mut Notes) {
    for image in message.take_list("images") {
        let encoded = into_text(image);
        parts.push(media::blob(&encoded, Some("image/*"), &mut notes.parts));
    }
}

fn call_of(mut call: Map<String, Value>) -> Part {
    let id = call.take_string("id");
    let mut function = call.take_object("function");
    let name = function.take_text("name");
    match function.take("arguments") {
        Value::Object(map) => Part::ToolCall {
            id,
            name,
            arguments: Value::Object(map),
        },
        arguments => tool_call(id, name, into_text(arguments)),
    }
}

fn tool_of(tool: Value) -> ToolDefinition {
    let mut function = into_object(tool).take_object("function");
    ToolDefinition {
        name: function.take_text("name"),
        description: function.take_string("description"),
        parameters: function.remove("parameters"),
    }
}

/// An answer while its lines come.
#[derive(Default)]
struct Assembly {
    parts: Vec<Part>,
}

impl Assembly {
    fn line(&mut self, mut line: Map<String, Value>, draft: &mut Draft) {
        draft.response_model = draft.response_model.take().or(line.take_string("model"));
        let mut message = line.take_object("message");
        push_parts(&mut self.parts, &mut message, &mut draft.notes);
        // Of `/api/generate`.
        if let Some(text) = line.take_string("thinking") {
            push_text(&mut self.parts, text, true);
        }
        if let Some(text) = line.take_string("response") {
            push_text(&mut self.parts, text, false);
        }
        draft.ended = line.get("done").and_then(Value::as_bool).unwrap_or(false);
        if draft.ended {
            draft.finish(line.take_string("done_reason"));
            draft.usage = Usage {
                input_tokens: line.count("prompt_eval_count"),
                output_tokens: line.count("eval_count"),
                ..Usage::default()
            };
        }
    }
}

impl Stream for Assembly {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        let line = into_object(event.data);
        if super::has_error(&line) {
            draft.ended = true;
            draft.fail(Value::Object(line), None);
        } else if !draft.ended {
            self.line(line, draft);
        }
    }

    fn finish(self: Box<Self>, draft: &mut Draft) {
        draft.answer(self.parts);
    }
}
