//! From which tool call a conversation comes: a sub-agent's first prompt is an argument that a model gave
//! to a tool.

use std::collections::HashMap;

use serde_json::Value;

use super::calls::StoredCall;
use super::threads::{FIRST_MESSAGES, MIN_TELLING_BYTES, texts_of};
use super::tool_calls::ToolCallRecord;

/// Shorter arguments are no prompts.
const MIN_PROMPT_BYTES: usize = 8;

/// Latest tool calls whose arguments are looked for inside a prompt.
const RECENT_TOOL_CALLS: usize = 64;

/// Nested values in arguments that are looked at.
const MAX_ARGUMENT_DEPTH: usize = 4;

/// Texts that models gave to tools.
pub(super) struct Prompts<'a> {
    tools: &'a [ToolCallRecord],
    by_text: HashMap<&'a str, usize>,
}

impl<'a> Prompts<'a> {
    pub(super) fn of(tools: &'a [ToolCallRecord]) -> Self {
        let mut by_text = HashMap::new();
        for (position, tool) in tools.iter().enumerate() {
            each_text(&tool.arguments, MAX_ARGUMENT_DEPTH, &mut |text| {
                by_text.insert(text.trim(), position);
            });
        }
        Self { tools, by_text }
    }

    /// The tool call that a conversation answers to, by its first prompt.
    pub(super) fn asked_for(&self, stored: &StoredCall) -> Option<&'a ToolCallRecord> {
        let texts: Vec<&str> = texts_of(&stored.messages, FIRST_MESSAGES)
            .map(str::trim)
            .collect();
        let before = |tool: &&ToolCallRecord| tool.opened <= stored.call.started;
        let as_a_whole = texts
            .iter()
            .filter_map(|text| self.tools.get(*self.by_text.get(*text)?))
            .find(before);
        as_a_whole.or_else(|| {
            let recent = self.tools.iter().rev().filter(before);
            recent.take(RECENT_TOOL_CALLS).find(|tool| {
                let mut found = false;
                each_text(&tool.arguments, MAX_ARGUMENT_DEPTH, &mut |argument| {
                    let argument = argument.trim();
                    found |= argument.len() >= MIN_TELLING_BYTES
                        && texts.iter().any(|text| text.contains(argument));
                });
                found
            })
        })
    }
}

/// Hands every string in a value that is long enough to tell something to `take`.
fn each_text<'a>(value: &'a Value, depth: usize, take: &mut dyn FnMut(&'a str)) {
    let Some(below) = depth.checked_sub(1) else {
        return;
    };
    match value {
        Value::String(text) if text.trim().len() >= MIN_PROMPT_BYTES => take(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, below, take)),
        Value::Object(map) => map.values().for_each(|item| each_text(item, below, take)),
        _ => {}
    }
}
