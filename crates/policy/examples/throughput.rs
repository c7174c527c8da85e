//! How many events a second one core judges: `cargo run --release -p agentsight-policy --example throughput`.
//!
//! The events are those of a busy coding session: files are read and written, programs run, connections are
//! made, names are looked up; one in 1,400 is what rules look for. The pack is judged as it is, and
//! filled up to 1,000 rules by copies that look for other names, as a large set would.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use agentsight_model::{Event, EventBody, NetworkDns};
use agentsight_policy::{Engine, RuleSet, Source, default_pack};
use agentsight_testkit::EventBuilder;

const ROUNDS: u32 = 4_000;
const REPEATS: usize = 5;

fn main() {
    let events = events();
    println!(
        "{} events a run, the median of {REPEATS} runs, in CPU time\n",
        events.len()
    );
    println!("| rules | events/s | ns/event | findings |");
    println!("|---:|---:|---:|---:|");
    let pack: Vec<Source> = default_pack().collect();
    let own = RuleSet::load(pack.iter().cloned()).unwrap().rules().len();
    for wanted in [own, 250, 500, 1_000] {
        let rules = Arc::new(
            RuleSet::load(filled(&pack, own, wanted)).unwrap_or_else(|error| panic!("{error}")),
        );
        let mut seconds = Vec::new();
        let mut findings = 0;
        for _ in 0..REPEATS {
            let mut engine = Engine::new(Arc::clone(&rules));
            let begin = cpu_seconds();
            for (seq, event) in (0_u64..).zip(&events) {
                std::hint::black_box(engine.observe(seq, event));
            }
            seconds.push(cpu_seconds() - begin);
            findings = engine.counters().findings;
        }
        seconds.sort_by(f64::total_cmp);
        let median = seconds[REPEATS / 2];
        let count = events.len() as f64;
        println!(
            "| {} | {:.0} | {:.0} | {findings} |",
            rules.rules().len(),
            count / median,
            median * 1e9 / count
        );
    }
}

/// CPU time of this thread: other programs on the machine do not count.
fn cpu_seconds() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ns: u64 = schedstat.split(' ').next().unwrap().parse().unwrap();
    ns as f64 / 1e9
}

/// The pack, and copies of its rules that look for other paths, programs and hosts, up to so many rules.
fn filled(pack: &[Source], own: usize, wanted: usize) -> Vec<Source> {
    let mut sources = pack.to_vec();
    let rules: Vec<&Source> = pack
        .iter()
        .filter(|source| source.text.starts_with("id: "))
        .collect();
    for copy in 0..wanted.saturating_sub(own) {
        let source = rules[copy % rules.len()];
        let number = copy / rules.len() + 1;
        // Tests are not what is measured, and lists stay shared.
        let text = source.text.split("\ntests:").next().unwrap();
        let text = text
            .replacen("id: ", &format!("id: copy-{number}-"), 1)
            .replace("/.", &format!("/.copy{number}"))
            .replace("/etc/", &format!("/etc{number}/"));
        sources.push(Source::new(format!("copy-{copy}"), text));
    }
    sources
}

fn events() -> Vec<Event> {
    let mut builder = EventBuilder::new();
    builder.exec(1, &["/opt/claude/versions/2.1.0/claude"]);
    for round in 0..ROUNDS {
        let pid = 10 + round;
        let name = ["git", "node", "rg", "cargo", "python3", "sed"][(round % 6) as usize];
        builder.fork(1, pid).exec(
            pid,
            &[
                name,
                "run",
                "--flag",
                "src/main.rs",
                "some text that is looked for",
            ],
        );
        for file in 0..20 {
            builder.open_read(
                pid,
                &format!("/project/src/module_{file}/file_{}.rs", round % 50),
            );
            builder.open_read(pid, &format!("/usr/lib/x86_64-linux-gnu/lib{file}.so.6"));
        }
        builder.create(pid, &format!("/project/target/debug/deps/out-{round}.o"));
        builder.open_read(
            1,
            &format!("/home/dev/.claude/projects/p{}.jsonl", round % 9),
        );
        builder.push(
            pid,
            EventBody::NetworkDns(NetworkDns {
                question: format!("registry-{}.example.com", round % 20),
                record_type: "A".into(),
                ..NetworkDns::default()
            }),
        );
        builder.connect(
            pid,
            format!("203.0.113.{}:443", round % 200).parse().unwrap(),
        );
        if round % 30 == 0 {
            builder.open_read(pid, "/home/dev/.ssh/id_rsa");
        }
        builder.exit(pid, 0);
    }
    builder.build()
}
