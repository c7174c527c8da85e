//! What caused what: tool calls joined to the processes and files that carried them out.
//!
//! Evidence, strongest first, with the confidence that it gives:
//!
//! | evidence | meaning | confidence |
//! |---|---|---|
//! | `argv-exact` | an argument, or the whole argument vector, is the text of the call | 0.98 |
//! | `argv-contains` | an argument contains the text of the call, or carries one of its arguments | 0.9, 0.7 |
//! | `path-exact` | a path in the arguments is the path of the file | 0.95 |
//! | `path-suffix` | a relative path in the arguments is the end of the path of the file | 0.8 |
//! | `mcp-request` | a server's process did it between the request of MCP that carried the call and its answer | 0.9, 0.6 |
//! | `rename` | the file was renamed to one that is joined by path | 0.9 |
//! | `window` | it began between the answer that asked and the request that brought the result | 0.6 to 0.3 alone |
//! | `lineage` | a descendant of a joined process, by who forked whom | a little below that process's |
//!
//! `window` also holds, and is listed, for every join by text or path. Confidence is lower where the
//! caller is not an ancestor, and where a call already has a process of its own with the same text.

mod carried;
mod files;
mod judge;
mod ordinary;
mod processes;
mod requests;
mod text;
mod tree;
mod words;

use agentsight_model::document::Link;

pub(crate) use files::FileLinks;
pub(crate) use judge::{FileUseKind, Intent, Judge};
pub(crate) use ordinary::file_name;
pub(crate) use processes::ProcessLinks;
pub(crate) use requests::RequestLinks;
pub(crate) use tree::Tree;
pub(crate) use words::CallWords;

use crate::graph::ToolCallRecord;

/// Named evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    ArgvExact,
    ArgvContains,
    PathExact,
    PathSuffix,
    McpRequest,
    Rename,
    Window,
    Lineage,
}

impl Evidence {
    fn as_str(self) -> &'static str {
        match self {
            Self::ArgvExact => "argv-exact",
            Self::ArgvContains => "argv-contains",
            Self::PathExact => "path-exact",
            Self::PathSuffix => "path-suffix",
            Self::McpRequest => "mcp-request",
            Self::Rename => "rename",
            Self::Window => "window",
            Self::Lineage => "lineage",
        }
    }
}

/// The tool call that something is joined to, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cause {
    /// Position of the tool call.
    pub(crate) tool: usize,
    /// In hundredths, so that equal joins compare equal.
    pub(crate) confidence_percent: u8,
    pub(crate) evidence: Evidence,
    /// Whether the time window was part of the evidence.
    pub(crate) windowed: bool,
    /// Whether a request of MCP for the call was open at a server's process.
    pub(crate) requested: bool,
}

impl Cause {
    /// The form used in the session document.
    pub(crate) fn link(&self) -> Link {
        let mut evidence = vec![self.evidence.as_str().to_owned()];
        if self.requested && self.evidence != Evidence::McpRequest {
            evidence.push(Evidence::McpRequest.as_str().to_owned());
        }
        if self.windowed && self.evidence != Evidence::Window {
            evidence.push(Evidence::Window.as_str().to_owned());
        }
        Link {
            confidence: f64::from(self.confidence_percent) / 100.0,
            evidence,
        }
    }
}

/// Tool calls in the order in which they may have begun, to be looked up by time.
#[derive(Debug)]
pub(crate) struct Windows {
    /// Positions of tool calls, by the time from which they may be carried out.
    order: Vec<usize>,
    /// For each place in `order`, the latest end among it and those before.
    latest_end: Vec<u64>,
}

/// Tool calls looked at for one moment. Agents run a handful at a time.
const MAX_OPEN_CALLS: usize = 64;

/// Earlier tool calls passed over in search of those that are still open at a moment.
const MAX_PASSED: usize = 256;

impl Windows {
    pub(crate) fn of(tools: &[ToolCallRecord]) -> Self {
        let mut order: Vec<usize> = (0..tools.len()).collect();
        order.sort_by_key(|position| tools.get(*position).map(|tool| (tool.opened, *position)));
        let mut latest = 0;
        let ends = order.iter().map(|position| {
            latest = latest.max(tools.get(*position).map_or(0, |tool| tool.closed().0));
            latest
        });
        Self {
            latest_end: ends.collect(),
            order,
        }
    }

    /// Tool calls whose window holds `time`, latest first.
    fn open_at(&self, tools: &[ToolCallRecord], time: u64) -> Vec<usize> {
        let begun = self.order.partition_point(|position| {
            tools
                .get(*position)
                .is_some_and(|tool| tool.opened.0 <= time)
        });
        let mut open = Vec::new();
        let earlier = self.order.iter().zip(&self.latest_end).take(begun).rev();
        for (position, latest_end) in earlier.take(MAX_PASSED) {
            if *latest_end < time || open.len() >= MAX_OPEN_CALLS {
                break;
            }
            if tools
                .get(*position)
                .is_some_and(|tool| tool.closed().0 >= time)
            {
                open.push(*position);
            }
        }
        open
    }
}
