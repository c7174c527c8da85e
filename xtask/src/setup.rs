//! What a build needs of the machine: looks for it, and installs what is missing with apt-get.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::run;

/// The oldest clang that compiles the kernel programs.
const OLDEST_CLANG: u32 = 15;

/// clang by name, best first. The order is that of `crates/bpf/build.rs`.
const CLANGS: [&str; 8] = [
    "clang-19", "clang-20", "clang-21", "clang-18", "clang-17", "clang-16", "clang-15", "clang",
];

/// Something that a build needs.
struct Need {
    /// What it is and what it is for.
    what: &'static str,
    /// Debian packages, the first that the distribution has is installed.
    packages: &'static [&'static str],
    is_there: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need {
        what: "a C compiler and make (libbpf, SQLite, zstd)",
        packages: &["build-essential"],
        is_there: || run::works("cc", "--version") && run::works("make", "--version"),
    },
    Need {
        what: "pkg-config (finds libelf)",
        packages: &["pkg-config"],
        is_there: || run::works("pkg-config", "--version"),
    },
    Need {
        what: "libelf to build with (libbpf)",
        packages: &["libelf-dev"],
        is_there: || library_is_there("libelf.h", "libelf.a"),
    },
    Need {
        what: "zlib to build with (libbpf)",
        packages: &["zlib1g-dev"],
        is_there: || library_is_there("zlib.h", "libz.a"),
    },
    Need {
        what: "clang, 15 or newer (compiles the kernel programs)",
        packages: &CLANGS,
        is_there: || clang().is_some(),
    },
    Need {
        what: "Python 3 with ssl (the demo's agent, tests)",
        packages: &["python3"],
        is_there: python_is_there,
    },
    Need {
        what: "certificates of the public authorities (cargo's downloads)",
        packages: &["ca-certificates"],
        is_there: || {
            [
                "/etc/ssl/certs/ca-certificates.crt",
                "/etc/pki/tls/certs/ca-bundle.crt",
            ]
            .iter()
            .any(|path| Path::new(path).exists())
        },
    },
];

/// How much to say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// Everything that was looked for.
    Everything,
    /// Only what is missing.
    Missing,
}

/// Makes sure that everything is there that a build needs.
pub(crate) fn run(report: Report) -> Result<(), Failure> {
    let missing: Vec<&Need> = NEEDS
        .iter()
        .filter(|need| {
            let is_there = (need.is_there)();
            if report == Report::Everything || !is_there {
                let mark = if is_there { "found  " } else { "missing" };
                println!("setup: {mark} {}", need.what);
            }
            !is_there
        })
        .collect();
    if missing.is_empty() {
        println!("setup: everything is there, nothing to install");
        return Ok(());
    }
    install(&missing)?;
    let still: Vec<&str> = missing
        .iter()
        .filter(|need| !(need.is_there)())
        .map(|need| need.what)
        .collect();
    if still.is_empty() {
        println!("setup: everything is there now");
        return Ok(());
    }
    Err(Failure::new(format!(
        "still missing after the installation: {}",
        still.join("; ")
    )))
}

fn install(missing: &[&Need]) -> Result<(), Failure> {
    let preferred: Vec<&str> = missing
        .iter()
        .filter_map(|need| need.packages.first().copied())
        .collect();
    if !run::works("apt-get", "--version") {
        return Err(
            Failure::new("there is no apt-get here to install with").hint(format!(
                "install these, or what they are called in your distribution: {}",
                preferred.join(" ")
            )),
        );
    }
    let apt = Apt::find().ok_or_else(|| {
        Failure::privilege("installing takes root, and there is no sudo").hint(format!(
            "run as root: apt-get update && apt-get install -y {}",
            preferred.join(" ")
        ))
    })?;
    println!(
        "setup: installs with {}apt-get, after an update of its lists: {}",
        if apt.with_sudo { "sudo " } else { "" },
        preferred.join(" ")
    );
    run::step(apt.command().args(["update", "--quiet"]))?;
    let packages: Vec<&str> = missing
        .iter()
        .map(|need| available(need.packages))
        .collect::<Result<_, _>>()?;
    if packages != preferred {
        println!("setup: this distribution has: {}", packages.join(" "));
    }
    run::step(
        apt.command()
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(&packages),
    )
}

struct Apt {
    with_sudo: bool,
}

impl Apt {
    fn find() -> Option<Self> {
        let with_sudo = !run::is_root();
        (!with_sudo || run::works("sudo", "--version")).then_some(Self { with_sudo })
    }

    fn command(&self) -> Command {
        if self.with_sudo {
            let mut command = Command::new("sudo");
            command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            command
        } else {
            let mut command = Command::new("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command
        }
    }
}

/// The first of these packages that the distribution has, in a version that will do.
fn available(packages: &'static [&'static str]) -> Result<&'static str, Failure> {
    packages
        .iter()
        .copied()
        .find(|package| {
            let shown = Command::new("apt-cache")
                .args(["show", "--no-all-versions", package])
                .stderr(Stdio::null())
                .output();
            shown.is_ok_and(|output| {
                let text = String::from_utf8_lossy(&output.stdout);
                output.status.success()
                    && (*package != "clang" || version_of(&text).is_some_and(is_new_enough))
            })
        })
        .ok_or_else(|| {
            Failure::new(format!(
                "this distribution has none of: {}",
                packages.join(" ")
            ))
        })
}

/// The major version that `apt-cache show` names, its epoch aside.
fn version_of(shown: &str) -> Option<u32> {
    let version = shown
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))?;
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    major(upstream)
}

/// The number that a text begins with.
fn major(text: &str) -> Option<u32> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

fn is_new_enough(version: u32) -> bool {
    version >= OLDEST_CLANG
}

/// The clang that the build of the kernel programs will take, if it is new enough.
fn clang() -> Option<String> {
    if let Ok(named) = std::env::var("BPF_CLANG") {
        return clang_version(&named)
            .filter(|&version| is_new_enough(version))
            .map(|_| named);
    }
    let (name, version) = CLANGS
        .iter()
        .find_map(|name| clang_version(name).map(|version| (name, version)))?;
    is_new_enough(version).then(|| (*name).to_owned())
}

fn clang_version(program: &str) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    parse_clang_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_clang_version(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("clang version ")?;
    major(rest)
}

fn library_is_there(header: &str, archive: &str) -> bool {
    let has_header = Path::new("/usr/include").join(header).exists();
    has_header
        && library_folders()
            .iter()
            .any(|folder| Path::new(folder).join(archive).exists())
}

/// Where distributions keep libraries: `/usr/lib64`, or a folder per architecture.
fn library_folders() -> Vec<String> {
    let mut folders = vec!["/usr/lib".to_owned(), "/usr/lib64".to_owned()];
    let entries = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders.extend(
        entries
            .map(|entry| entry.path().to_string_lossy().into_owned())
            .filter(|path| path.ends_with("-linux-gnu")),
    );
    folders
}

fn python_is_there() -> bool {
    Command::new("python3")
        .args(["-c", "import ssl"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (text, version) in [
            (
                "Debian clang version 19.1.7 (3~deb12u1)\nTarget: x86_64",
                Some(19),
            ),
            ("clang version 14.0.6", Some(14)),
            ("Ubuntu clang version 15.0.7", Some(15)),
            ("gcc 12", None),
            ("clang version x", None),
            ("", None),
        ] {
            assert_eq!(parse_clang_version(text), version, "{text:?}");
        }
        assert_eq!(
            version_of("Package: clang\nVersion: 1:14.0-55.7~deb12u1\n"),
            Some(14)
        );
        assert_eq!(version_of("Package: clang\nVersion: 18\n"), Some(18));
        assert_eq!(version_of("Package: clang\n"), None);
    }

    #[test]
    fn the_build_of_the_kernel_programs_looks_for_the_same_compilers() {
        let build = fs::read_to_string(run::root().join("crates/bpf/build.rs")).unwrap();
        let list = build.split_once("CLANGS").unwrap().1;
        let list = list
            .split_once("= &[")
            .unwrap()
            .1
            .split_once(']')
            .unwrap()
            .0;
        let theirs: Vec<&str> = list
            .split(',')
            .map(|word| word.trim().trim_matches('"'))
            .filter(|word| !word.is_empty())
            .collect();
        assert_eq!(theirs, CLANGS);
    }
}
