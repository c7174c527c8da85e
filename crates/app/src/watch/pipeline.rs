//! The stages after the sensor, one after the other: decode, put together, redact, write, file away.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agentsight_decode::records::{Decoder, Item};
use agentsight_decode::redact::OwnPattern;
use agentsight_ledger::{LedgerError, Writer};
use agentsight_model::document::SessionDocument;
use agentsight_model::{
    ClassCounters, DropReason, Event, EventBody, EventClass, KTime, LlmCall, PolicyState,
    ProcessKey, SessionEnd, SessionStart, SocketId,
};
use agentsight_probe::KernelCounters;
use agentsight_session::{
    Assembler, AssemblerOptions, Deduplicator, FlowVerdict, SessionGraph, TlsWatch,
};
use anyhow::Context as _;

use super::canary::{self, Canary};
use super::classes::class_of;
use super::containers::Containers;
use super::judge::Judge;
use super::lineage::Lineage;

/// How often written records become visible to readers, and how often they are made to survive a power
/// failure.
const FLUSH_EVERY: Duration = Duration::from_millis(250);
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How a session is recorded.
pub(crate) struct PipelineOptions {
    /// Directory of this session's ledger.
    pub(crate) directory: PathBuf,
    /// Whether message content is kept.
    pub(crate) content: bool,
    /// Key of the hashes that stand for secrets.
    pub(crate) redaction_key: [u8; 32],
    /// The user's own patterns of what is secret.
    pub(crate) own_patterns: Vec<OwnPattern>,
    /// The rules.
    pub(crate) judge: Judge,
}

/// Processes that have ended and whose program is remembered.
const MAX_ENDED: usize = 4096;

/// Programs of the processes, and what is known of their TLS code.
#[derive(Default)]
struct Images {
    programs: HashMap<ProcessKey, String>,
    ended: VecDeque<ProcessKey>,
    blind: HashMap<PathBuf, String>,
}

impl Images {
    fn learn(&mut self, event: &Event) {
        match &event.body {
            EventBody::ProcessExec(exec) => {
                self.programs.insert(event.process, exec.exe.path.clone());
            }
            EventBody::ProcessSeen(seen) => {
                self.programs.insert(event.process, seen.exe.path.clone());
            }
            // Its sockets may outlive it.
            EventBody::ProcessExit(_) => {
                self.ended.push_back(event.process);
                if self.ended.len() > MAX_ENDED
                    && let Some(oldest) = self.ended.pop_front()
                {
                    self.programs.remove(&oldest);
                }
            }
            _ => {}
        }
    }

    /// Why the TLS traffic of a process cannot be read, as far as its program's file tells.
    fn reason(&self, process: ProcessKey) -> Option<String> {
        let program = self.programs.get(&process)?;
        Some(match self.blind.get(Path::new(program)) {
            Some(reason) => format!("{program}: {reason}"),
            None => format!("none of the TLS functions that are watched carried it ({program})"),
        })
    }
}

/// One session's way from records to facts.
pub(crate) struct Pipeline {
    decoder: Decoder,
    assembler: Assembler,
    contents: Deduplicator,
    lineage: Lineage,
    writer: Writer,
    graph: SessionGraph,
    judge: Judge,
    tls_watch: TlsWatch,
    lost_probes: Vec<ProcessKey>,
    images: Images,
    containers: Containers,
    canary: Canary,
    /// The command, until it runs its program.
    at_the_gate: Option<ProcessKey>,
    /// Its use of the gate's pipe, whose totals are none of the session's.
    gate_use: Option<(ProcessKey, u64)>,
    /// Findings of our own.
    findings: u64,
    /// Records lost in user space, by class and reason.
    lost: BTreeMap<(EventClass, DropReason), u64>,
    reported_losses: BTreeMap<(EventClass, DropReason), u64>,
    last_flush: Instant,
    last_sync: Instant,
    write_error: Option<anyhow::Error>,
    /// Since the last attempt to write has failed. Nothing is tried until it is time to flush: each attempt
    /// costs as much as a block, and a full disk must not make us fall behind.
    is_stuck: bool,
    // Buffers that are used again for each record.
    items: Vec<Item>,
    events: Vec<Event>,
}

impl Pipeline {
    /// Opens the ledger and writes its first record.
    pub(crate) fn begin(
        options: PipelineOptions,
        time: KTime,
        root: ProcessKey,
        start: SessionStart,
    ) -> anyhow::Result<Self> {
        let writer = Writer::create(
            &options.directory,
            &start.id,
            agentsight_ledger::Options::default(),
        )
        .context("failed to begin the ledger")?;
        let mut assembler_options = AssemblerOptions::new(options.redaction_key);
        assembler_options.content = options.content;
        assembler_options.own_patterns = options.own_patterns;
        let now = Instant::now();
        let mut pipeline = Self {
            decoder: Decoder::new(agentsight_probe::page_bytes()),
            assembler: Assembler::new(assembler_options),
            contents: Deduplicator::default(),
            lineage: Lineage::default(),
            writer,
            graph: SessionGraph::default(),
            judge: options.judge,
            tls_watch: TlsWatch::default(),
            lost_probes: Vec::new(),
            images: Images::default(),
            containers: Containers::default(),
            canary: Canary::new(now),
            at_the_gate: (!start.command.is_empty()).then_some(root),
            gate_use: None,
            findings: 0,
            lost: BTreeMap::new(),
            reported_losses: BTreeMap::new(),
            last_flush: now,
            last_sync: now,
            write_error: None,
            is_stuck: false,
            items: Vec::new(),
            events: Vec::new(),
        };
        pipeline.fact(Event {
            time,
            process: root,
            body: EventBody::SessionStart(Box::new(start)),
        });
        let rules = pipeline.judge.state("loaded");
        pipeline.policy(time, rules);
        pipeline
            .writer
            .sync()
            .context("failed to write the ledger")?;
        Ok(pipeline)
    }

    /// Takes one kernel record.
    pub(crate) fn record(&mut self, bytes: &[u8]) {
        let mut items = std::mem::take(&mut self.items);
        // What it says is wrong with a record is counted by the decoder, by class.
        let _ = self.decoder.decode(bytes, &mut items);
        for item in items.drain(..) {
            self.item(item);
        }
        self.items = items;
    }

    /// Whether it comes of our own gate, at which the command waits before it runs its program.
    fn is_of_the_gate(&mut self, item: &Item) -> bool {
        let Some(root) = self.at_the_gate else {
            return false;
        };
        match item {
            Item::Channel(data) => data.process == root,
            Item::Event(event) if event.process == root => {
                if matches!(event.body, EventBody::ProcessExec(_)) {
                    self.at_the_gate = None;
                }
                let EventBody::IpcPipe(pipe) = &event.body else {
                    return false;
                };
                self.gate_use = Some((root, pipe.use_id));
                true
            }
            _ => false,
        }
    }

    fn item(&mut self, item: Item) {
        if self.is_of_the_gate(&item) {
            return;
        }
        let mut events = std::mem::take(&mut self.events);
        match item {
            Item::Payload(payload) => {
                self.tls_watch.plaintext(&payload, &mut events);
                self.assembler.payload(payload, &mut events);
            }
            Item::StreamEnded(end) => {
                self.tls_watch.object_ended(end.stream);
                self.assembler.end(end, &mut events);
            }
            Item::Channel(data) => self.assembler.channel(&data, &mut events),
            Item::Canary(number) => self.canary.heard(number),
            Item::Handshake { .. } => {}
            Item::Hello {
                time,
                process,
                socket,
                bytes,
            } => self.tls_watch.began(time, process, socket, &bytes),
            Item::SocketBound {
                time,
                socket,
                stream,
                ..
            } => self.tls_watch.bound(time, stream, socket, &mut events),
            Item::Event(event) => {
                // Both end what the process had in memory, its TLS connections with it.
                if matches!(
                    event.body,
                    EventBody::ProcessExec(_) | EventBody::ProcessExit(_)
                ) {
                    self.assembler
                        .process_exited(event.process, event.time, &mut events);
                }
                if let EventBody::NetworkClose(close) = &event.body {
                    let lost = self.tls_watch.ended(
                        event.time,
                        close.socket,
                        close.sent_bytes,
                        |process| self.images.reason(process),
                        &mut events,
                    );
                    self.lost_probes.extend(lost);
                }
                if let EventBody::ProcessExec(exec) = &event.body
                    && let Some(container) = self.containers.find(exec.cgroup)
                {
                    events.push(Event {
                        time: event.time,
                        process: event.process,
                        body: EventBody::Container(Box::new(container)),
                    });
                }
                self.assembler.observe(&event, &mut events);
                events.push(event);
            }
        }
        for event in events.drain(..) {
            self.fact(event);
        }
        self.events = events;
    }

    /// Which flows between processes were found to hold JSON-RPC, or something else, since the last time.
    pub(crate) fn take_flow_verdicts(&mut self) -> Vec<FlowVerdict> {
        self.assembler.take_flow_verdicts()
    }

    /// An open TLS connection has sent so much by now.
    pub(crate) fn sent(&mut self, time: KTime, socket: SocketId, sent_bytes: u64) {
        let mut events = Vec::new();
        let images = &self.images;
        self.tls_watch.progress(
            time,
            socket,
            sent_bytes,
            |process| images.reason(process),
            &mut events,
        );
        for event in events {
            self.fact(event);
        }
    }

    /// Processes whose plaintext was seen, and is seen no more, since the last time.
    pub(crate) fn take_lost(&mut self) -> Vec<ProcessKey> {
        std::mem::take(&mut self.lost_probes)
    }

    /// The number with which the canary is to sing, if it is time; and it is told if it was not heard.
    pub(crate) fn canary(&mut self, now: Instant, time: KTime, root: ProcessKey) -> Option<u32> {
        if let Some(change) = self.canary.check(now) {
            self.findings = self.findings.saturating_add(1);
            self.fact(Event {
                time,
                process: root,
                body: canary::finding(change, time, self.findings),
            });
        }
        self.canary.song(now)
    }

    /// Takes note of a program or library with TLS code that cannot be read.
    pub(crate) fn blind_image(&mut self, path: &Path, reason: &str) {
        self.images.blind.insert(path.to_owned(), reason.to_owned());
    }

    /// Writes a fact to the ledger and files it away.
    pub(crate) fn fact(&mut self, mut event: Event) {
        if let EventBody::FileUse(usage) = &event.body
            && self.gate_use == Some((event.process, usage.use_id))
        {
            return;
        }
        self.images.learn(&event);
        if let EventBody::FileOpen(open) = &event.body {
            self.lineage.opened(event.process, open);
        }
        self.assembler.redact_event(&mut event);
        if self.is_stuck {
            self.lose(&event.body);
            // What cannot be written is judged and told all the same.
            self.judge.observe(None, &event);
            return;
        }
        match event.body {
            EventBody::LlmCall(call) => self.call(event.time, event.process, *call),
            _ => {
                self.write(&event);
            }
        }
    }

    /// Writes what a call has that the ledger lacks, then the call.
    fn call(&mut self, time: KTime, process: ProcessKey, mut call: LlmCall) {
        let unasked = self.lineage.ask(time, &mut call);
        let (pieces, call) = self.contents.split(call);
        let pieces = pieces
            .into_iter()
            .map(|piece| EventBody::LlmContent(Box::new(piece)));
        for body in pieces.chain([EventBody::LlmCall(Box::new(call))]) {
            let event = Event {
                time,
                process,
                body,
            };
            if !self.write(&event) {
                // Nothing may refer to what is not there.
                self.contents.forget();
            }
        }
        if let Some(event) = unasked {
            self.fact(event);
        }
    }

    /// Writes an event, judges it, and writes what is found. Whether the event is in the ledger now; if not,
    /// it is counted.
    fn write(&mut self, event: &Event) -> bool {
        let seq = self.append(event);
        for found in self.judge.observe(seq, event) {
            self.append(&found.into_event());
        }
        seq.is_some()
    }

    /// Its number in the ledger.
    fn append(&mut self, event: &Event) -> Option<u64> {
        match self.writer.append(event) {
            Ok(seq) => {
                self.graph.apply(seq, event);
                Some(seq)
            }
            Err(error) => {
                self.is_stuck = matches!(error, LedgerError::Io { .. });
                self.lose(&event.body);
                self.write_error.get_or_insert(error.into());
                None
            }
        }
    }

    /// Writes down which rules are in force.
    fn policy(&mut self, time: KTime, state: PolicyState) {
        self.fact(Event {
            time,
            process: ProcessKey::default(),
            body: EventBody::Policy(Box::new(state)),
        });
    }

    /// Counts a fact that could not be written.
    fn lose(&mut self, body: &EventBody) {
        if let Some(class) = class_of(body) {
            *self
                .lost
                .entry((class, DropReason::WriteFailed))
                .or_default() += 1;
        }
    }

    /// Makes what was written visible and durable, when it is time.
    pub(crate) fn tick(&mut self) {
        if let Some(state) = self.judge.look() {
            self.policy(agentsight_probe::clock::now(), state);
        }
        for event in self.lineage.take() {
            self.fact(event);
        }
        let now = Instant::now();
        if now.duration_since(self.last_sync) >= SYNC_EVERY {
            self.last_sync = now;
            self.last_flush = now;
            let result = self.writer.sync();
            self.note(result);
        } else if now.duration_since(self.last_flush) >= FLUSH_EVERY {
            self.last_flush = now;
            let result = self.writer.flush();
            self.note(result);
        }
    }

    fn note(&mut self, result: Result<(), LedgerError>) {
        self.is_stuck = result.is_err();
        if let Err(error) = result {
            self.write_error.get_or_insert(error.into());
        }
    }

    /// The first failure to write, if there was one. Facts from then on may be missing from the ledger.
    pub(crate) fn take_write_error(&mut self) -> Option<anyhow::Error> {
        self.write_error.take()
    }

    /// Writes a record of what was lost since the last time, so that a gap is part of the history.
    pub(crate) fn record_losses(&mut self, kernel: &KernelCounters, time: KTime) {
        let mut losses = self.lost.clone();
        for (class, counters) in kernel {
            for (reason, count) in &counters.dropped {
                losses.insert((*class, *reason), *count);
            }
        }
        for (class, count) in self.decoder.malformed() {
            losses.insert((*class, DropReason::Malformed), *count);
        }
        for ((class, reason), count) in losses {
            let reported = self.reported_losses.entry((class, reason)).or_default();
            let fresh = count.saturating_sub(*reported);
            *reported = count;
            if fresh > 0 {
                let loss = agentsight_model::Loss::new(class, reason, fresh);
                self.fact(loss.into_event(time));
            }
        }
    }

    /// Ends the session: what is unfinished is put out as it is, the counters and the last record follow.
    pub(crate) fn end(
        mut self,
        time: KTime,
        root: ProcessKey,
        kernel: &KernelCounters,
        (exit_code, signal): (Option<i32>, Option<i32>),
    ) -> anyhow::Result<(SessionDocument, agentsight_ledger::Head)> {
        let mut items = Vec::new();
        self.decoder.finish(&mut items);
        for item in items {
            self.item(item);
        }
        let mut events = Vec::new();
        self.assembler.finish(time, &mut events);
        for event in events {
            self.fact(event);
        }
        for event in self.lineage.finish() {
            self.fact(event);
        }
        if self.is_stuck {
            let flushed = self.writer.flush();
            self.note(flushed);
        }
        self.record_losses(kernel, time);
        let rules = self.judge.state("ended");
        self.policy(time, rules);
        let counters = self.counters(kernel);
        self.fact(Event {
            time,
            process: root,
            body: EventBody::SessionEnd(SessionEnd {
                exit_code,
                signal,
                counters,
            }),
        });
        let document = self.graph.document();
        let head = self.writer.close().context("failed to close the ledger")?;
        self.judge.close();
        match self.write_error {
            Some(error) => Err(error.context("failed to write the ledger")),
            None => Ok((document, head)),
        }
    }

    /// Counters of both sides: what the kernel produced, and what of it reached the end.
    fn counters(&self, kernel: &KernelCounters) -> BTreeMap<EventClass, ClassCounters> {
        let mut all = BTreeMap::new();
        for class in EventClass::ALL {
            let mut counters = kernel.get(&class).cloned().unwrap_or_default();
            let write_failed = self
                .lost
                .get(&(class, DropReason::WriteFailed))
                .copied()
                .unwrap_or(0);
            let received = self.decoder.received().get(&class).copied().unwrap_or(0);
            // Totals that were not written are no records that the kernel side has produced.
            let write_failed = write_failed.min(received);
            counters.stored = received.saturating_sub(write_failed);
            for (reason, count) in [
                (DropReason::WriteFailed, write_failed),
                (
                    DropReason::Malformed,
                    self.decoder.malformed().get(&class).copied().unwrap_or(0),
                ),
            ] {
                if count > 0 {
                    counters.dropped.insert(reason, count);
                }
            }
            all.insert(class, counters);
        }
        all
    }
}
