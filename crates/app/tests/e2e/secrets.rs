//! Credentials stop at decode: they are in nothing that is stored or shown.

use std::fs;
use std::path::Path;

use agentsight_testkit::{Demo, DemoOptions, Dialect, ModelServer, Script, ToolRequest, Turn};

use crate::support::{PYTHON, Recorded, Site};

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

/// Thirty-two forms of credentials, none of them real. Put together here, so that no scanner of
/// repositories takes them for what they look like.
fn planted() -> Vec<String> {
    let tail = "Zq8LkV2mXw7RtY4nB1cD6fG9hJ0pS3uT5vW7xA2y";
    let hex = "0f3a9c7e5b1d8264a0c2e4f6b8d1735e";
    let prefixed = [
        "sk-ant-api03-",
        "sk-proj-",
        "sk-or-v1-",
        "AIzaSy",
        "ya29.a0",
        "ghp_",
        "gho_",
        "github_pat_",
        "glpat-",
        "xoxb-",
        "sk_live_",
        "rk_live_",
        "hf_",
        "gsk_",
        "xai-",
        "npm_",
        "pypi-",
        "AGE-SECRET-KEY-1",
        "ATATT3",
        "dop_v1_",
        "glsa_",
        "lin_api_",
        "ntn_",
        "pplx-",
        "PMAK-",
        "r8_",
        "shpat_",
        "hvs.",
    ];
    let mut all: Vec<String> = prefixed
        .iter()
        .map(|prefix| format!("{prefix}{tail}"))
        .collect();
    all.extend([
        format!("AKIA{}", "Q7XW2MZP4RTY6NBD"),
        format!("SG.{}.{tail}", &tail[..22]),
        format!("dapi{hex}"),
        format!("key-{hex}"),
        format!("SK{hex}"),
        format!("123456789:AA{}", &tail[..33]),
        format!("eyJhbGciOiJIUzI1NiJ9.{}.{tail}", &tail[..20]),
    ]);
    all
}

/// Asks a model with all secrets in its prompt, offers them to a tool, and posts them to a server that is
/// no model: in its path, its fields and its body. Arguments: URL, certificate, file with the secrets.
const LEAKY: &str = r#"
import http.client, json, ssl, sys
from urllib.parse import quote, urlsplit
url = urlsplit(sys.argv[1])
secrets = open(sys.argv[3]).read().split()
context = ssl.create_default_context(cafile=sys.argv[2])
connection = http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=60)
def post(path, body, fields):
    connection.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", **fields})
    connection.getresponse().read()
said = "".join(f"one is {secret}, remember\n" for secret in secrets)
call = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "keep",
    "input": {"list": secrets, **{secret: "a name" for secret in secrets}}}]}
result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": said}]}
tool = {"name": "keep", "description": said, "input_schema": {"type": "object", "description": said}}
post("/v1/messages?note=" + secrets[0], {"model": "claude-sonnet-4-5", "max_tokens": 9, "system": said,
    "tools": [tool], "metadata": {"user_id": said},
    "messages": [{"role": "user", "content": said}, call, result]}, {"X-Api-Key": secrets[0]})
rpc = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "keep", "arguments": {"list": secrets}}}
post("/mcp", rpc, {"Authorization": "Bearer " + secrets[1]})
for secret in secrets:
    post("/other/" + secret + "?q=" + secret, {"secret": secret}, {"X-Note": secret, "Cookie": "id=" + secret})
"#;

/// A customer number, which only a pattern of the user's own makes a secret.
const CUSTOMER: &str = "CN-20471163";

#[test]
#[ignore = "needs root"]
fn thirty_forms_of_secrets_are_in_no_file_of_the_store() {
    let server = ModelServer::start(Script::new([Turn::text("No.")])).unwrap();
    let site = Site::new();
    let secrets = planted();
    assert!(secrets.len() >= 30);
    let list = [secrets.join("\n"), CUSTOMER.to_owned()].join("\n");
    fs::write(site.work().join("list"), &list).unwrap();
    let patterns = "patterns:\n  - kind: customer\n    pattern: 'CN-[0-9]{8}'\n";
    fs::create_dir_all(site.store()).unwrap();
    fs::write(site.store().join("redact.yaml"), patterns).unwrap();
    // Names of files, arguments, the environment, and what a program prints.
    let script = r#"
for secret in $(cat list); do
    : > "$secret.txt"; mv "$secret.txt" "$secret.old"; cat "$secret.old"; rm "$secret.old"
    /bin/true --note "$secret" "x=$secret" "https://host.invalid/$secret"
    A_NOTE="$secret" /bin/true
done
exec "$0" "$@"
"#;
    let ca = server.ca_pem_path().to_str().unwrap().to_owned();
    let client = [PYTHON, "-c", LEAKY, &server.url(), &ca, "list"];
    let ended = site
        .agentsight(["run", "--", "/bin/sh", "-c", script])
        .args(client)
        .end()
        .ok();

    let session = site.recorded();
    assert_eq!(session.document.llm_calls.len(), 1);
    assert!(session.json.contains("[redacted:customer:"));
    let all: Vec<&str> = list.lines().collect();
    // Each ledger in full, not as it lies compressed on the disk.
    let records = every_record(&site);
    assert!(
        records.contains("one is [redacted:"),
        "the prompt is not recorded"
    );
    let shown = site.agentsight(["show"]).end().ok();
    let events = site.agentsight(["events"]).end().ok();
    let texts = [
        &records,
        &session.json,
        &ended.stderr,
        shown.text(),
        events.text(),
    ];
    for secret in all {
        for text in texts {
            let found = text.find(secret).map(|at| {
                let start = text[..at]
                    .char_indices()
                    .rev()
                    .nth(200)
                    .map_or(0, |(at, _)| at);
                &text[start..at + secret.len()]
            });
            assert_eq!(found, None, "{secret} was stored or shown");
        }
        for path in files_below(&site.store()) {
            let bytes = fs::read(&path).unwrap();
            let mut windows = bytes.windows(secret.len());
            let is_in = windows.any(|window| window == secret.as_bytes());
            assert!(!is_in, "{secret} is in {}", path.display());
        }
    }
}

/// All records of all ledgers, as JSON.
fn every_record(site: &Site) -> String {
    let mut text = String::new();
    for session in site.sessions() {
        for record in agentsight_ledger::Reader::open(&session).unwrap() {
            text.push_str(&serde_json::to_string(&record.unwrap().1).unwrap());
            text.push('\n');
        }
    }
    text
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                &mut folders
            } else {
                &mut files
            }
            .push(path);
        }
    }
    files
}
