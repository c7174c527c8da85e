//! Embeddings, of all providers: texts go in, vectors come out. The vectors are counted, not kept.

use agentsight_model::{Message, Part, Usage};
use serde_json::{Map, Value, json};

use super::gemini;
use super::reading::{
    Context, Draft, Fields, Notes, StreamEvent, error_of, into_list, into_object, other,
};
use super::{Fit, Provider, Seen, Stream, has_error, openai_chat};
use crate::media;

/// Bytes of a number in vectors that are sent as base64.
const BYTES_PER_NUMBER: usize = 4;

/// One dialect.
pub(super) struct Embeddings {
    names: (&'static str, &'static str),
    paths: &'static [&'static str],
    /// Fields of the request that hold what is embedded.
    inputs: &'static [&'static str],
    is_answer: fn(&Map<String, Value>) -> bool,
    vectors: fn(&mut Map<String, Value>) -> Vec<Value>,
    usage: fn(&Map<String, Value>) -> Option<u64>,
}

/// `POST /v1/embeddings`, of OpenAI and of the many who speak its dialect.
pub(super) static OPENAI: Embeddings = Embeddings {
    names: ("openai", "openai.embeddings"),
    paths: &["/embeddings"],
    inputs: &["input"],
    is_answer: |answer| {
        let first = answer.get("data").and_then(|data| data.get(0));
        first.is_some_and(|item| item.get("embedding").is_some())
    },
    vectors: |answer| field_of_each(answer.take_list("data"), "embedding"),
    usage: |answer| answer.get("usage")?.as_object()?.count("prompt_tokens"),
};

/// `POST .../models/<model>:embedContent` and `:batchEmbedContents`.
pub(super) static GEMINI: Embeddings = Embeddings {
    names: ("gcp.gemini", "gemini.embeddings"),
    paths: &[":embedContent", ":batchEmbedContents"],
    inputs: &["content", "requests"],
    is_answer: |answer| {
        let lone = answer.get("embedding");
        let first = answer.get("embeddings").and_then(|all| all.get(0));
        lone.or(first)
            .is_some_and(|vector| vector.get("values").is_some())
    },
    vectors: |answer| {
        let mut all = answer.take_list("embeddings");
        all.extend(answer.take_list("embedding"));
        field_of_each(all, "values")
    },
    usage: |answer| {
        let counts = answer.get("usageMetadata")?.as_object()?;
        counts.count("promptTokenCount")
    },
};

/// `POST /v2/embed` of Cohere.
pub(super) static COHERE: Embeddings = Embeddings {
    names: ("cohere", "cohere.embeddings"),
    paths: &["/v1/embed", "/v2/embed"],
    inputs: &["texts", "images", "inputs"],
    is_answer: |answer| answer.contains_key("embeddings") && answer.contains_key("meta"),
    vectors: |answer| {
        match answer.take("embeddings") {
            // By the kind of number; the same vectors in each.
            Value::Object(kinds) => kinds.into_iter().next().map(|(_, all)| into_list(all)),
            all => Some(into_list(all)),
        }
        .unwrap_or_default()
    },
    usage: |answer| {
        let units = answer.get("meta")?.get("billed_units")?.as_object()?;
        units.count("input_tokens")
    },
};

/// `POST /api/embed` and the older `/api/embeddings` of Ollama.
pub(super) static OLLAMA: Embeddings = Embeddings {
    names: ("ollama", "ollama.embeddings"),
    paths: &["/api/embed", "/api/embeddings"],
    inputs: &["input", "prompt"],
    is_answer: |answer| {
        let lone = answer.get("embedding").is_some_and(Value::is_array);
        let first = answer.get("embeddings").and_then(|all| all.get(0));
        lone || first.is_some_and(Value::is_array)
    },
    vectors: |answer| match answer.take("embedding") {
        Value::Null => answer.take_list("embeddings"),
        lone => vec![lone],
    },
    usage: |answer| answer.count("prompt_eval_count"),
};

impl Provider for Embeddings {
    fn names(&self) -> (&'static str, &'static str) {
        self.names
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let path = self.paths.iter().any(|end| seen.path.ends_with(end));
        let asks = self
            .inputs
            .iter()
            .any(|key| seen.request.contains_key(*key));
        Fit {
            answer: asks && seen.any_answer(self.is_answer),
            request: path && asks,
            possible: path && asks,
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, seen: &Context, draft: &mut Draft) {
        draft.operation = "embeddings";
        let model = body.take_string("model");
        draft.request_model = model
            .or_else(|| gemini::model_in(&seen.path))
            .or_else(|| openai_chat::deployment_in(&seen.path));
        for key in self.inputs {
            let inputs = match body.take(key) {
                Value::Array(items) if items.iter().any(Value::is_number) => vec![items.into()],
                input => into_list(input),
            };
            for input in inputs {
                let parts = parts_of(key, input, &mut draft.notes);
                let role = "user".to_owned();
                draft.request.messages.push(Message { role, parts });
            }
        }
        draft.request.parameters = body;
    }

    fn read_answer(&self, body: Map<String, Value>, draft: &mut Draft) {
        self.read(body, draft);
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::new(Pieces(self.vectors))
    }
}

impl Embeddings {
    fn read(&self, mut body: Map<String, Value>, draft: &mut Draft) {
        draft.response.id = body.take_string("id");
        draft.response_model = body.take_string("model");
        draft.usage = Usage {
            input_tokens: (self.usage)(&body),
            ..Usage::default()
        };
        describe(&(self.vectors)(&mut body), draft);
    }
}

/// Notes how many vectors there are, and of how many numbers.
fn describe(vectors: &[Value], draft: &mut Draft) {
    let numbers = vectors.first().map(|vector| match vector {
        Value::String(digits) => media::bytes_of(digits).len() / BYTES_PER_NUMBER,
        vector => vector.as_array().map_or(0, Vec::len),
    });
    let said = json!({"count": vectors.len(), "dimensions": numbers});
    draft.response.extra.insert("embeddings".to_owned(), said);
}

fn field_of_each(items: Vec<Value>, key: &str) -> Vec<Value> {
    let field = |item| into_object(item).take(key);
    items.into_iter().map(field).collect()
}

/// What is embedded: a text, content of Gemini, an image, or tokens.
fn parts_of(key: &str, input: Value, notes: &mut Notes) -> Vec<Part> {
    match input {
        Value::String(url) if key == "images" => {
            vec![media::from_url(url, "image", &mut notes.parts)]
        }
        Value::String(content) => vec![Part::Text { content }],
        Value::Object(mut map) => {
            let mut content = map.take_object("content");
            let parts = if content.is_empty() {
                &mut map
            } else {
                &mut content
            }
            .take_list("parts");
            if parts.is_empty() {
                return vec![other(key, Value::Object(map), notes)];
            }
            gemini::parts_of(parts, notes)
        }
        input => vec![other(key, input, notes)],
    }
}

/// An answer that comes in pieces; no provider sends such.
struct Pieces(fn(&mut Map<String, Value>) -> Vec<Value>);

impl Stream for Pieces {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        let mut body = into_object(event.data);
        if has_error(&body) {
            draft.error = Some(error_of(Value::Object(body), None));
        } else {
            describe(&(self.0)(&mut body), draft);
        }
        draft.ended = true;
    }

    fn finish(self: Box<Self>, _: &mut Draft) {}
}
