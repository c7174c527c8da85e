//! Gemini: `POST …/models/<model>:generateContent` and `:streamGenerateContent`.
//!
//! Calls carry no id, which is how this API began: results are matched by the order of the calls.

use serde_json::{Value, json};

use super::{Answer, Asked, Event, Format, Framing, elements, with};

pub(super) const FORMAT: Format = Format {
    read,
    call_id: |_| None,
    finish_reason: |_| "STOP",
    document,
    events,
    error,
};

fn read(target: &str, body: &Value) -> Asked {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (before, verb) = path.rsplit_once(':').unwrap_or((path, ""));
    let parts = elements(body, "contents")
        .iter()
        .flat_map(|content| elements(content, "parts"));
    Asked {
        model: before.rsplit('/').next().unwrap_or_default().to_owned(),
        framing: match verb {
            "streamGenerateContent" if query.split('&').any(|pair| pair == "alt=sse") => {
                Framing::Sse
            }
            "streamGenerateContent" => Framing::JsonArray,
            _ => Framing::Document,
        },
        tool_results: parts
            .filter(|part| part.get("functionResponse").is_some())
            .count(),
        usage_in_stream: true,
    }
}

/// In this dialect the output does not include the model's thoughts.
fn usage(answer: &Answer) -> Value {
    let input = answer.usage.input_tokens.unwrap_or(0);
    let output = answer.usage.output_tokens.unwrap_or(0);
    let thoughts = answer.usage.reasoning_output_tokens.unwrap_or(0);
    json!({
        "promptTokenCount": input,
        "cachedContentTokenCount": answer.usage.cache_read_input_tokens.unwrap_or(0),
        "candidatesTokenCount": output.saturating_sub(thoughts),
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": input.saturating_add(output),
    })
}

fn response(answer: &Answer, parts: &[Value], finish_reason: Option<&str>) -> Value {
    let mut candidate = json!({ "index": 0, "content": { "role": "model", "parts": parts } });
    if let Some(reason) = finish_reason {
        candidate = with(candidate, "finishReason", reason);
    }
    json!({
        "candidates": [candidate], "usageMetadata": usage(answer), "modelVersion": answer.model,
        "responseId": answer.id("r-"),
    })
}

fn calls(answer: &Answer) -> impl Iterator<Item = Value> {
    answer
        .calls
        .iter()
        .map(|call| json!({ "functionCall": { "name": call.name, "args": call.arguments } }))
}

fn document(answer: &Answer) -> Value {
    let mut parts = Vec::new();
    if !answer.text.is_empty() {
        parts.push(json!({ "text": answer.text }));
    }
    parts.extend(calls(answer));
    response(answer, &parts, Some(answer.finish_reason))
}

fn events(answer: &Answer) -> Vec<Event> {
    let mut groups: Vec<Vec<Value>> = answer
        .text_deltas()
        .into_iter()
        .map(|text| vec![json!({ "text": text })])
        .collect();
    if answer.calls.is_empty() {
        groups.push(vec![json!({ "text": "" })]);
    } else {
        groups.push(calls(answer).collect());
    }
    let last = groups.len().saturating_sub(1);
    let events = groups.iter().enumerate().map(|(index, parts)| {
        let finish_reason = (index == last).then_some(answer.finish_reason);
        Event::plain(&response(answer, parts, finish_reason))
    });
    events.collect()
}

fn error(status: u16, message: &str) -> Value {
    let kind = match status {
        429 => "RESOURCE_EXHAUSTED",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    };
    json!({ "error": { "code": status, "message": message, "status": kind } })
}
