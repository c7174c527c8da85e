//! Conversations: which calls are turns of one, what changed between them, and that a ledger which
//! stores each message once tells the same as one that repeats them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod story;

use agentsight_model::document::{Call, CallThread, SessionDocument};
use agentsight_model::*;
use agentsight_session::{Deduplicator, SessionGraph};
use serde_json::json;
use story::*;

/// The document of a story whose calls went through a [`Deduplicator`].
fn deduplicated(story: &Story) -> SessionDocument {
    let mut all = Deduplicator::default();
    let mut graph = SessionGraph::default();
    let mut seq = 0;
    let mut apply = |event: Event| {
        // As a ledger hands it out.
        let json = serde_json::to_string(&event).unwrap();
        graph.apply(seq, &serde_json::from_str(&json).unwrap());
        seq += 1;
    };
    for event in &story.events {
        let EventBody::LlmCall(call) = &event.body else {
            apply(event.clone());
            continue;
        };
        let (pieces, call) = all.split(LlmCall::clone(call));
        let bodies = pieces
            .into_iter()
            .map(|piece| EventBody::LlmContent(Box::new(piece)))
            .chain([EventBody::LlmCall(Box::new(call))]);
        for body in bodies {
            apply(Event {
                body,
                ..event.clone()
            });
        }
    }
    graph.document()
}

/// The calls of a story, which must not depend on how it is stored.
#[track_caller]
fn calls_of(story: &Story) -> Vec<Call> {
    let document = story.document();
    let again = deduplicated(story);
    assert_eq!(document.llm_calls, again.llm_calls);
    assert_eq!(
        serde_json::to_value(&document.tool_calls).unwrap(),
        serde_json::to_value(&again.tool_calls).unwrap()
    );
    document.llm_calls
}

#[track_caller]
fn threads_of(story: &Story) -> Vec<CallThread> {
    let calls = calls_of(story).into_iter();
    calls.map(|call| call.thread.unwrap()).collect()
}

/// Conversation, turn, new messages from, changes.
fn gist(thread: &CallThread) -> (&str, u64, u64, Vec<&str>) {
    (
        &thread.conversation,
        thread.turn,
        thread.new_messages_from,
        thread.changes.iter().map(String::as_str).collect(),
    )
}

fn says(content: &str) -> Message {
    assistant(vec![text(content)])
}

/// Changes the last call of a story.
fn last_call(story: &mut Story) -> &mut LlmCall {
    let last = story.events.last_mut().unwrap();
    match &mut last.body {
        EventBody::LlmCall(call) => call,
        other => panic!("{other:?}"),
    }
}

const SUMMARY: &str = "Summary: the parser is in src/parse.rs, its tests fail, one fix is made.";

#[test]
fn each_turn_has_what_is_new_in_it() {
    let (mut story, agent) = Story::new();
    let mut history = vec![user("one")];
    for turn in 0..3 {
        let answer = format!("answer {turn}");
        story.llm(agent, history.clone(), vec![text(&answer)]);
        history.extend([says(&answer), user(&format!("and {turn}?"))]);
    }
    let threads = threads_of(&story);
    let gists: Vec<_> = threads.iter().map(gist).collect();
    assert_eq!(
        gists,
        [
            ("conversation-1", 1, 0, vec![]),
            ("conversation-1", 2, 2, vec![]),
            ("conversation-1", 3, 4, vec![]),
        ]
    );
    assert_eq!(threads[2].previous.as_deref(), Some("llm-2"));
}

#[test]
fn what_happens_to_a_history_is_named() {
    let long = vec![
        user("one"),
        says("two"),
        user("three"),
        says("four"),
        user("five"),
    ];
    for (name, next, expected) in [
        (
            "retry",
            long.clone(),
            ("conversation-1", 1, 5, vec!["retry"]),
        ),
        (
            "edit",
            [
                &long[..2],
                &[user("THREE")],
                &long[3..],
                &[says("ok"), user("six")],
            ]
            .concat(),
            ("conversation-1", 2, 2, vec!["history_edit"]),
        ),
        (
            "compaction",
            vec![user(&format!("This goes on:\n{SUMMARY}\n")), user("six")],
            ("conversation-1", 2, 0, vec!["compaction"]),
        ),
        (
            "another",
            vec![user("something else"), user("entirely")],
            ("conversation-2", 1, 0, vec![]),
        ),
    ] {
        let (mut story, agent) = Story::new();
        story.llm(agent, long.clone(), vec![text(SUMMARY)]);
        story.llm(agent, next, vec![text("ok")]);
        let threads = threads_of(&story);
        assert_eq!(gist(&threads[1]), expected, "{name}");
    }
}

#[test]
fn a_switch_of_the_model_is_named() {
    let (mut story, agent) = Story::new();
    story.llm(agent, vec![user("one")], vec![text("two")]);
    story.llm(agent, vec![user("one"), says("two"), user("three")], vec![]);
    last_call(&mut story).model = Some("other".into());
    // The same request once more, to another model.
    story.llm(agent, vec![user("one"), says("two"), user("three")], vec![]);
    let threads = threads_of(&story);
    assert_eq!(
        gist(&threads[1]),
        ("conversation-1", 2, 2, vec!["model_switch"])
    );
    assert_eq!(
        gist(&threads[2]),
        ("conversation-1", 2, 3, vec!["retry", "model_switch"])
    );
}

#[test]
fn a_sub_agent_talks_in_a_conversation_of_its_own() {
    let (mut story, agent) = Story::new();
    let prompt = "Find all callers of `parse` and list them.";
    let task = asks(
        Some("t1"),
        "Task",
        json!({"prompt": prompt, "kind": "search"}),
    );
    story.llm(agent, vec![user("fix it")], vec![task.clone()]);
    let context = "<context>a date</context>";
    let first = Message {
        role: "user".into(),
        parts: vec![text(context), text(prompt)],
    };
    story.llm(agent, vec![first.clone()], vec![text("two callers")]);
    story.llm(
        agent,
        vec![first, says("two callers"), user("sure?")],
        vec![text("yes")],
    );
    let back = result(Some("t1"), None, "two callers");
    story.llm(
        agent,
        vec![user("fix it"), assistant(vec![task]), back],
        vec![text("done")],
    );

    let threads = threads_of(&story);
    let conversations: Vec<_> = threads
        .iter()
        .map(|t| (t.conversation.as_str(), t.turn))
        .collect();
    assert_eq!(
        conversations,
        [
            ("conversation-1", 1),
            ("conversation-2", 1),
            ("conversation-2", 2),
            ("conversation-1", 2)
        ]
    );
    for sub in &threads[1..3] {
        assert_eq!(sub.parent_call.as_deref(), Some("llm-1"));
        assert_eq!(sub.parent_tool_call.as_deref(), Some("t1"));
    }
    assert_eq!(threads[3].parent_call, None);
}

#[test]
fn a_title_made_of_the_first_prompt_is_no_turn() {
    let (mut story, agent) = Story::new();
    story.llm(agent, vec![user("one")], vec![text("A Title")]);
    last_call(&mut story).request.system = vec![text("make a title")];
    story.llm(agent, vec![user("one")], vec![text("two")]);
    story.llm(
        agent,
        vec![user("one"), says("two"), user("three")],
        vec![text("four")],
    );
    let threads = threads_of(&story);
    let gists: Vec<_> = threads
        .iter()
        .map(|t| (t.conversation.as_str(), t.turn))
        .collect();
    assert_eq!(
        gists,
        [
            ("conversation-1", 1),
            ("conversation-2", 1),
            ("conversation-2", 2)
        ]
    );
}

#[test]
fn a_question_of_the_token_count_is_no_turn() {
    let (mut story, agent) = Story::new();
    for operation in ["count_tokens", "chat"] {
        story.llm(agent, vec![user("one")], vec![text("two")]);
        last_call(&mut story).operation = operation.into();
    }
    let calls = calls_of(&story);
    assert_eq!(calls[0].thread, None);
    assert_eq!(
        calls[1].thread.as_ref().map(gist),
        Some(("conversation-1", 1, 0, vec![]))
    );
}

#[test]
fn a_provider_may_keep_the_history() {
    let (mut story, agent) = Story::new();
    story.llm(agent, vec![user("one")], vec![text("two")]);
    last_call(&mut story).response.id = Some("resp_1".into());
    story.llm(agent, vec![user("three")], vec![text("four")]);
    let parameters = &mut last_call(&mut story).request.parameters;
    parameters.insert("previous_response_id".into(), json!("resp_1"));
    // The same question once more, and another one that goes on from the same answer.
    for (prompt, answer) in [("three", "five"), ("six", "seven")] {
        story.llm(agent, vec![user(prompt)], vec![text(answer)]);
        let parameters = &mut last_call(&mut story).request.parameters;
        parameters.insert("previous_response_id".into(), json!("resp_1"));
    }
    let threads = threads_of(&story);
    assert_eq!(gist(&threads[1]), ("conversation-1", 2, 0, vec![]));
    assert_eq!(gist(&threads[2]), ("conversation-1", 2, 1, vec!["retry"]));
    assert_eq!(gist(&threads[3]), ("conversation-1", 2, 0, vec![]));
}

#[test]
fn a_lost_message_leaves_a_mark_in_its_place() {
    let mut all = Deduplicator::default();
    let (mut story, agent) = Story::new();
    story.llm(agent, vec![user("one")], vec![text("two")]);
    story.llm(
        agent,
        vec![user("one"), says("two"), user("three")],
        vec![text("four")],
    );
    let mut graph = SessionGraph::default();
    for event in &story.events {
        if let EventBody::LlmCall(call) = &event.body {
            let (pieces, call) = all.split(LlmCall::clone(call));
            for piece in pieces {
                let is_lost =
                    matches!(&piece.content, ContentPiece::Message(m) if *m == user("one"));
                if !is_lost {
                    let body = EventBody::LlmContent(Box::new(piece));
                    graph.apply(
                        0,
                        &Event {
                            body,
                            ..event.clone()
                        },
                    );
                }
            }
            let body = EventBody::LlmCall(Box::new(call));
            graph.apply(
                0,
                &Event {
                    body,
                    ..event.clone()
                },
            );
        }
    }
    let document = graph.document();
    let last = &document.llm_calls[1].request.messages;
    assert_eq!(last.len(), 3);
    assert_eq!(
        (last[0].role.as_str(), &last[2]),
        ("unknown", &user("three"))
    );
    assert_eq!(document.coverage.omitted["llm.message"], 1);
    assert_eq!(document.llm_calls[1].thread.as_ref().unwrap().turn, 2);
}
