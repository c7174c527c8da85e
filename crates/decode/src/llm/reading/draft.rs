//! A call while it is being read.

use agentsight_model::{LlmError, LlmRequest, LlmResponse, Message, Part, PartInfo, Usage};
use serde_json::{Map, Value};

use super::fields::{Fields, into_object, into_text};
use super::usage;
use crate::{json, media};

/// What a provider fills in.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) request: LlmRequest,
    pub(crate) request_model: Option<String>,
    pub(crate) response: LlmResponse,
    pub(crate) response_model: Option<String>,
    pub(crate) operation: &'static str,
    pub(crate) finish_reasons: Vec<String>,
    pub(crate) usage: Usage,
    /// The counts as the provider gave them.
    pub(crate) counted: Map<String, Value>,
    /// Who serves the dialect, where the answer tells.
    pub(crate) vendor: Option<&'static str>,
    pub(crate) error: Option<LlmError>,
    pub(crate) notes: Notes,
    /// Whether the answer went on to the dialect's own end mark.
    pub(crate) ended: bool,
}

/// What is noted on the way through the pieces of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Every piece that is not text.
    pub(crate) parts: Vec<PartInfo>,
    /// Whether something was of a type that cannot stand where it stood.
    pub(crate) malformed: bool,
}

impl Notes {
    /// Keeps a value that cannot stand where it stands.
    pub(crate) fn misplaced(&mut self, name: &str, content: Value) -> Part {
        self.malformed = true;
        other(name, content, self)
    }
}

impl Draft {
    /// Takes the answer's parts as one message of the assistant, unless there are none.
    pub(crate) fn answer(&mut self, parts: Vec<Part>) {
        if !parts.is_empty() {
            self.response.messages.push(Message {
                role: "assistant".to_owned(),
                parts,
            });
        }
    }

    /// Notes what the provider says went wrong.
    pub(crate) fn fail(&mut self, value: Value, status: Option<u16>) {
        self.error.get_or_insert_with(|| error_of(value, status));
    }

    /// Notes what an answer says of itself under `keys`, unless it is nothing.
    pub(crate) fn keep(&mut self, body: &Map<String, Value>, keys: &[&str]) {
        let said = keys.iter().filter_map(|key| Some((*key, body.get(*key)?)));
        for (key, value) in said.filter(|(_, value)| !value.is_null()) {
            self.response.extra.insert(key.to_owned(), value.clone());
        }
    }

    /// Keeps the counts that [`Usage`] has no field for, and estimates those that no one gave.
    pub(crate) fn settle_usage(&mut self) {
        let rest = usage::remainder(std::mem::take(&mut self.counted));
        if !rest.is_empty() {
            let extra = &mut self.response.extra;
            extra.insert("usage".to_owned(), Value::Object(rest));
        }
        if let Some(estimate) = usage::estimate(self) {
            self.usage = estimate;
        }
    }

    /// Notes why the model stopped.
    pub(crate) fn finish(&mut self, reason: Option<String>) {
        self.finish_reasons.extend(reason);
    }
}

/// An error object, in any of the forms that are in use: the object itself, or under `error`.
pub(crate) fn error_of(value: Value, status: Option<u16>) -> LlmError {
    let status = status.map_or_else(|| "error".to_owned(), |status| status.to_string());
    let mut outer = match value {
        Value::Array(items) => into_object(items.into_iter().next().unwrap_or_default()),
        value => into_object(value),
    };
    let mut inner = match outer.take("error") {
        Value::Object(map) => map,
        Value::String(message) => Map::from_iter([("message".to_owned(), message.into())]),
        _ => outer,
    };
    let kind = inner.take_first_string(&["type", "status", "code"]);
    let message = inner
        .take_first_string(&["message", "detail"])
        .unwrap_or_else(|| into_text(Value::Object(inner)));
    LlmError {
        kind: kind.unwrap_or(status),
        message: crate::text::preview(&message, 4096),
    }
}

/// Joins text parts that follow each other, as streams cut them anywhere.
pub(crate) fn push_text(parts: &mut Vec<Part>, text: String, reasoning: bool) {
    match parts.last_mut() {
        Some(Part::Text { content }) if !reasoning => content.push_str(&text),
        Some(Part::Reasoning { content }) if reasoning => content.push_str(&text),
        _ if reasoning => parts.push(Part::Reasoning { content: text }),
        _ => parts.push(Part::Text { content: text }),
    }
}

/// A call of a tool whose arguments came as text.
pub(crate) fn tool_call(id: Option<String>, name: String, arguments: String) -> Part {
    // A tool without parameters is called with no text at all by some models.
    let arguments = match arguments.trim() {
        "" => Value::Object(Map::new()),
        _ => json::parse_or_text(arguments),
    };
    Part::ToolCall {
        id,
        name,
        arguments,
    }
}

/// A piece that is not known, without the base64 in it.
pub(crate) fn other(name: &str, mut content: Value, notes: &mut Notes) -> Part {
    media::strip(&mut content, &mut notes.parts);
    let name = if name.is_empty() { "unknown" } else { name };
    Part::Other {
        name: name.to_owned(),
        content,
    }
}

/// A message, by `read` if it is an object; anything else is kept as it is.
pub(crate) fn message(
    value: Value,
    notes: &mut Notes,
    read: impl FnOnce(Map<String, Value>, &mut Notes) -> Message,
) -> Message {
    match value {
        Value::Object(map) => read(map, notes),
        value => Message {
            role: String::new(),
            parts: vec![notes.misplaced("message", value)],
        },
    }
}

/// A tool's result from its parts: plain text where it is nothing else, or a list of parts.
pub(crate) fn result_of(parts: Vec<Part>) -> Value {
    let texts: Option<Vec<&str>> = parts
        .iter()
        .map(|part| match part {
            Part::Text { content } => Some(content.as_str()),
            _ => None,
        })
        .collect();
    match texts {
        Some(texts) => Value::String(texts.join("\n")),
        None => serde_json::to_value(&parts).unwrap_or_default(),
    }
}
