//! `cargo xtask bench storm`: floods of every kind, watched, and what of them is in the record.
//!
//! Not a comparison: each flood runs once below `agentsight run`, and the table says how many records the
//! kernel side made, how many were stored, and how many were dropped, by class. Records that are neither
//! make it fail, and so do dropped ones of the class `security`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::{Bench, read_json, workload};
use crate::failure::Failure;

/// What one flood left.
struct Outcome {
    name: &'static str,
    wall_s: f64,
    classes: BTreeMap<String, Class>,
    records: u64,
    resident_kb: u64,
}

#[derive(Default)]
struct Class {
    produced: u64,
    stored: u64,
    dropped: u64,
}

/// Runs every flood, or one.
pub(super) fn run(bench: &Bench, only: Option<&str>) -> Result<(), Failure> {
    let mut outcomes = Vec::new();
    for &name in workload::STORMS {
        if only.is_none_or(|only| only == name) {
            println!("\n==> {name}");
            outcomes.push(flood(bench, name)?);
        }
    }
    print!("\n{}", render(&outcomes));
    judge(&outcomes)
}

fn judge(outcomes: &[Outcome]) -> Result<(), Failure> {
    for outcome in outcomes {
        for (name, class) in &outcome.classes {
            let missing = class.produced.abs_diff(class.stored + class.dropped);
            if missing > 0 {
                let flood = outcome.name;
                return Err(Failure::new(format!(
                    "{flood}: {missing} records of class {name} are neither stored nor counted as dropped"
                )));
            }
            if name == "security" && class.dropped > 0 {
                let (flood, count) = (outcome.name, class.dropped);
                return Err(Failure::new(format!(
                    "{flood}: {count} records of class security were dropped"
                )));
            }
        }
    }
    Ok(())
}

fn flood(bench: &Bench, name: &'static str) -> Result<Outcome, Failure> {
    let store = bench.scratch.path.join("store");
    let document = bench.scratch.path.join("document.json");
    let result_file = bench.scratch.path.join("result.json");
    let begun = Instant::now();
    let mut command = Command::new(&bench.agentsight);
    command
        .args(["run", "--quiet", "--store"])
        .arg(&store)
        .arg("--json")
        .arg(&document)
        .arg("--")
        .arg(&bench.itself)
        .args(["workload", name])
        .arg(&result_file);
    let mut child = command
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| Failure::new(format!("failed to run {name}: {error}")))?;
    let resident_kb = watch_memory(&mut child)?;
    let status = child
        .wait()
        .map_err(|error| Failure::new(format!("failed to wait for {name}: {error}")))?;
    if !status.success() {
        return Err(Failure::new(format!("{name} ended with {status}")));
    }
    println!("    {:.1} s", begun.elapsed().as_secs_f64());
    let measured = workload::Measured::read(&result_file)?;
    let outcome = Outcome {
        name,
        wall_s: measured.wall.as_secs_f64(),
        classes: classes(&read_json(&document)?),
        records: records(&read_sessions(bench, &store)?),
        resident_kb,
    };
    let _ = std::fs::remove_dir_all(&store);
    Ok(outcome)
}

/// The greatest resident set of the watcher while it works, in KiB.
fn watch_memory(child: &mut std::process::Child) -> Result<u64, Failure> {
    let path = format!("/proc/{}/status", child.id());
    let mut greatest = 0;
    loop {
        let ended = child
            .try_wait()
            .map_err(|error| Failure::new(format!("failed to wait: {error}")))?;
        if ended.is_some() {
            return Ok(greatest);
        }
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        greatest = greatest.max(resident(&status));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// The number in `VmHWM:   1234 kB`.
fn resident(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn classes(document: &Value) -> BTreeMap<String, Class> {
    let number = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or(0);
    let events = document
        .pointer("/coverage/events")
        .and_then(Value::as_object);
    events
        .into_iter()
        .flatten()
        .map(|(name, counters)| {
            let dropped = counters.get("dropped").and_then(Value::as_object);
            let class = Class {
                produced: number(counters.get("produced")),
                stored: number(counters.get("stored")),
                dropped: dropped
                    .into_iter()
                    .flatten()
                    .map(|(_, count)| number(Some(count)))
                    .sum(),
            };
            (name.clone(), class)
        })
        .collect()
}

fn output(bench: &Bench, store: &Path, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
    let output = Command::new(&bench.agentsight)
        .args(arguments)
        .arg("--store")
        .arg(store)
        .output()
        .map_err(|error| Failure::new(format!("failed to read the record: {error}")))?;
    Ok(output.stdout)
}

fn read_sessions(bench: &Bench, store: &Path) -> Result<Value, Failure> {
    let text = output(bench, store, &["sessions", "--json"])?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::new(format!("failed to read the sessions: {error}")))
}

fn records(sessions: &Value) -> u64 {
    sessions
        .pointer("/0/records")
        .and_then(Value::as_u64)
        .unwrap_or(0)
}

fn render(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:<14} {:>8} {:<10} {:>11} {:>11} {:>9} {:>10} {:>8}\n",
        "flood", "wall", "class", "produced", "stored", "dropped", "ledger", "memory"
    );
    for outcome in outcomes {
        let mut first = true;
        for (name, class) in outcome
            .classes
            .iter()
            .filter(|(_, class)| class.produced > 0)
        {
            let (flood, wall, records, memory) = if first {
                (
                    outcome.name,
                    format!("{:.1} s", outcome.wall_s),
                    outcome.records.to_string(),
                    format!("{} MB", outcome.resident_kb / 1024),
                )
            } else {
                ("", String::new(), String::new(), String::new())
            };
            first = false;
            text.push_str(&format!(
                "{flood:<14} {wall:>8} {name:<10} {:>11} {:>11} {:>9} {records:>10} {memory:>8}\n",
                class.produced, class.stored, class.dropped
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_unaccounted_for_fails() {
        let outcome = |produced, dropped: u64| Outcome {
            name: "x",
            wall_s: 1.0,
            classes: classes(&json!({"coverage": {"events": {"security": {
                "produced": produced, "stored": 10, "dropped": {"ring_full": dropped},
            }}}})),
            records: 0,
            resident_kb: 0,
        };
        assert!(judge(&[outcome(10, 0)]).is_ok());
        assert!(judge(&[outcome(11, 0)]).is_err(), "one is missing");
        assert!(
            judge(&[outcome(11, 1)]).is_err(),
            "of the class that loses none"
        );
    }

    #[test]
    fn the_resident_set_is_read() {
        assert_eq!(resident("Name:\tx\nVmHWM:\t   2048 kB\n"), 2048);
    }
}
