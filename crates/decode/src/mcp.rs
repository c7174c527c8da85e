//! The Model Context Protocol, revisions 2024-11-05 to 2026-07-28: what its messages are about.
//!
//! Until 2025-11-25 a conversation begins with `initialize`, which names both sides and the revision. From
//! 2026-07-28 on each request names revision and client in `_meta`, and each result the server. Method names
//! are those of `schema.ts` of each revision.

use agentsight_model::{RpcPeer, RpcSide};
use serde_json::Value;

use crate::rpc::{Asked, Reply, peer};

/// Methods of requests and notifications that clients send.
const FROM_CLIENT: &[&str] = &[
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "notifications/initialized",
    "notifications/roots/list_changed",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tools/call",
    "tools/list",
];

/// Methods of requests and notifications that servers send.
const FROM_SERVER: &[&str] = &[
    "elicitation/create",
    "notifications/elicitation/complete",
    "notifications/message",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/subscriptions/acknowledged",
    "notifications/tools/list_changed",
    "roots/list",
    "sampling/createMessage",
];

/// The notification that reports progress.
pub const PROGRESS: &str = "notifications/progress";

/// The notification that takes a request back.
pub const CANCELLED: &str = "notifications/cancelled";

/// Which side sends a request or notification with that method. `None` for methods of both sides (`ping`,
/// progress, tasks) and for those of no revision.
#[must_use]
pub fn side_of(method: &str) -> Option<RpcSide> {
    if FROM_CLIENT.contains(&method) {
        Some(RpcSide::Client)
    } else if FROM_SERVER.contains(&method) {
        Some(RpcSide::Server)
    } else {
        None
    }
}

/// What a request or notification says.
pub(crate) fn asked(method: &str, params: &Value) -> Asked {
    let meta = params.get("_meta");
    let in_meta = |name| meta.and_then(|meta| meta.get(name));
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let opens = method == "initialize";
    let revision = in_meta("io.modelcontextprotocol/protocolVersion");
    let client = in_meta("io.modelcontextprotocol/clientInfo");
    Asked {
        name: name_of(method, params),
        revision: text(revision.or_else(|| params.get("protocolVersion").filter(|_| opens))),
        client_info: client
            .or_else(|| params.get("clientInfo").filter(|_| opens))
            .and_then(peer),
        traceparent: text(in_meta("traceparent")),
        progress_token: in_meta("progressToken").cloned(),
        task: None,
    }
}

/// The tool, prompt, resource, level or task that a request is about.
fn name_of(method: &str, params: &Value) -> Option<String> {
    let member = match method {
        "tools/call" | "prompts/get" => params.get("name"),
        "resources/read"
        | "resources/subscribe"
        | "resources/unsubscribe"
        | "notifications/resources/updated" => params.get("uri"),
        "completion/complete" => {
            let reference = params.get("ref")?;
            reference.get("name").or_else(|| reference.get("uri"))
        }
        "logging/setLevel" | "notifications/message" => params.get("level"),
        "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/update" => params.get("taskId"),
        _ => None,
    };
    member.and_then(Value::as_str).map(str::to_owned)
}

/// What a result says.
pub(crate) fn reply(method: &str, result: &Value) -> Reply {
    let opens = method == "initialize";
    let revision = result.get("protocolVersion").filter(|_| opens);
    Reply {
        revision: revision.and_then(Value::as_str).map(str::to_owned),
        server_info: server_info(result, opens || method == "server/discover"),
        is_error: result.get("isError") == Some(&Value::Bool(true)),
        task: None,
    }
}

fn server_info(result: &Value, names: bool) -> Option<RpcPeer> {
    let meta = result.get("_meta");
    meta.and_then(|meta| meta.get("io.modelcontextprotocol/serverInfo"))
        .or_else(|| result.get("serverInfo").filter(|_| names))
        .and_then(peer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rpc::Protocol;

    #[test]
    fn what_a_request_is_about_is_named() {
        let cases = [
            (
                "tools/call",
                json!({"name": "read", "arguments": {}}),
                Some("read"),
            ),
            ("prompts/get", json!({"name": "review"}), Some("review")),
            (
                "resources/read",
                json!({"uri": "file:///a"}),
                Some("file:///a"),
            ),
            (
                "completion/complete",
                json!({"ref": {"type": "ref/prompt", "name": "p"}, "argument": {}}),
                Some("p"),
            ),
            ("tools/list", json!({"name": "no"}), None),
            ("tools/call", json!([1]), None),
            ("tools/call", Value::Null, None),
        ];
        for (method, params, expected) in cases {
            assert_eq!(asked(method, &params).name.as_deref(), expected, "{method}");
        }
    }

    #[test]
    fn both_eras_name_revision_and_sides() {
        let params =
            json!({"protocolVersion": "2025-06-18", "clientInfo": {"name": "c", "version": "1"}});
        let old = asked("initialize", &params);
        let params = json!({"_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
            "traceparent": "00-a-b-01", "progressToken": 7,
        }});
        let new = asked("tools/list", &params);
        assert_eq!(old.revision.as_deref(), Some("2025-06-18"));
        assert_eq!(new.revision.as_deref(), Some("2026-07-28"));
        assert_eq!(old.client_info, new.client_info);
        assert_eq!(new.traceparent.as_deref(), Some("00-a-b-01"));
        assert_eq!(new.progress_token, Some(json!(7)));

        let result = json!({"protocolVersion": "2025-06-18", "serverInfo": {"name": "s"}});
        let reply_old = reply("initialize", &result);
        assert_eq!(reply_old.server_info.unwrap().name, "s");
        let result = json!({"_meta": {"io.modelcontextprotocol/serverInfo": {"name": "s"}}});
        assert_eq!(reply("tools/call", &result).server_info.unwrap().name, "s");
        assert!(reply("tools/call", &json!({"isError": true})).is_error);
        // A tool may return what looks like a server's name.
        let result = json!({"serverInfo": {"name": "evil"}});
        assert_eq!(reply("tools/call", &result).server_info, None);
    }

    #[test]
    fn protocols_are_told_apart() {
        let cases = [
            (
                "initialize",
                json!({"protocolVersion": "2025-11-25"}),
                Some(Protocol::Mcp),
            ),
            (
                "initialize",
                json!({"protocolVersion": 1}),
                Some(Protocol::JsonRpc),
            ),
            (
                "initialize",
                json!({"processId": 1, "capabilities": {}}),
                Some(Protocol::Lsp),
            ),
            ("textDocument/didOpen", json!({}), Some(Protocol::Lsp)),
            ("tools/call", json!({}), Some(Protocol::Mcp)),
            ("sampling/createMessage", json!({}), Some(Protocol::Mcp)),
            ("message/send", json!({"message": {}}), Some(Protocol::A2a)),
            ("SendMessage", json!({"message": {}}), Some(Protocol::A2a)),
            ("tasks/get", json!({"id": "t"}), Some(Protocol::A2a)),
            ("tasks/get", json!({"taskId": "t"}), None),
            ("ping", Value::Null, None),
        ];
        for (method, params, expected) in cases {
            assert_eq!(Protocol::of(method, &params), expected, "{method} {params}");
        }
    }
}
