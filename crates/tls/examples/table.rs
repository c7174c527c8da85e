//! Prints a row of a Markdown table for each file named: what was found, by which evidence, at which cost.
//! `NAME=FILE` gives a row its name; `--no-symbols` looks at code only.
//!
//! Each file is looked at by a process of its own, so that its memory can be told.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use agentsight_tls::{Direction, LocateError, Located, Options, StackReport, locate};

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let code_only = arguments.iter().any(|argument| argument == "--no-symbols");
    let is_row = arguments.iter().any(|argument| argument == "--row");
    arguments.retain(|argument| !argument.starts_with("--"));
    if is_row {
        for argument in &arguments {
            print_row(argument, code_only);
        }
        return;
    }
    println!("| program | MB | stack | read | write | evidence | CPU ms | peak MB |");
    println!("|---|---|---|---|---|---|---|---|");
    let Ok(own) = std::env::current_exe() else {
        return;
    };
    for argument in &arguments {
        let mut row = Command::new(&own);
        row.arg("--row").arg(argument).stdout(Stdio::inherit());
        if code_only {
            row.arg("--no-symbols");
        }
        if let Err(error) = row.status() {
            eprintln!("failed to look at {argument}: {error}");
        }
    }
}

fn print_row(argument: &str, code_only: bool) {
    let (name, path) = match argument.split_once('=') {
        Some((name, path)) => (name, path),
        None => (file_name(argument), argument),
    };
    match look(path, code_only) {
        Ok(located) => {
            let (cpu_ms, peak_mb) = cost();
            for (index, report) in located.stacks.iter().enumerate() {
                let (name, size, cpu, peak) = match index {
                    0 => (
                        name,
                        format!("{:.0}", located.file_bytes as f64 / 1e6),
                        format!("{cpu_ms:.0}"),
                        format!("{peak_mb:.0}"),
                    ),
                    _ => Default::default(),
                };
                let found = row(report);
                println!("| {name} | {size} | {found} | {cpu} | {peak} |");
            }
        }
        Err(error) => println!("| {name} | | {error} | | | | | |"),
    }
}

fn file_name(path: &str) -> &str {
    Path::new(path)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or(path)
}

fn look(path: &str, code_only: bool) -> Result<Located, LocateError> {
    let options = if code_only {
        Options::code_only()
    } else {
        Options::default()
    };
    locate(&File::open(path)?, &options)
}

fn row(report: &StackReport) -> String {
    let version = report.version.as_deref().unwrap_or("?");
    let names = |direction| {
        let hooks = report
            .hooks
            .iter()
            .filter(|hook| hook.kind.moves() == Some(direction));
        let mut names: Vec<&str> = hooks.map(|hook| hook.function.as_str()).collect();
        names.dedup();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let evidence = report.hooks.iter().find(|hook| hook.kind.moves().is_some());
    let evidence = evidence
        .and_then(|hook| hook.evidence.first())
        .map_or("", String::as_str);
    let stack = report.stack;
    let (read, write) = (names(Direction::Read), names(Direction::Write));
    format!("{stack} {version} | {read} | {write} | {evidence}")
}

/// CPU time in milliseconds and peak memory in megabytes of this process.
fn cost() -> (f64, f64) {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default();
        let number = line
            .split_whitespace()
            .nth(1)
            .and_then(|number| number.parse().ok());
        number.unwrap_or(0.0_f64)
    };
    // The first number is the time on a processor, in nanoseconds.
    let schedule = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let cpu_ns = schedule
        .split_whitespace()
        .next()
        .and_then(|n| n.parse::<f64>().ok());
    (
        cpu_ns.unwrap_or(0.0) / 1e6,
        field("/proc/self/status", "VmHWM") / 1e3,
    )
}
