//! The session document, with the look-ups that the report needs.

use std::collections::{HashMap, HashSet};

use agentsight_model::ProcessKey;
use agentsight_model::document::{Action, Agent, Process, SessionDocument, ToolCall};
use serde_json::Value;

/// The document and what belongs to what in it.
pub(super) struct Index<'a> {
    pub(super) doc: &'a SessionDocument,
    pub(super) processes: HashMap<ProcessKey, &'a Process>,
    /// Actions of each tool call, by its id.
    pub(super) by_tool: HashMap<&'a str, Vec<&'a Action>>,
    /// Tool calls of each call, by its id.
    tools: HashMap<&'a str, Vec<&'a ToolCall>>,
    /// Actions that no tool call caused.
    pub(super) outside: Vec<&'a Action>,
    /// Name of the agent of each process, where there is more than one agent.
    agents: HashMap<ProcessKey, &'a str>,
    /// The server of each MCP request, by their ids.
    carriers: HashMap<&'a str, &'a str>,
    server_names: HashMap<&'a str, &'a str>,
}

impl<'a> Index<'a> {
    pub(super) fn of(doc: &'a SessionDocument) -> Self {
        let mut by_tool: HashMap<&str, Vec<&Action>> = HashMap::new();
        let mut outside = Vec::new();
        for action in &doc.actions {
            match &action.tool_call {
                Some(tool) => by_tool.entry(tool).or_default().push(action),
                None => outside.push(action),
            }
        }
        let mut tools: HashMap<&str, Vec<&ToolCall>> = HashMap::new();
        for tool in &doc.tool_calls {
            tools.entry(&tool.llm_call).or_default().push(tool);
        }
        // Servers belong to the agents that call them.
        let talks = |agent: &&Agent| agent.kind == Agent::AGENT || agent.kind.is_empty();
        let several = doc.agents.iter().filter(talks).count() > 1;
        let agents = doc.agents.iter().filter(talks);
        let agents = agents.filter(|_| several).flat_map(|agent| {
            agent
                .processes
                .iter()
                .map(|process| (*process, agent.name.as_str()))
        });
        Self {
            doc,
            processes: doc
                .processes
                .iter()
                .map(|process| (process.key, process))
                .collect(),
            by_tool,
            tools,
            outside,
            agents: agents.collect(),
            carriers: doc
                .mcp_calls
                .iter()
                .filter_map(|call| Some((&*call.id, call.server_id.as_deref()?)))
                .collect(),
            server_names: doc
                .agents
                .iter()
                .map(|agent| (&*agent.id, &*agent.name))
                .collect(),
        }
    }

    /// The agent that a process belongs to, if there are several.
    pub(super) fn agent(&self, process: ProcessKey) -> Option<&'a str> {
        self.agents.get(&process).copied()
    }

    /// Whether a process is an agent's own first one.
    pub(super) fn is_agent_itself(&self, process: ProcessKey) -> bool {
        let mut firsts = self
            .doc
            .agents
            .iter()
            .filter(|agent| agent.kind == Agent::AGENT || agent.kind.is_empty())
            .filter_map(|agent| agent.processes.first());
        firsts.any(|first| *first == process)
    }

    /// The tool calls that the answer of a call asked for.
    pub(super) fn tools_of(&self, call: &str) -> &[&'a ToolCall] {
        self.tools.get(call).map_or(&[], Vec::as_slice)
    }

    /// The name of the MCP server that carried a tool call out.
    pub(super) fn server_of(&self, tool: &ToolCall) -> Option<&'a str> {
        let call = tool.mcp_call.as_deref()?;
        let server = self.carriers.get(call)?;
        self.server_names.get(server).copied()
    }

    /// How many marks of what was not asked for the report has room for: programs, addresses, and files
    /// of each tool call.
    pub(super) fn unasked_count(&self) -> usize {
        let mut files = HashSet::new();
        let mut others = 0;
        for action in self.doc.actions.iter().filter(|action| is_unasked(action)) {
            if action.kind.starts_with("file.") {
                files.insert((&action.tool_call, text_of(action, "file.path")));
            } else {
                others += 1;
            }
        }
        others + files.len()
    }

    /// A path as seen from the session's working directory.
    pub(super) fn short_path<'p>(&self, path: &'p str) -> &'p str {
        let cwd = self.doc.session.cwd.trim_end_matches('/');
        let below = path
            .strip_prefix(cwd)
            .and_then(|rest| rest.strip_prefix('/'));
        below
            .filter(|rest| !rest.is_empty() && !cwd.is_empty())
            .unwrap_or(path)
    }
}

/// Whether a tool call caused an action that none of its words leads to. Forks and ends of processes
/// are left out: they are no more than the program that was run.
pub(super) fn is_unasked(action: &Action) -> bool {
    let is_program = matches!(action.kind.as_str(), "process.fork" | "process.exit");
    !is_program && action.intent == "unstated"
}

/// A text attribute of an action; empty if it has none.
pub(super) fn text_of<'a>(action: &'a Action, name: &str) -> &'a str {
    action
        .attributes
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A number among the attributes of an action.
pub(super) fn number_of(action: &Action, name: &str) -> Option<u64> {
    action.attributes.get(name).and_then(Value::as_u64)
}

/// The argument vector of a `process.exec` action.
pub(super) fn argv_of(action: &Action) -> Vec<String> {
    let argv = action
        .attributes
        .get("process.command_args")
        .and_then(Value::as_array);
    argv.into_iter()
        .flatten()
        .filter_map(|argument| argument.as_str().map(str::to_owned))
        .collect()
}

/// Milliseconds between two RFC 3339 times; not a number if one is none.
pub(super) fn milliseconds(from: &str, to: &str) -> f64 {
    let parse = |text: &str| text.parse::<jiff::Timestamp>().ok();
    match (parse(from), parse(to)) {
        (Some(from), Some(to)) => to.duration_since(from).as_secs_f64() * 1e3,
        _ => f64::NAN,
    }
}

/// The last component of a path.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
