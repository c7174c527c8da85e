//! The process tree.
//!
//! A parent is the process that forked, as the fork event says; what the kernel calls the parent later,
//! after a reparenting, is used only where no fork was seen. So a daemon that detached itself keeps its
//! place in the tree.

use std::collections::HashMap;

use agentsight_model::{
    FileRef, KTime, ProcessExec, ProcessExit, ProcessFork, ProcessKey, ProcessSeen,
};

use super::budget::Budget;

/// Argument vectors beyond the text budget keep this many elements of this many bytes: the program and
/// the start of what it was told.
const CUT_ARGV: (usize, usize) = (4, 256);

/// A program that a process ran.
#[derive(Clone, Debug)]
pub(crate) struct ExecRecord {
    pub(crate) seq: u64,
    pub(crate) time: KTime,
    pub(crate) exe: FileRef,
    /// Whether `exe` has no name in any directory.
    pub(crate) exe_deleted: bool,
    /// What was passed to `execve`: for a script, the script.
    pub(crate) filename: String,
    pub(crate) argv: Vec<String>,
    /// Whether `argv` is less than what the process was given.
    pub(crate) argv_cut: bool,
    pub(crate) cwd: String,
    pub(crate) uid: u32,
    /// Its cgroup then; 0 if not known.
    pub(crate) cgroup: u64,
    /// Whether it was found running, which is no action of its own.
    pub(crate) found: bool,
}

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct ProcessRecord {
    pub(crate) key: ProcessKey,
    pub(crate) parent: Option<ProcessKey>,
    /// Number and time of the fork event, if it was seen.
    pub(crate) forked: Option<(u64, KTime)>,
    pub(crate) comm: String,
    pub(crate) execs: Vec<ExecRecord>,
    pub(crate) exit: Option<(u64, KTime, ProcessExit)>,
}

impl ProcessRecord {
    fn new(key: ProcessKey) -> Self {
        Self {
            key,
            parent: None,
            forked: None,
            comm: String::new(),
            execs: Vec::new(),
            exit: None,
        }
    }

    /// When it began: its start on the boot clock.
    pub(crate) fn started(&self) -> KTime {
        KTime(self.key.start_ns)
    }

    fn adopt(&mut self, parent: ProcessKey) {
        if self.parent.is_none() && parent != ProcessKey::default() && parent != self.key {
            self.parent = Some(parent);
        }
    }
}

/// Every process of the session, in the order in which it was first heard of.
#[derive(Debug, Default)]
pub(crate) struct ProcessTable {
    list: Vec<ProcessRecord>,
    index: HashMap<ProcessKey, usize>,
}

impl ProcessTable {
    /// Every process, in the order in which it was first heard of.
    pub(crate) fn all(&self) -> &[ProcessRecord] {
        &self.list
    }

    /// The place of a process in [`Self::all`].
    pub(crate) fn position(&self, key: ProcessKey) -> Option<usize> {
        self.index.get(&key).copied()
    }

    fn entry(
        &mut self,
        key: ProcessKey,
        kind: &'static str,
        budget: &mut Budget,
    ) -> Option<&mut ProcessRecord> {
        let position = match self.index.get(&key) {
            Some(position) => *position,
            None if budget.record(kind) => {
                self.list.push(ProcessRecord::new(key));
                let position = self.list.len().saturating_sub(1);
                self.index.insert(key, position);
                position
            }
            None => return None,
        };
        self.list.get_mut(position)
    }

    pub(super) fn fork(
        &mut self,
        seq: u64,
        time: KTime,
        parent: ProcessKey,
        fork: &ProcessFork,
        budget: &mut Budget,
    ) {
        if let Some(child) = self.entry(fork.child, "process.fork", budget)
            && child.forked.is_none()
        {
            child.parent = Some(parent).filter(|parent| *parent != fork.child);
            child.forked = Some((seq, time));
            child.comm.clone_from(&fork.comm);
        }
    }

    pub(super) fn exec(
        &mut self,
        seq: u64,
        time: KTime,
        key: ProcessKey,
        exec: &ProcessExec,
        budget: &mut Budget,
    ) {
        if !budget.record("process.exec") {
            return;
        }
        let (argv, cut) = charged_argv(&exec.argv, budget);
        let Some(process) = self.entry(key, "process.exec", budget) else {
            return;
        };
        process.adopt(exec.parent);
        process.execs.push(ExecRecord {
            seq,
            time,
            exe: exec.exe.clone(),
            exe_deleted: exec.exe_deleted,
            filename: exec.filename.clone(),
            argv,
            argv_cut: cut || exec.argv_truncated.is_some(),
            cwd: exec.cwd.clone(),
            uid: exec.uid,
            cgroup: exec.cgroup,
            found: false,
        });
    }

    pub(super) fn seen(
        &mut self,
        seq: u64,
        time: KTime,
        key: ProcessKey,
        seen: &ProcessSeen,
        budget: &mut Budget,
    ) {
        if !budget.record("process.seen") {
            return;
        }
        let (argv, argv_cut) = charged_argv(&seen.argv, budget);
        let Some(process) = self.entry(key, "process.seen", budget) else {
            return;
        };
        process.adopt(seen.parent);
        // Whatever was read from /proc is older than an exec event, even if it is filed later.
        if process.execs.is_empty() {
            process.execs.push(ExecRecord {
                seq,
                time,
                exe: seen.exe.clone(),
                exe_deleted: false,
                filename: String::new(),
                argv,
                argv_cut,
                cwd: seen.cwd.clone(),
                uid: seen.uid,
                cgroup: 0,
                found: true,
            });
        }
    }

    pub(super) fn exit(
        &mut self,
        seq: u64,
        time: KTime,
        key: ProcessKey,
        exit: &ProcessExit,
        budget: &mut Budget,
    ) {
        if let Some(process) = self.entry(key, "process.exit", budget)
            && process.exit.is_none()
        {
            process.exit = Some((seq, time, exit.clone()));
        }
    }
}

fn charged_argv(argv: &[String], budget: &mut Budget) -> (Vec<String>, bool) {
    let bytes = argv.iter().map(|argument| argument.len()).sum();
    if budget.content("process.command_args", bytes) {
        return (argv.to_vec(), false);
    }
    let (elements, length) = CUT_ARGV;
    let cut = |text: &String| {
        text.get(..text.floor_char_boundary(length))
            .map(str::to_owned)
    };
    (argv.iter().take(elements).filter_map(cut).collect(), true)
}
