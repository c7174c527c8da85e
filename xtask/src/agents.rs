//! Real agents under `agentsight run`, against a mock model that writes down the truth.
//!
//! The kit that drives them lives outside the repository (`../shared/agents`, or `AGENTS_KIT`), as do the
//! agents (`AGENTS_HOME`). What is not installed is skipped and named. A run passes if the agent did its
//! work, and `agentsight show --json` agrees with the kit's truth: every body by its hash, every tool call,
//! the usage, and every command and file that the scenario makes happen.

mod check;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failure::Failure;
use crate::run;
use crate::suites::Counts;

/// Agents and the folder below `AGENTS_HOME` that they are installed in.
const AGENTS: &[(&str, &str)] = &[
    ("py-openai", "venv/py-sdk"),
    ("py-responses", "venv/py-sdk"),
    ("py-anthropic", "venv/py-sdk"),
    ("py-gemini", "venv/py-sdk"),
    ("gemini-cli", "npm/gemini-cli"),
    ("qwen-code", "npm/qwen-code"),
];

const SCENARIOS: &[&str] = &["shell", "coding"];

/// Runs every installed agent through every scenario.
pub(crate) fn run() -> Counts {
    let mut counts = Counts::default();
    let skip_all = |mut counts: Counts, reason: &str| {
        counts.skipped = (AGENTS.len() * SCENARIOS.len()) as u64;
        counts.notes.push(reason.to_owned());
        counts
    };
    let kit = env::var_os("AGENTS_KIT")
        .map_or_else(|| run::root().join("../shared/agents"), PathBuf::from);
    if !kit.join("drive.sh").exists() {
        return skip_all(
            counts,
            "the kit that drives agents is not here (AGENTS_KIT)",
        );
    }
    if !run::is_root() {
        return skip_all(counts, "needs root");
    }
    let program = match build() {
        Ok(program) => program,
        Err(_) => {
            counts.failed = 1;
            counts.notes.push("the product did not build".to_owned());
            return counts;
        }
    };
    let home = agents_home();
    for (agent, folder) in AGENTS {
        if !home.join(folder).exists() {
            counts.skipped += SCENARIOS.len() as u64;
            counts
                .notes
                .push(format!("{agent} is not installed below {}", home.display()));
            continue;
        }
        for scenario in SCENARIOS {
            println!("\n==> {agent}, {scenario}");
            match drive(&kit, &program, agent, scenario) {
                Ok(differences) if differences.is_empty() => {
                    println!("==> as the truth says");
                    counts.passed += 1;
                }
                Ok(differences) => {
                    counts.failed += 1;
                    counts
                        .notes
                        .push(format!("{agent}, {scenario}: {}", differences.join("; ")));
                }
                Err(failure) => {
                    failure.report();
                    counts.failed += 1;
                    counts
                        .notes
                        .push(format!("{agent}, {scenario}: did not run"));
                }
            }
        }
    }
    counts
}

fn build() -> Result<PathBuf, Failure> {
    run::step(run::cargo().args(["build", "-p", "agentsight"]))?;
    Ok(run::target_dir()?.join("debug/agentsight"))
}

/// Where the kit keeps agents, by its own rule.
fn agents_home() -> PathBuf {
    env::var_os("AGENTS_HOME")
        .map_or_else(|| env::temp_dir().join("agentsight-agents"), PathBuf::from)
}

/// Runs one agent through one scenario; returns what differs from the truth.
fn drive(kit: &Path, program: &Path, agent: &str, scenario: &str) -> Result<Vec<String>, Failure> {
    let store = env::temp_dir().join(format!(
        "agentsight-xtask-{}-{agent}-{scenario}",
        std::process::id()
    ));
    let differences = drive_into(&store, kit, program, agent, scenario);
    // A store that shows a defect is worth a look.
    if differences.as_ref().is_ok_and(Vec::is_empty) {
        let _ = fs::remove_dir_all(&store);
    } else {
        println!("==> its store is left in {}", store.display());
    }
    differences
}

fn drive_into(
    store: &Path,
    kit: &Path,
    program: &Path,
    agent: &str,
    scenario: &str,
) -> Result<Vec<String>, Failure> {
    let failed =
        |what: &str, error: &dyn std::fmt::Display| Failure::new(format!("{what}: {error}"));
    let output = Command::new(kit.join("drive.sh"))
        .args([agent, scenario])
        .env("WRAP", format!("{} run --", program.display()))
        .env("AGENTSIGHT_STORE", store)
        .output()
        .map_err(|error| failed("failed to run drive.sh", &error))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    print!("{said}");
    let folder = said
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("run: ")?.split_once(" (exit code"))
        .map(|(folder, _)| PathBuf::from(folder))
        .ok_or_else(|| Failure::new("drive.sh names no run folder"))?;
    let shown = Command::new(program)
        .args(["show", "last", "--json"])
        .env("AGENTSIGHT_STORE", store)
        .output()
        .map_err(|error| failed("failed to run `agentsight show`", &error))?;
    let document: Value = serde_json::from_slice(&shown.stdout)
        .map_err(|error| failed("`agentsight show last --json` is no JSON", &error))?;
    let read =
        |name: &str| fs::read_to_string(folder.join(name)).map_err(|error| failed(name, &error));
    let truth: Vec<Value> = read("truth.jsonl")?
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let scenario: Value = serde_json::from_str(&read("scenario.json")?)
        .map_err(|error| failed("scenario.json", &error))?;
    let mut differences = check::compare(&truth, &scenario, &document);
    if !output.status.success() {
        differences.push(format!("the agent ended with {}", output.status));
    }
    Ok(differences)
}
