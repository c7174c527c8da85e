//! Where the network led to, tokens, findings, and what was not seen.

use std::collections::BTreeMap;

use agentsight_model::document::{Action, Cost, Finding};

use super::effects::{address, traffic};
use super::index::{Index, file_name, number_of, text_of};
use super::layout::{Line, Page, Style};
use super::outside;
use super::servers;
use super::text::{bytes, count, number, one_line};

/// Programs, files and addresses listed, of each.
pub(super) const MAX_LISTED: usize = 8;

pub(super) const INDENT: &str = "   ";

pub(super) fn write(page: &mut Page, index: &Index<'_>) {
    outside::write(page, index);
    servers::write(page, index);
    network(page, index);
    tokens(page, index);
    coverage(page, index);
    findings(page, index);
}

/// The start of a line: what it is about.
pub(super) fn row(verb: &str, style: Style) -> Line {
    Line::new(style, format!("{verb:<9}"))
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
        let line = Line::new(
            Style::Name,
            if host.is_empty() {
                "unnamed host"
            } else {
                host
            },
        );
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
    page.heading("Tokens");
    page.line(INDENT, &Line::new(Style::Plain, texts.join(" · ")));
    let prices = calls.iter().filter_map(|call| call.cost_usd);
    if let Some(cost) = prices.reduce(|sum, price| sum + price) {
        let text = format!(
            "list price about ${cost:.4}{}",
            price_notes(&index.doc.cost)
        );
        page.line(INDENT, &Line::new(Style::Plain, text));
    }
}

/// What the sum leaves out, and what of it is no list price of the provider's counts.
fn price_notes(cost: &Cost) -> String {
    let of = |count: u64, what: &str| {
        (count > 0).then(|| format!("{} {what}", super::count(count, "call", "calls")))
    };
    let notes = [
        of(cost.unpriced_calls, "without a known price"),
        of(cost.estimated_calls, "by estimated tokens"),
        of(cost.own_price_calls, "by your own prices"),
    ];
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    if notes.is_empty() {
        String::new()
    } else {
        format!(" ({})", notes.join(", "))
    }
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
    let text = match index.doc.session.status.as_str() {
        // The counters are the last record. Without them nothing is known of what never got there.
        "running" => format!("{} known to be dropped so far", number(dropped)),
        "interrupted" => format!(
            "{} known to be dropped; the record stops short, what followed is unknown",
            number(dropped)
        ),
        _ => format!("{} dropped", number(dropped)),
    };
    page.line(INDENT, &line.then(style, text));
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
