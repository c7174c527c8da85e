//! The report at the end of a session: what was asked, what was said, what was done, what nobody asked for.
//!
//! [`render`] is a pure function of the session document, so that the report of a running session, of
//! one that has ended, and of one read back from its ledger are the same. All captured text passes
//! [`text::plain`] on its way into a line.

mod calls;
mod effects;
mod index;
mod layout;
mod outside;
mod servers;
mod summary;
mod text;

use std::borrow::Cow;

use agentsight_model::document::SessionDocument;

use index::Index;
use layout::{Line, Page, Style};
pub(crate) use text::count;

/// The narrowest page: below it nothing can be read.
const MIN_WIDTH: usize = 40;

/// The widest page: notes at the right edge must not be too far from what they belong to.
const MAX_WIDTH: usize = 140;

/// How a report looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReportOptions {
    /// Whether to use colours.
    pub(crate) color: bool,
    /// Columns of the terminal.
    pub(crate) width: usize,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            color: false,
            width: 100,
        }
    }
}

/// Captured text fit for a terminal: without control characters, terminal sequences, characters that
/// reverse the direction of text, and beyond 4096 characters.
#[must_use]
pub(crate) fn sanitize(text: &str) -> Cow<'_, str> {
    let plain = text::plain(text);
    if plain == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(plain)
    }
}

/// The report on a session.
#[must_use]
pub(crate) fn render(doc: &SessionDocument, options: &ReportOptions) -> String {
    let mut page = Page::new(options.color, options.width.clamp(MIN_WIDTH, MAX_WIDTH));
    let index = Index::of(doc);
    header(&mut page, &index);
    calls::write(&mut page, &index);
    summary::write(&mut page, &index);
    page.finish()
}

fn header(page: &mut Page, index: &Index<'_>) {
    let session = &index.doc.session;
    let agent = &session.agent;
    let mut title = Line::new(Style::Bold, text::one_line(&agent.name));
    if let Some(version) = &agent.version {
        title = title
            .then(Style::Plain, " ")
            .then(Style::Plain, text::one_line(version));
    }
    title = title.then(Style::Dim, "  ").then(
        Style::Dim,
        text::command_line(&shown_command(&session.command)),
    );
    if !agent.name.is_empty() || !session.command.is_empty() {
        page.line("", &title);
    }
    page.flow(&facts_of(index), " · ");
}

/// A command without the directory of its program.
fn shown_command(command: &[String]) -> Vec<String> {
    let mut command = command.to_vec();
    if let Some(program) = command.first_mut() {
        *program = index::file_name(program).to_owned();
    }
    command
}

fn facts_of(index: &Index<'_>) -> Vec<(Style, String)> {
    let doc = index.doc;
    let session = &doc.session;
    let mut facts = Vec::new();
    if !session.id.is_empty() {
        facts.push((Style::Dim, session.id.clone()));
    }
    if let Some(ended_at) = &session.ended_at {
        facts.push((
            Style::Plain,
            text::span(index::milliseconds(&session.started_at, ended_at)),
        ));
    }
    facts.push(
        match (session.exit_code, session.signal, session.status.as_str()) {
            (Some(0), _, _) => (Style::Good, "exit 0".to_owned()),
            (Some(code), _, _) => (Style::Bad, format!("exit {code}")),
            (None, Some(signal), _) => (Style::Bad, format!("signal {signal}")),
            (None, None, "") => (Style::Warn, "no end seen".to_owned()),
            (None, None, status) => (Style::Warn, status.to_owned()),
        },
    );
    let counts = [
        (doc.llm_calls.len(), "model call", "model calls"),
        (doc.tool_calls.len(), "tool call", "tool calls"),
        (doc.processes.len(), "process", "processes"),
    ];
    for (count, one, many) in counts {
        facts.push((Style::Plain, text::count(count as u64, one, many)));
    }
    let unasked = index.unasked_count();
    if unasked > 0 {
        facts.push((
            Style::Warn,
            format!(
                "{} not asked for",
                text::count(unasked as u64, "action", "actions")
            ),
        ));
    }
    if index.doc.actions.iter().any(|it| it.intent == "unknown") {
        facts.push((Style::Dim, "what was asked for was not kept".to_owned()));
    }
    facts
}

#[cfg(test)]
mod tests;
