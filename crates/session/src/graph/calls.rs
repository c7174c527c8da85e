//! Conversations with models.
//!
//! Each request repeats the whole conversation so far. Kept as they come, a conversation would take
//! memory in the square of its length; so each message, system prompt and list of tools is kept once, by
//! its digest. A ledger has them so, too ([`crate::Deduplicator`]); calls that hold their content
//! themselves, as the first version wrote them, are read as well.

use std::collections::HashMap;
use std::sync::Arc;

use agentsight_model::{
    ContentPiece, ContentRefs, ContentSource, LlmCall, LlmContent, LlmSources, Message, Part,
    ToolDefinition,
};
use serde::Serialize;
use serde_json::Value;

use super::budget::Budget;
use crate::contents::digest;

/// A conversation with a model, of which the shared parts are shared: two calls hold the same message
/// if and only if they hold the same [`Arc`].
#[derive(Clone, Debug)]
pub(crate) struct StoredCall {
    /// The call, with the parts below taken out.
    pub(crate) call: LlmCall,
    pub(crate) messages: Vec<Arc<Message>>,
    pub(crate) system: Arc<Vec<Part>>,
    pub(crate) tools: Arc<Vec<ToolDefinition>>,
    pub(crate) answers: Vec<Arc<Message>>,
    /// Files that its content came from.
    pub(crate) sources: Vec<ContentSource>,
}

/// Every conversation with a model, in ledger order (the order in which they ended).
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    list: Vec<StoredCall>,
    by_id: HashMap<String, usize>,
    messages: HashMap<String, Arc<Message>>,
    systems: HashMap<String, Arc<Vec<Part>>>,
    tools: HashMap<String, Arc<Vec<ToolDefinition>>>,
}

/// Pieces that one call can have; a record that says more is not believed.
const MAX_UNCHECKED: u64 = 1 << 16;

/// What is counted in the document's coverage if a piece is left out or missing.
const PIECE: &str = "llm.message";

impl CallLog {
    pub(crate) fn all(&self) -> &[StoredCall] {
        &self.list
    }

    pub(crate) fn get(&self, position: usize) -> Option<&StoredCall> {
        self.list.get(position)
    }

    /// Files a piece away that calls refer to.
    pub(super) fn piece(&mut self, piece: &LlmContent, budget: &mut Budget) {
        let name = piece.sha256.as_str();
        match &piece.content {
            ContentPiece::Message(message) => {
                self.message(name, Some(message), budget);
            }
            ContentPiece::System(system) => {
                intern(&mut self.systems, name, Some(system), parts_bytes, budget);
            }
            ContentPiece::Tools(tools) => {
                intern(&mut self.tools, name, Some(tools), tools_bytes, budget);
            }
        }
    }

    /// Files away where the content of an earlier call came from.
    pub(super) fn sources(&mut self, found: &LlmSources, budget: &mut Budget) {
        let call = self.by_id.get(&found.call).copied();
        let Some(stored) = call.and_then(|position| self.list.get_mut(position)) else {
            budget.omit("llm.sources");
            return;
        };
        for source in &found.sources {
            if budget.record("llm.sources") {
                stored.sources.push(source.clone());
            }
        }
        for _ in 0..found.unchecked.min(MAX_UNCHECKED) {
            budget.omit("llm.sources");
        }
    }

    /// Files a call away; gives its position in [`Self::all`].
    pub(super) fn add(&mut self, call: &LlmCall, budget: &mut Budget) -> usize {
        let refs = call.content.as_deref();
        let bare = ContentRefs::default();
        let (request, response) = (&call.request, &call.response);
        let mut messages = self.shared(refs.unwrap_or(&bare), budget);
        match refs {
            Some(refs) => {
                let named = refs.messages.iter();
                messages.extend(named.map(|name| self.message(name, None, budget)));
            }
            None => {
                let said = request.messages.iter();
                messages.extend(said.map(|said| self.message(&digest(said), Some(said), budget)));
            }
        }
        let answers = match refs {
            Some(refs) => refs
                .answers
                .iter()
                .map(|name| self.message(name, None, budget))
                .collect(),
            None => response
                .messages
                .iter()
                .map(|said| self.message(&digest(said), Some(said), budget))
                .collect(),
        };
        let system = name_of(refs, |refs| refs.system.as_ref(), &request.system);
        let tools = name_of(refs, |refs| refs.tools.as_ref(), &request.tools);
        let (own_system, own_tools) = match refs {
            Some(_) => (None, None),
            None => (Some(&request.system), Some(&request.tools)),
        };
        let stored = StoredCall {
            call: without_content(call),
            messages,
            system: system.map_or_else(Arc::default, |name| {
                intern(&mut self.systems, &name, own_system, parts_bytes, budget)
            }),
            tools: tools.map_or_else(Arc::default, |name| {
                intern(&mut self.tools, &name, own_tools, tools_bytes, budget)
            }),
            answers,
            sources: Vec::new(),
        };
        let position = self.list.len();
        self.by_id.insert(call.id.clone(), position);
        self.list.push(stored);
        position
    }

    /// The messages that a call has in common with the one that it refers to.
    fn shared(&self, refs: &ContentRefs, budget: &mut Budget) -> Vec<Arc<Message>> {
        let Some(base) = &refs.base else {
            return Vec::new();
        };
        let base = self.by_id.get(base).and_then(|base| self.list.get(*base));
        let known = base.map_or(&[][..], |base| &base.messages);
        let shared = usize::try_from(refs.shared).unwrap_or(usize::MAX);
        let count = shared.min(known.len());
        // The list itself takes room, which a ledger of a few bytes a call could make large.
        if !budget.content(PIECE, count.saturating_mul(size_of::<Arc<Message>>())) {
            return Vec::new();
        }
        if count < shared {
            budget.omit(PIECE);
        }
        known.iter().take(count).map(Arc::clone).collect()
    }

    /// The message of that name; a mark in its place if it is not known or there is no room for it.
    fn message(&mut self, name: &str, said: Option<&Message>, budget: &mut Budget) -> Arc<Message> {
        if let Some(known) = self.messages.get(name)
            && (said.is_none() || !is_missing(known))
        {
            return Arc::clone(known);
        }
        let bytes = said.map_or(0, |said| parts_bytes(&said.parts));
        let kept = said.filter(|_| budget.content(PIECE, bytes));
        if said.is_none() {
            budget.omit(PIECE);
        }
        let message = Arc::new(kept.cloned().unwrap_or_else(missing_message));
        if budget.record(PIECE) {
            self.messages.insert(name.to_owned(), Arc::clone(&message));
        }
        message
    }
}

const MISSING: &str = "agentsight.not_available";

fn is_missing(message: &Message) -> bool {
    matches!(message.parts.as_slice(), [Part::Other { name, .. }] if name == MISSING)
}

/// What stands for a message that the ledger does not have (any more), or that found no room.
fn missing_message() -> Message {
    Message {
        role: "unknown".to_owned(),
        parts: vec![Part::Other {
            name: MISSING.to_owned(),
            content: Value::Null,
        }],
    }
}

/// The digest of system instructions or tools: as referred to, or of the list itself.
fn name_of<T: Serialize>(
    refs: Option<&ContentRefs>,
    field: fn(&ContentRefs) -> Option<&String>,
    own: &[T],
) -> Option<String> {
    match refs {
        Some(refs) => field(refs).cloned(),
        None => (!own.is_empty()).then(|| digest(&own)),
    }
}

/// The list of that name, which is kept if it is new and there is room for it; else an empty one.
fn intern<T: Clone>(
    known: &mut HashMap<String, Arc<Vec<T>>>,
    name: &str,
    own: Option<&Vec<T>>,
    bytes: fn(&[T]) -> usize,
    budget: &mut Budget,
) -> Arc<Vec<T>> {
    if let Some(known) = known.get(name) {
        return Arc::clone(known);
    }
    let Some(own) = own else {
        budget.omit(PIECE);
        return Arc::default();
    };
    if !budget.content(PIECE, bytes(own)) {
        return Arc::default();
    }
    let list = Arc::new(own.clone());
    known.insert(name.to_owned(), Arc::clone(&list));
    list
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
        content: None,
        texts: Vec::new(),
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
