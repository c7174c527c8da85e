//! `cargo xtask vm`: the product on stock Debian kernels, one after the other, in QEMU.
//!
//! Each kernel is booted once, with a file system in memory that holds the product, its tests and a shell,
//! and nothing else. QEMU emulates the processor (TCG): it needs no KVM, and finds what a fast machine
//! hides. What cannot be had, QEMU, a mirror or a kernel, is skipped, and said. Kernels are kept in
//! `target/vm`, or where `AGENTSIGHT_VM_DIR` says.

mod apt;
mod archive;
mod checks;
mod cpio;
mod guest;
mod kernels;
mod limits;
mod report;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::evasion::{self, Judged, Programs, Results, Verdicts};
use crate::failure::Failure;
use crate::run;
use crate::suites::Counts;
use checks::Result as CheckResult;
use kernels::{KERNELS, Kernel};
use limits::Limits;

/// What came of one kernel.
struct Row {
    label: &'static str,
    outcome: Outcome,
}

enum Outcome {
    /// It could not be had; why.
    Skipped(String),
    /// It did not get to the end; why.
    Failed(String),
    Ran(Box<Ran>),
}

struct Ran {
    release: String,
    seconds: f64,
    checks: Vec<CheckResult>,
    verifier: Vec<(String, u64)>,
    /// What the programs that try not to be seen left.
    attacked: Results,
    /// What came of them.
    evasion: Option<Judged>,
}

impl Row {
    fn failures(&self) -> Vec<String> {
        match &self.outcome {
            Outcome::Skipped(_) => Vec::new(),
            Outcome::Failed(reason) => vec![format!("{}: {reason}", self.label)],
            Outcome::Ran(ran) => ran
                .checks
                .iter()
                .filter_map(|check| check.outcome.as_ref().err().map(|why| (check.name, why)))
                .map(|(name, why)| format!("{}: {name}: {why}", self.label))
                .collect(),
        }
    }
}

/// Runs the matrix and writes its page. `arguments` are labels of kernels; without any, all.
/// With `--accept`, what the verifier walks through becomes the new limit, and what came of the programs that
/// try not to be seen is kept.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let accept = arguments.contains(&"--accept");
    let labels: Vec<&str> = arguments
        .iter()
        .copied()
        .filter(|argument| *argument != "--accept")
        .collect();
    if let Some(wrong) = labels
        .iter()
        .find(|label| !KERNELS.iter().any(|kernel| kernel.label == **label))
    {
        let known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.label).collect();
        return Err(Failure::usage(format!(
            "no kernel {wrong}; there are: {}\n",
            known.join(", ")
        )));
    }
    let limits = Limits::read(&limits_file())?;
    let rows = matrix(&labels, (!accept).then_some(&limits))?;
    if accept {
        limits.accept(&rows).write(&limits_file())?;
        accept_verdicts(&rows)?;
    }
    print!("\n{}", report::text(&rows));
    let all_ran = rows
        .iter()
        .all(|row| matches!(row.outcome, Outcome::Ran(_)));
    if labels.is_empty() && all_ran {
        let page = run::root().join("docs/reference/kernels.md");
        write(&page, report::page(&rows).as_bytes())?;
    }
    let failures: Vec<String> = rows.iter().flat_map(Row::failures).collect();
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} of the checks failed",
        failures.len()
    )))
}

fn accept_verdicts(rows: &[Row]) -> Result<(), Failure> {
    let mut verdicts = Verdicts::read()?;
    for row in rows {
        if let Outcome::Ran(ran) = &row.outcome
            && let Some(judged) = &ran.evasion
        {
            verdicts = verdicts.accept(row.label, &ran.release, judged);
        }
    }
    verdicts.write()
}

/// The matrix as one of the suites of `cargo xtask test --all`.
pub(crate) fn suite() -> Counts {
    let mut counts = Counts::default();
    let rows = Limits::read(&limits_file()).and_then(|limits| matrix(&[], Some(&limits)));
    let rows = match rows {
        Ok(rows) => rows,
        Err(failure) => {
            counts.failed = 1;
            counts.notes.push(failure.to_string());
            return counts;
        }
    };
    print!("\n{}", report::text(&rows));
    for row in &rows {
        let failures = row.failures();
        counts.failed += failures.len() as u64;
        counts.notes.extend(failures);
        match &row.outcome {
            Outcome::Skipped(reason) => {
                counts.skipped += 1;
                counts.notes.push(format!("{}: {reason}", row.label));
            }
            Outcome::Failed(_) => {}
            Outcome::Ran(ran) => {
                counts.passed += ran
                    .checks
                    .iter()
                    .filter(|check| check.outcome.is_ok())
                    .count() as u64;
            }
        }
    }
    counts
}

/// Boots the kernels with these labels, or all, one after the other, and compares what the verifier did
/// with the limits, if any.
fn matrix(labels: &[&str], limits: Option<&Limits>) -> Result<Vec<Row>, Failure> {
    let wanted = KERNELS
        .iter()
        .filter(|kernel| labels.is_empty() || labels.contains(&kernel.label));
    let store = store()?;
    if let Err(reason) = guest::qemu(&store) {
        return Ok(wanted
            .map(|kernel| Row {
                label: kernel.label,
                outcome: Outcome::Skipped(reason.clone()),
            })
            .collect());
    }
    let attackers = evasion::build(&store.join("attackers"))?;
    let root = root_archive(&store, &attackers)?;
    let verdicts = Verdicts::read()?;
    Ok(wanted
        .map(|kernel| {
            let mut outcome = boot(kernel, &store, &root, limits);
            if let Outcome::Ran(ran) = &mut outcome {
                judge(ran, kernel.label, &attackers, limits.map(|_| &verdicts));
            }
            Row {
                label: kernel.label,
                outcome,
            }
        })
        .collect())
}

/// Adds the check of the programs that try not to be seen, against the verdicts that are kept, if any.
fn judge(ran: &mut Ran, label: &str, attackers: &Programs, kept: Option<&Verdicts>) {
    let outcome = match evasion::judge(&ran.attacked, attackers) {
        Ok(judged) => {
            let worse = kept.map_or_else(Vec::new, |kept| kept.worse(label, &judged));
            let summary = judged.summary();
            ran.evasion = Some(judged);
            if worse.is_empty() {
                Ok(summary)
            } else {
                Err(worse.join("; "))
            }
        }
        Err(why) => Err(why),
    };
    println!(
        "    evasion: {}",
        outcome.as_deref().unwrap_or_else(|why| why)
    );
    ran.checks.push(CheckResult {
        name: "evasion",
        outcome,
    });
}

fn boot(
    kernel: &Kernel,
    store: &Path,
    root: &Result<PathBuf, String>,
    limits: Option<&Limits>,
) -> Outcome {
    let root = match root {
        Ok(root) => root,
        Err(reason) => return Outcome::Skipped(reason.clone()),
    };
    let image = match kernel.obtain(store) {
        Ok(image) => image,
        Err(reason) => return Outcome::Skipped(reason),
    };
    println!("\n==> kernel {}", kernel.label);
    let begun = Instant::now();
    let sections = match guest::boot(&image, root, &store.join(kernel.label)) {
        Ok(sections) => sections,
        Err(reason) => return Outcome::Failed(reason),
    };
    let seconds = begun.elapsed().as_secs_f64();
    let verifier = checks::verifier(&sections);
    let mut checks = checks::all(&sections);
    checks.extend(limits.map(|limits| limits.check(kernel.label, &verifier)));
    for check in &checks {
        let outcome = check.outcome.as_deref().unwrap_or_else(|why| why);
        println!("    {}: {outcome}", check.name);
    }
    println!("==> {} took {seconds:.1} s", kernel.label);
    Outcome::Ran(Box::new(Ran {
        release: sections
            .get("kernel")
            .map(|section| section.text.trim().to_owned())
            .unwrap_or_default(),
        seconds,
        checks,
        verifier,
        attacked: checks::attacked(&sections),
        evasion: None,
    }))
}

/// Where kernels and the like are kept.
fn store() -> Result<PathBuf, Failure> {
    let store = match env::var_os("AGENTSIGHT_VM_DIR") {
        Some(named) => PathBuf::from(named),
        None => run::target_dir()?.join("vm"),
    };
    fs::create_dir_all(&store)
        .map_err(|error| Failure::new(format!("failed to make {}: {error}", store.display())))?;
    fs::canonicalize(&store)
        .map_err(|error| Failure::new(format!("failed to find {}: {error}", store.display())))
}

fn limits_file() -> PathBuf {
    run::root().join("xtask/vm/verifier.limits")
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes)
        .map_err(|error| Failure::new(format!("failed to write {}: {error}", path.display())))
}

/// Builds the product and its tests and packs them, with a shell, for the guests. The inner error is a
/// reason to skip.
fn root_archive(store: &Path, attackers: &Programs) -> Result<Result<PathBuf, String>, Failure> {
    let mut programs = vec![(
        build(&["build", "-p", "agentsight"], "agentsight")?,
        "bin/agentsight".to_owned(),
    )];
    for (test, path) in [
        ("bpf_verifier", "test/bpf_verifier"),
        ("bpf_sensor", "test/bpf_sensor"),
    ] {
        let arguments = ["test", "--no-run", "-p", "agentsight-probe", "--test", test];
        programs.push((build(&arguments, test)?, path.to_owned()));
    }
    let openssl = PathBuf::from("/usr/bin/openssl");
    if openssl.exists() {
        programs.push((openssl, "bin/openssl".to_owned()));
    }
    programs.extend(
        attackers
            .built
            .iter()
            .map(|name| (attackers.folder.join(name), format!("attack/{name}"))),
    );
    let texts = [
        (attackers.list.clone(), "attack/attackers"),
        (evasion::sources().join("run.sh"), "attack/run.sh"),
    ];
    let busybox = match kernels::busybox(store) {
        Ok(busybox) => busybox,
        Err(reason) => return Ok(Err(reason)),
    };
    let path = store.join("root.cpio");
    write(&path, &archive::root(&busybox, &programs, &texts, store)?)?;
    Ok(Ok(path))
}

/// Builds with cargo and returns the executable of the target with this name.
fn build(arguments: &[&str], name: &str) -> Result<PathBuf, Failure> {
    println!("\n==> cargo {}", arguments.join(" "));
    let output = run::cargo()
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("failed to run cargo: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new(format!("{name} did not build")));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| Failure::new(format!("cargo names no executable of {name}")))
}

/// What a program prints, if it succeeds.
fn output_of(command: &mut Command) -> Result<Vec<u8>, String> {
    let line = run::shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("failed to run `{line}`: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(format!("`{line}` ended with {}: {last}", output.status))
}
