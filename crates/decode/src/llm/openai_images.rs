//! OpenAI Images: `POST /v1/images/generations`, `/edits` and `/variations`, in JSON or as a form.

use agentsight_model::{Message, Part, Usage};
use serde_json::{Map, Value};

use super::reading::{Context, Draft, Fields, StreamEvent, into_object};
use super::{Fit, Provider, Seen, Stream, has_error};
use crate::media;

pub(super) struct OpenAiImages;

/// Ends of the paths.
const PATHS: [&str; 3] = ["/images/generations", "/images/edits", "/images/variations"];

impl Provider for OpenAiImages {
    fn names(&self) -> (&'static str, &'static str) {
        ("openai", "openai.images")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let path = PATHS.iter().any(|end| seen.path.ends_with(end));
        let asks = seen.request.contains_key("prompt") || seen.request.contains_key("image");
        Fit {
            answer: asks && seen.any_answer(is_answer),
            request: path && asks,
            possible: path && asks,
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, seen: &Context, draft: &mut Draft) {
        draft.operation = "generate_content";
        draft.request_model = body.take_string("model");
        let mut parts = Vec::new();
        if let Some(content) = body.take_string("prompt") {
            parts.push(Part::Text { content });
        }
        for image in body.take_list("images") {
            let url = into_object(image).take_first_string(&["image_url", "file_id"]);
            let url = url.unwrap_or_default();
            parts.push(media::from_url(url, "image", &mut draft.notes.parts));
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
        let data = body.take_list("data");
        read_usage(&mut body, draft);
        draft.keep(&body, &["background", "output_format", "quality", "size"]);
        let mut parts = Vec::new();
        for item in data {
            parts.extend(parts_of(into_object(item), draft));
        }
        draft.answer(parts);
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::<Assembly>::default()
    }
}

fn is_answer(answer: &Map<String, Value>) -> bool {
    let kind = answer.text("type");
    let first = answer.get("data").and_then(|data| data.get(0));
    let is_image = |item: &Value| item.get("b64_json").is_some() || item.get("url").is_some();
    kind.starts_with("image_generation.")
        || kind.starts_with("image_edit.")
        || answer.contains_key("created") && first.is_some_and(is_image)
}

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

/// An image, after the prompt that was made of the one that was given.
fn parts_of(mut item: Map<String, Value>, draft: &mut Draft) -> Vec<Part> {
    let prompt = item.take_string("revised_prompt");
    let mut parts: Vec<Part> = prompt
        .map(|content| Part::Text { content })
        .into_iter()
        .collect();
    let noted = &mut draft.notes.parts;
    if let Some(digits) = item.take_string("b64_json") {
        parts.push(media::blob(&digits, Some("image/*"), noted));
    } else if let Some(url) = item.take_string("url") {
        parts.push(media::from_url(url, "image", noted));
    }
    parts
}

/// A streamed answer: previews, and then the image.
#[derive(Default)]
struct Assembly {
    parts: Vec<Part>,
}

impl Stream for Assembly {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        let (kind, mut event) = event.into_typed();
        if kind.ends_with(".completed") {
            draft.ended = true;
            read_usage(&mut event, draft);
            self.parts.extend(parts_of(event, draft));
        } else if has_error(&event) {
            draft.ended = true;
            draft.fail(Value::Object(event), None);
        }
    }

    fn finish(self: Box<Self>, draft: &mut Draft) {
        draft.answer(self.parts);
    }
}
