//! Conversations with models.
//!
//! Each request repeats the whole conversation so far. Kept as they come, a conversation would take
//! memory in the square of its length; so what a request shares with an earlier one of the same process
//! (the first messages, the system prompt, the tools) is kept once.

use std::collections::HashMap;
use std::sync::Arc;

use agentsight_model::{LlmCall, Message, Part, ProcessKey, ToolDefinition};
use serde_json::Value;

use super::budget::Budget;

/// Earlier calls of a process that a request is compared with: its own conversation's last one is among
/// them unless more than this many sub-agents talk at the same time.
const RECENT_CALLS: usize = 8;

/// A conversation with a model, of which the shared parts are shared.
#[derive(Clone, Debug)]
pub(crate) struct StoredCall {
    /// The call, with the parts below taken out.
    pub(crate) call: LlmCall,
    pub(crate) messages: Vec<Arc<Message>>,
    pub(crate) system: Arc<Vec<Part>>,
    pub(crate) tools: Arc<Vec<ToolDefinition>>,
    pub(crate) answers: Vec<Arc<Message>>,
}

/// Every conversation with a model, in ledger order (the order in which they ended).
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    list: Vec<StoredCall>,
    recent: HashMap<ProcessKey, Vec<usize>>,
}

impl CallLog {
    pub(crate) fn all(&self) -> &[StoredCall] {
        &self.list
    }

    pub(crate) fn get(&self, position: usize) -> Option<&StoredCall> {
        self.list.get(position)
    }

    /// Files a call away; gives its position in [`Self::all`].
    pub(super) fn add(&mut self, call: &LlmCall, budget: &mut Budget) -> usize {
        let (earlier, shared) = self.closest(call);
        let stored = StoredCall {
            call: without_content(call),
            messages: shared_messages(call, earlier, shared, budget),
            system: match earlier {
                Some(earlier) if *earlier.system == call.request.system => {
                    Arc::clone(&earlier.system)
                }
                _ => Arc::new(kept(&call.request.system, parts_bytes, budget)),
            },
            tools: match earlier {
                Some(earlier) if *earlier.tools == call.request.tools => Arc::clone(&earlier.tools),
                _ => Arc::new(kept(&call.request.tools, tools_bytes, budget)),
            },
            answers: call
                .response
                .messages
                .iter()
                .filter(|message| budget.content("llm.message", parts_bytes(&message.parts)))
                .map(|message| Arc::new(message.clone()))
                .collect(),
        };
        let position = self.list.len();
        self.list.push(stored);
        let recent = self.recent.entry(call.process).or_default();
        if recent.len() >= RECENT_CALLS {
            recent.remove(0);
        }
        recent.push(position);
        position
    }

    /// The recent call of the same process that shares most messages, and how many. If none shares any,
    /// the last one, whose tools are likely the same.
    fn closest(&self, call: &LlmCall) -> (Option<&StoredCall>, usize) {
        let recent = self.recent.get(&call.process);
        let mut best = (None, 0);
        for position in recent.into_iter().flatten() {
            let Some(earlier) = self.list.get(*position) else {
                continue;
            };
            let shared = earlier
                .messages
                .iter()
                .zip(&call.request.messages)
                .take_while(|(known, message)| ***known == **message)
                .count();
            if shared >= best.1 {
                best = (Some(earlier), shared);
            }
        }
        best
    }
}

fn shared_messages(
    call: &LlmCall,
    earlier: Option<&StoredCall>,
    shared: usize,
    budget: &mut Budget,
) -> Vec<Arc<Message>> {
    let known = earlier.map_or(&[][..], |earlier| &earlier.messages);
    let mut messages: Vec<_> = known.iter().take(shared).map(Arc::clone).collect();
    for message in call.request.messages.iter().skip(shared) {
        if budget.content("llm.message", parts_bytes(&message.parts)) {
            messages.push(Arc::new(message.clone()));
        }
    }
    messages
}

fn without_content(call: &LlmCall) -> LlmCall {
    // Every field is named, so that a new one is not forgotten here.
    LlmCall {
        id: call.id.clone(),
        provider: call.provider.clone(),
        api: call.api.clone(),
        model: call.model.clone(),
        request_model: call.request_model.clone(),
        operation: call.operation.clone(),
        process: call.process,
        endpoint: call.endpoint.clone(),
        transport: call.transport.clone(),
        status: call.status,
        started: call.started,
        first_byte: call.first_byte,
        ended: call.ended,
        complete: call.complete,
        request: agentsight_model::LlmRequest {
            messages: Vec::new(),
            system: Vec::new(),
            tools: Vec::new(),
            parameters: call.request.parameters.clone(),
            body: call.request.body.clone(),
        },
        response: agentsight_model::LlmResponse {
            messages: Vec::new(),
            id: call.response.id.clone(),
            body: call.response.body.clone(),
            extra: call.response.extra.clone(),
        },
        finish_reasons: call.finish_reasons.clone(),
        usage: call.usage,
        error: call.error.clone(),
        parts: call.parts.clone(),
    }
}

fn kept<T: Clone>(items: &[T], bytes: impl Fn(&[T]) -> usize, budget: &mut Budget) -> Vec<T> {
    if budget.content("llm.message", bytes(items)) {
        items.to_vec()
    } else {
        Vec::new()
    }
}

fn tools_bytes(tools: &[ToolDefinition]) -> usize {
    let one = |tool: &ToolDefinition| {
        tool.name.len()
            + tool.description.as_ref().map_or(0, String::len)
            + tool.parameters.as_ref().map_or(0, value_bytes)
    };
    tools.iter().map(one).sum()
}

fn parts_bytes(parts: &[Part]) -> usize {
    parts.iter().map(part_bytes).sum()
}

fn part_bytes(part: &Part) -> usize {
    match part {
        Part::Text { content } | Part::Reasoning { content } => content.len(),
        Part::ToolCall { arguments, .. } => value_bytes(arguments),
        Part::ToolCallResponse { response, .. } => value_bytes(response),
        Part::Blob { .. } => 0,
        Part::Uri { uri, .. } => uri.len(),
        Part::Other { content, .. } => value_bytes(content),
    }
}

/// About how much text a value holds. Its depth is bounded by the parser that made it.
pub(crate) fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| 16 + value_bytes(item)).sum(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| 32 + key.len() + value_bytes(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}
