//! Models of Amazon Bedrock that are asked in a dialect of their own: `POST /model/<model>/invoke` and
//! `/invoke-with-response-stream` of Titan, Llama and Mistral, which take a prompt and give a text.
//! Anthropic's models speak their maker's dialect there, and Nova that of Converse.

use agentsight_model::{Message, Part, Usage};
use serde_json::{Map, Value};

use super::bedrock_converse::model_in;
use super::reading::{Context, Draft, Fields, StreamEvent, into_object, push_text};
use super::{Fit, Provider, Seen, Stream, has_error};

pub(super) struct BedrockInvoke;

/// Fields of requests that hold the prompt.
const PROMPTS: [&str; 2] = ["inputText", "prompt"];

/// Fields of answers that hold a text.
const TEXTS: [&str; 3] = ["generation", "outputText", "text"];

/// What the service adds to the last piece of a stream.
const METRICS: &str = "amazon-bedrock-invocationMetrics";

impl Provider for BedrockInvoke {
    fn names(&self) -> (&'static str, &'static str) {
        ("aws.bedrock", "bedrock.invoke")
    }

    fn fit(&self, seen: &Seen<'_>) -> Fit {
        let path = model_in(seen.path).is_some() && seen.path.contains("/invoke");
        let asks = PROMPTS.iter().any(|key| seen.request.contains_key(*key));
        Fit {
            answer: path && asks && seen.any_answer(is_answer),
            request: false,
            possible: path && asks,
            path,
        }
    }

    fn read_request(&self, mut body: Map<String, Value>, seen: &Context, draft: &mut Draft) {
        draft.operation = "text_completion";
        draft.request_model = model_in(&seen.path);
        if let Some(content) = body.take_first_string(&PROMPTS) {
            let role = "user".to_owned();
            let parts = vec![Part::Text { content }];
            draft.request.messages.push(Message { role, parts });
        }
        draft.request.parameters = body;
    }

    fn read_answer(&self, body: Map<String, Value>, draft: &mut Draft) {
        let ended = draft.ended;
        let mut answer = Box::<Assembly>::default();
        answer.piece(body, draft);
        answer.finish(draft);
        draft.ended = ended;
    }

    fn begin_stream(&self) -> Box<dyn Stream> {
        Box::<Assembly>::default()
    }
}

fn is_answer(answer: &Map<String, Value>) -> bool {
    let list = |key: &str| answer.get(key).is_some_and(Value::is_array);
    TEXTS.iter().any(|key| answer.contains_key(*key)) || list("results") || list("outputs")
}

/// An answer while its pieces come. Counts come in one of them, and under different names.
#[derive(Default)]
struct Assembly {
    parts: Vec<Part>,
    output_tokens: Option<u64>,
    input_tokens: Option<u64>,
}

impl Assembly {
    fn piece(&mut self, mut body: Map<String, Value>, draft: &mut Draft) {
        let mut metrics = body.take_object(METRICS);
        metrics.extend(std::mem::take(&mut body));
        let mut results = metrics.take_list("results");
        results.extend(metrics.take_list("outputs"));
        results.push(Value::Object(metrics));
        for result in results {
            self.result(into_object(result), draft);
        }
    }

    fn result(&mut self, mut result: Map<String, Value>, draft: &mut Draft) {
        if let Some(text) = result.take_first_string(&TEXTS) {
            push_text(&mut self.parts, text, false);
        }
        draft.finish(result.take_first_string(&["stop_reason", "completionReason"]));
        let count = |keys: &[&str]| keys.iter().find_map(|key| result.count(key));
        let input = count(&[
            "inputTokenCount",
            "inputTextTokenCount",
            "prompt_token_count",
        ]);
        let output = count(&[
            "outputTokenCount",
            "totalOutputTextTokenCount",
            "generation_token_count",
            "tokenCount",
        ]);
        self.input_tokens = input.or(self.input_tokens);
        self.output_tokens = output.or(self.output_tokens);
        draft.ended |= result.contains_key("invocationLatency");
    }
}

impl Stream for Assembly {
    fn take(&mut self, event: StreamEvent, draft: &mut Draft) {
        let body = into_object(event.data);
        if has_error(&body) {
            draft.ended = true;
            draft.fail(Value::Object(body), None);
        } else {
            self.piece(body, draft);
        }
    }

    fn finish(self: Box<Self>, draft: &mut Draft) {
        draft.usage = Usage {
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            ..Usage::default()
        };
        draft.answer(self.parts);
    }
}
