//! Short previews of long texts. The texts themselves stay in the ledger.

use std::io::{self, Write};

use agentsight_model::document::Call;
use agentsight_model::{Message, Part};
use serde_json::Value;

/// Characters of a preview.
const MAX_CHARS: usize = 200;
/// Bytes of JSON that are enough for a preview, however it is encoded.
const MAX_JSON_BYTES: usize = 4 * MAX_CHARS + 16;

/// The beginning of `text` in one line, without control characters.
pub(crate) fn of_text(text: &str) -> String {
    // A terminal or a page that shows a preview must not be steered by it.
    let mut words = text
        .split(|symbol: char| symbol.is_whitespace() || steers(symbol))
        .filter(|word| !word.is_empty());
    let mut preview = String::new();
    let mut left = MAX_CHARS;
    for word in words.by_ref() {
        let gap = usize::from(!preview.is_empty());
        let Some(room) = left.checked_sub(gap).filter(|room| *room > 0) else {
            preview.push('…');
            break;
        };
        if gap > 0 {
            preview.push(' ');
        }
        let before = preview.len();
        preview.extend(word.chars().take(room));
        let taken = preview.get(before..).unwrap_or_default();
        left = room.saturating_sub(taken.chars().count());
        if taken.len() < word.len() {
            preview.push('…');
            break;
        }
    }
    preview
}

/// Control characters, and the invisible ones that change the direction or the look of what follows.
fn steers(symbol: char) -> bool {
    symbol.is_control()
        || matches!(symbol, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The beginning of a value: a string as it is, anything else as JSON.
pub(crate) fn of_value(value: &Value) -> String {
    if let Value::String(text) = value {
        return of_text(text);
    }
    let mut json = Beginning(Vec::new());
    // An error means that the beginning is complete.
    let _ = serde_json::to_writer(&mut json, value);
    of_text(&String::from_utf8_lossy(&json.0))
}

/// Takes bytes until there are enough.
struct Beginning(Vec<u8>);

impl Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() >= MAX_JSON_BYTES {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.0.extend(bytes.iter().take(MAX_JSON_BYTES));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the model was asked last: the newest text of the user, or else the newest tool result.
pub(crate) fn of_prompt(call: &Call) -> String {
    let newest = call.request.messages.iter().rev();
    newest
        .clone()
        .filter(|message| message.role == "user")
        .find_map(text_of)
        .or_else(|| newest.clone().find_map(text_of))
        .or_else(|| newest.flat_map(|message| &message.parts).find_map(of_part))
        .unwrap_or_default()
}

/// What the model answered: its text, or else what it asked for.
pub(crate) fn of_answer(call: &Call) -> String {
    let messages = &call.response.messages;
    messages
        .iter()
        .find_map(text_of)
        .or_else(|| {
            messages
                .iter()
                .flat_map(|message| &message.parts)
                .find_map(of_part)
        })
        .unwrap_or_default()
}

fn text_of(message: &Message) -> Option<String> {
    message.parts.iter().rev().find_map(|part| match part {
        Part::Text { content } if !content.trim().is_empty() => Some(of_text(content)),
        _ => None,
    })
}

fn of_part(part: &Part) -> Option<String> {
    match part {
        Part::Text { content } | Part::Reasoning { content } if !content.trim().is_empty() => {
            Some(of_text(content))
        }
        Part::ToolCall {
            name, arguments, ..
        } => Some(of_text(&format!("{name} {}", of_value(arguments)))),
        Part::ToolCallResponse { response, .. } => Some(of_value(response)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn previews_are_one_short_line() {
        for (text, preview) in [
            ("", ""),
            ("  a\n\n b\tc ", "a b c"),
            ("\u{1b}[31mred\u{7}", "[31mred"),
            ("a\u{202e}b", "a b"),
            ("ü ß", "ü ß"),
        ] {
            assert_eq!(of_text(text), preview);
        }
        let long = "wörd ".repeat(1000);
        assert_eq!(of_text(&long).chars().count(), MAX_CHARS);
        assert!(of_text(&long).ends_with("wörd…"));
        assert_eq!(of_text(&"x".repeat(5000)).chars().count(), MAX_CHARS + 1);
        assert_eq!(of_text(&"x".repeat(MAX_CHARS)).len(), MAX_CHARS);
    }

    #[test]
    fn values_are_previewed_without_being_written_out() {
        assert_eq!(of_value(&json!({"a": [1, "b"]})), r#"{"a":[1,"b"]}"#);
        assert_eq!(of_value(&json!("plain")), "plain");
        let large = json!({ "items": vec!["x".repeat(100); 10_000] });
        assert_eq!(of_value(&large).chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn a_call_is_previewed_by_its_newest_question_and_its_answer() {
        let message = |role: &str, parts| Message {
            role: role.into(),
            parts,
        };
        let text = |content: &str| Part::Text {
            content: content.into(),
        };
        let mut call = Call::default();
        assert_eq!(
            (of_prompt(&call), of_answer(&call)),
            (String::new(), String::new())
        );
        call.request.messages = vec![
            message("user", vec![text("old")]),
            message("assistant", vec![text("reply")]),
            message("user", vec![text("context"), text("new")]),
            message("tool", vec![text("output")]),
        ];
        call.response.messages = vec![message(
            "assistant",
            vec![Part::ToolCall {
                id: None,
                name: "shell".into(),
                arguments: json!({"command": "ls"}),
            }],
        )];
        assert_eq!(of_prompt(&call), "new");
        assert_eq!(of_answer(&call), r#"shell {"command":"ls"}"#);
    }
}
