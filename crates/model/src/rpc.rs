//! Requests between programs over JSON-RPC 2.0: the Model Context Protocol (MCP), the Agent2Agent protocol
//! (A2A), and whatever else speaks it over a pipe.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Channel, KTime, PartInfo, ProcessKey};

/// Which end of a conversation. The client is who set it up: in MCP the host of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RpcSide {
    /// The one that set the conversation up.
    #[default]
    Client,
    /// The one that was started or called.
    Server,
}

impl RpcSide {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How a request went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RpcStatus {
    /// It was answered.
    Ok,
    /// It was answered by an error, or by a result that says it is one (`isError` of MCP).
    Error,
    /// Whoever asked took it back.
    Cancelled,
    /// No answer was seen.
    #[default]
    Unanswered,
    /// It asks for no answer.
    Notification,
}

impl RpcStatus {
    /// The name used in JSON and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Unanswered => "unanswered",
            Self::Notification => "notification",
        }
    }
}

/// One request and its answer, or one notification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RpcCall {
    /// Unique within the session: `mcp-<n>`, `a2a-<n>` or `rpc-<n>`.
    pub id: String,
    /// `mcp`, `a2a` or `json-rpc`.
    pub protocol: String,
    /// Revision of the protocol that both sides agreed on, such as `2025-11-25`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The method, such as `tools/call`.
    pub method: String,
    /// What it is about: the tool, the prompt, the resource's URI, the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The client's process; absent if it is not watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ProcessKey>,
    /// The server's process; absent if it is not watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ProcessKey>,
    /// Who asked.
    pub initiator: RpcSide,
    /// `pipe`, `unix`, `pty`, `streamable-http`, `sse`, `http-json-rpc` or `http-rest`.
    pub transport: String,
    /// Scheme, host and path with secrets replaced; of a pipe or socket, its kind and inode number.
    pub endpoint: String,
    /// The request's id, a string or a number; absent for a notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Value>,
    /// What was asked.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    /// What was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The error that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RpcError>,
    /// How it went.
    pub status: RpcStatus,
    /// When the first byte of the request went by.
    pub started: KTime,
    /// When the last byte of the answer went by; of what has none, when that was clear.
    pub ended: KTime,
    /// The request as it was sent.
    pub request: RpcBody,
    /// The answer as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<RpcBody>,
    /// Whether the request, and the answer if it asks for one, were seen whole.
    pub complete: bool,
    /// Who the client says that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_info: Option<RpcPeer>,
    /// Who the server says that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_info: Option<RpcPeer>,
    /// W3C trace context that came with the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Reports of progress that came before the answer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub progress_count: u64,
    /// The task of A2A that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<RpcTask>,
    /// Content that is not text, of request and answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartInfo>,
}

/// Facts about one message, without its framing and before redaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcBody {
    /// Its length, in bytes.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal; of what was seen, if that is not all.
    pub sha256: String,
    /// Whether all of it was seen and kept.
    pub complete: bool,
}

/// An error of JSON-RPC 2.0 (section 5.1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RpcError {
    /// The code.
    pub code: i64,
    /// The message.
    pub message: String,
    /// More of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Who one side says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RpcPeer {
    /// Its name.
    pub name: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A task of A2A.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcTask {
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The conversation that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Its state, in the words of version 0.3: `submitted`, `working`, `completed`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// One direction of a conversation over a pipe, a unix socket or a terminal ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelEnd {
    /// The end that sends.
    #[serde(flatten)]
    pub channel: Channel,
    /// What was spoken: `mcp`, `a2a`, `lsp` or `json-rpc`.
    pub protocol: String,
    /// Bytes seen.
    pub bytes: u64,
    /// Bytes known to be missing.
    pub missing_bytes: u64,
    /// Messages of JSON-RPC.
    pub messages: u64,
    /// Bytes that belong to none, such as what a server logs.
    pub other_bytes: u64,
    /// Answers whose request was not seen.
    pub unmatched_count: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
