//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/`, one after the other.
//!
//! They need a nightly compiler, for its sanitizers, but not cargo-fuzz: the flags are its own. Inputs that
//! are found stay under the target folder, and the corpora of the repository are only read.

use std::path::Path;
use std::process::Command;

use crate::failure::Failure;
use crate::run;

const DEFAULT_SECONDS: u32 = 60;

/// The only platform whose flags are known here.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// What makes a program tell libFuzzer which edges it takes, and stop at what is wrong.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Zsanitizer=address -Cdebug-assertions -Coverflow-checks";

struct Options<'a> {
    only: Option<&'a str>,
    seconds: u32,
}

fn parse<'a>(options: &[&'a str]) -> Result<Options<'a>, Failure> {
    let mut parsed = Options {
        only: None,
        seconds: DEFAULT_SECONDS,
    };
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        match *option {
            "--seconds" => {
                let value = rest.next().and_then(|value| value.parse().ok());
                parsed.seconds = value
                    .filter(|seconds| *seconds > 0)
                    .ok_or_else(|| Failure::usage("--seconds takes a number from 1\n"))?;
            }
            name if !name.starts_with('-') && parsed.only.is_none() => parsed.only = Some(name),
            _ => return Err(Failure::usage(crate::USAGE)),
        }
    }
    Ok(parsed)
}

/// Builds the targets and runs one, or all of them.
pub(crate) fn run(options: &[&str]) -> Result<(), Failure> {
    let options = parse(options)?;
    let folder = run::root().join("fuzz");
    let names = targets(&folder)?;
    let chosen: Vec<&String> = names
        .iter()
        .filter(|name| options.only.is_none_or(|only| only == name.as_str()))
        .collect();
    if chosen.is_empty() {
        let all = names.join(", ");
        return Err(Failure::usage(format!("fuzz takes one of: {all}\n")));
    }
    let built = run::target_dir()?.join("fuzz");
    let mut build = Command::new("rustup");
    build
        .args(["run", "nightly", "cargo", "build", "--release"])
        .args(["--target", PLATFORM, "--target-dir"])
        .arg(&built)
        .current_dir(&folder)
        .env("RUSTFLAGS", FLAGS);
    // What runs us has settings of its own compiler, which are not those of the other one.
    for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"] {
        build.env_remove(name);
    }
    if let Some(only) = options.only {
        build.args(["--bin", only]);
    }
    run::step(&mut build).map_err(|failure| failure.hint("rustup toolchain install nightly"))?;
    for name in chosen {
        fuzz(&folder, &built, name, options.seconds)?;
    }
    Ok(())
}

/// The names of the targets: there is a file for each.
fn targets(folder: &Path) -> Result<Vec<String>, Failure> {
    let sources = folder.join("fuzz_targets");
    let entries = std::fs::read_dir(&sources)
        .map_err(|error| Failure::new(format!("failed to read {}: {error}", sources.display())))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

fn fuzz(folder: &Path, built: &Path, name: &str, seconds: u32) -> Result<(), Failure> {
    let found = built.join("found").join(name);
    std::fs::create_dir_all(&found)
        .map_err(|error| Failure::new(format!("failed to make {}: {error}", found.display())))?;
    let program = built.join(PLATFORM).join("release").join(name);
    let failures = format!("-artifact_prefix={}/failed-", found.display());
    run::step(
        Command::new(program)
            .arg(format!("-max_total_time={seconds}"))
            .args(["-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1"])
            .arg(failures)
            .arg(&found)
            .arg(folder.join("corpus").join(name)),
    )
}
