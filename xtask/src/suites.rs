//! `cargo xtask test`: every suite, one after the other, and a table at the end.
//!
//! A suite that cannot run here is skipped, and the table says why. Suites that load kernel programs are
//! tests marked `#[ignore]`; they run where we are root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::{agents, evasion, run, setup, vm};

/// How a suite went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Why something was skipped, or what failed.
    pub(crate) notes: Vec<String>,
}

impl Counts {
    fn skipped_because(reason: impl Into<String>) -> Self {
        Self {
            skipped: 1,
            notes: vec![reason.into()],
            ..Self::default()
        }
    }

    /// A suite that is one check.
    fn of_check(result: Result<(), Failure>) -> Self {
        match result {
            Ok(()) => Self {
                passed: 1,
                ..Self::default()
            },
            Err(_) => Self {
                failed: 1,
                ..Self::default()
            },
        }
    }
}

struct Row {
    suite: &'static str,
    counts: Counts,
    time: Duration,
}

type Suite = (&'static str, fn() -> Counts);

const SUITES: &[Suite] = &[
    ("format of Rust", rust_format),
    ("format of C", c_format),
    ("lints", lints),
    ("tests", tests),
    ("tests as root", root_tests),
    ("dependencies", dependencies),
];

/// What takes minutes, or needs more than the repository.
const SLOW_SUITES: &[Suite] = &[
    ("real agents", || agents::run(None)),
    ("evasion", evasion::suite),
    ("kernels", vm::suite),
];

/// Runs the suites; with `all`, the slow ones as well.
pub(crate) fn run(all: bool) -> Result<(), Failure> {
    setup::run(setup::Report::Missing)?;
    let suites = SUITES.iter().chain(SLOW_SUITES.iter().filter(|_| all));
    conclude(suites.map(|&(suite, run)| row(suite, run)).collect())
}

/// Runs real agents and nothing else; `only` as for [`agents::run`].
pub(crate) fn run_agents(only: Option<&str>) -> Result<(), Failure> {
    conclude(vec![row("real agents", || agents::run(only))])
}

fn row(suite: &'static str, run: impl FnOnce() -> Counts) -> Row {
    let begun = Instant::now();
    let counts = run();
    Row {
        suite,
        counts,
        time: begun.elapsed(),
    }
}

fn conclude(rows: Vec<Row>) -> Result<(), Failure> {
    print!("\n{}", table(&rows));
    let failed: Vec<&str> = rows
        .iter()
        .filter(|row| row.counts.failed > 0)
        .map(|row| row.suite)
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("failed: {}", failed.join(", "))))
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![format!(
        "{:<16} {:>7} {:>7} {:>7} {:>9}",
        "suite", "passed", "failed", "skipped", "time"
    )];
    for Row {
        suite,
        counts,
        time,
    } in rows
    {
        lines.push(format!(
            "{suite:<16} {:>7} {:>7} {:>7} {:>9}",
            counts.passed,
            counts.failed,
            counts.skipped,
            run::seconds(*time)
        ));
        lines.extend(counts.notes.iter().map(|note| format!("  {note}")));
    }
    let failed = rows.iter().any(|row| row.counts.failed > 0);
    lines.push(if failed { "FAILED" } else { "ok" }.to_owned());
    lines.join("\n") + "\n"
}

fn rust_format() -> Counts {
    if !run::works("rustfmt", "--version") {
        return Counts::skipped_because("rustfmt is not installed: rustup component add rustfmt");
    }
    Counts::of_check(run::step(run::cargo().args(["fmt", "--all", "--check"])))
}

fn c_format() -> Counts {
    let Some(program) = ["clang-format-19", "clang-format"]
        .iter()
        .find(|name| is_version_19(name))
    else {
        return Counts::skipped_because(
            "clang-format 19 is not installed (others format otherwise)",
        );
    };
    let mut sources = Vec::new();
    for folder in ["bpf", "tests"] {
        c_sources(&run::root().join(folder), &mut sources);
    }
    sources.sort();
    let mut command = Command::new(program);
    command
        .current_dir(run::root())
        .args(["--dry-run", "-Werror"])
        .args(&sources);
    Counts::of_check(run::step(&mut command))
}

fn is_version_19(clang_format: &str) -> bool {
    Command::new(clang_format)
        .arg("--version")
        .output()
        .is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).contains("clang-format version 19.")
        })
}

/// C files below `folder`, but for the kernel's generated types.
fn c_sources(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            c_sources(&path, sources);
        } else if path
            .extension()
            .is_some_and(|kind| kind == "c" || kind == "h")
            && path.file_name().is_some_and(|name| name != "vmlinux.h")
        {
            let below_root = path.strip_prefix(run::root()).unwrap_or(&path);
            sources.push(below_root.to_owned());
        }
    }
}

fn lints() -> Counts {
    if !run::works("cargo-clippy", "--version") {
        return Counts::skipped_because("clippy is not installed: rustup component add clippy");
    }
    Counts::of_check(run::step(run::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])))
}

fn tests() -> Counts {
    let mut counts = cargo_test(run::cargo().args(["test", "--workspace", "--no-fail-fast"]));
    if counts.skipped > 0 {
        counts
            .notes
            .push("skipped here: tests that need root".to_owned());
    }
    counts
}

fn root_tests() -> Counts {
    if let Err(reason) = kernel_programs_can_be_loaded() {
        return Counts::skipped_because(reason);
    }
    // One at a time: they watch the whole machine's processes, and some count events under load.
    cargo_test(run::cargo().args([
        "test",
        "--workspace",
        "--no-fail-fast",
        "--tests",
        "--",
        "--ignored",
        "--test-threads=1",
    ]))
}

fn kernel_programs_can_be_loaded() -> Result<(), String> {
    if !run::is_root() {
        return Err("needs root: sudo -E env PATH=\"$PATH\" cargo xtask test".to_owned());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err("this kernel offers no BTF (/sys/kernel/btf/vmlinux)".to_owned());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if may_use_bpf(&status) {
        Ok(())
    } else {
        Err("root without CAP_BPF and CAP_PERFMON, as in a container".to_owned())
    }
}

/// Whether the effective capabilities in a `/proc/<pid>/status` suffice to load tracing programs.
fn may_use_bpf(status: &str) -> bool {
    const SYS_ADMIN: u32 = 21;
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let has = |capability: u32| effective >> capability & 1 == 1;
    has(SYS_ADMIN) || has(BPF) && has(PERFMON)
}

fn dependencies() -> Counts {
    if !run::works("cargo-deny", "--version") {
        return Counts::skipped_because("cargo-deny is not installed");
    }
    // Without the advisories: they need the network, and change while the code does not.
    Counts::of_check(run::step(
        run::cargo().args(["deny", "check", "bans", "licenses", "sources"]),
    ))
}

/// Runs `cargo test` and adds up what it says.
fn cargo_test(command: &mut Command) -> Counts {
    let mut counts = Counts::default();
    let result = run::step_with_lines(command, |line| counts.add_line(line));
    if result.is_err() && counts.failed == 0 {
        counts.failed = 1;
        counts.notes.push("did not build, or crashed".to_owned());
    }
    counts
}

impl Counts {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...`, or notes a test that failed.
    fn add_line(&mut self, line: &str) {
        if let Some(test) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.notes.push(format!("failed: {test}"));
        }
        let Some((_, numbers)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for item in numbers.split("; ") {
            let Some((number, what)) = item.split_once(' ') else {
                continue;
            };
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test c ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 9 filtered out; finished in 0.01s",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: nonsense",
        ] {
            counts.add_line(line);
        }
        let expected = Counts {
            passed: 7,
            failed: 1,
            skipped: 5,
            notes: vec!["failed: c".to_owned()],
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn capabilities_are_read() {
        for (status, expected) in [
            ("Name:\tx\nCapEff:\t000001ffffffffff\n", true),
            ("CapEff:\t0000000000200000\n", true),
            ("CapEff:\t000000c000000000\n", true),
            ("CapEff:\t0000008000000000\n", false),
            ("CapEff:\t00000000a80425fb\n", false),
            ("CapEff:\tnone\n", false),
            ("", false),
        ] {
            assert_eq!(may_use_bpf(status), expected, "{status:?}");
        }
    }

    #[test]
    fn the_table_says_what_was_skipped_and_why() {
        let rows = [
            Row {
                suite: "tests",
                counts: Counts {
                    passed: 12,
                    ..Counts::default()
                },
                time: Duration::from_millis(1500),
            },
            Row {
                suite: "tests as root",
                counts: Counts::skipped_because("needs root"),
                time: Duration::ZERO,
            },
        ];
        let expected = "\
suite             passed  failed skipped      time
tests                 12       0       0     1.5 s
tests as root          0       0       1     0.0 s
  needs root
ok
";
        assert_eq!(table(&rows), expected);
    }
}
