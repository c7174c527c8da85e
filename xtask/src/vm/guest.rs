//! Boots a kernel and collects what its checks said.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::apt::Apt;
use super::output_of;
use crate::run;

const QEMU: &str = "qemu-system-x86_64";
/// Version 7.2 takes stock kernels down now and then, in their first seconds.
const OLDEST_QEMU: u32 = 8;
/// A boot and all checks take one to three minutes on two cores.
const TIME_LIMIT: Duration = Duration::from_secs(600);
/// Little, so that what watching takes shows.
const MEMORY_MB: &str = "256";
/// `panic=-1` with `-no-reboot` ends QEMU when the kernel gives up. The kernels' own list of security modules
/// differs; `bpf` is in all of these.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable \
     no_timer_check random.trust_cpu=on lsm=landlock,lockdown,yama,integrity,apparmor,bpf";

/// The one that `init.sh` writes last.
const LAST_SECTION: &str = "during";

/// What a check in the guest said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) text: String,
    pub(super) exit_code: i32,
}

pub(super) type Sections = BTreeMap<String, Section>;

/// Whether there is a QEMU that will do; tries to install one if there is none and we are root.
pub(super) fn qemu(store: &Path) -> Result<(), String> {
    if std::env::consts::ARCH != "x86_64" {
        return Err("the kernels are those of x86-64".to_owned());
    }
    if qemu_version().is_some_and(|version| version >= OLDEST_QEMU) {
        return Ok(());
    }
    if !run::is_root() {
        return Err(format!("needs {QEMU} {OLDEST_QEMU} or newer"));
    }
    let suite = codename()?;
    let backports = format!("{suite}-backports");
    println!("\n==> installing qemu-system-x86 from {backports}");
    Apt::open(store, &[&suite, &backports])
        .and_then(|apt| apt.install("qemu-system-x86", &backports))
        .map_err(|why| format!("needs {QEMU} {OLDEST_QEMU} or newer, which did not install: {why}"))
}

fn qemu_version() -> Option<u32> {
    let said = output_of(Command::new(QEMU).arg("--version")).ok()?;
    version_in(&String::from_utf8_lossy(&said))
}

fn version_in(said: &str) -> Option<u32> {
    let (_, rest) = said.split_once("version ")?;
    rest.split_once('.')?.0.parse().ok()
}

/// Debian's name for its release.
fn codename() -> Result<String, String> {
    fs::read_to_string("/etc/os-release")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .ok_or_else(|| "this is not Debian".to_owned())
}

/// Boots the kernel and returns what the sections say. The console and the sections are left in `folder`.
pub(super) fn boot(kernel: &Path, root: &Path, folder: &Path) -> Result<Sections, String> {
    let written = folder.join("sections");
    let console = folder.join("console");
    let output = File::create(&console)
        .map_err(|error| format!("failed to write {}: {error}", console.display()))?;
    let _ = fs::remove_file(&written);
    let mut command = Command::new(QEMU);
    command
        .args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"])
        .args([
            "-smp",
            "1",
            "-m",
            MEMORY_MB,
            "-nodefaults",
            "-no-user-config",
        ])
        .args(["-display", "none", "-no-reboot", "-append", COMMAND_LINE])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(root)
        .args(["-serial", "stdio", "-serial"])
        .arg(format!("file:{}", written.display()))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::inherit());
    let child = command
        .spawn()
        .map_err(|error| format!("failed to run {QEMU}: {error}"))?;
    let ended = wait(child, TIME_LIMIT);
    let text = fs::read(&written).unwrap_or_default();
    let sections = parse(&String::from_utf8_lossy(&text));
    match ended {
        Ok(status) if status.success() && sections.contains_key(LAST_SECTION) => Ok(sections),
        Ok(status) => Err(format!(
            "the guest ended early ({status}) after {:?}; see {}",
            sections.keys().next_back(),
            console.display()
        )),
        Err(why) => Err(format!("{why}; see {}", console.display())),
    }
}

/// Waits for a process to end, no longer than `limit`.
fn wait(mut child: Child, limit: Duration) -> Result<ExitStatus, String> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if begun.elapsed() < limit => thread::sleep(Duration::from_millis(100)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the guest took more than {} s", limit.as_secs()));
            }
            Err(error) => return Err(format!("failed to wait for the guest: {error}")),
        }
    }
}

/// Reads the sections that `init.sh` writes. One without an end is left out: the guest died in it.
fn parse(text: &str) -> Sections {
    let mut sections = Sections::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines().map(|line| line.trim_end_matches('\r')) {
        if let Some(name) = line.strip_prefix("@@ begin ") {
            open = Some((name.to_owned(), String::new()));
        } else if let Some(code) = line.strip_prefix("@@ end ") {
            if let (Some((name, text)), Ok(exit_code)) = (open.take(), code.parse()) {
                sections.insert(name, Section { text, exit_code });
            }
        } else if let Some((_, text)) = &mut open {
            text.push_str(line);
            text.push('\n');
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_and_one_without_an_end_is_left_out() {
        let text =
            "noise\n@@ begin a\r\none\r\ntwo\r\n@@ end 0\r\n@@ begin b\n@@ end 3\n@@ begin c\ncut";
        let section = |text: &str, exit_code| Section {
            text: text.to_owned(),
            exit_code,
        };
        let expected = [
            ("a".to_owned(), section("one\ntwo\n", 0)),
            ("b".to_owned(), section("", 3)),
        ];
        assert_eq!(parse(text), Sections::from(expected));
    }

    #[test]
    fn versions_are_read() {
        for (said, version) in [
            (
                "QEMU emulator version 10.0.2 (Debian 1:10.0.2)\nCopyright",
                Some(10),
            ),
            ("QEMU emulator version 7.2.18", Some(7)),
            ("something else", None),
        ] {
            assert_eq!(version_in(said), version);
        }
    }
}
