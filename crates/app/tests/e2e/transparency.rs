//! The command does not notice that it is watched: streams, terminal, user, environment.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use agentsight_testkit::{Demo, DemoOptions, Owner};
use serde_json::Value;

use crate::support::{Call, NOBODY, PROGRAM, PYTHON, Site};

/// Output with every byte there is, on both streams, without a last line's end.
const BYTES: &str = "\
import os, sys
data = sys.stdin.buffer.read()
os.write(1, bytes(range(256)) * 5000)
os.write(2, b'\\xff\\x00errors\\x1b[0m' * 100)
os.write(1, data[::-1])
";

#[test]
#[ignore = "needs root"]
fn streams_are_the_commands_own() {
    let site = Site::new();
    let input: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let plain = Call::new(PYTHON)
        .args(["-c", BYTES])
        .input(&input)
        .end()
        .ok();
    let watched = site.run([PYTHON, "-c", BYTES]).input(&input).end().ok();
    assert!(plain.stdout == watched.stdout);
    assert_eq!(plain.stderr, watched.stderr);
    assert_eq!(plain.stdout.len(), 256 * 5000 + input.len());
    site.recorded();
}

#[test]
#[ignore = "needs root"]
fn a_reader_that_goes_away_ends_the_command_as_it_would_without_us() {
    let site = Site::new();
    let script = r#"("$0" "$@"; echo "ended $?" >&2) | head -c 10"#;
    let ended = Call::new("/bin/sh")
        .args(["-c", script, PROGRAM, "run", "--quiet", "--", "yes"])
        .env("AGENTSIGHT_STORE", site.store())
        .end()
        .ok();
    assert_eq!(ended.text(), "y\ny\ny\ny\ny\n");
    assert_eq!(ended.stderr.trim(), "ended 141");
}

#[test]
#[ignore = "needs root"]
fn the_report_goes_to_standard_error_and_the_document_where_it_is_wanted() {
    let site = Site::new();
    let report = site.agentsight(["run", "--", "echo", "output"]).end().ok();
    assert_eq!(report.text(), "output\n");
    assert!(report.stderr.contains("exit 0"), "{}", report.stderr);
    assert!(report.stderr.contains("Coverage"), "{}", report.stderr);
    assert!(
        !report.stderr.contains('\x1b'),
        "colours without a terminal"
    );

    let site = Site::new();
    let file = site.path("session.json");
    site.agentsight(["run", "--json"])
        .args([&file])
        .args(["--", "true"])
        .end()
        .ok();
    let written: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let shown: Value = serde_json::from_str(&site.recorded().json).unwrap();
    assert_eq!(
        written, shown,
        "what is written at the end is what `show` says later"
    );

    let site = Site::new();
    let ended = site
        .agentsight(["run", "--quiet", "--json", "-", "--", "echo", "output"])
        .end()
        .ok();
    let document = ended.text().strip_prefix("output\n").unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    assert_eq!(document["session"]["exit_code"], 0);
    assert_eq!(ended.stderr, "");
}

#[test]
#[ignore = "needs root"]
fn a_document_that_cannot_be_written_is_told_before_anything_happens() {
    let site = Site::new();
    let mark = site.path("mark");
    let ended = site
        .agentsight(["run", "--json", "/nonexistent/file", "--", "touch"])
        .args([&mark])
        .end()
        .with_code(1);
    assert!(
        ended.stderr.contains("/nonexistent/file"),
        "{}",
        ended.stderr
    );
    assert!(!mark.exists(), "the command ran");
}

#[test]
#[ignore = "needs root"]
fn the_command_cannot_redirect_the_document() {
    let site = Site::new();
    let (file, precious) = (site.path("out.json"), site.path("precious"));
    fs::write(
        &file,
        "longer than nothing, and not what comes. ".repeat(10_000),
    )
    .unwrap();
    fs::write(&precious, "precious").unwrap();
    site.agentsight(["run", "--quiet", "--json"])
        .args([&file])
        .args([
            "--",
            "/bin/sh",
            "-c",
            r#"mv "$0" "$0.old"; ln -s "$1" "$0""#,
        ])
        .args([&file, &precious])
        .end()
        .ok();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    let written = fs::read(site.path("out.json.old")).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(written["session"]["status"], "ended");
}

/// Says what the terminal, the process group and the session are like.
const TERMINAL: &str = "\
import json, os, sys
fd = os.open('/dev/tty', os.O_RDWR)
print(json.dumps({
    'foreground': os.tcgetpgrp(fd) == os.getpgrp(),
    'terminals': [os.isatty(n) for n in range(3)],
    'size': list(os.get_terminal_size(0)),
    'answer': input('question: '),
}))
";

/// Runs its arguments on a terminal of their own, types a line, and hands on the output and exit code.
const ON_A_TERMINAL: &str = "\
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 77, 0, 0))
output, typed = b'', False
while True:
    try:
        piece = os.read(fd, 4096)
    except OSError:
        break
    if not piece:
        break
    output += piece
    if not typed and (b'question: ' in output or b'ready' in output):
        typed = True
        os.write(fd, sys.stdin.buffer.read())
os.write(1, output)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255)
";

#[test]
#[ignore = "needs root"]
fn the_terminal_is_the_commands_own() {
    let site = Site::new();
    let ended = site.agentsight(["--version"]).end().ok();
    assert!(ended.text().starts_with("agentsight "));
    let ended = Call::new(PYTHON)
        .args([
            "-c",
            ON_A_TERMINAL,
            PROGRAM,
            "run",
            "--",
            PYTHON,
            "-c",
            TERMINAL,
        ])
        .env("AGENTSIGHT_STORE", site.store())
        .env("TERM", "xterm")
        .input(b"typed\n")
        .end()
        .ok();
    let output = ended.text();
    let line = output.lines().find(|line| line.starts_with('{')).unwrap();
    let seen: Value = serde_json::from_str(line).unwrap();
    assert_eq!(seen["foreground"], true);
    assert_eq!(seen["terminals"], Value::from(vec![true; 3]));
    assert_eq!(seen["size"], Value::from(vec![77, 33]));
    assert_eq!(seen["answer"], "typed");
    let report = output.split_once(line).unwrap().1;
    assert!(report.contains("\x1b["), "no colours on a terminal");
    for row in report.lines() {
        assert!(shown_columns(row) <= 77, "{row:?} is too wide");
    }
    site.recorded();
}

/// Columns of a line, without its colours.
fn shown_columns(row: &str) -> usize {
    let mut columns = 0;
    let mut in_colour = false;
    for character in row.trim_end().chars() {
        in_colour |= character == '\x1b';
        columns += usize::from(!in_colour);
        in_colour &= character != 'm';
    }
    columns
}

#[test]
#[ignore = "needs root"]
fn ctrl_c_on_the_terminal_goes_to_the_command_once() {
    let site = Site::new();
    let script = "\
import signal, sys, time
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
print('ready', flush=True)
deadline = time.monotonic() + 1.5
while time.monotonic() < deadline:
    time.sleep(0.01)
print('got', len(got))
sys.exit(9)
";
    let ended = Call::new(PYTHON)
        .args([
            "-c",
            ON_A_TERMINAL,
            PROGRAM,
            "run",
            "--quiet",
            "--",
            PYTHON,
            "-c",
            script,
        ])
        .env("AGENTSIGHT_STORE", site.store())
        .input(b"\x03")
        .end()
        .with_code(9);
    assert!(ended.text().contains("got 1"), "{}", ended.text());
    assert_eq!(site.recorded().document.session.exit_code, Some(9));
}

#[test]
#[ignore = "needs root"]
fn the_environment_is_unchanged() {
    let variables = |text: &[u8]| -> BTreeMap<String, String> {
        text.split(|&byte| byte == 0)
            .filter_map(|entry| {
                let entry = String::from_utf8(entry.to_vec()).unwrap();
                let (name, value) = entry.split_once('=')?;
                Some((name.to_owned(), value.to_owned()))
            })
            .collect()
    };
    let site = Site::new();
    let given = |call: Call| {
        call.env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("A", "b=c\nd")
    };
    let plain = given(Call::new("/usr/bin/env")).args(["-0"]).end().ok();
    let watched = given(site.agentsight(["run", "--quiet", "--store"]))
        .args([site.store()])
        .args(["--", "/usr/bin/env", "-0"])
        .end()
        .ok();
    assert_eq!(variables(&plain.stdout), variables(&watched.stdout));
}

/// Descriptors, signal mask, limits and the like, as the command sees them.
const STATE: &str = "\
import json, os, resource, signal
def target(n):
    try:
        return os.path.basename(os.readlink(f'/proc/self/fd/{n}'))
    except OSError:
        return None
print(json.dumps({
    'descriptors': [n for n in range(3, 64) if target(n) and n != os.open('/', 0)],
    'blocked': sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    'files': resource.getrlimit(resource.RLIMIT_NOFILE),
    'memlock': resource.getrlimit(resource.RLIMIT_MEMLOCK),
    'nice': os.nice(0),
    'umask': os.umask(0),
    'cwd': os.getcwd(),
    'session is its own': os.getsid(0) == os.getpid(),
    'oom': open('/proc/self/oom_score_adj').read(),
}))
";

#[test]
#[ignore = "needs root"]
fn descriptors_limits_and_the_like_are_unchanged() {
    let site = Site::new();
    let plain = Call::new(PYTHON)
        .args(["-c", STATE])
        .cwd(site.work())
        .end()
        .ok();
    let watched = site.run([PYTHON, "-c", STATE]).end().ok();
    assert_eq!(watched.text(), plain.text());
}

#[test]
#[ignore = "needs root"]
fn the_priority_is_unchanged() {
    // Ours is another one: what we read too late is lost.
    let site = Site::new();
    let plain = Call::new("/bin/sh")
        .args(["-c", "nice; nice -n 3 nice"])
        .end()
        .ok();
    let watched = site.run_script("nice; nice -n 3 nice").end().ok();
    assert_eq!(watched.text(), plain.text());
}

#[test]
#[ignore = "needs root"]
fn the_command_runs_as_the_user_who_called_sudo() {
    let site = Site::new();
    fs::set_permissions(site.work(), fs::Permissions::from_mode(0o777)).unwrap();
    let script = "id -u; id -g; id -G; echo $HOME; echo $USER; echo $LOGNAME; umask; \
                  grep -E '^Cap(Eff|Prm)' /proc/self/status; touch made; cat /etc/shadow";
    let ended = site
        .run_script(script)
        .env("SUDO_UID", NOBODY.to_string())
        .env("SUDO_GID", NOBODY.to_string())
        .env("HOME", "/root")
        .env("OTHER", "kept")
        .end()
        .with_code(1);
    let expected = Call::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--init-groups", "--"])
        .args(["/bin/sh", "-c", "id -u; id -g; id -G"])
        .end()
        .ok();
    let lines: Vec<&str> = ended.text().lines().collect();
    assert_eq!(lines[..3].join("\n"), expected.text().trim_end());
    assert_eq!(lines[3..6], ["/nonexistent", "nobody", "nobody"]);
    assert_eq!(
        lines[7..9],
        ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000"]
    );
    let made = fs::metadata(site.path("work/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (NOBODY, NOBODY));
    // The record stays with root.
    let store = fs::metadata(site.store()).unwrap();
    assert_eq!((store.uid(), store.mode() & 0o777), (0, 0o700));

    let session = site.recorded();
    assert_eq!(session.document.session.user, "nobody");
    assert!(
        session
            .document
            .processes
            .iter()
            .all(|process| process.uid == NOBODY)
    );
}

#[test]
#[ignore = "needs root"]
fn a_caller_who_is_not_known_is_not_taken_for_root() {
    for uid in ["54321", "x", "-1", ""] {
        let site = Site::new();
        let ended = site
            .run_script("touch made")
            .env("SUDO_UID", uid)
            .end()
            .with_code(1);
        assert!(ended.stderr.contains("SUDO_UID"), "{}", ended.stderr);
        assert!(!site.path("work/made").exists());
    }
}

#[test]
#[ignore = "needs root"]
fn an_agent_of_another_user_is_seen_as_well() {
    let options = DemoOptions {
        owner: Some(Owner {
            uid: NOBODY,
            gid: NOBODY,
        }),
        ..DemoOptions::default()
    };
    let demo = Demo::start(&options).unwrap();
    let site = Site::new();
    site.run(demo.command())
        .cwd(demo.workspace())
        .env("SUDO_UID", NOBODY.to_string())
        .end()
        .ok();
    let session = site.recorded();
    session.assert_nothing_dropped();
    assert_eq!(
        session.document.llm_calls.len(),
        demo.server().truth().len()
    );
    assert!(session.document.llm_calls.iter().all(|call| call.complete));
}
