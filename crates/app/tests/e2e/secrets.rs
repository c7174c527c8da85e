//! Credentials stop at decode: they are in nothing that is stored or shown.

use std::fs;
use std::path::Path;

use agentsight_testkit::{Demo, DemoOptions, Dialect, Script, ToolRequest, Turn};

use crate::support::{Recorded, Site};

const API_KEY: &str = "sk-ant-api03-Zq8LkV2mXw7RtY4nB1cD6fG9hJ0pS3uT";
const AWS_KEY: &str = "AKIAQ7XW2MZP4RTY6NBD";
const GITHUB_TOKEN: &str = "ghp_4Gt7Kq1Zx9Lm3Vb6Nc8Pd2Rf5Ts0Wy7Uj4Qe";
const PASSWORD: &str = "hunter2-tr0ub4dor";

const SECRETS: [&str; 4] = [API_KEY, AWS_KEY, GITHUB_TOKEN, PASSWORD];

/// Asserts that no file of the store has any of these, whatever is compressed in it.
#[track_caller]
fn assert_nowhere(site: &Site, session: &Recorded, outputs: &[&str]) {
    session.assert_without(&SECRETS);
    for output in outputs {
        for secret in SECRETS {
            assert!(!output.contains(secret), "{secret} is in {output}");
        }
    }
    let mut folders = vec![site.store()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_not_in(&path);
            }
        }
    }
}

#[track_caller]
fn assert_not_in(path: &Path) {
    let bytes = fs::read(path).unwrap();
    for secret in SECRETS {
        let found = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in {}", path.display());
    }
}

#[test]
#[ignore = "needs root"]
fn keys_in_headers_bodies_and_arguments_are_replaced() {
    for (dialect, stream) in Dialect::ALL
        .into_iter()
        .flat_map(|d| [(d, true), (d, false)])
    {
        println!("{dialect:?}, stream {stream}");
        let command = format!(
            "/bin/true --key {API_KEY} AWS_ACCESS_KEY_ID={AWS_KEY}; \
             /bin/true https://user:{PASSWORD}@host.invalid/; echo {GITHUB_TOKEN}"
        );
        let script = Script::new([
            Turn::text(format!("Your key is {AWS_KEY}, is it not?"))
                .tool(ToolRequest::shell(&command))
                .tool(ToolRequest::read_file("keys.txt")),
            Turn::text(format!("The token was {GITHUB_TOKEN}.")),
        ]);
        let prompt = format!("Use the key {API_KEY} and {AWS_KEY}.");
        let options = DemoOptions {
            dialect,
            stream,
            ..DemoOptions::default()
        };
        let demo = Demo::start_with(&options, script, &prompt).unwrap();
        let keys = format!("aws_access_key_id = {AWS_KEY}\npassword = {PASSWORD}\n");
        fs::write(demo.workspace().join("keys.txt"), keys).unwrap();
        let site = Site::new();
        let ended = site
            .agentsight(["run", "--"])
            .args(demo.command())
            .env("DEMO_API_KEY", API_KEY)
            .cwd(demo.workspace())
            .end()
            .ok();
        let truth = demo.server().truth();
        assert!(
            truth[0].request.as_str().contains(AWS_KEY),
            "nothing to hide"
        );

        let session = site.recorded();
        assert_eq!(session.document.llm_calls.len(), 2);
        // Replaced after it was measured: the hashes are those of what was sent.
        for (call, exchange) in session.document.llm_calls.iter().zip(&truth) {
            assert_eq!(call.request.body.sha256, exchange.request.sha256);
            assert_eq!(call.response.body.sha256, exchange.response.sha256);
        }
        assert!(session.json.contains("[redacted:"));
        // The same key has the same mark, wherever it was: that is how it can be followed.
        let shown = site.agentsight(["show"]).end().ok();
        let events = site.agentsight(["events"]).end().ok();
        let sessions = site.agentsight(["sessions", "--json"]).end().ok();
        assert_nowhere(
            &site,
            &session,
            &[&ended.stderr, shown.text(), events.text(), sessions.text()],
        );
        // A command with a key in it is joined to its processes all the same.
        let shell = &session.document.tool_calls[0];
        let joined = shell
            .actions
            .iter()
            .filter(|id| session.action(id).kind == "process.exec")
            .count();
        assert_eq!(joined, 3, "{dialect:?}: {:?}", shell.actions);
    }
}

#[test]
#[ignore = "needs root"]
fn keys_in_the_command_line_of_the_agent_are_replaced() {
    let site = Site::new();
    let ended = site
        .agentsight(["run", "--", "/bin/true", "--api-key", API_KEY])
        .args([&format!("--password={PASSWORD}"), AWS_KEY, GITHUB_TOKEN])
        .end()
        .ok();
    let session = site.recorded();
    let shown = site.agentsight(["show"]).end().ok();
    assert_nowhere(&site, &session, &[&ended.stderr, shown.text()]);
    assert_eq!(
        session.document.session.command[..2],
        ["/bin/true", "--api-key"]
    );
}

#[test]
#[ignore = "needs root"]
fn keys_in_the_names_of_files_and_in_urls_are_replaced() {
    let site = Site::new();
    let script = format!(
        "echo x > {AWS_KEY}; mv {AWS_KEY} {GITHUB_TOKEN}; cat {GITHUB_TOKEN}; rm {GITHUB_TOKEN}"
    );
    let ended = site
        .agentsight(["run", "--", "/bin/sh", "-c", &script])
        .end()
        .ok();
    let session = site.recorded();
    assert_nowhere(&site, &session, &[&ended.stderr]);
    assert_eq!(session.actions("file.rename").count(), 1);
}
