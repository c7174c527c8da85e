//! The state of one session, built up event by event.
//!
//! [`SessionGraph::apply`] only files things away, each in constant time (for a model call: in time
//! proportional to its size). Everything that joins or judges happens in [`SessionGraph::document`],
//! when both sides of each join are known. So the order in which two independent sources reach the
//! ledger changes nothing.

mod actions;
mod acts;
mod attributes;
mod budget;
mod calls;
mod costs;
mod document;
mod files;
mod findings;
mod network;
mod processes;
mod prompts;
mod resources;
mod results;
mod rpc;
mod servers;
mod threads;
mod tls;
mod tool_calls;

use std::collections::BTreeMap;

use agentsight_model::document::{SessionDocument, TlsCoverage};
use agentsight_model::{
    Container, DropReason, Event, EventBody, EventClass, KTime, LlmCall, Loss, SessionEnd,
    SessionStart, StreamEnd,
};

pub use actions::ACTION_KINDS;
use acts::ActTable;
use budget::Budget;
use calls::CallLog;
pub(crate) use calls::value_bytes;
use files::FileTable;
pub(crate) use files::NameRecord;
use findings::FindingTable;
use network::NetworkTable;
pub(crate) use network::{Endpoint, NetworkKind};
pub(crate) use processes::{ExecRecord, ProcessRecord, ProcessTable};
use rpc::RpcLog;
pub(crate) use rpc::RpcRecord;
use tls::TlsTable;
use tool_calls::ToolCallLog;
pub(crate) use tool_calls::ToolCallRecord;

/// How much a [`SessionGraph`] keeps. What goes beyond is counted in the document's coverage and is
/// still in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphLimits {
    /// Processes, program runs, file uses, connections, model calls and tool calls, all together.
    pub records: u64,
    /// Bytes of text: argument vectors and what was said to and by models.
    pub content_bytes: u64,
}

impl Default for GraphLimits {
    /// Some 400 MB of records and 512 MiB of text at most: an agent's longest day, and little enough
    /// for a machine that has other things to do.
    fn default() -> Self {
        Self {
            records: 1_000_000,
            content_bytes: 512 << 20,
        }
    }
}

/// Everything known about one session.
#[derive(Debug, Default)]
pub struct SessionGraph {
    budget: Budget,
    start: Option<(KTime, SessionStart)>,
    end: Option<(KTime, SessionEnd)>,
    interrupted: bool,
    processes: ProcessTable,
    files: FileTable,
    network: NetworkTable,
    acts: ActTable,
    /// By cgroup.
    containers: BTreeMap<u64, Container>,
    calls: CallLog,
    tool_calls: ToolCallLog,
    rpc: RpcLog,
    tls: TlsCoverage,
    tls_connections: TlsTable,
    findings: FindingTable,
    losses: BTreeMap<EventClass, BTreeMap<DropReason, u64>>,
}

impl SessionGraph {
    /// An empty graph with limits of its own.
    #[must_use]
    pub fn with_limits(limits: GraphLimits) -> Self {
        Self {
            budget: Budget::new(limits),
            ..Self::default()
        }
    }

    /// Takes in the event with ledger number `seq`. Events must come in ledger order.
    pub fn apply(&mut self, seq: u64, event: &Event) {
        let (time, process) = (event.time, event.process);
        let budget = &mut self.budget;
        match &event.body {
            EventBody::SessionStart(start) => self.start = Some((time, SessionStart::clone(start))),
            EventBody::SessionEnd(end) => self.end = Some((time, end.clone())),
            EventBody::ProcessFork(fork) => self.processes.fork(seq, time, process, fork, budget),
            EventBody::ProcessExec(exec) => self.processes.exec(seq, time, process, exec, budget),
            EventBody::ProcessExit(exit) => self.processes.exit(seq, time, process, exit, budget),
            EventBody::ProcessSeen(seen) => self.processes.seen(seq, time, process, seen, budget),
            EventBody::FileOpen(open) => self.files.open(seq, time, process, open, budget),
            EventBody::FileUse(usage) => {
                if !self.acts.totals(process, usage) {
                    self.files.totals(seq, process, usage, budget);
                }
            }
            EventBody::FileDelete(delete) => self.files.delete(seq, time, process, delete, budget),
            EventBody::FileRename(rename) => self.files.rename(seq, time, process, rename, budget),
            EventBody::NetworkConnect(connect) => {
                self.network.connect(seq, time, process, connect, budget);
            }
            EventBody::NetworkAccept(accept) => {
                self.network.accept(seq, time, process, accept, budget);
            }
            EventBody::NetworkListen(listen) => {
                self.network.listen(seq, time, process, listen, budget);
            }
            EventBody::NetworkClose(close) => {
                self.tls_connections.closed(close);
                self.network.close(seq, time, process, close, budget);
            }
            EventBody::TlsConnection(connection) => {
                self.tls_connections
                    .report(time, process, connection, budget);
            }
            EventBody::HttpExchange(exchange) => {
                self.network.http(seq, time, process, exchange, budget);
            }
            EventBody::LlmCall(call) => self.llm_call(call),
            EventBody::LlmContent(piece) => self.calls.piece(piece, budget),
            EventBody::LlmSources(sources) => self.calls.sources(sources, budget),
            EventBody::McpCall(call) | EventBody::A2aCall(call) | EventBody::RpcCall(call) => {
                self.rpc.call(seq, call, budget);
            }
            EventBody::ChannelEnd(_) => {}
            EventBody::StreamEnd(end) => self.stream_end(end),
            EventBody::Loss(loss) => self.loss(*loss),
            EventBody::Container(container) => {
                if budget.record("container") {
                    self.containers
                        .insert(container.cgroup, Container::clone(container));
                }
            }
            EventBody::Finding(finding) => self.findings.found(time, process, finding, budget),
            // Which rules were in force is for whoever reads the ledger.
            EventBody::Policy(_) => {}
            body @ (EventBody::ProcessSignal(_)
            | EventBody::ProcessTrace(_)
            | EventBody::ProcessCredentials(_)
            | EventBody::FileLink(_)
            | EventBody::FileAttributes(_)
            | EventBody::FileTruncate(_)
            | EventBody::FileMap(_)
            | EventBody::FilePass(_)
            | EventBody::IpcPipe(_)
            | EventBody::KernelBpf(_)
            | EventBody::KernelMount(_)
            | EventBody::KernelNamespace(_)
            | EventBody::KernelModule(_)
            | EventBody::KernelIoUring(_)
            | EventBody::NetworkDns(_)
            | EventBody::NetworkUnix(_)
            | EventBody::NetworkSocket(_)) => self.acts.act(seq, time, process, body, budget),
        }
    }

    /// Says that the record stops short: no more events will come, and none of them was the end.
    pub fn mark_interrupted(&mut self) {
        self.interrupted = self.end.is_none();
    }

    /// The session document as of the last event. Takes time linear in what is kept (plus a sort).
    #[must_use]
    pub fn document(&self) -> SessionDocument {
        document::build(self)
    }

    fn llm_call(&mut self, call: &LlmCall) {
        if !self.budget.record("llm.call") {
            return;
        }
        let index = self.calls.add(call, &mut self.budget);
        if let Some(stored) = self.calls.get(index) {
            self.tool_calls.requests_of(index, stored, &mut self.budget);
            self.tool_calls.results_in(stored);
        }
    }

    fn stream_end(&mut self, end: &StreamEnd) {
        let bytes = end.sent_bytes.saturating_add(end.received_bytes);
        let tls = &mut self.tls;
        tls.plaintext_bytes = tls.plaintext_bytes.saturating_add(bytes);
        tls.missing_bytes = tls.missing_bytes.saturating_add(end.missing_bytes);
        // A connection on which nothing was ever sent is no gap in what was seen.
        if bytes > 0 || end.missing_bytes > 0 {
            tls.streams = tls.streams.saturating_add(1);
            if end.messages == 0 {
                tls.undecoded_streams = tls.undecoded_streams.saturating_add(1);
            }
        }
    }

    fn loss(&mut self, loss: Loss) {
        let count = self
            .losses
            .entry(loss.class)
            .or_default()
            .entry(loss.reason)
            .or_default();
        *count = count.saturating_add(loss.count);
    }
}
