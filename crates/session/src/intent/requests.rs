//! Tool calls that went to another process as a request, and what that process did to answer it.
//!
//! A request of MCP carries a tool call if it was sent while the call was open, for a tool of the same name
//! (agents put the server's name before it, as in `mcp__server__tool`) and with the same arguments. What the
//! server's process does between request and answer follows from it: evidence `mcp-request`. Where a server
//! works on several requests at a time, the latest is taken, with less confidence.

use std::collections::HashMap;

use agentsight_model::{KTime, ProcessKey, RpcCall};
use serde_json::Value;

use super::{Cause, Evidence, Windows};
use crate::graph::{RpcRecord, ToolCallRecord};

/// Requests of a server looked at for one moment.
const MAX_OPEN_REQUESTS: usize = 64;

/// A request that a process worked on.
#[derive(Clone, Copy, Debug)]
struct Served {
    started: u64,
    ended: u64,
    /// The latest end among it and those before.
    latest_end: u64,
    tool: Option<usize>,
}

/// Which tool calls were carried by which requests, and which processes answered them.
#[derive(Debug, Default)]
pub(crate) struct RequestLinks {
    call_of_tool: HashMap<usize, usize>,
    tool_of_call: HashMap<usize, usize>,
    served: HashMap<ProcessKey, Vec<Served>>,
}

impl RequestLinks {
    pub(crate) fn find(calls: &[RpcRecord], tools: &[ToolCallRecord], windows: &Windows) -> Self {
        let mut links = Self::default();
        let mut order: Vec<usize> = (0..calls.len()).collect();
        order.sort_by_key(|position| calls.get(*position).map(|record| record.call.started));
        for position in order {
            let Some(record) = calls.get(position) else {
                continue;
            };
            let call = &record.call;
            if call.protocol != "mcp" || call.method != "tools/call" {
                continue;
            }
            let tool = links.carried(call, tools, windows);
            if let Some(tool) = tool {
                links.call_of_tool.insert(tool, position);
                links.tool_of_call.insert(position, tool);
            }
            if let Some(server) = call.server {
                links.serve(server, call, tool);
            }
        }
        links
    }

    /// The tool call that a request carries.
    fn carried(
        &self,
        call: &RpcCall,
        tools: &[ToolCallRecord],
        windows: &Windows,
    ) -> Option<usize> {
        let name = call.name.as_deref()?;
        let arguments = call.params.get("arguments").unwrap_or(&Value::Null);
        let open = windows.open_at(tools, call.started.0).into_iter();
        let fits = |position: &usize| {
            tools.get(*position).is_some_and(|tool| {
                !self.call_of_tool.contains_key(position)
                    && is_name_of(&tool.name, name)
                    && same_arguments(&tool.arguments, arguments)
            })
        };
        // Equal calls are carried out in the order in which they were asked for.
        open.filter(fits).max_by_key(|position| {
            let tool = tools.get(*position);
            let own = tool.is_some_and(|tool| Some(tool.process) == call.client);
            (own, std::cmp::Reverse(*position))
        })
    }

    fn serve(&mut self, server: ProcessKey, call: &RpcCall, tool: Option<usize>) {
        let served = self.served.entry(server).or_default();
        let before = served.last().map_or(0, |last| last.latest_end);
        served.push(Served {
            started: call.started.0,
            ended: call.ended.0,
            latest_end: before.max(call.ended.0),
            tool,
        });
    }

    /// Whether a process answers requests for tools.
    pub(crate) fn serves(&self, process: ProcessKey) -> bool {
        self.served.contains_key(&process)
    }

    /// The request that carried a tool call.
    pub(crate) fn call_of(&self, tool: usize) -> Option<usize> {
        self.call_of_tool.get(&tool).copied()
    }

    /// The tool call that a request carried.
    pub(crate) fn tool_of(&self, call: usize) -> Option<usize> {
        self.tool_of_call.get(&call).copied()
    }

    /// The tool call that a process worked on at `time`.
    pub(crate) fn cause(&self, process: ProcessKey, time: KTime) -> Option<Cause> {
        let served = self.served.get(&process)?;
        let begun = served.partition_point(|request| request.started <= time.0);
        let earlier = served.get(..begun)?.iter().rev();
        let open: Vec<Option<usize>> = earlier
            .take(MAX_OPEN_REQUESTS)
            .take_while(|request| request.latest_end >= time.0)
            .filter(|request| request.ended >= time.0)
            .map(|request| request.tool)
            .collect();
        let tool = (*open.first()?)?;
        Some(Cause {
            tool,
            confidence_percent: if open.len() == 1 { 90 } else { 60 },
            evidence: Evidence::McpRequest,
            windowed: true,
            requested: true,
        })
    }
}

/// Whether the name that a model knows a tool by is the server's own, with something before it.
fn is_name_of(known: &str, own: &str) -> bool {
    let Some(prefix) = known.strip_suffix(own) else {
        // Agents replace what their provider does not allow in names.
        let plain = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let (known, own) = (plain(known), plain(own));
        return known.strip_suffix(&own).is_some_and(ends_a_prefix);
    };
    ends_a_prefix(prefix)
}

fn ends_a_prefix(prefix: &str) -> bool {
    prefix.is_empty() || prefix.ends_with(|c: char| !c.is_ascii_alphanumeric())
}

/// Whether arguments are the same; none is the same as an empty object.
fn same_arguments(asked: &Value, sent: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    asked == sent || is_empty(asked) && is_empty(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_by_longer_names() {
        for (known, own, expected) in [
            ("mcp__fs__read_file", "read_file", true),
            ("fs_read_file", "read_file", true),
            ("fs.read_file", "read_file", true),
            ("read_file", "read_file", true),
            ("mcp__fs__my_tool", "my-tool", true),
            ("thread_file", "read_file", false),
            ("read_file", "write_file", false),
            ("file", "read_file", false),
        ] {
            assert_eq!(is_name_of(known, own), expected, "{known} {own}");
        }
    }

    #[test]
    fn no_arguments_are_empty_arguments() {
        use serde_json::json;
        assert!(same_arguments(&json!({}), &Value::Null));
        assert!(same_arguments(&json!({"a": 1}), &json!({"a": 1})));
        assert!(!same_arguments(&json!({"a": 1}), &json!({"a": 2})));
    }
}
