//! What all providers share: bodies as JSON, streams as events, and a call in the making.

pub(crate) mod aws;
mod draft;
mod exchange;
mod fields;
mod form;
pub(crate) mod plain;
mod socket;
pub(crate) mod usage;
pub(crate) mod vendor;

use serde_json::{Map, Value};

use agentsight_model::PartInfo;

use crate::http::sse::{Event, Parser};
use crate::http::{Body, Message, event_stream};
use crate::json::{self, Parsed, Problem};
use crate::media;
pub(crate) use draft::{Draft, Notes, error_of, message, other, push_text, result_of, tool_call};
pub(crate) use exchange::{Context, Reader};
pub(crate) use fields::{Fields, into_list, into_object, into_text};
pub(crate) use socket::{Pieces, any_message, messages_in, parse_messages};

/// Bytes of a stream that are parsed before their events are handed on.
const PIECE_BYTES: usize = 64 << 10;

/// One event of a streamed answer.
#[derive(Debug)]
pub(crate) struct StreamEvent {
    /// Type by the SSE `event` field; often empty.
    pub(crate) name: String,
    /// Its data; a string where it is no JSON, such as `[DONE]`.
    pub(crate) data: Value,
}

impl StreamEvent {
    /// The event's data as an object, empty if it is none, with its `type` or else its name.
    pub(crate) fn into_typed(self) -> (String, Map<String, Value>) {
        let object = into_object(self.data);
        let kind = match object.text("type") {
            "" => self.name,
            kind => kind.to_owned(),
        };
        (kind, object)
    }
}

/// The form in which a body carries what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON object.
    Object,
    /// A JSON array, whose elements are sent one after the other.
    List,
    /// Server-sent events.
    Events,
    /// JSON documents one after the other: lines, or the messages of a WebSocket.
    Documents,
    /// An event stream of AWS.
    EventStream,
    /// Something else.
    Opaque,
}

/// Media types of documents one after the other.
const DOCUMENT_TYPES: [&str; 5] = [
    "application/jsonl",
    "application/ndjson",
    "application/stream+json",
    "application/x-jsonlines",
    "application/x-ndjson",
];

/// The form of a body: what it looks like, because its declared type is often wrong.
pub(crate) fn form_of(message: &Message) -> Form {
    let start = message.body.bytes.trim_ascii_start();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    match start.first() {
        Some(b'{') if DOCUMENT_TYPES.contains(&message.media_type().as_str()) => Form::Documents,
        Some(b'{') if json::is_sequence(start) => Form::Documents,
        Some(b'{') => Form::Object,
        Some(b'[') => Form::List,
        Some(_) if event_stream::begins(&message.body.bytes) => Form::EventStream,
        Some(_) if message.media_type() == event_stream::MEDIA_TYPE => Form::EventStream,
        Some(_) if message.media_type() == "text/event-stream" => Form::Events,
        Some(_)
            if [&b"data:"[..], b"event:", b"id:", b":"]
                .iter()
                .any(|p| start.starts_with(p)) =>
        {
            Form::Events
        }
        _ => Form::Opaque,
    }
}

/// An answer that is neither JSON nor a stream of it.
#[derive(Debug)]
pub(crate) struct Content {
    /// What it is.
    pub(crate) info: PartInfo,
    /// The text, if it is text.
    pub(crate) text: Option<String>,
    /// Whether all of it was seen.
    pub(crate) complete: bool,
}

impl Content {
    /// The content of a message; `None` if there is none.
    fn of(message: &Message) -> Option<Self> {
        let body = &message.body;
        if body.info.bytes == 0 {
            return None;
        }
        let media_type = message.media_type();
        let is_text = media_type.starts_with("text/");
        let (bytes, sha256) = (body.info.bytes, body.info.sha256.clone());
        Some(Self {
            info: media::known(&body.bytes, bytes, sha256, Some(&media_type)),
            text: is_text.then(|| String::from_utf8_lossy(&body.bytes).into_owned()),
            complete: body.info.complete,
        })
    }
}

/// A body as JSON, up to where bytes of it are missing.
pub(crate) fn parse_body(body: &Body) -> Parsed {
    let end = body.gaps.first().copied().unwrap_or(body.bytes.len());
    let mut parsed = json::parse(body.bytes.get(..end).unwrap_or_default());
    if end < body.bytes.len() {
        parsed.problem = Some(Problem::Truncated);
    }
    parsed
}

/// Hands the events of a stream to `take`, in order. Ends early where `take` says so. Gives how many were
/// given up, because they are too long or bytes are missing.
pub(crate) fn each_event(body: &Body, take: &mut dyn FnMut(StreamEvent) -> bool) -> u64 {
    each_written_event(body, &mut |event| take(parse_event(event)))
}

/// The same, with the events' data as it is written.
pub(crate) fn each_written_event(body: &Body, take: &mut dyn FnMut(Event) -> bool) -> u64 {
    let mut parser = Parser::default();
    let mut events = Vec::new();
    let mut from = 0;
    for &gap in body.gaps.iter().chain([&body.bytes.len()]) {
        let segment = body.bytes.get(from..gap).unwrap_or_default();
        for piece in segment.chunks(PIECE_BYTES) {
            parser.push(piece, &mut events);
            for event in events.drain(..) {
                if !take(event) {
                    return parser.dropped_count();
                }
            }
        }
        if gap < body.bytes.len() {
            parser.gap();
        }
        from = gap;
    }
    let dropped_count = parser.dropped_count();
    // Many clients take an event that the end of the stream cut off, if it is whole otherwise.
    if let Some(last) = parser.finish() {
        let parsed = json::parse(last.data.as_bytes());
        if parsed.problem.is_none() || last.data == DONE {
            take(last);
        }
    }
    dropped_count
}

/// Hands documents that stand one after the other to `take`, in order, but for those that are not
/// whole. Ends early where `take` says so.
pub(crate) fn each_document(body: &Body, take: &mut dyn FnMut(Value) -> bool) {
    let mut from = 0;
    let mut goes_on = true;
    for &gap in body.gaps.iter().chain([&body.bytes.len()]) {
        let segment = body.bytes.get(from..gap).unwrap_or_default();
        json::parse_each(segment, &mut |parsed| {
            if parsed.problem.is_none() {
                goes_on = take(parsed.value);
            }
            goes_on
        });
        if !goes_on {
            return;
        }
        from = gap;
    }
}

/// The data of the event that ends streams of OpenAI's first kind.
pub(crate) const DONE: &str = "[DONE]";

pub(crate) fn parse_event(event: Event) -> StreamEvent {
    StreamEvent {
        name: event.event,
        data: json::parse_or_text(event.data),
    }
}
