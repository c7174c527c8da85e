//! `agentsight rules`: what rules there are, whether they are well formed, and what they find.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use agentsight_ledger::Reader;
use agentsight_policy::{Diagnostic, Engine, Rule, RuleSet, TestResult, run_tests};
use agentsight_store::{Mode, Store};
use anyhow::Context as _;
use serde_json::{Value, json};

use crate::cli::{RulesCommand, RulesTestArgs};
use crate::report::{count, sanitize};
use crate::rules::RuleFiles;
use crate::{failure, terminal};

pub(crate) fn run(command: &RulesCommand) -> anyhow::Result<ExitCode> {
    match command {
        RulesCommand::List { rules, json } => list(&rules.files(), *json),
        RulesCommand::Check { paths, json } => check(
            &RuleFiles {
                paths: paths.clone(),
                default_pack: true,
            },
            *json,
        ),
        RulesCommand::Test(arguments) => test(arguments),
    }
}

fn list(files: &RuleFiles, json: bool) -> anyhow::Result<ExitCode> {
    let rules = files.load()?;
    let text = if json {
        let list: Vec<Value> = rules.rules().map(described).collect();
        lines(&Value::from(list))?
    } else {
        let mut text = String::new();
        for rule in rules.rules() {
            let severity = if rule.effect.as_str() == "label" {
                "label"
            } else {
                rule.severity.as_str()
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{severity:<9} {:<32} {}",
                sanitize(&rule.id),
                sanitize(&rule.title)
            );
        }
        text
    };
    terminal::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn described(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "title": rule.title,
        "description": rule.description,
        "why": rule.why,
        "false_positives": rule.false_positives,
        "severity": rule.severity,
        "taxonomy": rule.taxonomy,
        "effect": rule.effect.as_str(),
        "on": rule.on,
        "file": rule.file,
        "tests": { "fire": rule.tests.0, "quiet": rule.tests.1 },
    })
}

fn lines(value: &Value) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(value).context("failed to encode the result")?;
    text.push('\n');
    Ok(text)
}

fn check(files: &RuleFiles, json: bool) -> anyhow::Result<ExitCode> {
    let sources = files.sources()?;
    let own = sources.iter().filter(|source| source.layer > 0).count();
    let checked = if own == 0 { sources.len() } else { own };
    let (errors, weaker) = match RuleSet::load(sources) {
        Ok(rules) => {
            let weaker: Vec<String> = rules
                .stronger_effects()
                .map(|rule| format!("rule `{}` asks to {}", rule.id, rule.effect.as_str()))
                .collect();
            (Vec::new(), weaker)
        }
        Err(errors) => (errors.0, Vec::new()),
    };
    if json {
        let list: Vec<Value> = errors.iter().map(diagnostic).collect();
        terminal::print(&lines(&Value::from(list))?)?;
    } else {
        for error in &errors {
            terminal::print(&format!("{}\n", sanitize(&error.to_string())))?;
        }
    }
    for text in weaker {
        terminal::warn(&format!(
            "{text}, which is not carried out: it is told as an alert"
        ));
    }
    let files = count(checked as u64, "file", "files");
    if errors.is_empty() {
        if !json {
            terminal::print(&format!("{files}: no errors\n"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(failure::FAILURE))
}

fn diagnostic(error: &Diagnostic) -> Value {
    json!({
        "file": error.file,
        "line": error.line,
        "column": error.column,
        "message": error.message,
        "hint": error.hint,
    })
}

fn test(arguments: &RulesTestArgs) -> anyhow::Result<ExitCode> {
    let files = RuleFiles {
        paths: arguments.paths.clone(),
        default_pack: true,
    };
    let rules = files.load()?;
    if let Some(session) = &arguments.session {
        return replay(arguments, rules, session);
    }
    // With files of one's own, those; the pack's tests are ours.
    let own: BTreeSet<&str> = rules
        .rules()
        .filter(|rule| arguments.paths.is_empty() || !is_of_pack(rule))
        .map(|rule| rule.id.as_str())
        .collect();
    let results: Vec<TestResult> = run_tests(&rules)
        .into_iter()
        .filter(|result| own.contains(result.rule.as_str()))
        .collect();
    let failed = results
        .iter()
        .filter(|result| result.failure.is_some())
        .count();
    if arguments.json {
        let list: Vec<Value> = results.iter().map(tested).collect();
        terminal::print(&lines(&Value::from(list))?)?;
    } else {
        let mut text = String::new();
        for failure in results.iter().filter_map(|result| result.failure.as_ref()) {
            let _ = writeln!(text, "{}", sanitize(&failure.to_string()));
        }
        let untested = rules.rules().filter(|rule| own.contains(rule.id.as_str()));
        for rule in untested.filter(|rule| rule.tests.0 == 0 || rule.tests.1 == 0) {
            let _ = writeln!(
                text,
                "{}: rule `{}` lacks tests of one kind",
                sanitize(&rule.file),
                sanitize(&rule.id)
            );
        }
        let tests = count(results.len() as u64, "test", "tests");
        let of = count(own.len() as u64, "rule", "rules");
        let _ = writeln!(text, "{tests} of {of}: {failed} failed");
        terminal::print(&text)?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(failure::FAILURE)
    })
}

/// Files of the pack are named `rules/...` by the program itself; those of the user lie where they are found.
fn is_of_pack(rule: &Rule) -> bool {
    agentsight_policy::default_pack().any(|source| source.name == rule.file)
}

fn tested(result: &TestResult) -> Value {
    json!({
        "rule": result.rule,
        "test": result.name,
        "should_fire": result.should_fire,
        "passed": result.failure.is_none(),
        "failure": result.failure.as_ref().map(diagnostic),
    })
}

/// What the rules would have found in a recorded session.
fn replay(
    arguments: &RulesTestArgs,
    rules: std::sync::Arc<RuleSet>,
    session: &str,
) -> anyhow::Result<ExitCode> {
    let store = Store::open(&arguments.store.store, Mode::Read)?;
    let directory = store.session_dir(&store.resolve(session)?)?;
    let reader = Reader::open(&directory)
        .with_context(|| format!("failed to read the session in `{}`", directory.display()))?;
    let mut engine = Engine::new(rules);
    let (mut findings, mut damaged) = (Vec::new(), 0_u64);
    for record in reader {
        match record {
            Ok((seq, event)) => findings.extend(engine.observe(seq, &event)),
            Err(_) => damaged = damaged.saturating_add(1),
        }
    }
    if damaged > 0 {
        let places = count(damaged, "place", "places");
        terminal::warn(&format!(
            "{places} in the ledger could not be read; `agentsight verify` tells more"
        ));
    }
    let counters = engine.counters();
    let text = if arguments.json {
        let list: Vec<Value> = findings
            .iter()
            .map(|found| serde_json::to_value(&found.finding))
            .collect::<Result<_, _>>()
            .context("failed to encode a finding")?;
        lines(&json!({
            "findings": list,
            "events": counters.events,
            "repeated": counters.repeated,
            "evicted": counters.evicted,
        }))?
    } else {
        let mut text = String::new();
        for found in &findings {
            let finding = &found.finding;
            let _ = writeln!(
                text,
                "{:<9} {:<32} {}",
                finding.severity,
                sanitize(&finding.rule),
                sanitize(&finding.title)
            );
        }
        let found = count(findings.len() as u64, "finding", "findings");
        let events = count(counters.events, "event", "events");
        let _ = writeln!(text, "{found} in {events}; {} repeated", counters.repeated);
        text
    };
    terminal::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
