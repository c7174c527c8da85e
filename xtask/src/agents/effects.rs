//! What was done: each tool call is joined to what it did, and everything that the scenario makes happen is
//! among the actions.

use serde_json::Value;

use super::calls::{find_tool_call, is_answer};
use super::check::{Comparison, Evidence, list, text};

/// Every tool call that the scenario asks for is joined to the processes or files that it caused.
pub(super) fn compare_links(evidence: &Evidence, comparison: &mut Comparison) {
    for (wanted, asked) in scripted_tool_calls(evidence) {
        // A call that is missing was told already.
        let call = find_tool_call(wanted, &evidence.document);
        let joined = call.is_some_and(|call| is_joined(call, asked, evidence));
        comparison.links.add(joined);
        if !joined {
            let name = text(wanted, "name");
            comparison.differences.push(format!(
                "not joined: {name} {} to {}",
                wanted["id"],
                short(asked)
            ));
        }
    }
}

/// Tool calls that were sent, each with what the scenario says of it.
fn scripted_tool_calls(evidence: &Evidence) -> Vec<(&Value, &Value)> {
    let turns = list(&evidence.scenario, "turns");
    let mut found = Vec::new();
    for answer in evidence.truth.iter().filter(|entry| is_answer(entry)) {
        let request = evidence
            .truth
            .iter()
            .find(|entry| text(entry, "type") == "request" && entry.get("id") == answer.get("id"));
        let turn = request.and_then(|request| request.get("turn"));
        let index = turn
            .filter(|turn| text(turn, "thread") == "main")
            .and_then(|turn| turn.get("index"))
            .and_then(Value::as_u64)
            .and_then(|index| usize::try_from(index).ok());
        let tools = index
            .and_then(|index| turns.get(index))
            .map_or(&[][..], |turn| list(turn, "tools"));
        found.extend(list(answer, "tool_calls").iter().zip(tools));
    }
    found
}

fn is_joined(call: &Value, asked: &Value, evidence: &Evidence) -> bool {
    let ids = list(call, "actions");
    let mut actions = list(&evidence.document, "actions")
        .iter()
        .filter(|action| action.get("id").is_some_and(|id| ids.contains(id)));
    // Agents without a tool for it read and write by a command.
    if let Some(command) = asked.get("shell").and_then(Value::as_str) {
        actions.any(|action| runs(action, command))
    } else if text(call, "kind") == "shell" {
        actions.any(|action| text(action, "kind") == "process.exec")
    } else if let Some(path) = asked.get("read").and_then(Value::as_str) {
        actions.any(|action| touches(action, READ, &resolved(path, &evidence.work)))
    } else if let Some(path) = asked.pointer("/write/path").and_then(Value::as_str) {
        actions.any(|action| touches(action, WRITTEN, &resolved(path, &evidence.work)))
    } else {
        true
    }
}

const READ: &[&str] = &["file.read"];
/// Some agents write beside the file and put the result in its place.
const WRITTEN: &[&str] = &["file.create", "file.write", "file.truncate", "file.rename"];

fn resolved(path: &str, work: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{work}/{path}")
    }
}

/// Whether an action runs a shell with this command, which agents wrap in words of their own.
fn runs(action: &Value, command: &str) -> bool {
    text(action, "kind") == "process.exec"
        && argv(action)
            .iter()
            .filter_map(Value::as_str)
            .any(|argument| argument.contains(command))
}

fn touches(action: &Value, kinds: &[&str], path: &str) -> bool {
    kinds.contains(&text(action, "kind"))
        && action
            .pointer("/attributes/file.path")
            .and_then(Value::as_str)
            == Some(path)
}

fn argv(action: &Value) -> &[Value] {
    action
        .pointer("/attributes/process.command_args")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Everything that the scenario makes happen is there, as often as it says, joined to a tool call.
pub(super) fn compare_effects(evidence: &Evidence, comparison: &mut Comparison) {
    // An agent without tools gets the whole script as one text: it reads nothing, and no tool call is the
    // cause of what it does.
    let has_tools = !evidence.truth.iter().any(|entry| {
        let role = entry.pointer("/turn/role").and_then(Value::as_str);
        role == Some("edit-blocks")
    });
    for effect in list(&evidence.scenario, "effects") {
        if !has_tools && text(effect, "kind") == "file_read" {
            continue;
        }
        let difference = difference_of(effect, &evidence.document, has_tools);
        comparison.effects.add(difference.is_none());
        comparison
            .differences
            .extend(difference.map(|what| format!("{what}: {}", short(effect))));
    }
}

/// A value as text for people.
fn short(value: &Value) -> String {
    const CHARACTERS: usize = 160;
    let text = value.to_string();
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn difference_of(effect: &Value, document: &Value, has_tools: bool) -> Option<&'static str> {
    let seen: Vec<&Value> = list(document, "actions")
        .iter()
        .filter(|action| is_effect(action, effect))
        .collect();
    let wanted = effect.get("count").and_then(Value::as_u64).unwrap_or(1);
    let enough = |actions: &[&Value]| actions.len() as u64 >= wanted;
    if !enough(&seen) {
        return Some("not seen");
    }
    if !has_tools {
        return None;
    }
    let joined: Vec<&Value> = seen
        .into_iter()
        .filter(|action| action.get("tool_call").is_some_and(|id| !id.is_null()))
        .collect();
    if !enough(&joined) {
        return Some("seen without its tool call");
    }
    let asked = effect.get("asked") == Some(&Value::Bool(true));
    let judged: Vec<&Value> = joined
        .into_iter()
        .filter(|action| (text(action, "intent") == "unstated") != asked)
        .collect();
    (!enough(&judged)).then_some(if asked {
        "asked for, and taken for something that was not"
    } else {
        "not asked for, and taken for something that was"
    })
}

fn is_effect(action: &Value, effect: &Value) -> bool {
    let path = text(effect, "path");
    match text(effect, "kind") {
        "exec" => text(action, "kind") == "process.exec" && runs_as(action, list(effect, "argv")),
        "file_read" => touches(action, READ, path),
        "file_write" => touches(action, WRITTEN, path),
        "file_delete" => touches(action, &["file.delete"], path),
        "connect" => {
            let attribute = |name| action.pointer(&format!("/attributes/{name}"));
            let (address, port) = text(effect, "address").rsplit_once(':').unwrap_or_default();
            text(action, "kind") == "network.connect"
                && attribute("network.peer.address").and_then(Value::as_str) == Some(address)
                && attribute("network.peer.port")
                    .map(Value::to_string)
                    .as_deref()
                    == Some(port)
        }
        _ => false,
    }
}

/// Whether a program was run with these arguments, or a script by its interpreter.
fn runs_as(action: &Value, wanted: &[Value]) -> bool {
    let argv = argv(action);
    let script = action.pointer("/attributes/agentsight.process.filename");
    let of_script = argv
        .iter()
        .position(|argument| Some(argument) == script)
        .and_then(|position| argv.get(position..));
    same_command(argv, wanted) || of_script.is_some_and(|argv| same_command(argv, wanted))
}

/// The program may be named by its path or without, and may have more arguments than are named.
fn same_command(argv: &[Value], wanted: &[Value]) -> bool {
    let name = |argv: &[Value]| -> String {
        let first = argv.first().and_then(Value::as_str).unwrap_or_default();
        first.rsplit('/').next().unwrap_or_default().to_owned()
    };
    let arguments = wanted.get(1..).unwrap_or_default();
    !wanted.is_empty()
        && name(argv) == name(wanted)
        && argv
            .get(1..)
            .is_some_and(|rest| rest.starts_with(arguments))
}
