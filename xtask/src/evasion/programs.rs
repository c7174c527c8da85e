//! Builds the attackers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::sources;
use super::table::{CONTROL, Start, attacks};
use crate::failure::Failure;
use crate::run;

/// As `crates/bpf` looks for it; what builds kernel programs builds attackers.
const CLANGS: &[&str] = &[
    "clang-19", "clang-20", "clang-21", "clang-18", "clang-17", "clang-16", "clang-15", "clang",
];

/// How a source is linked.
const PLAIN: &[&str] = &["-pthread"];
const OBJECT: &[&str] = &["-shared", "-fPIC"];
const TLS: &[&str] = &["-lssl", "-lcrypto"];

/// Attackers that speak TLS by a library that is shared, as probes are on its file.
const WITH_TLS: &[&str] = &["16_probe_removed", "17_short_lived"];

/// What others run: source, name, how it is linked.
const HELPERS: &[(&str, &str, &[&str])] = &[
    ("helpers/daemon.c", "daemon", PLAIN),
    ("helpers/tool.c", "tool", PLAIN),
    ("helpers/preloaded.c", "preloaded.so", OBJECT),
];

/// The attackers in a folder.
pub(crate) struct Programs {
    pub(crate) folder: PathBuf,
    /// The names of those that were built, and of what they run.
    pub(crate) built: Vec<&'static str>,
    /// The file that lists the attackers for `run.sh`.
    pub(crate) list: PathBuf,
    /// Those that could not be built, and why.
    pub(super) missing: BTreeMap<&'static str, String>,
}

/// Builds all attackers and writes the list of them that `run.sh` reads.
pub(crate) fn build(folder: &Path) -> Result<Programs, Failure> {
    fs::create_dir_all(folder)
        .map_err(|error| Failure::new(format!("failed to make {}: {error}", folder.display())))?;
    let clang = CLANGS
        .iter()
        .find(|clang| run::works(clang, "--version"))
        .ok_or_else(|| Failure::new("no clang to build the attackers with"))?;
    for (source, name, how) in HELPERS {
        compile(clang, source, &folder.join(name), how).map_err(Failure::new)?;
    }
    let mut built: Vec<&'static str> = HELPERS.iter().map(|helper| helper.1).collect();
    let mut missing = BTreeMap::new();
    let mut lines = String::new();
    let control = (CONTROL, Start::Shared);
    for (program, start) in
        std::iter::once(control).chain(attacks().map(|attack| (attack.program, attack.start)))
    {
        let is_tls = WITH_TLS.contains(&program);
        let how = if is_tls { TLS } else { PLAIN };
        match compile(clang, &format!("{program}.c"), &folder.join(program), how) {
            Ok(()) => {
                built.push(program);
                // Writing to a string cannot fail.
                let _ = writeln!(lines, "{program} {}", start.name());
            }
            // Its headers are not needed to build the product.
            Err(why) if is_tls => {
                missing.insert(program, why);
            }
            Err(why) => return Err(Failure::new(why)),
        }
    }
    let list = folder.join("attackers");
    fs::write(&list, lines)
        .map_err(|error| Failure::new(format!("failed to write {}: {error}", list.display())))?;
    Ok(Programs {
        folder: folder.to_owned(),
        built,
        list,
        missing,
    })
}

fn compile(clang: &str, source: &str, program: &Path, how: &[&str]) -> Result<(), String> {
    let output = Command::new(clang)
        .current_dir(sources())
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(program)
        .arg(source)
        .args(how)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("failed to run {clang}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said
        .lines()
        .find(|line| line.contains("error"))
        .unwrap_or_default();
    Err(format!("{source} does not build: {first}"))
}
