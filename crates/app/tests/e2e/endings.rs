//! Exit codes, signals, and an end that nobody was asked about.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Call, NOBODY, PROGRAM, PYTHON, Site};

#[test]
#[ignore = "needs root"]
fn the_exit_code_is_the_commands() {
    for code in [0, 1, 2, 3, 7, 126, 127, 128, 255] {
        let site = Site::new();
        let ended = site
            .run_script(&format!("exit {code}"))
            .end()
            .with_code(code);
        assert_eq!(ended.stderr, "");
        let session = site.recorded().document.session;
        assert_eq!((session.exit_code, session.signal), (Some(code), None));
    }
}

#[test]
#[ignore = "needs root"]
fn a_command_that_a_signal_ends_ends_us_with_128_more() {
    for signal in [
        Signal::SIGKILL,
        Signal::SIGTERM,
        Signal::SIGSEGV,
        Signal::SIGPIPE,
        Signal::SIGINT,
    ] {
        let site = Site::new();
        let number = signal as i32;
        site.run_script(&format!("kill -{number} $$; sleep 9"))
            .end()
            .with_code(128 + number);
        let recorded = site.recorded();
        assert_eq!(recorded.document.session.exit_code, None);
        assert_eq!(recorded.document.session.signal, Some(number));
        assert_eq!(recorded.document.processes[0].signal, Some(number));
    }
}

#[test]
#[ignore = "needs root"]
fn a_command_that_cannot_be_run_is_told_as_shells_tell_it() {
    let site = Site::new();
    let file = site.path("no-program");
    fs::write(&file, "not executable").unwrap();
    let pipe = site.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (command, code) in [
        (OsStr::new("/nonexistent/program"), 127),
        (OsStr::new("agentsight-no-such-command"), 127),
        (OsStr::from_bytes(b"no\xff\x1b[31msuch"), 127),
        (OsStr::new(""), 127),
        (file.as_os_str(), 126),
        (site.work().as_os_str(), 126),
        (pipe.as_os_str(), 126),
    ] {
        let ended = site.run([command]).end().with_code(code);
        assert!(
            ended.stderr.starts_with("error: failed to run `"),
            "{}",
            ended.stderr
        );
        assert!(!ended.stderr.contains('\x1b'), "{}", ended.stderr);
        assert!(ended.stdout.is_empty());
    }
}

#[test]
#[ignore = "needs root"]
fn without_privilege_it_says_so_and_does_nothing() {
    let site = Site::new();
    // The build folder may be closed to others.
    let program = site.path("agentsight");
    fs::copy(PROGRAM, &program).unwrap();
    let mark = site.path("work/mark");
    fs::set_permissions(site.work(), fs::Permissions::from_mode(0o777)).unwrap();
    let as_nobody = |arguments: &[&str]| {
        Call::new("setpriv")
            .args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}")])
            .args(["--clear-groups", "--"])
            .args([&program])
            .args(arguments)
            .env("AGENTSIGHT_STORE", site.path("work/store"))
            .end()
    };
    for command in [
        &["run", "--", "touch", mark.to_str().unwrap()][..],
        &["attach", "--pid", "1"],
        &["demo"],
    ] {
        let ended = as_nobody(command).with_code(3);
        assert!(ended.stderr.contains("needs root"), "{}", ended.stderr);
        assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    }
    assert!(!mark.exists(), "the command ran unwatched");
    let ended = as_nobody(&["doctor"]).with_code(3);
    assert!(ended.text().contains("sudo"), "{}", ended.text());

    // A store of root's, which nobody else may read.
    site.run(["true"]).end().ok();
    for command in [&["sessions"][..], &["show"], &["events"], &["verify"]] {
        let ended = Call::new("setpriv")
            .args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}")])
            .args(["--clear-groups", "--"])
            .args([&program])
            .args(command)
            .env("AGENTSIGHT_STORE", site.store())
            .end()
            .with_code(3);
        assert!(
            ended.stderr.contains("hint: "),
            "{command:?}: {}",
            ended.stderr
        );
    }
}

/// Prints the name of each signal that it gets, and ends with the last.
const TRAPS: &str = "\
import os, signal, sys, time
got = []
def note(number, _):
    got.append(signal.Signals(number).name)
    print('got', got[-1], flush=True)
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), note)
print('ready', flush=True)
while len(got) < len(sys.argv) - 1:
    time.sleep(0.01)
sys.exit(42)
";

#[test]
#[ignore = "needs root"]
fn signals_that_are_sent_to_us_reach_the_command() {
    let signals = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ];
    let site = Site::new();
    let mut going = site
        .run([PYTHON, "-c", TRAPS])
        .args(signals.map(Signal::as_str))
        .start();
    going.wait_for("ready");
    for signal in signals {
        going.signal(signal);
        going.wait_for(&format!("got {}", signal.as_str()));
    }
    going.end().with_code(42);
    assert_eq!(site.recorded().document.session.exit_code, Some(42));
}

#[test]
#[ignore = "needs root"]
fn a_command_that_does_not_mind_the_signal_is_ended_by_it() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let site = Site::new();
        let mut going = site.run_script("echo ready; exec sleep 30").start();
        going.wait_for("ready");
        going.wait_until("sleep runs", |_| runs(&site, "sleep"));
        going.signal(signal);
        going.end().with_code(128 + signal as i32);
        assert_eq!(site.recorded().document.session.signal, Some(signal as i32));
    }
}

/// Whether the ledger has, by now, a program of this name.
fn runs(site: &Site, name: &str) -> bool {
    site.agentsight(["events", "--kind", "process.exec"])
        .end()
        .text()
        .contains(&format!("/{name}\""))
}

/// Works on for two seconds after it is told that its watcher is gone.
const SURVIVOR: &str = "\
import os, subprocess, sys, time
folder = sys.argv[1]
open(f'{folder}/before', 'w').close()
subprocess.run(['/bin/true'])
print('ready', flush=True)
while not os.path.exists(f'{folder}/killed'):
    time.sleep(0.02)
for n in range(20):
    subprocess.run(['/bin/true'], check=True)
    time.sleep(0.02)
with open(f'{folder}/after', 'w') as file:
    file.write('whole')
";

fn kill_in_the_middle(site: &Site) {
    let mut going = site
        .run([PYTHON, "-c", SURVIVOR])
        .args([site.work()])
        .start();
    going.wait_for("ready");
    // What was written a quarter of a second ago is with the reader, and every second on the disk.
    going.wait_until("the ledger has it", |_| runs(site, "true"));
    going.signal(Signal::SIGKILL);
    let ended = going.end();
    assert_eq!(ended.code(), 128 + 9);
    fs::write(site.path("work/killed"), "").unwrap();
    wait_for_content(&site.path("work/after"), "whole");
}

fn wait_for_content(path: &Path, content: &str) {
    let begun = Instant::now();
    while fs::read_to_string(path).unwrap_or_default() != content {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{} is not written",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs root"]
fn the_agent_and_the_record_survive_a_killed_watcher() {
    let site = Site::new();
    kill_in_the_middle(&site);

    let verified = site.agentsight(["verify"]).end().ok();
    assert!(
        verified.text().contains("intact up to its last flush"),
        "{}",
        verified.text()
    );
    let session = site.recorded_in_part();
    assert_eq!(session.document.session.status, "interrupted");
    assert_eq!(session.document.session.exit_code, None);
    assert_eq!(session.execs(&["/bin/true"]).len(), 1);
    assert!(
        !session
            .on_file("file.create", &site.path("work/before"))
            .is_empty()
    );

    // The index is a view: it is made again where it is missing, stale or no database.
    for spoil in [
        (|index: &Path| fs::remove_file(index).unwrap()) as fn(&Path),
        |index| fs::write(index, "no database").unwrap(),
        |index| fs::write(index, "").unwrap(),
    ] {
        for companion in ["index.sqlite-wal", "index.sqlite-shm"] {
            let _ = fs::remove_file(site.store().join(companion));
        }
        let index = site.store().join("index.sqlite");
        if index.exists() {
            spoil(&index);
        }
        let listed = site.agentsight(["sessions", "--json"]).end().ok();
        let listed: serde_json::Value = serde_json::from_str(listed.text()).unwrap();
        assert_eq!(listed[0]["status"], "interrupted", "{listed}");
        assert_eq!(listed[0]["processes"], session.document.processes.len());
        assert_eq!(listed.as_array().unwrap().len(), 1);
        let again = site.recorded_in_part();
        assert_eq!(again.json, session.json);
    }

    // The next session is not troubled by it.
    site.run(["true"]).end().ok();
    let listed = site.agentsight(["sessions", "--json"]).end().ok();
    let listed: serde_json::Value = serde_json::from_str(listed.text()).unwrap();
    assert_eq!(listed[0]["status"], "ended");
    assert_eq!(listed[1]["status"], "interrupted");
    site.agentsight(["verify"]).end().ok();
}

/// Whether SIGHUP is ignored by the process whose `/proc/self/status` this is.
fn hangup_is_ignored(status: &str) -> bool {
    let ignored = status.trim().strip_prefix("SigIgn:").unwrap().trim();
    u64::from_str_radix(ignored, 16).unwrap() & 1 == 1
}

#[test]
#[ignore = "needs root"]
fn what_is_ignored_stays_ignored() {
    // As `nohup` does it: what is ignored is so in what is started, too.
    for (trap, expected) in [("trap '' HUP; ", true), ("", false)] {
        let script = format!("{trap}exec \"$0\" run --quiet -- grep SigIgn /proc/self/status");
        let ended = Call::new("/bin/sh")
            .args(["-c", &script, PROGRAM])
            .env("AGENTSIGHT_STORE", Site::new().store())
            .end()
            .ok();
        assert_eq!(hangup_is_ignored(ended.text()), expected);
    }
}

#[test]
#[ignore = "needs root"]
fn a_running_session_is_known_as_such() {
    let site = Site::new();
    let mut going = site.run_script("echo ready; sleep 1.5; exit 5").start();
    going.wait_for("ready");
    going.wait_until("the shell is in the ledger", |_| {
        runs(&site, "dash") || runs(&site, "sh")
    });
    let listed = site.agentsight(["sessions"]).end().ok();
    assert!(listed.text().contains("running"), "{}", listed.text());
    let shown = site.agentsight(["show"]).end().ok();
    assert!(shown.stderr.is_empty(), "{}", shown.stderr);
    let verified = site.agentsight(["verify"]).end().ok();
    assert!(
        verified.text().contains("being written"),
        "{}",
        verified.text()
    );
    going.end().with_code(5);
    assert_eq!(site.recorded().document.session.status, "ended");
}
