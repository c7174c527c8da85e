//! gRPC over HTTP/2, and gRPC-Web: messages that carry their length, and the status in the trailers.
//!
//! What a message holds is not looked into. How many there are, how large, and how the call ended is told
//! by the framing alone: one byte of flags, the length in four bytes, and the message, over and over
//! (gRPC over HTTP2, "Length-Prefixed-Message").

use agentsight_model::GrpcCall;

use super::message::{Body, Exchange, Message};
use crate::text::{percent_decoded, preview};

/// Flags and length.
const PREFIX_BYTES: usize = 5;

/// The message is compressed.
const COMPRESSED: u8 = 0x01;

/// The message holds trailer fields (gRPC-Web).
const TRAILERS: u8 = 0x80;

/// Trailer fields of gRPC-Web that are read.
const MAX_TRAILER_BYTES: usize = 16 << 10;

/// Bytes kept of what a status says in words.
const MAX_STATUS_MESSAGE_BYTES: usize = 1024;

/// Counts the messages of one direction, fed with any runs of bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Messages that were seen whole.
    pub messages_count: u64,
    /// Of these, compressed ones.
    pub compressed_count: u64,
    /// Bytes of these messages, as transferred.
    pub message_bytes: u64,
    /// Trailer fields that came as a message.
    trailers: Vec<u8>,
    prefix: Vec<u8>,
    /// Bytes of the message in progress that are still to come.
    left_bytes: u64,
    lost: bool,
}

impl Counter {
    /// Takes bytes. After a gap nothing is counted any more: where the next message begins is not told.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.lost {
            if self.prefix.len() < PREFIX_BYTES {
                let wanted = PREFIX_BYTES.saturating_sub(self.prefix.len());
                self.prefix.extend_from_slice(take(&mut rest, wanted));
                self.begin();
            } else {
                let wanted = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
                let content = take(&mut rest, wanted);
                self.left_bytes = self.left_bytes.saturating_sub(content.len() as u64);
                if self.flags() & TRAILERS != 0 {
                    let room = MAX_TRAILER_BYTES.saturating_sub(self.trailers.len());
                    let kept = content.get(..room).unwrap_or(content);
                    self.trailers.extend_from_slice(kept);
                }
            }
            if self.prefix.len() == PREFIX_BYTES && self.left_bytes == 0 {
                self.end();
            }
        }
    }

    /// Notes that bytes are missing here.
    pub fn gap(&mut self) {
        self.lost = true;
    }

    /// Whether every byte belongs to a message that is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.lost && self.prefix.is_empty()
    }

    fn flags(&self) -> u8 {
        self.prefix.first().copied().unwrap_or_default()
    }

    /// Reads the length, once the prefix is whole.
    fn begin(&mut self) {
        if let [_, length @ ..] = self.prefix.as_slice()
            && let Ok(length) = <[u8; 4]>::try_from(length)
        {
            self.left_bytes = u64::from(u32::from_be_bytes(length));
        }
    }

    fn end(&mut self) {
        if let Some(&[flags, a, b, c, d]) = self.prefix.first_chunk::<PREFIX_BYTES>()
            && flags & TRAILERS == 0
        {
            let length = u64::from(u32::from_be_bytes([a, b, c, d]));
            self.messages_count = self.messages_count.saturating_add(1);
            self.message_bytes = self.message_bytes.saturating_add(length);
            let compressed = u64::from(flags & COMPRESSED);
            self.compressed_count = self.compressed_count.saturating_add(compressed);
        }
        self.prefix.clear();
    }
}

/// What an exchange says as a call of gRPC; `None` if it is none.
#[must_use]
pub fn call_of(exchange: &Exchange) -> Option<GrpcCall> {
    let request = &exchange.request;
    let response = exchange.response.as_ref();
    if !is_grpc(request) && !response.is_some_and(is_grpc) {
        return None;
    }
    let (service, method) = names_in(exchange.path());
    let sent = count(request);
    let received = response.map(count).unwrap_or_default();
    let fields = [
        response.map(|response| response.trailers.clone()),
        Some(super::head::parse_fields(&received.trailers)),
        response.map(|response| response.headers.clone()),
    ];
    let status = |name: &str| {
        let mut found = fields
            .iter()
            .flatten()
            .filter_map(|fields| fields.get(name));
        found.next()
    };
    Some(GrpcCall {
        service,
        method,
        request_messages: sent.messages_count,
        response_messages: received.messages_count,
        compressed_messages: sent
            .compressed_count
            .saturating_add(received.compressed_count),
        status: status("grpc-status").and_then(|code| code.trim().parse().ok()),
        message: status("grpc-message")
            .map(|text| preview(&percent_decoded(text), MAX_STATUS_MESSAGE_BYTES))
            .filter(|text| !text.is_empty()),
        complete: exchange.is_complete() && sent.is_whole() && received.is_whole(),
    })
}

/// Whether a message says that it is of gRPC. Where the field that would say it was sent before watching
/// began, the status does.
fn is_grpc(message: &Message) -> bool {
    let media_type = message.media_type();
    let of_grpc = media_type.strip_prefix("application/grpc");
    of_grpc.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '-', ';']))
        || message.trailers.get("grpc-status").is_some()
}

/// Service and method in a path such as `/package.Service/Method`; what stands before them is a prefix
/// of the server's own.
fn names_in(path: &str) -> (String, String) {
    let path = path.trim_matches('/');
    let (rest, method) = path.rsplit_once('/').unwrap_or(("", path));
    let service = rest.rsplit('/').next().unwrap_or_default();
    (service.to_owned(), method.to_owned())
}

fn count(message: &Message) -> Counter {
    let mut counter = Counter::default();
    // As text, messages are in base64, each piece padded on its own: their sizes are told by the body.
    if !message
        .media_type()
        .starts_with("application/grpc-web-text")
    {
        push_body(&message.body, &mut counter);
    }
    counter
}

fn push_body(body: &Body, counter: &mut Counter) {
    let mut from = 0;
    for &gap in &body.gaps {
        counter.push(body.bytes.get(from..gap).unwrap_or_default());
        counter.gap();
        from = gap;
    }
    counter.push(body.bytes.get(from..).unwrap_or_default());
    if body.info.bytes > body.bytes.len() as u64 {
        counter.gap();
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (front, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
    *rest = after;
    front
}

#[cfg(test)]
mod tests {
    use agentsight_model::Direction;
    use proptest::prelude::*;

    use super::super::message::{Headers, StartLine};
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in pairs {
            headers.push(*name, *value);
        }
        headers
    }

    fn framed(flags: u8, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32).to_be_bytes();
        [&[flags][..], &length, content].concat()
    }

    fn message(media_type: &str, body: Vec<u8>, trailers: &[(&str, &str)]) -> Message {
        let mut message = Message {
            headers: fields(&[("content-type", media_type)]),
            trailers: fields(trailers),
            ..Message::default()
        };
        message.body.info.bytes = body.len() as u64;
        message.body.info.complete = true;
        message.body.bytes = body;
        message
    }

    fn exchange(path: &str, request: Message, response: Option<Message>) -> Exchange {
        Exchange {
            transport: "h2",
            scheme: "https",
            requests_from: Direction::Sent,
            request: Message {
                start: StartLine::Request {
                    method: "POST".into(),
                    target: path.into(),
                },
                ..request
            },
            response,
        }
    }

    #[test]
    fn calls_are_named_counted_and_have_a_status() {
        let request = message("application/grpc", framed(0, b"abc"), &[]);
        let body = [framed(1, b"x"), framed(0, b"")].concat();
        let trailers = [("grpc-status", "5"), ("grpc-message", "not%20here %zz")];
        let response = message("application/grpc+proto", body, &trailers);
        let call = call_of(&exchange(
            "/xai_api.Chat/GetCompletion",
            request,
            Some(response),
        ));
        assert_eq!(
            call,
            Some(GrpcCall {
                service: "xai_api.Chat".into(),
                method: "GetCompletion".into(),
                request_messages: 1,
                response_messages: 2,
                compressed_messages: 1,
                status: Some(5),
                message: Some("not here %zz".into()),
                complete: true,
            })
        );
    }

    #[test]
    fn the_status_is_found_wherever_it_stands() {
        let in_headers = Message {
            headers: fields(&[("content-type", "application/grpc"), ("grpc-status", "16")]),
            ..Message::default()
        };
        let web = [framed(0, b"m"), framed(0x80, b"grpc-status:7\r\n")].concat();
        let in_body = message("application/grpc-web+proto", web, &[]);
        for (response, status, messages) in [(in_headers, 16, 0), (in_body, 7, 1)] {
            let request = message("application/grpc", Vec::new(), &[]);
            let call = call_of(&exchange("/prefix/a.B/C", request, Some(response))).unwrap();
            assert_eq!(
                (call.status, call.response_messages),
                (Some(status), messages)
            );
            assert_eq!((call.service.as_str(), call.method.as_str()), ("a.B", "C"));
        }
    }

    #[test]
    fn what_is_missing_is_not_counted() {
        let mut cut = message("application/grpc", framed(0, b"abcdef"), &[]);
        cut.body.bytes.truncate(8);
        let mut holed = message("application/grpc", framed(0, b"abcdef").repeat(2), &[]);
        holed.body.gaps = vec![11];
        for (request, messages) in [(cut, 0), (holed, 1)] {
            let call = call_of(&exchange("/a.B/C", request, None)).unwrap();
            assert_eq!((call.request_messages, call.complete), (messages, false));
            assert_eq!(call.status, None);
        }
        assert_eq!(
            call_of(&exchange(
                "/",
                message("application/json", vec![], &[]),
                None
            )),
            None
        );
        let other = message("application/grpcish", vec![], &[]);
        assert_eq!(call_of(&exchange("/", other, None)), None);
    }

    proptest! {
        #[test]
        fn any_split_counts_the_same(
            messages in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)), 0..6),
            end in any::<prop::sample::Index>(),
            size in 1..20_usize,
        ) {
            let mut bytes: Vec<u8> = messages.iter().flat_map(|(flags, m)| framed(*flags, m)).collect();
            bytes.truncate(end.index(bytes.len() + 1));
            let mut whole = Counter::default();
            whole.push(&bytes);
            let mut split = Counter::default();
            bytes.chunks(size).for_each(|piece| split.push(piece));
            prop_assert_eq!(split, whole);
        }
    }
}
