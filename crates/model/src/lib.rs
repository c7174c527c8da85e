//! The vocabulary that every other crate speaks.
//!
//! Three groups of types live here and nothing else does:
//!
//! - **facts** ([`Event`] and its bodies): what happened, in the order in which the ledger keeps it.
//!   They are plain data, serialise to JSON and never change meaning once written to a ledger;
//! - **captured bytes on their way to becoming facts** ([`Payload`]): never serialised, never stored;
//! - **the session document** ([`document`]): the shape of `agentsight show --json`, a contract that
//!   scripts rely on.
//!
//! The crate does no input or output, holds no state and knows no other crate of the workspace.

#![forbid(unsafe_code)]

mod acts;
pub mod document;
mod event;
mod finding;
mod ids;
mod llm;
mod loss;
mod payload;
mod rpc;

pub use acts::{
    Channel, ChannelKind, Container, FileAttributes, FileLink, FileMap, FilePass, FileTruncate,
    IpcPipe, KernelAct, NetworkDns, NetworkSocket, NetworkUnix, ProcessCredentials, ProcessSignal,
    ProcessTrace,
};
pub use event::{
    Access, Event, EventBody, FileDelete, FileOpen, FileRef, FileRename, FileUse, GrpcCall,
    HttpExchange, NetworkAccept, NetworkClose, NetworkConnect, NetworkListen, NetworkProtocol,
    ProcessExec, ProcessExit, ProcessFork, ProcessSeen, ResourceUse, SessionEnd, SessionStart,
    StreamEnd, TlsConnection, Truncated,
};
pub use finding::{Evidence, Finding, PolicyState, Severity, SeverityError};
pub use ids::{KTime, ProcessKey, ProcessKeyError, SocketId, WallClock};
pub use llm::{
    BodyInfo, ContentPiece, ContentRefs, ContentSource, LlmCall, LlmContent, LlmError, LlmRequest,
    LlmResponse, LlmSources, Message, ModelPrice, Part, PartInfo, SourceFile, TextDigest,
    ToolDefinition, Usage,
};
pub use loss::{ClassCounters, DropReason, EventClass, Loss};
pub use payload::{ChannelData, Direction, Payload, PayloadEnd, StreamKey};
pub use rpc::{ChannelEnd, RpcBody, RpcCall, RpcError, RpcPeer, RpcSide, RpcStatus, RpcTask};
