//! Matching of tool results to tool calls.
//!
//! A request repeats every result of its conversation, so only a result whose call still lacks one is
//! taken. It is matched
//!
//! 1. by the provider's id, where the dialect has ids (Anthropic, `OpenAI`) and the id is unique;
//! 2. by id among the results that came *last* in the request, where an endpoint gives the same id again
//!    and again (`call_0`): the latest call with that id is meant;
//! 3. else by order: the k-th last-come result of a name answers the k-th call of that name in the
//!    assistant message before it (Gemini, Ollama; and agents that make up ids of their own). That
//!    assistant message is found again among the answers by name and arguments.

use std::collections::HashMap;
use std::sync::Arc;

use agentsight_model::{KTime, Message, Part, ProcessKey};
use serde_json::Value;

use super::calls::StoredCall;
use super::tool_calls::{ToolCallLog, ToolResult};

/// Results kept until their call becomes known.
const MAX_EARLY_RESULTS: usize = 1024;

/// Results of one request that are matched by order: more than a model asks for in one answer.
const MAX_ORDERED_RESULTS: usize = 256;

/// A tool call as the history of a request shows it.
type Asked<'a> = (Option<&'a str>, &'a str, &'a Value);

impl ToolCallLog {
    /// Takes the results that the request of `stored` brings.
    pub(super) fn results_in(&mut self, stored: &StoredCall) {
        let messages = &stored.messages;
        let asked_at = messages.iter().rposition(|message| asks_for_tools(message));
        let mut unmatched = Vec::new();
        for (position, message) in messages.iter().enumerate() {
            let last_come = asked_at.is_none_or(|asked_at| position > asked_at);
            for (part_position, part) in message.parts.iter().enumerate() {
                let Part::ToolCallResponse { id, name, .. } = part else {
                    continue;
                };
                let result = ToolResult::new(message, part_position, stored.call.started);
                let known = id
                    .as_deref()
                    .is_some_and(|id| self.resolve_by_id(id, stored, &result, last_come));
                if !known && last_come && unmatched.len() < MAX_ORDERED_RESULTS {
                    unmatched.push((id.as_deref(), name.as_deref(), result));
                }
            }
        }
        let asked = asked_at.and_then(|position| messages.get(position));
        self.resolve_by_order(asked, unmatched, stored.call.process);
    }

    /// Gives a result to the call with `id`. Says whether such a call is known.
    pub(super) fn resolve_by_id(
        &mut self,
        id: &str,
        stored: &StoredCall,
        result: &ToolResult,
        last_come: bool,
    ) -> bool {
        let Some(positions) = self.by_id.get(id) else {
            return false;
        };
        let found = match positions.as_slice() {
            [only] => Some(*only),
            several if last_come => self.latest_of(several, stored.call.process, result.time),
            _ => None,
        };
        if let Some(position) = found {
            self.resolve(position, result);
        }
        true
    }

    /// The latest of several calls with one id, of the same process if there is any.
    fn latest_of(&self, positions: &[usize], process: ProcessKey, time: KTime) -> Option<usize> {
        // Only the newest few can still lack a result; looking at all of them each time would take
        // quadratic time with an endpoint that has one id for everything.
        let open = |position: &&usize| {
            self.list
                .get(**position)
                .is_some_and(|call| call.result.is_none() && call.opened <= time)
        };
        let newest = positions.iter().rev().take(16).filter(open);
        let own = |position: &&usize| {
            self.list
                .get(**position)
                .is_some_and(|call| call.process == process)
        };
        newest
            .clone()
            .find(own)
            .or_else(|| newest.clone().next())
            .copied()
    }

    fn resolve_by_order(
        &mut self,
        asked: Option<&Arc<Message>>,
        results: Vec<(Option<&str>, Option<&str>, ToolResult)>,
        process: ProcessKey,
    ) {
        let asked: Vec<Asked<'_>> = asked.map(|message| calls_of(message)).unwrap_or_default();
        let mut taken = HashMap::new();
        for (id, name, result) in results {
            let call = matching_call(&asked, id, name, &mut taken);
            match self.pending_like(process, call, name, result.time) {
                Some(position) => self.resolve(position, &result),
                None => self.keep_early(id, result),
            }
        }
    }

    /// The pending call of `process` that a result belongs to: of the newest answer that asked for the
    /// same tool with the same arguments, the first one.
    fn pending_like(
        &mut self,
        process: ProcessKey,
        asked: Option<Asked<'_>>,
        name: Option<&str>,
        time: KTime,
    ) -> Option<usize> {
        let list = &self.list;
        let pending = self.pending.get_mut(&process)?;
        pending.retain(|position| {
            list.get(*position)
                .is_some_and(|call| call.result.is_none())
        });
        let name = asked.map(|(_, name, _)| name).or(name);
        let mut best: Option<(usize, usize)> = None;
        for position in pending.iter().rev() {
            let Some(call) = list.get(*position).filter(|call| call.opened <= time) else {
                continue;
            };
            let same = name.is_none_or(|name| call.name == name)
                && asked.is_none_or(|(_, _, arguments)| call.arguments == *arguments);
            let newest = best.is_none_or(|(_, answer)| answer == call.call);
            if same && newest {
                best = Some((*position, call.call));
            }
        }
        best.map(|(position, _)| position)
    }

    fn resolve(&mut self, position: usize, result: &ToolResult) {
        if let Some(call) = self.list.get_mut(position)
            && call.result.is_none()
            && call.opened <= result.time
        {
            call.result = Some(result.clone());
        }
    }

    fn keep_early(&mut self, id: Option<&str>, result: ToolResult) {
        if let Some(id) = id
            && self.early_results.len() < MAX_EARLY_RESULTS
        {
            self.early_results.entry(id.to_owned()).or_insert(result);
        }
    }
}

fn asks_for_tools(message: &Message) -> bool {
    message
        .parts
        .iter()
        .any(|part| matches!(part, Part::ToolCall { .. }))
}

fn calls_of(message: &Message) -> Vec<Asked<'_>> {
    message.parts.iter().filter_map(asked_by).collect()
}

fn asked_by(part: &Part) -> Option<Asked<'_>> {
    match part {
        Part::ToolCall {
            id,
            name,
            arguments,
        } => Some((id.as_deref(), name, arguments)),
        _ => None,
    }
}

/// The call in the history that a result answers: by id, else the next one of its name.
fn matching_call<'a>(
    asked: &[Asked<'a>],
    id: Option<&str>,
    name: Option<&str>,
    taken: &mut HashMap<Option<String>, usize>,
) -> Option<Asked<'a>> {
    let by_id = asked
        .iter()
        .find(|(asked_id, _, _)| id.is_some() && *asked_id == id);
    by_id.copied().or_else(|| {
        let number = taken.entry(name.map(str::to_owned)).or_default();
        let of_name = asked
            .iter()
            .filter(|(_, asked_name, _)| name.is_none_or(|name| *asked_name == name));
        let call = of_name.clone().nth(*number).copied();
        *number = number.saturating_add(1);
        call
    })
}
