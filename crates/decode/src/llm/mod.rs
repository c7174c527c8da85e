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
mod bedrock_converse;
mod bedrock_invoke;
mod cohere_chat;
mod count_tokens;
mod embeddings;
mod gemini;
mod gemini_interactions;
mod gemini_live;
mod ollama;
mod openai_audio;
mod openai_chat;
mod openai_images;
mod openai_realtime;
mod openai_responses;
mod reading;

use std::borrow::Cow;

use agentsight_model::{LlmCall, Part, ProcessKey};
use serde_json::{Map, Value, json};

use crate::http::{Exchange, Headers, Message};
use reading::{Content, Context, Draft, Reader, StreamEvent, vendor};

/// Every dialect that is understood.
const PROVIDERS: &[&dyn Provider] = &[
    &anthropic::Anthropic,
    &bedrock_converse::BedrockConverse,
    &bedrock_invoke::BedrockInvoke,
    &cohere_chat::CohereChat,
    &count_tokens::ANTHROPIC,
    &count_tokens::GEMINI,
    &count_tokens::OPENAI,
    &embeddings::COHERE,
    &embeddings::GEMINI,
    &embeddings::OLLAMA,
    &embeddings::OPENAI,
    &gemini::Gemini,
    &gemini_interactions::GeminiInteractions,
    &gemini_live::GeminiLive,
    &ollama::Ollama,
    &openai_audio::OpenAiAudio,
    &openai_chat::OpenAiChat,
    &openai_images::OpenAiImages,
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

    /// Reads an answer that is neither JSON nor a stream of it. Few dialects have such answers.
    fn read_content(&self, _: Content, _: &mut Draft) {}

    /// Begins to read an answer that comes in pieces.
    fn begin_stream(&self) -> Box<dyn Stream>;
}

/// An answer that comes in pieces.
trait Stream {
    /// Takes the next piece, if it is one that only carries text on, from its data as written. Most are,
    /// so this is where the time goes; what it does must be what [`Stream::take`] would do.
    fn take_plain(&mut self, _: &[u8], _: &Draft) -> bool {
        false
    }

    /// Takes the next piece.
    fn take(&mut self, event: StreamEvent, draft: &mut Draft);

    /// Puts what came into the draft.
    fn finish(self: Box<Self>, draft: &mut Draft);
}

/// What a provider may judge an exchange by.
struct Seen<'a> {
    path: &'a str,
    headers: &'a Headers,
    /// The request's body; empty if it is no object. Files of a form stand in it by their description.
    request: &'a Map<String, Value>,
    /// The answer's body, or the first pieces of a stream.
    answers: &'a [Cow<'a, Map<String, Value>>],
}

impl Seen<'_> {
    fn any_answer(&self, test: impl Fn(&Map<String, Value>) -> bool) -> bool {
        self.answers.iter().any(|answer| test(answer))
    }
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
    draft.settle_usage();
    vendor::keep_fields(exchange, &mut draft);
    let (name, api) = provider.names();
    let response = exchange.response.as_ref();
    draft.request.body = exchange.request.body.info.clone();
    draft.response.body = response.map(|r| r.body.info.clone()).unwrap_or_default();
    let complete = draft.ended && reader.is_whole();
    let failure = || reader.failure(complete, draft.notes.malformed);
    Some(LlmCall {
        id: id.to_owned(),
        provider: vendor::of(exchange, &draft).unwrap_or(name).to_owned(),
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
        error: draft.error.or_else(failure),
        parts: draft.notes.parts,
        content: None,
        texts: Vec::new(),
    })
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

/// Whether an answer says that something went wrong.
fn has_error(answer: &Map<String, Value>) -> bool {
    answer.get("error").is_some_and(|error| !error.is_null())
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
                registered.iter().any(|api| {
                    let api = api.replace('.', "_");
                    api.starts_with(&stem) || api.ends_with(&stem)
                }),
                "llm/{stem}.rs is not in PROVIDERS: add `&{stem}::...` (its dialect's name begins or ends with `{}`)",
                stem.replace('_', "."),
            );
        }
    }
}
