//! Tool calls, results and definitions, taken out of conversations.

use agentsight_model::{
    ContentPiece, LlmCall, LlmContent, Message, Part, ProcessKey, ToolDefinition,
};
use serde_json::Value;

use super::hash_of;
use super::recent::RecentMap;
use crate::kind::Kind;
use crate::view::ToolFacts;

/// Bytes of arguments, a result or a description that rules look at.
const MAX_TEXT_BYTES: usize = 256 << 10;
/// Pieces of conversations that are kept. The writer puts them right before the call that refers to them; what
/// is repeated much later was judged when it was new.
const MAX_PIECES: usize = 2_048;
/// Bytes of text in them. Beyond, all are dropped.
const MAX_PIECE_BYTES: usize = 32 << 20;
/// Tools looked at in one conversation.
const MAX_TOOLS: usize = 1_024;

/// What agents have told their models about tools, and the pieces of conversations that calls refer to.
#[derive(Debug)]
pub(crate) struct ToolTable {
    /// Hash of the definition, by agent process and name.
    definitions: RecentMap<u64, u64>,
    /// The tool that a call with this id asked for: results name only the call.
    names: RecentMap<String, String>,
    /// Pieces that came before the call that refers to them, by digest.
    pieces: RecentMap<String, Piece>,
    piece_bytes: usize,
    dropped: u64,
}

/// What rules look at in a piece of a conversation.
#[derive(Clone, Debug, Default)]
struct Piece {
    is_answer: bool,
    tools: Vec<ToolPart>,
}

#[derive(Clone, Debug)]
struct ToolPart {
    kind: Kind,
    id: Option<String>,
    facts: ToolFacts,
}

impl ToolTable {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            definitions: RecentMap::new(limit),
            names: RecentMap::new(limit),
            pieces: RecentMap::new(MAX_PIECES),
            piece_bytes: 0,
            dropped: 0,
        }
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.definitions.evicted().saturating_add(self.dropped)
    }

    /// Keeps a piece for the call that follows.
    pub(crate) fn piece(&mut self, content: &LlmContent) {
        let piece = match &content.content {
            ContentPiece::Message(message) => Piece::of(message),
            ContentPiece::Tools(tools) => Piece {
                is_answer: false,
                tools: definitions(tools),
            },
            // What is in system instructions is nobody's tool.
            ContentPiece::System(_) => return,
        };
        let texts = piece.tools.iter().map(|tool| tool.facts.text.len());
        self.piece_bytes = texts.fold(self.piece_bytes, usize::saturating_add);
        if self.piece_bytes > MAX_PIECE_BYTES {
            self.dropped = self
                .dropped
                .saturating_add(self.pieces.drain().count() as u64);
            self.piece_bytes = 0;
        }
        self.pieces.insert(content.sha256.clone(), piece);
    }

    /// The tools in a conversation: new definitions, results that came with it, calls that it asks for.
    pub(crate) fn taken_from(
        &mut self,
        process: ProcessKey,
        call: &LlmCall,
    ) -> Vec<(Kind, ToolFacts)> {
        let mut taken = Vec::new();
        for tool in self.fresh(call) {
            match tool.kind {
                Kind::ToolDefinition => {
                    taken.extend(
                        self.defined(process, tool.facts)
                            .map(|facts| (tool.kind, facts)),
                    );
                }
                Kind::ToolCall => {
                    if let Some(id) = tool.id {
                        self.names.insert(id, tool.facts.name.clone());
                    }
                    taken.push((tool.kind, tool.facts));
                }
                kind => {
                    let mut facts = tool.facts;
                    let known = tool.id.as_ref().and_then(|id| self.names.get(id));
                    if let Some(name) = known.filter(|_| facts.name.is_empty()) {
                        facts.name.clone_from(name);
                    }
                    taken.push((kind, facts));
                }
            }
        }
        taken
    }

    /// What is new with a call: by itself, or by the pieces that it refers to.
    fn fresh(&self, call: &LlmCall) -> Vec<ToolPart> {
        let mut tools = definitions(&call.request.tools);
        let latest = call.request.messages.iter().rev().take(MAX_TOOLS);
        tools.extend(results(latest.map(Piece::of)));
        let answers = call.response.messages.iter().take(MAX_TOOLS);
        tools.extend(answers.flat_map(|message| Piece::of(message).calls()));
        let Some(refs) = &call.content else {
            return tools;
        };
        let piece = |digest: &String| self.pieces.get(digest).cloned();
        tools.extend(
            refs.tools
                .as_ref()
                .and_then(piece)
                .unwrap_or_default()
                .tools,
        );
        let latest = refs.messages.iter().rev().take(MAX_TOOLS);
        tools.extend(results(latest.filter_map(piece)));
        let answers = refs.answers.iter().take(MAX_TOOLS);
        tools.extend(answers.filter_map(piece).flat_map(Piece::calls));
        tools
    }

    /// The facts of a definition, if the agent has not told it before.
    fn defined(&mut self, process: ProcessKey, mut facts: ToolFacts) -> Option<ToolFacts> {
        let key = hash_of((process, &facts.name));
        let hash = hash_of(&facts.text);
        let before = self.definitions.get(&key).copied();
        if before == Some(hash) {
            return None;
        }
        self.definitions.insert(key, hash);
        facts.changed = before.is_some();
        Some(facts)
    }
}

/// Results after the last answer, of messages that come latest first: requests repeat the whole conversation.
fn results(latest: impl Iterator<Item = Piece>) -> Vec<ToolPart> {
    let mut pieces: Vec<Piece> = latest.take_while(|piece| !piece.is_answer).collect();
    pieces.reverse();
    let tools = pieces.into_iter().flat_map(|piece| piece.tools);
    tools.filter(|tool| tool.kind == Kind::ToolResult).collect()
}

fn definitions(tools: &[ToolDefinition]) -> Vec<ToolPart> {
    let described = tools.iter().take(MAX_TOOLS).map(|tool| ToolPart {
        kind: Kind::ToolDefinition,
        id: None,
        facts: ToolFacts {
            name: tool.name.clone(),
            text: cut(tool.description.as_deref().unwrap_or_default()).to_owned(),
            ..ToolFacts::default()
        },
    });
    described.collect()
}

impl Piece {
    fn of(message: &Message) -> Self {
        let tools = message.parts.iter().take(MAX_TOOLS).filter_map(tool_in);
        Self {
            is_answer: message.role == "assistant",
            tools: tools.collect(),
        }
    }

    fn calls(self) -> impl Iterator<Item = ToolPart> {
        let tools = self.tools.into_iter();
        tools.filter(|tool| tool.kind == Kind::ToolCall)
    }
}

fn tool_in(part: &Part) -> Option<ToolPart> {
    match part {
        Part::ToolCall {
            id,
            name,
            arguments,
        } => Some(ToolPart {
            kind: Kind::ToolCall,
            id: id.clone(),
            facts: ToolFacts {
                name: name.clone(),
                text: text_of(arguments),
                ..ToolFacts::default()
            },
        }),
        Part::ToolCallResponse {
            id,
            name,
            response,
            is_error,
        } => Some(ToolPart {
            kind: Kind::ToolResult,
            id: id.clone(),
            facts: ToolFacts {
                name: name.clone().unwrap_or_default(),
                text: text_of(response),
                is_error: is_error.unwrap_or(false),
                changed: false,
            },
        }),
        _ => None,
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES))
        .unwrap_or(text)
}

/// The texts in a value, one a line.
fn text_of(value: &Value) -> String {
    let mut text = String::new();
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        if text.len() >= MAX_TEXT_BYTES {
            break;
        }
        match value {
            Value::String(part) => {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(cut(part));
            }
            Value::Array(values) => waiting.extend(values.iter().rev()),
            Value::Object(map) => waiting.extend(map.values().rev()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    text
}
