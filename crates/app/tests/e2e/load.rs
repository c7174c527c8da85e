//! Bursts and bulk: nothing of them is lost, or what is lost is counted.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use agentsight_model::{EventClass, Usage};
use agentsight_testkit::{Demo, DemoOptions, Dialect, Script, ToolRequest, Turn};

use crate::support::{PYTHON, Recorded, Site, texts};

const PATIENCE: Duration = Duration::from_secs(300);

/// As many as there should be, less those that are counted as lost.
#[track_caller]
fn assert_all_or_counted(session: &Recorded, class: EventClass, seen: usize, expected: usize) {
    let dropped = session.document.coverage.events[&class].dropped_count();
    assert!(
        seen <= expected && expected as u64 <= seen as u64 + dropped,
        "{class:?}: {seen} of {expected} seen, {dropped} dropped"
    );
    assert_eq!(
        dropped, 0,
        "{class:?}: {:?}",
        session.document.coverage.events
    );
}

#[test]
#[ignore = "needs root"]
fn ten_thousand_processes_one_after_the_other() {
    const COUNT: usize = 10_000;
    let site = Site::new();
    site.run_script(&format!(
        "i=0; while [ $i -lt {COUNT} ]; do /bin/true; i=$((i+1)); done; exit 7"
    ))
    .patience(PATIENCE)
    .end()
    .with_code(7);

    let session = site.recorded();
    for kind in ["process.fork", "process.exec", "process.exit"] {
        let of_shell = usize::from(kind != "process.fork");
        let seen = session.actions(kind).count();
        assert_all_or_counted(&session, EventClass::Process, seen, COUNT + of_shell);
        assert_eq!(session.count_records(&[kind]), seen, "{kind}");
    }
    assert_eq!(session.execs(&["/bin/true"]).len(), COUNT);
    assert_eq!(session.document.processes.len(), COUNT + 1);
    let shell = session.document.processes[0].key;
    for child in &session.document.processes[1..] {
        assert_eq!(child.parent_key, Some(shell));
        assert_eq!((child.exit_code, child.signal), (Some(0), None));
    }
}

/// Opens each file of a folder fifty times, in an order that goes round and round.
const OPEN_BURST: &str = "\
import os, sys, time
files = [f'{sys.argv[1]}/{n:04}' for n in range(1000)]
begun = time.monotonic()
for round in range(50):
    for file in files:
        os.close(os.open(file, os.O_RDONLY))
print(time.monotonic() - begun)
";

#[test]
#[ignore = "needs root"]
fn fifty_thousand_opens_of_a_thousand_files() {
    let site = Site::new();
    let folder = site.work();
    for number in 0..1000 {
        fs::write(folder.join(format!("{number:04}")), "x").unwrap();
    }
    let ended = site
        .run([PYTHON, "-c", OPEN_BURST, folder.to_str().unwrap()])
        .patience(PATIENCE)
        .end()
        .ok();
    println!("the burst took {} s", ended.text().trim());

    let session = site.recorded();
    session.assert_nothing_dropped();
    let opens: BTreeMap<&str, u64> = session
        .actions("file.open")
        .filter_map(|action| {
            let path = action.attributes["file.path"].as_str()?;
            let name = path.strip_prefix(folder.to_str()?)?.strip_prefix('/')?;
            Some((name, action.attributes["agentsight.count"].as_u64()?))
        })
        .collect();
    assert_eq!(opens.len(), 1000);
    for (file, count) in opens {
        assert_eq!(count, 50, "{file}");
    }
}

/// Every file is read and written to its end, a little at a time.
const READS_AND_WRITES: &str = "\
import os, sys
for n in range(20):
    source = os.open(f'{sys.argv[1]}/in-{n}', os.O_RDONLY)
    target = os.open(f'{sys.argv[1]}/out-{n}', os.O_WRONLY | os.O_CREAT)
    while piece := os.read(source, 100):
        os.write(target, piece)
";

#[test]
#[ignore = "needs root"]
fn bytes_and_calls_are_added_up_for_each_file() {
    let site = Site::new();
    let folder = site.work();
    for number in 0..20 {
        fs::write(
            folder.join(format!("in-{number}")),
            vec![b'x'; 1000 * number],
        )
        .unwrap();
    }
    site.run([PYTHON, "-c", READS_AND_WRITES, folder.to_str().unwrap()])
        .end()
        .ok();

    let session = site.recorded();
    session.assert_nothing_dropped();
    for number in 0..20 {
        for (kind, prefix) in [("file.read", "in"), ("file.write", "out")] {
            let path = folder.join(format!("{prefix}-{number}"));
            let actions = session.on_file(kind, &path);
            let sum = |attribute: &str| -> u64 {
                actions
                    .iter()
                    .map(|action| action.attributes[attribute].as_u64().unwrap())
                    .sum()
            };
            assert_eq!(sum("agentsight.bytes"), 1000 * number, "{}", path.display());
            // The read that finds the end moves nothing, and counts for nothing.
            assert_eq!(sum("agentsight.count"), 10 * number, "{}", path.display());
        }
        let created = session.on_file("file.create", &folder.join(format!("out-{number}")));
        assert_eq!(created.len(), 1);
    }
}

#[test]
#[ignore = "needs root"]
fn large_requests_and_long_answers_are_whole() {
    const FILE_BYTES: usize = 64 << 10;
    const READS: usize = 40;
    let file: String = (0..)
        .map(|n| format!("line {n} of a large file\n"))
        .take(4000)
        .collect();
    let file = &file[..FILE_BYTES];
    let read = (0..READS).fold(Turn::text("I read it all."), |turn, _| {
        turn.tool(ToolRequest::read_file("large.txt"))
    });
    let answer: String = (0..5000).map(|n| format!("chunk {n:05} ")).collect();
    for dialect in Dialect::ALL {
        let script = Script::new([
            read.clone(),
            Turn::text(answer.clone()).usage(Usage {
                input_tokens: Some(700_000),
                output_tokens: Some(15_000),
                ..Usage::default()
            }),
        ])
        .delta_chars(12);
        let options = DemoOptions {
            dialect,
            ..DemoOptions::default()
        };
        let demo = Demo::start_with(&options, script, "Read it.").unwrap();
        fs::write(demo.workspace().join("large.txt"), file).unwrap();
        let site = Site::new();
        site.run(demo.command()).cwd(demo.workspace()).end().ok();

        let session = site.recorded();
        session.assert_nothing_dropped();
        let truth = demo.server().truth();
        assert_eq!(session.document.llm_calls.len(), 2);
        for (call, exchange) in session.document.llm_calls.iter().zip(&truth) {
            assert!(call.complete, "{dialect:?}: {:?}", call.error);
            assert_eq!(
                call.request.body.sha256, exchange.request.sha256,
                "{dialect:?}"
            );
            assert_eq!(
                call.response.body.sha256, exchange.response.sha256,
                "{dialect:?}"
            );
            assert_eq!(call.request.body.bytes, exchange.request.bytes);
        }
        let last = &session.document.llm_calls[1];
        assert!(last.request.body.bytes > 2 << 20, "{dialect:?}");
        assert!(
            texts(last) == answer,
            "{dialect:?}: the text of the answer differs"
        );
        assert_eq!(last.usage.input_tokens, Some(700_000));
        assert_eq!(session.document.tool_calls.len(), READS);
        for call in &session.document.tool_calls {
            let result = call.result.as_ref().unwrap().to_string();
            assert!(
                result.contains("line 999 of a large file"),
                "{dialect:?}: a result is cut"
            );
        }
    }
}
