//! Token counts: what is left of a provider's own, and estimates where there are none.

use agentsight_model::{Message, Part, Usage};
use serde_json::{Map, Value};

use super::draft::Draft;

/// Counts that have a field in [`Usage`], by all their names.
const TAKEN: &[&str] = &[
    "cached_tokens",
    "cachedContentTokenCount",
    "cacheReadInputTokens",
    "cacheWriteInputTokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_write_tokens",
    "candidatesTokenCount",
    "completion_tokens",
    "inputTokens",
    "input_tokens",
    "outputTokens",
    "output_tokens",
    "promptTokenCount",
    "prompt_tokens",
    "reasoning_tokens",
    "thinking_tokens",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "totalTokenCount",
    "totalTokens",
    "total_cached_tokens",
    "total_input_tokens",
    "total_output_tokens",
    "total_thought_tokens",
    "total_tokens",
    "total_tool_use_tokens",
];

/// Objects of a provider's counts that detail some of them.
const DETAILS: &[&str] = &[
    "completion_tokens_details",
    "input_token_details",
    "input_tokens_details",
    "output_token_details",
    "output_tokens_details",
    "prompt_tokens_details",
    "tokens",
];

/// Bytes of text that make a token, as a rule of thumb for English with today's vocabularies.
const BYTES_PER_TOKEN: usize = 4;

/// What a provider counted beyond the fields of [`Usage`]: everything but zeros and nothings.
pub(crate) fn remainder(mut counted: Map<String, Value>) -> Map<String, Value> {
    for key in DETAILS {
        if let Some(Value::Object(details)) = counted.get_mut(*key) {
            details.retain(|key, value| says_more(key, value));
        }
    }
    counted.retain(|key, value| says_more(key, value));
    counted
}

fn says_more(key: &str, value: &Value) -> bool {
    let says_nothing = match value {
        Value::Null => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) => false,
    };
    !says_nothing && !TAKEN.contains(&key)
}

/// Counts by the length of the text, for an answer of a model whose provider counted nothing.
pub(crate) fn estimate(draft: &Draft) -> Option<Usage> {
    let generates = matches!(
        draft.operation,
        "chat" | "generate_content" | "text_completion"
    );
    let counted = draft.usage.input_tokens.or(draft.usage.output_tokens);
    let answered = !draft.response.messages.is_empty();
    // What media cost depends on the model.
    let only_words = draft.notes.parts.is_empty();
    if counted.is_some() || !generates || !answered || !only_words || draft.error.is_some() {
        return None;
    }
    let request = &draft.request;
    let tools = request.tools.iter().map(|tool| {
        let description = tool.description.as_deref().unwrap_or_default();
        let parameters = tool.parameters.as_ref().map_or(0, json_bytes);
        let texts = tool.name.len().saturating_add(description.len());
        texts.saturating_add(parameters)
    });
    let asked = bytes_of(&request.messages)
        .saturating_add(
            request
                .system
                .iter()
                .map(part_bytes)
                .fold(0, usize::saturating_add),
        )
        .saturating_add(tools.fold(0, usize::saturating_add));
    let tokens = |bytes: usize| u64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).ok();
    Some(Usage {
        input_tokens: tokens(asked),
        output_tokens: tokens(bytes_of(&draft.response.messages)),
        estimated: true,
        ..Usage::default()
    })
}

fn bytes_of(messages: &[Message]) -> usize {
    let parts = messages.iter().flat_map(|message| &message.parts);
    parts.map(part_bytes).fold(0, usize::saturating_add)
}

/// Bytes of what a part says in words.
fn part_bytes(part: &Part) -> usize {
    match part {
        Part::Text { content } | Part::Reasoning { content } => content.len(),
        Part::ToolCall {
            name, arguments, ..
        } => name.len().saturating_add(json_bytes(arguments)),
        Part::ToolCallResponse { response, .. } => json_bytes(response),
        Part::Blob { .. } | Part::Uri { .. } | Part::Other { .. } => 0,
    }
}

fn json_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        value => value.to_string().len(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fields::into_object;
    use super::*;

    #[test]
    fn what_has_no_field_is_kept() {
        for (counted, expected) in [
            (
                json!({"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}),
                json!({}),
            ),
            (
                json!({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0}}),
                json!({}),
            ),
            (
                json!({"prompt_tokens_details": {"audio_tokens": 7}, "cost": 0.0012, "x": null}),
                json!({"prompt_tokens_details": {"audio_tokens": 7}, "cost": 0.0012}),
            ),
            (
                json!({"billed_units": {"input_tokens": 5}, "tokens": {"input_tokens": 9}}),
                json!({"billed_units": {"input_tokens": 5}}),
            ),
        ] {
            assert_eq!(Value::Object(remainder(into_object(counted))), expected);
        }
    }

    #[test]
    fn only_answers_that_no_one_counted_are_estimated() {
        let text = |bytes: usize| Message {
            role: "user".to_owned(),
            parts: vec![Part::Text {
                content: "x".repeat(bytes),
            }],
        };
        let mut draft = Draft {
            operation: "chat",
            ..Draft::default()
        };
        draft.request.messages.push(text(41));
        assert_eq!(estimate(&draft), None);
        draft.response.messages.push(text(8));
        let usage = estimate(&draft).unwrap();
        assert_eq!(
            (usage.input_tokens, usage.output_tokens),
            (Some(11), Some(2))
        );
        assert!(usage.estimated);
        draft.usage.output_tokens = Some(0);
        assert_eq!(estimate(&draft), None);
        draft.usage.output_tokens = None;
        draft.operation = "embeddings";
        assert_eq!(estimate(&draft), None);
    }
}
