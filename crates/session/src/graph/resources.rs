//! What processes used, and what tool calls and the session did by them.
//!
//! A process's figures are those of its end; one that still runs, or whose end was not seen, has none.

use std::collections::HashMap;

use agentsight_model::document::SessionDocument;
use agentsight_model::{ProcessKey, ResourceUse};

use super::SessionGraph;

/// Adds times and bytes; of the greatest resident sets the greatest counts, as they were not at one time.
fn add(sum: &mut Option<ResourceUse>, one: &ResourceUse) {
    let sum = sum.get_or_insert_default();
    sum.user_ns = sum.user_ns.saturating_add(one.user_ns);
    sum.system_ns = sum.system_ns.saturating_add(one.system_ns);
    sum.max_rss_bytes = sum.max_rss_bytes.max(one.max_rss_bytes);
    sum.storage_read_bytes = sum
        .storage_read_bytes
        .saturating_add(one.storage_read_bytes);
    sum.storage_write_bytes = sum
        .storage_write_bytes
        .saturating_add(one.storage_write_bytes);
}

/// Fills in the figures. `tool_of` says which tool call caused a process, by its place in the graph's list.
pub(super) fn fill(
    document: &mut SessionDocument,
    graph: &SessionGraph,
    tool_of: impl Fn(ProcessKey) -> Option<usize>,
) {
    let tools = graph.tool_calls.all();
    let places: HashMap<&str, usize> = document
        .tool_calls
        .iter()
        .enumerate()
        .map(|(place, tool)| (tool.id.as_str(), place))
        .collect();
    let mut of_tools: Vec<Option<ResourceUse>> = vec![None; document.tool_calls.len()];
    for process in &mut document.processes {
        let Some(record) = graph
            .processes
            .position(process.key)
            .and_then(|position| graph.processes.all().get(position))
        else {
            continue;
        };
        let Some((_, _, exit)) = &record.exit else {
            continue;
        };
        process.resources = Some(exit.resources);
        add(&mut document.session.resources, &exit.resources);
        let place = tool_of(process.key)
            .and_then(|tool| tools.get(tool))
            .and_then(|tool| places.get(tool.id.as_str()))
            .and_then(|place| of_tools.get_mut(*place));
        if let Some(sum) = place {
            add(sum, &exit.resources);
        }
    }
    for (tool, sum) in document.tool_calls.iter_mut().zip(of_tools) {
        tool.resources = sum;
    }
}
