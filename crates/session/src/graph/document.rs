//! The session document, made from the state of a [`SessionGraph`].

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentsight_model::document::{
    Agent, AgentName, Call, CallRequest, CallResponse, CallThread, Cost, Coverage, Process,
    Session, SessionDocument, TlsCoverage, ToolCall,
};
use agentsight_model::{
    ClassCounters, EventClass, KTime, PartInfo, ProcessKey, SourceFile, WallClock,
};

use super::calls::StoredCall;
use super::{
    ProcessRecord, SessionGraph, ToolCallRecord, actions, costs, resources, servers, threads,
};
use crate::agents::{Identity, identify, version_in_path};
use crate::intent::{CallWords, ProcessLinks, RequestLinks, Tree, Windows};
use crate::tool::ToolKind;

/// Ancestors looked at for the program that a forked process still runs, and for an agent's launcher.
const MAX_ANCESTORS: usize = 64;

/// Times of one session as the document writes them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(WallClock);

impl Clock {
    /// RFC 3339 in UTC, to the nanosecond, so that texts sort as times do.
    pub(crate) fn text(self, time: KTime) -> String {
        let unix_ns = self.0.unix_ns(time);
        jiff::Timestamp::from_nanosecond(i128::from(unix_ns))
            .map_or_else(|_| String::new(), |time| format!("{time:.9}"))
    }

    pub(super) fn system_time(self, time: KTime) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0.unix_ns(time).try_into().unwrap_or(0))
    }
}

pub(super) fn build(graph: &SessionGraph) -> SessionDocument {
    let clock = Clock(
        graph
            .start
            .as_ref()
            .map_or(WallClock::default(), |(_, start)| start.clock),
    );
    let tools = graph.tool_calls.all();
    let callers = graph.calls.all().iter().map(|stored| stored.call.process);
    let tree = Tree::of(&graph.processes, callers);
    let words: Vec<CallWords> = tools
        .iter()
        .map(|tool| CallWords::of(&tool.name, &tool.arguments))
        .collect();
    let windows = Windows::of(tools);
    let requests = RequestLinks::find(graph.rpc.all(), tools, &windows);
    let links = ProcessLinks::find(&tree, tools, &words, &windows, &requests);
    let acted = actions::build(graph, clock, &tree, &words, (&links, &requests));
    let agents = agents(graph, &tree);
    // The last one that has a key holds: a process is met once, but a hostile ledger may say otherwise.
    let positions: HashMap<ProcessKey, usize> = tree
        .order
        .iter()
        .filter_map(|position| Some((tree.processes.get(*position)?.key, *position)))
        .collect();
    let program = |key: ProcessKey| {
        positions
            .get(&key)
            .and_then(|position| last_program(&tree, *position))
            .map_or_else(String::new, |exec| exec.exe.path.clone())
    };
    let text = |time: KTime| clock.text(time);
    let name_of = |key: ProcessKey| {
        let exec = positions.get(&key).and_then(|at| last_program(&tree, *at));
        exec.map_or_else(String::new, |exec| identify(exec).name)
    };
    let session = session(graph, clock, &tree, &agents);
    let mut agents: Vec<Agent> = agents.into_iter().map(|agent| agent.document).collect();
    let called = servers::build(graph, clock, &requests, name_of, &mut agents);
    let mut document = SessionDocument {
        session,
        processes: tree
            .order
            .iter()
            .filter_map(|position| process(graph, &tree, *position, clock))
            .collect(),
        containers: graph.containers.values().cloned().collect(),
        llm_calls: calls(graph, clock),
        tool_calls: tool_calls(graph, (&words, &requests), acted.by_tool, clock),
        mcp_calls: called.mcp,
        a2a_calls: called.a2a,
        rpc_calls: called.other,
        actions: acted.actions,
        agents,
        messages: called.messages,
        findings: {
            let dark = graph.tls_connections.findings(&program, &text);
            graph.findings.listed(clock).chain(dark).collect()
        },
        coverage: Coverage {
            tls: TlsCoverage {
                wire_bytes: graph.tls_connections.wire_bytes(),
                dark_connections: graph.tls_connections.dark_connections(&program, &text),
                ..graph.tls.clone()
            },
            ..coverage(graph)
        },
        cost: Cost::default(),
    };
    let tool_of = |key: ProcessKey| {
        let position = positions.get(&key)?;
        Some(links.cause(*position)?.cause.tool)
    };
    resources::fill(&mut document, graph, tool_of);
    costs::add(&mut document, graph, clock);
    document
}

fn session(graph: &SessionGraph, clock: Clock, tree: &Tree<'_>, agents: &[FoundAgent]) -> Session {
    let (started, start) = match &graph.start {
        Some((time, start)) => (Some(*time), start.clone()),
        None => (None, agentsight_model::SessionStart::default()),
    };
    let (ended, end) = match &graph.end {
        Some((time, end)) => (Some(*time), Some(end)),
        None => (None, None),
    };
    let status = match ended {
        Some(_) => "ended",
        None if graph.interrupted => "interrupted",
        None => "running",
    };
    Session {
        id: start.id,
        agent: session_agent(tree, agents, &start.command),
        command: start.command,
        cwd: start.cwd,
        user: start.user,
        started_at: started.map_or_else(String::new, |time| clock.text(time)),
        ended_at: ended.map(|time| clock.text(time)),
        exit_code: end.and_then(|end| end.exit_code),
        signal: end.and_then(|end| end.signal),
        host: start.host,
        kernel: start.kernel,
        status: status.to_owned(),
        resources: None,
    }
}

/// The agent that a session is about: the first one, by name if a profile knows it; else the program.
fn session_agent(tree: &Tree<'_>, agents: &[FoundAgent], command: &[String]) -> AgentName {
    let known = agents.iter().find(|agent| agent.identity.known);
    if let Some(agent) = known.or(agents.first()) {
        return AgentName {
            name: agent.identity.name.clone(),
            version: agent.identity.version.clone(),
        };
    }
    let mut execs = tree
        .order
        .iter()
        // The last one: `env` and its like are gone once they have run what they are for.
        .filter_map(|position| tree.processes.get(*position)?.execs.last());
    let name = execs.next().map(|exec| identify(exec).name).or_else(|| {
        let program = command.first()?;
        Some(crate::intent::file_name(program).to_owned())
    });
    AgentName {
        name: name.unwrap_or_default(),
        version: None,
    }
}

/// The program that a process runs in the end: its own last one, or what it was forked with.
fn last_program<'a>(tree: &Tree<'a>, position: usize) -> Option<&'a super::ExecRecord> {
    let mut position = position;
    let mut time = KTime(u64::MAX);
    for _ in 0..MAX_ANCESTORS {
        let process = tree.processes.get(position)?;
        let mut execs = process.execs.iter().rev();
        if let Some(exec) = execs.find(|exec| exec.time <= time || exec.found) {
            return Some(exec);
        }
        time = process.started();
        position = tree.parent(position)?;
    }
    None
}

fn process(
    graph: &SessionGraph,
    tree: &Tree<'_>,
    position: usize,
    clock: Clock,
) -> Option<Process> {
    let record = tree.processes.get(position)?;
    let exec = last_program(tree, position);
    let exit = record.exit.as_ref();
    Some(Process {
        key: record.key,
        pid: record.key.tgid,
        start_ns: record.key.start_ns,
        parent_key: record.parent,
        exe: exec.map_or_else(|| record.comm.clone(), |exec| exec.exe.path.clone()),
        exe_inode: exec.map_or_else(String::new, |exec| {
            format!("{}:{}", exec.exe.dev, exec.exe.ino)
        }),
        argv: exec.map_or_else(Vec::new, |exec| exec.argv.clone()),
        cwd: exec.map_or_else(String::new, |exec| exec.cwd.clone()),
        uid: exec.map_or(0, |exec| exec.uid),
        started_at: clock.text(record.started()),
        ended_at: exit.map(|(_, time, _)| clock.text(*time)),
        exit_code: exit.and_then(|(_, _, exit)| exit.code),
        signal: exit.and_then(|(_, _, exit)| exit.signal),
        container: exec
            .and_then(|exec| graph.containers.get(&exec.cgroup))
            .map(|container| container.id.clone()),
        resources: None,
    })
}

fn calls(graph: &SessionGraph, clock: Clock) -> Vec<Call> {
    let threads = threads::find(graph.calls.all(), graph.tool_calls.all());
    let mut order: Vec<_> = graph.calls.all().iter().zip(threads).collect();
    order.sort_by_key(|(stored, _)| stored.call.started);
    // Sources are recorded with the call that first sent a content; later ones have the same file.
    let mut files = HashMap::new();
    order
        .into_iter()
        .map(|(stored, thread)| {
            let sources = stored.sources.iter();
            files.extend(sources.map(|source| (source.sha256.as_str(), &source.file)));
            call(stored, thread, &files, clock)
        })
        .collect()
}

fn call(
    stored: &StoredCall,
    thread: Option<CallThread>,
    files: &HashMap<&str, &SourceFile>,
    clock: Clock,
) -> Call {
    let call = &stored.call;
    // Milliseconds lose nothing that matters here: 2^53 ns are 104 days.
    #[allow(clippy::cast_precision_loss)]
    let milliseconds = |ns: u64| ns as f64 / 1e6;
    Call {
        id: call.id.clone(),
        provider: call.provider.clone(),
        api: call.api.clone(),
        model: call.model.clone(),
        operation: call.operation.clone(),
        process: call.process,
        endpoint: call.endpoint.clone(),
        transport: call.transport.clone(),
        status: call.status,
        started_at: clock.text(call.started),
        ttft_ms: call
            .first_byte
            .map(|time| milliseconds(time.since(call.started))),
        duration_ms: milliseconds(call.ended.since(call.started)),
        complete: call.complete,
        request: CallRequest {
            messages: stored
                .messages
                .iter()
                .map(|message| (**message).clone())
                .collect(),
            system: stored.system.to_vec(),
            tools: stored.tools.to_vec(),
            parameters: call.request.parameters.clone(),
            body: call.request.body.clone(),
        },
        response: CallResponse {
            messages: stored
                .answers
                .iter()
                .map(|message| (**message).clone())
                .collect(),
            body: call.response.body.clone(),
            extra: call.response.extra.clone(),
        },
        finish_reasons: call.finish_reasons.clone(),
        usage: call.usage,
        cost_usd: None,
        error: call.error.clone(),
        parts: call
            .parts
            .iter()
            .map(|part| PartInfo {
                file: files.get(part.sha256.as_str()).copied().cloned(),
                ..part.clone()
            })
            .collect(),
        thread,
        sources: stored.sources.clone(),
    }
}

fn tool_calls(
    graph: &SessionGraph,
    (words, requests): (&[CallWords], &RequestLinks),
    mut actions: Vec<Vec<String>>,
    clock: Clock,
) -> Vec<ToolCall> {
    let tools: &[ToolCallRecord] = graph.tool_calls.all();
    let mut order: Vec<usize> = (0..tools.len()).collect();
    order.sort_by_key(|position| tools.get(*position).map(|tool| (tool.requested, *position)));
    let document = |position: usize| {
        let (tool, words) = tools.get(position).zip(words.get(position))?;
        let result = tool.result.as_ref();
        let carrier = requests.call_of(position);
        let carrier = carrier.and_then(|call| graph.rpc.all().get(call));
        let kind = carrier.map_or(words.shape.kind, |_| ToolKind::Mcp);
        Some(ToolCall {
            id: tool.id.clone(),
            name: tool.name.clone(),
            kind: kind.as_str().to_owned(),
            mcp_call: carrier.map(|record| record.call.id.clone()),
            arguments: tool.arguments.clone(),
            result: result.and_then(|result| result.value().cloned()),
            llm_call: tool.call_id.clone(),
            requested_at: clock.text(tool.requested),
            finished_at: result.map(|result| clock.text(result.time)),
            actions: actions
                .get_mut(position)
                .map(std::mem::take)
                .unwrap_or_default(),
            status: match result {
                None => "pending",
                Some(result) if result.is_error() => "error",
                Some(_) => "ok",
            }
            .to_owned(),
            cost_usd: None,
            resources: None,
        })
    };
    order.into_iter().filter_map(document).collect()
}

/// An agent of the session.
struct FoundAgent {
    identity: Identity,
    document: Agent,
}

/// Every process that talks to a model is an agent, together with the launchers above it that a profile
/// gives the same name; its processes are all below it that belong to no other agent.
fn agents(graph: &SessionGraph, tree: &Tree<'_>) -> Vec<FoundAgent> {
    let mut starts: HashMap<usize, Identity> = HashMap::new();
    for caller in tree
        .order
        .iter()
        .filter(|position| tree.callers.contains(position))
    {
        let identity = last_program(tree, *caller)
            .map(identify)
            .unwrap_or_default();
        starts.insert(launcher(tree, *caller, &identity), identity);
    }
    if starts.is_empty() {
        let known = |position: &usize| {
            let identity = identify(tree.processes.get(*position)?.execs.first()?);
            identity.known.then_some((*position, identity))
        };
        starts.extend(tree.order.iter().find_map(known));
    }
    let mut agents: Vec<FoundAgent> = Vec::new();
    let mut owners: Vec<Option<usize>> = vec![None; tree.processes.len()];
    for position in &tree.order {
        let inherited = tree
            .parent(*position)
            .and_then(|parent| owners.get(parent).copied().flatten());
        let owner = match starts.remove(position) {
            Some(identity) => {
                agents.push(new_agent(agents.len(), inherited, identity));
                Some(agents.len().saturating_sub(1))
            }
            None => inherited,
        };
        if let Some(slot) = owners.get_mut(*position) {
            *slot = owner;
        }
        if let Some((agent, process)) = owner
            .and_then(|owner| agents.get_mut(owner))
            .zip(tree.processes.get(*position))
        {
            agent.document.processes.push(process.key);
        }
    }
    name_versions(graph, &mut agents);
    agents
}

fn new_agent(number: usize, parent: Option<usize>, identity: Identity) -> FoundAgent {
    let id = |number: usize| format!("agent-{}", number.saturating_add(1));
    FoundAgent {
        document: Agent {
            id: id(number),
            name: identity.name.clone(),
            parent: parent.map(id),
            processes: Vec::new(),
            kind: Agent::AGENT.to_owned(),
            version: identity.version.clone(),
        },
        identity,
    }
}

/// The topmost process above `caller` that is the same agent by its profile and talks to no model.
fn launcher(tree: &Tree<'_>, caller: usize, identity: &Identity) -> usize {
    let mut top = caller;
    for _ in 0..MAX_ANCESTORS {
        let Some(parent) = tree.parent(top).filter(|_| identity.known) else {
            break;
        };
        let same = last_program(tree, parent)
            .map(identify)
            .is_some_and(|above| above.known && above.name == identity.name);
        if !same || tree.callers.contains(&parent) {
            break;
        }
        top = parent;
    }
    top
}

/// Looks for versions in the paths of files that agents without one opened.
fn name_versions(graph: &SessionGraph, agents: &mut [FoundAgent]) {
    let mut unnamed: HashMap<ProcessKey, usize> = HashMap::new();
    for (position, agent) in agents.iter().enumerate() {
        if agent.identity.known && agent.identity.version.is_none() {
            // The launcher and what it became; not whatever they ran later.
            let own = agent.document.processes.iter().take(2);
            unnamed.extend(own.map(|key| (*key, position)));
        }
    }
    if unnamed.is_empty() {
        return;
    }
    for record in graph.files.records() {
        let Some(agent) = unnamed
            .get(&record.key.process)
            .and_then(|position| agents.get_mut(*position))
            .filter(|agent| agent.identity.version.is_none())
        else {
            continue;
        };
        agent.identity.version = version_in_path(&agent.identity.name, &record.key.path);
    }
}

fn coverage(graph: &SessionGraph) -> Coverage {
    let mut events = graph
        .end
        .as_ref()
        .map(|(_, end)| end.counters.clone())
        .unwrap_or_default();
    if graph.end.is_none() {
        // While a session runs, only losses are on record; what was made and stored comes with its end.
        for (class, dropped) in &graph.losses {
            let counters: &mut ClassCounters = events.entry(EventClass::clone(class)).or_default();
            counters.dropped.clone_from(dropped);
        }
    }
    let mut omitted = graph.budget.omitted();
    let nameless = graph.files.nameless_count();
    if nameless > 0 {
        let count = omitted.entry("file.use".to_owned()).or_default();
        *count = count.saturating_add(nameless);
    }
    Coverage {
        events,
        tls: TlsCoverage::default(),
        capabilities: graph
            .start
            .as_ref()
            .map(|(_, start)| start.capabilities.clone())
            .unwrap_or_default(),
        omitted,
    }
}

/// The name of a process for other modules' sake: its key.
pub(super) fn position_of(tree: &Tree<'_>, graph: &SessionGraph, key: ProcessKey) -> Option<usize> {
    graph
        .processes
        .position(key)
        .filter(|position| *position < tree.processes.len())
}

impl ProcessRecord {
    /// The working directory that the process was last seen to start a program in.
    pub(crate) fn cwd(&self) -> Option<&str> {
        self.execs
            .last()
            .map(|exec| exec.cwd.as_str())
            .filter(|cwd| !cwd.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use agentsight_model::{LlmCall, Usage};
    use serde_json::json;

    use super::*;
    use crate::graph::{budget::Budget, calls::CallLog};

    fn priced(provider: &str, asked: &str, model: &str) -> Option<f64> {
        let body = json!({
            "bytes": 0, "sha256": "", "wire_bytes": 0, "encoding": null, "complete": true,
        });
        let mut made: LlmCall = serde_json::from_value(json!({
            "id": "llm-1", "provider": provider, "api": "anthropic.messages", "model": model,
            "request_model": asked, "operation": "chat", "process": ProcessKey::default(),
            "endpoint": "", "transport": "http/1.1", "status": 200,
            "started": 1, "first_byte": null, "ended": 2, "complete": true,
            "request": {"messages": [], "system": [], "tools": [], "parameters": {}, "body": body},
            "response": {"messages": [], "id": null, "body": body},
            "finish_reasons": [], "usage": Usage::default(),
        }))
        .unwrap();
        made.usage.input_tokens = Some(1_200);
        made.usage.cache_read_input_tokens = Some(1_000);
        made.usage.cache_creation_input_tokens = Some(100);
        made.usage.output_tokens = Some(80);
        let mut log = CallLog::default();
        let position = log.add(&made, &mut Budget::default());
        let clock = Clock(WallClock {
            offset_ns: 1_788_220_800_000_000_000,
        });
        costs::price_of(&log.get(position).unwrap().call, &[], clock).map(|(usd, _)| usd)
    }

    #[test]
    fn a_call_has_its_list_price_if_its_model_is_known() {
        let model = "claude-sonnet-4-5";
        let on_bedrock = "global.anthropic.claude-sonnet-4-5-20250929-v1:0";
        for (provider, asked) in [("anthropic", model), ("aws.bedrock", on_bedrock)] {
            let price = priced(provider, asked, model).unwrap();
            assert!((price - 0.002_175).abs() < 1e-9, "{provider}: {price}");
        }
        assert_eq!(priced("anthropic", "m", "m"), None);
    }
}
