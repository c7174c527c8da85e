//! Judges events, one by one, in ledger order.
//!
//! [`Engine::observe`] first takes in what an event changes (a new process, labels that flow to a reader), then
//! asks the rules that may hold, then takes in what the rules say (labels, steps of sequences) and what flows
//! out (labels to what is written). What it answers follows from the events alone.

pub(crate) mod context;
pub(crate) mod flow;
mod recent;
mod sequence;
mod summary;
mod tools;

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use agentsight_model::{Event, EventBody, Evidence, Finding, KTime, PolicyState, ProcessKey};

use crate::kind::{Kind, KindSet, kinds_of};
use crate::rule::{By, Effect, Program, Rule, RuleSet, Step};
use crate::view::{ToolFacts, View, address_of, host_of, parent_domain};
use context::{Process, ProcessTable, SessionFacts};
use flow::{FlowKey, FlowTable, LabelSet};
use recent::{RecentMap, RecentSet};
use sequence::Partials;
use tools::ToolTable;

/// How much an [`Engine`] remembers. What goes beyond drops the oldest, and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processes; those that have ended go first.
    pub processes: usize,
    /// Files and channels with labels.
    pub carriers: usize,
    /// Names of addresses, and definitions of tools.
    pub names: usize,
    /// Sequences and thresholds that have begun.
    pub partials: usize,
    /// Findings of one rule in a session; further ones are counted as repeated.
    pub findings_per_rule: u32,
}

impl Default for Limits {
    /// Some 100 MB at the very most.
    fn default() -> Self {
        Self {
            processes: 16_384,
            carriers: 65_536,
            names: 16_384,
            partials: 4_096,
            findings_per_rule: 100,
        }
    }
}

/// A finding with the time and the process of the event that completed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// When.
    pub time: KTime,
    /// Who.
    pub process: ProcessKey,
    /// What.
    pub finding: Finding,
}

impl Found {
    /// The finding as a fact for the ledger.
    #[must_use]
    pub fn into_event(self) -> Event {
        Event {
            time: self.time,
            process: self.process,
            body: EventBody::Finding(Box::new(self.finding)),
        }
    }
}

/// What an engine has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events that it was given.
    pub events: u64,
    /// Findings that it gave.
    pub findings: u64,
    /// Findings that it did not give, because they repeat others.
    pub repeated: u64,
    /// Entries of its state that it dropped because a limit was reached.
    pub evicted: u64,
    /// Conditions that could not be said to hold or not: an overflow, a division by zero.
    pub undecided: u64,
}

/// A hash that is the same in every run.
pub(crate) fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Judges the events of one session.
#[derive(Debug)]
pub struct Engine {
    rules: Arc<RuleSet>,
    limits: Limits,
    session: SessionFacts,
    processes: ProcessTable,
    flows: FlowTable,
    tools: ToolTable,
    /// Names by address, as look-ups have told.
    names: RecentMap<IpAddr, String>,
    /// The domain that each agent's models are at.
    model_domains: RecentMap<u64, String>,
    partials: Partials,
    told: RecentSet,
    findings_of: Vec<u32>,
    counters: Counters,
    candidates: Vec<usize>,
}

/// Findings that are remembered, so as not to tell them again.
const MAX_TOLD: usize = 65_536;
/// Processes that one change of labels may reach through channels.
const MAX_SPREAD: usize = 1_024;

impl Engine {
    /// An engine at the beginning of a session.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>) -> Self {
        Self::with_limits(rules, Limits::default())
    }

    /// An engine with limits of its own.
    #[must_use]
    pub fn with_limits(rules: Arc<RuleSet>, limits: Limits) -> Self {
        Self {
            findings_of: vec![0; rules.rules.len()],
            rules,
            limits,
            session: SessionFacts::default(),
            processes: ProcessTable::new(limits.processes),
            flows: FlowTable::new(limits.carriers),
            tools: ToolTable::new(limits.names),
            names: RecentMap::new(limits.names),
            model_domains: RecentMap::new(limits.names),
            partials: Partials::new(limits.partials),
            told: RecentSet::new(MAX_TOLD),
            counters: Counters::default(),
            candidates: Vec::new(),
        }
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let tables = [
            self.processes.evicted,
            self.flows.evicted,
            self.tools.evicted(),
            self.names.evicted(),
            self.model_domains.evicted(),
            self.partials.evicted(),
        ];
        Counters {
            evicted: tables.into_iter().fold(0, u64::saturating_add),
            ..self.counters
        }
    }

    /// The rules and counters as a fact for the ledger. `change` is `loaded`, `reloaded` or `ended`.
    #[must_use]
    pub fn state(&self, change: &str) -> PolicyState {
        let counters = self.counters();
        PolicyState {
            change: change.to_owned(),
            rules: self.rules.rules.len() as u64,
            sha256: self.rules.sha256().to_owned(),
            repeated: counters.repeated,
            evicted: counters.evicted,
        }
    }

    /// Puts other rules in force. Processes, labels and names stay; sequences and thresholds of rules that
    /// have not changed go on.
    pub fn reload(&mut self, rules: Arc<RuleSet>) {
        let new_label = |old: &String| rules.labels.iter().position(|new| new == old);
        let bits: Vec<Option<usize>> = self.rules.labels.iter().map(new_label).collect();
        let remap = |set: LabelSet| set.remapped(&bits);
        self.processes.relabel(&remap);
        self.flows.relabel(&remap);
        let same = |old: usize| {
            let old = self.rules.rules.get(old)?;
            rules.rules.iter().position(|new| {
                new.id == old.id && new.program.fingerprint == old.program.fingerprint
            })
        };
        self.partials.renumber(&same);
        let mut findings_of = vec![0; rules.rules.len()];
        for (count, rule) in findings_of.iter_mut().zip(&rules.rules) {
            let before = self.rules.rules.iter().position(|old| old.id == rule.id);
            let told = before.and_then(|before| self.findings_of.get(before));
            *count = told.copied().unwrap_or(0);
        }
        self.findings_of = findings_of;
        self.rules = rules;
    }

    /// Judges the event with ledger number `seq` (`None` if it could not be written).
    pub fn observe(&mut self, seq: impl Into<Option<u64>>, event: &Event) -> Vec<Found> {
        let seq = seq.into();
        self.counters.events = self.counters.events.saturating_add(1);
        let kinds = kinds_of(event);
        self.arrive(event);
        let mut found = Vec::new();
        if kinds != KindSet::default() {
            let host_changed = self.host_changed(event);
            self.judge(seq, event, kinds, None, host_changed, &mut found);
            if let EventBody::LlmCall(call) = &event.body {
                for (kind, tool) in self.tools.taken_from(event.process, call) {
                    let kinds = KindSet::of(kind);
                    self.judge(seq, event, kinds, Some(&tool), false, &mut found);
                }
            }
            self.leave(event);
        }
        found
    }

    /// Whether some process or file bears one of these labels.
    pub(crate) fn bears(&self, labels: LabelSet) -> bool {
        self.processes.bears(labels) || self.flows.bears(labels)
    }

    /// What an event changes before it is judged.
    fn arrive(&mut self, event: &Event) {
        let key = event.process;
        match &event.body {
            EventBody::SessionStart(start) => self.session.begin(start),
            EventBody::ProcessFork(fork) => self.processes.fork(key, fork.child),
            EventBody::ProcessExec(exec) => self.processes.exec(key, exec),
            EventBody::ProcessSeen(seen) => self.processes.seen(key, seen),
            EventBody::ProcessExit(_) => self.processes.exit(key),
            EventBody::FileOpen(open) => {
                let Some(file) = FlowKey::of_file(&open.file) else {
                    return;
                };
                if open.access.create || open.access.truncate {
                    self.flows.forget(file);
                }
                if open.access.read {
                    let labels = self.flows.labels(file);
                    self.spread(key, labels);
                }
            }
            EventBody::IpcPipe(pipe) if pipe.access.read => {
                let labels = self.flows.read_by(FlowKey::read_from(&pipe.channel), key);
                self.spread(key, labels);
            }
            EventBody::LlmContent(piece) => self.tools.piece(piece),
            EventBody::LlmCall(call) => {
                self.session.called(call);
                if let Some(process) = self.processes.get_mut(key) {
                    // What bears a label does not shed it by a call to a model.
                    process.is_agent |= process.labels.is_empty();
                }
            }
            _ => {}
        }
    }

    /// What flows out of an event after it is judged.
    fn leave(&mut self, event: &Event) {
        let key = event.process;
        match &event.body {
            EventBody::FileOpen(open) if open.access.write || open.access.truncate => {
                if let Some(file) = FlowKey::of_file(&open.file) {
                    self.write(key, file);
                }
            }
            EventBody::IpcPipe(pipe) if pipe.access.write => {
                self.write(key, FlowKey::written_to(&pipe.channel));
            }
            EventBody::NetworkDns(dns) => {
                for address in &dns.addresses {
                    self.names
                        .insert(address.to_canonical(), dns.question.clone());
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, key: ProcessKey, sink: FlowKey) {
        let Some(process) = self.processes.get_mut(key) else {
            return;
        };
        process.writes(sink);
        let labels = process.labels;
        let readers = self.flows.add(sink, labels);
        for reader in readers {
            self.spread(reader, labels);
        }
    }

    /// Gives labels to a process, and through what it writes to others. They do not enter agents.
    fn spread(&mut self, key: ProcessKey, labels: LabelSet) {
        let enters = |process: &Process| !process.is_agent;
        self.spread_where(key, labels, &enters);
    }

    fn spread_where(
        &mut self,
        key: ProcessKey,
        labels: LabelSet,
        enters_first: &dyn Fn(&Process) -> bool,
    ) {
        if labels.is_empty() {
            return;
        }
        let mut waiting = VecDeque::from([key]);
        let mut reached = 0_usize;
        while let Some(at) = waiting.pop_front() {
            let Some(process) = self.processes.get_mut(at) else {
                continue;
            };
            let enters = if reached == 0 {
                enters_first(process)
            } else {
                !process.is_agent
            };
            reached = reached.saturating_add(1);
            if !enters || process.labels.contains_all(labels) || reached > MAX_SPREAD {
                continue;
            }
            process.labels = process.labels.union(labels);
            for sink in process.sinks.clone() {
                waiting.extend(self.flows.add(sink, labels));
            }
        }
    }

    /// Whether an agent talks to a model in another domain than before.
    fn host_changed(&mut self, event: &Event) -> bool {
        let EventBody::LlmCall(call) = &event.body else {
            return false;
        };
        let domain = parent_domain(host_of(&call.endpoint)).to_ascii_lowercase();
        if domain.is_empty() {
            return false;
        }
        let process = self.processes.get(event.process);
        let agent = process.and_then(|process| process.agent.clone());
        let key = match agent {
            Some(agent) => hash_of(&*agent),
            None => hash_of(event.process),
        };
        match self.model_domains.get(&key) {
            Some(known) => *known != domain,
            None => {
                self.model_domains.insert(key, domain);
                false
            }
        }
    }

    /// Asks the rules that may hold, and takes in what they say.
    fn judge(
        &mut self,
        seq: Option<u64>,
        event: &Event,
        kinds: KindSet,
        tool: Option<&ToolFacts>,
        host_changed: bool,
        found: &mut Vec<Found>,
    ) {
        let rules = Arc::clone(&self.rules);
        let unknown = Process::default();
        let address = address_of(&event.body);
        let name = address.and_then(|address| self.names.get(&address.ip().to_canonical()));
        let mut view = View {
            event,
            kind: finest(kinds),
            process: self.processes.get(event.process).unwrap_or(&unknown),
            processes: &self.processes,
            session: &self.session,
            label_names: &rules.labels,
            file_labels: LabelSet::default(),
            host: name.map_or("", String::as_str),
            tool,
            host_changed,
        };
        view.file_labels = view
            .file()
            .and_then(FlowKey::of_file)
            .map_or(LabelSet::default(), |file| self.flows.labels(file));
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        rules.index.candidates(kinds, &view, &mut candidates);
        let mut hits = Vec::new();
        for unit in candidates
            .iter()
            .filter_map(|at| rules.index.units.get(*at))
        {
            let Some(rule) = rules.rules.get(unit.rule) else {
                continue;
            };
            let Some(step) = rule.program.steps.get(unit.step) else {
                continue;
            };
            if step.kinds.intersects(kinds) && holds(step, &view, &mut self.counters.undecided) {
                let key = key_of(rule.program.by, &view);
                hits.push(Hit {
                    rule: unit.rule,
                    step: unit.step,
                    key,
                    distinct: distinct(&rule.program, &view),
                    evidence: summary::evidence(seq, &view),
                    message: rule.program.message.render(&view),
                    advice: rule
                        .program
                        .advice
                        .as_ref()
                        .map(|advice| advice.render(&view)),
                });
            }
        }
        let file = view.file().and_then(FlowKey::of_file);
        self.candidates = candidates;
        // A later step first: no event is two steps of the same sequence.
        hits.sort_by_key(|hit| (hit.rule, std::cmp::Reverse(hit.step)));
        for hit in hits {
            if let Some(rule) = rules.rules.get(hit.rule) {
                self.take(event, rule, hit, file, found);
            }
        }
    }

    /// A step of a rule holds: the rule fires, or waits for more.
    fn take(
        &mut self,
        event: &Event,
        rule: &Rule,
        hit: Hit,
        file: Option<FlowKey>,
        found: &mut Vec<Found>,
    ) {
        let program = &rule.program;
        let evidence = if program.steps.len() > 1 {
            self.partials.step(program, &hit, event.time)
        } else if program.threshold.is_some() {
            self.partials.count(program, &hit, event.time)
        } else {
            Some(vec![hit.evidence.clone()])
        };
        let Some(evidence) = evidence else { return };
        // A rule knows what it labels; the limits of how labels flow are not its own.
        self.spread_where(event.process, program.process_labels, &|_| true);
        if let Some(file) = file.filter(|_| !program.file_labels.is_empty()) {
            self.flows.add(file, program.file_labels);
        }
        if rule.effect == Effect::Label || !self.is_news(&hit, rule) {
            return;
        }
        self.counters.findings = self.counters.findings.saturating_add(1);
        found.push(Found {
            time: event.time,
            process: event.process,
            finding: Finding {
                id: format!("alert-{}", self.counters.findings),
                rule: rule.id.clone(),
                severity: rule.severity,
                title: hit.message,
                advice: hit.advice,
                taxonomy: rule.taxonomy.clone(),
                evidence,
                verdict: "alert".to_owned(),
            },
        });
    }

    /// Whether a finding says something that was not said before.
    fn is_news(&mut self, hit: &Hit, rule: &Rule) -> bool {
        let is_new = self.told.insert(hash_of((&rule.id, &hit.message)));
        let count = self.findings_of.get_mut(hit.rule);
        let is_news = match count {
            Some(count) if is_new && *count < self.limits.findings_per_rule => {
                *count = count.saturating_add(1);
                true
            }
            _ => false,
        };
        if !is_news {
            self.counters.repeated = self.counters.repeated.saturating_add(1);
        }
        is_news
    }
}

/// A step of a rule that holds for an event.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) rule: usize,
    pub(crate) step: usize,
    /// What the events of a sequence or threshold have in common.
    pub(crate) key: u64,
    /// What makes an event another one for a threshold.
    pub(crate) distinct: u64,
    pub(crate) evidence: Evidence,
    message: String,
    advice: Option<String>,
}

/// The finest of the kinds that an event is: `file.create` rather than `file.open`.
fn finest(kinds: KindSet) -> Kind {
    kinds.iter().last().unwrap_or(Kind::LlmCall)
}

fn holds(step: &Step, view: &View<'_>, undecided: &mut u64) -> bool {
    let mut said = |pred: &crate::expr::Pred| {
        pred.holds(view).unwrap_or_else(|| {
            *undecided = undecided.saturating_add(1);
            false
        })
    };
    step.matcher.matches(view)
        && step.condition.as_ref().is_none_or(&mut said)
        && !step.exceptions.iter().any(|(matcher, condition)| {
            matcher.matches(view) && condition.as_ref().is_none_or(&mut said)
        })
}

fn key_of(by: By, view: &View<'_>) -> u64 {
    match by {
        By::Process => hash_of(view.event.process),
        By::Parent => hash_of(view.process.parent),
        By::Agent => hash_of(view.process.agent.as_deref()),
        By::Session => 0,
    }
}

fn distinct(program: &Program, view: &View<'_>) -> u64 {
    use crate::field::Type;
    let Some(field) = program.threshold.and_then(|threshold| threshold.distinct) else {
        return 0;
    };
    match field.info().map(|info| info.ty) {
        Some(Type::Int) => hash_of(view.int(field)),
        Some(Type::Bool) => hash_of(view.flag(field)),
        Some(Type::List) => hash_of(view.list(field)),
        _ => hash_of(view.text(field)),
    }
}
