//! The session document: what `agentsight show --json` prints. A contract; fields are only ever added.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    BodyInfo, ClassCounters, Container, ContentSource, EventClass, LlmError, Message, Part,
    PartInfo, ProcessKey, ResourceUse, RpcBody, RpcError, RpcPeer, RpcSide, RpcStatus, RpcTask,
    ToolDefinition, Usage,
};

/// Everything known about one session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionDocument {
    /// The session itself.
    pub session: Session,
    /// Every process of the tree.
    pub processes: Vec<Process>,
    /// The containers that processes of the tree run in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
    /// Every conversation with a model.
    pub llm_calls: Vec<Call>,
    /// Every tool call that a model asked for.
    pub tool_calls: Vec<ToolCall>,
    /// Every request of the Model Context Protocol.
    #[serde(default)]
    pub mcp_calls: Vec<RemoteCall>,
    /// Every request of the Agent2Agent protocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub a2a_calls: Vec<RemoteCall>,
    /// Every request of other protocols over JSON-RPC, between processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rpc_calls: Vec<RemoteCall>,
    /// Everything that the tree did.
    pub actions: Vec<Action>,
    /// The agents in the tree.
    pub agents: Vec<Agent>,
    /// What agents said to each other.
    pub messages: Vec<AgentMessage>,
    /// What rules and detectors found.
    pub findings: Vec<Finding>,
    /// What was seen, what was not, and why.
    pub coverage: Coverage,
    /// What the calls cost.
    #[serde(default)]
    pub cost: Cost,
}

/// What the calls of a session cost by list price, in US dollars. Sums of the calls whose price is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// All calls; absent if the price of none is known.
    pub usd: Option<f64>,
    /// Calls whose price is known.
    pub priced_calls: u64,
    /// Calls whose price is not known.
    pub unpriced_calls: u64,
    /// Of the priced calls, those whose token counts are ours, as the provider gave none.
    pub estimated_calls: u64,
    /// The table that prices were taken from, with its version.
    pub price_table: String,
    /// The table that was known when the session was recorded, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_price_table: Option<String>,
    /// Calls priced by the user's own list.
    #[serde(default)]
    pub own_price_calls: u64,
    /// By id of the agent that called.
    pub by_agent: BTreeMap<String, f64>,
    /// By model.
    pub by_model: BTreeMap<String, f64>,
    /// By conversation, and in it by turn, with retries.
    pub by_conversation: BTreeMap<String, BTreeMap<u64, f64>>,
}

/// The session itself. Times are RFC 3339, UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// ULID.
    pub id: String,
    /// The agent, as far as it was recognised.
    pub agent: AgentName,
    /// The watched command.
    pub command: Vec<String>,
    /// Its working directory.
    pub cwd: String,
    /// The user that it ran as.
    pub user: String,
    /// When it began.
    pub started_at: String,
    /// When it ended; absent while it runs, or if the record stops short.
    pub ended_at: Option<String>,
    /// Exit code of the command.
    pub exit_code: Option<i32>,
    /// Signal that ended the command.
    pub signal: Option<i32>,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// `running`, `ended`, or `interrupted` (the record stops without an end).
    pub status: String,
    /// What the processes of the tree used, as far as they have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceUse>,
}

/// Name and version of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentName {
    /// Such as `gemini-cli`; the program's name where no profile matches.
    pub name: String,
    /// Its version, where it can be told.
    pub version: Option<String>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its identity.
    pub key: ProcessKey,
    /// Its pid in the initial namespace.
    pub pid: u32,
    /// When it was made, on the boot clock.
    pub start_ns: u64,
    /// Its parent when it was made.
    pub parent_key: Option<ProcessKey>,
    /// The program that it runs (the last one it ran).
    pub exe: String,
    /// Inode of that program, as `dev:ino`.
    pub exe_inode: String,
    /// Its arguments.
    pub argv: Vec<String>,
    /// Its working directory when it began to run that program.
    pub cwd: String,
    /// Its real user id.
    pub uid: u32,
    /// When it was made.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The container that it ran in.
    pub container: Option<String>,
    /// CPU time, memory and storage that it used, its threads included; absent until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceUse>,
}

/// One conversation with a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Its id within the session.
    pub id: String,
    /// `gen_ai.provider.name`.
    pub provider: String,
    /// Dialect, such as `openai.responses`.
    pub api: String,
    /// The model that answered, or else the one asked for.
    pub model: Option<String>,
    /// `gen_ai.operation.name`.
    pub operation: String,
    /// The process that called.
    pub process: ProcessKey,
    /// Where it was sent.
    pub endpoint: String,
    /// `http/1.1`, `h2`, `websocket`.
    pub transport: String,
    /// HTTP status.
    pub status: Option<u16>,
    /// When it began.
    pub started_at: String,
    /// Time to the first byte of the answer, in milliseconds.
    pub ttft_ms: Option<f64>,
    /// Time to its end, in milliseconds.
    pub duration_ms: f64,
    /// Whether it was seen whole.
    pub complete: bool,
    /// What was asked.
    pub request: CallRequest,
    /// What was answered.
    pub response: CallResponse,
    /// Why the model stopped.
    pub finish_reasons: Vec<String>,
    /// Tokens.
    pub usage: Usage,
    /// List price, in US dollars, where the model's price is known.
    pub cost_usd: Option<f64>,
    /// What went wrong.
    pub error: Option<LlmError>,
    /// Content that is not text.
    pub parts: Vec<PartInfo>,
    /// Its place in a conversation; absent if its request has no messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<CallThread>,
    /// Files of which its new content is the content. What later requests repeat is not listed again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<ContentSource>,
}

/// A call's place in a conversation: requests of which each repeats what was said before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallThread {
    /// Id of the conversation within the session: `conversation-<n>`.
    pub conversation: String,
    /// Which request of the conversation it is, from 1. A retry has the number of what it repeats.
    pub turn: u64,
    /// The call that it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The call whose answer began this conversation, by a tool call whose arguments hold its first
    /// prompt: the conversation of a sub-agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_call: Option<String>,
    /// That tool call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_tool_call: Option<String>,
    /// Position in `request.messages` of the first message that neither the previous request nor its
    /// answer had.
    pub new_messages_from: u64,
    /// What sets it apart from the call that it continues: `retry` (the same request again),
    /// `model_switch`, `system_change`, `tools_change`, `compaction` (an answer of the conversation stands
    /// for its history), `history_edit` (messages were changed or left out).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// What was asked of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallRequest {
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// System instructions.
    pub system: Vec<Part>,
    /// Tools offered.
    pub tools: Vec<ToolDefinition>,
    /// Other parameters.
    pub parameters: Map<String, Value>,
    /// The body.
    pub body: BodyInfo,
}

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallResponse {
    /// The answer.
    pub messages: Vec<Message>,
    /// The body.
    pub body: BodyInfo,
    /// What else the answer says of itself, as sent: what it cost, who served it, how long it took.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// A tool call that a model asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's id, or one of ours where it has none.
    pub id: String,
    /// The tool.
    pub name: String,
    /// `shell`, `file_read`, `file_write`, `mcp`, `other`: by its name and arguments.
    pub kind: String,
    /// Its arguments.
    pub arguments: Value,
    /// Its result, once a later request carried it.
    pub result: Option<Value>,
    /// The call whose answer asked for it.
    pub llm_call: String,
    /// When the model had asked for it.
    pub requested_at: String,
    /// When the result went back.
    pub finished_at: Option<String>,
    /// Ids of the actions that it caused.
    pub actions: Vec<String>,
    /// `ok`, `error`, `pending` (no result seen).
    pub status: String,
    /// Its equal share of the price of the call that asked for it, and the price of the conversation of
    /// the sub-agent that it began, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// The request of MCP that carried it to the server that has the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_call: Option<String>,
    /// What the processes that it caused used, as far as they have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceUse>,
}

/// A request between programs and its answer, or a notification. See [`crate::RpcCall`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RemoteCall {
    /// Its id within the session.
    pub id: String,
    /// `mcp`, `a2a` or `json-rpc`.
    pub protocol: String,
    /// Revision of the protocol.
    pub revision: Option<String>,
    /// The method.
    pub method: String,
    /// The tool, prompt, resource or agent that it is about.
    pub name: Option<String>,
    /// The client's process, if it is watched.
    pub client: Option<ProcessKey>,
    /// The server's process, if it is watched.
    pub server: Option<ProcessKey>,
    /// Id of the server among `agents`.
    pub server_id: Option<String>,
    /// Who asked.
    pub initiator: RpcSide,
    /// `pipe`, `unix`, `pty`, `streamable-http`, `sse`, `http-json-rpc` or `http-rest`.
    pub transport: String,
    /// Where to.
    pub endpoint: String,
    /// Id of the request in the protocol; absent for a notification.
    pub request_id: Option<Value>,
    /// What was asked.
    pub params: Value,
    /// What was answered.
    pub result: Option<Value>,
    /// The error that was answered.
    pub error: Option<RpcError>,
    /// How it went.
    pub status: RpcStatus,
    /// When it began.
    pub started_at: String,
    /// Time to the end of the answer, in milliseconds.
    pub duration_ms: f64,
    /// The request as it was sent.
    pub request: RpcBody,
    /// The answer as it was sent.
    pub response: Option<RpcBody>,
    /// Whether it was seen whole.
    pub complete: bool,
    /// Who the client says that it is.
    pub client_info: Option<RpcPeer>,
    /// Who the server says that it is.
    pub server_info: Option<RpcPeer>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// Reports of progress before the answer.
    pub progress_count: u64,
    /// The task of A2A.
    pub task: Option<RpcTask>,
    /// Content that is not text.
    pub parts: Vec<PartInfo>,
    /// The tool call that it carried.
    pub tool_call: Option<String>,
}

/// One thing that the tree did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Its id within the session.
    pub id: String,
    /// Dotted kind, such as `process.exec` or `file.write`.
    pub kind: String,
    /// When (for aggregated ones: first).
    pub time: String,
    /// Who.
    pub process: ProcessKey,
    /// OpenTelemetry attribute names.
    pub attributes: Map<String, Value>,
    /// The tool call that caused it.
    pub tool_call: Option<String>,
    /// `stated`, `implied`, `unstated`, `unknown` (content is not kept) or `none`.
    pub intent: String,
    /// Why it is joined to the tool call.
    pub link: Option<Link>,
    /// What policy said about it.
    pub verdict: Option<String>,
}

/// Why an action is joined to a tool call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// From 0 to 1.
    pub confidence: f64,
    /// Named evidence, strongest first, such as `argv-exact` or `lineage`.
    pub evidence: Vec<String>,
}

/// An agent in the tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id within the session.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The agent that started it.
    pub parent: Option<String>,
    /// Its processes.
    pub processes: Vec<ProcessKey>,
    /// `agent`, `mcp-server` or `a2a-agent`.
    #[serde(default = "agent_kind")]
    pub kind: String,
    /// Its version, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Agent {
    /// The kind of those that talk to models.
    pub const AGENT: &'static str = "agent";
}

fn agent_kind() -> String {
    Agent::AGENT.to_owned()
}

/// Something that one agent said to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentMessage {
    /// Id of the sender.
    pub from: String,
    /// Id of the receiver.
    pub to: String,
    /// How: `pipe`, `http`, `file`, ...
    pub channel: String,
    /// When.
    pub time: String,
    /// How much.
    pub bytes: u64,
    /// Where the message itself is.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
}

/// Something that a rule or detector found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Its id within the session.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// `info`, `low`, `medium`, `high`, `critical`.
    pub severity: String,
    /// One line.
    pub title: String,
    /// When.
    pub time: String,
    /// Who.
    pub process: Option<ProcessKey>,
    /// What it rests on.
    pub evidence: Vec<Value>,
    /// Names in public taxonomies.
    pub taxonomy: Vec<String>,
    /// What was done about it.
    pub verdict: Option<String>,
}

/// What was seen, what was not, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Counters per event class.
    pub events: BTreeMap<EventClass, ClassCounters>,
    /// Plaintext.
    pub tls: TlsCoverage,
    /// What the sensor can see on this kernel.
    pub capabilities: BTreeMap<String, String>,
    /// Events that this document leaves out because it would grow too large, by kind; the ledger has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub omitted: BTreeMap<String, u64>,
}

/// How much of the TLS traffic was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TlsCoverage {
    /// Payload bytes of sockets that carried TLS records, both directions; absent where not measured.
    pub wire_bytes: Option<u64>,
    /// Plaintext bytes captured, both directions.
    pub plaintext_bytes: u64,
    /// Plaintext bytes known to be missing.
    pub missing_bytes: u64,
    /// Streams of plaintext seen.
    pub streams: u64,
    /// Streams of plaintext in which nothing was recognised.
    pub undecoded_streams: u64,
    /// Connections with ciphertext and no plaintext.
    pub dark_connections: Vec<Value>,
}
