//! Pieces of a stream that only carry some text on: most of them do. They are read where they stand,
//! without making a document of each.
//!
//! What is found here is what reading the whole document would find, as long as it is one; whatever looks
//! otherwise is left to that.

use crate::json::{self, whole_members};

/// Bytes of a digit sequence that is a position.
const MAX_INDEX_DIGITS: usize = 9;

/// A delta of Anthropic's.
pub(crate) struct Delta<'a> {
    pub(crate) index: u64,
    /// The kind, such as `text_delta`.
    pub(crate) kind: &'a [u8],
    /// The string that it carries, as written.
    pub(crate) text: &'a [u8],
}

/// `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"..."}}`
pub(crate) fn anthropic_delta(data: &[u8]) -> Option<Delta<'_>> {
    let (mut index, mut inner, mut named) = (None, None, false);
    let whole = whole_members(data, &mut |name, value| match name {
        b"type" => {
            named = value == b"\"content_block_delta\"";
            named
        }
        b"index" => {
            index = position(value);
            index.is_some()
        }
        b"delta" => {
            inner = Some(value);
            true
        }
        _ => false,
    });
    let (index, inner) = (index?, inner.filter(|_| whole && named)?);
    let (mut kind, mut text) = (None, None);
    let whole = whole_members(inner, &mut |name, value| {
        match name {
            b"type" => kind = is_string(value).then(|| json::unquote(value)),
            b"text" | b"thinking" | b"partial_json" if text.is_none() => {
                text = is_string(value).then_some((name, value));
            }
            _ => return false,
        }
        true
    });
    let (kind, (name, text)) = (kind.filter(|_| whole)?, text?);
    let fits = matches!(
        (kind, name),
        (b"text_delta", b"text")
            | (b"thinking_delta", b"thinking")
            | (b"input_json_delta", b"partial_json")
    );
    fits.then_some(Delta { index, kind, text })
}

/// A piece of a choice of OpenAI's chat completions.
pub(crate) struct ChatPiece<'a> {
    pub(crate) index: u64,
    /// Content, as written.
    pub(crate) content: Option<&'a [u8]>,
    /// Reasoning, as written.
    pub(crate) reasoning: Option<&'a [u8]>,
}

/// A chunk with one choice that carries text on. `is_known` tells whether what a field beside the choices
/// says, a string, was said before.
pub(crate) fn chat_piece<'a>(
    data: &'a [u8],
    is_known: &dyn Fn(&[u8], &[u8]) -> bool,
) -> Option<ChatPiece<'a>> {
    let mut choice = None;
    let whole = whole_members(data, &mut |name, value| match name {
        b"id" | b"object" | b"model" | b"obfuscation" => is_string(value),
        b"created" => value.iter().all(u8::is_ascii_digit),
        b"usage" => value == NULL,
        b"choices" => {
            choice = json::only_element(value);
            choice.is_some()
        }
        b"provider" | b"service_tier" | b"system_fingerprint" => {
            value == NULL || is_string(value) && is_known(name, json::unquote(value))
        }
        _ => false,
    });
    let choice = choice.filter(|_| whole)?;
    let (mut index, mut delta) = (None, None);
    let whole = whole_members(choice, &mut |name, value| match name {
        b"index" => {
            index = position(value);
            index.is_some()
        }
        b"delta" => {
            delta = Some(value);
            true
        }
        b"content_filter_results" => true,
        _ => value == NULL,
    });
    let (index, delta) = (index?, delta.filter(|_| whole)?);
    let (mut content, mut reasoning) = (None, None);
    let whole = whole_members(delta, &mut |name, value| match name {
        _ if value == NULL => true,
        b"role" => is_string(value),
        b"content" => {
            content = Some(value);
            is_string(value)
        }
        b"reasoning" | b"reasoning_content" if reasoning.is_none() => {
            reasoning = Some(value);
            is_string(value)
        }
        b"tool_calls" => value == b"[]",
        _ => false,
    });
    whole.then_some(ChatPiece {
        index,
        content,
        reasoning,
    })
}

/// A delta of OpenAI's responses: a string in an event that has a type and positions.
pub(crate) struct ResponseDelta<'a> {
    /// The event's type.
    pub(crate) kind: &'a str,
    pub(crate) output_index: u64,
    pub(crate) content_index: u64,
    pub(crate) summary_index: u64,
    /// The string, as written.
    pub(crate) delta: &'a [u8],
}

/// `{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"..."}`
pub(crate) fn response_delta(data: &[u8]) -> Option<ResponseDelta<'_>> {
    let (mut kind, mut delta) = (None, None);
    let (mut output, mut content, mut summary) = (Some(0), Some(0), Some(0));
    let whole = whole_members(data, &mut |name, value| {
        match name {
            b"type" => kind = is_string(value).then(|| json::unquote(value)),
            b"delta" => delta = is_string(value).then_some(value),
            b"output_index" => output = position(value),
            b"content_index" => content = position(value),
            b"summary_index" => summary = position(value),
            _ => {}
        }
        true
    });
    let kind = std::str::from_utf8(kind.filter(|_| whole)?).ok()?;
    kind.ends_with(".delta").then_some(ResponseDelta {
        kind,
        output_index: output?,
        content_index: content?,
        summary_index: summary?,
        delta: delta?,
    })
}

const NULL: &[u8] = b"null";

fn is_string(value: &[u8]) -> bool {
    value.len() >= 2 && value.starts_with(b"\"")
}

fn position(value: &[u8]) -> Option<u64> {
    let digits = value.len() <= MAX_INDEX_DIGITS && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pieces_of_text_are_taken() {
        for (data, expected) in [
            (r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#, true),
            (
                r#"{"id":"1","choices":[{"index":1,"delta":{"content":"a","role":"x"},"finish_reason":null}],"usage":null}"#,
                true,
            ),
            (
                r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
                false,
            ),
            (
                r#"{"choices":[{"index":0,"delta":{"content":["a"]}}]}"#,
                false,
            ),
            (
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{}]}}]}"#,
                false,
            ),
            (
                r#"{"choices":[{"index":0,"delta":{}},{"index":1,"delta":{}}]}"#,
                false,
            ),
            (r#"{"choices":[],"usage":null}"#, false),
            (
                r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{}}"#,
                false,
            ),
            (
                r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"x_groq":{}}"#,
                false,
            ),
            (
                r#"{"choices":[{"index":0,"delta":{"content":"a"}}]} x"#,
                false,
            ),
            (r#"{"choices":[{"index":0,"delta":{"content":"a"}}]"#, false),
            (
                r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"provider":"p"}"#,
                false,
            ),
            ("[DONE]", false),
        ] {
            let piece = chat_piece(data.as_bytes(), &|_, _| false);
            assert_eq!(piece.is_some(), expected, "{data}");
        }
        for (data, expected) in [
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
                true,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"},"x":1}"#,
                false,
            ),
            (
                r#"{"type":"content_block_delta","index":-1,"delta":{"type":"text_delta","text":"a"}}"#,
                false,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","thinking":"a"}}"#,
                false,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":1}}"#,
                false,
            ),
            (r#"{"type":"message_stop"}"#, false),
        ] {
            assert_eq!(
                anthropic_delta(data.as_bytes()).is_some(),
                expected,
                "{data}"
            );
        }
        for (data, expected) in [
            (
                r#"{"type":"response.output_text.delta","output_index":1,"delta":"a","logprobs":[]}"#,
                true,
            ),
            (
                r#"{"type":"response.output_text.delta","output_index":1.5,"delta":"a"}"#,
                false,
            ),
            (r#"{"type":"response.output_text.done","delta":"a"}"#, false),
            (r#"{"type":"response.output_text.delta","delta":{}}"#, false),
        ] {
            assert_eq!(
                response_delta(data.as_bytes()).is_some(),
                expected,
                "{data}"
            );
        }
    }
}
