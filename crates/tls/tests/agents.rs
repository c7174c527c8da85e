//! Real agents, where `AGENTS_HOME` has them: found, in both directions, without the help of any symbol.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::path::{Path, PathBuf};

use agentsight_tls::{Confidence, Direction, Options, Stack, StackReport, locate, maybe_tls};

/// Names of programs, and the stack that they use.
const AGENTS: &[(&str, Stack)] = &[
    ("claude", Stack::BoringSsl),
    ("opencode", Stack::BoringSsl),
    ("codex", Stack::AwsLc),
    ("codex", Stack::Rustls),
    ("codex", Stack::OpenSsl),
];
/// Programs of agents are larger, what they come with is smaller.
const MIN_BYTES: u64 = 20 << 20;
const MAX_DEPTH: usize = 12;

fn find(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => find(&path, depth - 1, found),
            Ok(kind) if kind.is_file() && entry.metadata().unwrap().len() > MIN_BYTES => {
                found.push(path);
            }
            _ => {}
        }
    }
}

fn moves(report: &StackReport, direction: Direction) -> bool {
    let mut hooks = report.hooks.iter();
    hooks.any(|h| h.kind.moves() == Some(direction) && h.confidence == Confidence::Proven)
}

#[test]
fn agents_are_found_in_both_directions() {
    let Some(home) = std::env::var_os("AGENTS_HOME") else {
        println!("skipped: AGENTS_HOME is not set");
        return;
    };
    let mut programs = Vec::new();
    find(Path::new(&home), MAX_DEPTH, &mut programs);
    for (name, stack) in AGENTS {
        let named: Vec<&PathBuf> = programs
            .iter()
            .filter(|path| path.file_name().is_some_and(|n| n == *name))
            .collect();
        if named.is_empty() {
            println!("skipped: no {name} in AGENTS_HOME");
        }
        for path in named {
            let file = File::open(path).unwrap();
            assert!(maybe_tls(&file).unwrap(), "{name}");
            let located = locate(&file, &Options::code_only()).unwrap();
            let report = located.stacks.iter().find(|report| report.stack == *stack);
            let report = report.unwrap_or_else(|| panic!("{name}: no {stack}"));
            for direction in [Direction::Read, Direction::Write] {
                assert!(moves(report, direction), "{name}: {stack}: {direction:?}");
            }
            assert!(located.limits.is_empty(), "{name}: {:?}", located.limits);
        }
    }
}
