//! Rules while a session runs: judges each fact as it is written, and tells what is found.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentsight_model::{Event, PolicyState, Severity, WallClock};
use agentsight_policy::{Engine, Found, RuleSet};

use crate::cli::{FindingArgs, RuleArgs};
use crate::failure::{FAILURE, Failure};
use crate::report::sanitize;
use crate::rules::{RuleFiles, Stamp};
use crate::sinks::Sinks;
use crate::terminal;

/// How often rule files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What is printed as it comes; the report has the rest.
const LIVE_FROM: Severity = Severity::Medium;

/// The rules of a session at work.
pub(crate) struct Judge {
    engine: Engine,
    files: RuleFiles,
    stamp: Stamp,
    looked: Instant,
    allow_weaker: bool,
    live: Live,
    clock: WallClock,
    sinks: Sinks,
}

/// When findings are printed as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Live {
    Never,
    /// Unless a program uses the whole terminal.
    IfFree,
    Always,
}

/// Loads the rules of a session, before anything is started.
pub(crate) fn load(rules: &RuleArgs, findings: &FindingArgs) -> anyhow::Result<Arc<RuleSet>> {
    let set = rules.files().load()?;
    refuse_stronger(&set, findings.allow_weaker)?;
    Ok(set)
}

/// A rule that asks for more than an alert would be a promise that nobody keeps.
fn refuse_stronger(rules: &RuleSet, allow_weaker: bool) -> anyhow::Result<()> {
    let stronger = rules.stronger_effects().next();
    let Some(rule) = stronger.filter(|_| !allow_weaker) else {
        return Ok(());
    };
    let (id, effect) = (&rule.id, rule.effect.as_str());
    let failure = Failure::new(
        format!("rule `{id}` asks to {effect}, which this version cannot do"),
        FAILURE,
    );
    Err(failure.hint("--allow-weaker takes an alert instead").into())
}

impl Judge {
    pub(crate) fn new(
        set: Arc<RuleSet>,
        rules: &RuleArgs,
        findings: &FindingArgs,
        (quiet, clock, sinks): (bool, WallClock, Sinks),
    ) -> Self {
        let files = rules.files();
        Self {
            engine: Engine::new(set),
            stamp: files.stamp(),
            files,
            looked: Instant::now(),
            allow_weaker: findings.allow_weaker,
            live: match (findings.findings_live, quiet) {
                (true, _) => Live::Always,
                (false, true) => Live::Never,
                (false, false) => Live::IfFree,
            },
            clock,
            sinks,
        }
    }

    /// Judges a fact, and tells what is found. `seq` is its number in the ledger, if it could be written.
    pub(crate) fn observe(&mut self, seq: Option<u64>, event: &Event) -> Vec<Found> {
        let found = self.engine.observe(seq, event);
        for found in &found {
            self.tell(found);
        }
        found
    }

    fn tell(&mut self, found: &Found) {
        let finding = &found.finding;
        if finding.severity >= LIVE_FROM && self.is_live() {
            let (rule, severity) = (&finding.rule, finding.severity);
            terminal::warn(&format!("{severity}: {rule}: {}", sanitize(&finding.title)));
        }
        let unix_ns = i128::from(self.clock.unix_ns(found.time));
        let time = jiff::Timestamp::from_nanosecond(unix_ns);
        let time = time.map_or_else(|_| String::new(), |time| time.to_string());
        self.sinks.send(found, &time);
    }

    fn is_live(&self) -> bool {
        match self.live {
            Live::Never => false,
            Live::Always => true,
            Live::IfFree => !terminal::is_taken(),
        }
    }

    /// The rules in force, as a fact.
    pub(crate) fn state(&self, change: &str) -> PolicyState {
        self.engine.state(change)
    }

    /// Looks, at most once a second, whether rule files have changed. Those that have errors change nothing.
    pub(crate) fn look(&mut self) -> Option<PolicyState> {
        if self.files.paths.is_empty() || self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        let stamp = self.files.stamp();
        if stamp == self.stamp {
            return None;
        }
        self.stamp = stamp;
        let loaded = self.files.load();
        let loaded = loaded.and_then(|set| refuse_stronger(&set, self.allow_weaker).map(|()| set));
        match loaded {
            Ok(set) => {
                self.engine.reload(set);
                Some(self.state("reloaded"))
            }
            Err(error) => {
                terminal::warn(&format!("{error}; the rules that were in force stay so"));
                None
            }
        }
    }

    /// Waits a little for sinks that have not sent everything.
    pub(crate) fn close(&mut self) {
        self.sinks.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::tests::server;
    use agentsight_testkit::EventBuilder;
    use std::fs;

    fn rules(path: &std::path::Path) -> RuleArgs {
        RuleArgs {
            rules: vec![path.to_owned()],
            no_default_rules: true,
        }
    }

    fn judge(rules: &RuleArgs, findings: &FindingArgs) -> anyhow::Result<Judge> {
        let set = load(rules, findings)?;
        let sinks = Sinks::open(findings, "S", "h")?;
        Ok(Judge::new(
            set,
            rules,
            findings,
            (true, WallClock::default(), sinks),
        ))
    }

    #[test]
    fn a_finding_reaches_a_webhook_within_50_milliseconds() {
        const FINDINGS: usize = 500;
        let (url, told) = server();
        let findings = FindingArgs {
            webhook: Some(url),
            ..FindingArgs::default()
        };
        let pack = RuleArgs::default();
        let mut judge = judge(&pack, &findings).unwrap();
        let mut latencies = Vec::new();
        let mut builder = EventBuilder::new();
        builder.exec(1, &["agent"]);
        for number in 0..FINDINGS {
            // What rules find, each time by another rule or object, among what they do not.
            builder.open_read(1, &format!("/usr/lib/lib{number}.so"));
            let pid = u32::try_from(number).unwrap() + 10;
            match number % 5 {
                0 => builder
                    .fork(1, pid)
                    .exec(pid, &["cat"])
                    .open_read(pid, &format!("/h/{number}/.aws/credentials")),
                1 => builder
                    .fork(1, pid)
                    .exec(pid, &["cat"])
                    .open_read(pid, &format!("/h/{number}/.ssh/id_rsa")),
                2 => builder
                    .fork(1, pid)
                    .exec(pid, &["cat"])
                    .open_read(pid, &format!("/h/{number}/.kube/config")),
                3 => builder
                    .fork(1, pid)
                    .exec(pid, &["tee"])
                    .create(pid, &format!("/h/{number}/.git/hooks/post-merge")),
                _ => builder
                    .fork(1, pid)
                    .exec(pid, &["tee"])
                    .create(pid, &format!("/h/{number}/CLAUDE.md")),
            };
        }
        for event in builder.build() {
            let begin = Instant::now();
            for found in judge.observe(None, &event) {
                let (at, body) = told.recv_timeout(Duration::from_secs(5)).unwrap();
                assert_eq!(body["finding"]["id"], found.finding.id.as_str());
                latencies.push(at.duration_since(begin));
            }
        }
        judge.close();
        assert!(latencies.len() >= FINDINGS, "{}", latencies.len());
        latencies.sort();
        let p99 = latencies[latencies.len() * 99 / 100];
        println!(
            "p50 {:?}, p99 {p99:?} of {}",
            latencies[latencies.len() / 2],
            latencies.len()
        );
        assert!(p99 < Duration::from_millis(50), "{p99:?}");
    }

    #[test]
    fn rules_are_loaded_again_and_those_with_errors_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.yaml");
        let text = |path: &str| {
            format!(
                "id: r\ntitle: \"{{file.path}}\"\nseverity: low\non: file.read\nmatch: {{ path: {path} }}\n"
            )
        };
        fs::write(&file, text("/a")).unwrap();
        let mut judge = judge(&rules(folder.path()), &FindingArgs::default()).unwrap();
        let mut builder = EventBuilder::new();
        builder
            .exec(1, &["cat"])
            .open_read(1, "/a")
            .open_read(1, "/bb")
            .open_read(1, "/bb");
        let events = builder.build();
        let count = |judge: &mut Judge, at: usize| judge.observe(None, &events[at]).len();
        count(&mut judge, 0);
        assert_eq!((count(&mut judge, 1), count(&mut judge, 2)), (1, 0));
        assert_eq!(judge.look(), None, "looked at a moment ago");
        fs::write(&file, text("/bb")).unwrap();
        std::thread::sleep(LOOK_EVERY);
        let state = judge.look().unwrap();
        assert_eq!((state.change.as_str(), state.rules), ("reloaded", 1));
        assert_eq!(count(&mut judge, 2), 1);
        fs::write(&file, "id: r\nno").unwrap();
        std::thread::sleep(LOOK_EVERY);
        assert_eq!(judge.look(), None);
        assert_eq!(judge.state("").sha256, state.sha256, "the old rules stay");
    }

    #[test]
    fn what_cannot_be_done_is_refused_unless_an_alert_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let text = "id: r\ntitle: t\nseverity: low\neffect: deny\non: file.read\n";
        fs::write(folder.path().join("r.yaml"), text).unwrap();
        let error = judge(&rules(folder.path()), &FindingArgs::default())
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "rule `r` asks to deny, which this version cannot do"
        );
        let findings = FindingArgs {
            allow_weaker: true,
            ..FindingArgs::default()
        };
        assert!(judge(&rules(folder.path()), &findings).is_ok());
    }
}
