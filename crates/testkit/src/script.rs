//! What the scripted model says, turn by turn.
//!
//! The server keeps no conversation. Which turn is next follows from the number of tool results in the
//! request, so that retries, restarts and agents in parallel get the answers that belong to them.

use std::time::Duration;

use agentsight_model::Usage;
use serde_json::{Value, json};

/// What the scripted model says, and how its answers travel.
#[derive(Clone, Debug)]
pub struct Script {
    turns: Vec<Turn>,
    pub(crate) gzip: bool,
    pub(crate) delta_chars: usize,
    pub(crate) write_bytes: Option<usize>,
    pub(crate) pause: Duration,
}

impl Script {
    /// A script of these turns. Without any, the model answers with an empty text.
    pub fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self {
            turns: turns.into_iter().collect(),
            gzip: false,
            delta_chars: 16,
            write_bytes: None,
            pause: Duration::ZERO,
        }
    }

    /// Compresses answers for clients that accept gzip.
    #[must_use]
    pub fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// Characters of text or arguments in one piece of a stream; at least 1.
    #[must_use]
    pub fn delta_chars(mut self, count: usize) -> Self {
        self.delta_chars = count.max(1);
        self
    }

    /// Bytes in one HTTP chunk of a stream, at least 1, so that events fall across chunks. Without it, each
    /// event is a chunk.
    #[must_use]
    pub fn write_bytes(mut self, count: usize) -> Self {
        self.write_bytes = Some(count.max(1));
        self
    }

    /// Waits this long between two pieces of a stream.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The turns.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// Index of the turn that answers a request which carries so many tool results: the last one for which
    /// all results of the turns before it are there.
    #[must_use]
    pub fn turn_for(&self, tool_results: usize) -> usize {
        let mut results_due = 0_usize;
        let mut index = 0;
        for turn in &self.turns {
            results_due = results_due.saturating_add(turn.tools.len());
            if turn.tools.is_empty() || results_due > tool_results {
                break;
            }
            index += 1;
        }
        index.min(self.turns.len().saturating_sub(1))
    }
}

/// One answer of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    pub(crate) text: String,
    pub(crate) tools: Vec<ToolRequest>,
    pub(crate) usage: Option<Usage>,
    pub(crate) fault: Option<(Fault, u32)>,
}

impl Turn {
    /// An answer with this text, which may be empty.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Adds a tool call. Several in one turn are called in parallel.
    #[must_use]
    pub fn tool(mut self, tool: ToolRequest) -> Self {
        self.tools.push(tool);
        self
    }

    /// Reports this usage instead of one estimated from the sizes of request and answer.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Goes wrong in this way the first `times` times that this turn is asked for.
    #[must_use]
    pub fn fault(mut self, fault: Fault, times: u32) -> Self {
        self.fault = Some((fault, times));
        self
    }
}

/// A tool that the model asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRequest {
    /// Name of the tool.
    pub name: String,
    /// Its arguments: an object.
    pub arguments: Value,
}

impl ToolRequest {
    /// Any tool.
    pub fn new(name: impl Into<String>, arguments: Value) -> Self {
        Self {
            name: name.into(),
            arguments,
        }
    }

    /// The demo agent's `shell`.
    #[must_use]
    pub fn shell(command: &str) -> Self {
        Self::new("shell", json!({ "command": command }))
    }

    /// The demo agent's `write_file`.
    #[must_use]
    pub fn write_file(path: &str, content: &str) -> Self {
        Self::new("write_file", json!({ "path": path, "content": content }))
    }

    /// The demo agent's `read_file`.
    #[must_use]
    pub fn read_file(path: &str) -> Self {
        Self::new("read_file", json!({ "path": path }))
    }
}

/// How an answer goes wrong. A piece is one event of a stream, or 64 bytes of an answer in one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This HTTP status, with an error object of the dialect.
    Status {
        /// The status.
        code: u16,
        /// Seconds for a `Retry-After` header.
        retry_after_seconds: Option<u32>,
    },
    /// These bytes instead of an HTTP response; then the connection ends.
    Garbage(Vec<u8>),
    /// The body ends after so many pieces, in good order for HTTP but not for the dialect.
    Truncated {
        /// Pieces that are sent.
        pieces: usize,
    },
    /// The connection breaks after so many pieces.
    Cut {
        /// Pieces that are sent.
        pieces: usize,
    },
    /// After so many pieces nothing more comes; the connection stays open until the client leaves or the
    /// server stops.
    NoEnd {
        /// Pieces that are sent.
        pieces: usize,
    },
    /// The answer is whole, but its first object carries a field with arrays nested this deep.
    NestedJson {
        /// Depth.
        levels: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_turn_follows_from_the_number_of_results() {
        let call = || ToolRequest::shell("true");
        let script = Script::new([
            Turn::text("one").tool(call()),
            Turn::text("two").tool(call()).tool(call()),
            Turn::text("three").tool(call()),
            Turn::text("end"),
        ]);
        for (results, turn) in [(0, 0), (1, 1), (2, 1), (3, 2), (4, 3), (5, 3), (900, 3)] {
            assert_eq!(script.turn_for(results), turn, "{results} results");
        }
    }

    #[test]
    fn a_script_without_an_end_repeats_its_last_turn() {
        let script = Script::new([Turn::text("again").tool(ToolRequest::shell("true"))]);
        assert_eq!(script.turn_for(0), 0);
        assert_eq!(script.turn_for(7), 0);
        assert_eq!(Script::new([]).turn_for(3), 0);
    }
}
