//! Digests of the texts in a request, by which they can be told to be the content of a file.
//!
//! They are taken before redaction, as the file holds what the text held then. Like the digests of bodies
//! they say nothing of a text to those who do not have it.

use agentsight_model::{Message, Part, TextDigest};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Shorter texts are the content of too many files to tell where they come from.
const MIN_TEXT_BYTES: usize = 32;

/// Texts of one request that are looked at, the last ones: the first were looked at with earlier calls.
const MAX_TEXTS: usize = 256;

/// Nested values in a tool's result that are looked at.
const MAX_DEPTH: usize = 4;

/// Digests of the last texts of a request, in their order.
pub(crate) fn digests(messages: &[Message]) -> Vec<TextDigest> {
    let mut found = Vec::new();
    for (position, message) in messages.iter().enumerate().rev() {
        for part in message.parts.iter().rev() {
            let mut take = |text: &str| {
                if text.len() >= MIN_TEXT_BYTES && found.len() < MAX_TEXTS {
                    found.push(digest(position as u64, text));
                }
            };
            match part {
                Part::Text { content } => take(content),
                Part::ToolCallResponse { response, .. } => {
                    each_text(response, MAX_DEPTH, &mut take)
                }
                _ => {}
            }
        }
        if found.len() >= MAX_TEXTS {
            break;
        }
    }
    found.reverse();
    found
}

fn each_text(value: &Value, depth: usize, take: &mut dyn FnMut(&str)) {
    let Some(below) = depth.checked_sub(1) else {
        return;
    };
    match value {
        Value::String(text) => take(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, below, take)),
        Value::Object(map) => map.values().for_each(|item| each_text(item, below, take)),
        _ => {}
    }
}

fn digest(message: u64, text: &str) -> TextDigest {
    let hasher = Sha256::new().chain_update(text);
    let with_line_feed = hasher.clone().chain_update("\n");
    TextDigest {
        message,
        bytes: text.len() as u64,
        sha256: hasher.finalize().into(),
        with_line_feed: with_line_feed.finalize().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_found_wherever_a_file_may_be() {
        let long = "a line of a file that is long enough";
        let message = |parts| Message {
            role: "user".to_owned(),
            parts,
        };
        let result = |response| Part::ToolCallResponse {
            id: None,
            name: None,
            response,
            is_error: None,
        };
        let text = |content: &str| Part::Text {
            content: content.to_owned(),
        };
        let found = digests(&[
            message(vec![text(long), text("short")]),
            message(vec![result(json!(long))]),
            message(vec![result(json!({"output": [{"text": long}]}))]),
        ]);
        let positions: Vec<u64> = found.iter().map(|digest| digest.message).collect();
        assert_eq!(positions, [0, 1, 2]);
        let expected: [u8; 32] = Sha256::digest(format!("{long}\n")).into();
        assert!(found.iter().all(|digest| digest.with_line_feed == expected));

        let many = vec![message(vec![text(long)]); MAX_TEXTS + 10];
        let found = digests(&many);
        assert_eq!((found.len(), found[0].message), (MAX_TEXTS, 10));
    }
}
