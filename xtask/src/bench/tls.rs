//! `cargo xtask bench tls`: what reading plaintext costs the program that is read, and what finding the
//! functions costs before.
//!
//! A program writes and reads over TLS inside one process, without system calls in between, in four ways: on
//! its own; with a kernel program that does nothing at the same functions, which is the least that any probe
//! costs; watched; and beside another command that is watched. Each round has one run of each, every second
//! one in reverse order, and its ratios are those within the round. Of all rounds the median counts.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::Scratch;
use super::table::{median, range};
use crate::failure::Failure;
use crate::{eval_tls, run, setup};

const DEFAULT_ROUNDS: usize = 9;
const SOURCE: &str = "xtask/src/bench/tls_pair.c";
/// Bytes of a write and of the reads that answer it, and pairs in a batch: as much as the rings hold.
const SIZES: [(u64, u64); 2] = [(1 << 10, 4096), (64 << 10, 64)];
const BATCHES: u64 = 15;

/// One way to run the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    Empty,
    Watched,
    Beside,
}

const WAYS: [(Way, &str); 4] = [
    (Way::Plain, "no probe"),
    (Way::Empty, "empty probe"),
    (Way::Watched, "watched"),
    (Way::Beside, "not watched"),
];

/// Nanoseconds a pair.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    wall: f64,
    cpu: f64,
}

/// Runs the benchmark and prints two tables.
pub(super) fn run(options: &[&str]) -> Result<(), Failure> {
    let rounds = parse(options)?;
    setup::run(setup::Report::Missing)?;
    if !run::is_root() {
        return Err(Failure::privilege("watching takes root")
            .hint("sudo -E env PATH=\"$PATH\" cargo xtask bench tls"));
    }
    let bench = Bench::build()?;
    for (bytes, pairs) in SIZES {
        println!("\n==> {bytes} bytes, {rounds} rounds");
        let mut results = Vec::new();
        for round in 0..rounds {
            results.push(bench.round(round, bytes, pairs)?);
        }
        print!("{}", render(&results));
    }
    print!("\n{}", bench.locator()?);
    Ok(())
}

fn parse(options: &[&str]) -> Result<usize, Failure> {
    match options {
        [] => Ok(DEFAULT_ROUNDS),
        ["--rounds", number] => number
            .parse()
            .ok()
            .filter(|rounds| *rounds > 0)
            .ok_or_else(|| Failure::usage("--rounds takes a number from 1\n")),
        _ => Err(Failure::usage(crate::USAGE)),
    }
}

struct Bench {
    agentsight: PathBuf,
    empty_probe: PathBuf,
    pair: PathBuf,
    library: PathBuf,
    scratch: Scratch,
}

impl Bench {
    fn build() -> Result<Self, Failure> {
        run::step(run::cargo().args(["build", "--release", "-p", "agentsight"]))?;
        let example = ["-p", "agentsight-probe", "--example", "empty_probe"];
        run::step(run::cargo().arg("build").args(example))?;
        let scratch = Scratch::make()?;
        let pair = scratch.path.join("tls_pair");
        run::step(
            Command::new("cc")
                .args(["-O2", "-o"])
                .arg(&pair)
                .arg(run::root().join(SOURCE))
                .args(["-lssl", "-lcrypto"]),
        )?;
        let target = run::target_dir()?;
        Ok(Self {
            agentsight: target.join("release/agentsight"),
            empty_probe: target.join("debug/examples/empty_probe"),
            library: library_of(&pair)?,
            pair,
            scratch,
        })
    }

    /// One run in each way, in the order of `WAYS` or the other way round.
    fn round(&self, number: usize, bytes: u64, pairs: u64) -> Result<[Sample; 4], Failure> {
        let mut samples = [Sample::default(); 4];
        let mut order: Vec<usize> = (0..WAYS.len()).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        for index in order {
            samples[index] = self.measure(WAYS[index].0, bytes, pairs)?;
        }
        Ok(samples)
    }

    fn measure(&self, way: Way, bytes: u64, pairs: u64) -> Result<Sample, Failure> {
        let store = self.scratch.path.join("store");
        let mut command = match way {
            Way::Watched => {
                let mut command = self.watch(&store);
                command.arg(&self.pair);
                command
            }
            _ => Command::new(&self.pair),
        };
        command.args([bytes, BATCHES, pairs].map(|number| number.to_string()));
        let company = match way {
            Way::Empty => {
                let mut probe = Command::new(&self.empty_probe);
                probe.arg(&self.library);
                Some(Company::start(&mut probe, "")?)
            }
            Way::Beside => Some(Company::start(self.watch(&store).arg("cat"), "begin\n")?),
            Way::Plain | Way::Watched => None,
        };
        let output = output_of(&mut command)?;
        drop(company);
        if way == Way::Watched {
            self.check(&store, BATCHES * pairs * bytes)?;
        }
        let _ = std::fs::remove_dir_all(&store);
        let number = |key: &str| {
            let number = output.get(key).and_then(Value::as_f64);
            number.ok_or_else(|| Failure::new(format!("tls_pair names no {key}")))
        };
        Ok(Sample {
            wall: number("wall_ns")?,
            cpu: number("cpu_ns")?,
        })
    }

    fn watch(&self, store: &Path) -> Command {
        let mut command = Command::new(&self.agentsight);
        command.args(["run", "--quiet", "--store"]);
        command.arg(store).arg("--");
        command
    }

    /// Fails if less than the whole was read: what is dropped is cheap.
    fn check(&self, store: &Path, one_way_bytes: u64) -> Result<(), Failure> {
        let mut show = Command::new(&self.agentsight);
        show.args(["show", "last", "--json", "--store"]).arg(store);
        let coverage = &output_of(&mut show)?["coverage"];
        let dropped = &coverage["events"]["tls"]["dropped"];
        let seen = coverage["tls"]["plaintext_bytes"].as_u64().unwrap_or(0);
        if dropped
            .as_object()
            .is_none_or(|reasons| !reasons.is_empty())
            || seen < 2 * one_way_bytes
        {
            return Err(Failure::new(format!(
                "the figures would be too good: {seen} bytes were read, dropped: {dropped}"
            )));
        }
        Ok(())
    }

    /// Time and memory of the locator for what is there.
    fn locator(&self) -> Result<String, Failure> {
        let mut table = format!(
            "{:<28} {:>6} {:>8} {:>8}  stacks\n",
            "locator", "MB", "cpu ms", "peak MB"
        );
        for program in self.programs() {
            let found = eval_tls::measure(&self.agentsight, &program)?;
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            table += &format!(
                "{name:<28} {:>6} {:>8} {:>8}  {}\n",
                found.file_bytes / 1_000_000,
                found.cpu.as_millis(),
                found.peak_bytes / 1_000_000,
                found.stacks.join(", ")
            );
        }
        Ok(table)
    }

    fn programs(&self) -> Vec<PathBuf> {
        let search = env::var_os("PATH").unwrap_or_default();
        let node = env::split_paths(&search)
            .map(|folder| folder.join("node"))
            .find(|path| path.is_file());
        let mut programs: Vec<PathBuf> = node.into_iter().collect();
        programs.push(self.library.clone());
        programs.extend(crate::agents::native_programs());
        programs
    }
}

/// The TLS library that a program is linked with.
fn library_of(program: &Path) -> Result<PathBuf, Failure> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .map_err(|error| Failure::new(format!("failed to run ldd: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_ascii_whitespace()
        .find(|word| word.starts_with('/') && word.contains("libssl."))
        .and_then(|path| Path::new(path).canonicalize().ok())
        .ok_or_else(|| Failure::new("tls_pair uses no libssl"))
}

/// Runs a program that prints JSON.
fn output_of(command: &mut Command) -> Result<Value, Failure> {
    let line = run::shown(command);
    let failed = |why: &dyn std::fmt::Display| Failure::new(format!("failed to run {line}: {why}"));
    let output = command.output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(&error))
}

/// A process that runs meanwhile; it ends when dropped, as its standard input does.
struct Company {
    child: Child,
}

impl Company {
    /// Starts it, and waits until it has said a line in answer to `input`.
    fn start(command: &mut Command, input: &str) -> Result<Self, Failure> {
        let line = run::shown(command);
        let failed =
            |error: &dyn std::fmt::Display| Failure::new(format!("failed to run {line}: {error}"));
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let mut company = Self { child };
        if let Some(stdin) = &mut company.child.stdin {
            stdin
                .write_all(input.as_bytes())
                .map_err(|error| failed(&error))?;
        }
        let stdout = company.child.stdout.take();
        let mut said = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout)
                .read_line(&mut said)
                .map_err(|error| failed(&error))?;
        }
        if said.is_empty() {
            return Err(failed(&"it says nothing"));
        }
        Ok(company)
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The table of one size: medians of nanoseconds, and of the ratios within each round.
fn render(rounds: &[[Sample; 4]]) -> String {
    let mut table = format!(
        "{:<12} {:>12} {:>10} {:>15} {:>10} {:>15} {:>11}\n",
        "", "cpu ns/pair", "to none", "range", "to empty", "range", "wall/none"
    );
    let ratios = |index: usize, to: usize, of: fn(&Sample) -> f64| -> Vec<f64> {
        rounds
            .iter()
            .map(|samples| of(&samples[index]) / of(&samples[to]))
            .collect()
    };
    let cpu = |sample: &Sample| sample.cpu;
    for (index, (_, name)) in WAYS.iter().enumerate() {
        let (none, empty) = (ratios(index, 0, cpu), ratios(index, 1, cpu));
        table += &format!(
            "{name:<12} {:>12.0} {:>10.3} {:>15} {:>10.3} {:>15} {:>11.3}\n",
            median(rounds.iter().map(|samples| samples[index].cpu).collect()),
            median(none.clone()),
            range(&none),
            median(empty.clone()),
            range(&empty),
            median(ratios(index, 0, |sample| sample.wall)),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        assert_eq!(parse(&[]).unwrap(), DEFAULT_ROUNDS);
        assert_eq!(parse(&["--rounds", "3"]).unwrap(), 3);
        for wrong in [&["--rounds", "0"][..], &["--rounds"], &["--what", "1"]] {
            assert!(parse(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn ratios_are_those_within_a_round() {
        let round = |factor: f64| {
            [1.0, 2.0, 3.0, 1.5].map(|cpu| Sample {
                wall: cpu * factor,
                cpu: cpu * factor,
            })
        };
        let table = render(&[round(100.0), round(900.0), round(200.0)]);
        let watched: Vec<&str> = table
            .lines()
            .find(|line| line.starts_with("watched"))
            .unwrap()
            .split_whitespace()
            .collect();
        let expected = [
            "watched",
            "600",
            "3.000",
            "3.000-3.000",
            "1.500",
            "1.500-1.500",
            "3.000",
        ];
        assert_eq!(watched, expected);
    }
}
