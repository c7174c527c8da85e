//! The Agent2Agent protocol, version 1 and 0.3: what its messages are about.
//!
//! Its JSON-RPC binding names the operations of the service (`SendMessage`; `message/send` in 0.3), its REST
//! binding has paths for them (`/message:send`, section 11 of the specification; `/v1/message:send` in
//! 0.3). An agent describes itself in `/.well-known/agent-card.json`.

use agentsight_model::RpcTask;
use serde_json::Value;

use crate::rpc::{Asked, Reply};

/// Operations of version 1.
const OPERATIONS: &[&str] = &[
    "CancelTask",
    "CreateTaskPushNotificationConfig",
    "DeleteTaskPushNotificationConfig",
    "GetExtendedAgentCard",
    "GetTask",
    "GetTaskPushNotificationConfig",
    "ListTaskPushNotificationConfigs",
    "ListTasks",
    "SendMessage",
    "SendStreamingMessage",
    "SubscribeToTask",
];

/// Methods of version 0.3 that no other protocol has.
const METHODS: &[&str] = &[
    "agent/getAuthenticatedExtendedCard",
    "message/send",
    "message/stream",
    "tasks/pushNotificationConfig/delete",
    "tasks/pushNotificationConfig/get",
    "tasks/pushNotificationConfig/list",
    "tasks/pushNotificationConfig/set",
    "tasks/resubscribe",
];

/// Methods of version 0.3 that MCP has, too, with other parameters.
const SHARED_METHODS: &[&str] = &["tasks/cancel", "tasks/get"];

/// What the states of version 1 begin with.
const STATE_PREFIX: &str = "TASK_STATE_";

/// Whether a request of JSON-RPC is one of A2A.
#[must_use]
pub fn is_request(method: &str, params: &Value) -> bool {
    OPERATIONS.contains(&method)
        || METHODS.contains(&method)
        || SHARED_METHODS.contains(&method)
            && params.get("id").is_some()
            && params.get("taskId").is_none()
}

/// The operation that a request of the REST binding asks for, by its method and path.
#[must_use]
pub fn rest_operation(method: &str, path: &str) -> Option<&'static str> {
    let mut end = path.trim_end_matches('/').rsplit('/');
    let (last, before) = (end.next()?, end.next().unwrap_or_default());
    Some(match (method, last) {
        ("POST", "message:send") => "SendMessage",
        ("POST", "message:stream") => "SendStreamingMessage",
        ("POST", last) if before == "tasks" && last.ends_with(":cancel") => "CancelTask",
        ("GET" | "POST", last) if before == "tasks" && last.ends_with(":subscribe") => {
            "SubscribeToTask"
        }
        ("GET", "agent-card.json" | "agent.json") if before == ".well-known" => "GetAgentCard",
        _ => return None,
    })
}

/// What a request says.
pub(crate) fn asked(params: &Value) -> Asked {
    let message = params.get("message").unwrap_or(params);
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let task = RpcTask {
        id: text(message, "taskId").or_else(|| text(params, "id")),
        context: text(message, "contextId"),
        state: None,
    };
    Asked {
        task: (task != RpcTask::default()).then_some(task),
        ..Asked::default()
    }
}

/// What a result, or an event of a stream, says.
pub(crate) fn reply(result: &Value) -> Reply {
    let task = task_of(result);
    let failed = task.as_ref().and_then(|task| task.state.as_deref());
    Reply {
        is_error: matches!(failed, Some("failed" | "rejected")),
        task,
        ..Reply::default()
    }
}

/// The task that a result is about: a task, an update of one, or a message.
fn task_of(result: &Value) -> Option<RpcTask> {
    // Version 1 wraps each kind in a member of its name.
    let wrapped = ["task", "statusUpdate", "artifactUpdate", "message", "msg"];
    let inner = wrapped.iter().find_map(|name| result.get(name));
    let value = inner.filter(|inner| inner.is_object()).unwrap_or(result);
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let state = value.get("status").and_then(|status| status.get("state"));
    let is_task = state.is_some() && text("taskId").is_none();
    let task = RpcTask {
        id: text("taskId")
            .or_else(|| text("id").filter(|_| is_task))
            .map(str::to_owned),
        context: text("contextId").map(str::to_owned),
        state: state.and_then(Value::as_str).map(plain_state),
    };
    (task != RpcTask::default()).then_some(task)
}

fn plain_state(state: &str) -> String {
    match state.strip_prefix(STATE_PREFIX) {
        Some(state) => state.to_ascii_lowercase().replace('_', "-"),
        None => state.to_owned(),
    }
}

/// Adds what a later message says about a task.
pub fn update(task: &mut Option<RpcTask>, later: Option<RpcTask>) {
    let Some(later) = later else {
        return;
    };
    let task = task.get_or_insert_default();
    task.id = later.id.or(task.id.take());
    task.context = later.context.or(task.context.take());
    task.state = later.state.or(task.state.take());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_versions_tell_the_task() {
        let expected = Some(RpcTask {
            id: Some("t".into()),
            context: Some("c".into()),
            state: Some("input-required".into()),
        });
        for result in [
            json!({"kind": "task", "id": "t", "contextId": "c", "status": {"state": "input-required"}}),
            json!({"kind": "status-update", "taskId": "t", "contextId": "c",
                "status": {"state": "input-required"}, "final": true}),
            json!({"task": {"id": "t", "contextId": "c",
                "status": {"state": "TASK_STATE_INPUT_REQUIRED"}}}),
            json!({"statusUpdate": {"taskId": "t", "contextId": "c",
                "status": {"state": "TASK_STATE_INPUT_REQUIRED"}}}),
        ] {
            assert_eq!(reply(&result).task, expected, "{result}");
        }
        assert_eq!(reply(&json!({"message": {"parts": []}})).task, None);
        assert!(reply(&json!({"task": {"status": {"state": "TASK_STATE_FAILED"}}})).is_error);
    }

    #[test]
    fn later_messages_add_to_a_task() {
        let mut task = asked(&json!({"message": {"contextId": "c"}})).task;
        update(
            &mut task,
            reply(&json!({"id": "t", "status": {"state": "working"}})).task,
        );
        update(
            &mut task,
            reply(&json!({"taskId": "t", "status": {"state": "completed"}})).task,
        );
        update(&mut task, None);
        let task = task.unwrap();
        assert_eq!(task.context.as_deref(), Some("c"));
        assert_eq!(task.state.as_deref(), Some("completed"));
    }

    #[test]
    fn paths_of_the_rest_binding_are_known() {
        for (method, path, expected) in [
            ("POST", "/v1/message:send", Some("SendMessage")),
            (
                "POST",
                "/tenant/message:stream",
                Some("SendStreamingMessage"),
            ),
            ("POST", "/v1/tasks/42:cancel", Some("CancelTask")),
            ("GET", "/.well-known/agent-card.json", Some("GetAgentCard")),
            ("GET", "/v1/message:send", None),
            ("POST", "/tasks/42", None),
            ("POST", "", None),
        ] {
            assert_eq!(rest_operation(method, path), expected, "{method} {path}");
        }
    }
}
