//! Compares a session document with the kit's truth.

use std::collections::BTreeMap;

use serde_json::Value;

/// What the document lacks or has otherwise than the truth.
pub(super) fn compare(truth: &[Value], scenario: &Value, document: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    let calls = list(document, "llm_calls");
    compare_bodies("request", truth, calls, &mut differences);
    compare_bodies("response", truth, calls, &mut differences);
    for response in truth.iter().filter(|entry| is_answer(entry)) {
        compare_usage(response, calls, &mut differences);
        for tool_call in list(response, "tool_calls") {
            compare_tool_call(tool_call, list(document, "tool_calls"), &mut differences);
        }
    }
    for effect in list(scenario, "effects") {
        if !is_seen(effect, document) {
            differences.push(format!("not seen: {effect}"));
        }
    }
    differences
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A whole answer of the model; requests for lists of models and the like have no text.
fn is_answer(entry: &Value) -> bool {
    text(entry, "type") == "response"
        && entry.get("text").is_some()
        && text(entry, "outcome") == "complete"
}

/// Every body of a conversation is in the document as often as in the truth, by its hash.
fn compare_bodies(side: &str, truth: &[Value], calls: &[Value], differences: &mut Vec<String>) {
    let mut left: BTreeMap<&str, i64> = BTreeMap::new();
    let answered: Vec<&Value> = truth
        .iter()
        .filter(|entry| is_answer(entry))
        .filter_map(|entry| entry.get("id"))
        .collect();
    for entry in truth.iter().filter(|entry| text(entry, "type") == side) {
        if entry.get("id").is_some_and(|id| answered.contains(&id)) {
            *left.entry(text(entry, "body_sha256")).or_default() += 1;
        }
    }
    for call in calls {
        let sha256 = call
            .pointer(&format!("/{side}/body/sha256"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        *left.entry(sha256).or_default() -= 1;
    }
    let missing: i64 = left.values().filter(|count| **count > 0).sum();
    if missing > 0 {
        differences.push(format!("{missing} {side} bodies are missing or differ"));
    }
}

fn compare_usage(response: &Value, calls: &[Value], differences: &mut Vec<String>) {
    let sha256 = text(response, "body_sha256");
    let Some(call) = calls.iter().find(|call| {
        call.pointer("/response/body/sha256")
            .and_then(Value::as_str)
            == Some(sha256)
    }) else {
        // Said already, as a body that is missing.
        return;
    };
    let number = |pointer: &str, value: &Value| value.pointer(pointer).and_then(Value::as_u64);
    let said = |name: &str| number(&format!("/usage/{name}"), response).unwrap_or(0);
    // Input includes what was read from or written to a cache; output includes reasoning, which some
    // dialects count on top and some do not.
    let input = said("input") + said("cached") + said("cache_write");
    let output = [said("output"), said("output") + said("reasoning")];
    if number("/usage/input_tokens", call) != Some(input) {
        differences.push(format!(
            "{}: input tokens differ from {input}",
            text(call, "id")
        ));
    }
    if !number("/usage/output_tokens", call).is_some_and(|seen| output.contains(&seen)) {
        let output = said("output");
        differences.push(format!(
            "{}: output tokens differ from {output}",
            text(call, "id")
        ));
    }
}

fn compare_tool_call(wanted: &Value, seen: &[Value], differences: &mut Vec<String>) {
    let name = text(wanted, "name");
    let found = seen.iter().find(|call| {
        let same_id = wanted
            .get("id")
            .is_none_or(|id| id.is_null() || Some(id) == call.get("id"));
        same_id && text(call, "name") == name && call.get("arguments") == wanted.get("args")
    });
    match found {
        None => differences.push(format!("tool call {name} {} is missing", wanted["id"])),
        Some(call) if text(call, "status") == "pending" => {
            differences.push(format!("tool call {name} {} has no result", wanted["id"]));
        }
        Some(_) => {}
    }
}

/// Whether something that the scenario makes happen is among the actions or processes.
fn is_seen(effect: &Value, document: &Value) -> bool {
    let path = text(effect, "path");
    let file = |kinds: &[&str]| {
        list(document, "actions").iter().any(|action| {
            kinds.contains(&text(action, "kind"))
                && action
                    .pointer("/attributes/file.path")
                    .and_then(Value::as_str)
                    == Some(path)
        })
    };
    match text(effect, "kind") {
        "exec" => list(document, "processes")
            .iter()
            .map(|process| list(process, "argv"))
            .chain(
                list(document, "actions")
                    .iter()
                    .filter_map(|action| action.pointer("/attributes/process.command_args"))
                    .filter_map(Value::as_array)
                    .map(Vec::as_slice),
            )
            .any(|argv| same_command(argv, list(effect, "argv"))),
        "file_read" => file(&["file.open", "file.read"]),
        "file_write" => file(&["file.open", "file.create", "file.write"]),
        "file_delete" => file(&["file.delete"]),
        // Network effects do not occur in the scenarios that are run here.
        _ => true,
    }
}

/// The program may be named by its path or without.
fn same_command(argv: &[Value], wanted: &[Value]) -> bool {
    let name = |argv: &[Value]| -> String {
        let first = argv.first().and_then(Value::as_str).unwrap_or_default();
        first.rsplit('/').next().unwrap_or_default().to_owned()
    };
    !wanted.is_empty() && name(argv) == name(wanted) && argv.get(1..) == wanted.get(1..)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn truth() -> Vec<Value> {
        vec![
            json!({ "type": "server" }),
            json!({ "type": "request", "id": 1, "body_sha256": "q1" }),
            json!({ "type": "response", "id": 1, "body_sha256": "a1", "outcome": "complete", "text": "hi",
                    "tool_calls": [{ "id": "t1", "name": "bash", "args": { "command": "ls" } }],
                    "usage": { "input": 5, "cached": 2, "cache_write": 0, "output": 3, "reasoning": 1 } }),
            json!({ "type": "request", "id": 2, "body_sha256": "models" }),
            json!({ "type": "response", "id": 2, "body_sha256": "list" }),
        ]
    }

    fn scenario() -> Value {
        json!({ "effects": [
            { "kind": "exec", "argv": ["ls", "-l"] },
            { "kind": "file_write", "path": "/w/out" },
        ] })
    }

    fn document() -> Value {
        json!({
            "llm_calls": [{ "id": "llm-1", "request": { "body": { "sha256": "q1" } },
                "response": { "body": { "sha256": "a1" } },
                "usage": { "input_tokens": 7, "output_tokens": 4 } }],
            "tool_calls": [{ "id": "t1", "name": "bash", "arguments": { "command": "ls" }, "status": "ok" }],
            "processes": [{ "argv": ["/usr/bin/ls", "-l"] }],
            "actions": [{ "kind": "file.create", "attributes": { "file.path": "/w/out" } }],
        })
    }

    #[test]
    fn an_equal_document_has_no_differences() {
        assert_eq!(
            compare(&truth(), &scenario(), &document()),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_difference_is_named() {
        for (pointer, value, named) in [
            (
                "/llm_calls/0/request/body/sha256",
                json!("x"),
                "1 request bodies are missing",
            ),
            (
                "/llm_calls/0/response/body/sha256",
                json!("x"),
                "1 response bodies are missing",
            ),
            (
                "/llm_calls/0/usage/input_tokens",
                json!(5),
                "input tokens differ from 7",
            ),
            (
                "/llm_calls/0/usage/output_tokens",
                json!(null),
                "output tokens differ from 3",
            ),
            (
                "/tool_calls/0/arguments",
                json!({}),
                "tool call bash \"t1\" is missing",
            ),
            (
                "/tool_calls/0/id",
                json!("t2"),
                "tool call bash \"t1\" is missing",
            ),
            ("/tool_calls/0/status", json!("pending"), "has no result"),
            ("/processes/0/argv", json!(["ls"]), "not seen: {\"argv\""),
            (
                "/actions/0/kind",
                json!("file.read"),
                "not seen: {\"kind\":\"file_write\"",
            ),
            ("/llm_calls", json!([]), "1 request bodies are missing"),
        ] {
            let mut document = document();
            *document.pointer_mut(pointer).unwrap() = value;
            let differences = compare(&truth(), &scenario(), &document);
            assert!(
                differences
                    .iter()
                    .any(|difference| difference.contains(named)),
                "{pointer}: {differences:?}"
            );
        }
    }
}
