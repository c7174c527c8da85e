//! HTTP, as an observer of the plaintext of one connection sees it.
//!
//! A [`Connection`] takes runs of bytes in the order in which they went by, in either direction, and
//! puts out an [`Exchange`] for each request and its response. It works the same whether the watched
//! process is the client or the server, and it never answers, waits or fails: what it cannot read is
//! counted, and what is cut comes out as far as it was seen.
//!
//! ```
//! use agentsight_decode::http::{Connection, Limits};
//! use agentsight_model::{Direction, KTime};
//!
//! let mut connection = Connection::new(Limits::default());
//! let mut exchanges = Vec::new();
//! connection.push(Direction::Sent, KTime(1), b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", &mut exchanges);
//! connection.push(Direction::Received, KTime(2), b"HTTP/1.1 204 No Content\r\n\r\n", &mut exchanges);
//! assert_eq!(exchanges[0].host(), "a.example");
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)
)]

mod body;
mod chunked;
mod encoding;
mod gzip;
mod h1;
mod head;
mod message;
mod pairing;
pub mod sse;

use agentsight_model::{Direction, KTime, StreamEnd};

use h1::Http1;
pub use message::{Body, Exchange, Flaw, Headers, Message, StartLine};

/// How much one connection may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message's head; longer ones are passed over.
    pub head_bytes: usize,
    /// Bytes kept of a body. The rest is hashed and counted.
    pub body_bytes: usize,
    /// Bytes kept of a body that is no text by its media type (images, archives, ...).
    pub opaque_body_bytes: usize,
    /// Bytes that a content coding may put out for one body; decoding stops there.
    pub decoded_bytes: u64,
    /// Bytes of bodies held for one connection, beyond those of the messages being read.
    pub connection_bytes: usize,
    /// Requests that may wait for their responses; the oldest goes out without one.
    pub pending_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 256 << 10,
            body_bytes: 128 << 20,
            opaque_body_bytes: 64 << 10,
            decoded_bytes: 256 << 20,
            connection_bytes: 256 << 20,
            pending_requests: 128,
        }
    }
}

impl Limits {
    /// How much of the body of `message` to keep while `held` bytes are in memory.
    fn keep_for(&self, message: &Message, held: usize) -> usize {
        let limit = if is_opaque(&message.media_type()) {
            self.opaque_body_bytes
        } else {
            self.body_bytes
        };
        limit.min(self.connection_bytes.saturating_sub(held))
    }
}

/// Whether nothing but size and digest is of interest in a body of that type.
fn is_opaque(media_type: &str) -> bool {
    const KINDS: [&str; 4] = ["image/", "audio/", "video/", "font/"];
    const TYPES: [&str; 6] = [
        "application/gzip",
        "application/octet-stream",
        "application/x-gzip",
        "application/x-tar",
        "application/wasm",
        "application/zip",
    ];
    KINDS.iter().any(|kind| media_type.starts_with(kind)) || TYPES.contains(&media_type)
}

/// What went wrong first on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Bytes between messages are not HTTP, or are missing.
    #[error("lost step with the stream of messages")]
    OutOfStep,
    /// A body's framing is malformed or contradicts itself.
    #[error("the framing of a body is broken")]
    BrokenBody,
    /// More requests wait for responses than the limit.
    #[error("too many requests without a response")]
    TooManyPending,
}

/// What is known of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// `http/1.1`, the protocol that it went on with (`websocket`, `h2`, `tunnel`), or `unknown`.
    pub protocol: String,
    /// Exchanges put out.
    pub exchanges: u64,
    /// Bytes that the watched process sent.
    pub sent_bytes: u64,
    /// Bytes that the watched process received.
    pub received_bytes: u64,
    /// Bytes known to be missing.
    pub missing_bytes: u64,
    /// Bytes that were seen, but belong to nothing that was understood.
    pub undecoded_bytes: u64,
    /// What went wrong first.
    pub fault: Option<Fault>,
}

impl Summary {
    /// The same, as the fact that ends a stream.
    #[must_use]
    pub fn stream_end(&self) -> StreamEnd {
        StreamEnd {
            sent_bytes: self.sent_bytes,
            received_bytes: self.received_bytes,
            missing_bytes: self.missing_bytes,
            protocol: self.protocol.clone(),
            messages: self.exchanges,
            error: self.fault.map(|fault| fault.to_string()),
        }
    }
}

/// Decoder of one connection.
pub struct Connection {
    http1: Http1,
    summary: Summary,
}

impl Connection {
    /// A connection whose plaintext was inside TLS.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::with_scheme(limits, "https")
    }

    /// A connection without TLS.
    #[must_use]
    pub fn cleartext(limits: Limits) -> Self {
        Self::with_scheme(limits, "http")
    }

    fn with_scheme(limits: Limits, scheme: &'static str) -> Self {
        Self {
            http1: Http1::new(limits, scheme),
            summary: Summary::default(),
        }
    }

    /// Takes bytes that went by at `time`. Whatever they complete is appended to `out`.
    pub fn push(
        &mut self,
        direction: Direction,
        time: KTime,
        bytes: &[u8],
        out: &mut Vec<Exchange>,
    ) {
        let total = match direction {
            Direction::Sent => &mut self.summary.sent_bytes,
            Direction::Received => &mut self.summary.received_bytes,
        };
        *total = total.saturating_add(bytes.len() as u64);
        let before = out.len();
        let mut rest = bytes;
        self.http1.push(direction, time, &mut rest, out);
        // What follows a switch of protocols is counted until there is a decoder for it.
        self.undecoded(rest.len() as u64);
        self.count(before, out);
    }

    /// Notes that the next `missing` bytes of `direction` were not captured.
    pub fn hole(
        &mut self,
        direction: Direction,
        time: KTime,
        missing: u64,
        out: &mut Vec<Exchange>,
    ) {
        self.summary.missing_bytes = self.summary.missing_bytes.saturating_add(missing);
        let before = out.len();
        self.http1.hole(direction, time, missing, out);
        self.count(before, out);
    }

    /// Ends the connection at `time`: what is unfinished is put out as far as it was seen.
    pub fn finish(&mut self, time: KTime, out: &mut Vec<Exchange>) {
        let before = out.len();
        self.http1.finish(time, out);
        self.count(before, out);
    }

    /// What is known so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let recognised = self.http1.is_recognised();
        let protocol = match self.http1.switched() {
            Some(name) => name,
            None if recognised => "http/1.1",
            None => "unknown",
        };
        let skipped = self.http1.skipped_bytes();
        Summary {
            protocol: protocol.to_owned(),
            undecoded_bytes: self.summary.undecoded_bytes.saturating_add(skipped),
            fault: self.http1.fault(),
            ..self.summary.clone()
        }
    }

    /// Bytes of messages held in memory: what a caller bounds over all its connections, by finishing
    /// the largest.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.http1.buffered_bytes()
    }

    fn undecoded(&mut self, count: u64) {
        self.summary.undecoded_bytes = self.summary.undecoded_bytes.saturating_add(count);
    }

    fn count(&mut self, before: usize, out: &[Exchange]) {
        let added = out.len().saturating_sub(before) as u64;
        self.summary.exchanges = self.summary.exchanges.saturating_add(added);
    }
}
