//! One exchange while its dialect is found and it is read.

use std::borrow::Cow;

use agentsight_model::LlmError;
use serde_json::{Map, Value, json};

use super::super::{PROVIDERS, Provider, Seen, has_error};
use super::form::{self, FormFile};
use super::{
    Content, Draft, Form, StreamEvent, aws, each_document, each_event, each_written_event,
    error_of, form_of, into_object, parse_body, parse_event, parse_messages,
};
use crate::http::{Body, Exchange, Flaw, Message, StartLine};
use crate::json::{self, Problem};

/// Events looked at to tell the dialect of a stream: it may begin with pings and comments.
const PEEKED_EVENTS: usize = 4;

/// Bytes of an answer in a form of its own that are kept as an error's message.
const MAX_ERROR_BYTES: usize = 4096;

/// What a request may say outside of its body.
pub(crate) struct Context {
    pub(crate) path: String,
    /// What follows the path, without the question mark.
    pub(crate) query: String,
    /// Files of a form.
    pub(crate) files: Vec<FormFile>,
}

/// Reads one exchange.
pub(crate) struct Reader<'a> {
    exchange: &'a Exchange,
    request: Map<String, Value>,
    form: Form,
    answer: Value,
    /// Whether `answer` is all of the answer's body.
    answer_is_whole: bool,
    problem: Option<Problem>,
    files: Vec<FormFile>,
}

impl<'a> Reader<'a> {
    /// Parses what there is; `None` if it cannot be a conversation with a model.
    pub(crate) fn new(exchange: &'a Exchange) -> Option<Self> {
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
            files: Vec::new(),
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
            start if may_ask(start) => {
                let form = form::read(&exchange.request)?;
                reader.request = form.fields;
                reader.files = form.files;
                reader.problem = form.problem;
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
    pub(crate) fn choose(&self) -> Option<&'static dyn Provider> {
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
            (_, Form::Events | Form::Documents | Form::EventStream, Some(response)) => {
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

    pub(crate) fn read(&mut self, provider: &dyn Provider) -> Draft {
        let mut draft = Draft::default();
        let query = self.exchange.path_and_query().split_once('?');
        let context = Context {
            path: self.exchange.path().to_owned(),
            query: query.map_or_else(String::new, |(_, query)| query.to_owned()),
            files: std::mem::take(&mut self.files),
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
                (Form::Events | Form::Documents | Form::EventStream, _) => {
                    let damaged = self.read_events(provider, &mut draft) > 0;
                    let problem = damaged.then_some(Problem::Damaged);
                    self.problem = self.problem.or(problem);
                }
                (Form::Opaque, _) => {
                    let content = self.exchange.response.as_ref().and_then(Content::of);
                    if let Some(content) = content {
                        provider.read_content(content, &mut draft);
                    }
                }
                _ => {}
            }
        }
        draft
    }

    /// Gives how many pieces were given up.
    fn read_events(&self, provider: &dyn Provider, draft: &mut Draft) -> u64 {
        let Some(response) = &self.exchange.response else {
            return 0;
        };
        let mut stream = provider.begin_stream();
        let dropped_count = match self.form {
            Form::Events => each_written_event(&response.body, &mut |event| {
                if !stream.take_plain(event.data.as_bytes(), draft) {
                    stream.take(parse_event(event), draft);
                }
                true
            }),
            _ => self.each_piece(&response.body, &mut |event| {
                stream.take(event, draft);
                true
            }),
        };
        stream.finish(draft);
        dropped_count
    }

    /// Hands the pieces of an answer to `take`, in order. Gives how many were given up.
    fn each_piece(&self, body: &Body, take: &mut dyn FnMut(StreamEvent) -> bool) -> u64 {
        match self.form {
            Form::Documents => {
                each_document(body, &mut |data| {
                    let name = String::new();
                    take(StreamEvent { name, data })
                });
                0
            }
            Form::EventStream => aws::each_message(body, take),
            _ => each_event(body, take),
        }
    }

    /// Reads the body of an answer whose status is an error; gateways answer in forms of their own.
    fn read_error(&self, answer: Value, draft: &mut Draft) {
        let Some(response) = &self.exchange.response else {
            return;
        };
        let mut answer = answer;
        if matches!(
            self.form,
            Form::Events | Form::Documents | Form::EventStream
        ) {
            self.each_piece(&response.body, &mut |event| {
                answer = event.data;
                false
            });
        } else if answer.is_null() {
            let bytes = &response.body.bytes;
            let head = bytes.get(..MAX_ERROR_BYTES).unwrap_or(bytes);
            let text = String::from_utf8_lossy(head).into_owned();
            answer = json!({ "message": text });
        }
        // AWS names the kind of an error in a header field, before a colon.
        if let (Some(kind), Value::Object(map)) =
            (response.headers.get("x-amzn-errortype"), &mut answer)
        {
            let kind = kind.split(':').next().unwrap_or_default();
            map.entry("type").or_insert_with(|| kind.into());
        }
        draft.ended = response.body.info.complete || self.form != Form::Opaque;
        draft.fail(answer, self.status());
    }

    /// Whether everything was seen that was said. Some clients leave once they have read the dialect's
    /// end mark: what HTTP would have sent after it does not matter.
    pub(crate) fn is_whole(&self) -> bool {
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
    pub(crate) fn failure(&self, complete: bool, malformed: bool) -> Option<LlmError> {
        let (kind, message) = match self.problem {
            _ if complete && malformed => ("malformed", "some values are of unexpected types"),
            _ if complete => return None,
            Some(Problem::Damaged) => ("truncated", "some pieces of the answer are damaged"),
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

/// Whether a request that begins like that can ask something of a model.
fn may_ask(start: &StartLine) -> bool {
    match start {
        StartLine::Request { method, .. } => method == "POST" || method.is_empty(),
        StartLine::Unseen => true,
        StartLine::Response { .. } => false,
    }
}
