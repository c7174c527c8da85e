//! File uses of processes that no tool call started: the agent itself, and servers that it keeps.
//!
//! A tool that reads or writes a file without starting a process is found by the path in its arguments
//! and by its window. A file written under another name and then renamed to that path belongs to the
//! call as well, as that is how careful agents write.

use std::collections::HashMap;

use agentsight_model::{KTime, ProcessKey};

use super::words::{CallWords, suffixes};
use super::{Cause, Evidence, ProcessLinks};
use crate::graph::{NameRecord, ToolCallRecord};
use crate::tool::ToolKind;

/// Calls about one path that are tried for one use, latest first.
const MAX_TRIED: usize = 16;

/// Tool calls by the paths in their arguments.
#[derive(Debug)]
pub(crate) struct FileLinks<'a> {
    tools: &'a [ToolCallRecord],
    exact: HashMap<String, Vec<usize>>,
    suffix: HashMap<String, Vec<usize>>,
    /// Causes of renamed files, by process and old name.
    renamed: HashMap<(ProcessKey, &'a str), Cause>,
}

impl<'a> FileLinks<'a> {
    /// Prepares the paths of all tool calls. `cwd_of` gives the working directory of a process.
    pub(crate) fn of(
        tools: &'a [ToolCallRecord],
        words: &[CallWords],
        processes: &ProcessLinks,
        cwd_of: impl Fn(ProcessKey) -> Option<&'a str>,
    ) -> Self {
        let mut links = Self {
            tools,
            exact: HashMap::new(),
            suffix: HashMap::new(),
            renamed: HashMap::new(),
        };
        for (position, (tool, words)) in tools.iter().zip(words).enumerate() {
            // The processes of a call did what it asked for; its caller had no part in it.
            if words.shape.kind == ToolKind::Shell && processes.has_process(position) {
                continue;
            }
            for path in &words.shape.paths {
                links.add(position, path, cwd_of(tool.process));
            }
        }
        links
    }

    fn add(&mut self, position: usize, path: &str, cwd: Option<&str>) {
        let path = path.trim_start_matches("file://");
        let resolved = normal(path);
        if path.starts_with('/') {
            self.exact
                .entry(format!("/{resolved}"))
                .or_default()
                .push(position);
            return;
        }
        if let Some(cwd) = cwd.filter(|_| !path.starts_with('~')) {
            let whole = format!("/{}", normal(&format!("{cwd}/{path}")));
            self.exact.entry(whole).or_default().push(position);
        }
        let tail = resolved.trim_start_matches("~/").to_owned();
        if !tail.is_empty() && tail != "~" {
            self.suffix.entry(tail).or_default().push(position);
        }
    }

    /// Learns from renamings by processes without a cause which temporary names belong to a call.
    pub(crate) fn learn_renames(
        &mut self,
        names: &'a [NameRecord],
        has_cause: impl Fn(ProcessKey) -> bool,
    ) {
        for name in names.iter().filter(|name| !has_cause(name.process)) {
            let Some(from) = &name.from else {
                continue;
            };
            if let Some(cause) = self.cause(name.process, &name.file.path, (name.first, name.last))
            {
                self.renamed
                    .insert((name.process, from.path.as_str()), cause);
            }
        }
    }

    /// The tool call that a use of `path` by `process`, from `first` to `last`, belongs to.
    pub(crate) fn cause(
        &self,
        process: ProcessKey,
        path: &str,
        (first, last): (KTime, KTime),
    ) -> Option<Cause> {
        let time = (first, last);
        let exact = self.exact.get(path).and_then(|tools| {
            let tool = self.best(tools, process, time)?;
            Some((tool, 95, Evidence::PathExact))
        });
        let found = exact.or_else(|| {
            let by_suffix = |suffix| self.best(self.suffix.get(suffix)?, process, time);
            let tool = suffixes(path).find_map(by_suffix)?;
            Some((tool, 80, Evidence::PathSuffix))
        });
        let by_path = found.map(|(tool, confidence_percent, evidence)| Cause {
            tool,
            confidence_percent,
            evidence,
            windowed: true,
            requested: false,
        });
        by_path.or_else(|| {
            let cause = self.renamed.get(&(process, path))?;
            let tool = self.tools.get(cause.tool)?;
            (tool.opened <= last && first <= tool.closed()).then_some(Cause {
                evidence: Evidence::Rename,
                confidence_percent: 90,
                ..*cause
            })
        })
    }

    /// Of the calls about a path whose window holds a use, that of the process itself, or else the latest.
    fn best(
        &self,
        tools: &[usize],
        process: ProcessKey,
        (first, last): (KTime, KTime),
    ) -> Option<usize> {
        let mut best: Option<((bool, bool, KTime), usize)> = None;
        // Calls are listed in the order in which their answers ended, so the latest are last.
        for position in tools
            .iter()
            .rev()
            .skip_while(|position| self.begins_after(**position, last))
            .take(MAX_TRIED)
        {
            let Some(tool) = self.tools.get(*position) else {
                continue;
            };
            if tool.opened > last || first > tool.closed() {
                continue;
            }
            let began_within = tool.opened <= first;
            let rank = (tool.process == process, began_within, tool.opened);
            if best.is_none_or(|(known, _)| rank > known) {
                best = Some((rank, *position));
            }
        }
        best.map(|(_, position)| position)
    }

    fn begins_after(&self, position: usize, time: KTime) -> bool {
        self.tools
            .get(position)
            .is_none_or(|tool| tool.opened > time)
    }
}

/// A path without empty components, `.` and `..`, and without the slash before it.
fn normal(path: &str) -> String {
    let mut components = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            _ => components.push(component),
        }
    }
    components.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_by_their_text() {
        for (path, expected) in [
            ("/w/./a//b/../c", "w/a/c"),
            ("../../x", "x"),
            ("", ""),
            ("/", ""),
            ("a/..", ""),
        ] {
            assert_eq!(normal(path), expected);
        }
    }
}
