//! The generated pages are what the code says. `AGENTSIGHT_WRITE_GENERATED=1` writes them again.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::{env, fs};

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
