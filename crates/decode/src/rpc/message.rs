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

/// Reads a document of its own, such as the body of an HTTP message: a message or a batch of them. `ended`
/// says whether the document was seen to its end.
pub fn read_document(
    bytes: &[u8],
    ended: bool,
    (started, time): (KTime, KTime),
    out: &mut Vec<Message>,
) {
    let bytes = bytes.trim_ascii();
    if bytes.first() == Some(&b'[') {
        json::elements(bytes, &mut |element| {
            out.extend(read_one(element, false, (started, time)));
        });
    } else {
        out.extend(read_one(bytes, ended, (started, time)));
    }
}

/// Reads an object or array that is no message of JSON-RPC, as far as it goes.
#[must_use]
pub fn parse_document(bytes: &[u8]) -> Option<Value> {
    json::looks_like_document(bytes).then(|| json::parse(bytes).value)
}

/// Reads a message or a batch of them (revision 2025-03-26 of MCP had these) from a stream.
pub(super) fn read(mut piece: Piece, time: KTime, out: &mut Vec<Message>) {
    let times = (piece.started, time);
    if let Some(bytes) = piece.whole() {
        read_document(bytes, piece.ended, times, out);
        return;
    }
    let body = RpcBody {
        bytes: piece.total_bytes(),
        sha256: piece.sha256(),
        complete: false,
    };
    if let Some((head, tail, outline)) = piece.outline() {
        let members = shortened(head, &tail, &outline.take_members(), body.bytes);
        out.extend(message_of(members, body, times));
    }
}

/// Reads one message. What is broken inside is none; what is cut is one as far as it goes.
fn read_one(bytes: &[u8], ended: bool, times: (KTime, KTime)) -> Option<Message> {
    if !names_version(bytes) {
        return None;
    }
    let read = json::parse(bytes);
    let complete = match read.problem {
        // A stream may end without a line feed.
        None => true,
        Some(json::Problem::Truncated) if !ended => false,
        Some(json::Problem::TooLarge) => false,
        Some(_) => return None,
    };
    let Value::Object(members) = read.value else {
        return None;
    };
    let body = RpcBody {
        bytes: bytes.len() as u64,
        sha256: hexadecimal(&Sha256::digest(bytes)),
        complete,
    };
    message_of(members, body, times)
}

fn message_of(
    members: Map<String, Value>,
    body: RpcBody,
    (started, ended): (KTime, KTime),
) -> Option<Message> {
    Some(Message {
        content: content_of(members)?,
        body,
        started,
        ended,
    })
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
    outline: &[(String, Option<Value>)],
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
