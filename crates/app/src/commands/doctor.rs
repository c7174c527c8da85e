//! `agentsight doctor`: what this machine offers, and what that means.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use agentsight_probe::{Capabilities, ProbeError, Sensor};
use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::failure::{FAILURE, KERNEL, PRIVILEGE};
use crate::terminal;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    /// `ok`, `limited` (something works less well) or `failed` (nothing works).
    state: &'static str,
    found: String,
    /// What it means, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
}

impl Check {
    fn new(name: &'static str, state: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            state,
            found: found.into(),
            meaning: None,
        }
    }

    fn meaning(mut self, meaning: impl Into<String>) -> Self {
        self.meaning = Some(meaning.into());
        self
    }
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    agentsight: &'static str,
    kernel: String,
    machine: &'static str,
    checks: Vec<Check>,
}

pub(crate) fn run(arguments: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let (checks, code) = examine(&arguments.store.store);
    let diagnosis = Diagnosis {
        agentsight: env!("CARGO_PKG_VERSION"),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .map(|release| release.trim().to_owned())
            .unwrap_or_default(),
        machine: std::env::consts::ARCH,
        checks,
    };
    let text = if arguments.json {
        serde_json::to_string_pretty(&diagnosis)? + "\n"
    } else {
        render(&diagnosis)
    };
    terminal::print(&text)?;
    Ok(code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

fn examine(store: &Path) -> (Vec<Check>, Option<u8>) {
    let mut checks = vec![type_information()];
    let code = match Capabilities::detect() {
        Ok(capabilities) => {
            checks.push(Check::new(
                "privilege",
                "ok",
                "root, or the capabilities that are needed",
            ));
            checks.extend(features(capabilities));
            examine_sensor(&mut checks)
        }
        Err(error @ ProbeError::Privilege { .. }) => {
            checks.push(
                Check::new("privilege", "failed", error.to_string())
                    .meaning("run `sudo agentsight doctor` to see what the kernel allows"),
            );
            Some(PRIVILEGE)
        }
        Err(error) => {
            checks.push(Check::new("kernel", "failed", error.to_string()));
            Some(KERNEL)
        }
    };
    checks.push(store_check(store));
    (checks, code)
}

fn type_information() -> Check {
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        Check::new("type information", "ok", "/sys/kernel/btf/vmlinux")
    } else {
        Check::new(
            "type information",
            "failed",
            "/sys/kernel/btf/vmlinux is missing",
        )
        .meaning("the programs cannot be fitted to this kernel; it needs CONFIG_DEBUG_INFO_BTF")
    }
}

fn features(capabilities: Capabilities) -> Vec<Check> {
    let choose = |name, present: bool, found: &str, meaning: &str| {
        if present {
            Check::new(name, "ok", found)
        } else {
            Check::new(name, "limited", "not available").meaning(meaning)
        }
    };
    vec![
        choose(
            "uprobe_multi",
            capabilities.uprobe_multi,
            "one link for all functions of a file (Linux 6.6)",
            "each TLS function takes a perf event of its own: attaching is slower, capture is the same",
        ),
        choose(
            "attach cookies",
            capabilities.attach_cookie,
            "TLS functions of any shape (Linux 5.15)",
            "only TLS of the OpenSSL family is read; Go, rustls, GnuTLS and NSS are said to be dark",
        ),
        choose(
            "bpf lsm",
            capabilities.bpf_lsm,
            "programs may refuse acts",
            "this kernel's list of security modules has no `bpf`; watching does not need it",
        ),
    ]
}

/// Loads the programs, as that is the only proof that they load.
fn examine_sensor(checks: &mut Vec<Check>) -> Option<u8> {
    match Sensor::load() {
        Ok(sensor) => {
            checks.push(Check::new(
                "kernel programs",
                "ok",
                "loaded and attached, and removed again",
            ));
            let mut images: Vec<String> = sensor
                .attached_images()
                .map(|image| format!("{} ({})", image.path.display(), image.stacks.join(", ")))
                .collect();
            images.sort();
            checks.push(if images.is_empty() {
                Check::new(
                    "tls libraries",
                    "limited",
                    "no shared TLS library in the usual places",
                )
                .meaning("programs that bring their own are found when they start")
            } else {
                Check::new("tls libraries", "ok", images.join("; "))
            });
            None
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            checks.push(Check::new(
                "kernel programs",
                "failed",
                format!("{error:#}"),
            ));
            Some(FAILURE)
        }
    }
}

fn store_check(store: &Path) -> Check {
    let found = store.display().to_string();
    match std::fs::metadata(store) {
        Ok(_) => Check::new("store", "ok", found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::new("store", "ok", format!("{found} (is made by the first run)"))
        }
        Err(error) => Check::new("store", "limited", format!("{found}: {error}")),
    }
}

fn render(diagnosis: &Diagnosis) -> String {
    let colour = terminal::stdout_colour();
    let mut text = format!(
        "agentsight {} on Linux {} ({})\n\n",
        diagnosis.agentsight, diagnosis.kernel, diagnosis.machine
    );
    let width = diagnosis
        .checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or(0);
    for check in &diagnosis.checks {
        let (mark, code) = match check.state {
            "ok" => ("ok", "32"),
            "limited" => ("--", "33"),
            _ => ("no", "31"),
        };
        let mark = if colour {
            format!("\x1b[{code}m{mark}\x1b[0m")
        } else {
            mark.to_owned()
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {mark}  {:width$}  {}",
            check.name,
            crate::report::sanitize(&check.found)
        );
        if let Some(meaning) = &check.meaning {
            let _ = writeln!(text, "      {:width$}  {meaning}", "");
        }
    }
    text
}
