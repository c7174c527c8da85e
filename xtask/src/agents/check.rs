//! Compares a session document with the kit's truth: what was said, what was done, and which tool call did
//! it.

use serde_json::Value;

use super::{calls, effects};

/// What there is to know about one run.
pub(super) struct Evidence {
    /// What the server received and sent, one entry each.
    pub(super) truth: Vec<Value>,
    /// What the model said and what happens because of it.
    pub(super) scenario: Value,
    /// What `agentsight show --json` prints.
    pub(super) document: Value,
    /// The folder that the agent worked in.
    pub(super) work: String,
    /// Exit code of the agent.
    pub(super) exit_code: i64,
}

/// How many of how many are as they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) good: usize,
    pub(super) total: usize,
}

impl Share {
    pub(super) fn add(&mut self, is_good: bool) {
        self.total += 1;
        self.good += usize::from(is_good);
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{}/{}", self.good, self.total))
    }
}

/// How a run compares.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Conversations with the model.
    pub(super) calls: Share,
    /// Tool calls, joined to what they did.
    pub(super) links: Share,
    /// What the scenario makes happen.
    pub(super) effects: Share,
    /// What is missing or otherwise than the truth.
    pub(super) differences: Vec<String>,
}

pub(super) fn compare(evidence: &Evidence) -> Comparison {
    let mut comparison = Comparison::default();
    calls::compare(evidence, &mut comparison);
    effects::compare_links(evidence, &mut comparison);
    effects::compare_effects(evidence, &mut comparison);
    compare_end(evidence, &mut comparison.differences);
    compare_coverage(&evidence.document, &mut comparison.differences);
    comparison
}

fn compare_end(evidence: &Evidence, differences: &mut Vec<String>) {
    let session = evidence.document.get("session").unwrap_or(&Value::Null);
    if text(session, "status") != "ended" {
        differences.push(format!("the session is {}", text(session, "status")));
    }
    let seen = session.get("exit_code").and_then(Value::as_i64);
    if seen != Some(evidence.exit_code) {
        let expected = evidence.exit_code;
        differences.push(format!("exit code {seen:?} instead of {expected}"));
    }
}

/// Nothing was lost, and nothing vanished uncounted.
fn compare_coverage(document: &Value, differences: &mut Vec<String>) {
    let classes = document.pointer("/coverage/events");
    let Some(classes) = classes
        .and_then(Value::as_object)
        .filter(|map| !map.is_empty())
    else {
        differences.push("no counters of events".to_owned());
        return;
    };
    for (class, counters) in classes {
        let dropped: u64 = counters
            .get("dropped")
            .and_then(Value::as_object)
            .map_or(0, |reasons| {
                reasons.values().filter_map(Value::as_u64).sum()
            });
        let count = |name| counters.get(name).and_then(Value::as_u64).unwrap_or(0);
        if dropped > 0 {
            differences.push(format!("{class}: {dropped} events dropped"));
        }
        if count("produced") != count("stored") + dropped {
            differences.push(format!("{class}: events vanished: {counters}"));
        }
    }
}

pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A run in which everything is as it should be.
    pub(in crate::agents) fn evidence() -> Evidence {
        Evidence {
            truth: vec![
                json!({ "type": "server" }),
                json!({ "type": "request", "id": 1, "api": "openai-chat", "body_sha256": "q1", "body_bytes": 3 }),
                json!({ "type": "response", "id": 1, "status": 429, "body_sha256": "a0", "outcome": "complete",
                        "fault": { "status": 429 } }),
                json!({ "type": "request", "id": 2, "api": "openai-chat", "body_sha256": "q1", "body_bytes": 3,
                        "turn": { "thread": "main", "index": 0 } }),
                json!({ "type": "response", "id": 2, "status": 200, "body_sha256": "a1", "body_bytes": 9,
                        "outcome": "complete", "text": "hi", "reasoning": "hm", "finish": "tool",
                        "tool_calls": [
                            { "id": "t1", "name": "bash", "args": { "command": "ls -l > out" } },
                            { "id": "t2", "name": "read", "args": { "file": "in" } },
                        ],
                        "usage": { "input": 5, "cached": 2, "cache_write": 0, "output": 3, "reasoning": 1 } }),
                json!({ "type": "request", "id": 3, "body_sha256": "models" }),
                json!({ "type": "response", "id": 3, "status": 200, "body_sha256": "list" }),
            ],
            scenario: json!({
                "turns": [{ "tools": [{ "shell": "ls -l > out" }, { "read": "in" }] }],
                "effects": [
                    { "kind": "exec", "argv": ["ls", "-l"], "asked": true },
                    { "kind": "file_write", "path": "/w/out", "asked": true },
                    { "kind": "file_read", "path": "/w/in", "asked": true },
                    { "kind": "connect", "address": "127.0.0.1:9", "asked": false },
                ],
            }),
            document: document(),
            work: "/w".to_owned(),
            exit_code: 0,
        }
    }

    fn document() -> Value {
        json!({
            "session": { "status": "ended", "exit_code": 0 },
            "llm_calls": [
                { "id": "llm-1", "status": 429, "complete": true,
                  "request": { "body": { "sha256": "q1", "bytes": 3 } },
                  "response": { "body": { "sha256": "a0" } }, "error": { "kind": "x", "message": "y" } },
                { "id": "llm-2", "status": 200, "complete": true,
                  "request": { "body": { "sha256": "q1", "bytes": 3 } },
                  "response": { "body": { "sha256": "a1", "bytes": 9 }, "messages": [{ "parts": [
                      { "type": "reasoning", "content": "hm" }, { "type": "text", "content": "hi" },
                      { "type": "tool_call", "id": "t1", "name": "bash", "arguments": { "command": "ls -l > out" } },
                      { "type": "tool_call", "id": "t2", "name": "read", "arguments": { "file": "in" } },
                  ] }] },
                  "finish_reasons": ["tool_calls"],
                  "usage": { "input_tokens": 7, "output_tokens": 4, "cache_read_input_tokens": 2 } },
            ],
            "tool_calls": [
                { "id": "t1", "name": "bash", "kind": "shell", "arguments": { "command": "ls -l > out" },
                  "status": "ok", "actions": ["exec-1", "exec-2", "create-3"] },
                { "id": "t2", "name": "read", "kind": "file_read", "arguments": { "file": "in" },
                  "status": "ok", "actions": ["read-4"] },
            ],
            "processes": [{ "argv": ["/usr/bin/ls", "-l"] }],
            "actions": [
                { "id": "exec-1", "kind": "process.exec", "tool_call": "t1", "intent": "stated",
                  "attributes": { "process.command_args": ["sh", "-c", "ls -l > out"] } },
                { "id": "exec-2", "kind": "process.exec", "tool_call": "t1", "intent": "stated",
                  "attributes": { "process.command_args": ["/bin/ls", "-l"] } },
                { "id": "create-3", "kind": "file.create", "tool_call": "t1", "intent": "implied",
                  "attributes": { "file.path": "/w/out" } },
                { "id": "read-4", "kind": "file.read", "tool_call": "t2", "intent": "stated",
                  "attributes": { "file.path": "/w/in" } },
                { "id": "connect-5", "kind": "network.connect", "tool_call": "t1", "intent": "unstated",
                  "attributes": { "network.peer.address": "127.0.0.1", "network.peer.port": 9 } },
            ],
            "coverage": { "events": { "file": { "produced": 5, "stored": 5, "dropped": {} } } },
        })
    }

    #[test]
    fn an_equal_document_has_no_differences() {
        let comparison = compare(&evidence());
        assert_eq!(comparison.differences, Vec::<String>::new());
        let all = |total| Share { good: total, total };
        assert_eq!(comparison.calls, all(2));
        assert_eq!(comparison.links, all(2));
        assert_eq!(comparison.effects, all(4));
    }

    #[test]
    fn each_difference_is_named() {
        for (pointer, value, named) in [
            (
                "/llm_calls/1/request/body/sha256",
                json!("x"),
                "request 2 has no call",
            ),
            (
                "/llm_calls/1/response/body/sha256",
                json!("x"),
                "request 2 has no call",
            ),
            ("/llm_calls/0", json!({}), "request 1 has no call"),
            ("/llm_calls/1/complete", json!(false), "llm-2: not complete"),
            ("/llm_calls/1/usage/input_tokens", json!(5), "input tokens"),
            (
                "/llm_calls/1/usage/output_tokens",
                json!(null),
                "output tokens",
            ),
            (
                "/llm_calls/1/finish_reasons",
                json!(["stop"]),
                "finish reasons",
            ),
            (
                "/llm_calls/1/response/messages/0/parts/1/content",
                json!("ho"),
                "llm-2: text",
            ),
            (
                "/llm_calls/1/response/messages/0/parts/0/content",
                json!(""),
                "llm-2: reasoning",
            ),
            (
                "/llm_calls/1/response/messages/0/parts/2/name",
                json!("x"),
                "llm-2: tool calls",
            ),
            (
                "/tool_calls/0/arguments",
                json!({}),
                "tool call bash \"t1\" is missing",
            ),
            (
                "/tool_calls/0/id",
                json!("t9"),
                "tool call bash \"t1\" is missing",
            ),
            ("/tool_calls/0/status", json!("pending"), "has no result"),
            (
                "/tool_calls/0/actions",
                json!(["exec-2"]),
                "not joined: bash \"t1\"",
            ),
            (
                "/tool_calls/1/actions",
                json!([]),
                "not joined: read \"t2\"",
            ),
            (
                "/actions/1/attributes/process.command_args",
                json!(["ls"]),
                "not seen: {\"argv\"",
            ),
            (
                "/actions/1/tool_call",
                json!(null),
                "seen without its tool call: {\"argv\"",
            ),
            (
                "/actions/2/kind",
                json!("file.read"),
                "not seen: {\"asked\":true,\"kind\":\"file_write\"",
            ),
            (
                "/actions/1/intent",
                json!("unstated"),
                "asked for, and taken for",
            ),
            (
                "/actions/4/intent",
                json!("implied"),
                "not asked for, and taken for",
            ),
            (
                "/actions/4/attributes/network.peer.port",
                json!(8),
                "not seen: {\"address\"",
            ),
            (
                "/session/exit_code",
                json!(1),
                "exit code Some(1) instead of 0",
            ),
            (
                "/session/status",
                json!("interrupted"),
                "the session is interrupted",
            ),
            ("/coverage/events/file/stored", json!(4), "events vanished"),
            ("/coverage/events", json!({}), "no counters"),
        ] {
            let mut evidence = evidence();
            *evidence.document.pointer_mut(pointer).unwrap() = value;
            let differences = compare(&evidence).differences;
            assert!(
                differences
                    .iter()
                    .any(|difference| difference.contains(named)),
                "{pointer}: {differences:?}"
            );
        }
    }

    #[test]
    fn a_call_too_many_is_a_difference() {
        let mut evidence = evidence();
        let calls = evidence.document["llm_calls"].as_array_mut().unwrap();
        calls.push(json!({ "id": "llm-3" }));
        let differences = compare(&evidence).differences;
        assert_eq!(differences, ["llm-3: the server knows nothing of it"]);
    }
}
