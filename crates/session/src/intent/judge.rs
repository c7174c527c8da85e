//! Whether an action was asked for: *stated*, *implied*, *unstated*, or *none* of any tool call's doing.
//!
//! *Stated* is decided by the words of the tool call (see [`super::words`]), *implied* by rules with
//! names: those of [`super::ordinary`], and these, which need the tree:
//!
//! | rule | covers |
//! |---|---|
//! | `fork` | processes that run no program of their own |
//! | `wrapper` | what the agent's own text around a command names |
//! | `helper`, `version-manager` | programs that a program which is asked for runs to do its work |
//! | `working-directory` | reading the directory in which a program runs |
//! | `named-directory` | what a named program does below a named directory |
//! | `scratch` | files that a call's processes made and removed again |
//! | `inherited` | descriptors that a process was handed: its starter decides where its output goes |
//! | `rename` | what is renamed to a named file |
//! | `program` | acts on processes and on the kernel, of a program that is asked for |
//! | `channel` | pipes and sockets between processes |
//! | `named-host`, `network-program`, `name-lookup` | connections of named programs |
//!
//! Everything else that a tool call caused is *unstated*: no word of the call leads to it. Where the words
//! were not kept, that is *unknown*.

use std::collections::{HashMap, HashSet};

use agentsight_model::KTime;

use super::carried::Carried;
use super::ordinary::{
    DEVICE_RULE, Program, VERSION_MANAGER_RULE, file_rule, is_helper, is_network_program,
    is_of_version_manager, is_shim_tool,
};
use super::processes::ProcessLinks;
use super::tree::Tree;
use super::words::CallWords;
use super::{Cause, Evidence};
use crate::agents::script_of;
use crate::graph::{Endpoint, ExecRecord, NetworkKind};
use crate::tool::{ToolKind, is_shell};

/// Ancestors looked at for the program that a forked process still runs.
const MAX_ANCESTORS: usize = 64;

/// The port of name servers.
const DNS_PORT: u16 = 53;

/// Whether an action was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    Stated,
    /// With the name of the rule.
    Implied(&'static str),
    Unstated,
    /// As content is not kept, the words of the call are not known.
    Unknown,
    None,
}

impl Intent {
    /// The name used in the session document.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stated => "stated",
            Self::Implied(_) => "implied",
            Self::Unstated => "unstated",
            Self::Unknown => "unknown",
            Self::None => "none",
        }
    }
}

/// How a file was used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileUseKind {
    pub(crate) time: KTime,
    pub(crate) writing: bool,
    /// Whether another process opened it and handed it on: where a program's output goes is decided by
    /// who starts it.
    pub(crate) inherited: bool,
}

/// Judges the actions of a session.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    tree: &'a Tree<'a>,
    words: &'a [CallWords],
    session_cwd: &'a str,
    /// Whether the ledger has the arguments of tool calls.
    knows_words: bool,
    /// Words of what agents wrapped around commands, by the process that carries them.
    wrappers: HashMap<usize, CallWords>,
    /// Files that a call's processes made and removed again, by tool call and path.
    scratch: HashSet<(usize, &'a str)>,
    /// Judgements of programs, by the number of their event.
    programs: HashMap<u64, Intent>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(
        tree: &'a Tree<'a>,
        links: &ProcessLinks,
        words: &'a [CallWords],
        (session_cwd, knows_words): (&'a str, bool),
        scratch: HashSet<(usize, &'a str)>,
    ) -> Self {
        // Where the arguments are the command and nothing else, nothing was wrapped around it.
        let wraps = |position: &usize| {
            links.cause(*position).is_some_and(|found| {
                found.root == *position && found.cause.evidence != Evidence::ArgvExact
            })
        };
        let wrapper = |position: usize| {
            let process = tree.processes.get(position)?;
            let texts: Vec<&str> = process.execs.iter().flat_map(texts_of).collect();
            Some((position, CallWords::of_text(&texts.join("\n"))))
        };
        let wrappers = (0..tree.processes.len())
            .filter(wraps)
            .filter_map(wrapper)
            .collect();
        Self {
            tree,
            words,
            session_cwd,
            knows_words,
            wrappers,
            scratch,
            programs: HashMap::new(),
        }
    }

    /// The program run by the process at `position` at `time`: its own, or what it was forked with.
    fn program_at(&self, position: usize, time: KTime) -> Option<&'a ExecRecord> {
        let mut position = position;
        let mut time = time;
        for _ in 0..MAX_ANCESTORS {
            let process = self.tree.processes.get(position)?;
            let execs = process.execs.iter().rev();
            // Something found running has been running for longer than we know.
            if let Some(exec) = execs.clone().find(|exec| exec.time <= time || exec.found) {
                return Some(exec);
            }
            time = process.started();
            position = self.tree.parent(position)?;
        }
        None
    }

    /// Judges the start of a program. Processes must come parents first.
    pub(crate) fn exec(
        &mut self,
        position: usize,
        exec: &ExecRecord,
        cause: Option<(&Cause, usize)>,
    ) -> Intent {
        let intent = self.or_unknown(self.exec_intent(position, exec, cause));
        self.programs.insert(exec.seq, intent);
        intent
    }

    fn exec_intent(
        &self,
        position: usize,
        exec: &ExecRecord,
        cause: Option<(&Cause, usize)>,
    ) -> Intent {
        let Some((cause, root)) = cause else {
            return Intent::None;
        };
        let Some(words) = self.words.get(cause.tool) else {
            return Intent::Unstated;
        };
        if root == position && runs_call(cause, words, exec) || names_exec(words, exec) {
            return Intent::Stated;
        }
        let wrapper = self.wrappers.get(&root);
        if wrapper.is_some_and(|wrapper| names_exec(wrapper, exec)) {
            return Intent::Implied("wrapper");
        }
        self.follows(position, exec)
            .map_or(Intent::Unstated, Intent::Implied)
    }

    /// The rule by which a program follows from the one before it: what the process ran until then, or
    /// its parent runs.
    fn follows(&self, position: usize, exec: &ExecRecord) -> Option<&'static str> {
        let earlier = |earlier: &&ExecRecord| earlier.seq < exec.seq;
        let execs = &self.tree.processes.get(position)?.execs;
        let before = match execs.iter().rfind(earlier) {
            Some(earlier) => earlier,
            None => self.program_at(self.tree.parent(position)?, exec.time)?,
        };
        let asked = self.programs.get(&before.seq);
        if !matches!(asked, Some(Intent::Stated | Intent::Implied(_))) {
            return None;
        }
        let chooses = is_version_manager(exec);
        let searches = is_version_manager(before) && is_shim_tool(&exec.exe.path);
        if chooses || searches {
            Some(VERSION_MANAGER_RULE)
        } else {
            is_helper(names_of(before), names_of(exec)).then_some("helper")
        }
    }

    /// Judges an act that no word can name: it is as much asked for as the program that does it.
    pub(crate) fn act(
        &self,
        position: Option<usize>,
        time: KTime,
        cause: Option<&Cause>,
    ) -> Intent {
        if cause.is_none() {
            return Intent::None;
        }
        let exec = position.and_then(|position| self.program_at(position, time));
        match exec.and_then(|exec| self.programs.get(&exec.seq)) {
            Some(Intent::Stated | Intent::Implied(_)) => Intent::Implied("program"),
            _ => self.or_unknown(Intent::Unstated),
        }
    }

    /// Nothing is said to be unasked for where it is not known what was asked.
    fn or_unknown(&self, intent: Intent) -> Intent {
        match intent {
            Intent::Unstated if !self.knows_words => Intent::Unknown,
            other => other,
        }
    }

    /// Judges the use of a file at `time`.
    pub(crate) fn file(
        &self,
        position: Option<usize>,
        path: &str,
        use_of: FileUseKind,
        cause: Option<(&Cause, Option<usize>)>,
    ) -> Intent {
        self.or_unknown(self.file_intent(position, path, use_of, cause))
    }

    fn file_intent(
        &self,
        position: Option<usize>,
        path: &str,
        use_of: FileUseKind,
        cause: Option<(&Cause, Option<usize>)>,
    ) -> Intent {
        let Some((cause, root)) = cause else {
            return Intent::None;
        };
        let Some(words) = self.words.get(cause.tool) else {
            return Intent::Unstated;
        };
        match cause.evidence {
            Evidence::PathExact | Evidence::PathSuffix => return Intent::Stated,
            Evidence::Rename => return Intent::Implied("rename"),
            _ => {}
        }
        let FileUseKind {
            time,
            writing,
            inherited,
        } = use_of;
        let exec = position.and_then(|position| self.program_at(position, time));
        let root_exec = root.and_then(|root| self.program_at(root, KTime(u64::MAX)));
        let cwds = [
            exec.map_or(self.session_cwd, |exec| &exec.cwd),
            root_exec.map_or(self.session_cwd, |exec| &exec.cwd),
            self.session_cwd,
        ];
        if words.names_path(path, &cwds) {
            return Intent::Stated;
        }
        let named = exec.is_some_and(|exec| names_exec(words, exec));
        let by_rule =
            exec.and_then(|exec| file_rule(program(exec, self.pid(position)), path, writing));
        // What an unnamed program writes is its own affair, unless it goes nowhere.
        if let Some(rule) = by_rule.filter(|rule| !writing || named || *rule == DEVICE_RULE) {
            return Intent::Implied(rule);
        }
        let wrapper = root.and_then(|root| self.wrappers.get(&root));
        if wrapper.is_some_and(|wrapper| wrapper.names_path(path, &cwds)) {
            Intent::Implied("wrapper")
        } else if !writing && cwds.contains(&path) {
            Intent::Implied("working-directory")
        } else if named && words.names_directory_of(path, &cwds) {
            Intent::Implied("named-directory")
        } else if self.scratch.contains(&(cause.tool, path)) {
            Intent::Implied("scratch")
        } else if inherited {
            Intent::Implied("inherited")
        } else {
            Intent::Unstated
        }
    }

    /// Judges the use of an address at `time`.
    pub(crate) fn network(
        &self,
        position: Option<usize>,
        endpoint: &Endpoint,
        time: KTime,
        cause: Option<&Cause>,
    ) -> Intent {
        self.or_unknown(self.network_intent(position, endpoint, time, cause))
    }

    fn network_intent(
        &self,
        position: Option<usize>,
        endpoint: &Endpoint,
        time: KTime,
        cause: Option<&Cause>,
    ) -> Intent {
        let Some(cause) = cause else {
            return Intent::None;
        };
        let Some(words) = self.words.get(cause.tool) else {
            return Intent::Unstated;
        };
        let address = match endpoint.kind {
            NetworkKind::Listen | NetworkKind::Accept => endpoint.local,
            NetworkKind::Connect | NetworkKind::Send => endpoint.peer,
        };
        let Some(address) = address else {
            return Intent::Unstated;
        };
        let listens = matches!(endpoint.kind, NetworkKind::Listen | NetworkKind::Accept);
        if words.names_address(address) || listens && words.has(&address.port().to_string()) {
            return Intent::Stated;
        }
        if address.port() == DNS_PORT {
            return Intent::Implied("name-lookup");
        }
        if cause.evidence == Evidence::McpRequest && words.has_url() && !listens {
            return Intent::Implied("named-host");
        }
        let exec = position.and_then(|position| self.program_at(position, time));
        let Some(exec) = exec.filter(|exec| names_exec(words, exec) && !listens) else {
            return Intent::Unstated;
        };
        if words.has_url() {
            Intent::Implied("named-host")
        } else if is_network_program(&exec.exe.path) || argv0(exec).is_some_and(is_network_program)
        {
            Intent::Implied("network-program")
        } else {
            Intent::Unstated
        }
    }

    fn pid(&self, position: Option<usize>) -> u32 {
        position
            .and_then(|position| self.tree.processes.get(position))
            .map_or(0, |process| process.key.tgid)
    }
}

/// Whether a process joined directly runs its call with this program, and not with what it became later.
fn runs_call(cause: &Cause, words: &CallWords, exec: &ExecRecord) -> bool {
    match cause.evidence {
        Evidence::Window => words.shape.kind == ToolKind::Shell && is_shell(&exec.exe.path),
        _ => Carried::of(exec).text_of(words).is_some(),
    }
}

fn names_of(exec: &ExecRecord) -> [&str; 2] {
    [&exec.exe.path, argv0(exec).unwrap_or_default()]
}

/// Whether a program is, or runs a script of, a version manager.
fn is_version_manager(exec: &ExecRecord) -> bool {
    let script = script_of(&exec.argv).unwrap_or_default();
    [&exec.exe.path, &exec.filename, script]
        .iter()
        .any(|path| is_of_version_manager(path))
}

fn argv0(exec: &ExecRecord) -> Option<&str> {
    exec.argv.first().map(String::as_str)
}

fn program(exec: &ExecRecord, pid: u32) -> Program<'_> {
    Program {
        exe: &exec.exe.path,
        name: argv0(exec).unwrap_or(&exec.exe.path),
        script: script_of(&exec.argv).or(Some(exec.filename.as_str())),
        pid,
    }
}

/// Whether words name a program, its script, or the name it was started under.
fn names_exec(words: &CallWords, exec: &ExecRecord) -> bool {
    words.names_program(&exec.exe.path)
        || words.names_program(&exec.filename)
        || argv0(exec).is_some_and(|name| words.names_program(name))
        || script_of(&exec.argv).is_some_and(|script| words.names_program(script))
}

/// The texts that a shell was started with.
fn texts_of(exec: &ExecRecord) -> impl Iterator<Item = &str> {
    exec.argv.iter().skip(1).map(String::as_str)
}
