//! Which protocol a message of JSON-RPC belongs to, and what protocols have in common.

use agentsight_model::{PartInfo, RpcPeer, RpcSide, RpcTask};
use serde_json::Value;

use crate::{a2a, mcp};

/// A protocol that is spoken over JSON-RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Model Context Protocol.
    Mcp,
    /// Agent2Agent.
    A2a,
    /// Language Server Protocol.
    Lsp,
    /// Anything else.
    JsonRpc,
}

/// What a request says beside its parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// What it is about.
    pub name: Option<String>,
    /// Revision of the protocol that it speaks, or offers to speak.
    pub revision: Option<String>,
    /// Who the client says that it is.
    pub client_info: Option<RpcPeer>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Token that reports of its progress will bear.
    pub progress_token: Option<Value>,
    /// The task that it belongs to.
    pub task: Option<RpcTask>,
}

/// What an answer says beside its result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// Revision of the protocol that was agreed on.
    pub revision: Option<String>,
    /// Who the server says that it is.
    pub server_info: Option<RpcPeer>,
    /// Whether the result says that it is an error.
    pub is_error: bool,
    /// The task that it belongs to.
    pub task: Option<RpcTask>,
}

impl Protocol {
    /// The protocol that a request or notification belongs to, if it tells.
    #[must_use]
    pub fn of(method: &str, params: &Value) -> Option<Self> {
        if a2a::is_request(method, params) {
            return Some(Self::A2a);
        }
        if is_lsp(method, params) {
            return Some(Self::Lsp);
        }
        if method == "initialize" {
            // Others have the method, too, and a version that is a number, or none.
            let version = params.get("protocolVersion");
            return Some(match version {
                Some(Value::String(_)) => Self::Mcp,
                _ => Self::JsonRpc,
            });
        }
        (mcp::side_of(method).is_some()).then_some(Self::Mcp)
    }

    /// The name used in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mcp => "mcp",
            Self::A2a => "a2a",
            Self::Lsp => "lsp",
            Self::JsonRpc => "json-rpc",
        }
    }

    /// Which side sends a request or notification with that method, where only one does.
    #[must_use]
    pub fn side_of(self, method: &str) -> Option<RpcSide> {
        match self {
            Self::Mcp => mcp::side_of(method),
            Self::A2a => Some(RpcSide::Client),
            Self::Lsp | Self::JsonRpc => (method == "initialize").then_some(RpcSide::Client),
        }
    }

    /// What a request says.
    #[must_use]
    pub fn asked(self, method: &str, params: &Value) -> Asked {
        match self {
            Self::Mcp => mcp::asked(method, params),
            Self::A2a => a2a::asked(params),
            Self::Lsp | Self::JsonRpc => Asked::default(),
        }
    }

    /// What an answer says.
    #[must_use]
    pub fn reply(self, method: &str, result: &Value) -> Reply {
        match self {
            Self::Mcp => mcp::reply(method, result),
            Self::A2a => a2a::reply(result),
            Self::Lsp | Self::JsonRpc => Reply::default(),
        }
    }

    /// Replaces content that is not text in parameters or a result by what it is, and notes it in `parts`.
    pub fn take_parts(self, value: &mut Value, parts: &mut Vec<PartInfo>) {
        match self {
            Self::Mcp | Self::A2a | Self::JsonRpc => crate::media::strip_typed(value, parts),
            Self::Lsp => {}
        }
    }
}

fn is_lsp(method: &str, params: &Value) -> bool {
    const PREFIXES: [&str; 4] = ["textDocument/", "workspace/", "window/", "$/"];
    let opens = method == "initialize"
        && ["processId", "rootUri", "rootPath"]
            .iter()
            .any(|name| params.get(name).is_some());
    opens || method == "initialized" || PREFIXES.iter().any(|prefix| method.starts_with(prefix))
}

/// A name with a version, as protocols write it.
pub(crate) fn peer(value: &Value) -> Option<RpcPeer> {
    let name = value.get("name")?.as_str()?;
    let version = value.get("version").and_then(Value::as_str);
    Some(RpcPeer {
        name: name.to_owned(),
        version: version.map(str::to_owned),
    })
}
