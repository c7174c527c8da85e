//! `agentsight sessions`: what was recorded.

use std::fmt::Write as _;
use std::process::ExitCode;

use agentsight_store::{Mode, SessionSummary, Store};
use serde_json::{Value, json};

use crate::cli::SessionsArgs;
use crate::commands::show::replay;
use crate::report::{count, sanitize};
use crate::terminal;

pub(crate) fn run(arguments: &SessionsArgs) -> anyhow::Result<ExitCode> {
    let directory = &arguments.store.store;
    let mut store = Store::open(directory, Mode::Read)?;
    if store.needs_rebuild()? {
        store = rebuilt(directory)?;
    }
    let mut sessions = store.sessions()?;
    // One whose monitor was killed has nobody to put it into the index. Who may not write the store sees
    // it without its counts.
    let left = |session: &SessionSummary| !session.indexed && session.status == "interrupted";
    if sessions.iter().any(left)
        && let Ok(again) = rebuilt(directory)
    {
        sessions = again.sessions()?;
    }
    let text = if arguments.json {
        let all: Vec<Value> = sessions.iter().map(as_json).collect();
        serde_json::to_string_pretty(&all)? + "\n"
    } else {
        render(&sessions)
    };
    terminal::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the index again: it is a view of the ledgers, and may be lost at any time.
fn rebuilt(directory: &std::path::Path) -> anyhow::Result<Store> {
    let mut store = Store::open(directory, Mode::Write)?;
    let result = store.rebuild(|ledger| replay(ledger).map(|replayed| replayed.document))?;
    let ledgers = count(result.indexed.len() as u64, "ledger", "ledgers");
    terminal::warn(&format!("the index was made again from {ledgers}"));
    if let Some(aside) = result.aside {
        let aside = aside.display();
        terminal::warn(&format!("the damaged index is kept as `{aside}`"));
    }
    for (id, reason) in result.failed {
        terminal::warn(&format!("session {id} could not be read: {reason}"));
    }
    Ok(store)
}

fn as_json(session: &SessionSummary) -> Value {
    json!({
        "id": session.id,
        "agent": session.agent,
        "command": session.command,
        "cwd": session.cwd,
        "user": session.user,
        "started_at": session.started_at,
        "ended_at": session.ended_at,
        "exit_code": session.exit_code,
        "signal": session.signal,
        "status": session.status,
        "records": session.records,
        "processes": session.processes,
        "llm_calls": session.llm_calls,
        "tool_calls": session.tool_calls,
        "actions": session.actions,
        "findings": session.findings,
        "input_tokens": session.input_tokens,
        "output_tokens": session.output_tokens,
        "cost_usd": session.cost_usd,
    })
}

fn render(sessions: &[SessionSummary]) -> String {
    if sessions.is_empty() {
        return "no sessions yet; record one with `agentsight run -- COMMAND`\n".to_owned();
    }
    let number = |known: bool, value: u64| {
        if known {
            value.to_string()
        } else {
            "?".to_owned()
        }
    };
    let rows: Vec<[String; 11]> = sessions
        .iter()
        .map(|session| {
            let tokens = session
                .input_tokens
                .zip(session.output_tokens)
                .map_or("-".to_owned(), |(input, output)| {
                    format!("{input}/{output}")
                });
            [
                session.id.clone(),
                session
                    .started_at
                    .get(..19)
                    .unwrap_or_default()
                    .replace('T', " "),
                duration(session),
                outcome(session),
                sanitize(&session.agent).into_owned(),
                number(session.indexed, session.llm_calls),
                number(session.indexed, session.tool_calls),
                number(session.indexed, session.processes),
                tokens,
                session
                    .cost_usd
                    .map_or("-".to_owned(), |cost| format!("{cost:.4}")),
                shortened(&sanitize(&session.command.join(" "))),
            ]
        })
        .collect();
    let titles = [
        "SESSION",
        "STARTED (UTC)",
        "TIME",
        "END",
        "AGENT",
        "LLM",
        "TOOLS",
        "PROCS",
        "TOKENS",
        "USD",
        "COMMAND",
    ];
    table(&titles.map(str::to_owned), &rows)
}

/// How long the session took, such as `1m04s`.
fn duration(session: &SessionSummary) -> String {
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let Some(seconds) = time(&session.started_at)
        .zip(session.ended_at.as_deref().and_then(time))
        .map(|(start, end)| end.duration_since(start).as_secs())
    else {
        return "-".to_owned();
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// How the session ended: its exit code, the signal, or that it has not ended in order.
fn outcome(session: &SessionSummary) -> String {
    match (session.exit_code, session.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => session.status.clone(),
    }
}

const COMMAND_COLUMNS: usize = 48;

fn shortened(text: &str) -> String {
    if text.chars().count() <= COMMAND_COLUMNS {
        return text.to_owned();
    }
    let kept: String = text
        .chars()
        .take(COMMAND_COLUMNS.saturating_sub(1))
        .collect();
    format!("{kept}…")
}

fn table<const N: usize>(titles: &[String; N], rows: &[[String; N]]) -> String {
    let mut widths = titles.each_ref().map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(titles).chain(rows) {
        let line = row
            .iter()
            .zip(widths)
            .fold(String::new(), |mut line, (cell, width)| {
                // Writing to a string cannot fail.
                let _ = write!(line, "{cell:width$}  ");
                line
            });
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
