//! What calls cost: by turn, conversation, tool call, agent, model and session.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod story;

use agentsight_model::*;
use serde_json::json;
use story::*;

/// The check vector: 1,200 tokens of which 1,000 were read from a cache and 100 written to it, and 80 of
/// the answer, cost $0.002175 with `claude-sonnet-4-5`.
fn priced(story: &mut Story, model: &str, estimated: bool) {
    let last = story.events.last_mut().unwrap();
    let EventBody::LlmCall(call) = &mut last.body else {
        panic!("{last:?}")
    };
    call.model = Some(model.into());
    call.usage = Usage {
        input_tokens: Some(1_200),
        output_tokens: Some(80),
        cache_read_input_tokens: Some(1_000),
        cache_creation_input_tokens: Some(100),
        reasoning_output_tokens: None,
        estimated,
    };
}

#[track_caller]
fn assert_usd(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
}

#[test]
fn prices_are_summed_by_whatever_may_be_asked_for() {
    const ONE: f64 = 0.002_175;
    let (mut story, agent) = Story::new();
    let EventBody::SessionStart(start) = &mut story.events[0].body else {
        panic!("no start")
    };
    start.price_table = "another 1.0".into();
    start.prices = vec![ModelPrice {
        model: "own-*".into(),
        input: 1.0,
        output: 0.0,
        ..ModelPrice::default()
    }];
    let prompt = "Find all callers of `parse` and list them.";
    let task = asks(Some("t1"), "Task", json!({"prompt": prompt}));
    let look = asks(Some("t2"), "Read", json!({"path": "/w/a"}));
    story.llm(
        agent,
        vec![user("fix it")],
        vec![task.clone(), look.clone()],
    );
    priced(&mut story, "claude-sonnet-4-5", false);
    story.llm(agent, vec![user(prompt)], vec![text("two callers")]);
    priced(&mut story, "own-model", true);
    let asked = assistant(vec![task, look]);
    story.llm(
        agent,
        vec![user("fix it"), asked, user("and?")],
        vec![text("done")],
    );
    priced(&mut story, "claude-sonnet-4-5", false);
    story.llm(agent, vec![user("who knows?")], vec![text("nobody")]);
    priced(&mut story, "no-such-model", false);

    let document = story.document();
    let cost = &document.cost;
    assert_usd(document.llm_calls[0].cost_usd, ONE);
    assert_usd(document.llm_calls[1].cost_usd, 0.001_2);
    assert_eq!(document.llm_calls[3].cost_usd, None);
    assert_usd(cost.usd, 2.0 * ONE + 0.001_2);
    assert_eq!((cost.priced_calls, cost.unpriced_calls), (3, 1));
    assert_eq!((cost.estimated_calls, cost.own_price_calls), (1, 1));
    assert_eq!(cost.recorded_price_table.as_deref(), Some("another 1.0"));
    assert_usd(cost.by_model.get("claude-sonnet-4-5").copied(), 2.0 * ONE);
    assert_usd(cost.by_agent.values().copied().next(), 2.0 * ONE + 0.001_2);
    assert_usd(cost.by_conversation["conversation-1"].get(&2).copied(), ONE);
    assert_usd(
        cost.by_conversation["conversation-2"].get(&1).copied(),
        0.001_2,
    );
    // Half of the call that asked; and for the task, its sub-agent.
    let of = |id: &str| {
        document
            .tool_calls
            .iter()
            .find(|tool| tool.id == id)
            .unwrap()
            .cost_usd
    };
    assert_usd(of("t2"), ONE / 2.0);
    assert_usd(of("t1"), ONE / 2.0 + 0.001_2);
}
