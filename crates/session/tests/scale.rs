//! A long session, measured: `cargo test -p agentsight-session --test scale -- --ignored --nocapture`.

mod story;

use std::time::Instant;

use agentsight_session::SessionGraph;
use serde_json::json;
use story::*;

/// A session of many turns, each with a tool call, processes, files and a growing history.
fn long_story(turns: usize, files: usize) -> Story {
    let (mut story, agent) = Story::new();
    let mut history = vec![user("work")];
    for turn in 0..turns {
        let id = format!("t{turn}");
        let call = asks(
            Some(&id),
            "Bash",
            json!({"command": format!("make step{}", turn % 7)}),
        );
        let recent: Vec<_> = history.iter().rev().take(40).rev().cloned().collect();
        story.llm(agent, recent, vec![call.clone()]);
        let command = format!("make step{}", turn % 7);
        let shell = story.spawn(agent, "/usr/bin/bash", &["bash", "-c", &command]);
        let make = story.spawn(shell, "/usr/bin/make", &["make", "step"]);
        for number in 0..files {
            story.reads(make, &format!("/usr/lib/x{number}.so"));
            story.writes(make, &format!("/w/build/{}.o", (turn * 31 + number) % 5000));
        }
        story.exit(make, 0);
        story.exit(shell, 0);
        history.extend([assistant(vec![call]), result(Some(&id), None, "ok")]);
    }
    story
}

#[test]
#[ignore = "takes some seconds; prints times"]
fn a_million_events() {
    for turns in [1_250, 2_500, 5_000] {
        let story = long_story(turns, 50);
        let began = Instant::now();
        let mut graph = SessionGraph::default();
        for (seq, event) in story.events.iter().enumerate() {
            graph.apply(seq as u64, event);
        }
        let applied = began.elapsed();
        let document = graph.document();
        println!(
            "{} events: applied in {applied:?}, document of {} actions in {:?}",
            story.events.len(),
            document.actions.len(),
            began.elapsed() - applied,
        );
        assert!(
            document
                .tool_calls
                .iter()
                .all(|tool| !tool.actions.is_empty())
        );
    }
}

#[test]
fn hostile_sessions_end_in_time() {
    // Ten thousand open calls with one text, and as many processes that carry it: a match of each with
    // each would be a hundred million comparisons.
    let (mut story, agent) = Story::new();
    let calls = (0..10_000)
        .map(|n| asks(Some(&format!("t{n}")), "Bash", json!({"command": "true"})))
        .collect();
    story.llm(agent, vec![user("x")], calls);
    for _ in 0..10_000 {
        story.spawn(agent, "/bin/bash", &["bash", "-c", "true"]);
    }
    let began = Instant::now();
    let document = story.document();
    assert!(
        document
            .actions
            .iter()
            .filter(|action| action.tool_call.is_some())
            .count()
            > 10_000
    );
    assert!(began.elapsed().as_secs() < 60);

    // A chain of forks as deep as the table of processes.
    let (mut story, agent) = Story::new();
    let mut last = agent;
    for _ in 0..20_000 {
        last = story.fork(last);
    }
    story.exec(last, agent, "/bin/x", &["x"]);
    assert_eq!(story.document().processes.len(), 20_001);
}
