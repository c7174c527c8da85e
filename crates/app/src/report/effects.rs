//! What a tool call caused: processes, files, connections. What nobody asked for comes first and is
//! marked; what programs always do is one line.

use std::collections::{BTreeMap, HashMap, HashSet};

use agentsight_model::ProcessKey;
use agentsight_model::document::{Action, Process, ToolCall};

use super::index::{Index, argv_of, file_name, is_unasked, milliseconds, number_of, text_of};
use super::layout::{Line, Page, Style, branch};
use super::text::{bytes, command_line, count, fit_path, one_line, span};

/// Processes, files and connections shown for one tool call, of each.
const MAX_SHOWN: usize = 12;

/// Levels of the process tree that are drawn.
const MAX_DEPTH: usize = 8;

/// The mark of what no word of a tool call leads to.
pub(super) const UNASKED: &str = "not asked for";

/// One line below a tool call, and what is below it.
struct Node {
    line: Line,
    children: Vec<Node>,
}

pub(super) fn write(page: &mut Page, index: &Index<'_>, tool: &ToolCall, prefix: &str) {
    let Some(actions) = index.by_tool.get(tool.id.as_str()) else {
        return;
    };
    let width = page.width();
    let (mut nodes, helpers) = processes(index, actions);
    let (files, ordinary) = files(index, actions, width);
    nodes.extend(files);
    nodes.extend(connections(actions));
    nodes.extend(ordinary_line(&ordinary, helpers).map(leaf));
    draw(page, prefix, &nodes);
}

fn draw(page: &mut Page, prefix: &str, nodes: &[Node]) {
    for (position, node) in nodes.iter().enumerate() {
        let (own, below) = branch(prefix, position + 1 == nodes.len());
        page.line(&own, &node.line);
        draw(page, &below, &node.children);
    }
}

/// The programs that ran, as a tree, and how many are left out of it. Passed over are processes that only
/// forked, and helpers that follow from what was asked for: their children hang on what is above them.
fn processes(index: &Index<'_>, actions: &[&Action]) -> (Vec<Node>, usize) {
    let mut execs: Vec<&Action> = Vec::new();
    let mut positions: HashMap<ProcessKey, usize> = HashMap::new();
    for action in actions
        .iter()
        .filter(|action| action.kind == "process.exec")
    {
        let next = execs.len();
        match positions
            .get(&action.process)
            .and_then(|position| execs.get_mut(*position))
        {
            // A process is shown by the last program that was asked for, or by what nobody asked for.
            Some(shown) if rank(action) >= rank(shown) => *shown = action,
            Some(_) => {}
            None => {
                positions.insert(action.process, next);
                execs.push(action);
            }
        }
    }
    let total = execs.len();
    execs.retain(|action| action.intent != "implied");
    let helpers = total - execs.len();
    let shown: HashSet<ProcessKey> = execs.iter().map(|action| action.process).collect();
    let mut children: HashMap<Option<ProcessKey>, Vec<&Action>> = HashMap::new();
    for action in &execs {
        let parent = shown_parent(index, action.process, &shown);
        children.entry(parent).or_default().push(action);
    }
    let mut room = MAX_SHOWN;
    let mut nodes = process_nodes(index, None, &children, (&mut room, MAX_DEPTH));
    let hidden = execs.len().saturating_sub(MAX_SHOWN - room);
    if hidden > 0 {
        let text = format!(
            "… {}",
            count(hidden as u64, "more program", "more programs")
        );
        nodes.push(leaf(Line::new(Style::Dim, text)));
    }
    (nodes, helpers)
}

/// How much an action is to be seen.
fn rank(action: &Action) -> u8 {
    match action.intent.as_str() {
        "unstated" => 2,
        "implied" => 0,
        _ => 1,
    }
}

fn shown_parent(
    index: &Index<'_>,
    process: ProcessKey,
    shown: &HashSet<ProcessKey>,
) -> Option<ProcessKey> {
    let mut seen = HashSet::new();
    let mut above = index.processes.get(&process)?.parent_key?;
    while seen.insert(above) && seen.len() < 64 {
        if shown.contains(&above) {
            return Some(above);
        }
        above = index.processes.get(&above)?.parent_key?;
    }
    None
}

fn process_nodes(
    index: &Index<'_>,
    parent: Option<ProcessKey>,
    children: &HashMap<Option<ProcessKey>, Vec<&Action>>,
    (room, depth): (&mut usize, usize),
) -> Vec<Node> {
    let mut nodes = Vec::new();
    for action in children.get(&parent).into_iter().flatten() {
        if *room == 0 || depth == 0 {
            break;
        }
        *room -= 1;
        nodes.push(Node {
            line: process_line(action, index.processes.get(&action.process).copied()),
            children: process_nodes(index, Some(action.process), children, (room, depth - 1)),
        });
    }
    nodes
}

fn process_line(action: &Action, process: Option<&Process>) -> Line {
    let mut line = Line::new(Style::Dim, "$ ").then(Style::Plain, told(action));
    if is_unasked(action) {
        line = line.note(Style::Warn, UNASKED);
    }
    let Some(process) = process else {
        return line;
    };
    line = match (process.exit_code, process.signal, &process.ended_at) {
        (_, Some(signal), _) => line.note(Style::Bad, format!("signal {signal}")),
        (Some(0), None, _) => line.note(Style::Dim, "exit 0"),
        (Some(code), None, _) => line.note(Style::Bad, format!("exit {code}")),
        (None, None, Some(_)) => line,
        (None, None, None) => line.note(Style::Warn, "still running"),
    };
    match &process.ended_at {
        Some(ended_at) => line.note(
            Style::Dim,
            span(milliseconds(&process.started_at, ended_at)),
        ),
        None => line,
    }
}

/// A command line. That of a shell which carries the whole command, as the line above says it already,
/// is only the shell's name.
fn told(action: &Action) -> String {
    let argv = argv_of(action);
    let by_text = action
        .link
        .as_ref()
        .and_then(|link| link.evidence.first())
        .is_some_and(|evidence| evidence.starts_with("argv-"));
    match argv.as_slice() {
        [shell, .., text] if by_text && text.len() > 16 && argv.len() > 2 => {
            format!("{} … (the command above)", one_line(file_name(shell)))
        }
        [] => text_of(action, "process.executable.path").to_owned(),
        argv => command_line(argv),
    }
}

/// What one tool call did with one path, all its processes together.
#[derive(Default)]
struct FileEffect<'a> {
    path: &'a str,
    from: Option<&'a str>,
    created: bool,
    written: bool,
    truncated: bool,
    deleted: bool,
    read: bool,
    opened: bool,
    read_bytes: u64,
    written_bytes: u64,
    unasked: bool,
    /// Or perhaps: without content that is not known.
    stated: bool,
    directory: bool,
}

impl<'a> FileEffect<'a> {
    fn add(&mut self, action: &'a Action) {
        let size = number_of(action, "agentsight.bytes").unwrap_or(0);
        match action.kind.as_str() {
            "file.create" => self.created = true,
            "file.write" => {
                self.written = true;
                self.written_bytes = self.written_bytes.saturating_add(size);
            }
            "file.truncate" => self.truncated = true,
            "file.delete" => self.deleted = true,
            "file.rename" => self.from = Some(text_of(action, "agentsight.file.old_path")),
            "file.read" => {
                self.read = true;
                self.read_bytes = self.read_bytes.saturating_add(size);
            }
            _ => self.opened = true,
        }
        self.unasked |= is_unasked(action);
        self.stated |= matches!(action.intent.as_str(), "stated" | "unknown");
        self.directory |= action.attributes.contains_key("agentsight.file.directory");
    }

    fn changes(&self) -> bool {
        self.created || self.written || self.truncated || self.deleted || self.from.is_some()
    }

    /// What happened, most telling first.
    fn verb(&self) -> (&'static str, Style) {
        match self {
            Self { deleted: true, .. } => ("deleted", Style::Bad),
            Self { from: Some(_), .. } => ("renamed", Style::Good),
            Self { created: true, .. } => ("created", Style::Good),
            Self { written: true, .. } => ("wrote", Style::Good),
            Self {
                truncated: true, ..
            } => ("emptied", Style::Bad),
            Self { read: true, .. } => ("read", Style::Plain),
            _ => ("opened", Style::Plain),
        }
    }
}

/// What was done to files: lines for what is worth one, and the rest.
fn files<'a>(
    index: &Index<'_>,
    actions: &[&'a Action],
    width: usize,
) -> (Vec<Node>, Vec<FileEffect<'a>>) {
    let mut effects: BTreeMap<&str, FileEffect<'_>> = BTreeMap::new();
    for action in actions
        .iter()
        .filter(|action| action.kind.starts_with("file."))
    {
        let path = text_of(action, "file.path");
        let effect = effects.entry(path).or_default();
        effect.path = path;
        effect.add(action);
    }
    let (mut shown, ordinary): (Vec<_>, Vec<_>) = effects
        .into_values()
        .partition(|effect| effect.unasked || effect.stated);
    shown.sort_by_key(|effect| (!effect.unasked, !effect.changes(), !effect.read));
    let hidden = shown.split_off(shown.len().min(MAX_SHOWN));
    let mut nodes: Vec<Node> = shown
        .iter()
        .map(|effect| leaf(file_line(index, effect, width)))
        .collect();
    if !hidden.is_empty() {
        nodes.push(leaf(Line::new(
            Style::Dim,
            format!(
                "… {}",
                count(hidden.len() as u64, "more file", "more files")
            ),
        )));
    }
    (nodes, ordinary)
}

fn file_line(index: &Index<'_>, effect: &FileEffect<'_>, width: usize) -> Line {
    let (verb, style) = effect.verb();
    let room = width.saturating_sub(40).max(20);
    let path = fit_path(&super::text::plain(index.short_path(effect.path)), room);
    let mut line = Line::new(style, format!("{verb:<8}")).then(Style::Plain, path);
    if effect.directory {
        line = line.then(Style::Plain, "/");
    }
    if let Some(from) = effect.from {
        let from = fit_path(&super::text::plain(index.short_path(from)), room / 2);
        line = line.then(Style::Dim, "  from ").then(Style::Dim, from);
    }
    if effect.unasked {
        line = line.note(Style::Warn, UNASKED);
    }
    let size = if effect.changes() {
        effect.written_bytes
    } else {
        effect.read_bytes
    };
    if size > 0 {
        line = line.note(Style::Dim, bytes(size));
    }
    line
}

/// One line for what programs do whatever they are asked to do.
fn ordinary_line(effects: &[FileEffect<'_>], helpers: usize) -> Option<Line> {
    let changed = effects.iter().filter(|effect| effect.changes()).count();
    let read = effects.len() - changed;
    let counts = [
        (
            read,
            "library or configuration read",
            "library and configuration reads",
        ),
        (changed, "ordinary write", "ordinary writes"),
        (helpers, "helper program", "helper programs"),
    ];
    let texts: Vec<String> = counts
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| count(number as u64, one, many))
        .collect();
    (!texts.is_empty()).then(|| Line::new(Style::Dim, format!("+ {}", texts.join(", "))))
}

fn connections(actions: &[&Action]) -> Vec<Node> {
    let mut network: Vec<_> = actions
        .iter()
        .filter(|action| action.kind.starts_with("network."))
        .collect();
    network.sort_by_key(|action| !is_unasked(action));
    let hidden = network.len().saturating_sub(MAX_SHOWN);
    let shown = network.iter().take(MAX_SHOWN);
    let mut nodes: Vec<Node> = shown.map(|action| leaf(connection_line(action))).collect();
    if hidden > 0 {
        nodes.push(leaf(Line::new(
            Style::Dim,
            format!(
                "… {}",
                count(hidden as u64, "more address", "more addresses")
            ),
        )));
    }
    nodes
}

fn connection_line(action: &Action) -> Line {
    let verb = match action.kind.as_str() {
        "network.listen" => "listened",
        "network.accept" => "accepted",
        "network.send" => "sent to",
        _ => "called",
    };
    let mut line = Line::new(Style::Name, format!("{verb:<9}")).then(Style::Plain, address(action));
    if let Some(times) = number_of(action, "agentsight.count").filter(|times| *times > 1) {
        line = line.then(Style::Dim, format!(" ×{times}"));
    }
    if is_unasked(action) {
        line = line.note(Style::Warn, UNASKED);
    }
    match traffic(action) {
        Some(traffic) => line.note(Style::Dim, traffic),
        None => line,
    }
}

/// The address that a network action is about.
pub(super) fn address(action: &Action) -> String {
    let side = if action.kind == "network.listen" {
        "local"
    } else {
        "peer"
    };
    let host = text_of(action, &format!("network.{side}.address"));
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    match number_of(action, &format!("network.{side}.port")) {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

/// Bytes sent and received, where they were measured.
pub(super) fn traffic(action: &Action) -> Option<String> {
    let sent = number_of(action, "agentsight.network.sent_bytes")?;
    let received = number_of(action, "agentsight.network.received_bytes")?;
    Some(format!("↑ {} ↓ {}", bytes(sent), bytes(received)))
}

fn leaf(line: Line) -> Node {
    Node {
        line,
        children: Vec::new(),
    }
}
