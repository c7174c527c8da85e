//! Servers that agents call, and what went to and fro between them.

use std::collections::HashMap;

use agentsight_model::document::{Agent, AgentMessage, RemoteCall};
use agentsight_model::{ProcessKey, RpcCall, RpcSide, RpcStatus};

use super::SessionGraph;
use super::document::Clock;
use super::rpc::RpcRecord;
use crate::intent::RequestLinks;

/// What the requests of a session tell.
#[derive(Debug, Default)]
pub(super) struct Called {
    pub(super) mcp: Vec<RemoteCall>,
    pub(super) a2a: Vec<RemoteCall>,
    pub(super) other: Vec<RemoteCall>,
    pub(super) messages: Vec<AgentMessage>,
}

/// What makes a server the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ServerKey {
    Process(ProcessKey),
    Endpoint(String),
}

/// Lists the requests, and adds the servers to `agents`.
pub(super) fn build(
    graph: &SessionGraph,
    clock: Clock,
    links: &RequestLinks,
    name_of: impl Fn(ProcessKey) -> String,
    agents: &mut Vec<Agent>,
) -> Called {
    let mut servers = Servers::new(agents);
    let mut order: Vec<(usize, &RpcRecord)> = graph.rpc.all().iter().enumerate().collect();
    order.sort_by_key(|(_, record)| (record.call.started, record.seq));
    // A server may say its name after its first requests.
    for (_, record) in &order {
        servers.add(&record.call, &name_of);
    }
    let tools = graph.tool_calls.all();
    let mut called = Called::default();
    for (position, record) in order {
        let call = &record.call;
        let server_id = servers.id_of(call);
        let tool = links.tool_of(position).and_then(|tool| tools.get(tool));
        let remote = RemoteCall {
            server_id: server_id.clone(),
            tool_call: tool.map(|tool| tool.id.clone()),
            ..remote_call(call, clock)
        };
        if let Some((client, server)) = servers.client_of(call).zip(server_id) {
            called
                .messages
                .extend(messages(call, clock, (client, server)));
        }
        match call.protocol.as_str() {
            "mcp" => called.mcp.push(remote),
            "a2a" => called.a2a.push(remote),
            _ => called.other.push(remote),
        }
    }
    called
        .messages
        .sort_by(|one, other| one.time.cmp(&other.time));
    agents.append(&mut servers.found);
    called
}

/// The servers of a session.
struct Servers {
    /// The agent of each process.
    agents: HashMap<ProcessKey, String>,
    ids: HashMap<ServerKey, String>,
    positions: HashMap<String, usize>,
    found: Vec<Agent>,
}

impl Servers {
    fn new(agents: &[Agent]) -> Self {
        let of_agent = |agent: &Agent| {
            let id = agent.id.clone();
            let processes = agent.processes.clone().into_iter();
            processes.map(move |process| (process, id.clone()))
        };
        Self {
            agents: agents.iter().flat_map(of_agent).collect(),
            ids: HashMap::new(),
            positions: HashMap::new(),
            found: Vec::new(),
        }
    }

    fn add(&mut self, call: &RpcCall, name_of: &impl Fn(ProcessKey) -> String) {
        let kind = match call.protocol.as_str() {
            "mcp" => "mcp-server",
            "a2a" => "a2a-agent",
            _ => return,
        };
        let key = key_of(call);
        let parent = self.client_of(call);
        let known = self.ids.get(&key).and_then(|id| self.positions.get(id));
        if let Some(known) = known.and_then(|known| self.found.get_mut(*known)) {
            if let Some(info) = call
                .server_info
                .as_ref()
                .filter(|_| known.version.is_none())
            {
                known.name.clone_from(&info.name);
                known.version.clone_from(&info.version);
            }
            return;
        }
        // An agent that is called by another one is that agent.
        let own = call.server.and_then(|server| self.agents.get(&server));
        if let Some(own) = own.filter(|own| kind == "a2a-agent" && Some(*own) != parent.as_ref()) {
            self.ids.insert(key, own.clone());
            return;
        }
        let id = format!("server-{}", self.found.len().saturating_add(1));
        let info = call.server_info.as_ref();
        let name = info.map(|info| info.name.clone());
        self.found.push(Agent {
            id: id.clone(),
            name: name
                .or_else(|| call.server.map(name_of).filter(|name| !name.is_empty()))
                .unwrap_or_else(|| call.endpoint.clone()),
            parent,
            processes: call.server.into_iter().collect(),
            kind: kind.to_owned(),
            version: info.and_then(|info| info.version.clone()),
        });
        self.positions
            .insert(id.clone(), self.found.len().saturating_sub(1));
        self.ids.insert(key, id);
    }

    fn id_of(&self, call: &RpcCall) -> Option<String> {
        self.ids.get(&key_of(call)).cloned()
    }

    /// The agent that a client's process belongs to.
    fn client_of(&self, call: &RpcCall) -> Option<String> {
        self.agents.get(&call.client?).cloned()
    }
}

fn key_of(call: &RpcCall) -> ServerKey {
    match call.server {
        Some(process) => ServerKey::Process(process),
        None => ServerKey::Endpoint(call.endpoint.clone()),
    }
}

/// Request and answer as messages between two agents.
fn messages(
    call: &RpcCall,
    clock: Clock,
    (client, server): (String, String),
) -> impl Iterator<Item = AgentMessage> {
    let (from, to) = match call.initiator {
        RpcSide::Client => (client, server),
        RpcSide::Server => (server, client),
    };
    let message = |from: &String, to: &String, time, bytes| AgentMessage {
        from: from.clone(),
        to: to.clone(),
        channel: call.transport.clone(),
        time: clock.text(time),
        bytes,
        reference: Some(call.id.clone()),
    };
    let asked = message(&from, &to, call.started, call.request.bytes);
    let answered = call
        .response
        .as_ref()
        .filter(|_| call.status != RpcStatus::Notification);
    let answered = answered.map(|response| message(&to, &from, call.ended, response.bytes));
    std::iter::once(asked).chain(answered)
}

fn remote_call(call: &RpcCall, clock: Clock) -> RemoteCall {
    // Milliseconds lose nothing that matters here: 2^53 ns are 104 days.
    #[allow(clippy::cast_precision_loss)]
    let duration_ms = call.ended.since(call.started) as f64 / 1e6;
    RemoteCall {
        id: call.id.clone(),
        protocol: call.protocol.clone(),
        revision: call.revision.clone(),
        method: call.method.clone(),
        name: call.name.clone(),
        client: call.client,
        server: call.server,
        server_id: None,
        initiator: call.initiator,
        transport: call.transport.clone(),
        endpoint: call.endpoint.clone(),
        request_id: call.request_id.clone(),
        params: call.params.clone(),
        result: call.result.clone(),
        error: call.error.clone(),
        status: call.status,
        started_at: clock.text(call.started),
        duration_ms,
        request: call.request.clone(),
        response: call.response.clone(),
        complete: call.complete,
        client_info: call.client_info.clone(),
        server_info: call.server_info.clone(),
        traceparent: call.traceparent.clone(),
        progress_count: call.progress_count,
        task: call.task.clone(),
        parts: call.parts.clone(),
        tool_call: None,
    }
}
