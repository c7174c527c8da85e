//! Answers that come as event streams of AWS: what Bedrock makes of them.

use serde_json::{Value, json};

use super::{Fields, StreamEvent, into_object};
use crate::http::Body;
use crate::http::event_stream::{Message, Parser};
use crate::json;
use crate::media;

/// Bytes of a stream that are parsed before their messages are handed on.
const PIECE_BYTES: usize = 64 << 10;

/// Hands the messages of a stream to `take`, in order. Ends early where `take` says so. Gives how many
/// were dropped, because a checksum does not hold or bytes are missing.
pub(crate) fn each_message(body: &Body, take: &mut dyn FnMut(StreamEvent) -> bool) -> u64 {
    let mut parser = Parser::default();
    let mut messages = Vec::new();
    let mut from = 0;
    for &gap in body.gaps.iter().chain([&body.bytes.len()]) {
        let segment = body.bytes.get(from..gap).unwrap_or_default();
        for piece in segment.chunks(PIECE_BYTES) {
            parser.push(piece, &mut messages);
            for message in messages.drain(..) {
                if !take(event_of(&message)) {
                    return parser.dropped_count();
                }
            }
        }
        if gap < body.bytes.len() {
            parser.gap();
        }
        from = gap;
    }
    parser.dropped_count()
}

/// A message as an event. A `chunk` wraps an event of the model's own dialect in base64, which is taken
/// out of it; an exception becomes an error of the form that all dialects know.
fn event_of(message: &Message) -> StreamEvent {
    let header = |name: &str| message.headers.get(name).unwrap_or_default().to_owned();
    let data = json::parse(&message.payload).value;
    let (kind, message_type) = (header(":event-type"), header(":message-type"));
    if message_type == "exception" || message_type == "error" {
        let mut fields = into_object(data);
        let said = fields.take_first_string(&["message", "Message", "originalMessage"]);
        let kind = [header(":exception-type"), header(":error-code"), kind];
        let kind = kind.into_iter().find(|kind| !kind.is_empty());
        let error = json!({
            "type": kind.unwrap_or(message_type),
            "message": said.unwrap_or_else(|| header(":error-message")),
        });
        return StreamEvent {
            name: "error".to_owned(),
            data: json!({"type": "error", "error": error}),
        };
    }
    match data.get("bytes").and_then(Value::as_str) {
        Some(digits) if kind == "chunk" => StreamEvent {
            name: String::new(),
            data: json::parse(&media::bytes_of(digits)).value,
        },
        _ => StreamEvent { name: kind, data },
    }
}
