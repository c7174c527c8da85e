//! The rules that come with the product: they load, they are documented, and their tests pass.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use agentsight_policy::{Effect, RuleSet, default_pack, run_tests};

fn pack() -> Arc<RuleSet> {
    let rules = RuleSet::load(default_pack());
    Arc::new(rules.unwrap_or_else(|errors| panic!("the pack has errors:\n{errors}")))
}

#[test]
fn every_test_of_every_rule_passes() {
    let failures: Vec<String> = run_tests(&pack())
        .into_iter()
        .filter_map(|result| Some(result.failure?.to_string()))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_rule_is_documented_and_has_tests_of_both_kinds() {
    for rule in pack().rules() {
        let id = &rule.id;
        assert!(
            rule.file.ends_with(&format!("/{id}.yaml")),
            "{id} is in {}",
            rule.file
        );
        assert!(!rule.description.is_empty(), "{id} has no description");
        assert!(!rule.why.is_empty(), "{id} does not say why");
        assert!(rule.tests.0 > 0 && rule.tests.1 > 0, "{id} lacks tests");
        assert!(
            rule.effect.is_carried_out(),
            "{id} asks for more than is carried out"
        );
        if rule.effect == Effect::Alert {
            assert!(
                !rule.false_positives.is_empty(),
                "{id} names no false positives"
            );
            assert!(!rule.taxonomy.is_empty(), "{id} is in no taxonomy");
        }
    }
}

#[test]
fn there_are_at_least_sixty_rules() {
    let pack = pack();
    let alerts = pack.rules().filter(|rule| rule.effect == Effect::Alert);
    assert!(alerts.count() >= 60);
}
