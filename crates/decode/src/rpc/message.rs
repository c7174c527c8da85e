//! From the text of a message to what it says.

use agentsight_model::{KTime, RpcBody, RpcError};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::framing::Piece;
use crate::json;
use crate::text::hexadecimal;

/// Bytes of an id. Longer ones join nothing.
const ID_BYTES: usize = 256;

/// Bytes of a method's name.
const METHOD_BYTES: usize = 1024;

/// The id that joins an answer to its request: a string or a number (section 4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(String);

impl Id {
    /// The id that a value is.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => format!("\"{text}"),
            _ => return None,
        };
        (text.len() <= ID_BYTES).then_some(Self(text))
    }
}

/// What a message is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// It asks for an answer.
    Request {
        /// Joins the answer to it.
        id: Value,
        /// What is to be done.
        method: String,
        /// With what.
        params: Value,
    },
    /// It asks for none.
    Notification {
        /// What happened.
        method: String,
        /// To what.
        params: Value,
    },
    /// It answers.
    Response {
        /// Of the request.
        id: Value,
        /// The result, or the error.
        outcome: Result<Value, RpcError>,
    },
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it says.
    pub content: Content,
    /// Size and digest as it was sent.
    pub body: RpcBody,
    /// When its first byte went by.
    pub started: KTime,
    /// When its last byte went by.
    pub ended: KTime,
}

/// Reads a message, or a batch of them (revision 2025-03-26 of MCP had these).
pub(super) fn read(mut piece: Piece, time: KTime, out: &mut Vec<Message>) {
    let (started, ended) = (piece.started, time);
    let mut body = RpcBody {
        bytes: piece.total_bytes(),
        sha256: piece.sha256(),
        complete: piece.ended,
    };
    if let Some(bytes) = piece.whole() {
        if bytes.first() == Some(&b'[') {
            read_batch(bytes, (started, ended), out);
            return;
        }
        if !names_version(bytes) {
            return;
        }
        let read = json::parse(bytes);
        // A stream may end without a line feed. What is broken inside is no message, unless it is cut.
        match read.problem {
            None => body.complete = true,
            Some(json::Problem::Truncated) if !piece.ended => body.complete = false,
            Some(json::Problem::TooLarge) => body.complete = false,
            Some(_) => return,
        }
        let Value::Object(members) = read.value else {
            return;
        };
        out.extend(content_of(members).map(|content| Message {
            content,
            body,
            started,
            ended,
        }));
        return;
    }
    body.complete = false;
    let total = body.bytes;
    if let Some((head, tail, outline)) = piece.outline() {
        let members = shortened(head, &tail, outline.take_members(), total);
        out.extend(content_of(members).map(|content| Message {
            content,
            body,
            started,
            ended,
        }));
    }
}

fn read_batch(bytes: &[u8], (started, ended): (KTime, KTime), out: &mut Vec<Message>) {
    json::elements(bytes, &mut |element| {
        if !names_version(element) {
            return;
        }
        let read = json::parse(element);
        let Value::Object(members) = read.value else {
            return;
        };
        out.extend(content_of(members).map(|content| Message {
            content,
            body: RpcBody {
                bytes: element.len() as u64,
                sha256: hexadecimal(&Sha256::digest(element)),
                complete: read.problem.is_none(),
            },
            started,
            ended,
        }));
    });
}

/// Whether a document says that it is JSON-RPC 2.0, found without reading its values.
fn names_version(bytes: &[u8]) -> bool {
    let mut found = false;
    json::members(bytes, &mut |name, value| {
        found |= name == b"jsonrpc" && json::unquote(value) == b"2.0";
    });
    found
}

/// The members of a message of which only head and tail are there.
fn shortened(
    head: &[u8],
    tail: &[u8],
    outline: Vec<(String, Option<Value>)>,
    total: u64,
) -> Map<String, Value> {
    let kept = json!({
        "bytes": total,
        "head": String::from_utf8_lossy(head),
        "tail": String::from_utf8_lossy(tail),
    });
    let short: Vec<_> = outline
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("params.")?, value.clone()?)))
        .collect();
    let members = outline.iter().filter_map(|(name, value)| {
        let value = match name.as_str() {
            "params" => with_members(&kept, &short),
            "result" => kept.clone(),
            "error" => json!({"code": 0, "message": "too long to be kept", "data": kept}),
            name if name.contains('.') => return None,
            _ => value.clone().unwrap_or(Value::Null),
        };
        Some((name.clone(), value))
    });
    members.collect()
}

/// Head and tail, and beside them the short members, which tell what a call is about.
fn with_members(kept: &Value, short: &[(&str, Value)]) -> Value {
    let mut value = kept.clone();
    if let Value::Object(all) = &mut value {
        for (name, member) in short {
            all.entry(*name).or_insert_with(|| member.clone());
        }
    }
    value
}

/// What an object says, if it is a message of JSON-RPC 2.0.
fn content_of(mut members: Map<String, Value>) -> Option<Content> {
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return None;
    }
    let id = members.remove("id").filter(|id| !id.is_null());
    let method = match members.remove("method") {
        Some(Value::String(method)) if method.len() <= METHOD_BYTES => Some(method),
        Some(_) => return None,
        None => None,
    };
    let params = members.remove("params").unwrap_or(Value::Null);
    let outcome = match (members.remove("result"), members.remove("error")) {
        (_, Some(error)) if !error.is_null() => Some(Err(error_of(error))),
        (Some(result), _) => Some(Ok(result)),
        (None, _) => None,
    };
    match (method, id, outcome) {
        (Some(method), Some(id), _) => Some(Content::Request { id, method, params }),
        (Some(method), None, _) => Some(Content::Notification { method, params }),
        // An error without an id answers what could not be read (section 5).
        (None, id, Some(outcome)) => Some(Content::Response {
            id: id.unwrap_or(Value::Null),
            outcome,
        }),
        (None, _, None) => None,
    }
}

fn error_of(error: Value) -> RpcError {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    RpcError {
        code: error.get("code").and_then(Value::as_i64).unwrap_or(0),
        message: text(error.get("message").unwrap_or(&error)),
        data: error.get("data").cloned(),
    }
}
