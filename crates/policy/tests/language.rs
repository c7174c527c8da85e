//! Rule files: what is refused, and how it is said; layers, lists, macros, labels.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use agentsight_policy::{Effect, Engine, RuleSet, Source, default_pack, run_tests};
use agentsight_testkit::EventBuilder;
use proptest::prelude::*;

fn errors(text: &str) -> Vec<String> {
    match RuleSet::load([Source::new("r.yaml", text)]) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

const HEAD: &str = "id: r\ntitle: t\nseverity: low\n";

#[test]
fn what_is_wrong_is_said_with_line_column_and_proposal() {
    for (rest, expected) in [
        (
            "on: file.raed",
            "r.yaml:4:5: unknown kind of event `file.raed`; did you mean `file.read`?",
        ),
        (
            "on: file.read\nmatch: { pth: x }",
            "r.yaml:5:10: unknown matcher `pth`; did you mean `path`?",
        ),
        (
            "on: file.read\nmatch: { port: 1 }",
            "r.yaml:5:10: `port` says nothing about `file.read` events; it is for network.connect, network.accept, network.listen, network.close",
        ),
        (
            "on: file.read\nwhere: file.pat == 'x'",
            "r.yaml:5:8: unknown name `file.pat`; did you mean `file.path`?",
        ),
        (
            "on: file.read\nwhere: |\n  file.path == 'x' &&\n  file.size > 1",
            "r.yaml:7:3: unknown name `file.size`; did you mean `file.name`?",
        ),
        (
            "on: file.read\nwhere: \"file.path == 'a' || file.path == 1\"",
            "r.yaml:5:29: `==` cannot join a string and a int",
        ),
        (
            "on: file.read\nefect: alert",
            "r.yaml:5:1: unknown key `efect`; did you mean `effect`?",
        ),
        (
            "on: file.read\neffect: blok",
            "r.yaml:5:9: unknown effect `blok`; it may be: alert, label, deny, kill, freeze, ask",
        ),
        (
            "on: file.read\nmatch: { label: secrt }",
            "r.yaml:5:17: no rule sets the label `secrt`",
        ),
        (
            "on: file.read\nmatch: { exe: [$shels] }\nlists: { shells: [sh] }",
            "r.yaml:5:16: unknown list `shels`; did you mean `shells`?",
        ),
        (
            "on: file.read\ntaxonomy: [\"owasp:LLM01\"]",
            "r.yaml:5:12: `owasp:LLM01` names no taxonomy that is known; it begins with one of owasp-llm-2025: owasp-asi-2026: atlas-5.6.0: attack-18:",
        ),
        (
            "on: file.read\nmessage: { human: \"{file.pth}\" }",
            "r.yaml:5:19: unknown name `file.pth`; did you mean `file.path`?",
        ),
        (
            "on: file.read\nthreshold: { count: 1, within: 1m }",
            "r.yaml:5:12: a threshold counts to at least 2 and at most 1000",
        ),
        (
            "sequence: { within: 1x, steps: [{ on: file.read }, { on: file.write }] }",
            "r.yaml:4:21: `1x` is no time up to a day; such as `500ms`, `30s`, `5m`, `2h`",
        ),
        (
            "sequence: { within: 1m, steps: [{ on: file.read }] }",
            "r.yaml:4:11: a sequence has from 2 to 8 steps",
        ),
        (
            "",
            "r.yaml:1:5: `on` is missing: the kinds of events that the rule looks at",
        ),
        (
            "on: file.read\neffect: label",
            "r.yaml:1:5: a rule of effect `label` sets labels: `labels:` is missing",
        ),
    ] {
        assert_eq!(errors(&format!("{HEAD}{rest}")), [expected], "{rest}");
    }
}

#[test]
fn every_error_is_told_and_not_only_the_first() {
    let text = "id: Bad\ntitle: t\nseverity: hihg\non: [file.raed]\n";
    assert_eq!(errors(text).len(), 3);
}

#[test]
fn yaml_that_does_not_parse_has_a_place() {
    for text in [
        "id: [",
        "- a\n- b",
        "id: a\nid: b\n",
        "\t",
        "id: *x\n",
        &"[".repeat(100_000),
    ] {
        let errors = errors(text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("r.yaml:"), "{errors:?}");
    }
}

#[test]
fn rules_of_a_higher_layer_replace_those_of_a_lower_one() {
    let rule = |severity: &str| format!("id: r\ntitle: t\nseverity: {severity}\non: file.read\n");
    let low = Source::new("a.yaml", rule("low"));
    let high = Source::new("b.yaml", rule("high"));
    let both = RuleSet::load([low.clone(), high.clone()]).unwrap_err();
    assert_eq!(
        both.to_string(),
        "b.yaml:1:5: there is a rule `r` already, in a.yaml"
    );
    let set = RuleSet::load([low.clone(), high.layer(1)]).unwrap();
    let files: Vec<&str> = set.rules().map(|rule| rule.file.as_str()).collect();
    assert_eq!(files, ["b.yaml"]);
    let off = Source::new("b.yaml", "id: r\nenabled: false\n").layer(1);
    assert_eq!(RuleSet::load([low, off]).unwrap().rules().len(), 0);
}

#[test]
fn stronger_effects_are_known_and_only_alert() {
    let text = format!("{HEAD}on: file.read\neffect: kill\n");
    let set = Arc::new(RuleSet::load([Source::new("r.yaml", text)]).unwrap());
    let stronger: Vec<Effect> = set.stronger_effects().map(|rule| rule.effect).collect();
    assert_eq!(stronger, [Effect::Kill]);
    let mut builder = EventBuilder::new();
    builder.exec(1, &["cat"]).open_read(1, "/x");
    let mut engine = Engine::new(set);
    let found: Vec<_> = builder
        .build()
        .iter()
        .flat_map(|event| engine.observe(None, event))
        .collect();
    assert_eq!(found[0].finding.verdict, "alert");
}

#[test]
fn a_test_that_fails_says_where() {
    let text = format!(
        "{HEAD}on: file.read\nmatch: {{ path: /x }}\ntests:\n  fire:\n    - {{ name: a, events: [{{ exec: cat }}, {{ read: /y }}] }}\n  quiet:\n    - {{ name: b, events: [{{ exec: cat }}, {{ read: /x }}] }}\n    - {{ name: c, events: [{{ exec: cat }}, {{ after: 1m }}] }}\n"
    );
    let set = Arc::new(RuleSet::load([Source::new("r.yaml", text)]).unwrap());
    let failures: Vec<String> = run_tests(&set)
        .into_iter()
        .filter_map(|result| Some(result.failure?.to_string()))
        .collect();
    assert_eq!(
        failures,
        [
            "r.yaml:8:15: rule `r` does not fire on `a`",
            "r.yaml:10:15: rule `r` fires on `b`",
            "r.yaml:11:42: an event needs an act, such as `exec` or `read`",
        ]
    );
}

#[test]
fn a_reload_keeps_processes_labels_and_sequences() {
    let sequence = "id: s\ntitle: t\nseverity: low\nsequence:\n  within: 1m\n  steps:\n    - { on: file.read, match: { path: /a } }\n    - { on: file.read, match: { path: /b } }\n";
    let labels = "id: l\ntitle: t\neffect: label\non: file.read\nmatch: { path: /a }\nlabels: { process: x }\n";
    let asks = "id: m\ntitle: t\nseverity: low\non: file.read\nmatch: { label: x, path: /c }\n";
    let load = |texts: &[&str]| {
        let sources = texts
            .iter()
            .enumerate()
            .map(|(at, text)| Source::new(format!("{at}.yaml"), *text));
        Arc::new(RuleSet::load(sources).unwrap())
    };
    // Another rule with another label comes first, so that numbers of rules and labels change.
    let other = "id: a\ntitle: t\neffect: label\non: file.read\nmatch: { path: /z }\nlabels: { process: w }\n";
    let mut engine = Engine::new(load(&[sequence, labels, asks]));
    let mut builder = EventBuilder::new();
    builder
        .exec(1, &["cat"])
        .open_read(1, "/a")
        .open_read(1, "/b")
        .open_read(1, "/c");
    let mut found = Vec::new();
    for (at, event) in builder.build().iter().enumerate() {
        if at == 2 {
            engine.reload(load(&[other, asks, labels, sequence]));
        }
        found.extend(engine.observe(None, event));
    }
    let rules: Vec<&str> = found
        .iter()
        .map(|found| found.finding.rule.as_str())
        .collect();
    assert_eq!(rules, ["s", "m"]);
    assert_eq!(found[0].finding.evidence.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = RuleSet::load([Source::new("r.yaml", text.clone())]);
        let _ = RuleSet::load([Source::new("r.yaml", format!("{HEAD}on: file.read\nwhere: |\n  {text}\n"))]);
        let _ = RuleSet::load([Source::new("r.yaml", format!("{HEAD}on: file.read\nmatch: {{ path: {text:?} }}\n"))]);
    }

    /// A rule of the pack with one character changed is accepted or refused, and never harmful.
    #[test]
    fn a_changed_rule_makes_nothing_panic(pick in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), with in "[\\[\\]{}:'\"|&*!%@`,#a0 \n-]") {
        let pack: Vec<Source> = default_pack().collect();
        let mut source = pack[pick.index(pack.len())].clone();
        let characters: Vec<char> = source.text.chars().collect();
        let place = at.index(characters.len());
        source.text = characters.iter().enumerate().map(|(index, c)| if index == place { with.clone() } else { c.to_string() }).collect();
        if let Ok(rules) = RuleSet::load([source]) {
            let _ = run_tests(&Arc::new(rules));
        }
    }
}
