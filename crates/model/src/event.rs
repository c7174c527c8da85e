//! Facts: what the ledger keeps.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    ChannelEnd, Container, DropReason, EventClass, FileAttributes, FileLink, FileMap, FilePass,
    FileTruncate, Finding, IpcPipe, KTime, KernelAct, LlmCall, LlmContent, LlmSources, Loss,
    ModelPrice, NetworkDns, NetworkSocket, NetworkUnix, PolicyState, ProcessCredentials,
    ProcessKey, ProcessSignal, ProcessTrace, RpcCall, SocketId, WallClock,
};

/// One thing that happened, with its time and the process that did it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened, on the boot clock.
    pub time: KTime,
    /// Who did it. For a fork, the parent. Named apart from the fields of every body, which lie beside it
    /// in JSON: a conversation with a model has a `process` of its own.
    #[serde(rename = "actor")]
    pub process: ProcessKey,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened. The serialised tag `kind` is append-only: a ledger of any age stays readable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum EventBody {
    /// The first record of a session.
    #[serde(rename = "session.start")]
    SessionStart(Box<SessionStart>),
    /// The last record of a session that ended in order.
    #[serde(rename = "session.end")]
    SessionEnd(SessionEnd),
    /// A process was made.
    #[serde(rename = "process.fork")]
    ProcessFork(ProcessFork),
    /// A process ran a new program.
    #[serde(rename = "process.exec")]
    ProcessExec(Box<ProcessExec>),
    /// The last thread of a process ended.
    #[serde(rename = "process.exit")]
    ProcessExit(ProcessExit),
    /// A process that ran already when watching began.
    #[serde(rename = "process.seen")]
    ProcessSeen(Box<ProcessSeen>),
    /// A process touched a file for the first time (in a while); later uses are in [`FileUse`].
    #[serde(rename = "file.open")]
    FileOpen(FileOpen),
    /// Running totals of one process's use of one file.
    #[serde(rename = "file.use")]
    FileUse(FileUse),
    /// A name was removed.
    #[serde(rename = "file.delete")]
    FileDelete(FileDelete),
    /// A name was changed.
    #[serde(rename = "file.rename")]
    FileRename(FileRename),
    /// A process sent a signal to another.
    #[serde(rename = "process.signal")]
    ProcessSignal(ProcessSignal),
    /// A process reached into another: ptrace, memory, descriptors.
    #[serde(rename = "process.ptrace")]
    ProcessTrace(ProcessTrace),
    /// A process changed whom it acts as.
    #[serde(rename = "process.credentials")]
    ProcessCredentials(ProcessCredentials),
    /// A file got one more name, or a symbolic link was made.
    #[serde(rename = "file.link")]
    FileLink(FileLink),
    /// Mode, owner or extended attributes of a file were changed.
    #[serde(rename = "file.chmod")]
    FileAttributes(FileAttributes),
    /// A file's length was set.
    #[serde(rename = "file.truncate")]
    FileTruncate(FileTruncate),
    /// A file was mapped so that memory accesses reach it, or runs as code.
    #[serde(rename = "file.mmap")]
    FileMap(FileMap),
    /// Open files went from one process to another.
    #[serde(rename = "file.pass")]
    FilePass(FilePass),
    /// A process used one end of a pipe, a unix socket or a terminal for the first time; later uses are in
    /// [`FileUse`].
    #[serde(rename = "ipc.pipe")]
    IpcPipe(IpcPipe),
    /// A process of the tree runs in this container.
    #[serde(rename = "container")]
    Container(Box<Container>),
    /// The kernel itself was asked to change: programs, mounts, namespaces, modules, rings.
    #[serde(rename = "kernel.bpf")]
    KernelBpf(KernelAct),
    /// See [`EventBody::KernelBpf`].
    #[serde(rename = "kernel.mount")]
    KernelMount(KernelAct),
    /// See [`EventBody::KernelBpf`].
    #[serde(rename = "kernel.namespace")]
    KernelNamespace(KernelAct),
    /// See [`EventBody::KernelBpf`].
    #[serde(rename = "kernel.module")]
    KernelModule(KernelAct),
    /// See [`EventBody::KernelBpf`].
    #[serde(rename = "kernel.io_uring")]
    KernelIoUring(KernelAct),
    /// A name was looked up.
    #[serde(rename = "network.dns")]
    NetworkDns(NetworkDns),
    /// A unix socket was connected to another.
    #[serde(rename = "network.unix")]
    NetworkUnix(NetworkUnix),
    /// A socket of a family other than IP and unix was made.
    #[serde(rename = "network.socket")]
    NetworkSocket(NetworkSocket),
    /// A socket was connected, or was asked to.
    #[serde(rename = "network.connect")]
    NetworkConnect(NetworkConnect),
    /// A connection was accepted.
    #[serde(rename = "network.accept")]
    NetworkAccept(NetworkAccept),
    /// A socket began to listen.
    #[serde(rename = "network.listen")]
    NetworkListen(NetworkListen),
    /// A connection ended; carries its byte counts.
    #[serde(rename = "network.close")]
    NetworkClose(NetworkClose),
    /// A conversation with a model.
    #[serde(rename = "llm.call")]
    LlmCall(Box<LlmCall>),
    /// A message, or another piece of conversations, that later [`LlmCall`]s refer to.
    #[serde(rename = "llm.message")]
    LlmContent(Box<LlmContent>),
    /// Files that content of a [`LlmCall`] came from.
    #[serde(rename = "llm.sources")]
    LlmSources(Box<LlmSources>),
    /// A request of the Model Context Protocol.
    #[serde(rename = "mcp.call")]
    McpCall(Box<RpcCall>),
    /// A request of the Agent2Agent protocol.
    #[serde(rename = "a2a.call")]
    A2aCall(Box<RpcCall>),
    /// A request of another protocol over JSON-RPC.
    #[serde(rename = "rpc.call")]
    RpcCall(Box<RpcCall>),
    /// One direction of a conversation over a pipe, a unix socket or a terminal ended.
    #[serde(rename = "channel.end")]
    ChannelEnd(Box<ChannelEnd>),
    /// An HTTP exchange that is none of these.
    #[serde(rename = "http.exchange")]
    HttpExchange(Box<HttpExchange>),
    /// A TLS connection of the tree, as far as its plaintext is seen. The last one for a socket holds.
    #[serde(rename = "tls.connection")]
    TlsConnection(Box<TlsConnection>),
    /// A stream of captured plaintext ended; says how much of it was understood.
    #[serde(rename = "stream.end")]
    StreamEnd(StreamEnd),
    /// Something was lost, and how much.
    #[serde(rename = "loss")]
    Loss(Loss),
    /// A rule has found something.
    #[serde(rename = "finding")]
    Finding(Box<Finding>),
    /// Rules came into force, or the session has ended under them.
    #[serde(rename = "policy")]
    Policy(Box<PolicyState>),
}

impl EventBody {
    /// The serialised tag.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SessionStart(_) => "session.start",
            Self::SessionEnd(_) => "session.end",
            Self::ProcessFork(_) => "process.fork",
            Self::ProcessExec(_) => "process.exec",
            Self::ProcessExit(_) => "process.exit",
            Self::ProcessSeen(_) => "process.seen",
            Self::FileOpen(_) => "file.open",
            Self::FileUse(_) => "file.use",
            Self::FileDelete(_) => "file.delete",
            Self::FileRename(_) => "file.rename",
            Self::ProcessSignal(_) => "process.signal",
            Self::ProcessTrace(_) => "process.ptrace",
            Self::ProcessCredentials(_) => "process.credentials",
            Self::FileLink(_) => "file.link",
            Self::FileAttributes(_) => "file.chmod",
            Self::FileTruncate(_) => "file.truncate",
            Self::FileMap(_) => "file.mmap",
            Self::FilePass(_) => "file.pass",
            Self::IpcPipe(_) => "ipc.pipe",
            Self::Container(_) => "container",
            Self::KernelBpf(_) => "kernel.bpf",
            Self::KernelMount(_) => "kernel.mount",
            Self::KernelNamespace(_) => "kernel.namespace",
            Self::KernelModule(_) => "kernel.module",
            Self::KernelIoUring(_) => "kernel.io_uring",
            Self::NetworkDns(_) => "network.dns",
            Self::NetworkUnix(_) => "network.unix",
            Self::NetworkSocket(_) => "network.socket",
            Self::NetworkConnect(_) => "network.connect",
            Self::NetworkAccept(_) => "network.accept",
            Self::NetworkListen(_) => "network.listen",
            Self::NetworkClose(_) => "network.close",
            Self::LlmCall(_) => "llm.call",
            Self::LlmContent(_) => "llm.message",
            Self::LlmSources(_) => "llm.sources",
            Self::McpCall(_) => "mcp.call",
            Self::A2aCall(_) => "a2a.call",
            Self::RpcCall(_) => "rpc.call",
            Self::ChannelEnd(_) => "channel.end",
            Self::HttpExchange(_) => "http.exchange",
            Self::TlsConnection(_) => "tls.connection",
            Self::StreamEnd(_) => "stream.end",
            Self::Loss(_) => "loss",
            Self::Finding(_) => "finding",
            Self::Policy(_) => "policy",
        }
    }
}

/// How much of something was kept. Present only where something was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncated {
    /// Bytes kept.
    pub kept: u64,
    /// Bytes there were, as far as known.
    pub total: u64,
}

/// What is known when a session begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionStart {
    /// The session's id (a ULID).
    pub id: String,
    /// Version of AgentSight that wrote the ledger.
    pub agentsight_version: String,
    /// The watched command, or empty when attached to running processes.
    pub command: Vec<String>,
    /// Working directory of the command.
    pub cwd: String,
    /// Name of the user that the command ran as.
    pub user: String,
    /// User id that the command ran as.
    pub uid: u32,
    /// Host name.
    pub host: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Identifies the boot, so that boot-clock times of two ledgers are never compared wrongly.
    pub boot_id: String,
    /// Wall-clock offset of this session's boot-clock times.
    pub clock: WallClock,
    /// What the sensor can see on this kernel: capability name to the hook in use, or why there is none.
    pub capabilities: BTreeMap<String, String>,
    /// Whether message content is kept.
    pub content: bool,
    /// The price table that was known then, with its version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub price_table: String,
    /// The user's own prices, which come before those of the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<ModelPrice>,
}

/// How a session ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// Exit code of the watched command; absent if it was killed by a signal or not started by us.
    pub exit_code: Option<i32>,
    /// Signal that ended the watched command.
    pub signal: Option<i32>,
    /// Kernel and user-space counters per event class.
    pub counters: BTreeMap<EventClass, crate::ClassCounters>,
}

/// A process was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessFork {
    /// The new process.
    pub child: ProcessKey,
    /// Name of the parent's main thread at that time (`comm`).
    pub comm: String,
}

/// A process ran a new program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessExec {
    /// Parent process at that time.
    pub parent: ProcessKey,
    /// The file that is being executed, resolved by the kernel. For a script, its interpreter.
    pub exe: FileRef,
    /// Whether that file has no name in any directory: it was deleted, or it is memory (`memfd_create`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exe_deleted: bool,
    /// The file name that was passed to `execve`.
    pub filename: String,
    /// The interpreter, where it differs from `filename` (scripts).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// Full argument vector. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub argv: Vec<String>,
    /// Set if the argument vector was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv_truncated: Option<Truncated>,
    /// Working directory.
    pub cwd: String,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Cgroup id (inode of the cgroup v2 directory), 0 if unknown.
    #[serde(default)]
    pub cgroup: u64,
}

/// Resources that a process used over its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceUse {
    /// User CPU time, in nanoseconds, of all its threads.
    pub user_ns: u64,
    /// System CPU time, in nanoseconds, of all its threads.
    pub system_ns: u64,
    /// Greatest resident set, in bytes; 0 if unknown.
    pub max_rss_bytes: u64,
    /// Bytes fetched from storage, 0 if the kernel does not account them.
    pub storage_read_bytes: u64,
    /// Bytes sent to storage, 0 if the kernel does not account them.
    pub storage_write_bytes: u64,
}

/// The last thread of a process ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessExit {
    /// Exit code, if it exited of its own accord.
    pub code: Option<i32>,
    /// Signal that ended it, if one did.
    pub signal: Option<i32>,
    /// What it used.
    pub resources: ResourceUse,
}

/// A process that ran already when watching began; read from `/proc`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessSeen {
    /// Its parent.
    pub parent: ProcessKey,
    /// Its executable.
    pub exe: FileRef,
    /// Its argument vector.
    pub argv: Vec<String>,
    /// Its working directory.
    pub cwd: String,
    /// Its real user id.
    pub uid: u32,
}

/// A file as the kernel knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileRef {
    /// Absolute path as seen from the process's root. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub path: String,
    /// Set if the path is only its last components, because it was longer than the sensor can carry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub path_cut: bool,
    /// Device number of the file system (kernel's internal encoding: major << 20 | minor); 0 if unknown.
    #[serde(default)]
    pub dev: u64,
    /// Inode number; 0 if unknown.
    #[serde(default)]
    pub ino: u64,
    /// File type and permission bits (`st_mode`); 0 if unknown.
    #[serde(default)]
    pub mode: u32,
}

/// What a file was opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Opened for reading.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read: bool,
    /// Opened for writing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub write: bool,
    /// Made by this open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
    /// Emptied by this open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncate: bool,
}

/// A process touched a file for the first time (in a while).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileOpen {
    /// Ties this event to the totals in [`FileUse`]; unique within the process.
    pub use_id: u64,
    /// The file.
    pub file: FileRef,
    /// What it was opened for.
    pub access: Access,
    /// Whether the file was used through a descriptor whose opening was not seen (inherited, passed, or
    /// opened before watching began).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inherited: bool,
}

/// Running totals of one process's use of one file. The last one with the same `process` and `use_id` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileUse {
    /// The [`FileOpen`] that this continues.
    pub use_id: u64,
    /// Times opened, the first one included.
    pub opens: u64,
    /// Of these, times made.
    pub creates: u64,
    /// Read calls.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Write calls.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Everything that it was opened for.
    pub access: Access,
    /// First use.
    pub first: KTime,
    /// Last use.
    pub last: KTime,
}

/// A name was removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileDelete {
    /// The name; device and inode where the kernel hook gives them.
    pub file: FileRef,
    /// Whether it was a directory.
    pub directory: bool,
}

/// A name was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRename {
    /// The old name.
    pub from: FileRef,
    /// The new name.
    pub to: FileRef,
}

/// Transport protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A socket was connected, or was asked to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkConnect {
    /// The socket.
    pub socket: SocketId,
    /// Its protocol.
    pub protocol: NetworkProtocol,
    /// Its own address, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The other side's address.
    pub remote: SocketAddr,
}

/// A connection was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkAccept {
    /// The new connection's socket.
    pub socket: SocketId,
    /// Its own address.
    pub local: SocketAddr,
    /// The other side's address.
    pub remote: SocketAddr,
}

/// A socket began to listen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkListen {
    /// The socket.
    pub socket: SocketId,
    /// The address it listens on.
    pub local: SocketAddr,
}

/// A connection ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkClose {
    /// The socket.
    pub socket: SocketId,
    /// Its protocol.
    pub protocol: NetworkProtocol,
    /// Its own address, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The other side's address, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// Payload bytes sent and acknowledged (TCP) or sent (UDP).
    pub sent_bytes: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
}

/// An HTTP exchange that is no conversation with a model. Bodies are not kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpExchange {
    /// Request method.
    pub method: String,
    /// Host, from the request.
    pub host: String,
    /// Path and query, with secrets replaced.
    pub target: String,
    /// Response status; absent if no response was seen.
    pub status: Option<u16>,
    /// Protocol, such as `http/1.1`.
    pub transport: String,
    /// Bytes of the decoded request body.
    pub request_bytes: u64,
    /// Bytes of the decoded response body.
    pub response_bytes: u64,
    /// When the response ended, or the stream did.
    pub ended: KTime,
    /// Whether both messages were seen whole.
    pub complete: bool,
    /// What it says as a call of gRPC, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcCall>,
}

/// A call of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcCall {
    /// The service with its package, such as `xai_api.Chat`; empty if its path was not seen.
    pub service: String,
    /// The method, such as `GetCompletion`.
    pub method: String,
    /// Messages sent by the client, as far as they were seen whole.
    pub request_messages: u64,
    /// Messages sent by the server, as far as they were seen whole.
    pub response_messages: u64,
    /// Of both, compressed ones.
    pub compressed_messages: u64,
    /// `grpc-status`: 0 is success; absent if it was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    /// `grpc-message`, with secrets replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether every message was seen whole.
    pub complete: bool,
}

/// A TLS connection of the tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TlsConnection {
    /// Its socket.
    pub socket: SocketId,
    /// The server's name that the client asked for (SNI, RFC 6066), if it said one in the open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The protocols that the client offered (ALPN, RFC 7301).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// Whether the client hid the server's name (Encrypted ClientHello).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted_hello: bool,
    /// Whether its plaintext is seen. If not, the connection is dark.
    pub plaintext: bool,
    /// Why not, as far as is known: what the program's file says about its TLS library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A stream of captured plaintext ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamEnd {
    /// Plaintext bytes that the process sent.
    pub sent_bytes: u64,
    /// Plaintext bytes that the process received.
    pub received_bytes: u64,
    /// Bytes known to be missing from the capture.
    pub missing_bytes: u64,
    /// What it was taken for, such as `http/1.1`, or `unknown`.
    pub protocol: String,
    /// Messages (or exchanges) decoded from it.
    pub messages: u64,
    /// Why decoding stopped early, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Loss {
    /// The event that records this loss.
    #[must_use]
    pub fn into_event(self, time: KTime) -> Event {
        Event {
            time,
            process: ProcessKey::default(),
            body: EventBody::Loss(self),
        }
    }

    /// A loss of `count` events of `class` for `reason`.
    #[must_use]
    pub fn new(class: EventClass, reason: DropReason, count: u64) -> Self {
        Self {
            class,
            reason,
            count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_with_a_model_survives_json() {
        let process = ProcessKey {
            tgid: 1,
            start_ns: 2,
        };
        let call = LlmCall {
            id: "llm-1".into(),
            provider: "anthropic".into(),
            api: "anthropic.messages".into(),
            model: None,
            request_model: None,
            operation: "chat".into(),
            process,
            endpoint: String::new(),
            transport: "h2".into(),
            status: Some(200),
            started: KTime(1),
            first_byte: None,
            ended: KTime(2),
            complete: true,
            request: crate::LlmRequest::default(),
            response: crate::LlmResponse::default(),
            finish_reasons: Vec::new(),
            usage: crate::Usage::default(),
            error: None,
            parts: Vec::new(),
            content: None,
            texts: Vec::new(),
        };
        let event = Event {
            time: KTime(3),
            process,
            body: EventBody::LlmCall(Box::new(call)),
        };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(
            serde_json::from_str::<Event>(&json).unwrap(),
            event,
            "{json}"
        );
    }
}
