//! Requests that are several messages of a WebSocket, and media that come in pieces.

use agentsight_model::{Part, PartInfo};
use serde_json::{Map, Value};

use super::fields::{Fields, into_object};
use crate::http::Body;
use crate::json::{self, Problem};
use crate::media;

/// Messages of one request that are read; more of them are a flaw of the call.
const MAX_MESSAGES: usize = 1 << 16;

/// Where several messages stand in the request that is made of them.
const MESSAGES: &str = "websocket_messages";

/// The messages of a body: the message itself if it is one, else an object that holds them all.
pub(crate) fn parse_messages(body: &Body) -> (Map<String, Value>, Option<Problem>) {
    let (mut messages, mut problem) = (Vec::new(), None);
    let mut from = 0;
    for &gap in body.gaps.iter().chain([&body.bytes.len()]) {
        let segment = body.bytes.get(from..gap).unwrap_or_default();
        json::parse_each(segment, &mut |parsed| {
            problem = problem.or(parsed.problem);
            if messages.len() >= MAX_MESSAGES {
                problem = problem.or(Some(Problem::TooLarge));
                return false;
            }
            messages.push(parsed.value);
            true
        });
        if gap < body.bytes.len() {
            problem = problem.or(Some(Problem::Truncated));
        }
        from = gap;
    }
    if messages.len() > 1 {
        let all = Map::from_iter([(MESSAGES.to_owned(), Value::Array(messages))]);
        return (all, problem);
    }
    let only = messages.pop().unwrap_or_default();
    (into_object(only), problem)
}

/// The messages that [`parse_messages`] has put together, one by one.
pub(crate) fn messages_in(mut request: Map<String, Value>) -> Vec<Map<String, Value>> {
    match request.take(MESSAGES) {
        Value::Array(messages) => messages.into_iter().map(into_object).collect(),
        _ => vec![request],
    }
}

/// Whether a message of a request passes a test.
pub(crate) fn any_message(
    request: &Map<String, Value>,
    test: impl Fn(&Map<String, Value>) -> bool,
) -> bool {
    match request.get(MESSAGES).and_then(Value::as_array) {
        Some(messages) => messages.iter().filter_map(Value::as_object).any(test),
        None => test(request),
    }
}

/// Media of one kind that come as pieces of base64.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// Declared type and digits.
    whole: Vec<(String, String)>,
    declared: String,
    digits: String,
}

impl Pieces {
    /// Adds a piece. One whose digits do not end where a byte does ends what can be joined.
    pub(crate) fn push(&mut self, digits: &str, declared: &str) {
        if declared != self.declared {
            self.close();
            self.declared = declared.to_owned();
        }
        self.digits.push_str(digits);
        if !self.digits.len().is_multiple_of(4) || self.digits.ends_with('=') {
            self.close();
        }
    }

    /// Ends what can be joined: the next piece is one of its own.
    pub(crate) fn close(&mut self) {
        if !self.digits.is_empty() {
            let digits = std::mem::take(&mut self.digits);
            self.whole.push((self.declared.clone(), digits));
        }
    }

    /// Describes what came, as few parts.
    pub(crate) fn take(&mut self, noted: &mut Vec<PartInfo>) -> Vec<Part> {
        self.close();
        std::mem::take(&mut self.whole)
            .iter()
            .map(|(declared, digits)| media::blob(digits, Some(declared), noted))
            .collect()
    }
}
