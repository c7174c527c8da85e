//! Ground truth: what the server received and sent.

use std::net::SocketAddr;

use agentsight_model::Usage;
use sha2::{Digest, Sha256};

use crate::Dialect;

/// One request for a model's answer, and that answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Number of the connection, from 1.
    pub connection: u64,
    /// The client's address; its port names the client's socket.
    pub peer: SocketAddr,
    /// How they spoke.
    pub dialect: Dialect,
    /// Request path and query.
    pub target: String,
    /// The model that was asked for.
    pub model: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Tool results that the request carried.
    pub tool_results: usize,
    /// Index of the script's turn that answered.
    pub turn: usize,
    /// The request's body.
    pub request: Body,
    /// Status of the response; absent where the answer was no HTTP.
    pub status: Option<u16>,
    /// The response's body, as far as it was sent.
    pub response: Body,
    /// How the response ended.
    pub outcome: Outcome,
    /// Text of the turn: whole even if the response was cut short, empty if something else was sent instead.
    pub text: String,
    /// Tool calls of the turn, likewise.
    pub tool_calls: Vec<CalledTool>,
    /// Usage of the turn, likewise. Input includes what was read from and written to a cache.
    pub usage: Usage,
    /// Why the model stopped, as the dialect spells it.
    pub finish_reason: String,
}

/// A tool call as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct CalledTool {
    /// Id of the call; absent in dialects that have none.
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// Its arguments.
    pub arguments: serde_json::Value,
}

/// A body, transfer and content coding removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Bytes of the decoded body.
    pub bytes: u64,
    /// SHA-256 of the decoded body, in hexadecimal.
    pub sha256: String,
    /// Content coding that it travelled in; absent if none.
    pub encoding: Option<String>,
    /// Bytes that travelled, before the content coding was removed.
    pub wire_bytes: u64,
    /// The decoded body; absent once the server keeps more than it should of other exchanges.
    pub content: Option<Vec<u8>>,
}

impl Body {
    pub(crate) fn new(content: Vec<u8>, encoding: Option<&str>, wire_bytes: usize) -> Self {
        Self {
            bytes: content.len() as u64,
            sha256: sha256_hex(&content),
            encoding: encoding.map(str::to_owned),
            wire_bytes: wire_bytes as u64,
            content: Some(content),
        }
    }

    /// The kept body as text; empty if it is not kept or not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.content
            .as_deref()
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Whole.
    Complete,
    /// Whole for HTTP, but without the dialect's end.
    Truncated,
    /// The connection was broken in the middle.
    Cut,
    /// It never ended.
    NoEnd,
    /// It was no HTTP.
    Garbage,
    /// The client was gone before the end.
    ClientGone,
}

fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_knows_its_hash() {
        let body = Body::new(b"abc".to_vec(), Some("gzip"), 23);
        assert_eq!(
            body.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!((body.bytes, body.wire_bytes, body.as_str()), (3, 23, "abc"));
    }
}
