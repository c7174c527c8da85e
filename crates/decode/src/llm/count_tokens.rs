//! Questions of how many tokens a request would be. They take what the dialect's own requests take, are
//! answered by a number, and use no tokens.

use agentsight_model::Part;
use serde_json::{Map, Value};

use super::anthropic::Anthropic;
use super::gemini::Gemini;
use super::openai_responses::OpenAiResponses;
use super::reading::{Context, Draft, Fields, StreamEvent, into_object};
use super::{Fit, Provider, Seen, Stream};

/// The name of the operation. The conventions have none for it.
const OPERATION: &str = "count_tokens";

/// One dialect's way to ask.
pub(super) struct CountTokens {
    dialect: &'static dyn Provider,
    api: &'static str,
    /// How the path ends.
    path: &'static str,
    /// The field that holds what is counted; the dialect's own requests lie in it, or have it.
    question: &'static [&'static str],
    /// The field of the answer that is the number.
    answer: &'static str,
}

/// `POST /v1/messages/count_tokens`.
pub(super) static ANTHROPIC: CountTokens = CountTokens {
    dialect: &Anthropic,
    api: "anthropic.count_tokens",
    path: "/messages/count_tokens",
    question: &["messages"],
    answer: "input_tokens",
};

/// `POST .../models/<model>:countTokens`.
pub(super) static GEMINI: CountTokens = CountTokens {
    dialect: &Gemini,
    api: "gemini.count_tokens",
    path: ":countTokens",
    question: &["contents", "generateContentRequest", "request"],
    answer: "totalTokens",
};

/// `POST /v1/responses/input_tokens`.
pub(super) static OPENAI: CountTokens = CountTokens {
    dialect: &OpenAiResponses,
    api: "openai.count_tokens",
    path: "/responses/input_tokens",
    question: &["input", "instructions", "tools"],
    answer: "input_tokens",
};

impl Provider for CountTokens {
    fn names(&self) -> (&'static str, &'static str) {
        (self.dialect.names().0, self.api)
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let path = seen.path.ends_with(self.path);
        let mut keys = self.question.iter();
        let asks = path && keys.any(|key| seen.request.contains_key(*key));
        Fit {
            answer: asks && seen.any_answer(|answer| answer.count(self.answer).is_some()),
            request: asks,
            possible: asks,
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, seen: &Context, draft: &mut Draft) {
        if let Value::Object(inner) = body.take("generateContentRequest") {
            body = inner;
        }
        self.dialect.read_request(body, seen, draft);
        draft.operation = OPERATION;
    }

    fn read_answer(&self, body: Map<String, Value>, draft: &mut Draft) {
        read(body, draft);
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::new(Whole)
    }
}

fn read(body: Map<String, Value>, draft: &mut Draft) {
    let content = Value::Object(body);
    draft.answer(vec![Part::Other {
        name: OPERATION.to_owned(),
        content,
    }]);
}

/// An answer that is said to be a stream, but is one object.
struct Whole;

impl Stream for Whole {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        draft.ended = true;
        read(into_object(event.data), draft);
    }

    fn finish(self: Box<Self>, _: &mut Draft) {}
}
