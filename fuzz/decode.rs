//! What the fuzz targets of `crates/decode` do with their input. `cargo test` replays the corpora with the
//! same code (`crates/decode/tests/fuzz_corpus.rs`).
//!
//! Transports are fed whole and in pieces, and both must come to the same. What providers read must be
//! written and read again without a change.

use std::fmt::Debug;

use agentsight_decode::http::{
    Body, Connection, Exchange, Flaw, Limits, Message, StartLine, Summary, event_stream, grpc,
    multipart, sse,
};
use agentsight_decode::llm;
use agentsight_decode::redact::Redactor;
use agentsight_decode::rpc;
use agentsight_model::{Direction, KTime, LlmCall, ProcessKey};

/// A target: its name, and what it does with any bytes.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every target. Each has a file in `fuzz_targets` and a folder in `corpus`.
pub(crate) const TARGETS: &[Target] = &[
    ("http1", http1),
    ("http2", http2),
    ("hpack", hpack),
    ("websocket", websocket),
    ("sse", sse),
    ("event_stream", event_stream),
    ("multipart", multipart),
    ("grpc", grpc),
    ("rpc", rpc),
    ("llm_anthropic", |bytes| provider("/v1/messages", bytes)),
    ("llm_bedrock_converse", |bytes| {
        provider("/model/m/converse-stream", bytes)
    }),
    ("llm_bedrock_invoke", |bytes| {
        provider("/model/m/invoke", bytes)
    }),
    ("llm_cohere", |bytes| provider("/v2/chat", bytes)),
    ("llm_count_tokens", |bytes| {
        provider("/v1/messages/count_tokens", bytes)
    }),
    ("llm_embeddings", |bytes| provider("/v1/embeddings", bytes)),
    ("llm_gemini", |bytes| {
        provider("/v1beta/models/m:generateContent", bytes)
    }),
    ("llm_gemini_interactions", |bytes| {
        provider("/v1beta/interactions", bytes)
    }),
    ("llm_gemini_live", |bytes| {
        provider("/ws/BidiGenerateContent", bytes)
    }),
    ("llm_ollama", |bytes| provider("/api/chat", bytes)),
    ("llm_openai_audio", |bytes| {
        provider("/v1/audio/transcriptions", bytes)
    }),
    ("llm_openai_chat", |bytes| {
        provider("/v1/chat/completions", bytes)
    }),
    ("llm_openai_images", |bytes| {
        provider("/v1/images/edits", bytes)
    }),
    ("llm_openai_realtime", |bytes| {
        provider("/v1/realtime", bytes)
    }),
    ("llm_openai_responses", |bytes| {
        provider("/v1/responses", bytes)
    }),
];

/// Runs the target of that name.
pub(crate) fn run(name: &str, bytes: &[u8]) {
    for (own, target) in TARGETS {
        if *own == name {
            target(bytes);
        }
    }
}

/// Small limits, so that they are met.
fn limits() -> Limits {
    Limits {
        head_bytes: 4 << 10,
        body_bytes: 16 << 10,
        opaque_body_bytes: 1 << 10,
        decoded_bytes: 256 << 10,
        connection_bytes: 64 << 10,
        pending_requests: 8,
    }
}

/// Splits the input: the length of the sent part in two bytes, that part, and the received part.
fn sides(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = bytes.split_at_checked(2) else {
        return (bytes, &[]);
    };
    let sent = usize::from(u16::from_be_bytes([length[0], length[1]]));
    rest.split_at(sent.min(rest.len()))
}

/// What a connection comes to if its bytes come in pieces of `size`.
fn exchanges(opening: [&[u8]; 2], bytes: &[u8], size: usize) -> (Vec<Exchange>, Summary) {
    let (sent, received) = sides(bytes);
    let mut connection = Connection::new(limits());
    let mut out = Vec::new();
    for (direction, first, rest) in [
        (Direction::Sent, opening[0], sent),
        (Direction::Received, opening[1], received),
    ] {
        for piece in first.chunks(size).chain(rest.chunks(size)) {
            connection.push(direction, KTime(1), piece, &mut out);
        }
    }
    connection.finish(KTime(2), &mut out);
    (out, connection.summary())
}

/// Leaves out what depends on how a decompressor is fed: how much it puts out before it reports an error.
fn comparable((mut exchanges, summary): (Vec<Exchange>, Summary)) -> (Vec<Exchange>, Summary) {
    for exchange in &mut exchanges {
        let response = exchange.response.as_mut();
        for message in [Some(&mut exchange.request), response]
            .into_iter()
            .flatten()
        {
            let body = &mut message.body;
            let coding = body.info.encoding.as_deref().unwrap_or_default();
            let broken = matches!(body.flaw, Some(Flaw::Corrupt | Flaw::Limit));
            if coding.contains("zstd") || (!coding.is_empty() && broken) {
                *body = Body::default();
            }
        }
    }
    (exchanges, summary)
}

fn connection(opening: [&[u8]; 2], bytes: &[u8]) {
    let whole = comparable(exchanges(opening, bytes, usize::MAX));
    for exchange in &whole.0 {
        conversation(exchange);
    }
    for size in [1, 7] {
        assert_eq!(
            comparable(exchanges(opening, bytes, size)),
            whole,
            "pieces of {size}"
        );
    }
}

fn http1(bytes: &[u8]) {
    connection([b"POST /v1/messages ", b"HTTP/1.1 200 "], bytes);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn http2(bytes: &[u8]) {
    connection([PREFACE, b""], bytes);
}

/// Header blocks, each with its length before it, on streams of their own.
fn hpack(bytes: &[u8]) {
    let mut frames = Vec::new();
    let (mut rest, mut stream) = (bytes, 1_u32);
    while let Some((length, after)) = rest.split_first() {
        let (block, after) = after.split_at(usize::from(*length).min(after.len()));
        frames.extend_from_slice(&[0, 0, *length.min(&(block.len() as u8)), 1, 5]);
        frames.extend_from_slice(&stream.to_be_bytes());
        frames.extend_from_slice(block);
        rest = after;
        stream = stream.wrapping_add(2);
    }
    let sent = u16::try_from(frames.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let input = [&sent[..], &frames].concat();
    connection([PREFACE, b""], &input);
}

fn websocket(bytes: &[u8]) {
    let request = b"GET /v1/realtime HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let response = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    connection([request, response], bytes);
}

/// Runs a parser over the input whole and in pieces.
fn split<T: PartialEq + Debug>(bytes: &[u8], parse: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> T) {
    let whole = parse(&mut std::iter::once(bytes));
    for size in [1, 7] {
        assert_eq!(parse(&mut bytes.chunks(size)), whole, "pieces of {size}");
    }
}

fn sse(bytes: &[u8]) {
    split(bytes, |pieces| {
        let mut parser = sse::Parser::with_limit(256);
        let mut out = Vec::new();
        pieces.for_each(|piece| parser.push(piece, &mut out));
        let dropped = parser.dropped_count();
        (out, dropped, parser.finish())
    });
}

fn rpc(bytes: &[u8]) {
    split(bytes, |pieces| {
        let mut decoder = rpc::Decoder::with_limit(256);
        let mut out = Vec::new();
        for piece in pieces {
            decoder.push(KTime(1), piece, &mut out);
            assert!(decoder.buffered_bytes() <= 128 << 10);
        }
        decoder.finish(KTime(1), &mut out);
        (out, decoder.counts(), decoder.verdict())
    });
}

fn event_stream(bytes: &[u8]) {
    split(bytes, |pieces| {
        let mut parser = event_stream::Parser::default();
        let mut out = Vec::new();
        pieces.for_each(|piece| parser.push(piece, &mut out));
        (out, parser.dropped_count(), parser.is_inside())
    });
}

fn multipart(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let boundary = multipart::boundary_of(&text).unwrap_or_else(|| "b0".to_owned());
    split(bytes, |pieces| {
        let mut parser = multipart::Parser::new(&boundary);
        let mut out = Vec::new();
        pieces.for_each(|piece| parser.push(piece, &mut out));
        let dropped = parser.dropped_count();
        let names: Vec<_> = out
            .iter()
            .map(|part| (part.name(), part.filename()))
            .collect();
        (parser.finish(&mut out), out, dropped, names)
    });
}

fn grpc(bytes: &[u8]) {
    split(bytes, |pieces| {
        let mut counter = grpc::Counter::default();
        pieces.for_each(|piece| counter.push(piece));
        counter
    });
}

/// An exchange with a provider: one byte that says in which form the answer comes, the request's body, a
/// zero, and the answer's.
fn provider(path: &str, bytes: &[u8]) {
    const FORMS: [&str; 5] = [
        "application/json",
        "text/event-stream",
        "application/x-ndjson",
        "application/vnd.amazon.eventstream",
        "audio/mpeg",
    ];
    let Some((selector, rest)) = bytes.split_first() else {
        return;
    };
    let end = rest
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(rest.len());
    let (request, response) = rest.split_at(end);
    let response = response.get(1..).unwrap_or_default();
    let form = FORMS[usize::from(*selector) % FORMS.len()];
    let is_form = request.starts_with(b"--");
    let asked = if is_form {
        "multipart/form-data; boundary=b0"
    } else {
        FORMS[0]
    };
    let is_socket = path.contains("/ws/") || path.ends_with("/realtime");
    let start = StartLine::Request {
        method: "POST".to_owned(),
        target: path.to_owned(),
    };
    let status = if *selector < 128 { 200 } else { 429 };
    let reason = String::new();
    let exchange = Exchange {
        transport: if is_socket { "websocket" } else { "http/1.1" },
        scheme: "https",
        requests_from: Direction::Sent,
        request: message(start, asked, request),
        response: Some(message(
            StartLine::Response { status, reason },
            form,
            response,
        )),
    };
    conversation(&exchange);
}

fn message(start: StartLine, media_type: &str, body: &[u8]) -> Message {
    let mut message = Message {
        start,
        ..Message::default()
    };
    message.headers.push("content-type", media_type);
    message.body.bytes = body.to_vec();
    message.body.info.bytes = body.len() as u64;
    message.body.info.complete = true;
    message
}

fn conversation(exchange: &Exchange) {
    let process = ProcessKey {
        tgid: 1,
        start_ns: 1,
    };
    let Some(mut call) = llm::decode(exchange, process, "llm-1") else {
        return;
    };
    assert!(call.complete || call.error.is_some());
    Redactor::new([7; 32]).call(&mut call);
    let written = serde_json::to_string(&call).expect("a call can be written");
    let read: LlmCall = serde_json::from_str(&written).expect("a call can be read");
    assert_eq!(read, call);
}
