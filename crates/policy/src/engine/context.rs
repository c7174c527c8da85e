//! What the engine knows of processes and of the session, from the events before.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentsight_model::{
    KTime, LlmCall, ProcessExec, ProcessKey, ProcessSeen, SessionStart, WallClock,
};

use super::flow::{FlowKey, LabelSet};
use crate::compile::Filed;
use crate::view::file_name;

/// Ancestors looked at.
const MAX_ANCESTORS: usize = 32;
/// Bytes of a command line that are kept for rules that look at the process later.
const MAX_COMMAND_BYTES: usize = 64 << 10;
/// Files and channels that a process writes to and that get the labels it gets later.
const MAX_SINKS: usize = 32;

/// A program with its arguments.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) exe: String,
    pub(crate) argv: Vec<String>,
    /// The arguments, joined by blanks.
    pub(crate) command: String,
    pub(crate) cwd: String,
    pub(crate) uid: u32,
    /// The rules that may hold for it, once they have been looked up.
    filed: OnceLock<Vec<Filed>>,
}

impl Image {
    /// The rules that may hold for it; looks them up the first time.
    pub(crate) fn filed(&self, look_up: impl FnOnce(&Self) -> Vec<Filed>) -> &[Filed] {
        self.filed.get_or_init(|| look_up(self))
    }

    /// The same program, to be looked up again: other rules are in force.
    fn unfiled(&self) -> Self {
        Self {
            exe: self.exe.clone(),
            argv: self.argv.clone(),
            command: self.command.clone(),
            cwd: self.cwd.clone(),
            uid: self.uid,
            filed: OnceLock::new(),
        }
    }

    fn new(exe: &str, argv: &[String], cwd: &str, uid: u32) -> Self {
        let mut kept = Vec::with_capacity(argv.len().min(64));
        let mut bytes = 0_usize;
        for word in argv {
            bytes = bytes.saturating_add(word.len()).saturating_add(1);
            if bytes > MAX_COMMAND_BYTES {
                break;
            }
            kept.push(word.clone());
        }
        // One endless argument is kept in part.
        if kept.len() < argv.len()
            && let Some(word) = argv.get(kept.len())
        {
            let end = word.floor_char_boundary(MAX_COMMAND_BYTES);
            kept.push(word.get(..end).unwrap_or_default().to_owned());
        }
        Self {
            exe: exe.to_owned(),
            command: kept.join(" "),
            argv: kept,
            cwd: cwd.to_owned(),
            uid,
            filed: OnceLock::new(),
        }
    }
}

/// A process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    pub(crate) parent: ProcessKey,
    pub(crate) image: Arc<Image>,
    /// The agent that it is or works for.
    pub(crate) agent: Option<Arc<str>>,
    pub(crate) is_agent: bool,
    pub(crate) labels: LabelSet,
    /// What it writes to, the latest last.
    pub(crate) sinks: VecDeque<FlowKey>,
}

impl Process {
    pub(crate) fn name(&self) -> &str {
        file_name(&self.image.exe)
    }

    /// Remembers that the process writes to something.
    pub(crate) fn writes(&mut self, sink: FlowKey) {
        if self.sinks.contains(&sink) {
            return;
        }
        if self.sinks.len() >= MAX_SINKS {
            self.sinks.pop_front();
        }
        self.sinks.push_back(sink);
    }

    fn becomes(&mut self, image: Image, filename: &str) {
        let name = agentsight_session::known_agent(&image.exe, filename, &image.argv);
        self.is_agent = name.is_some();
        if let Some(name) = name {
            self.agent = Some(name.into());
        }
        self.image = Arc::new(image);
    }
}

/// The processes of a session.
#[derive(Debug, Default)]
pub(crate) struct ProcessTable {
    processes: HashMap<ProcessKey, Process>,
    /// Those that have ended, the longest ago first: they go first.
    ended: VecDeque<ProcessKey>,
    /// All, in the order in which they were met: where nothing has ended, the oldest goes.
    order: VecDeque<ProcessKey>,
    limit: usize,
    pub(crate) evicted: u64,
}

impl ProcessTable {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    pub(crate) fn get(&self, key: ProcessKey) -> Option<&Process> {
        self.processes.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: ProcessKey) -> Option<&mut Process> {
        self.processes.get_mut(&key)
    }

    /// Whether some process bears one of these labels.
    pub(crate) fn bears(&self, labels: LabelSet) -> bool {
        let mut processes = self.processes.values();
        processes.any(|process| process.labels.intersects(labels))
    }

    /// Changes every set of labels, and forgets which rules to ask, as other rules are in force.
    pub(crate) fn relabel(&mut self, remap: &dyn Fn(LabelSet) -> LabelSet) {
        for process in self.processes.values_mut() {
            process.labels = remap(process.labels);
            process.image = Arc::new(process.image.unfiled());
        }
    }

    /// Whether a process is known; its start time may not be.
    pub(crate) fn knows(&self, key: ProcessKey) -> bool {
        self.processes.contains_key(&key)
    }

    pub(crate) fn ancestors<'a>(&'a self, of: &'a Process) -> impl Iterator<Item = &'a Process> {
        std::iter::successors(self.get(of.parent), |process| self.get(process.parent))
            .take(MAX_ANCESTORS)
    }

    pub(crate) fn fork(&mut self, parent: ProcessKey, child: ProcessKey) {
        let made = match self.get(parent) {
            Some(process) => Process {
                parent,
                is_agent: false,
                sinks: VecDeque::new(),
                ..process.clone()
            },
            None => Process {
                parent,
                ..Process::default()
            },
        };
        self.insert(child, made);
    }

    pub(crate) fn exec(&mut self, key: ProcessKey, exec: &ProcessExec) {
        let image = Image::new(&exec.exe.path, &exec.argv, &exec.cwd, exec.uid);
        self.start(key, exec.parent, image, &exec.filename);
    }

    pub(crate) fn seen(&mut self, key: ProcessKey, seen: &ProcessSeen) {
        let image = Image::new(&seen.exe.path, &seen.argv, &seen.cwd, seen.uid);
        self.start(key, seen.parent, image, "");
    }

    fn start(&mut self, key: ProcessKey, parent: ProcessKey, image: Image, filename: &str) {
        if !self.processes.contains_key(&key) {
            // Its fork was not seen: it has what a child of its parent has.
            self.fork(parent, key);
        }
        if let Some(process) = self.processes.get_mut(&key) {
            if process.parent == ProcessKey::default() {
                process.parent = parent;
            }
            process.becomes(image, filename);
        }
    }

    /// A process has ended. What it did may be told later, so it stays for a while.
    pub(crate) fn exit(&mut self, key: ProcessKey) {
        if self.processes.contains_key(&key) {
            self.ended.push_back(key);
        }
    }

    fn insert(&mut self, key: ProcessKey, process: Process) {
        while self.processes.len() >= self.limit.max(1) {
            let oldest = self.ended.pop_front().or_else(|| self.order.pop_front());
            let Some(oldest) = oldest else { break };
            if self.processes.remove(&oldest).is_some() {
                self.evicted = self.evicted.saturating_add(1);
            }
        }
        if self.processes.insert(key, process).is_none() {
            self.order.push_back(key);
        }
        // Keys whose process is gone pile up otherwise.
        if self.order.len() > self.limit.saturating_mul(2) {
            let processes = &self.processes;
            self.order.retain(|key| processes.contains_key(key));
        }
        if self.ended.len() > self.limit.saturating_mul(2) {
            let processes = &self.processes;
            self.ended.retain(|key| processes.contains_key(key));
        }
    }
}

/// What is known of the session.
#[derive(Debug, Default)]
pub(crate) struct SessionFacts {
    pub(crate) cwd: String,
    pub(crate) user: String,
    pub(crate) uid: u32,
    pub(crate) calls: u64,
    pub(crate) tokens: u64,
    clock: WallClock,
    cost_usd: f64,
}

impl SessionFacts {
    pub(crate) fn begin(&mut self, start: &SessionStart) {
        self.cwd.clone_from(&start.cwd);
        self.user.clone_from(&start.user);
        self.uid = start.uid;
        self.clock = start.clock;
    }

    /// Counts a conversation.
    pub(crate) fn called(&mut self, call: &LlmCall) {
        let usage = &call.usage;
        let tokens = usage.input_tokens.unwrap_or(0);
        let tokens = tokens.saturating_add(usage.output_tokens.unwrap_or(0));
        self.tokens = self.tokens.saturating_add(tokens);
        self.calls = self.calls.saturating_add(1);
        let made = self.time(call.started);
        let models = [&call.model, &call.request_model];
        let price = models.into_iter().flatten().find_map(|model| {
            agentsight_decode::cost::list_price_usd(&call.provider, model, usage, made)
        });
        self.cost_usd += price.unwrap_or(0.0);
    }

    fn time(&self, time: KTime) -> SystemTime {
        let unix_ns = u64::try_from(self.clock.unix_ns(time)).unwrap_or(0);
        UNIX_EPOCH + Duration::from_nanos(unix_ns)
    }

    /// The list price of all conversations, in US cents.
    pub(crate) fn cents(&self) -> i64 {
        // Saturates, and no price is negative.
        #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
        let cents = (self.cost_usd * 100.0) as i64;
        cents
    }
}
