//! JSON-RPC 2.0 as it goes through a pipe, a socket or the body of an HTTP message.
//!
//! A [`Decoder`] takes one direction of a conversation in runs of any size and puts out its [`Message`]s. It
//! reads both framings in use: a line for each message (MCP over standard input and output) and a header
//! with `Content-Length` (Language Server Protocol, section "Base Protocol"). What is no message, such as a
//! server's log on the same pipe, is passed over and counted; a stream without any is given up early.
//!
//! ```
//! use agentsight_decode::rpc::{Content, Decoder};
//! use agentsight_model::KTime;
//!
//! let mut decoder = Decoder::default();
//! let mut messages = Vec::new();
//! decoder.push(KTime(1), b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n", &mut messages);
//! assert!(matches!(&messages[0].content, Content::Request { method, .. } if method == "ping"));
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)
)]

mod framing;
mod message;
mod outline;
mod protocol;

use agentsight_model::KTime;

use framing::{Framer, Unit};
pub use message::{Content, Id, Message, parse_document, read_document};
pub(crate) use protocol::peer;
pub use protocol::{Asked, Protocol, Reply};

/// Bytes of a message that are read. Of a longer one head and tail are kept.
const MESSAGE_BYTES: usize = 16 << 20;

/// Bytes that are not JSON, before the first message, after which a stream is given up. Some servers print
/// a banner.
const UNDECIDED_TEXT_BYTES: u64 = 64 << 10;

/// Bytes of any kind, before the end of the first message, after which a stream is given up.
const UNDECIDED_BYTES: u64 = 1 << 20;

/// What is known of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    #[default]
    Undecided,
    /// It holds messages of JSON-RPC.
    JsonRpc,
    /// It holds something else, and is not looked at any more.
    Other,
}

/// What went through a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes seen.
    pub bytes: u64,
    /// Bytes known to be missing.
    pub missing_bytes: u64,
    /// Messages put out.
    pub messages: u64,
    /// Bytes that belong to no message, framing aside; all of them if the stream was given up.
    pub other_bytes: u64,
}

/// Reads one direction of a conversation.
#[derive(Debug)]
pub struct Decoder {
    framer: Framer,
    verdict: Verdict,
    counts: Counts,
    /// Bytes of lines that are no JSON.
    text_bytes: u64,
    /// Bytes of JSON that is no message.
    document_bytes: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(MESSAGE_BYTES)
    }
}

impl Decoder {
    /// A decoder that keeps head and tail only of messages longer than `message_bytes`.
    #[must_use]
    pub fn with_limit(message_bytes: usize) -> Self {
        Self {
            framer: Framer::new(message_bytes),
            verdict: Verdict::Undecided,
            counts: Counts::default(),
            text_bytes: 0,
            document_bytes: 0,
        }
    }

    /// Takes bytes that went by at `time`, and appends the messages that they complete to `out`.
    pub fn push(&mut self, time: KTime, bytes: &[u8], out: &mut Vec<Message>) {
        self.counts.bytes = self.counts.bytes.saturating_add(bytes.len() as u64);
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.verdict == Verdict::Other {
                return;
            }
            if let Some(unit) = self.framer.push(time, &mut rest) {
                self.take(time, unit, out);
            }
        }
        self.judge();
    }

    /// Notes that `missing` bytes are not there. The message that they are in comes out as far as it was
    /// seen.
    pub fn hole(&mut self, time: KTime, missing: u64, out: &mut Vec<Message>) {
        self.counts.missing_bytes = self.counts.missing_bytes.saturating_add(missing);
        if self.verdict != Verdict::Other
            && let Some(unit) = self.framer.hole(missing)
        {
            self.take(time, unit, out);
        }
    }

    /// Ends the stream: a message that has no end comes out as far as it was seen. One without a line feed
    /// is whole.
    pub fn finish(&mut self, time: KTime, out: &mut Vec<Message>) {
        if let Some(unit) = self.framer.finish() {
            self.take(time, unit, out);
        }
    }

    /// What the stream was found to be.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What went through.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let other_bytes = match self.verdict {
            Verdict::Other => self.counts.bytes,
            _ => self.text_bytes.saturating_add(self.document_bytes),
        };
        Counts {
            other_bytes,
            ..self.counts
        }
    }

    /// Bytes held in memory.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.framer.buffered_bytes()
    }

    fn take(&mut self, time: KTime, unit: Unit, out: &mut Vec<Message>) {
        let piece = match unit {
            Unit::Piece(piece) => piece,
            Unit::Text(count) => {
                self.text_bytes = self.text_bytes.saturating_add(count);
                self.judge();
                return;
            }
        };
        let total = piece.total_bytes();
        let before = out.len();
        // The same limit holds however the bytes are cut into runs.
        if self.verdict == Verdict::JsonRpc || total <= UNDECIDED_BYTES {
            message::read(piece, time, out);
        }
        let found = out.len().saturating_sub(before);
        if found == 0 {
            self.document_bytes = self.document_bytes.saturating_add(total);
            self.judge();
        } else {
            self.verdict = Verdict::JsonRpc;
            self.counts.messages = self.counts.messages.saturating_add(found as u64);
        }
    }

    /// Gives a stream up that has had its chance.
    fn judge(&mut self) {
        if self.verdict != Verdict::Undecided {
            return;
        }
        let (text, document) = self.framer.pending();
        let text = self.text_bytes.saturating_add(text);
        let all = text
            .saturating_add(self.document_bytes)
            .saturating_add(document);
        if text > UNDECIDED_TEXT_BYTES || all > UNDECIDED_BYTES {
            self.verdict = Verdict::Other;
            self.framer = Framer::new(0);
        }
    }
}

#[cfg(test)]
mod tests;
