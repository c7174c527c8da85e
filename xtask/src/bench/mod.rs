//! `cargo xtask bench`: what watching costs, as ratios of paired runs.
//!
//! Each workload runs alternately without and with `agentsight run --` in front of it (A B A B ...), so that
//! what else the machine does falls on both alike. It measures itself, from within: wall time, and CPU time
//! of itself and its children. The time that AgentSight takes to start is not in these, and its own CPU
//! time stands apart. Of the ratios of all pairs the median counts.

mod server;
mod storm;
mod table;
mod tls;
pub(crate) mod workload;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::failure::Failure;
use crate::{run, setup};
use server::EchoServer;
use table::Pair;
use workload::Measured;

const DEFAULT_PAIRS: usize = 5;

/// CPU time of all children that have ended, user and system.
fn children_cpu() -> Duration {
    cpu_of(UsageWho::RUSAGE_CHILDREN)
}

fn cpu_of(who: UsageWho) -> Duration {
    getrusage(who).map_or(Duration::ZERO, |usage| {
        let microseconds =
            usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
    })
}

struct Options {
    pairs: usize,
    only: Option<String>,
}

fn parse(options: &[&str]) -> Result<Options, Failure> {
    let mut parsed = Options {
        pairs: DEFAULT_PAIRS,
        only: None,
    };
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let value = rest.next().copied().unwrap_or_default();
        match *option {
            "--pairs" => {
                parsed.pairs = value
                    .parse()
                    .ok()
                    .filter(|pairs| *pairs > 0)
                    .ok_or_else(|| Failure::usage("--pairs takes a number from 1\n"))?;
            }
            "--only" if workload::NAMES.contains(&value) => parsed.only = Some(value.to_owned()),
            "--only" => {
                let names = workload::NAMES.join(", ");
                return Err(Failure::usage(format!("--only takes one of: {names}\n")));
            }
            _ => return Err(Failure::usage(crate::USAGE)),
        }
    }
    Ok(parsed)
}

/// Runs the benchmarks and prints a table.
pub(crate) fn run(options: &[&str]) -> Result<(), Failure> {
    match options {
        ["tls", options @ ..] => return tls::run(options),
        ["decode"] => return decode(),
        _ => {}
    }
    let (storm, options) = match options {
        ["storm", options @ ..] => (Some(options), &[][..]),
        options => (None, options),
    };
    let only = match storm {
        None | Some([]) => None,
        Some(["--only", name]) if workload::STORMS.contains(name) => Some(*name),
        Some(_) => {
            let names = workload::STORMS.join(", ");
            return Err(Failure::usage(format!("--only takes one of: {names}\n")));
        }
    };
    let options = parse(options)?;
    setup::run(setup::Report::Missing)?;
    if !run::is_root() {
        return Err(Failure::privilege("watching takes root")
            .hint("sudo -E env PATH=\"$PATH\" cargo xtask bench"));
    }
    run::step(run::cargo().args(["build", "--release", "-p", "agentsight"]))?;
    let bench = Bench {
        agentsight: run::target_dir()?.join("release/agentsight"),
        itself: env::current_exe().map_err(|error| Failure::new(format!("where am I? {error}")))?,
        scratch: Scratch::make()?,
    };
    if storm.is_some() {
        return storm::run(&bench, only);
    }
    let mut results = Vec::new();
    for &name in workload::NAMES {
        if options.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        results.push((name, bench.pairs(name, options.pairs)?));
    }
    print!("\n{}", table::render(&results));
    Ok(())
}

/// How fast bytes become conversations. Needs no root: it runs from memory.
fn decode() -> Result<(), Failure> {
    let example = ["run", "--release", "-p", "agentsight-decode", "--example"];
    run::step(run::cargo().args(example).arg("throughput"))
}

struct Bench {
    agentsight: PathBuf,
    itself: PathBuf,
    scratch: Scratch,
}

impl Bench {
    fn pairs(&self, name: &str, count: usize) -> Result<Vec<Pair>, Failure> {
        println!("\n==> {name}, {count} pairs");
        // Outside the watched tree: it plays the rest of the world.
        let server = (name == workload::TLS_ECHO)
            .then(EchoServer::start)
            .transpose()?;
        let mut pairs = Vec::new();
        for number in 1..=count {
            let begun = Instant::now();
            let (plain, around_plain) = self.measure(name, server.as_ref(), false)?;
            let (watched, around_watched) = self.measure(name, server.as_ref(), true)?;
            let pair = Pair {
                plain,
                watched,
                // Making files and the like costs the same in both.
                sensor_cpu: around_watched.saturating_sub(around_plain),
            };
            println!(
                "    pair {number}: wall {:.3}, cpu {:.3}, in {}",
                pair.wall_ratio(),
                pair.cpu_ratio(),
                run::seconds(begun.elapsed())
            );
            pairs.push(pair);
        }
        Ok(pairs)
    }

    /// Runs a workload once. Returns what it measured, and the CPU time that was spent around that.
    fn measure(
        &self,
        name: &str,
        server: Option<&EchoServer>,
        watched: bool,
    ) -> Result<(Measured, Duration), Failure> {
        let result_file = self.scratch.path.join("result.json");
        let store = self.scratch.path.join("store");
        let mut command = if watched {
            let mut command = Command::new(&self.agentsight);
            command
                .arg("run")
                .arg("--store")
                .arg(&store)
                .arg("--")
                .arg(&self.itself);
            command
        } else {
            Command::new(&self.itself)
        };
        command
            .arg("workload")
            .arg(name)
            .arg(&result_file)
            .stdout(Stdio::null());
        // The report of `agentsight run` is not what is looked at here.
        command.stderr(Stdio::piped());
        if let Some(server) = server {
            server.tell(&mut command);
        }
        let before = children_cpu();
        let output = command
            .output()
            .map_err(|error| Failure::new(format!("failed to run {name}: {error}")))?;
        let total = children_cpu().saturating_sub(before);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!(
                "{name} ended with {}:\n{said}",
                output.status
            )));
        }
        let measured = Measured::read(&result_file)?;
        let _ = std::fs::remove_file(&result_file);
        let _ = std::fs::remove_dir_all(&store);
        Ok((measured, total.saturating_sub(measured.cpu)))
    }
}

/// A folder that goes when we do.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn make() -> Result<Self, Failure> {
        let path = env::temp_dir().join(format!("agentsight-bench-{}", std::process::id()));
        std::fs::create_dir(&path)
            .map_err(|error| Failure::new(format!("failed to make {}: {error}", path.display())))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Reads a JSON file.
fn read_json(path: &Path) -> Result<serde_json::Value, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(format!("failed to read {}: {error}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let parsed = parse(&["--pairs", "3", "--only", "exec-burst"]).unwrap();
        assert_eq!(
            (parsed.pairs, parsed.only.as_deref()),
            (3, Some("exec-burst"))
        );
        assert_eq!(parse(&[]).unwrap().pairs, DEFAULT_PAIRS);
        for wrong in [
            &["--pairs", "0"][..],
            &["--pairs"],
            &["--only", "x"],
            &["--what"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?} was accepted");
        }
    }
}
