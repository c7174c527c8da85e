//! OpenAI Audio: `POST /v1/audio/speech`, `/transcriptions` and `/translations`. Sound comes and goes as
//! files; what is known of it is its kind, size and digest.

use agentsight_model::{Message, Part, Usage};
use serde_json::{Map, Value};

use super::reading::{Content, Context, Draft, Fields, Pieces, StreamEvent};
use super::{Fit, Provider, Seen, Stream, has_error};

pub(super) struct OpenAiAudio;

impl Provider for OpenAiAudio {
    fn names(&self) -> (&'static str, &'static str) {
        ("openai", "openai.audio")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let request = seen.request;
        let says =
            request.get("input").is_some_and(Value::is_string) && request.contains_key("voice");
        let hears = request.get("file").is_some_and(Value::is_object);
        let to_text = seen.path.ends_with("/audio/transcriptions")
            || seen.path.ends_with("/audio/translations");
        let path = to_text || seen.path.ends_with("/audio/speech");
        Fit {
            answer: (says || hears)
                && seen.any_answer(|answer| {
                    let kind = answer.text("type");
                    kind.starts_with("speech.audio.")
                        || kind.starts_with("transcript.text.")
                        || to_text && answer.get("text").is_some_and(Value::is_string)
                }),
            request: says || hears && to_text,
            possible: path && (says || hears),
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, seen: &Context, draft: &mut Draft) {
        draft.operation = "generate_content";
        draft.request_model = body.take_string("model");
        if let Some(content) = body.take_string("instructions") {
            draft.request.system.push(Part::Text { content });
        }
        let mut parts = Vec::new();
        if let Some(content) = body.take_first_string(&["input", "prompt"]) {
            parts.push(Part::Text { content });
        }
        for file in &seen.files {
            body.remove(&file.field);
            draft.notes.parts.push(file.info.clone());
            let info = file.info.clone();
            parts.push(Part::Blob { info });
        }
        let role = "user".to_owned();
        draft.request.messages.push(Message { role, parts });
        draft.request.parameters = body;
    }

    fn read_answer(&self, mut body: Map<String, Value>, draft: &mut Draft) {
        read_usage(&mut body, draft);
        draft.keep(&body, &["duration", "language"]);
        let content = body.take_text("text");
        draft.answer(vec![Part::Text { content }]);
    }

    fn read_content(&self, content: Content, draft: &mut Draft) {
        draft.ended = content.complete;
        let part = match content.text {
            Some(content) => Part::Text { content },
            None => {
                draft.notes.parts.push(content.info.clone());
                let info = content.info;
                Part::Blob { info }
            }
        };
        draft.answer(vec![part]);
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::<Assembly>::default()
    }
}

/// Tokens, or for older models the seconds of sound, which stay among the other counts.
fn read_usage(body: &mut Map<String, Value>, draft: &mut Draft) {
    if let Value::Object(usage) = body.take("usage") {
        draft.usage = Usage {
            input_tokens: usage.count("input_tokens"),
            output_tokens: usage.count("output_tokens"),
            ..Usage::default()
        };
        draft.counted = usage;
    }
}

/// A streamed answer: sound or text.
#[derive(Default)]
struct Assembly {
    sound: Pieces,
    text: String,
}

impl Stream for Assembly {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        let (kind, mut event) = event.into_typed();
        match kind.as_str() {
            "speech.audio.delta" => self.sound.push(event.text("audio"), "audio/*"),
            "transcript.text.delta" => self.text.push_str(&event.take_text("delta")),
            "speech.audio.done" | "transcript.text.done" => {
                draft.ended = true;
                read_usage(&mut event, draft);
                // The whole text stands in the last event.
                if let Some(text) = event.take_string("text") {
                    self.text = text;
                }
            }
            _ if has_error(&event) => {
                draft.ended = true;
                draft.fail(Value::Object(event), None);
            }
            _ => {}
        }
    }

    fn finish(mut self: Box<Self>, draft: &mut Draft) {
        let mut parts = self.sound.take(&mut draft.notes.parts);
        if !self.text.is_empty() {
            parts.push(Part::Text { content: self.text });
        }
        draft.answer(parts);
    }
}
