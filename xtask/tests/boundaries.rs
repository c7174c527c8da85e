//! The architecture's boundaries: who may depend on whom, and who may contain unsafe code.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The layers, lowest first. A crate may depend on those of lower layers.
const LAYERS: &[&[&str]] = &[
    &["agentsight-bpf", "agentsight-wire", "agentsight-model"],
    &["agentsight-probe", "agentsight-decode", "agentsight-tls"],
    &["agentsight-session"],
    &[
        "agentsight-policy",
        "agentsight-ledger",
        "agentsight-store",
        "agentsight-export",
    ],
    &["agentsight-server"],
    &["agentsight"],
];

/// Within a layer: the probe asks `tls` where in a file to attach; the store's index is a view of the ledger.
const WITHIN_LAYERS: &[(&str, &str)] = &[
    ("agentsight-probe", "agentsight-tls"),
    ("agentsight-store", "agentsight-ledger"),
    ("agentsight-export", "agentsight-store"),
];

/// Something to watch, for tests and for the demo. It knows the vocabulary and nothing else.
const TESTKIT: &str = "agentsight-testkit";

/// The only crates that may contain unsafe code: the one that speaks to the kernel, and the generated
/// skeleton of the kernel programs.
const UNSAFE: &[&str] = &["agentsight-probe", "agentsight-bpf"];

struct Package {
    folder: PathBuf,
    /// Root files of its libraries and programs.
    roots: Vec<PathBuf>,
    /// Dependencies within the workspace, and whether for tests only.
    dependencies: Vec<(String, bool)>,
}

fn packages() -> BTreeMap<String, Package> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let package = |package: &Value| {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        Package {
            folder: manifest.parent().unwrap().to_owned(),
            roots: list(&package["targets"])
                .iter()
                .filter(|target| {
                    let kinds = list(&target["kind"]);
                    kinds.iter().any(|kind| *kind == "lib" || *kind == "bin")
                })
                .map(|target| PathBuf::from(text(&target["src_path"])))
                .collect(),
            dependencies: list(&package["dependencies"])
                .iter()
                .filter(|dependency| dependency["path"].is_string())
                .map(|dependency| (text(&dependency["name"]), dependency["kind"] == "dev"))
                .collect(),
        }
    };
    let all = list(&metadata["packages"]);
    all.iter()
        .map(|one| (text(&one["name"]), package(one)))
        .collect()
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn may_depend(from: &str, to: &str, for_tests: bool) -> bool {
    match (from, to) {
        ("xtask", _) => false,
        (TESTKIT, to) => to == "agentsight-model",
        (from, TESTKIT) => for_tests || from == "agentsight",
        (from, to) => {
            let lower = layer(from)
                .zip(layer(to))
                .is_some_and(|(from, to)| from > to);
            lower || WITHIN_LAYERS.contains(&(from, to))
        }
    }
}

#[test]
fn crates_depend_on_lower_layers_only() {
    let mut wrong = Vec::new();
    for (name, package) in packages() {
        if name != "xtask" && name != TESTKIT && layer(&name).is_none() {
            wrong.push(format!(
                "{name} is in no layer: add it to LAYERS in {}",
                file!()
            ));
        }
        for (dependency, for_tests) in package.dependencies {
            if !may_depend(&name, &dependency, for_tests) {
                wrong.push(format!("{name} must not depend on {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rules_of_layers_are_what_they_should_be() {
    for (from, to, for_tests, allowed) in [
        ("agentsight-session", "agentsight-decode", false, true),
        ("agentsight-decode", "agentsight-session", false, false),
        ("agentsight-decode", "agentsight-probe", false, false),
        ("agentsight-probe", "agentsight-tls", false, true),
        ("agentsight-tls", "agentsight-probe", false, false),
        ("agentsight-decode", TESTKIT, true, true),
        ("agentsight-decode", TESTKIT, false, false),
        ("agentsight", TESTKIT, false, true),
        (TESTKIT, "agentsight-decode", true, false),
        ("xtask", "agentsight-probe", false, false),
        ("agentsight-model", "agentsight-wire", false, false),
    ] {
        assert_eq!(may_depend(from, to, for_tests), allowed, "{from} -> {to}");
    }
}

#[test]
fn only_probe_and_the_skeleton_contain_unsafe_code() {
    let mut wrong = Vec::new();
    for (name, package) in packages() {
        if UNSAFE.contains(&name.as_str()) {
            continue;
        }
        for root in &package.roots {
            let source = fs::read_to_string(root).unwrap();
            if !source.contains("#![forbid(unsafe_code)]") {
                wrong.push(format!(
                    "{} lacks `#![forbid(unsafe_code)]`",
                    root.display()
                ));
            }
        }
        // The attribute does not reach tests, examples and benchmarks.
        let mut sources = Vec::new();
        rust_sources(&package.folder, &mut sources);
        for path in sources {
            let source = fs::read_to_string(&path).unwrap();
            if contains_unsafe(&source) {
                wrong.push(format!("{} contains unsafe code", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn rust_sources(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_sources(&path, sources);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            sources.push(path);
        }
    }
}

/// Whether a line that is no comment begins something unsafe.
fn contains_unsafe(source: &str) -> bool {
    let starts = ["{", "fn ", "impl ", "trait ", "extern "];
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("unsafe ").skip(1))
        .any(|rest| starts.iter().any(|start| rest.starts_with(start)))
}

#[test]
fn unsafe_code_is_recognised() {
    // Put together, so that this file itself has none.
    let word = ["un", "safe"].concat();
    for (source, expected) in [
        (format!("let x = {word} {{ y() }};"), true),
        (format!("pub {word} fn f()"), true),
        (format!("{word} impl Send for X {{}}"), true),
        (format!("// {word} {{ }}"), false),
        (format!("#![forbid({word}_code)]"), false),
        (format!("nothing {word} here"), false),
    ] {
        assert_eq!(contains_unsafe(&source), expected, "{source}");
    }
}
