//! Which calls are turns of one conversation, and what changed between two turns.
//!
//! Nothing on the wire names a conversation; but each request repeats what was said before. A call
//! continues the earlier call of its process whose request it repeats whole. Where none is repeated whole,
//!
//! - an answer that stands among the first messages of a request has taken the place of the history
//!   before it (*compaction*);
//! - a request that has most messages in common with an earlier one is the same conversation with its
//!   history *edited*;
//! - anything else begins a conversation. If its first prompt is an argument of a tool call, that call's
//!   conversation is its parent (*sub-agent*).
//!
//! Two calls hold the same message if they hold the same [`Arc`], so comparing is cheap. A call is compared
//! with the latest [`RECENT_CALLS`] of its process only: the time that this takes grows with what was said.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use agentsight_model::document::CallThread;
use agentsight_model::{Message, Part, ProcessKey};
use serde_json::Value;

use super::calls::StoredCall;
use super::prompts::Prompts;
use super::tool_calls::ToolCallRecord;

/// Earlier calls of a process that a call is compared with.
const RECENT_CALLS: usize = 32;

/// Operations that carry a conversation's messages without going on with it.
const NO_TURNS: [&str; 2] = ["count_tokens", "embeddings"];

/// Messages at the beginning of a request that may hold the summary or the prompt that it began with.
pub(super) const FIRST_MESSAGES: usize = 4;

/// Shorter texts are said too often to tell where they come from.
pub(super) const MIN_TELLING_BYTES: usize = 40;

/// Gives each call, in the order of `calls`, its place in a conversation.
pub(super) fn find(calls: &[StoredCall], tools: &[ToolCallRecord]) -> Vec<Option<CallThread>> {
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|position| calls.get(*position).map(|stored| stored.call.started));
    let mut finder = Finder {
        calls,
        prompts: Prompts::of(tools),
        places: vec![None; calls.len()],
        threads: vec![None; calls.len()],
        recent: HashMap::new(),
        by_response: HashMap::new(),
        conversations: 0,
    };
    for position in order {
        finder.place(position);
    }
    finder.threads
}

/// A call's conversation and turn.
#[derive(Clone, Copy)]
struct Place {
    conversation: usize,
    turn: u64,
}

/// How a call follows from an earlier one.
struct Link {
    previous: usize,
    /// Messages at the beginning of the request that the earlier request has, too.
    shared: usize,
    change: Option<&'static str>,
}

struct Finder<'a> {
    calls: &'a [StoredCall],
    prompts: Prompts<'a>,
    places: Vec<Option<Place>>,
    threads: Vec<Option<CallThread>>,
    recent: HashMap<ProcessKey, VecDeque<usize>>,
    /// Calls by the provider's id of their answer.
    by_response: HashMap<&'a str, usize>,
    conversations: usize,
}

impl<'a> Finder<'a> {
    fn place(&mut self, position: usize) {
        let Some(stored) = self.calls.get(position) else {
            return;
        };
        let operation = stored.call.operation.as_str();
        if stored.messages.is_empty() || NO_TURNS.contains(&operation) {
            return;
        }
        let link = self
            .named_by(stored)
            .or_else(|| self.continued_by(stored))
            .or_else(|| self.summarised_in(stored))
            .or_else(|| self.edited_in(stored));
        let (place, thread) = match link {
            Some(link) => self.continue_with(stored, &link),
            None => self.begin(stored),
        };
        if let Some(slot) = self.places.get_mut(position) {
            *slot = Some(place);
        }
        if let Some(slot) = self.threads.get_mut(position) {
            *slot = Some(thread);
        }
        if let Some(id) = &stored.call.response.id {
            self.by_response.insert(id, position);
        }
        let recent = self.recent.entry(stored.call.process).or_default();
        if recent.len() >= RECENT_CALLS {
            recent.pop_front();
        }
        recent.push_back(position);
    }

    fn place_of(&self, position: usize) -> Option<Place> {
        self.places.get(position).copied().flatten()
    }

    /// Latest calls of the same process, newest first.
    fn recent_of(&self, stored: &StoredCall) -> impl Iterator<Item = (usize, &'a StoredCall)> {
        let recent = self.recent.get(&stored.call.process).into_iter().flatten();
        let calls = self.calls;
        recent
            .rev()
            .filter_map(move |position| Some((*position, calls.get(*position)?)))
    }

    /// The call that a request names: with some dialects, the provider keeps the history.
    fn named_by(&self, stored: &StoredCall) -> Option<Link> {
        let id = previous_response(stored)?;
        let again = self.recent_of(stored).find(|(_, earlier)| {
            previous_response(earlier) == Some(id)
                && shared(earlier, stored) == earlier.messages.len()
                && is_repeated(earlier, stored)
        });
        if let Some((previous, earlier)) = again {
            return Some(Link {
                previous,
                shared: earlier.messages.len(),
                change: Some("retry"),
            });
        }
        let previous = *self.by_response.get(id)?;
        Some(Link {
            previous,
            shared: 0,
            change: None,
        })
    }

    /// The call whose request is repeated whole: the one with the longest such request, of several the
    /// one with the same instructions and tools, of several the latest.
    fn continued_by(&self, stored: &StoredCall) -> Option<Link> {
        let whole = self
            .recent_of(stored)
            .filter(|(_, earlier)| shared(earlier, stored) == earlier.messages.len())
            .filter(|(_, earlier)| is_continuation(earlier, stored));
        let rank = |earlier: &StoredCall| {
            (
                earlier.messages.len(),
                is_same(&earlier.system, &stored.system),
                is_same(&earlier.tools, &stored.tools),
            )
        };
        // Of equals, the first one is taken.
        let (previous, earlier) = whole.reduce(|best, next| {
            if rank(next.1) > rank(best.1) {
                next
            } else {
                best
            }
        })?;
        Some(Link {
            previous,
            shared: earlier.messages.len(),
            change: is_repeated(earlier, stored).then_some("retry"),
        })
    }

    /// The call whose answer stands at the beginning of a request in place of the history.
    fn summarised_in(&self, stored: &StoredCall) -> Option<Link> {
        let first: Vec<&str> = texts_of(&stored.messages, FIRST_MESSAGES).collect();
        let goes_on = |conversation: usize| {
            self.recent_of(stored).any(|(position, earlier)| {
                self.place_of(position)
                    .is_some_and(|place| place.conversation == conversation)
                    && is_same(&earlier.system, &stored.system)
            })
        };
        let (previous, earlier) = self.recent_of(stored).find(|(position, earlier)| {
            let answer = answer_text(earlier);
            let summary = answer.trim();
            summary.len() >= MIN_TELLING_BYTES
                && earlier.messages.len() > 1
                && first.iter().any(|text| text.contains(summary))
                && self
                    .place_of(*position)
                    .is_some_and(|place| goes_on(place.conversation))
        })?;
        Some(Link {
            previous,
            shared: shared(earlier, stored),
            change: Some("compaction"),
        })
    }

    /// The call with the same instructions that has most of its messages in common with a request.
    fn edited_in(&self, stored: &StoredCall) -> Option<Link> {
        let own: HashSet<_> = stored.messages.iter().map(Arc::as_ptr).collect();
        let mut best: Option<(usize, usize, &StoredCall)> = None;
        for (position, earlier) in self.recent_of(stored) {
            let in_both = |message: &&Arc<Message>| own.contains(&Arc::as_ptr(message));
            let common = earlier.messages.iter().filter(in_both).count();
            let shorter = earlier.messages.len().min(stored.messages.len());
            let is_same = common >= 2
                && common.saturating_mul(2) >= shorter
                && is_same(&earlier.system, &stored.system);
            if is_same && best.is_none_or(|(_, most, _)| common > most) {
                best = Some((position, common, earlier));
            }
        }
        let (previous, _, earlier) = best?;
        Some(Link {
            previous,
            shared: shared(earlier, stored),
            change: Some("history_edit"),
        })
    }

    fn continue_with(&mut self, stored: &StoredCall, link: &Link) -> (Place, CallThread) {
        let (Some(earlier), Some(before)) =
            (self.calls.get(link.previous), self.place_of(link.previous))
        else {
            return self.begin(stored);
        };
        let is_retry = link.change == Some("retry");
        let place = Place {
            turn: before.turn.saturating_add(u64::from(!is_retry)),
            ..before
        };
        let parent = self
            .threads
            .get(link.previous)
            .and_then(Option::as_ref)
            .map(|thread| (thread.parent_call.clone(), thread.parent_tool_call.clone()));
        let (parent_call, parent_tool_call) = parent.unwrap_or_default();
        let new_from = if is_retry {
            stored.messages.len()
        } else {
            link.shared
                .saturating_add(repeated_answers(earlier, stored, link.shared))
        };
        let thread = CallThread {
            conversation: name_of(place.conversation),
            turn: place.turn,
            previous: Some(earlier.call.id.clone()),
            parent_call,
            parent_tool_call,
            new_messages_from: u64::try_from(new_from).unwrap_or(u64::MAX),
            changes: changes(earlier, stored, link),
        };
        (place, thread)
    }

    fn begin(&mut self, stored: &StoredCall) -> (Place, CallThread) {
        self.conversations = self.conversations.saturating_add(1);
        let parent = self.prompts.asked_for(stored);
        let thread = CallThread {
            conversation: name_of(self.conversations),
            turn: 1,
            parent_call: parent.map(|tool| tool.call_id.clone()),
            parent_tool_call: parent.map(|tool| tool.id.clone()),
            ..CallThread::default()
        };
        let place = Place {
            conversation: self.conversations,
            turn: 1,
        };
        (place, thread)
    }
}

/// The answer that a request goes on from, by the provider's id.
fn previous_response(stored: &StoredCall) -> Option<&str> {
    let id = stored.call.request.parameters.get("previous_response_id")?;
    id.as_str()
}

fn name_of(conversation: usize) -> String {
    format!("conversation-{conversation}")
}

/// Whether two calls have the same list: equal ones are kept once, but for empty ones.
fn is_same<T>(a: &Arc<Vec<T>>, b: &Arc<Vec<T>>) -> bool {
    Arc::ptr_eq(a, b) || (a.is_empty() && b.is_empty())
}

/// Messages that two requests begin with.
fn shared(earlier: &StoredCall, later: &StoredCall) -> usize {
    let pairs = earlier.messages.iter().zip(&later.messages);
    pairs.take_while(|(a, b)| Arc::ptr_eq(a, b)).count()
}

/// Whether a request that repeats an earlier one whole goes on with its conversation. A first prompt may
/// go out several times, to other models with other instructions: for a title, or to sub-agents.
fn is_continuation(earlier: &StoredCall, later: &StoredCall) -> bool {
    if is_same(&earlier.system, &later.system) {
        return later.messages.len() > earlier.messages.len() || is_repeated(earlier, later);
    }
    let repeated = repeated_answers(earlier, later, earlier.messages.len());
    later.messages.len() > earlier.messages.len() && (earlier.messages.len() > 1 || repeated > 0)
}

/// Whether a request is an earlier one once more, perhaps to another model.
fn is_repeated(earlier: &StoredCall, later: &StoredCall) -> bool {
    later.messages.len() == earlier.messages.len()
        && is_same(&earlier.system, &later.system)
        && is_same(&earlier.tools, &later.tools)
        && earlier.call.operation == later.call.operation
}

/// How many messages from position `at` on repeat the answer of an earlier call.
fn repeated_answers(earlier: &StoredCall, later: &StoredCall, at: usize) -> usize {
    let Some(next) = later.messages.get(at) else {
        return 0;
    };
    let repeats = |answer: &Arc<Message>| Arc::ptr_eq(answer, next) || says_the_same(answer, next);
    usize::from(earlier.answers.iter().any(repeats))
}

/// Whether a message says what an answer said. Agents do not send all of it back (thinking), and not
/// always in the same pieces.
fn says_the_same(answer: &Message, message: &Message) -> bool {
    let said = |message: &Message| {
        let texts: String = message.parts.iter().filter_map(text_of).collect();
        let asked: Vec<_> = message.parts.iter().filter_map(asked_of).cloned().collect();
        (texts.trim().to_owned(), asked)
    };
    matches!(message.role.as_str(), "assistant" | "model") && said(answer) == said(message)
}

fn asked_of(part: &Part) -> Option<&Value> {
    match part {
        Part::ToolCall { arguments, .. } => Some(arguments),
        _ => None,
    }
}

fn changes(earlier: &StoredCall, later: &StoredCall, link: &Link) -> Vec<String> {
    let asked = |stored: &StoredCall| {
        let call = &stored.call;
        call.request_model.clone().or_else(|| call.model.clone())
    };
    let found = [
        link.change,
        (asked(earlier) != asked(later)).then_some("model_switch"),
        (!is_same(&earlier.system, &later.system)).then_some("system_change"),
        (!is_same(&earlier.tools, &later.tools)).then_some("tools_change"),
    ];
    found.into_iter().flatten().map(str::to_owned).collect()
}

fn text_of(part: &Part) -> Option<&str> {
    match part {
        Part::Text { content } => Some(content),
        _ => None,
    }
}

pub(super) fn texts_of(messages: &[Arc<Message>], count: usize) -> impl Iterator<Item = &str> {
    let first = messages.iter().take(count);
    first.flat_map(|message| message.parts.iter().filter_map(text_of))
}

fn answer_text(stored: &StoredCall) -> String {
    texts_of(&stored.answers, 1).collect()
}
