//! `agentsight verify`: are the records as they were written?

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agentsight_ledger::{Problem, Report, Verdict, VerifyOptions, verify_with};
use agentsight_store::{Mode, Store};
use serde_json::{Value, json};

use crate::cli::VerifyArgs;
use crate::failure::FAILURE;
use crate::report::sanitize;
use crate::terminal;

pub(crate) fn run(arguments: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let mut damaged = false;
    let mut results = Vec::new();
    for subject in subjects(&arguments.directory)? {
        let options = VerifyOptions {
            session_id: subject.id.as_deref(),
            known: subject.known,
            ..VerifyOptions::default()
        };
        let report = verify_with(&subject.directory, &options);
        damaged |= !matches!(
            &report,
            Ok(report) if report.verdict != Verdict::Damaged
        );
        results.push((subject.directory, report));
    }
    let text = if arguments.json {
        let all: Vec<Value> = results
            .iter()
            .map(|(path, report)| as_json(path, report))
            .collect();
        serde_json::to_string_pretty(&all)? + "\n"
    } else {
        results
            .iter()
            .fold(String::new(), |mut text, (path, report)| {
                describe(&mut text, path, report);
                text
            })
    };
    terminal::print(if text.is_empty() {
        "no sessions\n"
    } else {
        &text
    })?;
    Ok(if damaged {
        ExitCode::from(FAILURE)
    } else {
        ExitCode::SUCCESS
    })
}

/// One ledger, and what is known of it from elsewhere.
struct Subject {
    directory: PathBuf,
    id: Option<String>,
    known: Option<agentsight_ledger::KnownState>,
}

/// The ledgers that a directory means: its own, or those of all sessions of a store, among them sessions
/// that the index knows and whose ledger is gone.
fn subjects(directory: &Path) -> anyhow::Result<Vec<Subject>> {
    // Where it is no directory at all, the store says so.
    let is_session = std::fs::read_dir(directory).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().ends_with(".seg"))
    });
    if is_session {
        return Ok(vec![Subject {
            directory: directory.to_owned(),
            id: None,
            known: None,
        }]);
    }
    let store = Store::open(directory, Mode::Read)?;
    store
        .sessions()?
        .into_iter()
        .map(|session| {
            Ok(Subject {
                directory: store.session_dir(&session.id)?,
                known: store.known_state(&session.id)?,
                id: Some(session.id),
            })
        })
        .collect()
}

type Outcome = Result<Report, agentsight_ledger::LedgerError>;

fn name(path: &Path) -> String {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    sanitize(&name).into_owned()
}

fn describe(text: &mut String, path: &Path, report: &Outcome) {
    let name = name(path);
    // Writing to a string cannot fail.
    let _ = match report {
        Err(error) => writeln!(text, "{name}  unreadable: {error}"),
        Ok(report) => match report.verdict {
            Verdict::Intact {
                records,
                closed: true,
            } => {
                writeln!(
                    text,
                    "{name}  intact: {records} records, chain {}",
                    report.chain
                )
            }
            Verdict::Intact {
                records,
                closed: false,
            } => {
                writeln!(
                    text,
                    "{name}  intact so far: {records} records, being written"
                )
            }
            Verdict::Interrupted { records } => writeln!(
                text,
                "{name}  intact up to its last flush: {records} records; its monitor ended without closing it"
            ),
            Verdict::Damaged => {
                let count = report.problems.len() as u64 + report.unlisted_problems;
                writeln!(
                    text,
                    "{name}  DAMAGED: {count} problem{}, {} records are as they were written",
                    if count == 1 { "" } else { "s" },
                    report.records
                )
            }
        },
    };
    if let Ok(report) = report {
        for problem in &report.problems {
            let _ = writeln!(text, "  {}", describe_problem(problem));
        }
        if report.unlisted_problems > 0 {
            let _ = writeln!(text, "  and {} more", report.unlisted_problems);
        }
    }
}

fn describe_problem(problem: &Problem) -> String {
    let records = match problem.records.end.saturating_sub(problem.records.start) {
        0 => String::new(),
        1 => format!(", record {}", problem.records.start),
        _ => format!(
            ", records {} to {}",
            problem.records.start,
            problem.records.end - 1
        ),
    };
    format!(
        "{}: {} at byte {} (block {}{records}): {}",
        problem.kind.as_str(),
        problem.file(),
        problem.offset,
        problem.block,
        sanitize(&problem.detail)
    )
}

fn as_json(path: &Path, report: &Outcome) -> Value {
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            return json!({"session": name(path), "verdict": "unreadable", "error": error.to_string()});
        }
    };
    let verdict = match report.verdict {
        Verdict::Intact { closed: true, .. } => "intact",
        Verdict::Intact { .. } => "running",
        Verdict::Interrupted { .. } => "interrupted",
        Verdict::Damaged => "damaged",
    };
    let problems: Vec<Value> = report
        .problems
        .iter()
        .map(|problem| {
            json!({
                "kind": problem.kind.as_str(),
                "file": problem.file(),
                "offset": problem.offset,
                "block": problem.block,
                "records": [problem.records.start, problem.records.end],
                "detail": problem.detail,
            })
        })
        .collect();
    json!({
        "session": name(path),
        "verdict": verdict,
        "records": report.records,
        "bytes": report.bytes,
        "chain": report.chain.to_string(),
        "problems": problems,
        "unlisted_problems": report.unlisted_problems,
    })
}
