//! Servers that agents called: of MCP, and other agents.

use std::collections::HashSet;

use agentsight_model::RpcStatus;
use agentsight_model::document::{Agent, RemoteCall};

use super::index::{Index, file_name};
use super::layout::{Line, Page, Style};
use super::summary::{INDENT, MAX_LISTED};
use super::text::{bytes, count, one_line, span};

/// Where the requests of a server are listed.
const REQUEST_INDENT: &str = "     ";

pub(super) fn write(page: &mut Page, index: &Index<'_>) {
    let doc = index.doc;
    let calls: Vec<&RemoteCall> = doc.mcp_calls.iter().chain(&doc.a2a_calls).collect();
    if calls.is_empty() {
        return;
    }
    // An agent of the tree that another one calls is a server as well.
    let called: HashSet<&str> = calls
        .iter()
        .filter_map(|call| call.server_id.as_deref())
        .collect();
    let is_called = |agent: &&Agent| called.contains(&*agent.id);
    let servers: Vec<&Agent> = doc.agents.iter().filter(is_called).collect();
    if servers.is_empty() {
        return;
    }
    page.heading("Servers");
    for server in servers.iter().take(MAX_LISTED) {
        let is_own = |call: &&&RemoteCall| call.server_id.as_deref() == Some(&*server.id);
        let own: Vec<&RemoteCall> = calls.iter().filter(is_own).copied().collect();
        server_lines(page, index, server, &own);
    }
    let hidden = servers.len().saturating_sub(MAX_LISTED);
    if hidden > 0 {
        let text = format!("… {}", count(hidden as u64, "more server", "more servers"));
        page.line(INDENT, &Line::new(Style::Dim, text));
    }
}

fn server_lines(page: &mut Page, index: &Index<'_>, server: &Agent, calls: &[&RemoteCall]) {
    let mut line = Line::new(Style::Name, one_line(&server.name));
    if let Some(version) = &server.version {
        line = line.then(Style::Plain, format!(" {}", one_line(version)));
    }
    let process = server.processes.first();
    let place = match process.and_then(|process| index.processes.get(process)) {
        Some(process) => format!("{} {}", file_name(&process.exe), process.pid),
        None => calls
            .first()
            .map_or_else(String::new, |call| call.endpoint.clone()),
    };
    line = line.then(Style::Dim, format!("  {}", one_line(&place)));
    let of = |wanted: RpcStatus| calls.iter().filter(|call| call.status == wanted).count() as u64;
    let requests = (calls.len() as u64).saturating_sub(of(RpcStatus::Notification));
    line = line.note(Style::Dim, count(requests, "request", "requests"));
    if of(RpcStatus::Error) > 0 {
        line = line.note(Style::Bad, count(of(RpcStatus::Error), "error", "errors"));
    }
    if of(RpcStatus::Unanswered) > 0 {
        let text = format!("{} unanswered", of(RpcStatus::Unanswered));
        line = line.note(Style::Warn, text);
    }
    page.line(INDENT, &line);
    // What was asked for by name says most.
    let named: Vec<&&RemoteCall> = calls
        .iter()
        .filter(|call| call.name.is_some() && call.status != RpcStatus::Notification)
        .collect();
    for call in named.iter().take(MAX_LISTED) {
        page.line(REQUEST_INDENT, &request_line(call));
    }
    let hidden = named.len().saturating_sub(MAX_LISTED);
    if hidden > 0 {
        let text = format!(
            "… {}",
            count(hidden as u64, "more request", "more requests")
        );
        page.line(REQUEST_INDENT, &Line::new(Style::Dim, text));
    }
}

fn request_line(call: &RemoteCall) -> Line {
    let name = call.name.as_deref().unwrap_or_default();
    let mut line = Line::new(Style::Dim, one_line(&call.method)).then(Style::Plain, "  ");
    line = line.then(Style::Plain, one_line(name));
    match (&call.error, call.status) {
        (Some(error), _) => line = line.note(Style::Bad, one_line(&error.message)),
        (None, RpcStatus::Error) => line = line.note(Style::Bad, "error"),
        (None, RpcStatus::Ok | RpcStatus::Notification) => {}
        (None, status) => line = line.note(Style::Warn, status.as_str()),
    }
    if let Some(response) = &call.response {
        line = line.note(Style::Dim, bytes(response.bytes));
    }
    line.note(Style::Dim, span(call.duration_ms))
}
