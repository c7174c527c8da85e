//! Which process was caused by which tool call.
//!
//! Passes over the processes, oldest first, so that parents come before children:
//!
//! 0. **request**: a process that an MCP server started while it answered a request; see
//!    [`super::requests`].
//! 1. **text**: a process that was started with a call's text within the call's window. Its descendants
//!    follow by lineage and are not compared any more. Of several calls with the same text, the first
//!    that has no process yet is taken: parallel identical calls are matched one to one in order. What
//!    began within the window between it and the caller belongs to the call as well.
//! 2. **window**: for calls without a process, as some agents pass the text in an environment variable
//!    or on standard input: a process started by the caller within the call's window that the call's
//!    text names, or a shell with a text of its own, in order, or anything if only one call is open.
//! 3. **nested agents**: a process that talks to a model has tool calls of its own. Its children that
//!    none of these explain follow the call that started the nested agent.

use agentsight_model::ProcessKey;

use super::carried::{Carried, MAX_ARGUMENTS};
use super::tree::Tree;
use super::words::CallWords;
use super::{Cause, Evidence, RequestLinks, Windows};
use crate::graph::{ExecRecord, ToolCallRecord};
use crate::tool::{ToolKind, is_shell, takes_text};

/// Share of confidence that a descendant has of its ancestor's, in hundredths.
const LINEAGE_PERCENT: u8 = 97;

/// The cause of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ProcessCause {
    pub(crate) cause: Cause,
    /// Position of the process that was joined directly: itself, or an ancestor.
    pub(crate) root: usize,
}

/// The cause of each process that has one.
#[derive(Debug)]
pub(crate) struct ProcessLinks {
    causes: Vec<Option<ProcessCause>>,
    /// For each tool call, how many processes were joined to it directly.
    roots: Vec<u32>,
    /// For each tool call, whether one of these was by text.
    joined_by_text: Vec<bool>,
}

/// What the joins work on.
#[derive(Clone, Copy)]
struct Context<'a> {
    tree: &'a Tree<'a>,
    tools: &'a [ToolCallRecord],
    words: &'a [CallWords],
    windows: &'a Windows,
    requests: &'a RequestLinks,
}

impl Context<'_> {
    /// Whether a process answers requests for tools: what it starts belongs to these, not to its own cause.
    fn serves(&self, position: usize) -> bool {
        let key = self.tree.key(position);
        key.is_some_and(|key| self.requests.serves(key))
    }
}

type Rule = fn(&ProcessLinks, Context<'_>, usize) -> Option<Cause>;

impl ProcessLinks {
    /// Joins processes to tool calls.
    pub(crate) fn find(
        tree: &Tree<'_>,
        tools: &[ToolCallRecord],
        words: &[CallWords],
        windows: &Windows,
        requests: &RequestLinks,
    ) -> Self {
        let mut links = Self {
            causes: vec![None; tree.processes.len()],
            roots: vec![0; tools.len()],
            joined_by_text: vec![false; tools.len()],
        };
        let context = Context {
            tree,
            tools,
            words,
            windows,
            requests,
        };
        links.pass(context, Self::by_request);
        links.pass(context, Self::by_text);
        links.shells_above(context);
        links.pass(context, Self::by_window);
        links.nested_agents(tree);
        links
    }

    /// The cause of the process at `position`.
    pub(crate) fn cause(&self, position: usize) -> Option<&ProcessCause> {
        self.causes.get(position)?.as_ref()
    }

    /// Whether a tool call has a process of its own.
    pub(crate) fn has_process(&self, tool: usize) -> bool {
        self.roots.get(tool).is_some_and(|roots| *roots > 0)
    }

    fn pass(&mut self, context: Context<'_>, rule: Rule) {
        for position in &context.tree.order {
            if self.cause(*position).is_some() {
                continue;
            }
            let parent = context.tree.parent(*position);
            let inherited = parent
                .filter(|parent| !context.tree.callers.contains(parent))
                .filter(|parent| !context.serves(*parent))
                .and_then(|parent| self.inherited(parent));
            if inherited.is_some() {
                self.set(*position, inherited);
            } else if let Some(cause) = rule(self, context, *position) {
                self.set_root(*position, cause);
            }
        }
    }

    /// Joins what stands between a caller and the process that a call's text was found in: a shell that
    /// got the text in a variable and then ran the very command.
    fn shells_above(&mut self, context: Context<'_>) {
        for position in &context.tree.order {
            let Some(found) = self
                .cause(*position)
                .filter(|found| found.root == *position)
            else {
                continue;
            };
            let cause = Cause {
                evidence: Evidence::Window,
                confidence_percent: share(found.cause.confidence_percent, 90),
                windowed: true,
                ..found.cause
            };
            let mut above = context.tree.parent(*position);
            while let Some(ancestor) = above.filter(|above| self.is_between(context, *above, cause))
            {
                let root = ancestor;
                self.set(ancestor, Some(ProcessCause { cause, root }));
                above = context.tree.parent(ancestor);
            }
        }
    }

    /// Whether a process without a cause began for a call: within its window, and not to live on.
    fn is_between(&self, context: Context<'_>, position: usize, cause: Cause) -> bool {
        let opened = context.tools.get(cause.tool).map(|tool| tool.opened);
        let process = context.tree.processes.get(position);
        self.cause(position).is_none()
            && !context.tree.callers.contains(&position)
            && process.zip(opened).is_some_and(|(process, opened)| {
                let serves = process
                    .execs
                    .last()
                    .is_some_and(runs_commands_from_elsewhere);
                process.started() >= opened && !serves
            })
    }

    fn nested_agents(&mut self, tree: &Tree<'_>) {
        for position in &tree.order {
            if self.cause(*position).is_none() {
                let inherited = tree
                    .parent(*position)
                    .and_then(|parent| self.inherited(parent));
                self.set(*position, inherited);
            }
        }
    }

    fn inherited(&self, parent: usize) -> Option<ProcessCause> {
        let ancestor = self.cause(parent)?;
        let confidence_percent = if ancestor.root == parent {
            share(ancestor.cause.confidence_percent, LINEAGE_PERCENT)
        } else {
            ancestor.cause.confidence_percent
        };
        Some(ProcessCause {
            cause: Cause {
                evidence: Evidence::Lineage,
                windowed: false,
                requested: false,
                confidence_percent,
                ..ancestor.cause
            },
            root: ancestor.root,
        })
    }

    fn set(&mut self, position: usize, cause: Option<ProcessCause>) {
        if let Some(slot) = self.causes.get_mut(position) {
            *slot = cause;
        }
    }

    fn set_root(&mut self, position: usize, cause: Cause) {
        if let Some(roots) = self.roots.get_mut(cause.tool) {
            *roots = roots.saturating_add(1);
        }
        if let Some(by_text) = self.joined_by_text.get_mut(cause.tool) {
            *by_text |= cause.evidence != Evidence::Window;
        }
        let root = position;
        self.set(position, Some(ProcessCause { cause, root }));
    }

    /// Pass 0: the call whose request the process's parent was answering when it started the process.
    fn by_request(&self, context: Context<'_>, position: usize) -> Option<Cause> {
        let process = context.tree.processes.get(position)?;
        let parent = context.tree.key(context.tree.parent(position)?)?;
        context.requests.cause(parent, process.started())
    }

    /// Pass 1: the call whose text a process was started with.
    fn by_text(&self, context: Context<'_>, position: usize) -> Option<Cause> {
        let process = context.tree.processes.get(position)?;
        let above = context.tree.caller_above.get(position).copied().flatten();
        let caller = above.and_then(|above| context.tree.key(above));
        let mut best = None;
        for exec in process.execs.iter().filter(|exec| !exec.found) {
            let open = context.windows.open_at(context.tools, exec.time.0);
            if open.is_empty() {
                continue;
            }
            let carried = Carried::of(exec);
            for candidate in open {
                let Some((tool, words)) = context
                    .tools
                    .get(candidate)
                    .zip(context.words.get(candidate))
                else {
                    continue;
                };
                let Some((exact, bytes)) = carried.text_of(words) else {
                    continue;
                };
                let own = Some(tool.process) == caller;
                let rank = (own, exact, bytes, self.preference(candidate, tool));
                if best.as_ref().is_none_or(|(_, known)| rank > *known) {
                    best = Some((candidate, rank));
                }
            }
        }
        let (tool, (own, exact, _, _)) = best?;
        let mut confidence_percent = if exact { 98 } else { 90 };
        if !own {
            confidence_percent = share(confidence_percent, 80);
        }
        if self.has_process(tool) {
            confidence_percent = share(confidence_percent, 60);
        }
        Some(Cause {
            tool,
            confidence_percent,
            evidence: if exact {
                Evidence::ArgvExact
            } else {
                Evidence::ArgvContains
            },
            windowed: true,
            requested: false,
        })
    }

    /// Among calls that fit equally well: first those without a process, then those that were really
    /// carried out (they have a result; an answer that broke off was asked for again), then the oldest.
    fn preference(
        &self,
        position: usize,
        tool: &ToolCallRecord,
    ) -> (bool, bool, bool, std::cmp::Reverse<(u64, usize)>) {
        (
            !self.has_process(position),
            tool.result.is_some(),
            tool.complete,
            std::cmp::Reverse((tool.opened.0, position)),
        )
    }

    /// Pass 2: the call within whose window the caller started a process.
    fn by_window(&self, context: Context<'_>, position: usize) -> Option<Cause> {
        let process = context.tree.processes.get(position)?;
        let above = context.tree.caller_above.get(position).copied().flatten()?;
        let caller = context.tree.key(above)?;
        let exec = process.execs.iter().find(|exec| !exec.found)?;
        let last = process.execs.last()?;
        // A server outlives the call that it may have been started for.
        if runs_commands_from_elsewhere(last) || context.serves(position) {
            return None;
        }
        let mut open = context.windows.open_at(context.tools, exec.time.0);
        open.retain(|tool| self.may_start_processes(context, *tool, caller));
        let alone = open.len() == 1;
        let mut best = None;
        for candidate in open {
            let Some((tool, words)) = context
                .tools
                .get(candidate)
                .zip(context.words.get(candidate))
            else {
                continue;
            };
            let free = !self.joined_by_text.get(candidate).copied().unwrap_or(false);
            let (confidence, evidence) = match fit(exec, last, words, alone && free) {
                Some(fit) => fit,
                None => continue,
            };
            let rank = (confidence, self.preference(candidate, tool));
            if best.as_ref().is_none_or(|(_, _, known)| rank > *known) {
                best = Some((candidate, evidence, rank));
            }
        }
        let (tool, evidence, (confidence_percent, _)) = best?;
        Some(Cause {
            tool,
            confidence_percent,
            evidence,
            windowed: true,
            requested: false,
        })
    }

    /// Whether a call of `caller` is of a kind that starts processes, and is not yet explained by one
    /// that carries its text.
    fn may_start_processes(&self, context: Context<'_>, tool: usize, caller: ProcessKey) -> bool {
        let own = context
            .tools
            .get(tool)
            .is_some_and(|record| record.process == caller);
        let kind = context.words.get(tool).map(|words| words.shape.kind);
        let explained = self.joined_by_text.get(tool).copied().unwrap_or(false);
        let starts = !matches!(kind, Some(ToolKind::FileRead | ToolKind::FileWrite) | None);
        own && starts && !explained
    }
}

/// How well a process fits a call without the call's text.
fn fit(
    first: &ExecRecord,
    last: &ExecRecord,
    words: &CallWords,
    alone: bool,
) -> Option<(u8, Evidence)> {
    let carries = first
        .argv
        .iter()
        .skip(1)
        .take(MAX_ARGUMENTS)
        .any(|argument| {
            argument.len() > 2 && words.shape.words.iter().any(|word| word == argument)
        });
    let is_shell_call = words.shape.kind == ToolKind::Shell;
    if carries && !is_shell_call {
        return Some((70, Evidence::ArgvContains));
    }
    let named = [first, last].iter().any(|exec| {
        words.names_program(&exec.exe.path)
            || argv0(exec).is_some_and(|name| words.names_program(name))
    });
    if named && is_shell_call {
        return Some((60, Evidence::Window));
    }
    if is_shell_call && is_shell(&first.exe.path) {
        return Some((50, Evidence::Window));
    }
    alone.then_some((30, Evidence::Window))
}

/// So many hundredths of a confidence.
fn share(confidence_percent: u8, percent: u8) -> u8 {
    let share = u16::from(confidence_percent).saturating_mul(u16::from(percent)) / 100;
    u8::try_from(share).unwrap_or(u8::MAX)
}

fn argv0(exec: &ExecRecord) -> Option<&str> {
    exec.argv.first().map(String::as_str)
}

/// A shell without a text or a script takes its commands from a pipe or terminal. It may live on for
/// many calls, so its children are joined one by one, and not the shell.
fn runs_commands_from_elsewhere(exec: &ExecRecord) -> bool {
    is_shell(&exec.exe.path)
        && exec
            .argv
            .iter()
            .skip(1)
            .all(|argument| argument.starts_with('-') && !takes_text(argument))
}
