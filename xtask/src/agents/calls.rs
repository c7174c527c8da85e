//! Conversations: every exchange of the truth has its call in the document, equal in all parts.

use serde_json::Value;

use super::check::{Comparison, Evidence, list, text};

/// A request for a model's answer, and what was answered.
struct Exchange<'a> {
    request: &'a Value,
    response: Option<&'a Value>,
}

impl Exchange<'_> {
    /// The model's answer was sent whole.
    fn is_answer(&self) -> bool {
        self.response.is_some_and(is_answer)
    }
}

/// Whether an entry is a whole answer of the model.
pub(super) fn is_answer(entry: &Value) -> bool {
    text(entry, "type") == "response"
        && entry.get("text").is_some()
        && text(entry, "outcome") == "complete"
}

/// The exchanges in which a model was asked. Lists of models and the like have no `api`.
fn exchanges(truth: &[Value]) -> Vec<Exchange<'_>> {
    let responses = || {
        truth
            .iter()
            .filter(|entry| text(entry, "type") == "response")
    };
    truth
        .iter()
        .filter(|entry| text(entry, "type") == "request" && !text(entry, "api").is_empty())
        .map(|request| Exchange {
            request,
            response: responses().find(|response| response.get("id") == request.get("id")),
        })
        .collect()
}

pub(super) fn compare(evidence: &Evidence, comparison: &mut Comparison) {
    let exchanges = exchanges(&evidence.truth);
    let mut left: Vec<&Value> = list(&evidence.document, "llm_calls").iter().collect();
    let mut unmatched = Vec::new();
    // Retries ask for the same: first those whose answer tells which it is, then the others.
    for exchange in &exchanges {
        let sha256 = exchange
            .response
            .map(|response| text(response, "body_sha256"));
        let found = take(&mut left, exchange, |call| {
            Some(body(call, "response")) == sha256
        });
        match found {
            Some(call) => judge(exchange, call, comparison),
            None => unmatched.push(exchange),
        }
    }
    for exchange in unmatched {
        let may_be_partial = !exchange.is_answer();
        let found = take(&mut left, exchange, |call| {
            may_be_partial && call.get("complete") == Some(&Value::Bool(false))
        });
        match found {
            Some(call) => judge(exchange, call, comparison),
            None => {
                comparison.calls.add(false);
                let id = exchange.request.get("id").unwrap_or(&Value::Null);
                comparison
                    .differences
                    .push(format!("request {id} has no call with its bodies"));
            }
        }
    }
    // Of questions of how long a prompt would be, the truth keeps no bodies.
    let counts = |call: &&Value| text(call, "operation") == "count_tokens";
    for call in left.into_iter().filter(|call| !counts(call)) {
        let id = text(call, "id");
        comparison
            .differences
            .push(format!("{id}: the server knows nothing of it"));
    }
    for exchange in exchanges.iter().filter(|exchange| exchange.is_answer()) {
        for wanted in list(exchange.response.unwrap_or(&Value::Null), "tool_calls") {
            compare_tool_call(wanted, evidence, &mut comparison.differences);
        }
    }
}

fn body<'a>(call: &'a Value, side: &str) -> &'a str {
    call.pointer(&format!("/{side}/body/sha256"))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Takes the first call with the exchange's request for which the condition holds.
fn take<'a>(
    left: &mut Vec<&'a Value>,
    exchange: &Exchange<'_>,
    condition: impl Fn(&Value) -> bool,
) -> Option<&'a Value> {
    let sha256 = text(exchange.request, "body_sha256");
    let position = left
        .iter()
        .position(|call| body(call, "request") == sha256 && condition(call))?;
    Some(left.remove(position))
}

fn judge(exchange: &Exchange<'_>, call: &Value, comparison: &mut Comparison) {
    let differences = differences_of(exchange, call);
    comparison.calls.add(differences.is_empty());
    let id = text(call, "id");
    let named = differences.into_iter().map(|text| format!("{id}: {text}"));
    comparison.differences.extend(named);
}

fn differences_of(exchange: &Exchange<'_>, call: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    let Some(response) = exchange.response else {
        return differences;
    };
    let bytes = call.pointer("/request/body/bytes");
    if bytes != exchange.request.get("body_bytes") {
        differences.push("bytes of the request differ".to_owned());
    }
    if !exchange.is_answer() {
        // Warm-up requests of some agents ask for no text, and are answered with none.
        let went_well = text(response, "outcome") == "complete"
            && response.get("fault").is_none()
            && response.get("status").and_then(Value::as_u64) < Some(400);
        if !went_well && call.get("error").is_none_or(Value::is_null) {
            differences.push("went wrong, and the call has no error".to_owned());
        }
        return differences;
    }
    if call.get("complete") != Some(&Value::Bool(true)) {
        differences.push(format!("not complete: {}", call["error"]));
    }
    for (part, key) in [("text", "text"), ("reasoning", "reasoning")] {
        if said(call, part) != text(response, key) {
            differences.push(format!("{part} differs"));
        }
    }
    if called(call) != asked(response) {
        differences.push("tool calls differ".to_owned());
    }
    compare_usage(response, call, &mut differences);
    compare_finish(exchange.request, response, call, &mut differences);
    compare_images(exchange, call, &mut differences);
    differences
}

fn parts(call: &Value) -> impl Iterator<Item = &Value> {
    let messages = call.pointer("/response/messages").and_then(Value::as_array);
    let messages = messages.map_or(&[][..], Vec::as_slice);
    messages.iter().flat_map(|message| list(message, "parts"))
}

fn said(call: &Value, kind: &str) -> String {
    parts(call)
        .filter(|part| text(part, "type") == kind)
        .map(|part| text(part, "content"))
        .collect()
}

/// Tool calls as name and arguments.
fn called(call: &Value) -> Vec<(&str, &Value)> {
    parts(call)
        .filter(|part| text(part, "type") == "tool_call")
        .map(|part| (text(part, "name"), &part["arguments"]))
        .collect()
}

fn asked(response: &Value) -> Vec<(&str, &Value)> {
    list(response, "tool_calls")
        .iter()
        .map(|call| (text(call, "name"), &call["args"]))
        .collect()
}

fn compare_usage(response: &Value, call: &Value, differences: &mut Vec<String>) {
    let number = |pointer: &str, value: &Value| value.pointer(pointer).and_then(Value::as_u64);
    let said = |name: &str| number(&format!("/usage/{name}"), response).unwrap_or(0);
    // Input includes what was read from or written to a cache; output includes reasoning, which some
    // dialects count on top and some do not.
    let input = said("input") + said("cached") + said("cache_write");
    let output = [said("output"), said("output") + said("reasoning")];
    if number("/usage/input_tokens", call) != Some(input) {
        differences.push(format!("input tokens differ from {input}"));
    }
    if !number("/usage/output_tokens", call).is_some_and(|seen| output.contains(&seen)) {
        differences.push(format!("output tokens differ from {}", said("output")));
    }
    let cached = number("/usage/cache_read_input_tokens", call).unwrap_or(0);
    if cached != said("cached") {
        differences.push(format!("cached tokens differ from {}", said("cached")));
    }
}

/// How the dialects spell why the model stopped: `stop`, `tool`, `length`.
const FINISH: &[(&str, [&str; 3])] = &[
    ("anthropic", ["end_turn", "tool_use", "max_tokens"]),
    ("openai-chat", ["stop", "tool_calls", "length"]),
    (
        "openai-responses",
        ["completed", "completed", "max_output_tokens"],
    ),
    ("gemini", ["STOP", "STOP", "MAX_TOKENS"]),
    ("ollama", ["stop", "stop", "length"]),
];

fn compare_finish(request: &Value, response: &Value, call: &Value, differences: &mut Vec<String>) {
    let Some((_, words)) = FINISH.iter().find(|(api, _)| *api == text(request, "api")) else {
        return;
    };
    let expected = match text(response, "finish") {
        "stop" => words[0],
        "tool" => words[1],
        "length" => words[2],
        _ => return,
    };
    let seen = list(call, "finish_reasons");
    if seen != [Value::from(expected)] {
        differences.push(format!("finish reasons {seen:?} instead of {expected}"));
    }
}

/// Every image of either side is among the parts, by its hash.
fn compare_images(exchange: &Exchange<'_>, call: &Value, differences: &mut Vec<String>) {
    let hash = |value: &Value| value.get("sha256").cloned();
    let seen: Vec<Value> = list(call, "parts").iter().filter_map(hash).collect();
    let response = exchange.response.unwrap_or(&Value::Null);
    let sent = list(exchange.request, "images_in").iter();
    for image in sent.chain(list(response, "images_out")).filter_map(hash) {
        if !seen.contains(&image) {
            differences.push(format!("no image {image}"));
        }
    }
}

fn compare_tool_call(wanted: &Value, evidence: &Evidence, differences: &mut Vec<String>) {
    let name = text(wanted, "name");
    match find_tool_call(wanted, &evidence.document) {
        None => differences.push(format!("tool call {name} {} is missing", wanted["id"])),
        Some(call) if text(call, "status") == "pending" => {
            differences.push(format!("tool call {name} {} has no result", wanted["id"]));
        }
        Some(_) => {}
    }
}

/// The document's entry for a tool call of the truth.
pub(super) fn find_tool_call<'a>(wanted: &Value, document: &'a Value) -> Option<&'a Value> {
    list(document, "tool_calls").iter().find(|call| {
        let id = wanted.get("id").filter(|id| !id.is_null());
        id.is_none_or(|id| Some(id) == call.get("id"))
            && text(call, "name") == text(wanted, "name")
            && call.get("arguments") == wanted.get("args")
    })
}
