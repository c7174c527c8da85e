//! Processes as `/proc` shows them: their identity, their children, their images.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use agentsight_model::{FileRef, ProcessKey, ProcessSeen};

use crate::ProbeError;

/// A running process and its parent, as the kernel names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningProcess {
    /// The process.
    pub key: ProcessKey,
    /// Its parent.
    pub parent: ProcessKey,
}

/// `root` and all its descendants among `all`, parents before their children.
#[must_use]
pub fn tree_of(root: u32, all: &[RunningProcess]) -> Vec<RunningProcess> {
    let mut children: HashMap<u32, Vec<RunningProcess>> = HashMap::new();
    for process in all {
        children
            .entry(process.parent.tgid)
            .or_default()
            .push(*process);
    }
    let mut tree: Vec<RunningProcess> = all
        .iter()
        .filter(|process| process.key.tgid == root)
        .copied()
        .collect();
    let mut next = 0;
    while let Some(process) = tree.get(next) {
        // Removal ends the walk even if the list makes a circle, as pids were reused while it was made.
        tree.extend(children.remove(&process.key.tgid).unwrap_or_default());
        next += 1;
    }
    tree
}

/// What `/proc` tells of a running process.
///
/// # Errors
/// There is no such process any more.
pub fn describe(process: RunningProcess) -> Result<ProcessSeen, ProbeError> {
    let pid = process.key.tgid;
    let read = || -> io::Result<ProcessSeen> {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let argv = fs::read(format!("/proc/{pid}/cmdline"))?;
        let argv = argv.strip_suffix(b"\0").unwrap_or(&argv);
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let uid = status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:"))
            .and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        Ok(ProcessSeen {
            parent: process.parent,
            exe: FileRef {
                path: exe.to_string_lossy().into_owned(),
                ..FileRef::default()
            },
            argv: argv
                .split(|&byte| byte == 0)
                .map(|argument| String::from_utf8_lossy(argument).into_owned())
                .collect(),
            cwd: cwd.to_string_lossy().into_owned(),
            uid,
        })
    };
    read().map_err(|source| ProbeError::Process { pid, source })
}

/// Paths of the files that a process has mapped executable, its own program included.
#[must_use]
pub fn executable_images(pid: u32) -> Vec<PathBuf> {
    let Ok(maps) = fs::read_to_string(format!("/proc/{pid}/maps")) else {
        return Vec::new();
    };
    let mut images: Vec<PathBuf> = maps
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let range = fields.next()?;
            let permissions = fields.next()?;
            let path = fields.nth(3)?;
            // By its range and not by its name: the name may be that of a deleted file, or of one in
            // another mount namespace.
            (permissions.contains('x') && path.starts_with('/'))
                .then(|| PathBuf::from(format!("/proc/{pid}/map_files/{range}")))
        })
        .collect();
    images.dedup();
    images
}

/// Whether a process runs the program that we run.
pub(crate) fn runs_this_program(pid: u32) -> bool {
    let identity = |path: &str| {
        let file = fs::metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    };
    let ours = identity("/proc/self/exe");
    ours.is_some() && identity(&format!("/proc/{pid}/exe")) == ours
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(tgid: u32, parent: u32) -> RunningProcess {
        let key = |tgid| ProcessKey { tgid, start_ns: 1 };
        RunningProcess {
            key: key(tgid),
            parent: key(parent),
        }
    }

    #[test]
    fn a_tree_is_found_whatever_the_order() {
        let all = [
            process(5, 4),
            process(3, 2),
            process(2, 1),
            process(4, 2),
            process(9, 1),
        ];
        let tree: Vec<u32> = tree_of(2, &all)
            .iter()
            .map(|process| process.key.tgid)
            .collect();
        assert_eq!(tree, [2, 3, 4, 5]);
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(tree_of(1, &[process(1, 2), process(2, 1)]).len(), 3);
        assert!(tree_of(7, &[process(1, 2)]).is_empty());
    }

    #[test]
    fn this_process_is_described() {
        let seen = describe(process(std::process::id(), 1)).unwrap();
        assert!(!seen.argv.is_empty());
        assert!(seen.exe.path.starts_with('/'));
        assert!(!executable_images(std::process::id()).is_empty());
        assert!(runs_this_program(std::process::id()));
        assert!(!runs_this_program(u32::MAX));
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(describe(process(u32::MAX, 1)).is_err());
    }
}
