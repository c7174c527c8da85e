//! The actions of a session, each joined to its tool call and judged.
//!
//! One action per process, kind and object: a file that was read a thousand times is one `file.read` with
//! a count. Only where one process used a file for two tool calls there is one for each.

mod requests;

use std::collections::{BTreeMap, HashMap, HashSet};

use agentsight_model::document::Action;
use agentsight_model::{KTime, ProcessKey};
use serde_json::{Map, Value};

use super::SessionGraph;
use super::acts::channel_attributes;
use super::attributes::{
    exec_attributes, exit_attributes, file_attributes, fork_attributes, http_attributes,
    network_attributes, use_attributes,
};
use super::document::{Clock, position_of};
use super::files::{Episode, FileRecord, NameRecord};
use super::network::NetworkKind;
use crate::intent::{
    CallWords, Cause, FileLinks, FileUseKind, Intent, Judge, ProcessLinks, RequestLinks, Tree,
};

/// The kinds of actions that a session document may have.
pub const ACTION_KINDS: &[&str] = &[
    "a2a.call",
    "file.chmod",
    "file.create",
    "file.delete",
    "file.link",
    "file.mmap",
    "file.open",
    "file.pass",
    "file.read",
    "file.rename",
    "file.truncate",
    "file.write",
    "http.exchange",
    "ipc.pipe",
    "kernel.bpf",
    "kernel.io_uring",
    "kernel.module",
    "kernel.mount",
    "kernel.namespace",
    "mcp.call",
    "network.accept",
    "network.connect",
    "network.dns",
    "network.listen",
    "network.send",
    "network.socket",
    "network.unix",
    "process.credentials",
    "process.exec",
    "process.exit",
    "process.fork",
    "process.ptrace",
    "process.signal",
    "rpc.call",
];

/// The actions, and for each tool call the ids of its own.
#[derive(Debug, Default)]
pub(super) struct Acted {
    pub(super) actions: Vec<Action>,
    pub(super) by_tool: Vec<Vec<String>>,
}

/// An action before its texts are made.
struct Draft {
    seq: u64,
    kind: &'static str,
    time: KTime,
    process: ProcessKey,
    attributes: Map<String, Value>,
    cause: Option<Cause>,
    intent: Intent,
}

struct Builder<'a> {
    graph: &'a SessionGraph,
    clock: Clock,
    tree: &'a Tree<'a>,
    links: &'a ProcessLinks,
    requests: &'a RequestLinks,
    files: FileLinks<'a>,
    judge: Judge<'a>,
    drafts: Vec<Draft>,
}

pub(super) fn build(
    graph: &SessionGraph,
    clock: Clock,
    tree: &Tree<'_>,
    words: &[CallWords],
    (links, requests): (&ProcessLinks, &RequestLinks),
) -> Acted {
    let tools = graph.tool_calls.all();
    let session_cwd = graph
        .start
        .as_ref()
        .map_or("", |(_, start)| start.cwd.as_str());
    // A ledger without a beginning is of the kind that holds content.
    let knows_words = graph.start.as_ref().is_none_or(|(_, start)| start.content);
    let cwd_of = |key| {
        let process = tree.processes.get(graph.processes.position(key)?)?;
        process
            .cwd()
            .or(Some(session_cwd))
            .filter(|cwd| !cwd.is_empty())
    };
    let cause_of = |key| {
        graph
            .processes
            .position(key)
            .and_then(|position| links.cause(position))
    };
    let mut files = FileLinks::of(tools, words, links, cwd_of);
    files.learn_renames(graph.files.names(), |key| cause_of(key).is_some());
    let scratch = scratch_files(graph, |key| cause_of(key).map(|found| found.cause.tool));
    let mut builder = Builder {
        graph,
        clock,
        tree,
        links,
        requests,
        files,
        judge: Judge::new(tree, links, words, (session_cwd, knows_words), scratch),
        drafts: Vec::new(),
    };
    builder.processes();
    builder.files();
    builder.network();
    builder.acts();
    builder.channels();
    builder.rpc();
    builder.finish(tools.iter().map(|tool| tool.id.as_str()).collect())
}

/// Files that the processes of a tool call made and removed again.
fn scratch_files(
    graph: &SessionGraph,
    tool_of: impl Fn(ProcessKey) -> Option<usize>,
) -> HashSet<(usize, &str)> {
    let created = |record: &FileRecord| {
        record
            .episodes
            .iter()
            .any(|episode| episode.totals.creates > 0)
    };
    let made: HashSet<(usize, &str)> = graph
        .files
        .records()
        .iter()
        .filter(|record| created(record))
        .filter_map(|record| Some((tool_of(record.key.process)?, &*record.key.path)))
        .collect();
    let removed = graph.files.names().iter().filter_map(|name| {
        let path = name
            .from
            .as_ref()
            .map_or(&name.file.path, |from| &from.path);
        Some((tool_of(name.process)?, path.as_str()))
    });
    removed.filter(|file| made.contains(file)).collect()
}

impl Builder<'_> {
    fn processes(&mut self) {
        for position in self.tree.order.clone() {
            let Some(process) = self.tree.processes.get(position) else {
                continue;
            };
            let found = self.links.cause(position);
            let cause = found.map(|found| found.cause);
            let judged = found.map(|found| (&found.cause, found.root));
            let mut intent = cause.map_or(Intent::None, |_| Intent::Implied("fork"));
            if let Some((seq, time)) = process.forked {
                let parent = process.parent.unwrap_or_default();
                self.push(
                    seq,
                    "process.fork",
                    (time, parent),
                    fork_attributes(process),
                    (cause, intent),
                );
            }
            for exec in process.execs.iter().filter(|exec| !exec.found) {
                intent = self.judge.exec(position, exec, judged);
                let attributes = exec_attributes(process, exec);
                self.push(
                    exec.seq,
                    "process.exec",
                    (exec.time, process.key),
                    attributes,
                    (cause, intent),
                );
            }
            if let Some((seq, time, _)) = process.exit {
                let attributes = exit_attributes(process);
                self.push(
                    seq,
                    "process.exit",
                    (time, process.key),
                    attributes,
                    (cause, intent),
                );
            }
        }
    }

    fn files(&mut self) {
        let graph = self.graph;
        for record in graph.files.records() {
            let position = position_of(self.tree, graph, record.key.process);
            for (cause, root, uses) in self.causes_of(record, position) {
                self.file_actions(record, position, (cause, root), &uses);
            }
        }
        for name in graph.files.names() {
            self.name_action(name);
        }
    }

    /// The episodes of a file record, summed up for each cause.
    fn causes_of(
        &self,
        record: &FileRecord,
        position: Option<usize>,
    ) -> Vec<(Option<Cause>, Option<usize>, Episode)> {
        let by_process = position.and_then(|position| self.links.cause(position));
        let mut groups: BTreeMap<Option<usize>, (Option<Cause>, Episode)> = BTreeMap::new();
        for episode in &record.episodes {
            let cause = match by_process {
                Some(found) => Some(found.cause),
                None => {
                    let time = (episode.first, episode.last);
                    let by_path = self.files.cause(record.key.process, &record.key.path, time);
                    self.with_request(by_path, record.key.process, episode.first)
                }
            };
            groups
                .entry(cause.map(|cause| cause.tool))
                .and_modify(|(_, sum)| {
                    sum.totals.add(&episode.totals);
                    sum.first = sum.first.min(episode.first);
                    sum.last = sum.last.max(episode.last);
                })
                .or_insert((cause, *episode));
        }
        let root = by_process.map(|found| found.root);
        groups
            .into_values()
            .map(|(cause, sum)| (cause, root, sum))
            .collect()
    }

    fn file_actions(
        &mut self,
        record: &FileRecord,
        position: Option<usize>,
        (cause, root): (Option<Cause>, Option<usize>),
        uses: &Episode,
    ) {
        let path = &*record.key.path;
        let judged = cause.as_ref().map(|cause| (cause, root));
        let judge = |writing| {
            let use_of = FileUseKind {
                time: uses.first,
                writing,
                inherited: record.inherited,
            };
            self.judge.file(position, path, use_of, judged)
        };
        let totals = &uses.totals;
        let opened_to_write = totals.access.write || totals.access.create || totals.access.truncate;
        let changes = totals.creates > 0 || totals.writes > 0 || opened_to_write;
        let reading = judge(false);
        let writing = if changes { judge(true) } else { reading };
        let emptied = totals.access.truncate && totals.creates == 0;
        let kinds = [
            (
                "file.open",
                totals.opens,
                if opened_to_write { writing } else { reading },
            ),
            ("file.create", totals.creates, writing),
            ("file.truncate", u64::from(emptied), writing),
            ("file.read", totals.reads, reading),
            ("file.write", totals.writes, writing),
        ];
        for (kind, count, intent) in kinds {
            if count > 0 {
                let mut attributes = file_attributes(path, &record.file);
                use_attributes(&mut attributes, kind, totals);
                attributes.insert("agentsight.count".into(), count.into());
                attributes.insert(
                    "agentsight.last_time".into(),
                    self.clock.text(uses.last).into(),
                );
                if record.inherited {
                    attributes.insert("agentsight.file.inherited".into(), true.into());
                }
                self.push(
                    uses.seq,
                    kind,
                    (uses.first, record.key.process),
                    attributes,
                    (cause, intent),
                );
            }
        }
    }

    fn name_action(&mut self, name: &NameRecord) {
        let position = position_of(self.tree, self.graph, name.process);
        let found = position.and_then(|position| self.links.cause(position));
        let time = (name.first, name.last);
        let by_path = || {
            let from = name.from.as_ref().map(|from| from.path.as_str());
            let paths = [Some(name.file.path.as_str()), from];
            paths
                .into_iter()
                .flatten()
                .find_map(|path| self.files.cause(name.process, path, time))
        };
        let cause = found
            .map(|found| found.cause)
            .or_else(|| self.with_request(by_path(), name.process, name.first));
        let judged = cause
            .as_ref()
            .map(|cause| (cause, found.map(|found| found.root)));
        let intent = {
            let use_of = FileUseKind {
                time: name.first,
                writing: true,
                inherited: false,
            };
            self.judge.file(position, &name.file.path, use_of, judged)
        };
        let mut attributes = file_attributes(&name.file.path, &name.file);
        attributes.insert("agentsight.count".into(), name.count.into());
        if name.directory {
            attributes.insert("agentsight.file.directory".into(), true.into());
        }
        if let Some(from) = &name.from {
            attributes.insert("agentsight.file.old_path".into(), from.path.clone().into());
        }
        let kind = if name.from.is_some() {
            "file.rename"
        } else {
            "file.delete"
        };
        self.push(
            name.seq,
            kind,
            (name.first, name.process),
            attributes,
            (cause, intent),
        );
    }

    fn network(&mut self) {
        let graph = self.graph;
        for record in graph.network.records() {
            let position = position_of(self.tree, graph, record.process);
            let cause = self.cause_of(position, record.process, record.first);
            let intent =
                self.judge
                    .network(position, &record.endpoint, record.first, cause.as_ref());
            let mut attributes = network_attributes(record);
            attributes.insert(
                "agentsight.last_time".into(),
                self.clock.text(record.last).into(),
            );
            let kind = match record.endpoint.kind {
                NetworkKind::Connect => "network.connect",
                NetworkKind::Accept => "network.accept",
                NetworkKind::Listen => "network.listen",
                NetworkKind::Send => "network.send",
            };
            self.push(
                record.seq,
                kind,
                (record.first, record.process),
                attributes,
                (cause, intent),
            );
        }
        for record in graph.network.http_records() {
            let position = position_of(self.tree, graph, record.process);
            let cause = self.cause_of(position, record.process, record.first);
            // The connection that carries it was judged by its address.
            let intent = if cause.is_some() {
                Intent::Implied("connection")
            } else {
                Intent::None
            };
            let attributes = http_attributes(record, self.clock);
            self.push(
                record.seq,
                "http.exchange",
                (record.first, record.process),
                attributes,
                (cause, intent),
            );
        }
    }

    fn acts(&mut self) {
        let graph = self.graph;
        for record in graph.acts.records() {
            let position = position_of(self.tree, graph, record.process);
            let found = position.and_then(|position| self.links.cause(position));
            let cause = self.cause_of(position, record.process, record.first);
            let intent = match &record.file {
                Some((path, writing)) => {
                    let use_of = FileUseKind {
                        time: record.first,
                        writing: *writing,
                        inherited: false,
                    };
                    let root = found.map(|found| found.root);
                    let judged = cause.as_ref().map(|cause| (cause, root));
                    self.judge.file(position, path, use_of, judged)
                }
                None => self.judge.act(position, record.first, cause.as_ref()),
            };
            let mut attributes = record.attributes.clone();
            attributes.insert("agentsight.count".into(), record.count.into());
            attributes.insert(
                "agentsight.last_time".into(),
                self.clock.text(record.last).into(),
            );
            self.push(
                record.seq,
                record.kind,
                (record.first, record.process),
                attributes,
                (cause, intent),
            );
        }
    }

    fn channels(&mut self) {
        let graph = self.graph;
        for record in graph.acts.channels() {
            let position = position_of(self.tree, graph, record.process);
            let found = position.and_then(|position| self.links.cause(position));
            let cause = found.map(|found| found.cause);
            // Who is joined to whom is decided by who starts them; what flows is judged elsewhere.
            let intent = cause.map_or(Intent::None, |_| Intent::Implied("channel"));
            let mut attributes = channel_attributes(record);
            attributes.insert(
                "agentsight.last_time".into(),
                self.clock.text(record.last).into(),
            );
            self.push(
                record.seq,
                "ipc.pipe",
                (record.first, record.process),
                attributes,
                (cause, intent),
            );
        }
    }

    fn push(
        &mut self,
        seq: u64,
        kind: &'static str,
        (time, process): (KTime, ProcessKey),
        mut attributes: Map<String, Value>,
        (cause, intent): (Option<Cause>, Intent),
    ) {
        if let Intent::Implied(rule) = intent {
            attributes.insert("agentsight.intent.rule".into(), rule.into());
        }
        self.drafts.push(Draft {
            seq,
            kind,
            time,
            process,
            attributes,
            cause,
            intent,
        });
    }

    fn finish(mut self, tool_ids: Vec<&str>) -> Acted {
        self.drafts.sort_by_key(|draft| (draft.time, draft.seq));
        let mut acted = Acted {
            actions: Vec::with_capacity(self.drafts.len()),
            by_tool: vec![Vec::new(); tool_ids.len()],
        };
        let mut used: HashMap<(u64, &'static str), u64> = HashMap::new();
        for draft in self.drafts {
            let repeats = used.entry((draft.seq, draft.kind)).or_default();
            let id = action_id(draft.seq, draft.kind, *repeats);
            *repeats = repeats.saturating_add(1);
            let tool = draft.cause.map(|cause| cause.tool);
            if let Some(actions) = tool.and_then(|tool| acted.by_tool.get_mut(tool)) {
                actions.push(id.clone());
            }
            acted.actions.push(Action {
                id,
                kind: draft.kind.to_owned(),
                time: self.clock.text(draft.time),
                process: draft.process,
                attributes: draft.attributes,
                tool_call: tool
                    .and_then(|tool| tool_ids.get(tool))
                    .map(|id| (*id).to_owned()),
                intent: draft.intent.as_str().to_owned(),
                link: draft.cause.map(|cause| cause.link()),
                verdict: None,
            });
        }
        acted
    }
}

/// The number of the event in the ledger and the kind, as one event of a file leads to several actions.
/// It stays the same while a session goes on.
fn action_id(seq: u64, kind: &str, repeats: u64) -> String {
    let verb = kind.rsplit('.').next().unwrap_or(kind);
    match repeats {
        0 => format!("{verb}-{seq}"),
        _ => format!("{verb}-{seq}.{repeats}"),
    }
}

#[cfg(test)]
mod tests {
    use super::ACTION_KINDS;
    use agentsight_model::Event;

    /// Kinds of events that are no actions, or whose actions have other names.
    const OTHER_EVENTS: &[&str] = &[
        "channel.end",
        "container",
        "file.use",
        "finding",
        "llm.call",
        "llm.message",
        "llm.sources",
        "loss",
        "network.close",
        "policy",
        "process.seen",
        "session.end",
        "session.start",
        "stream.end",
        "tls.connection",
    ];

    #[test]
    fn every_event_is_an_action_or_said_to_be_none() {
        let json = r#"{"time":0,"actor":"1.1","kind":"no such kind"}"#;
        let message = serde_json::from_str::<Event>(json).unwrap_err().to_string();
        let (_, list) = message.split_once("expected").unwrap();
        for kind in list.split('`').skip(1).step_by(2) {
            assert!(
                ACTION_KINDS.contains(&kind) || OTHER_EVENTS.contains(&kind),
                "`{kind}` is neither in ACTION_KINDS nor in OTHER_EVENTS"
            );
        }
        assert!(ACTION_KINDS.is_sorted());
    }
}
