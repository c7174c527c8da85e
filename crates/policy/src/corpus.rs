//! How well the default pack tells attacks from what only looks like them.
//!
//! The corpus is two lists of short histories in the notation of rules' tests: attacks, each with the rule that
//! must find it, and harmless acts, each with the rule that they look like.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use agentsight_model::Severity;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::engine::Engine;
use crate::pack::default_pack;
use crate::rule::{CaseFile, EventFile, RuleSet};
use crate::scenario::events_of;

/// From this severity on a finding on a harmless act counts as false: those below are notes.
const FALSE_FROM: Severity = Severity::Medium;

/// One case of the corpus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    rule: Option<String>,
    like: Option<String>,
    name: Spanned<String>,
    agent: Option<String>,
    cwd: Option<String>,
    events: Vec<Spanned<EventFile>>,
}

/// Attacks and harmless acts.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    attacks: Vec<Case>,
    benign: Vec<Case>,
}

/// What came of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Attacks that are the rule's to find.
    pub attacks: usize,
    /// Of these, found by the rule.
    pub found: usize,
    /// Harmless acts that look like the rule's business.
    pub alike: usize,
    /// Harmless acts of any kind that the rule fired on.
    pub false_alarms: usize,
}

/// What came of the pack.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// By rule.
    pub rules: BTreeMap<String, Score>,
    /// Attacks that their rule found, of all.
    pub attacks: (usize, usize),
    /// Harmless acts with a finding of severity `medium` or more, of all.
    pub benign: (usize, usize),
    misjudged: Vec<String>,
}

impl Corpus {
    /// Reads both lists.
    ///
    /// # Errors
    ///
    /// If a list is malformed.
    pub fn load(attacks: &str, benign: &str) -> Result<Self, String> {
        let read = |name: &str, text: &str| {
            let cases: Result<Vec<Case>, _> = serde_saphyr::from_str(text);
            cases.map_err(|error| format!("{name}: {error}"))
        };
        Ok(Self {
            attacks: read("attacks", attacks)?,
            benign: read("benign", benign)?,
        })
    }
}

/// Tries the default pack.
///
/// # Errors
///
/// If the pack or a history is malformed, or a case names no rule of the pack.
pub fn evaluate(corpus: &Corpus) -> Result<Evaluation, String> {
    let rules = RuleSet::load(default_pack()).map_err(|errors| errors.to_string())?;
    let rules = Arc::new(rules);
    let mut evaluation = Evaluation {
        rules: rules
            .rules()
            .filter(|rule| rule.effect.as_str() != "label")
            .map(|rule| (rule.id.clone(), Score::default()))
            .collect(),
        attacks: (0, corpus.attacks.len()),
        benign: (0, corpus.benign.len()),
        misjudged: Vec::new(),
    };
    for case in &corpus.attacks {
        evaluation.attack(&rules, case)?;
    }
    for case in &corpus.benign {
        evaluation.harmless(&rules, case)?;
    }
    Ok(evaluation)
}

/// The rules that fire on a case, with their severity.
fn judged(rules: &Arc<RuleSet>, case: &Case) -> Result<BTreeMap<String, Severity>, String> {
    let history = CaseFile {
        name: case.name.clone(),
        agent: case.agent.clone(),
        cwd: case.cwd.clone(),
        events: case.events.clone(),
    };
    let wrong = |((line, column), message)| format!("{line}:{column}: {message}");
    let events = events_of(&history).map_err(wrong)?;
    let mut engine = Engine::new(Arc::clone(rules));
    let found = (0_u64..)
        .zip(&events)
        .flat_map(|(seq, event)| engine.observe(seq, event));
    Ok(found
        .map(|found| (found.finding.rule, found.finding.severity))
        .collect())
}

impl Evaluation {
    fn score(&mut self, rule: Option<&String>, case: &Case) -> Result<&mut Score, String> {
        let score = rule.and_then(|rule| self.rules.get_mut(rule));
        score.ok_or_else(|| format!("`{}` names no rule of the pack", case.name.value))
    }

    fn attack(&mut self, rules: &Arc<RuleSet>, case: &Case) -> Result<(), String> {
        let fired = judged(rules, case)?;
        let is_found = case
            .rule
            .as_ref()
            .is_some_and(|rule| fired.contains_key(rule));
        let score = self.score(case.rule.as_ref(), case)?;
        score.attacks = score.attacks.saturating_add(1);
        if is_found {
            score.found = score.found.saturating_add(1);
            self.attacks.0 = self.attacks.0.saturating_add(1);
        } else {
            let rule = case.rule.as_deref().unwrap_or_default();
            let name = &case.name.value;
            let others: Vec<&str> = fired.keys().map(String::as_str).collect();
            self.misjudged.push(format!(
                "missed: {rule}: {name} (found by: {})",
                others.join(", ")
            ));
        }
        Ok(())
    }

    fn harmless(&mut self, rules: &Arc<RuleSet>, case: &Case) -> Result<(), String> {
        let fired = judged(rules, case)?;
        let score = self.score(case.like.as_ref(), case)?;
        score.alike = score.alike.saturating_add(1);
        for rule in fired.keys() {
            if let Some(score) = self.rules.get_mut(rule) {
                score.false_alarms = score.false_alarms.saturating_add(1);
            }
        }
        let severe: Vec<&str> = fired
            .iter()
            .filter(|(_, severity)| **severity >= FALSE_FROM)
            .map(|(rule, _)| rule.as_str())
            .collect();
        if !severe.is_empty() {
            self.benign.0 = self.benign.0.saturating_add(1);
            let name = &case.name.value;
            self.misjudged
                .push(format!("false: {name}: {}", severe.join(", ")));
        }
        Ok(())
    }

    /// The cases that were judged wrongly, one a line.
    pub fn misjudged(&self) -> impl Iterator<Item = &str> {
        self.misjudged.iter().map(String::as_str)
    }

    /// `docs/reference/rules-eval.md`.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = format!(
            "# How well the default pack finds\n\nWritten by `cargo xtask eval rules`.\n\n\
             **The corpus is made by hand**, in the notation of rules' tests (`crates/policy/corpus/`): it holds the events \
             that the sensor would send, and no recording of a real attack. It was written after the rules, \
             by the same people, who have also corrected rules by it: the figures say that rules do what they say, and are \
             an upper bound for what they find elsewhere.\n\n\
             - attacks found by the rule that should: **{} of {}** ({})\n\
             - harmless look-alikes with a finding of severity `medium` or more: **{} of {}** ({})\n\n\
             | rule | attacks | found | look-alikes | false alarms (of {} harmless) |\n|---|---:|---:|---:|---:|\n",
            self.attacks.0,
            self.attacks.1,
            percent(self.attacks),
            self.benign.0,
            self.benign.1,
            percent(self.benign),
            self.benign.1,
        );
        for (rule, score) in &self.rules {
            // Writing to a string cannot fail.
            let _ = writeln!(
                page,
                "| `{rule}` | {} | {} | {} | {} |",
                score.attacks, score.found, score.alike, score.false_alarms
            );
        }
        if !self.misjudged.is_empty() {
            page.push_str("\n## Judged wrongly\n\n");
            for line in &self.misjudged {
                let _ = writeln!(page, "- {line}");
            }
        }
        page
    }
}

fn percent((part, whole): (usize, usize)) -> String {
    let tenths = part.saturating_mul(1000).checked_div(whole).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}
