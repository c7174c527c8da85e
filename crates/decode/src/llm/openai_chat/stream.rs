//! Streamed choices, put together.

use std::collections::BTreeMap;

use agentsight_model::Part;
use serde_json::{Map, Value};

use super::super::Stream;
use super::super::reading::{
    DONE, Draft, Fields, Notes, Pieces, StreamEvent, into_object, plain, tool_call,
};
use super::{ANY_SOUND, content_part, read_frame, thinking_in};
use crate::json;

/// Streamed choices, put together.
#[derive(Default)]
pub(super) struct Assembly {
    choices: BTreeMap<u64, Choice>,
}

#[derive(Default)]
struct Choice {
    reasoning: String,
    content: String,
    refusal: String,
    /// Content parts and images that come whole.
    whole: Vec<Value>,
    transcript: String,
    sound: Pieces,
    calls: Vec<Call>,
    /// Where the latest call of an index is in `calls`.
    latest: BTreeMap<u64, usize>,
    function: Option<Call>,
    finish_reason: Option<String>,
}

#[derive(Default)]
struct Call {
    id: Option<String>,
    name: String,
    arguments: String,
    custom: bool,
}

impl Stream for Assembly {
    fn take_plain(&mut self, data: &[u8], draft: &Draft) -> bool {
        // Who answers must be known: the first pieces tell.
        if draft.response.id.is_none() || draft.response_model.is_none() {
            return false;
        }
        let extra = &draft.response.extra;
        let is_known = |name: &[u8], said: &[u8]| {
            let name = std::str::from_utf8(name).unwrap_or_default();
            let known = extra.get(name).and_then(Value::as_str);
            known.is_some_and(|known| known.as_bytes() == said)
        };
        let Some(piece) = plain::chat_piece(data, &is_known) else {
            return false;
        };
        let choice = self.choices.entry(piece.index).or_default();
        for (written, text) in [
            (piece.content, &mut choice.content),
            (piece.reasoning, &mut choice.reasoning),
        ] {
            if let Some(written) = written {
                json::append_string(written, text);
            }
        }
        true
    }

    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        if event.data.as_str().is_some_and(|text| text.trim() == DONE) {
            draft.ended = true;
            return;
        }
        let mut chunk = into_object(event.data);
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            draft.ended = true;
            draft.fail(Value::Object(chunk), None);
            return;
        }
        read_frame(&chunk, draft);
        for choice in chunk.take_list("choices") {
            let mut choice = into_object(choice);
            let index = choice.count("index").unwrap_or(0);
            let own = self.choices.entry(index).or_default();
            if let Some(reason) = choice.take_string("finish_reason") {
                own.finish_reason = Some(reason);
            }
            own.content.push_str(&choice.take_text("text"));
            own.take(choice.take_object("delta"));
        }
    }

    fn finish(self: Box<Self>, draft: &mut Draft) {
        for choice in self.choices.into_values() {
            draft.finish(choice.finish_reason.clone());
            let parts = choice.finish(&mut draft.notes);
            draft.answer(parts);
        }
    }
}

impl Choice {
    fn take(&mut self, mut delta: Map<String, Value>) {
        let reasoning = delta.take_first_string(&["reasoning_content", "reasoning"]);
        self.reasoning.extend(reasoning);
        match delta.take("content") {
            Value::String(text) => self.content.push_str(&text),
            Value::Array(parts) => parts.into_iter().for_each(|part| self.take_part(part)),
            _ => {}
        }
        self.refusal.extend(delta.take_string("refusal"));
        let mut audio = delta.take_object("audio");
        self.transcript.push_str(&audio.take_text("transcript"));
        self.sound.push(audio.text("data"), ANY_SOUND);
        self.whole.extend(delta.take_list("images"));
        for call in delta.take_list("tool_calls") {
            self.take_call(into_object(call));
        }
        if let Value::Object(function) = delta.take("function_call") {
            self.function.get_or_insert_default().take(function);
        }
    }

    /// Adds a piece of content that has a type. Texts and thoughts are joined, others come whole.
    fn take_part(&mut self, part: Value) {
        match part {
            Value::Object(mut part) if part.text("type") == "text" => {
                self.content.push_str(&part.take_text("text"));
            }
            Value::Object(mut part) if part.text("type") == "thinking" => {
                self.reasoning.push_str(&thinking_in(&mut part));
            }
            part => self.whole.push(part),
        }
    }

    /// Adds a fragment to the call of its index. Some servers give every call the same index: a new id
    /// with a name begins a new call.
    fn take_call(&mut self, mut fragment: Map<String, Value>) {
        let index = fragment.count("index").unwrap_or(0);
        let id = fragment.take_string("id");
        let custom = fragment.contains_key("custom");
        let inner = fragment.take_object(if custom { "custom" } else { "function" });
        let known = self.latest.get(&index).copied().filter(|&at| {
            let own = self.calls.get(at).and_then(|call| call.id.as_deref());
            let renamed = own.is_some() && id.is_some() && own != id.as_deref();
            !(renamed && inner.contains_key("name"))
        });
        let at = known.unwrap_or_else(|| {
            self.calls.push(Call::default());
            let at = self.calls.len().saturating_sub(1);
            self.latest.insert(index, at);
            at
        });
        if let Some(call) = self.calls.get_mut(at) {
            call.id = call.id.take().or(id);
            call.custom |= custom;
            call.take(inner);
        }
    }

    fn finish(mut self, notes: &mut Notes) -> Vec<Part> {
        let mut parts = Vec::new();
        let sound = self.sound.take(&mut notes.parts);
        if !self.reasoning.is_empty() {
            parts.push(Part::Reasoning {
                content: self.reasoning,
            });
        }
        for content in [self.content, self.refusal, self.transcript] {
            if !content.is_empty() {
                parts.push(Part::Text { content });
            }
        }
        parts.extend(sound);
        parts.extend(self.whole.into_iter().map(|part| content_part(part, notes)));
        parts.extend(
            self.calls
                .into_iter()
                .chain(self.function)
                .map(Call::finish),
        );
        parts
    }
}

impl Call {
    fn take(&mut self, mut fragment: Map<String, Value>) {
        // Servers send the name once, or again and again with every fragment.
        if self.name.is_empty() {
            self.name = fragment.take_text("name");
        }
        self.arguments.push_str(&fragment.take_text("arguments"));
        self.arguments.push_str(&fragment.take_text("input"));
    }

    fn finish(self) -> Part {
        if self.custom {
            return Part::ToolCall {
                id: self.id,
                name: self.name,
                arguments: Value::String(self.arguments),
            };
        }
        tool_call(self.id, self.name, self.arguments)
    }
}
