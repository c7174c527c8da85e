//! Tool calls that models asked for, and their results.
//!
//! A tool call comes from the *answer* that asked for it, never from the history that later requests
//! repeat, so it is listed once. Its result comes from a later request; see [`super::results`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use agentsight_model::{KTime, Message, Part, ProcessKey};
use serde_json::Value;

use super::budget::Budget;
use super::calls::{StoredCall, value_bytes};

/// Tool calls of one process that may still get a result by order and name.
const MAX_PENDING: usize = 256;

/// Where a result lies: in a message of a request, which other requests share.
#[derive(Clone, Debug)]
pub(crate) struct ToolResult {
    message: Arc<Message>,
    part: usize,
    /// When the request that carried it began.
    pub(crate) time: KTime,
}

impl ToolResult {
    pub(super) fn new(message: &Arc<Message>, part: usize, time: KTime) -> Self {
        Self {
            message: Arc::clone(message),
            part,
            time,
        }
    }

    /// The result as the model got it.
    pub(crate) fn value(&self) -> Option<&Value> {
        match self.message.parts.get(self.part) {
            Some(Part::ToolCallResponse { response, .. }) => Some(response),
            _ => None,
        }
    }

    /// Whether the tool said that it failed.
    pub(crate) fn is_error(&self) -> bool {
        matches!(
            self.message.parts.get(self.part),
            Some(Part::ToolCallResponse {
                is_error: Some(true),
                ..
            })
        )
    }
}

/// A tool call that a model asked for.
#[derive(Clone, Debug)]
pub(crate) struct ToolCallRecord {
    /// Unique within the session.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: Value,
    /// Position of the conversation whose answer asked for it.
    pub(crate) call: usize,
    /// Id of that conversation.
    pub(crate) call_id: String,
    /// The process that talks to the model.
    pub(crate) process: ProcessKey,
    /// From when on it may be carried out: an agent that reads a stream need not wait for its end.
    pub(crate) opened: KTime,
    /// When the answer that asks for it had ended.
    pub(crate) requested: KTime,
    /// Whether that answer was seen whole. An agent repeats a request whose answer broke off.
    pub(crate) complete: bool,
    pub(crate) result: Option<ToolResult>,
}

impl ToolCallRecord {
    /// When its result went back; [`KTime`]'s greatest value if none was seen.
    pub(crate) fn closed(&self) -> KTime {
        self.result
            .as_ref()
            .map_or(KTime(u64::MAX), |result| result.time)
    }
}

/// Every tool call, in the order in which it was asked for within each conversation.
#[derive(Debug, Default)]
pub(crate) struct ToolCallLog {
    pub(super) list: Vec<ToolCallRecord>,
    /// Ids that were given out.
    ids: HashSet<String>,
    /// Tool calls by the provider's id, which is not always unique.
    pub(super) by_id: HashMap<String, Vec<usize>>,
    /// Latest tool calls without a result, per process that talks to a model.
    pub(super) pending: HashMap<ProcessKey, Vec<usize>>,
    /// Results whose call is not known (yet): an answer may end after the next request has begun.
    pub(super) early_results: HashMap<String, ToolResult>,
}

impl ToolCallLog {
    pub(crate) fn all(&self) -> &[ToolCallRecord] {
        &self.list
    }

    /// Lists the tool calls that the answer of `stored` asks for.
    pub(super) fn requests_of(&mut self, index: usize, stored: &StoredCall, budget: &mut Budget) {
        for message in &stored.answers {
            for (position, part) in message.parts.iter().enumerate() {
                match part {
                    Part::ToolCall {
                        id,
                        name,
                        arguments,
                    } => self.request(index, stored, (id.as_deref(), name, arguments), budget),
                    // A tool that the provider runs itself: call and result in one answer.
                    Part::ToolCallResponse { id: Some(id), .. } => {
                        let result = ToolResult::new(message, position, stored.call.ended);
                        self.resolve_by_id(id, stored, &result, true);
                    }
                    _ => {}
                }
            }
        }
    }

    fn request(
        &mut self,
        index: usize,
        stored: &StoredCall,
        (id, name, arguments): (Option<&str>, &String, &Value),
        budget: &mut Budget,
    ) {
        let bytes = value_bytes(arguments)
            .saturating_add(name.len())
            .saturating_add(id.map_or(0, str::len));
        if !budget.record("tool.call") || !budget.content("tool.call", bytes) {
            return;
        }
        let call = &stored.call;
        let position = self.list.len();
        let record = ToolCallRecord {
            id: self.unique_id(id),
            name: name.clone(),
            arguments: arguments.clone(),
            call: index,
            call_id: call.id.clone(),
            process: call.process,
            opened: call.first_byte.unwrap_or(call.started),
            requested: call.ended,
            complete: call.complete,
            result: id
                .and_then(|id| self.early_results.remove(id))
                .filter(|result| result.time >= call.first_byte.unwrap_or(call.started)),
        };
        if record.result.is_none() {
            let pending = self.pending.entry(call.process).or_default();
            if pending.len() >= MAX_PENDING {
                pending.remove(0);
            }
            pending.push(position);
        }
        if let Some(id) = id {
            self.by_id.entry(id.to_owned()).or_default().push(position);
        }
        self.list.push(record);
    }

    /// The provider's id; a number is added where it is taken. Ours where there is none.
    fn unique_id(&mut self, id: Option<&str>) -> String {
        let number = self.list.len().saturating_add(1);
        let mut unique = match id.filter(|id| !id.is_empty()) {
            None => format!("tool-{number}"),
            Some(id) => id.to_owned(),
        };
        while !self.ids.insert(unique.clone()) {
            unique = format!("{unique}~{number}");
        }
        unique
    }
}
