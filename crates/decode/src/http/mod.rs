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
mod connection;
mod encoding;
pub mod event_stream;
pub mod grpc;
mod gzip;
mod h1;
mod h2;
mod head;
mod hunt;
mod message;
pub mod multipart;
mod pairing;
mod sniff;
pub mod sse;
mod websocket;

use agentsight_model::StreamEnd;

pub(crate) use chunked::take_front;
pub use connection::Connection;
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
            pending_requests: 256,
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
    /// A block of compressed header fields is malformed.
    #[error("header fields cannot be decompressed")]
    BrokenFields,
    /// More requests wait for responses than the limit.
    #[error("too many requests without a response")]
    TooManyPending,
}

/// What is known of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// `http/1.1`, `h2`, `websocket`, any other protocol that it went on with, `tunnel`, or `unknown`.
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
