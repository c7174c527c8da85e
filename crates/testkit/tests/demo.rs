//! The demo agent and the scripted model, together, for real.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use agentsight_testkit::{
    Demo, DemoOptions, Dialect, Fault, Outcome, Owner, Script, ToolRequest, Turn,
};

fn run(demo: &Demo) -> Output {
    let (program, arguments) = demo.command().split_first().unwrap();
    Command::new(program)
        .args(arguments)
        .current_dir(demo.workspace())
        .output()
        .expect("python3 is needed for this test")
}

#[test]
fn the_agent_does_what_the_script_says_in_every_dialect() {
    for dialect in Dialect::ALL {
        for (stream, gzip) in [(true, false), (false, false), (true, true), (false, true)] {
            let demo = Demo::start(&DemoOptions {
                dialect,
                stream,
                gzip,
                owner: None,
            })
            .unwrap();
            let output = run(&demo);
            let said = String::from_utf8_lossy(&output.stdout);
            let case = format!("{dialect:?}, stream {stream}, gzip {gzip}: {said}");
            assert!(output.status.success(), "{case}\n{output:?}");
            assert!(said.ends_with("the sources are tidy.\n"), "{case}");
            for file in ["wordcount.py", "test_wordcount.py", ".tidy-was-here"] {
                assert!(demo.workspace().join(file).exists(), "{case}: no {file}");
            }

            let truth = demo.server().truth();
            let turns: Vec<usize> = truth.iter().map(|exchange| exchange.turn).collect();
            assert_eq!(turns, [0, 1, 2, 3, 4], "{case}");
            let results: Vec<usize> = truth.iter().map(|exchange| exchange.tool_results).collect();
            assert_eq!(results, [0, 1, 3, 4, 5], "{case}");
            for exchange in &truth {
                assert_eq!(exchange.dialect, dialect, "{case}");
                assert_eq!(exchange.connection, 1, "{case}: keep-alive");
                assert_eq!(exchange.outcome, Outcome::Complete, "{case}");
                assert_eq!(exchange.stream, stream, "{case}");
                assert_eq!(exchange.model, "scripted-model", "{case}");
                let encoding = gzip.then(|| "gzip".to_owned());
                assert_eq!(exchange.request.encoding, encoding, "{case}");
                assert_eq!(exchange.response.encoding, encoding, "{case}");
                assert_eq!(
                    exchange.request.bytes,
                    exchange.request.as_str().len() as u64
                );
                assert_eq!(
                    exchange.response.bytes,
                    exchange.response.as_str().len() as u64
                );
            }
            // What the tools really said went back to the model.
            assert!(truth[1].request.as_str().contains("tidy.sh"), "{case}");
            assert!(truth[3].request.as_str().contains("Ran 2 tests"), "{case}");
        }
    }
}

#[test]
fn the_agent_says_what_went_wrong() {
    let status = |code| Fault::Status {
        code,
        retry_after_seconds: Some(0),
    };
    for dialect in Dialect::ALL {
        for (fault, times, message) in [
            (status(429), 2, None),
            (status(503), 3, Some("status 503")),
            (status(401), 1, Some("status 401")),
            (Fault::Truncated { pieces: 2 }, 1, Some("ended early")),
            (Fault::Cut { pieces: 2 }, 1, Some("IncompleteRead")),
            (
                Fault::Garbage(b"\0garbage\r\n".to_vec()),
                1,
                Some("BadStatusLine"),
            ),
            (Fault::NestedJson { levels: 100 }, 1, None),
        ] {
            let text = "An answer that is long enough for two pieces.";
            let script = Script::new([
                Turn::text("").tool(ToolRequest::shell("exit 3")),
                Turn::text(text).fault(fault.clone(), times),
            ]);
            let options = DemoOptions {
                dialect,
                ..DemoOptions::default()
            };
            let demo = Demo::start_with(&options, script, "go").unwrap();
            let output = run(&demo);
            let case = format!("{dialect:?} {fault:?}: {output:?}");
            assert_eq!(
                output.status.code(),
                Some(i32::from(message.is_some())),
                "{case}"
            );
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains(message.unwrap_or_default()), "{case}");
            let truth = demo.server().truth();
            assert!(truth[1].request.as_str().contains("exit code 3"), "{case}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn the_workspace_belongs_to_the_owner() {
    let owner = Owner {
        uid: 65_534,
        gid: 65_534,
    };
    let demo = Demo::start(&DemoOptions {
        owner: Some(owner),
        ..DemoOptions::default()
    })
    .unwrap();
    let (program, arguments) = demo.command().split_first().unwrap();
    let output = Command::new(program)
        .args(arguments)
        .current_dir(demo.workspace())
        .uid(owner.uid)
        .gid(owner.gid)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let made = demo.workspace().join("wordcount.py");
    assert_eq!(std::fs::metadata(made).unwrap().uid(), owner.uid);
}
