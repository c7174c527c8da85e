//! A client and a server of MCP that talk over each kind of channel: every request and every answer, whole,
//! with the processes that they belong to.

use std::fs;

use agentsight_model::document::RemoteCall;
use agentsight_model::{RpcSide, RpcStatus};

use crate::support::{PYTHON, Recorded, Site};

const NOTE: &str = "NOTE-mcp-77c1 in a file\n";

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../testkit/clients/scripts/mcp.py"
);

fn talk_over(channel: &str) -> (Site, Recorded) {
    let site = Site::new();
    let note = site.work().join("note.txt");
    fs::write(&note, NOTE).unwrap();
    let command = [PYTHON, SCRIPT, "client", channel];
    let ended = site
        .run(command.into_iter().chain([note.to_str().unwrap()]))
        .end()
        .ok();
    assert!(
        ended.text().contains("big 200000 False"),
        "{}",
        ended.text()
    );
    let session = site.recorded();
    session.assert_nothing_dropped();
    (site, session)
}

fn text(call: &RemoteCall) -> &str {
    call.result.as_ref().unwrap()["content"][0]["text"]
        .as_str()
        .unwrap()
}

fn assert_understood(channel: &str, transport: &str) {
    let (site, session) = talk_over(channel);
    let calls = &session.document.mcp_calls;
    let said: Vec<_> = calls
        .iter()
        .map(|call| (call.method.as_str(), call.name.as_deref(), call.status))
        .collect();
    let tool = |name| ("tools/call", Some(name), RpcStatus::Ok);
    assert_eq!(
        said,
        [
            ("initialize", None, RpcStatus::Ok),
            ("notifications/initialized", None, RpcStatus::Notification),
            tool("read_file"),
            tool("run"),
            tool("big"),
            tool("sample"),
            ("sampling/createMessage", None, RpcStatus::Ok),
            ("tools/call", Some("none"), RpcStatus::Error),
            ("prompts/list", None, RpcStatus::Error),
        ]
    );
    let (client, server) = (calls[0].client.unwrap(), calls[0].server.unwrap());
    for call in calls {
        assert!(call.complete, "{call:?}");
        assert_eq!((call.client, call.server), (Some(client), Some(server)));
        assert_eq!(call.transport, transport);
        assert_eq!(call.revision.as_deref(), Some("2025-06-18"));
        assert_eq!(call.server_info.as_ref().unwrap().name, "test-server");
    }
    let parent = session
        .document
        .processes
        .iter()
        .find(|process| process.key == server)
        .unwrap()
        .parent_key;
    assert_eq!(parent, Some(client));
    assert_eq!(text(&calls[2]), NOTE);
    assert_eq!(text(&calls[3]), "RUN-mcp-5521\n");
    assert_eq!(text(&calls[4]), "0123456789".repeat(20_000));
    assert_eq!(text(&calls[5]), "sampled");
    assert_eq!(calls[6].initiator, RpcSide::Server);
    assert_eq!(calls[8].error.as_ref().unwrap().code, -32601);

    let report = site.agentsight(["show", "last"]).end().ok();
    for shown in ["Servers", "test-server 1.2", "read_file", "8 requests"] {
        assert!(report.text().contains(shown), "{shown}: {}", report.text());
    }
    let events = site
        .agentsight(["events", "last", "--kind", "mcp.call"])
        .end()
        .ok();
    assert_eq!(events.text().lines().count(), calls.len());
}

#[test]
#[ignore = "needs root"]
fn pipes() {
    assert_understood("pipe", "pipe");
}

#[test]
#[ignore = "needs root"]
fn socketpairs() {
    assert_understood("socket", "unix");
}

#[test]
#[ignore = "needs root"]
fn terminals() {
    assert_understood("terminal", "pty");
}

#[test]
#[ignore = "needs root"]
fn without_content_nothing_that_was_said_is_kept() {
    let site = Site::new();
    let note = site.work().join("note.txt");
    fs::write(&note, NOTE).unwrap();
    let client = [PYTHON, SCRIPT, "client", "pipe"];
    site.agentsight(["run", "--quiet", "--no-content", "--"])
        .args(client.into_iter().chain([note.to_str().unwrap()]))
        .end()
        .ok();
    let session = site.recorded();
    assert_eq!(session.document.mcp_calls.len(), 9);
    session.assert_without(&["NOTE-mcp-77c1", "sampled"]);
}
