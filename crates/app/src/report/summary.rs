//! What belongs to no tool call, where the network led to, tokens, findings, and what was not seen.

use std::collections::BTreeMap;

use agentsight_model::document::{Action, Finding};

use super::effects::{address, traffic};
use super::index::{Index, argv_of, file_name, number_of, text_of};
use super::layout::{Line, Page, Style};
use super::text::{bytes, count, fit_path, number, one_line, plain};

/// Programs, files and addresses listed, of each.
const MAX_LISTED: usize = 8;

const INDENT: &str = "   ";

pub(super) fn write(page: &mut Page, index: &Index<'_>) {
    outside(page, index);
    network(page, index);
    tokens(page, index);
    coverage(page, index);
    findings(page, index);
}

/// What the agent did of its own accord.
fn outside(page: &mut Page, index: &Index<'_>) {
    let of_kind = |kinds: &[&str]| -> Vec<&Action> {
        let of_kind = |action: &&&Action| kinds.contains(&action.kind.as_str());
        index.outside.iter().filter(of_kind).copied().collect()
    };
    let programs = of_kind(&["process.exec"]);
    let created = of_kind(&["file.create", "file.write", "file.truncate", "file.rename"]);
    let deleted = of_kind(&["file.delete"]);
    let read = of_kind(&["file.read", "file.open"]);
    if programs.is_empty() && created.is_empty() && deleted.is_empty() && read.is_empty() {
        return;
    }
    page.heading("Outside any tool call");
    ran(page, &programs);
    changed(page, index, "wrote", Style::Good, &created);
    changed(page, index, "deleted", Style::Bad, &deleted);
    reads(page, index, &read);
}

fn row(verb: &str, style: Style) -> Line {
    Line::new(style, format!("{verb:<9}"))
}

fn ran(page: &mut Page, programs: &[&Action]) {
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    for action in programs {
        let argv = argv_of(action);
        let name = argv.first().map_or_else(
            || text_of(action, "process.executable.path"),
            String::as_str,
        );
        *times.entry(one_line(file_name(name))).or_default() += 1;
    }
    let mut names: Vec<_> = times.into_iter().collect();
    names.sort_by(|(a, a_times), (b, b_times)| b_times.cmp(a_times).then_with(|| a.cmp(b)));
    let hidden = names.len().saturating_sub(MAX_LISTED);
    let mut texts: Vec<String> = names
        .into_iter()
        .take(MAX_LISTED)
        .map(|(name, times)| {
            if times > 1 {
                format!("{name} ×{times}")
            } else {
                name
            }
        })
        .collect();
    if hidden > 0 {
        texts.push(format!("{hidden} more"));
    }
    if !texts.is_empty() {
        page.line(
            INDENT,
            &row("ran", Style::Plain).then(Style::Plain, texts.join(", ")),
        );
    }
}

fn changed(page: &mut Page, index: &Index<'_>, verb: &str, style: Style, actions: &[&Action]) {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for action in actions {
        let size = sizes.entry(text_of(action, "file.path")).or_default();
        *size = size.saturating_add(number_of(action, "agentsight.bytes").unwrap_or(0));
    }
    // Devices keep nothing.
    sizes.retain(|path, _| !path.starts_with("/dev/"));
    let hidden = sizes.len().saturating_sub(MAX_LISTED);
    let room = page.width().saturating_sub(30).max(20);
    for (position, (path, size)) in sizes.iter().take(MAX_LISTED).enumerate() {
        let path = fit_path(&plain(index.short_path(path)), room);
        let label = if position == 0 { verb } else { "" };
        let mut line = row(label, style).then(Style::Plain, path);
        if *size > 0 {
            line = line.note(Style::Dim, bytes(*size));
        }
        page.line(INDENT, &line);
    }
    if hidden > 0 {
        let text = format!("… {}", count(hidden as u64, "more file", "more files"));
        page.line(INDENT, &row("", style).then(Style::Dim, text));
    }
}

/// Kinds of files that are read without anybody's interest.
fn place_of(path: &str, cwd: &str) -> &'static str {
    let starts = |starts: &[&str]| starts.iter().any(|start| path.starts_with(start));
    let packages = ["/node_modules/", "/site-packages/", "/dist-packages/"];
    if packages.iter().any(|part| path.contains(part)) {
        "of installed packages"
    } else if starts(&[
        "/usr/", "/lib", "/bin/", "/sbin/", "/etc/", "/proc/", "/sys/", "/dev/", "/opt/", "/run/",
    ]) {
        "of the system"
    } else if !cwd.is_empty() && path.starts_with(cwd) {
        "of the workspace"
    } else {
        "elsewhere"
    }
}

fn reads(page: &mut Page, index: &Index<'_>, actions: &[&Action]) {
    let mut places: BTreeMap<&str, std::collections::BTreeSet<&str>> = BTreeMap::new();
    for action in actions {
        let path = text_of(action, "file.path");
        places
            .entry(place_of(path, &index.doc.session.cwd))
            .or_default()
            .insert(path);
    }
    let texts: Vec<String> = places
        .iter()
        .map(|(place, paths)| format!("{} {place}", number(paths.len() as u64)))
        .collect();
    if !texts.is_empty() {
        let total: usize = places.values().map(std::collections::BTreeSet::len).sum();
        let line =
            row("read", Style::Plain).then(Style::Plain, count(total as u64, "file", "files"));
        page.line(
            INDENT,
            &line.then(Style::Dim, format!(": {}", texts.join(", "))),
        );
    }
}

/// Where the network led to: addresses by the kernel, hosts by what was said on them.
fn network(page: &mut Page, index: &Index<'_>) {
    let mut calls: BTreeMap<String, u64> = BTreeMap::new();
    for call in &index.doc.llm_calls {
        *calls.entry(one_line(host_of(&call.endpoint))).or_default() += 1;
    }
    let mut requests: BTreeMap<String, u64> = BTreeMap::new();
    let is_network = |action: &&Action| action.kind.starts_with("network.");
    for action in index
        .doc
        .actions
        .iter()
        .filter(|action| action.kind == "http.exchange")
    {
        let times = number_of(action, "agentsight.count").unwrap_or(1);
        *requests
            .entry(one_line(text_of(action, "server.address")))
            .or_default() += times;
    }
    let addresses: Vec<&Action> = index.doc.actions.iter().filter(is_network).collect();
    if calls.is_empty() && requests.is_empty() && addresses.is_empty() {
        return;
    }
    page.heading("Network");
    for (host, times) in calls.iter().take(MAX_LISTED) {
        let line = Line::new(Style::Name, host.as_str());
        page.line(
            INDENT,
            &line.note(Style::Dim, count(*times, "model call", "model calls")),
        );
    }
    for (host, times) in requests.iter().take(MAX_LISTED) {
        let line = Line::new(
            Style::Plain,
            if host.is_empty() {
                "unnamed host"
            } else {
                host
            },
        );
        page.line(
            INDENT,
            &line.note(Style::Dim, count(*times, "other request", "other requests")),
        );
    }
    for action in addresses.iter().take(MAX_LISTED) {
        let who = index
            .processes
            .get(&action.process)
            .map_or("", |process| file_name(&process.exe));
        let mut line =
            Line::new(Style::Plain, address(action)).then(Style::Dim, format!("  {who}"));
        if let Some(traffic) = traffic(action) {
            line = line.note(Style::Dim, traffic);
        }
        let times = number_of(action, "agentsight.count").unwrap_or(1);
        page.line(
            INDENT,
            &line.note(Style::Dim, count(times, "connection", "connections")),
        );
    }
    let hidden = addresses.len().saturating_sub(MAX_LISTED);
    if hidden > 0 {
        let text = format!(
            "… {}",
            count(hidden as u64, "more address", "more addresses")
        );
        page.line(INDENT, &Line::new(Style::Dim, text));
    }
}

fn host_of(endpoint: &str) -> &str {
    let rest = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn tokens(page: &mut Page, index: &Index<'_>) {
    let calls = &index.doc.llm_calls;
    if calls.is_empty() {
        return;
    }
    let sum = |pick: fn(&agentsight_model::Usage) -> Option<u64>| {
        calls
            .iter()
            .filter_map(|call| pick(&call.usage))
            .fold(0, u64::saturating_add)
    };
    let input = sum(|usage| usage.input_tokens);
    let output = sum(|usage| usage.output_tokens);
    let cached = sum(|usage| usage.cache_read_input_tokens);
    let reasoning = sum(|usage| usage.reasoning_output_tokens);
    let mut texts = vec![format!("{} in", number(input))];
    if cached > 0 {
        texts.push(format!("{} of them cached", number(cached)));
    }
    texts.push(format!("{} out", number(output)));
    if reasoning > 0 {
        texts.push(format!("{} of them reasoning", number(reasoning)));
    }
    let cost: f64 = calls.iter().filter_map(|call| call.cost_usd).sum();
    if cost > 0.0 {
        texts.push(format!("list price ${cost:.4}"));
    }
    page.heading("Tokens");
    page.line(INDENT, &Line::new(Style::Plain, texts.join(" · ")));
}

/// What was seen and what was not. Silence would be read as "everything".
fn coverage(page: &mut Page, index: &Index<'_>) {
    let coverage = &index.doc.coverage;
    page.heading("Coverage");
    let (mut produced, mut stored, mut dropped) = (0_u64, 0_u64, 0_u64);
    for counters in coverage.events.values() {
        produced = produced.saturating_add(counters.produced);
        stored = stored.saturating_add(counters.stored);
        dropped = dropped.saturating_add(counters.dropped_count());
    }
    let mut line = Line::new(Style::Plain, format!("{:<9}", "events"));
    if produced > 0 {
        line = line.then(
            Style::Plain,
            format!("{} produced, {} stored, ", number(produced), number(stored)),
        );
    }
    let style = if dropped > 0 {
        Style::Bad
    } else {
        Style::Plain
    };
    page.line(
        INDENT,
        &line.then(style, format!("{} dropped", number(dropped))),
    );
    for (class, counters) in &coverage.events {
        for (reason, lost) in counters.dropped.iter().filter(|(_, lost)| **lost > 0) {
            let text = format!(
                "{} of class {}: {}",
                number(*lost),
                class.as_str(),
                reason.as_str()
            );
            page.line(
                INDENT,
                &Line::new(Style::Bad, format!("{:<9}", "")).then(Style::Bad, text),
            );
        }
    }
    tls(page, index);
    for (kind, left_out) in &coverage.omitted {
        let text = format!(
            "{} of {kind} left out of this report; the ledger has them",
            number(*left_out)
        );
        page.line(INDENT, &row("", Style::Warn).then(Style::Warn, text));
    }
}

fn tls(page: &mut Page, index: &Index<'_>) {
    let tls = &index.doc.coverage.tls;
    let decoded = tls.streams.saturating_sub(tls.undecoded_streams);
    let text = format!(
        "{} with plaintext, {} decoded, {} not",
        count(tls.streams, "stream", "streams"),
        number(decoded),
        number(tls.undecoded_streams)
    );
    let style = if tls.undecoded_streams > 0 {
        Style::Warn
    } else {
        Style::Plain
    };
    let mut line = row("tls", Style::Plain).then(style, text);
    if tls.missing_bytes > 0 {
        line = line.then(
            Style::Bad,
            format!(", {} missing", bytes(tls.missing_bytes)),
        );
    }
    page.line(INDENT, &line.note(Style::Dim, bytes(tls.plaintext_bytes)));
    if !tls.dark_connections.is_empty() {
        let text = count(
            tls.dark_connections.len() as u64,
            "connection",
            "connections",
        );
        let text = format!("{text} with ciphertext and no plaintext");
        page.line(INDENT, &row("", Style::Bad).then(Style::Bad, text));
    }
}

fn findings(page: &mut Page, index: &Index<'_>) {
    let findings = &index.doc.findings;
    if findings.is_empty() {
        return;
    }
    page.heading("Findings");
    for finding in findings.iter().take(4 * MAX_LISTED) {
        page.line(INDENT, &finding_line(finding));
    }
    let hidden = findings.len().saturating_sub(4 * MAX_LISTED);
    if hidden > 0 {
        page.line(INDENT, &Line::new(Style::Dim, format!("… {hidden} more")));
    }
}

fn finding_line(finding: &Finding) -> Line {
    let style = match finding.severity.as_str() {
        "critical" | "high" => Style::Bad,
        "medium" => Style::Warn,
        _ => Style::Dim,
    };
    let mut line = Line::new(style, format!("{:<9}", one_line(&finding.severity)))
        .then(Style::Plain, one_line(&finding.title))
        .note(Style::Dim, one_line(&finding.rule));
    if let Some(verdict) = &finding.verdict {
        line = line.note(Style::Warn, one_line(verdict));
    }
    line
}
