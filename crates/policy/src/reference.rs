//! The generated pages of the documentation: what rules can speak of, and the pack.

use std::fmt::Write as _;

use crate::expr::FUNCTIONS;
use crate::field::FIELDS;
use crate::kind::{KINDS, KindSet};
use crate::matcher::KEYS;
use crate::rule::RuleSet;

/// `docs/reference/rules-vocabulary.md`: kinds of events, facts, matchers and functions.
#[must_use]
pub fn vocabulary() -> String {
    let mut page = String::from(
        "# What rules can speak of\n\nGenerated from `crates/policy/src/{kind,field,matcher}.rs` by \
         `cargo xtask gen`; a test holds it to them. How rules are written is in [rules.md](rules.md).\n\n\
         ## Kinds of events (`on:`)\n\n| kind | what happened |\n|---|---|\n",
    );
    // Writing to a string cannot fail.
    for info in KINDS {
        let _ = writeln!(page, "| `{}` | {} |", info.name, cell(info.doc));
    }
    page.push_str(
        "\n## Matchers (`match:`)\n\nAll keys of a matcher must hold; of the values of a key, one.\n\n\
         | key | what its values are | for |\n|---|---|---|\n",
    );
    for info in KEYS {
        let kinds = kinds(info.group.kinds());
        let _ = writeln!(page, "| `{}` | {} | {kinds} |", info.name, cell(info.doc));
    }
    page.push_str("\n## Facts (`where:`, messages)\n\n| name | type | what it is | for |\n|---|---|---|---|\n");
    for info in FIELDS {
        let kinds = kinds(info.group.kinds());
        let (name, ty) = (info.name, info.ty.name());
        let _ = writeln!(page, "| `{name}` | {ty} | {} | {kinds} |", cell(info.doc));
    }
    let _ = writeln!(page, "\n## Functions\n\n`{}`", FUNCTIONS.join("`, `"));
    page
}

/// `docs/reference/rules-pack.md`: the rules of a set.
#[must_use]
pub fn pack(rules: &RuleSet) -> String {
    let mut page = format!(
        "# The default pack\n\n{} rules, generated from `rules/` by `cargo xtask gen`; a test holds it to them. \
         `agentsight rules list --json` prints the same and more.\n",
        rules.rules().len()
    );
    for rule in rules.rules() {
        let severity = match rule.effect.as_str() {
            "alert" => rule.severity.as_str(),
            other => other,
        };
        let _ = write!(
            page,
            "\n## {}\n\n{} ({severity}). {} {}\n\nLooks at: {}.",
            rule.id,
            capitalised(&rule.title),
            one_line(&rule.description),
            one_line(&rule.why),
            rule.on.join(", ")
        );
        if !rule.false_positives.is_empty() {
            let _ = write!(
                page,
                " Harmless look-alikes: {}.",
                rule.false_positives.join("; ")
            );
        }
        if !rule.taxonomy.is_empty() {
            let _ = write!(page, " {}.", rule.taxonomy.join(", "));
        }
        page.push('\n');
    }
    page
}

/// Text within a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn kinds(kinds: KindSet) -> String {
    if kinds.iter().count() == KINDS.len() {
        return "all".to_owned();
    }
    let names: Vec<&str> = kinds.iter().map(crate::kind::Kind::name).collect();
    names.join(", ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters
        .next()
        .map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}
