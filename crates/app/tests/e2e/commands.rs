//! The other ways to look: `attach`, `events`, `--no-content`, `show`, `sessions`, `demo`, `doctor`.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agentsight_testkit::{Demo, DemoOptions, Script, ToolRequest, Turn};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{PYTHON, Site, texts};

/// Ends with the test, whatever becomes of it.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a child that stays as long as itself, and then one a round, each with a file of its own.
const LOOP: &str = "\
import os, subprocess, sys, time
folder = sys.argv[1]
until = f'[ -d /proc/{os.getpid()} ]'
subprocess.Popen(['/bin/sh', '-c', f'while {until}; do /bin/true old; sleep 0.05; done'])
print('going', flush=True)
n = 0
while True:
    n += 1
    subprocess.run(['/bin/sh', '-c', f'echo {n} > {folder}/made-{n % 5}'], check=True)
    time.sleep(0.02)
";

#[test]
#[ignore = "needs root"]
fn a_running_tree_is_watched_from_then_on() {
    let site = Site::new();
    let mut child = Command::new(PYTHON)
        .args(["-c", LOOP])
        .arg(site.work())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let watched = Guard(child);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    std::thread::sleep(Duration::from_millis(200));

    let pid = watched.0.id();
    let mut going = site
        .agentsight(["attach", "--quiet", "--pid", &pid.to_string()])
        .start();
    going.wait_until("a round was recorded", |_| {
        let events = site.agentsight(["events", "--kind", "file.write"]).end();
        events.code() == 0 && events.text().contains("made-1")
    });
    going.signal(Signal::SIGINT);
    going.end().ok();
    // What is watched goes on.
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    drop(watched);

    let session = site.recorded();
    session.assert_nothing_dropped();
    let python = session
        .document
        .processes
        .iter()
        .find(|process| process.pid == pid)
        .unwrap();
    assert!(python.argv.contains(&"-c".to_owned()), "{python:?}");
    // The shell that was there before, and what it starts now.
    let old_runs = session.execs(&["/bin/true", "old"]);
    assert!(!old_runs.is_empty());
    let shells = session
        .actions("process.exec")
        .filter(|action| {
            action.attributes["process.command_args"][2]
                .as_str()
                .is_some_and(|script| script.starts_with("echo "))
        })
        .count();
    assert!(shells >= 3, "{shells} shells");
    for action in session.actions("process.fork") {
        assert!(action.attributes.contains_key("agentsight.child.process"));
    }
}

#[test]
#[ignore = "needs root"]
fn the_conversation_of_an_attached_agent_is_seen_from_then_on() {
    let turns =
        (0..45).map(|n| Turn::text(format!("turn {n}")).tool(ToolRequest::shell("sleep 0.05")));
    let script = Script::new(turns.chain([Turn::text("ATTACHED-LAST")]));
    let demo = Demo::start_with(&DemoOptions::default(), script, "Go on.").unwrap();
    let child = Command::new(&demo.command()[0])
        .args(&demo.command()[1..])
        .current_dir(demo.workspace())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let watched = Guard(child);
    while demo.server().truth().len() < 3 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let site = Site::new();
    // It ends when the last process that it watches ends.
    site.agentsight(["attach", "--quiet", "--pid", &watched.0.id().to_string()])
        .end()
        .ok();
    let session = site.recorded();
    session.assert_nothing_dropped();
    let truth = demo.server().truth();
    let seen = session
        .document
        .llm_calls
        .iter()
        .filter(|call| call.complete);
    let seen: Vec<_> = seen.collect();
    assert!(seen.len() > 10, "{} calls", seen.len());
    assert_eq!(texts(seen[seen.len() - 1]), "ATTACHED-LAST");
    let expected = &truth[truth.len() - seen.len()..];
    for (call, exchange) in seen.iter().zip(expected) {
        assert_eq!(call.request.body.sha256, exchange.request.sha256);
        assert_eq!(call.response.body.sha256, exchange.response.sha256);
    }
}

#[test]
#[ignore = "needs root"]
fn a_process_that_is_not_there_is_an_error() {
    let site = Site::new();
    // Above the largest pid that Linux gives.
    let ended = site
        .agentsight(["attach", "--pid", "4194305"])
        .end()
        .with_code(1);
    assert!(ended.stderr.contains("4194305"), "{}", ended.stderr);
}

#[test]
#[ignore = "needs root"]
fn content_is_left_out_where_that_is_wanted() {
    let script = Script::new([
        Turn::text("SAID-2b1f.").tool(ToolRequest::shell("echo RESULT-2b1f")),
        Turn::text("END-2b1f."),
    ]);
    let demo = Demo::start_with(&DemoOptions::default(), script, "PROMPT-2b1f").unwrap();
    // The prompt is an argument as well, and arguments are no content: it comes from a file here.
    let arguments = demo.command().split_last().unwrap().1.to_vec();
    let prompt = demo.workspace().join("prompt");
    std::fs::write(&prompt, "PROMPT-2b1f").unwrap();
    let site = Site::new();
    site.agentsight(["run", "--quiet", "--no-content", "--"])
        .args(["/bin/sh", "-c", r#"exec "$@" "$(cat prompt)""#, "sh"])
        .args(arguments)
        .cwd(demo.workspace())
        .end()
        .ok();
    let session = site.recorded();
    session.assert_without(&["SAID-2b1f", "END-2b1f"]);
    let said = |text: &str| {
        let in_calls = serde_json::to_string(&session.document.llm_calls).unwrap();
        let in_tools = serde_json::to_string(&session.document.tool_calls).unwrap();
        in_calls.contains(text) || in_tools.contains(text)
    };
    assert!(!said("PROMPT-2b1f") && !said("RESULT-2b1f"));
    // How much, when and who remains.
    let truth = demo.server().truth();
    assert_eq!(session.document.llm_calls.len(), 2);
    for (call, exchange) in session.document.llm_calls.iter().zip(&truth) {
        assert_eq!(call.request.body.sha256, exchange.request.sha256);
        assert_eq!(call.usage.input_tokens, exchange.usage.input_tokens);
        assert!(call.complete);
    }
}

#[test]
#[ignore = "needs root"]
fn events_are_one_action_a_line() {
    let site = Site::new();
    site.run_script("echo one > made; rm made; /bin/true")
        .end()
        .ok();
    let session = site.recorded();
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let ended = site.agentsight(["events"]).args(arguments).end().ok();
        let text = ended.text();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let all = lines(&[]);
    let document: Value = serde_json::from_str(&session.json).unwrap();
    assert_eq!(Value::from(all.clone()), document["actions"]);
    let id = &session.document.session.id;
    assert_eq!(lines(&["last"]), all);
    assert_eq!(lines(&[id]), all);
    assert_eq!(
        lines(&[&id[..id.len() - 2]]),
        all,
        "the beginning of an id is enough"
    );
    for kind in ["process.exec", "file.delete"] {
        let some = lines(&["--kind", kind]);
        assert!(!some.is_empty() && some.iter().all(|line| line["kind"] == kind));
    }
    let files = lines(&["--kind", "file"]);
    assert!(files.len() >= 3);
    let refused = site.agentsight(["events", "--kind", "nonsense"]).end();
    assert_eq!(refused.code(), 2, "{refused:?}");
    assert_eq!(
        lines(&["--follow"]),
        all,
        "an ended session has nothing to wait for"
    );
}

#[test]
#[ignore = "needs root"]
fn events_follow_a_session_to_its_end() {
    let site = Site::new();
    let mut going = site
        .run_script("echo ready; for i in 1 2 3 4; do /bin/true round-$i; sleep 0.4; done")
        .start();
    going.wait_for("ready");
    let mut following = site
        .agentsight(["events", "--follow", "--kind", "process.exec"])
        .start();
    following.wait_for("round-1");
    assert!(!following.stdout().contains("round-4"));
    going.end().ok();
    let followed = following.end().ok();
    for round in 1..=4 {
        let runs = followed
            .text()
            .matches(&format!("\"round-{round}\""))
            .count();
        assert_eq!(runs, 1, "{}", followed.text());
    }
    assert!(
        followed
            .text()
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
}

#[test]
#[ignore = "needs root"]
fn a_reader_of_ours_that_goes_away_is_no_error() {
    let site = Site::new();
    site.run_script("for i in 1 2 3 4 5 6 7 8 9; do /bin/true $i; done")
        .end()
        .ok();
    for command in ["events", "show --json", "show"] {
        let script = format!("(\"$0\" {command}; echo \"code $?\" >&2) | head -c 5 > /dev/null");
        let ended = crate::support::Call::new("/bin/sh")
            .args(["-c", &script, crate::support::PROGRAM])
            .env("AGENTSIGHT_STORE", site.store())
            .end()
            .ok();
        assert_eq!(ended.stderr.trim(), "code 0", "{command}");
    }
}

#[test]
#[ignore = "needs root"]
fn several_sessions_are_kept_apart() {
    let site = Site::new();
    let mut going: Vec<_> = (0..3)
        .map(|n| {
            site.run_script(&format!("sleep 0.3; /bin/true session-{n}; exit {n}"))
                .start()
        })
        .collect();
    for (n, one) in going.drain(..).enumerate() {
        one.end().with_code(n.try_into().unwrap());
    }
    let listed = site.agentsight(["sessions", "--json"]).end().ok();
    let listed: Vec<Value> = serde_json::from_str(listed.text()).unwrap();
    assert_eq!(listed.len(), 3);
    for session in &listed {
        let id = session["id"].as_str().unwrap();
        let shown = site.agentsight(["show", id, "--json"]).end().ok();
        let code = session["exit_code"].as_i64().unwrap();
        assert!(shown.text().contains(&format!("\"session-{code}\"")));
        for other in (0..3).filter(|other| *other != code) {
            assert!(!shown.text().contains(&format!("\"session-{other}\"")));
        }
    }
    site.agentsight(["verify"]).end().ok();
    let unknown = site.agentsight(["show", "01NONE"]).end().with_code(1);
    assert!(
        unknown.stderr.contains("agentsight sessions"),
        "{}",
        unknown.stderr
    );
    let ambiguous = site.agentsight(["show", "01"]).end().with_code(1);
    assert!(
        ambiguous.stderr.contains("3 sessions"),
        "{}",
        ambiguous.stderr
    );
}

#[test]
#[ignore = "needs root"]
fn the_demo_shows_what_nobody_asked_for() {
    let site = Site::new();
    let ended = site.agentsight(["demo"]).end().ok();
    assert!(ended.stderr.contains("credentials.ini"), "{}", ended.stderr);
    let session = site.recorded();
    session.assert_nothing_dropped();
    assert_eq!(session.document.llm_calls.len(), 5);
    assert_eq!(session.document.tool_calls.len(), 5);
    let unasked: Vec<&str> = session
        .document
        .actions
        .iter()
        .filter(|action| action.intent == "unstated")
        .filter_map(|action| action.attributes.get("file.path")?.as_str())
        .collect();
    for name in ["/config/credentials.ini", "/.tidy-was-here"] {
        assert!(
            unasked.iter().any(|path| path.ends_with(name)),
            "{name}: {unasked:?}"
        );
    }
}

#[test]
#[ignore = "needs root"]
fn doctor_says_what_there_is() {
    let site = Site::new();
    let ended = site.agentsight(["doctor"]).end().ok();
    assert!(ended.text().contains("kernel programs"), "{}", ended.text());
    let ended = site.agentsight(["doctor", "--json"]).end().ok();
    let diagnosis: Value = serde_json::from_str(ended.text()).unwrap();
    for check in diagnosis["checks"].as_array().unwrap() {
        assert!(
            ["ok", "limited"].contains(&check["state"].as_str().unwrap()),
            "{check}"
        );
    }
    assert!(!site.store().exists(), "to look is not to make");
}
