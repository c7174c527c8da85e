//! Structured matchers: `match:` in a rule.
//!
//! All keys of a matcher must hold; of the values of a key, one. Everything that a matcher can say is about a
//! name, a prefix, a number or a network, so that it can be looked up in tables, and later in those of the
//! kernel; what needs an expression goes to `where:`.

use std::collections::HashSet;

use crate::diagnostic::Complaint;
use crate::engine::flow::LabelSet;
use crate::field::{Field, Group};
use crate::kind::KindSet;
use crate::pattern::{Cidr, Glob, Style, is_pattern};
use crate::view::{View, file_name};

/// A key of matchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Path,
    From,
    Target,
    Exe,
    Parent,
    Ancestor,
    AncestorCommand,
    Argv,
    Command,
    Host,
    Cidr,
    Port,
    Unix,
    Tool,
    Server,
    Agent,
    Operation,
    Name,
    Label,
    FileLabel,
    Workspace,
    Uid,
}

/// A key with its name and meaning.
#[derive(Debug)]
pub(crate) struct KeyInfo {
    pub(crate) key: Key,
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) doc: &'static str,
}

/// Every key.
pub(crate) const KEYS: &[KeyInfo] = &[
    info(
        Key::Path,
        "path",
        Group::File,
        "globs over `file.path`: `*` stays within a component, `**` does not, `~/` is any home",
    ),
    info(Key::From, "from", Group::Rename, "globs over the old name"),
    info(
        Key::Target,
        "target",
        Group::Link,
        "globs over what a link leads to",
    ),
    info(
        Key::Exe,
        "exe",
        Group::Any,
        "the program: its name, or a glob over its path if there is a `/` in it",
    ),
    info(
        Key::Parent,
        "parent",
        Group::Any,
        "the parent's program, likewise",
    ),
    info(
        Key::Ancestor,
        "ancestor",
        Group::Any,
        "the program of any process above, by name",
    ),
    info(
        Key::AncestorCommand,
        "ancestor_command",
        Group::Any,
        "globs over the arguments of any process above, joined by blanks",
    ),
    info(
        Key::Argv,
        "argv",
        Group::Any,
        "globs over each argument; `*` is any text",
    ),
    info(
        Key::Command,
        "command",
        Group::Any,
        "globs over the arguments joined by blanks; `*` is any text",
    ),
    info(
        Key::Host,
        "host",
        Group::Host,
        "globs over `network.host`; `example.com` is also each name below it",
    ),
    info(
        Key::Cidr,
        "cidr",
        Group::Address,
        "networks, such as `10.0.0.0/8`, over `network.address`",
    ),
    info(
        Key::Port,
        "port",
        Group::Address,
        "ports and ranges of ports, such as `8000-8999`",
    ),
    info(Key::Unix, "unix", Group::Unix, "globs over `unix.path`"),
    info(Key::Tool, "tool", Group::Tool, "globs over `tool.name`"),
    info(
        Key::Server,
        "server",
        Group::Tool,
        "globs over `tool.server`",
    ),
    info(
        Key::Agent,
        "agent",
        Group::Any,
        "globs over `process.agent`",
    ),
    info(
        Key::Operation,
        "operation",
        Group::Operation,
        "globs over `operation`",
    ),
    info(Key::Name, "name", Group::Kernel, "globs over `kernel.name`"),
    info(Key::Label, "label", Group::Any, "labels of the process"),
    info(
        Key::FileLabel,
        "file_label",
        Group::File,
        "labels of the file",
    ),
    info(
        Key::Workspace,
        "workspace",
        Group::File,
        "`inside` or `outside`: where the file lies",
    ),
    info(
        Key::Uid,
        "uid",
        Group::Any,
        "user ids and ranges of them, over `process.uid`",
    ),
];

const fn info(key: Key, name: &'static str, group: Group, doc: &'static str) -> KeyInfo {
    KeyInfo {
        key,
        name,
        group,
        doc,
    }
}

/// Names and patterns, of which one must fit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    pub(crate) exact: HashSet<String>,
    pub(crate) globs: Vec<Glob>,
}

impl Words {
    fn matches(&self, text: &str) -> bool {
        self.exact.contains(text) || self.globs.iter().any(|glob| glob.matches(text))
    }

    /// For each value, text that whatever fits must contain.
    fn literals(&self) -> Vec<String> {
        let globs = self.globs.iter().flat_map(Glob::literals);
        self.exact.iter().cloned().chain(globs).collect()
    }
}

/// One key of a matcher with its values.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// Over a text.
    Words(Key, Words),
    /// Over a program: names, and patterns over paths.
    Program(Key, Words, Words),
    /// Names of hosts, and of the domains that they may be in.
    Host(Words, HashSet<String>),
    Cidr(Vec<Cidr>),
    Ranges(Key, Vec<(i64, i64)>),
    Label(LabelSet),
    FileLabel(LabelSet),
    Inside(bool),
}

/// What could not be made of a value, by its position.
pub(crate) type ValueError = (usize, Complaint);

impl Test {
    /// Compiles the values of a key. `label` gives the set of a label's name.
    pub(crate) fn new(
        key: Key,
        values: &[String],
        label: &mut dyn FnMut(&str) -> Result<LabelSet, Complaint>,
    ) -> Result<Self, ValueError> {
        Ok(match key {
            Key::Path | Key::From | Key::Target => Self::Words(key, words(values, Style::Path)?),
            Key::Argv
            | Key::Command
            | Key::AncestorCommand
            | Key::Unix
            | Key::Tool
            | Key::Server
            | Key::Agent
            | Key::Operation
            | Key::Name => Self::Words(key, words(values, Style::Word)?),
            Key::Exe | Key::Parent | Key::Ancestor => {
                let is_path = |value: &&String| value.contains('/') || value.starts_with("**");
                let (paths, names): (Vec<_>, Vec<_>) = values.iter().partition(is_path);
                let paths: Vec<String> = paths.into_iter().cloned().collect();
                let names: Vec<String> = names.into_iter().cloned().collect();
                Self::Program(
                    key,
                    words(&names, Style::Word)?,
                    words(&paths, Style::Path)?,
                )
            }
            Key::Host => {
                let lower: Vec<String> = values.iter().map(|value| value.to_lowercase()).collect();
                let found = words(&lower, Style::Word)?;
                let domains = found.exact.clone();
                Self::Host(found, domains)
            }
            Key::Cidr => {
                let parsed = values.iter().enumerate();
                let parsed = parsed.map(|(at, value)| value.parse().map_err(|error| (at, error)));
                Self::Cidr(parsed.collect::<Result<_, _>>()?)
            }
            Key::Port | Key::Uid => Self::Ranges(key, ranges(values)?),
            Key::Label | Key::FileLabel => {
                let mut set = LabelSet::default();
                for (at, value) in values.iter().enumerate() {
                    set = set.union(label(value).map_err(|complaint| (at, complaint))?);
                }
                if key == Key::Label {
                    Self::Label(set)
                } else {
                    Self::FileLabel(set)
                }
            }
            Key::Workspace => match values {
                [value] if value == "inside" => Self::Inside(true),
                [value] if value == "outside" => Self::Inside(false),
                _ => {
                    let complaint = Complaint::new("`workspace` is either `inside` or `outside`");
                    return Err((0, complaint));
                }
            },
        })
    }

    fn matches(&self, view: &View<'_>) -> bool {
        match self {
            Self::Words(key, words) => match key {
                Key::Path => words.matches(view.path()),
                Key::Argv => view
                    .process
                    .image
                    .argv
                    .iter()
                    .any(|word| words.matches(word)),
                Key::Command => words.matches(&view.process.image.command),
                Key::AncestorCommand => {
                    let mut above = view.processes.ancestors(view.process);
                    above.any(|process| words.matches(&process.image.command))
                }
                Key::Agent => words.matches(view.process.agent.as_deref().unwrap_or_default()),
                Key::Operation => words.matches(view.operation()),
                Key::From => words.matches(&view.text(Field::FileFrom)),
                Key::Target => words.matches(&view.text(Field::FileTarget)),
                Key::Unix => words.matches(&view.text(Field::UnixPath)),
                Key::Tool => words.matches(&view.text(Field::ToolName)),
                Key::Server => words.matches(&view.text(Field::ToolServer)),
                Key::Name => words.matches(&view.text(Field::KernelName)),
                _ => false,
            },
            Self::Program(key, names, paths) => {
                let fits = |exe: &str| names.matches(file_name(exe)) || paths.matches(exe);
                match key {
                    Key::Exe => fits(&view.process.image.exe),
                    Key::Parent => view.parent().is_some_and(|parent| fits(&parent.image.exe)),
                    _ => {
                        let mut above = view.processes.ancestors(view.process);
                        above.any(|process| fits(&process.image.exe))
                    }
                }
            }
            Self::Host(words, domains) => host_matches(view.host(), words, domains),
            Self::Cidr(networks) => view.address().is_some_and(|address| {
                let ip = address.ip();
                networks.iter().any(|network| network.contains(ip))
            }),
            Self::Ranges(key, ranges) => {
                let value = match key {
                    Key::Port => view.int(Field::NetworkPort),
                    _ => i64::from(view.process.image.uid),
                };
                ranges
                    .iter()
                    .any(|(from, to)| (*from..=*to).contains(&value))
            }
            Self::Label(set) => view.process.labels.intersects(*set),
            Self::FileLabel(set) => view.file_labels.intersects(*set),
            // A path or a workspace that is not known is neither.
            Self::Inside(inside) => {
                let known = !view.path().is_empty() && !view.session.cwd.is_empty();
                known && view.in_workspace() == *inside
            }
        }
    }
}

/// Whether a host fits, or lies below a domain that is named.
fn host_matches(host: &str, words: &Words, domains: &HashSet<String>) -> bool {
    if host.is_empty() {
        return false;
    }
    let lower = host.to_ascii_lowercase();
    let host = lower.trim_end_matches('.');
    words.matches(host)
        || host.match_indices('.').any(|(at, _)| {
            host.get(at.saturating_add(1)..)
                .is_some_and(|rest| domains.contains(rest))
        })
}

fn words(values: &[String], style: Style) -> Result<Words, ValueError> {
    let mut words = Words::default();
    for (at, value) in values.iter().enumerate() {
        if is_pattern(value) {
            words
                .globs
                .push(Glob::new(value, style).map_err(|complaint| (at, complaint))?);
        } else {
            words.exact.insert(value.clone());
        }
    }
    Ok(words)
}

fn ranges(values: &[String]) -> Result<Vec<(i64, i64)>, ValueError> {
    let parse = |(at, value): (usize, &String)| {
        let (from, to) = value.split_once('-').unwrap_or((value, value));
        let range = from.trim().parse().ok().zip(to.trim().parse().ok());
        range.filter(|(from, to)| from <= to).ok_or_else(|| {
            let message = format!("`{value}` is no number and no range such as `1-1023`");
            (at, Complaint::new(message))
        })
    };
    values.iter().enumerate().map(parse).collect()
}

/// A matcher: all of its tests must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matcher {
    pub(crate) tests: Vec<Test>,
}

impl Matcher {
    pub(crate) fn matches(&self, view: &View<'_>) -> bool {
        self.tests.iter().all(|test| test.matches(view))
    }

    /// The cheapest test to look a rule up by, if there is one that no event passes without.
    pub(crate) fn anchor(&self) -> Option<Anchor> {
        let anchors = self.tests.iter().filter_map(Test::anchor);
        anchors.min_by_key(|anchor| anchor.rank())
    }
}

/// Shortest literal that is searched for: shorter ones are everywhere.
const MIN_LITERAL: usize = 3;

/// What an event must have for a rule to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// One of these labels.
    Label(LabelSet),
    FileLabel(LabelSet),
    /// One of these names of programs.
    Exe(Vec<String>),
    /// One of these texts within the text of the key.
    Literal(Key, Vec<String>),
    /// One of these ports.
    Port(Vec<i64>),
}

impl Anchor {
    /// Smaller is better: rarer in what agents do.
    fn rank(&self) -> usize {
        match self {
            Self::Label(_) | Self::FileLabel(_) => 0,
            Self::Literal(Key::Path, _) => 1,
            Self::Exe(_) | Self::Literal(Key::Exe, _) => 2,
            Self::Literal(..) => 3,
            Self::Port(_) => 4,
        }
    }
}

impl Test {
    fn anchor(&self) -> Option<Anchor> {
        match self {
            Self::Label(set) => Some(Anchor::Label(*set)),
            Self::FileLabel(set) => Some(Anchor::FileLabel(*set)),
            Self::Program(Key::Exe, names, paths) => {
                if names.globs.is_empty() && paths.globs.is_empty() {
                    let of_paths = paths.exact.iter().map(|path| file_name(path).to_owned());
                    return Some(Anchor::Exe(
                        names.exact.iter().cloned().chain(of_paths).collect(),
                    ));
                }
                // A name is part of the path.
                let mut literals = names.literals();
                literals.extend(paths.literals());
                let long = literals.iter().all(|literal| literal.len() >= MIN_LITERAL);
                long.then_some(Anchor::Literal(Key::Exe, literals))
            }
            Self::Words(
                key @ (Key::Path | Key::Command | Key::Tool | Key::Operation | Key::Unix),
                words,
            ) => {
                let literals = words.literals();
                let long = literals.iter().all(|literal| literal.len() >= MIN_LITERAL);
                long.then_some(Anchor::Literal(*key, literals))
            }
            Self::Host(words, _) => {
                let literals = words.literals();
                let long = literals.iter().all(|literal| literal.len() >= MIN_LITERAL);
                long.then_some(Anchor::Literal(Key::Host, literals))
            }
            Self::Ranges(Key::Port, ranges) => {
                let single = ranges.iter().all(|(from, to)| from == to);
                single.then(|| Anchor::Port(ranges.iter().map(|(port, _)| *port).collect()))
            }
            _ => None,
        }
    }
}

/// The key of this name, if the kinds have what it looks at.
pub(crate) fn key_for(name: &str, kinds: KindSet) -> Result<Key, Complaint> {
    let Some(info) = KEYS.iter().find(|info| info.name == name) else {
        let names = KEYS.iter().map(|info| info.name);
        return Err(Complaint::unknown("matcher", name, names));
    };
    let missing = KindSet(kinds.0 & !info.group.kinds().0);
    match missing.iter().next() {
        None => Ok(info.key),
        Some(kind) => {
            let message = format!("`{name}` says nothing about `{}` events", kind.name());
            let known: Vec<_> = info.group.kinds().iter().map(|kind| kind.name()).collect();
            let hint = format!("it is for {}", known.join(", "));
            Err(Complaint::new(message).hint(Some(hint)))
        }
    }
}
