//! The demo agent in every dialect: what it asked, what it was answered, and what it then did, held
//! against what the server wrote down and against the disk.

use std::path::Path;

use agentsight_model::document::{Call, ToolCall};
use agentsight_model::{BodyInfo, Part, Usage};
use agentsight_testkit::{Body, CalledTool, Demo, DemoOptions, Dialect, Exchange, Script};
use agentsight_testkit::{ToolRequest, Turn};
use serde_json::{Value, json};

use crate::support::{Recorded, Site, texts};

const PROMPT: &str = "PROMPT-e2e-5b21: look around, and do as the model says.";

fn script() -> Script {
    Script::new([
        Turn::text("I look around: „Grüße\", 你好, 🦀.").tool(ToolRequest::shell(
            "ls -l tools; cat config/credentials.ini | wc -c",
        )),
        Turn::text("Three things at once.")
            .tool(ToolRequest::write_file("notes.txt", "one\ntwo\n"))
            .tool(ToolRequest::read_file("README.txt"))
            .tool(ToolRequest::shell("ls /nonexistent-e2e"))
            .usage(Usage {
                input_tokens: Some(900),
                output_tokens: Some(85),
                cache_read_input_tokens: Some(512),
                cache_creation_input_tokens: Some(0),
                reasoning_output_tokens: Some(0),
                ..Usage::default()
            }),
        Turn::text("").tool(ToolRequest::shell(
            "mv notes.txt kept.txt && cp kept.txt copy.txt && rm copy.txt && echo RESULT-e2e-77",
        )),
        Turn::text("Nothing is left to do. ANSWER-e2e-91ce."),
    ])
}

fn api(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::AnthropicMessages => "anthropic.messages",
        Dialect::OpenAiChat => "openai.chat_completions",
        Dialect::OpenAiResponses => "openai.responses",
        Dialect::Gemini => "gemini.generate_content",
    }
}

fn all_forms_of(dialect: Dialect) {
    for (stream, gzip) in [(true, false), (false, false), (true, true), (false, true)] {
        println!("{dialect:?}, stream {stream}, gzip {gzip}");
        let options = DemoOptions {
            dialect,
            stream,
            gzip,
            owner: None,
        };
        conversation_of(&options);
    }
}

fn conversation_of(options: &DemoOptions) {
    let demo = Demo::start_with(options, script(), PROMPT).unwrap();
    let site = Site::new();
    site.run(demo.command()).cwd(demo.workspace()).end().ok();

    let session = site.recorded();
    session.assert_nothing_dropped();
    assert_eq!(session.document.session.exit_code, Some(0));
    let truth = demo.server().truth();
    assert_eq!(truth.len(), 4);
    assert_eq!(session.document.llm_calls.len(), truth.len());
    for (call, exchange) in session.document.llm_calls.iter().zip(&truth) {
        assert_same_call(call, exchange);
    }
    assert!(session.json.contains(PROMPT));
    assert_same_tool_calls(&session, &truth);
    assert_effects(&session, demo.workspace(), &demo);
    let tls = &session.document.coverage.tls;
    assert_eq!((tls.undecoded_streams, tls.missing_bytes), (0, 0));
    assert_eq!(tls.streams, 1);
}

#[track_caller]
fn assert_same_call(call: &Call, exchange: &Exchange) {
    assert_eq!(call.api, api(exchange.dialect));
    assert_eq!(call.model.as_deref(), Some(exchange.model.as_str()));
    assert_eq!(call.status, exchange.status);
    assert!(call.complete, "{:?}", call.error);
    assert_eq!(call.error, None);
    assert_eq!(call.transport, "http/1.1");
    assert_same_body(&call.request.body, &exchange.request);
    assert_same_body(&call.response.body, &exchange.response);
    assert_eq!(texts(call), exchange.text);
    assert_eq!(called(call), exchange.tool_calls);
    assert_eq!(call.finish_reasons, [exchange.finish_reason.as_str()]);
    assert_eq!(call.usage.input_tokens, exchange.usage.input_tokens);
    assert_eq!(call.usage.output_tokens, exchange.usage.output_tokens);
    assert_eq!(
        call.usage.cache_read_input_tokens.unwrap_or(0),
        exchange.usage.cache_read_input_tokens.unwrap_or(0)
    );
    let mut times = call.ttft_ms.into_iter().chain([call.duration_ms]);
    assert!(times.all(|time| (0.0..60_000.0).contains(&time)));
    assert!(call.ttft_ms.unwrap() <= call.duration_ms);
}

#[track_caller]
fn assert_same_body(seen: &BodyInfo, sent: &Body) {
    let expected = BodyInfo {
        bytes: sent.bytes,
        sha256: sent.sha256.clone(),
        wire_bytes: sent.wire_bytes,
        encoding: sent.encoding.clone(),
        complete: true,
    };
    assert_eq!(*seen, expected);
}

/// The tool calls of an answer, as the server writes them down.
fn called(call: &Call) -> Vec<CalledTool> {
    let messages = &call.response.messages;
    messages
        .iter()
        .flat_map(|message| &message.parts)
        .filter_map(|part| match part {
            Part::ToolCall {
                id,
                name,
                arguments,
            } => Some(CalledTool {
                id: id.clone(),
                name: name.clone(),
                arguments: arguments.clone(),
            }),
            _ => None,
        })
        .collect()
}

#[track_caller]
fn assert_same_tool_calls(session: &Recorded, truth: &[Exchange]) {
    let seen = &session.document.tool_calls;
    let asked: Vec<&CalledTool> = truth
        .iter()
        .flat_map(|exchange| &exchange.tool_calls)
        .collect();
    assert_eq!(seen.len(), asked.len());
    for (seen, asked) in seen.iter().zip(asked) {
        assert_eq!(seen.name, asked.name);
        assert_eq!(seen.arguments, asked.arguments);
        if let Some(id) = &asked.id {
            assert_eq!(seen.id, *id);
        }
        assert!(
            seen.result.is_some() && seen.finished_at.is_some(),
            "{seen:?}"
        );
        assert!(!seen.actions.is_empty(), "nothing is joined to {seen:?}");
        for id in &seen.actions {
            assert_eq!(
                session.action(id).tool_call.as_deref(),
                Some(seen.id.as_str())
            );
        }
    }
    let kinds: Vec<&str> = seen.iter().map(|call| call.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["shell", "file_write", "file_read", "shell", "shell"]
    );
}

/// Actions of this kind that are joined to the tool call, as one of their attributes.
fn joined<'a>(
    session: &'a Recorded,
    call: &ToolCall,
    kind: &str,
    attribute: &str,
) -> Vec<&'a Value> {
    call.actions
        .iter()
        .map(|id| session.action(id))
        .filter(|action| action.kind == kind)
        .filter_map(|action| action.attributes.get(attribute))
        .collect()
}

#[track_caller]
fn assert_effects(session: &Recorded, workspace: &Path, demo: &Demo) {
    let [look, write, read, fail, rename] = session.document.tool_calls.as_slice() else {
        panic!("not five tool calls");
    };
    for (call, programs) in [
        (
            look,
            &[
                &["ls", "-l", "tools"][..],
                &["cat", "config/credentials.ini"],
                &["wc", "-c"],
            ][..],
        ),
        (fail, &[&["ls", "/nonexistent-e2e"]]),
        (
            rename,
            &[
                &["mv", "notes.txt", "kept.txt"][..],
                &["cp", "kept.txt", "copy.txt"],
                &["rm", "copy.txt"],
            ],
        ),
    ] {
        let argvs = joined(session, call, "process.exec", "process.command_args");
        let shell = json!(["/bin/sh", "-c", call.arguments["command"]]);
        assert!(argvs.contains(&&shell), "{argvs:?}");
        for program in programs {
            assert!(
                argvs.contains(&&json!(program)),
                "{program:?} is not in {argvs:?}"
            );
        }
    }
    let path = |name: &str| json!(workspace.join(name).to_str().unwrap());
    for (call, kind, name) in [
        (look, "file.read", "config/credentials.ini"),
        (write, "file.create", "notes.txt"),
        (write, "file.write", "notes.txt"),
        (read, "file.read", "README.txt"),
        (rename, "file.rename", "kept.txt"),
        (rename, "file.read", "kept.txt"),
        (rename, "file.create", "copy.txt"),
        (rename, "file.delete", "copy.txt"),
    ] {
        let paths = joined(session, call, kind, "file.path");
        assert!(
            paths.contains(&&path(name)),
            "{kind} of {name} is not in {paths:?}"
        );
    }
    let old_paths = joined(session, rename, "file.rename", "agentsight.file.old_path");
    assert_eq!(old_paths, [&path("notes.txt")]);
    let [written] = session.on_file("file.write", &workspace.join("notes.txt"))[..] else {
        panic!("one process wrote notes.txt");
    };
    assert_eq!(written.attributes["agentsight.bytes"], 8);
    assert_eq!(
        std::fs::read(workspace.join("kept.txt")).unwrap(),
        b"one\ntwo\n"
    );

    let result = rename.result.as_ref().unwrap().to_string();
    assert!(result.contains("RESULT-e2e-77"), "{result}");
    let statuses: Vec<&str> = session
        .document
        .tool_calls
        .iter()
        .map(|call| call.status.as_str())
        .collect();
    // Of the dialects, only one says that a tool failed.
    let failed = match demo.server().truth()[0].dialect {
        Dialect::AnthropicMessages => "error",
        _ => "ok",
    };
    assert_eq!(statuses, ["ok", "ok", "ok", failed, "ok"]);

    let port = demo.server().address().port();
    let connects: Vec<_> = session
        .actions("network.connect")
        .filter(|action| action.attributes["network.peer.port"] == port)
        .collect();
    let [connect] = connects.as_slice() else {
        panic!("not one connection to the model: {connects:?}");
    };
    assert_eq!(connect.attributes["network.peer.address"], "127.0.0.1");
    assert!(
        connect.attributes["agentsight.network.sent_bytes"]
            .as_u64()
            .unwrap()
            > 4_000
    );
}

#[test]
#[ignore = "needs root"]
fn anthropic_messages_is_seen_as_it_was() {
    all_forms_of(Dialect::AnthropicMessages);
}

#[test]
#[ignore = "needs root"]
fn openai_chat_is_seen_as_it_was() {
    all_forms_of(Dialect::OpenAiChat);
}

#[test]
#[ignore = "needs root"]
fn openai_responses_is_seen_as_it_was() {
    all_forms_of(Dialect::OpenAiResponses);
}

#[test]
#[ignore = "needs root"]
fn gemini_is_seen_as_it_was() {
    all_forms_of(Dialect::Gemini);
}

/// Each request repeats the session so far; the ledger must not.
#[test]
#[ignore = "needs root"]
fn forty_turns_are_stored_once() {
    const TURNS: usize = 40;
    let look = "head -c 3000 /dev/urandom | base64 -w 0";
    let turns = (1..TURNS)
        .map(|turn| Turn::text(format!("Turn {turn}.")).tool(ToolRequest::shell(look)))
        .chain([Turn::text("Done.")]);
    let demo = Demo::start_with(&DemoOptions::default(), Script::new(turns), PROMPT).unwrap();
    let site = Site::new();
    site.run(demo.command()).cwd(demo.workspace()).end().ok();

    let session = site.recorded();
    session.assert_nothing_dropped();
    let calls = &session.document.llm_calls;
    assert_eq!(calls.len(), TURNS);
    let mut sent = 0;
    for (position, (call, exchange)) in calls.iter().zip(&demo.server().truth()).enumerate() {
        assert_same_call(call, exchange);
        sent += call.request.body.bytes;
        // The prompt, and an answer and a result for each turn.
        assert_eq!(call.request.messages.len(), 1 + 2 * position);
        let thread = call.thread.as_ref().unwrap();
        let turn = u64::try_from(position).unwrap() + 1;
        assert_eq!(
            (thread.conversation.as_str(), thread.turn),
            ("conversation-1", turn)
        );
        let (new, all) = (thread.new_messages_from, call.request.messages.len() as u64);
        assert_eq!(all - new, 1, "a turn brings one result: {thread:?}");
        assert!(thread.changes.is_empty(), "{thread:?}");
    }
    let directory = site
        .store()
        .join("sessions")
        .join(&session.document.session.id);
    let stored: u64 = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    println!("{sent} bytes of requests, {stored} bytes stored");
    // 4,000 bytes a turn are new; their base64 packs into three quarters. The rest is what was done.
    assert!(stored < 40 * 10_000, "{stored} bytes are stored");
    assert!(sent > 5 * stored, "{sent} bytes were sent, {stored} stored");
}
