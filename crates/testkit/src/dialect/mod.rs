//! How models are spoken to over HTTP: reading a request, writing the answer.
//!
//! A dialect is one file with a `const` of [`Format`], and one line in [`Dialect::format`].

mod anthropic;
mod gemini;
mod openai_chat;
mod openai_responses;

use agentsight_model::Usage;
use serde_json::Value;

use crate::truth::CalledTool;

/// An API that agents speak to models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Anthropic Messages.
    AnthropicMessages,
    /// OpenAI Chat Completions.
    OpenAiChat,
    /// OpenAI Responses.
    OpenAiResponses,
    /// Gemini `generateContent` and `streamGenerateContent`.
    Gemini,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 4] = [
        Self::AnthropicMessages,
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::Gemini,
    ];

    /// The name that the demo agent knows it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AnthropicMessages => "anthropic",
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiResponses => "openai-responses",
            Self::Gemini => "gemini",
        }
    }

    /// The dialect of a request to this path, by the path alone.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.split('?').next().unwrap_or_default();
        let verb = path.rsplit_once(':').map(|(_, verb)| verb);
        if path.ends_with("/v1/messages") {
            Some(Self::AnthropicMessages)
        } else if path.ends_with("/chat/completions") {
            Some(Self::OpenAiChat)
        } else if path.ends_with("/responses") {
            Some(Self::OpenAiResponses)
        } else if matches!(verb, Some("generateContent" | "streamGenerateContent")) {
            Some(Self::Gemini)
        } else {
            None
        }
    }

    pub(crate) fn format(self) -> &'static Format {
        match self {
            Self::AnthropicMessages => &anthropic::FORMAT,
            Self::OpenAiChat => &openai_chat::FORMAT,
            Self::OpenAiResponses => &openai_responses::FORMAT,
            Self::Gemini => &gemini::FORMAT,
        }
    }
}

/// The functions that make a dialect.
pub(crate) struct Format {
    /// Reads a request: its target and its body.
    pub(crate) read: fn(&str, &Value) -> Asked,
    /// Id of the call with this number; none where the dialect does without.
    pub(crate) call_id: fn(&str) -> Option<String>,
    /// Why the model stopped: whether it calls tools.
    pub(crate) finish_reason: fn(bool) -> &'static str,
    /// The answer as one document.
    pub(crate) document: fn(&Answer) -> Value,
    /// The answer as a stream.
    pub(crate) events: fn(&Answer) -> Vec<Event>,
    /// An error.
    pub(crate) error: fn(u16, &str) -> Value,
}

/// What matters of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) model: String,
    pub(crate) framing: Framing,
    pub(crate) tool_results: usize,
    /// Whether a stream shall end with the usage (OpenAI Chat Completions leave it out unless asked).
    pub(crate) usage_in_stream: bool,
}

/// How an answer is laid out in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One JSON document.
    Document,
    /// Server-sent events.
    Sse,
    /// One JSON array, sent element by element (Gemini without `alt=sse`).
    JsonArray,
}

/// An answer before it is put into the words of a dialect.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Unique among the answers of a server.
    pub(crate) number: u64,
    pub(crate) model: String,
    pub(crate) text: String,
    pub(crate) calls: Vec<CalledTool>,
    pub(crate) usage: Usage,
    pub(crate) finish_reason: &'static str,
    pub(crate) delta_chars: usize,
    pub(crate) usage_in_stream: bool,
}

impl Answer {
    /// Something else was sent instead: nothing of it was said.
    pub(crate) fn take_back(&mut self) {
        self.text.clear();
        self.calls.clear();
        self.usage = Usage::default();
        self.finish_reason = "";
    }

    pub(crate) fn text_deltas(&self) -> Vec<&str> {
        pieces(&self.text, self.delta_chars)
    }

    pub(crate) fn id(&self, prefix: &str) -> String {
        format!("{prefix}{:06}", self.number)
    }
}

/// One event of a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    /// Its name, where the dialect names events.
    pub(crate) name: Option<&'static str>,
    /// Its data: JSON but for OpenAI's `[DONE]`.
    pub(crate) data: String,
}

impl Event {
    fn named(name: &'static str, data: &Value) -> Self {
        Self {
            name: Some(name),
            data: data.to_string(),
        }
    }

    fn plain(data: &Value) -> Self {
        Self {
            name: None,
            data: data.to_string(),
        }
    }
}

/// The answer as the pieces of a body, to be sent one after the other.
pub(crate) fn body_pieces(format: &Format, framing: Framing, answer: &Answer) -> Vec<String> {
    match framing {
        Framing::Document => vec![(format.document)(answer).to_string()],
        Framing::Sse => (format.events)(answer).iter().map(sse).collect(),
        Framing::JsonArray => {
            let mut pieces: Vec<String> = Vec::new();
            for event in (format.events)(answer) {
                let before = if pieces.is_empty() { "[" } else { ",\r\n" };
                pieces.push(format!("{before}{}", event.data));
            }
            pieces.push("]".to_owned());
            pieces
        }
    }
}

fn sse(event: &Event) -> String {
    match event.name {
        Some(name) => format!("event: {name}\ndata: {}\n\n", event.data),
        None => format!("data: {}\n\n", event.data),
    }
}

/// `text` in pieces of `chars` characters; one empty piece for an empty text would say nothing, so none.
pub(crate) fn pieces(text: &str, chars: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .char_indices()
            .nth(chars.max(1))
            .map_or(rest.len(), |(at, _)| at);
        let (piece, tail) = rest.split_at(end);
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

/// The elements of the array `value[key]`; none if it is not one.
pub(crate) fn elements<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// `value` with this field set; unchanged if it is no object.
pub(crate) fn with(mut value: Value, key: &str, field: impl Into<Value>) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), field.into());
    }
    value
}

pub(crate) fn string(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

pub(crate) fn is_true(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests;
