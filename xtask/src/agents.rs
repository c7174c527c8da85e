//! Real agents under `agentsight run`, against a mock model that writes down the truth.
//!
//! The kit that drives them lives outside the repository (`../shared/agents`, or `AGENTS_KIT`), as do the
//! agents (`AGENTS_HOME`). What is not installed is skipped and named. A run passes if `agentsight show
//! --json` agrees with the kit's truth: every body by its hash, every text, tool call, finish reason and
//! token count, each tool call joined to its processes and files, and everything that the scenario makes
//! happen, told apart by whether it was asked for.

mod calls;
mod check;
mod effects;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failure::Failure;
use crate::suites::Counts;
use crate::{eval_tls, run};
use check::{Comparison, Evidence};

/// An agent, the folder below `AGENTS_HOME` that it is installed in, and the scenarios that it can do.
struct Agent {
    name: &'static str,
    folder: &'static str,
    scenarios: &'static [&'static str],
}

const fn agent(
    name: &'static str,
    folder: &'static str,
    scenarios: &'static [&'static str],
) -> Agent {
    Agent {
        name,
        folder,
        scenarios,
    }
}

const BASIC: &[&str] = &["shell", "coding"];
const CLI: &[&str] = &["shell", "coding", "parallel", "big"];
const SDK: &[&str] = &["shell", "coding", "error", "parallel", "image", "big"];
const ALL: &[&str] = &[
    "shell",
    "coding",
    "error",
    "parallel",
    "image",
    "big",
    "injection",
    "unasked",
    "loop",
];
const NODE: &[&str] = &["shell", "coding", "parallel", "injection", "unasked", "big"];

const AGENTS: &[Agent] = &[
    agent("py-openai", "venv/py-sdk", SDK),
    agent("py-responses", "venv/py-sdk", SDK),
    agent("py-anthropic", "venv/py-sdk", ALL),
    agent("py-gemini", "venv/py-sdk", SDK),
    agent("gemini-cli", "npm/gemini-cli", NODE),
    agent("qwen-code", "npm/qwen-code", NODE),
    agent("py-h2", "venv/py-sdk", SDK),
    agent("js-openai", "npm/js-sdk", BASIC),
    agent("js-anthropic", "npm/js-sdk", BASIC),
    agent("js-gemini", "npm/js-sdk", BASIC),
    agent("langgraph", "venv/py-sdk", BASIC),
    agent("openai-agents", "venv/py-sdk", BASIC),
    agent("aider", "venv/aider", BASIC),
    // It refuses the file of `big`, which is larger than it reads.
    agent(
        "claude-code",
        "npm/claude-code",
        &["shell", "coding", "parallel"],
    ),
    agent("codex", "npm/codex", CLI),
    agent("codex-ws", "npm/codex", CLI),
    agent("opencode", "npm/opencode", CLI),
];

/// One run, for the table at the end.
struct Row {
    agent: &'static str,
    scenario: &'static str,
    result: Result<Comparison, Failure>,
}

/// Runs the installed agents through their scenarios; `only` names one agent, or one agent and scenario
/// with a slash between them.
pub(crate) fn run(only: Option<&str>) -> Counts {
    let mut counts = Counts::default();
    let kit = env::var_os("AGENTS_KIT")
        .map_or_else(|| run::root().join("../shared/agents"), PathBuf::from);
    let reason = if !kit.join("drive.sh").exists() {
        Some("the kit that drives agents is not here (AGENTS_KIT)")
    } else if !run::is_root() {
        Some("needs root")
    } else {
        None
    };
    if let Some(reason) = reason {
        let scenarios = AGENTS.iter().map(|agent| agent.scenarios.len() as u64);
        counts.skipped = scenarios.sum();
        counts.notes.push(reason.to_owned());
        return counts;
    }
    let Ok(program) = build() else {
        counts.failed = 1;
        counts.notes.push("the product did not build".to_owned());
        return counts;
    };
    let home = agents_home();
    let mut rows = Vec::new();
    for agent in AGENTS {
        let is_wanted = |scenario: &str| {
            only.is_none_or(|only| {
                only == agent.name || only == format!("{}/{scenario}", agent.name)
            })
        };
        let wanted = agent.scenarios.iter().filter(|name| is_wanted(name));
        if home.join(agent.folder).exists() {
            rows.extend(wanted.map(|scenario| drive(&kit, &program, agent.name, scenario)));
            continue;
        }
        let missing = wanted.count() as u64;
        counts.skipped += missing;
        if missing > 0 {
            let (name, home) = (agent.name, home.display());
            counts
                .notes
                .push(format!("{name} is not installed below {home}"));
        }
    }
    print!("\n{}", table(&rows));
    for row in rows {
        count(row, &mut counts);
    }
    counts
}

fn count(row: Row, counts: &mut Counts) {
    let (agent, scenario) = (row.agent, row.scenario);
    let differences = match row.result {
        Ok(comparison) => comparison.differences,
        Err(failure) => vec![failure.to_string()],
    };
    if differences.is_empty() {
        counts.passed += 1;
        return;
    }
    counts.failed += 1;
    let note = format!("{agent}, {scenario}: {}", differences.join("; "));
    counts.notes.push(note);
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<14}{:<12}{:>7}{:>7}{:>9}\n",
        "agent", "scenario", "calls", "links", "effects"
    );
    for row in rows {
        let (agent, scenario) = (row.agent, row.scenario);
        // Writing to a string cannot fail.
        let _ = match &row.result {
            Ok(seen) => writeln!(
                text,
                "{agent:<14}{scenario:<12}{:>7}{:>7}{:>9}  {}",
                seen.calls,
                seen.links,
                seen.effects,
                if seen.differences.is_empty() {
                    "ok"
                } else {
                    "DIFFERS"
                }
            ),
            Err(failure) => writeln!(text, "{agent:<14}{scenario:<12}  {failure}"),
        };
    }
    text
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

/// Programs of the installed agents that are no scripts.
pub(crate) fn native_programs() -> Vec<PathBuf> {
    let mut programs: Vec<PathBuf> = ["claude-code", "codex", "opencode"]
        .iter()
        .filter_map(|agent| {
            eval_tls::files_below(&agents_home().join("npm").join(agent))
                .into_iter()
                .filter(|path| eval_tls::is_program(path))
                .max_by_key(|path| fs::metadata(path).map_or(0, |file| file.len()))
        })
        .collect();
    programs.sort();
    programs
}

/// Runs one agent through one scenario and compares.
fn drive(kit: &Path, program: &Path, agent: &'static str, scenario: &'static str) -> Row {
    println!("\n==> {agent}, {scenario}");
    let store = env::temp_dir().join(format!(
        "agentsight-xtask-{}-{agent}-{scenario}",
        std::process::id()
    ));
    let result = drive_into(&store, kit, program, agent, scenario);
    match &result {
        Ok(comparison) if comparison.differences.is_empty() => {
            println!("==> as the truth says");
            let _ = fs::remove_dir_all(&store);
        }
        // A store that shows a defect is worth a look.
        Ok(comparison) => {
            for difference in &comparison.differences {
                println!("==> {difference}");
            }
            println!("==> its store is left in {}", store.display());
        }
        Err(failure) => println!("==> {failure}"),
    }
    Row {
        agent,
        scenario,
        result,
    }
}

fn drive_into(
    store: &Path,
    kit: &Path,
    program: &Path,
    agent: &str,
    scenario: &str,
) -> Result<Comparison, Failure> {
    let program_name = program.display();
    let written = store.with_extension("json");
    let options = format!("--store {} --json {}", store.display(), written.display());
    let output = Command::new(kit.join("drive.sh"))
        .args([agent, scenario])
        .env("WRAP", format!("{program_name} run {options} --"))
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
    let shown = agentsight(program, store, &["show", "last", "--json"])?;
    let truth = fs::read_to_string(folder.join("truth.jsonl"))
        .map_err(|error| failed("truth.jsonl", &error))?;
    let evidence = Evidence {
        truth: truth
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect(),
        scenario: read_json(&folder.join("scenario.json"))?,
        document: serde_json::from_str(&shown)
            .map_err(|error| failed("`agentsight show last --json` is no JSON", &error))?,
        work: folder.join("work").display().to_string(),
        exit_code: output.status.code().map_or(-1, i64::from),
    };
    let mut comparison = check::compare(&evidence);
    if read_json(&written)? != evidence.document {
        let what = "the document written at the end differs from the one shown later";
        comparison.differences.push(what.to_owned());
    }
    agentsight(program, store, &["verify"])?;
    let _ = fs::remove_file(&written);
    if !output.status.success() {
        let what = format!("the agent ended with {}", output.status);
        comparison.differences.push(what);
    }
    Ok(comparison)
}

/// What `agentsight` prints, which has to succeed and to have nothing to complain of.
fn agentsight(program: &Path, store: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let what = format!("`agentsight {}`", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .env("AGENTSIGHT_STORE", store)
        .output()
        .map_err(|error| failed(&format!("failed to run {what}"), &error))?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !complaints.is_empty() {
        let status = output.status;
        return Err(Failure::new(format!(
            "{what} ended with {status}: {complaints}"
        )));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(&what, &error))
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| failed(&path.display().to_string(), &error))?;
    serde_json::from_str(&text).map_err(|error| failed(&path.display().to_string(), &error))
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{what}: {error}"))
}
