//! The generated pages are what the code says. `AGENTSIGHT_WRITE_GENERATED=1` writes them again.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::{env, fs};

use agentsight_policy::corpus::{Corpus, evaluate};
use agentsight_policy::{RuleSet, default_pack, reference};

fn holds(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/reference")
        .join(name);
    if env::var_os("AGENTSIGHT_WRITE_GENERATED").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == expected,
        "{name} is not up to date: `cargo xtask gen` writes it"
    );
}

#[test]
fn the_vocabulary_is_documented() {
    holds("rules-vocabulary.md", &reference::vocabulary());
}

#[test]
fn the_pack_is_documented() {
    let rules = RuleSet::load(default_pack()).unwrap();
    holds("rules-pack.md", &reference::pack(&rules));
}

#[test]
fn the_corpus_is_judged_as_documented_and_well_enough() {
    let attacks = include_str!("../corpus/attacks.yaml");
    let benign = include_str!("../corpus/benign.yaml");
    let corpus = Corpus::load(attacks, benign).unwrap();
    let evaluation = evaluate(&corpus).unwrap();
    let (found, attacks) = evaluation.attacks;
    let (alarms, harmless) = evaluation.benign;
    assert!(attacks >= 120 && harmless >= 120);
    let wrong: Vec<&str> = evaluation.misjudged().collect();
    assert!(found * 100 >= attacks * 95, "{}", wrong.join("\n"));
    assert!(alarms * 100 <= harmless * 2, "{}", wrong.join("\n"));
    holds("rules-eval.md", &evaluation.page());
}
