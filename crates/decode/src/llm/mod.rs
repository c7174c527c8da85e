//! Conversations with models: from an HTTP exchange to a [`LlmCall`].
//!
//! A provider is one file of this directory and one line in `PROVIDERS`. Which one reads an exchange
//! is decided by the shape of request and answer first; the path only tips the balance, so that
//! gateways with paths of their own are read too. Whatever is cut, broken or unknown, what could be
//! read is kept, and the call says that it is not complete.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)
)]

mod anthropic;
mod gemini;
mod gemini_live;
mod ollama;
mod openai_chat;
mod openai_realtime;
mod openai_responses;
mod reading;

use std::borrow::Cow;

use agentsight_model::{LlmCall, LlmError, Part, ProcessKey};
use serde_json::{Map, Value, json};

use crate::http::{Body, Exchange, Flaw, Headers, Message, StartLine};
use crate::json::{self, Problem};
use reading::{
    Draft, Form, StreamEvent, each_document, each_event, error_of, form_of, into_object,
    parse_body, parse_messages,
};

/// Every dialect that is understood.
const PROVIDERS: &[&dyn Provider] = &[
    &anthropic::Anthropic,
    &gemini::Gemini,
    &gemini_live::GeminiLive,
    &ollama::Ollama,
    &openai_chat::OpenAiChat,
    &openai_realtime::OpenAiRealtime,
    &openai_responses::OpenAiResponses,
];

/// A dialect spoken with models.
trait Provider: Sync {
    /// `gen_ai.provider.name`, and the name of the dialect.
    fn names(&self) -> (&'static str, &'static str);

    /// How well an exchange fits.
    fn fit(&self, seen: &Seen<'_>) -> Fit;

    /// Reads the request's body.
    fn read_request(&self, body: Map<String, Value>, seen: &Context, draft: &mut Draft);

    /// Reads an answer that came as one object.
    fn read_answer(&self, body: Map<String, Value>, draft: &mut Draft);

    /// Begins to read an answer that comes in pieces.
    fn begin_stream(&self) -> Box<dyn Stream>;
}

/// An answer that comes in pieces.
trait Stream {
    /// Takes the next piece.
    fn take(&mut self, event: StreamEvent, draft: &mut Draft);

    /// Puts what came into the draft.
    fn finish(self: Box<Self>, draft: &mut Draft);
}

/// What a provider may judge an exchange by.
struct Seen<'a> {
    path: &'a str,
    headers: &'a Headers,
    /// The request's body; empty if it is no object.
    request: &'a Map<String, Value>,
    /// The answer's body, or the first pieces of a stream.
    answers: &'a [Cow<'a, Map<String, Value>>],
}

impl Seen<'_> {
    fn any_answer(&self, test: impl Fn(&Map<String, Value>) -> bool) -> bool {
        self.answers.iter().any(|answer| test(answer))
    }
}

/// What a request may say outside of its body.
struct Context {
    path: String,
    /// What follows the path, without the question mark.
    query: String,
}

/// How well an exchange fits a dialect.
#[derive(Clone, Copy, Debug, Default)]
struct Fit {
    /// The answer has the dialect's shape.
    answer: bool,
    /// The request has a shape that only this dialect has.
    request: bool,
    /// The request has a shape that this dialect allows.
    possible: bool,
    /// The path is the dialect's own.
    path: bool,
}

impl Fit {
    /// Orders fits; 0 is none. `refuted`: the answer was seen, is no error, and has another shape.
    fn score(self, refuted: bool) -> u8 {
        let shape = self.answer || self.request || self.possible;
        if !shape || (refuted && !self.answer) {
            return 0;
        }
        u8::from(self.answer) << 3
            | u8::from(self.request) << 2
            | u8::from(self.path) << 1
            | u8::from(self.possible)
    }
}

/// Events looked at to tell the dialect of a stream: it may begin with pings and comments.
const PEEKED_EVENTS: usize = 4;

/// Reads an exchange as a conversation with a model; `None` if it is none.
///
/// The call still holds the secrets that were in it: [`Redactor::call`](crate::redact::Redactor::call)
/// must see it before it goes anywhere.
#[must_use]
pub fn decode(exchange: &Exchange, process: ProcessKey, id: &str) -> Option<LlmCall> {
    let mut reader = Reader::new(exchange)?;
    let provider = reader.choose()?;
    let mut draft = reader.read(provider);
    let (requests, responses) = (&mut draft.request.messages, &mut draft.response.messages);
    for message in requests.iter_mut().chain(responses) {
        message.parts.iter_mut().for_each(set_nameless_apart);
    }
    let (name, api) = provider.names();
    let response = exchange.response.as_ref();
    draft.request.body = exchange.request.body.info.clone();
    draft.response.body = response.map(|r| r.body.info.clone()).unwrap_or_default();
    let complete = draft.ended && reader.is_whole();
    let error = draft
        .error
        .or_else(|| reader.failure(complete, draft.notes.malformed));
    Some(LlmCall {
        id: id.to_owned(),
        provider: provider_at(exchange.host()).unwrap_or(name).to_owned(),
        api: api.to_owned(),
        model: draft.response_model.or_else(|| draft.request_model.clone()),
        request_model: draft.request_model,
        operation: draft.operation.to_owned(),
        process,
        endpoint: exchange.endpoint(),
        transport: exchange.transport.to_owned(),
        status: response.and_then(Message::status),
        started: exchange.started(),
        first_byte: response.and_then(|r| r.body_started),
        ended: exchange.ended(),
        complete,
        request: draft.request,
        response: draft.response,
        finish_reasons: draft.finish_reasons,
        usage: draft.usage,
        error,
        parts: draft.notes.parts,
    })
}

/// One exchange while its dialect is found and it is read.
struct Reader<'a> {
    exchange: &'a Exchange,
    request: Map<String, Value>,
    form: Form,
    answer: Value,
    /// Whether `answer` is all of the answer's body.
    answer_is_whole: bool,
    problem: Option<Problem>,
}

impl<'a> Reader<'a> {
    /// Parses what there is; `None` if it cannot be a conversation with a model.
    fn new(exchange: &'a Exchange) -> Option<Self> {
        let is_socket = exchange.transport == "websocket";
        let response = exchange.response.as_ref();
        let mut reader = Self {
            exchange,
            request: Map::new(),
            form: match response {
                Some(_) if is_socket => Form::Documents,
                response => response.map_or(Form::Opaque, form_of),
            },
            answer: Value::Null,
            answer_is_whole: true,
            problem: None,
        };
        let body = &exchange.request.body;
        match &exchange.request.start {
            StartLine::Unseen if body.bytes.is_empty() && reader.form != Form::Opaque => {}
            // Where the method was not seen, the body must do.
            _ if is_socket && json::looks_like_document(&body.bytes) => {
                (reader.request, reader.problem) = parse_messages(body);
            }
            start if may_ask(start) && json::looks_like_document(&body.bytes) => {
                let parsed = parse_body(body);
                reader.request = into_object(parsed.value);
                reader.problem = parsed.problem;
            }
            _ => return None,
        }
        if let (Form::Object | Form::List, Some(response)) = (reader.form, &exchange.response) {
            let parsed = parse_body(&response.body);
            reader.answer = parsed.value;
            reader.answer_is_whole = parsed.problem.is_none();
            reader.problem = reader.problem.or(parsed.problem);
        }
        Some(reader)
    }

    fn status(&self) -> Option<u16> {
        self.exchange.response.as_ref().and_then(Message::status)
    }

    fn is_error(&self) -> bool {
        self.status().is_some_and(|status| status >= 400)
    }

    /// The dialect that fits best.
    fn choose(&self) -> Option<&'static dyn Provider> {
        let answers = self.peek();
        let seen = Seen {
            path: self.exchange.path(),
            headers: &self.exchange.request.headers,
            request: &self.request,
            answers: &answers,
        };
        let failed = self.is_error() || seen.any_answer(has_error);
        // What is left of an answer that was cut may lack the shape that the whole had.
        let refuted = !answers.is_empty() && !failed && self.answer_is_whole;
        let scored = PROVIDERS
            .iter()
            .map(|provider| (provider.fit(&seen).score(refuted), *provider));
        let (score, best) = scored.max_by_key(|(score, _)| *score)?;
        (score > 0).then_some(best)
    }

    /// The answer's object, or the first objects of a stream.
    fn peek(&self) -> Vec<Cow<'_, Map<String, Value>>> {
        let mut found = Vec::new();
        match (&self.answer, self.form, &self.exchange.response) {
            (Value::Object(map), ..) => found.push(Cow::Borrowed(map)),
            (Value::Array(items), ..) => {
                let objects = items.iter().take(PEEKED_EVENTS);
                found.extend(objects.filter_map(Value::as_object).map(Cow::Borrowed));
            }
            (_, Form::Events | Form::Documents, Some(response)) => {
                self.each_piece(&response.body, &mut |event| {
                    let (kind, mut map) = event.into_typed();
                    if !map.is_empty() {
                        map.entry("type").or_insert(Value::String(kind));
                        found.push(Cow::Owned(map));
                    }
                    found.len() < PEEKED_EVENTS
                });
            }
            _ => {}
        }
        found
    }

    fn read(&mut self, provider: &dyn Provider) -> Draft {
        let mut draft = Draft::default();
        let query = self.exchange.path_and_query().split_once('?');
        let context = Context {
            path: self.exchange.path().to_owned(),
            query: query.map_or_else(String::new, |(_, query)| query.to_owned()),
        };
        provider.read_request(std::mem::take(&mut self.request), &context, &mut draft);
        let answer = std::mem::take(&mut self.answer);
        if self.is_error() {
            self.read_error(answer, &mut draft);
        } else {
            match (self.form, answer) {
                (Form::Object, Value::Object(body)) => {
                    if has_error(&body) {
                        draft.error = Some(error_of(Value::Object(body.clone()), self.status()));
                    }
                    draft.ended = self.problem.is_none();
                    provider.read_answer(body, &mut draft);
                }
                (Form::List, Value::Array(items)) => {
                    let mut stream = provider.begin_stream();
                    for data in items {
                        let name = String::new();
                        stream.take(StreamEvent { name, data }, &mut draft);
                    }
                    stream.finish(&mut draft);
                }
                (Form::Events | Form::Documents, _) => self.read_events(provider, &mut draft),
                _ => {}
            }
        }
        draft
    }

    fn read_events(&self, provider: &dyn Provider, draft: &mut Draft) {
        let Some(response) = &self.exchange.response else {
            return;
        };
        let mut stream = provider.begin_stream();
        self.each_piece(&response.body, &mut |event| {
            stream.take(event, draft);
            true
        });
        stream.finish(draft);
    }

    /// Hands the pieces of an answer to `take`, in order.
    fn each_piece(&self, body: &Body, take: &mut dyn FnMut(StreamEvent) -> bool) {
        match self.form {
            Form::Documents => each_document(body, &mut |data| {
                let name = String::new();
                take(StreamEvent { name, data })
            }),
            _ => each_event(body, take),
        }
    }

    /// Reads the body of an answer whose status is an error; gateways answer in forms of their own.
    fn read_error(&self, answer: Value, draft: &mut Draft) {
        let Some(response) = &self.exchange.response else {
            return;
        };
        let mut answer = answer;
        if matches!(self.form, Form::Events | Form::Documents) {
            self.each_piece(&response.body, &mut |event| {
                answer = event.data;
                false
            });
        } else if answer.is_null() {
            let head = response
                .body
                .bytes
                .get(..4096)
                .unwrap_or(&response.body.bytes);
            let text = String::from_utf8_lossy(head).into_owned();
            answer = serde_json::json!({ "message": text });
        }
        draft.ended = response.body.info.complete || self.form != Form::Opaque;
        draft.fail(answer, self.status());
    }

    /// Whether everything was seen that was said. Some clients leave once they have read the dialect's
    /// end mark: what HTTP would have sent after it does not matter.
    fn is_whole(&self) -> bool {
        let answer = self
            .exchange
            .response
            .as_ref()
            .map(|response| response.body.flaw);
        self.problem.is_none()
            && self.exchange.request.body.info.complete
            && matches!(answer, Some(None | Some(Flaw::Cut)))
    }

    /// What is wrong with a call, where the provider says nothing.
    fn failure(&self, complete: bool, malformed: bool) -> Option<LlmError> {
        let (kind, message) = match self.problem {
            _ if complete && malformed => ("malformed", "some values are of unexpected types"),
            _ if complete => return None,
            Some(Problem::Malformed) => ("malformed", "the body is no JSON from some point on"),
            Some(Problem::TooLarge) => ("malformed", "the body holds too many values"),
            Some(Problem::Truncated) => ("truncated", "the body ends before its end"),
            None if self.exchange.response.is_none() => ("truncated", "no answer was seen"),
            None => ("truncated", "the conversation was not seen to its end"),
        };
        Some(LlmError {
            kind: kind.to_owned(),
            message: message.to_owned(),
        })
    }
}

/// Keeps a call of no tool in particular as what it is: nothing can be done that it asks for. Answers that
/// are cut have such calls.
fn set_nameless_apart(part: &mut Part) {
    if let Part::ToolCall {
        id,
        name,
        arguments,
    } = part
        && name.is_empty()
    {
        let content = json!({"id": id, "arguments": arguments});
        *part = Part::Other {
            name: "tool_call".to_owned(),
            content,
        };
    }
}

/// Whether a request that begins like that can ask something of a model.
fn may_ask(start: &StartLine) -> bool {
    match start {
        StartLine::Request { method, .. } => method == "POST" || method.is_empty(),
        StartLine::Unseen => true,
        StartLine::Response { .. } => false,
    }
}

/// Whether an answer says that something went wrong.
fn has_error(answer: &Map<String, Value>) -> bool {
    answer.get("error").is_some_and(|error| !error.is_null())
}

/// Hosts of providers that speak a dialect of another one, by `gen_ai.provider.name`.
const HOSTS: &[(&str, &str)] = &[
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("api.deepseek.com", "deepseek"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.x.ai", "x_ai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("openrouter.ai", "openrouter"),
];

/// The provider whose host that is.
fn provider_at(host: &str) -> Option<&'static str> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.to_ascii_lowercase();
    // Its region stands in the middle.
    if name.starts_with("bedrock-runtime") && name.ends_with(".amazonaws.com") {
        return Some("aws.bedrock");
    }
    let found = HOSTS.iter().find(|(own, _)| {
        name.strip_suffix(own)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '-']))
    });
    found.map(|(_, provider)| *provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_registered() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/llm");
        let registered: Vec<&str> = PROVIDERS.iter().map(|p| p.names().1).collect();
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.extension().is_none_or(|extension| extension != "rs") || stem == "mod" {
                continue;
            }
            assert!(
                registered
                    .iter()
                    .any(|api| api.replace('.', "_").starts_with(&stem)),
                "llm/{stem}.rs is not in PROVIDERS: add `&{stem}::...` (its dialect's name begins with `{}`)",
                stem.replace('_', "."),
            );
        }
    }

    #[test]
    fn hosts_tell_who_serves_a_dialect() {
        for (host, expected) in [
            ("api.groq.com", Some("groq")),
            (
                "us-central1-aiplatform.googleapis.com:443",
                Some("gcp.vertex_ai"),
            ),
            ("my.openai.azure.com", Some("azure.ai.openai")),
            (
                "bedrock-runtime.eu-west-1.amazonaws.com",
                Some("aws.bedrock"),
            ),
            ("notapi.x.ai", None),
            ("127.0.0.1:8443", None),
        ] {
            assert_eq!(provider_at(host), expected, "{host}");
        }
    }
}
