//! OpenAI Realtime: `wss://.../v1/realtime?model=<model>`, one call a response.
//!
//! What leads to a response is spread over messages of their own; the response itself comes as in the
//! Responses API, but for the audio, and for the names of some fields.

use agentsight_model::{Message, Part};
use serde_json::{Map, Value};

use super::openai_responses::{self as responses, tool_of};
use super::reading::{
    Context, Draft, Fields, Notes, Pieces, StreamEvent, any_message, into_object, message,
    messages_in,
};
use super::{Fit, Provider, Seen, Stream};

/// What audio is where nothing else is said: 24 kHz, 16 bits.
const AUDIO: &str = "audio/pcm";

pub(super) struct OpenAiRealtime;

impl Provider for OpenAiRealtime {
    fn names(&self) -> (&'static str, &'static str) {
        ("openai", "openai.realtime")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let path = seen.path.ends_with("/realtime");
        let request = any_message(seen.request, asks);
        Fit {
            answer: (request || path)
                && seen.any_answer(|answer| answer.text("type").starts_with("response.")),
            request,
            possible: request,
            path,
        }
    }

    fn read_request(&self, body: Map<String, Value>, seen: &Context, draft: &mut Draft) {
        draft.operation = "chat";
        let mut fields = seen
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let model = fields.find(|(name, _)| *name == "model");
        draft.request_model = model.map(|(_, model)| model.to_owned());
        let mut audio = Pieces::default();
        for mut event in messages_in(body) {
            let kind = event.take_text("type");
            if kind == "input_audio_buffer.append" {
                audio.push(event.text("audio"), AUDIO);
                continue;
            }
            spoken(&mut audio, draft);
            match kind.as_str() {
                "session.update" => settings(event.take_object("session"), draft),
                "response.create" => settings(event.take_object("response"), draft),
                "conversation.item.create" => item(event.take("item"), draft),
                _ => {}
            }
        }
        spoken(&mut audio, draft);
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

/// Whether a message of the client is one of this dialect. A `response.create` that says all there is to
/// say is one of the Responses API.
fn asks(event: &Map<String, Value>) -> bool {
    let kind = event.text("type");
    let own = ["conversation.item.", "input_audio_buffer.", "session."];
    own.iter().any(|own| kind.starts_with(own))
        || kind == "response.create" && !event.contains_key("input") && !event.contains_key("model")
}

/// Makes what was said into the microphone a message of the user.
fn spoken(audio: &mut Pieces, draft: &mut Draft) {
    let parts = audio.take(&mut draft.notes.parts);
    if !parts.is_empty() {
        let role = "user".to_owned();
        draft.request.messages.push(Message { role, parts });
    }
}

/// Settings of the session, or of one response.
fn settings(mut given: Map<String, Value>, draft: &mut Draft) {
    draft.request_model = given.take_string("model").or(draft.request_model.take());
    if let Some(content) = given.take_string("instructions") {
        draft.request.system.push(Part::Text { content });
    }
    for input in given.take_list("input") {
        item(input, draft);
    }
    let tools = given.take_list("tools").into_iter().map(tool_of);
    draft.request.tools.extend(tools);
    draft.request.parameters.extend(given);
}

fn item(value: Value, draft: &mut Draft) {
    let read = |mut item: Map<String, Value>, notes: &mut Notes| {
        plain_content(&mut item);
        responses::message_of(item, notes)
    };
    let message = message(value, &mut draft.notes, read);
    draft.request.messages.push(message);
}

/// Brings the parts of an item into the form of the Responses API. Of audio with a transcript, the
/// transcript is kept.
fn plain_content(item: &mut Map<String, Value>) {
    let Some(Value::Array(parts)) = item.get_mut("content") else {
        return;
    };
    for part in parts {
        let Value::Object(own) = part else { continue };
        if !matches!(own.text("type"), "audio" | "input_audio" | "output_audio") {
            continue;
        }
        let data = own.take_string("audio");
        let (kind, key, value) = match (own.take_string("transcript"), data) {
            (Some(transcript), _) => ("text", "text", Value::String(transcript)),
            (None, Some(data)) => {
                let audio = serde_json::json!({"data": data, "format": "pcm"});
                ("input_audio", "input_audio", audio)
            }
            (None, None) => continue,
        };
        own.insert("type".to_owned(), kind.into());
        own.insert(key.to_owned(), value);
    }
}

/// A response, put together.
#[derive(Default)]
struct Assembly {
    inner: responses::Assembly,
    audio: Pieces,
    model: Option<String>,
}

impl Stream for Assembly {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        let (kind, mut event) = event.into_typed();
        let kind = match kind.as_str() {
            "session.created" | "session.updated" => {
                self.model = event.take_object("session").take_string("model");
                return;
            }
            "response.output_audio.delta" | "response.audio.delta" => {
                self.audio.push(event.text("delta"), AUDIO);
                return;
            }
            "response.done" => {
                finished(&mut event, draft);
                "response.completed"
            }
            "response.text.delta"
            | "response.audio_transcript.delta"
            | "response.output_audio_transcript.delta" => "response.output_text.delta",
            "response.output_item.added" | "response.output_item.done" => {
                if let Some(Value::Object(item)) = event.get_mut("item") {
                    plain_content(item);
                }
                kind.as_str()
            }
            kind => kind,
        };
        event.insert("type".to_owned(), kind.into());
        let (name, data) = (String::new(), Value::Object(event));
        self.inner.take(StreamEvent { name, data }, draft);
    }

    fn finish(mut self: Box<Self>, draft: &mut Draft) {
        Box::new(self.inner).finish(draft);
        draft.response_model = draft.response_model.take().or(self.model.take());
        let audio = self.audio.take(&mut draft.notes.parts);
        match draft.response.messages.last_mut() {
            Some(message) => message.parts.extend(audio),
            None => draft.answer(audio),
        }
    }
}

/// Brings the end of a response into the form of the Responses API.
fn finished(event: &mut Map<String, Value>, draft: &mut Draft) {
    let Some(Value::Object(response)) = event.get_mut("response") else {
        return;
    };
    let mut details = response.take_object("status_details");
    if let error @ Value::Object(_) = details.take("error") {
        draft.fail(error, None);
    }
    if let Some(reason) = details.take_string("reason") {
        let details = serde_json::json!({ "reason": reason });
        response.insert("incomplete_details".to_owned(), details);
    }
    if let Some(Value::Object(usage)) = response.get_mut("usage") {
        for side in ["input", "output"] {
            let details = usage.take(&format!("{side}_token_details"));
            usage.insert(format!("{side}_tokens_details"), details);
        }
    }
    if let Some(Value::Array(items)) = response.get_mut("output") {
        for item in items {
            let mut own = into_object(std::mem::take(item));
            plain_content(&mut own);
            *item = Value::Object(own);
        }
    }
}
