//! The conversation: prompts, what models answered, the tools they asked for.

use std::collections::HashSet;

use agentsight_model::document::{Call, ToolCall};
use agentsight_model::{Message, Part, PartInfo, Usage};
use serde_json::Value;

use super::effects;
use super::index::{Index, milliseconds};
use super::layout::{Line, Page, Style, branch};
use super::text::{bytes, number, one_line, span};

/// Calls shown in full. Of a longer session, the first and the last ones.
const MAX_CALLS: usize = 40;

/// Of these, the first ones.
const FIRST_CALLS: usize = 10;

/// Lines of an answer that are shown.
const ANSWER_LINES: usize = 3;

/// Images, sounds and documents of a call that are shown.
const MAX_PARTS: usize = 4;

/// Width from which on a line has room for the price beside the tokens.
const COST_WIDTH: usize = 80;

/// Where the text of a call begins.
const INDENT: &str = "   ";

/// Arguments that say what a tool call is about, best first.
const TELLING_ARGUMENTS: &[&str] = &[
    "command",
    "cmd",
    "script",
    "file_path",
    "absolute_path",
    "filePath",
    "path",
    "pattern",
    "query",
    "url",
    "prompt",
    "task",
    "input",
];

pub(super) fn write(page: &mut Page, index: &Index<'_>) {
    let calls = &index.doc.llm_calls;
    let skipped = calls.len().saturating_sub(MAX_CALLS);
    let mut prompts = HashSet::new();
    let mut shown = HashSet::new();
    for (position, call) in calls.iter().enumerate() {
        if skipped > 0 && position == FIRST_CALLS {
            page.gap();
            let text = format!("… {} more model calls …", number(skipped as u64));
            page.line(INDENT, &Line::new(Style::Dim, text));
        }
        if skipped > 0 && (FIRST_CALLS..FIRST_CALLS + skipped).contains(&position) {
            continue;
        }
        if let Some(prompt) = prompt_of(call).filter(|prompt| prompts.insert(prompt.clone())) {
            page.gap();
            page.line("", &Line::new(Style::Bold, "❯ ").then(Style::Bold, prompt));
        }
        write_call(page, index, position, call, &mut shown);
    }
}

/// The first line that the user last said, if it is text and was not said in an earlier turn.
fn prompt_of(call: &Call) -> Option<String> {
    let from = call.thread.as_ref().map_or(0, |it| it.new_messages_from);
    let known = usize::try_from(from).unwrap_or(usize::MAX);
    let user = call
        .request
        .messages
        .iter()
        .skip(known)
        .rev()
        .find(|message| message.role == "user")?;
    let texts = user.parts.iter().rev().filter_map(|part| match part {
        // Agents put context of their own, in tags, beside what the user said.
        Part::Text { content } if !content.trim_start().starts_with('<') => Some(content),
        _ => None,
    });
    let lines = texts.flat_map(|text| text.lines());
    lines.map(one_line).find(|line| !line.is_empty())
}

/// Content that was shown, by conversation and digest: each turn repeats it.
type Shown<'a> = HashSet<(&'a str, &'a str)>;

fn write_call<'a>(
    page: &mut Page,
    index: &Index<'a>,
    position: usize,
    call: &'a Call,
    shown: &mut Shown<'a>,
) {
    page.gap();
    let number = format!("{:<3}", position.saturating_add(1));
    let model = call.model.as_deref().unwrap_or("unknown model");
    let mut line = Line::new(Style::Dim, number).then(Style::Bold, one_line(model));
    if let Some(agent) = index.agent(call.process) {
        line = line
            .then(Style::Dim, "  ")
            .then(Style::Name, one_line(agent));
    }
    line = line
        .then(Style::Dim, "  ")
        .then(Style::Dim, tokens(&call.usage));
    for note in thread_notes(index, call) {
        line = line.note(Style::Dim, note);
    }
    if let Some(error) = &call.error {
        let status = call
            .status
            .filter(|status| *status >= 400)
            .map(|status| format!("{status} "));
        line = line.note(
            Style::Bad,
            format!("{}{}", status.unwrap_or_default(), one_line(&error.kind)),
        );
    } else if !call.complete {
        line = line.note(Style::Warn, "not seen whole");
    }
    for reason in call.finish_reasons.iter().filter(|it| is_telling(it)) {
        line = line.note(Style::Warn, one_line(reason));
    }
    let cost = call.cost_usd.filter(|cost| *cost > 0.0);
    if let Some(cost) = cost.filter(|_| page.width() >= COST_WIDTH) {
        line = line.note(Style::Dim, format!("${cost:.4}"));
    }
    page.line("", &line.note(Style::Dim, span(call.duration_ms)));
    if let Some(error) = &call.error {
        page.line(INDENT, &Line::new(Style::Bad, one_line(&error.message)));
    }
    write_parts(page, index, call, shown);
    write_answer(page, &call.response.messages);
    let tools = index.tools_of(&call.id);
    for (position, tool) in tools.iter().enumerate() {
        write_tool(page, index, tool, position + 1 == tools.len());
    }
}

/// Whether an answer did not end because all was said or a tool is to be called. Reasons that are not
/// known are told.
fn is_telling(reason: &str) -> bool {
    const USUAL: [&str; 12] = [
        "stop",
        "end_turn",
        "stop_sequence",
        "eos",
        "eos_token",
        "complete",
        "completed",
        "done",
        "tool_use",
        "tool_call",
        "tool_calls",
        "function_call",
    ];
    !USUAL.iter().any(|usual| reason.eq_ignore_ascii_case(usual))
}

/// What a call brought that is not text.
fn write_parts<'a>(page: &mut Page, index: &Index<'_>, call: &'a Call, shown: &mut Shown<'a>) {
    let conversation = call.thread.as_ref().map_or("", |it| &*it.conversation);
    let mut parts: Vec<&PartInfo> = call.parts.iter().collect();
    parts.retain(|part| shown.insert((conversation, &*part.sha256)));
    for part in parts.iter().take(MAX_PARTS) {
        page.line(INDENT, &part_line(index, part));
    }
    let more = parts.len().saturating_sub(MAX_PARTS);
    if more > 0 {
        let text = format!("… {more} more that are not text");
        page.line(INDENT, &Line::new(Style::Dim, text));
    }
}

fn part_line(index: &Index<'_>, part: &PartInfo) -> Line {
    let kind = part.mime_type.as_deref().unwrap_or(&part.modality);
    let mut line = Line::new(Style::Dim, "▪ ").then(Style::Plain, one_line(kind));
    if let Some((width, height)) = part.width.zip(part.height) {
        line = line.then(Style::Dim, format!("  {width} × {height}"));
    }
    if let Some(declared) = &part.declared_mime_type {
        line = line.then(Style::Warn, format!("  said to be {}", one_line(declared)));
    }
    if let Some(file) = &part.file {
        let path = one_line(index.short_path(&file.path));
        line = line.then(Style::Dim, "  from ").then(Style::Plain, path);
    }
    if let Some(duration) = part.duration_ms {
        // Milliseconds lose nothing that matters here.
        #[allow(clippy::cast_precision_loss)]
        let duration = duration as f64;
        line = line.note(Style::Dim, span(duration));
    }
    line.note(Style::Dim, bytes(part.bytes))
}

/// Which conversation a call is a turn of, if there are several, and how its history differs from what
/// was said before.
fn thread_notes(index: &Index<'_>, call: &Call) -> Vec<String> {
    let Some(thread) = &call.thread else {
        return Vec::new();
    };
    let of_several = index
        .doc
        .llm_calls
        .iter()
        .filter_map(|call| call.thread.as_ref())
        .any(|other| other.conversation != thread.conversation);
    let number = thread.conversation.rsplit('-').next().unwrap_or_default();
    let place = match &thread.parent_tool_call {
        Some(_) => format!("sub-agent {number}.{}", thread.turn),
        None => format!("conversation {number}.{}", thread.turn),
    };
    let changes = thread.changes.iter().map(|change| match change.as_str() {
        "history_edit" => "history edited".to_owned(),
        "compaction" => "history compacted".to_owned(),
        other => other.replace('_', " "),
    });
    of_several
        .then_some(place)
        .into_iter()
        .chain(changes)
        .collect()
}

fn tokens(usage: &Usage) -> String {
    // What no provider has counted is ours.
    let about = if usage.estimated { "~" } else { "" };
    let mut texts = Vec::new();
    if let Some(input) = usage.input_tokens {
        let cached = usage.cache_read_input_tokens.filter(|cached| *cached > 0);
        let cached = cached.map(|cached| format!(" ({} cached)", number(cached)));
        texts.push(format!(
            "{about}{} in{}",
            number(input),
            cached.unwrap_or_default()
        ));
    }
    if let Some(output) = usage.output_tokens {
        let reasoning = usage.reasoning_output_tokens.filter(|count| *count > 0);
        let reasoning = reasoning.map(|count| format!(" ({} reasoning)", number(count)));
        texts.push(format!(
            "{about}{} out{}",
            number(output),
            reasoning.unwrap_or_default()
        ));
    }
    texts.join(" · ")
}

fn write_answer(page: &mut Page, answers: &[Message]) {
    let texts = answers
        .iter()
        .flat_map(|answer| &answer.parts)
        .filter_map(|part| match part {
            Part::Text { content } => Some(content.as_str()),
            _ => None,
        });
    let mut lines = texts
        .flat_map(str::lines)
        .map(one_line)
        .filter(|line| !line.is_empty());
    for line in lines.by_ref().take(ANSWER_LINES) {
        page.line(INDENT, &Line::new(Style::Plain, line));
    }
    let more = lines.count();
    if more > 0 {
        page.line(
            INDENT,
            &Line::new(Style::Dim, format!("… {more} more lines")),
        );
    }
}

fn write_tool(page: &mut Page, index: &Index<'_>, tool: &ToolCall, is_last: bool) {
    let (own, below) = branch(INDENT, is_last);
    let name = one_line(&tool.name);
    let mut line = Line::new(Style::Name, &name).then(Style::Plain, "  ");
    line = line.then(Style::Plain, telling_argument(index, &tool.arguments));
    let took = tool
        .finished_at
        .as_ref()
        .map(|end| span(milliseconds(&tool.requested_at, end)));
    line = match tool.status.as_str() {
        "ok" => line,
        "error" => line.note(Style::Bad, "error"),
        _ => line.note(Style::Warn, "no result seen"),
    };
    if let Some(server) = index.server_of(tool) {
        line = line.note(Style::Dim, format!("by {}", one_line(server)));
    }
    if let Some(took) = took {
        line = line.note(Style::Dim, took);
    }
    page.line(&own, &line);
    effects::write(page, index, tool, &below);
}

/// What a tool call is about, on one line.
fn telling_argument(index: &Index<'_>, arguments: &Value) -> String {
    let Value::Object(map) = arguments else {
        return match arguments {
            Value::Null => String::new(),
            Value::String(text) => one_line(text),
            other => one_line(&other.to_string()),
        };
    };
    let telling = TELLING_ARGUMENTS
        .iter()
        .find_map(|name| map.get(*name))
        .or_else(|| map.values().next());
    match telling {
        Some(Value::String(text)) => one_line(index.short_path(text)),
        Some(Value::Array(items)) => {
            let words: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            one_line(&words.join(" "))
        }
        Some(other) => one_line(&other.to_string()),
        None => String::new(),
    }
}
