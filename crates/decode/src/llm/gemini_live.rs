//! Gemini Live: a WebSocket to `...BidiGenerateContent`, one call a turn of the model.
//!
//! The model is named in the first message of the connection only, so later turns do not know it.

use agentsight_model::{Message, Part};
use serde_json::{Map, Value};

use super::gemini::{message_of, parts_of, result_of, tools_of, usage_of};
use super::reading::{
    Context, Draft, Fields, Pieces, StreamEvent, any_message, into_object, message, messages_in,
    push_text,
};
use super::{Fit, Provider, Seen, Stream};

/// Messages of the client, in the spellings that are in use.
const ASKS: [(&str, &str); 4] = [
    ("setup", "setup"),
    ("clientContent", "client_content"),
    ("realtimeInput", "realtime_input"),
    ("toolResponse", "tool_response"),
];

/// Messages of the server.
const ANSWERS: [(&str, &str); 3] = [
    ("serverContent", "server_content"),
    ("toolCall", "tool_call"),
    ("setupComplete", "setup_complete"),
];

pub(super) struct GeminiLive;

impl Provider for GeminiLive {
    fn names(&self) -> (&'static str, &'static str) {
        ("gcp.gemini", "gemini.live")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let has = |map: &Map<String, Value>, names: &[(&str, &str)]| {
            let is_object = |name| map.get(name).is_some_and(Value::is_object);
            names.iter().any(|(a, b)| is_object(*a) || is_object(*b))
        };
        let path = seen.path.ends_with(".BidiGenerateContent");
        let asks = any_message(seen.request, |map| has(map, &ASKS));
        Fit {
            answer: (asks || path) && seen.any_answer(|answer| has(answer, &ANSWERS)),
            request: asks && path,
            possible: asks,
            path,
        }
    }

    fn read_request(&self, body: Map<String, Value>, _: &Context, draft: &mut Draft) {
        draft.operation = "generate_content";
        let mut heard = Pieces::default();
        for mut event in messages_in(body) {
            if let Some(input) = take_either(&mut event, "realtimeInput", "realtime_input") {
                realtime_input(input, &mut heard, draft);
            }
            if let Some(setup) = take_either(&mut event, "setup", "setup") {
                read_setup(setup, draft);
            }
            if let Some(mut content) = take_either(&mut event, "clientContent", "client_content") {
                said(&mut heard, draft);
                for turn in content.take_list("turns") {
                    let turn = message(turn, &mut draft.notes, message_of);
                    draft.request.messages.push(turn);
                }
            }
            if let Some(result) = take_either(&mut event, "toolResponse", "tool_response") {
                said(&mut heard, draft);
                tool_results(result, draft);
            }
        }
        said(&mut heard, draft);
    }

    fn read_answer(&self, body: Map<String, Value>, draft: &mut Draft) {
        let mut stream = self.begin_stream();
        draft.ended = false;
        let (name, data) = (String::new(), Value::Object(body));
        stream.take(StreamEvent { name, data }, draft);
        stream.finish(draft);
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::<Assembly>::default()
    }
}

/// Removes a field that is an object, by either of its names.
fn take_either(
    map: &mut Map<String, Value>,
    camel: &str,
    snake: &str,
) -> Option<Map<String, Value>> {
    match (map.take(camel), map.take(snake)) {
        (Value::Object(found), _) | (_, Value::Object(found)) => Some(found),
        _ => None,
    }
}

fn read_setup(mut setup: Map<String, Value>, draft: &mut Draft) {
    let model = setup.take_string("model");
    let name = |model: String| match model.rsplit_once('/') {
        Some((_, name)) => name.to_owned(),
        None => model,
    };
    draft.request_model = model.map(name);
    let instruction = take_either(&mut setup, "systemInstruction", "system_instruction");
    let parts = instruction.unwrap_or_default().take_list("parts");
    draft.request.system = parts_of(parts, &mut draft.notes);
    let tools = setup.take_list("tools").into_iter();
    draft.request.tools = tools.flat_map(|tool| tools_of(into_object(tool))).collect();
    draft.request.parameters = setup;
}

/// What is streamed to the model: media in pieces, or text.
fn realtime_input(mut input: Map<String, Value>, heard: &mut Pieces, draft: &mut Draft) {
    let mut chunks = input.take_list("mediaChunks");
    chunks.extend(input.take_list("media_chunks"));
    chunks.extend(["audio", "video", "media"].map(|key| input.take(key)));
    for chunk in chunks {
        if let Value::Object(chunk) = chunk {
            media_piece(chunk, heard);
        }
    }
    if let Some(content) = input.take_string("text") {
        said(heard, draft);
        let (role, parts) = ("user".to_owned(), vec![Part::Text { content }]);
        draft.request.messages.push(Message { role, parts });
    }
}

fn media_piece(mut chunk: Map<String, Value>, pieces: &mut Pieces) {
    let declared = chunk.take_first_string(&["mimeType", "mime_type"]);
    let declared = declared.unwrap_or_default();
    let is_stream = declared.starts_with("audio/");
    pieces.push(chunk.text("data"), &declared);
    if !is_stream {
        // Every picture is one of its own.
        pieces.close();
    }
}

/// Makes what was streamed a message of the user.
fn said(heard: &mut Pieces, draft: &mut Draft) {
    let parts = heard.take(&mut draft.notes.parts);
    if !parts.is_empty() {
        let role = "user".to_owned();
        draft.request.messages.push(Message { role, parts });
    }
}

fn tool_results(mut result: Map<String, Value>, draft: &mut Draft) {
    let mut list = result.take_list("functionResponses");
    list.extend(result.take_list("function_responses"));
    let read = |value| result_of(into_object(value), &mut draft.notes);
    let parts = list.into_iter().map(read).collect();
    let role = "tool".to_owned();
    draft.request.messages.push(Message { role, parts });
}

/// A turn of the model, put together.
#[derive(Default)]
struct Assembly {
    parts: Vec<Part>,
    media: Pieces,
    /// What was spoken, in words.
    transcript: String,
    usage: Map<String, Value>,
}

impl Stream for Assembly {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        let mut event = into_object(event.data);
        if super::has_error(&event) {
            draft.ended = true;
            draft.fail(Value::Object(event), None);
            return;
        }
        // Counts are running totals of the turn.
        self.usage.extend(event.take_object("usageMetadata"));
        if let Some(content) = take_either(&mut event, "serverContent", "server_content") {
            self.content(content, draft);
        }
        if let Some(mut call) = take_either(&mut event, "toolCall", "tool_call") {
            let mut calls = call.take_list("functionCalls");
            calls.extend(call.take_list("function_calls"));
            let wrap = |call| Value::Object(Map::from_iter([("functionCall".to_owned(), call)]));
            let calls = calls.into_iter().map(wrap).collect();
            self.parts.extend(parts_of(calls, &mut draft.notes));
            draft.ended = true;
        }
    }

    fn finish(mut self: Box<Self>, draft: &mut Draft) {
        // Named so here only.
        if let Some(count) = self.usage.remove("responseTokenCount") {
            self.usage.insert("candidatesTokenCount".to_owned(), count);
        }
        draft.usage = usage_of(&self.usage);
        draft.counted = self.usage.clone();
        if !self.transcript.is_empty() {
            push_text(&mut self.parts, self.transcript, false);
        }
        self.parts.extend(self.media.take(&mut draft.notes.parts));
        draft.answer(self.parts);
    }
}

impl Assembly {
    fn content(&mut self, mut content: Map<String, Value>, draft: &mut Draft) {
        let turn = take_either(&mut content, "modelTurn", "model_turn");
        for part in turn.unwrap_or_default().take_list("parts") {
            self.part(part, draft);
        }
        let spoken = take_either(&mut content, "outputTranscription", "output_transcription");
        let text = spoken.unwrap_or_default().take_text("text");
        self.transcript.push_str(&text);
        let is = |camel: &str, snake: &str| {
            let value = content.get(camel).or_else(|| content.get(snake));
            value.and_then(Value::as_bool) == Some(true)
        };
        if is("interrupted", "interrupted") {
            draft.finish(Some("interrupted".to_owned()));
        }
        draft.ended |= is("turnComplete", "turn_complete");
    }

    fn part(&mut self, part: Value, draft: &mut Draft) {
        let mut own = into_object(part);
        if let Some(data) = take_either(&mut own, "inlineData", "inline_data") {
            media_piece(data, &mut self.media);
            return;
        }
        match parts_of(vec![Value::Object(own)], &mut draft.notes).pop() {
            Some(Part::Text { content }) => push_text(&mut self.parts, content, false),
            Some(Part::Reasoning { content }) => push_text(&mut self.parts, content, true),
            part => self.parts.extend(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_both_spellings() {
        for key in ["toolCall", "tool_call"] {
            let mut map = Map::from_iter([(key.to_owned(), serde_json::json!({"a": 1}))]);
            assert!(take_either(&mut map, "toolCall", "tool_call").is_some());
        }
        let mut wrong = Map::from_iter([("toolCall".to_owned(), Value::from(1))]);
        assert_eq!(take_either(&mut wrong, "toolCall", "tool_call"), None);
    }
}
