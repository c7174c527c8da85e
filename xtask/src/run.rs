//! Running programs and telling a person about it.

use std::env;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// `cargo`, the same that runs us, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> Result<PathBuf, Failure> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("failed to run cargo: {error}")))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::new(format!("failed to read cargo's metadata: {error}")))?;
    metadata
        .get("target_directory")
        .and_then(serde_json::Value::as_str)
        .map(PathBuf::from)
        .ok_or_else(|| Failure::new("cargo's metadata names no target directory"))
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether a program answers to this argument.
pub(crate) fn works(program: impl AsRef<OsStr>, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command line, as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

/// Runs a step: says what it does, lets it speak, says how long it took.
pub(crate) fn step(command: &mut Command) -> Result<(), Failure> {
    announced(command, |command| command.status())
}

/// The same, and hands on each line of its standard output, which is printed all the same.
pub(crate) fn step_with_lines(
    command: &mut Command,
    mut on_line: impl FnMut(&str),
) -> Result<(), Failure> {
    announced(command, |command| {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        if let Some(output) = child.stdout.take() {
            let mut output = BufReader::new(output);
            let mut bytes = Vec::new();
            // By bytes: what a test prints need not be UTF-8.
            while output.read_until(b'\n', &mut bytes)? > 0 {
                let mut stdout = io::stdout();
                stdout.write_all(&bytes)?;
                stdout.flush()?;
                on_line(String::from_utf8_lossy(&bytes).trim_end());
                bytes.clear();
            }
        }
        child.wait()
    })
}

fn announced(
    command: &mut Command,
    run: impl FnOnce(&mut Command) -> io::Result<ExitStatus>,
) -> Result<(), Failure> {
    let line = shown(command);
    println!("\n==> {line}");
    let begun = Instant::now();
    let status =
        run(command).map_err(|error| Failure::new(format!("failed to run `{line}`: {error}")))?;
    let outcome = if status.success() { "done" } else { "FAILED" };
    println!("==> {outcome} in {}", seconds(begun.elapsed()));
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("`{line}` ended with {status}")))
    }
}

pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
