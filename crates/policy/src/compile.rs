//! Which rules to ask about an event, without asking all of them.
//!
//! Each step of a rule is filed under the kinds of events that it looks at, and there under one thing that no
//! event passes without: a label, a program's name, a text within a path. So the cost of an event follows from
//! what it is, and hardly from the number of rules.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::anchor;
use crate::engine::flow::LabelSet;
use crate::field::Field;
use crate::kind::{KINDS, Kind, KindSet};
use crate::matcher::{Anchor, Key};
use crate::rule::Rule;
use crate::view::View;

/// Texts in one automaton up to which it is made for speed, not for size.
const FAST_LITERALS: usize = 5_000;

/// A step of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) rule: usize,
    pub(crate) step: usize,
}

/// Texts to be found in one text of an event.
#[derive(Clone, Debug)]
struct Literals {
    key: Key,
    automaton: AhoCorasick,
    /// The units that each text stands for.
    units: Vec<Vec<usize>>,
}

/// The steps that look at one family of kinds.
#[derive(Clone, Debug, Default)]
struct Family {
    always: Vec<usize>,
    labels: Vec<(LabelSet, usize)>,
    file_labels: Vec<(LabelSet, usize)>,
    exes: HashMap<String, Vec<usize>>,
    ports: HashMap<i64, Vec<usize>>,
    literals: Vec<Literals>,
}

/// All steps of all rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pub(crate) units: Vec<Unit>,
    families: Vec<Family>,
}

/// Kinds that one event may be at the same time share a family.
fn family(kind: Kind) -> usize {
    match kind {
        Kind::FileRead | Kind::FileWrite | Kind::FileCreate => Kind::FileOpen as usize,
        kind => kind as usize,
    }
}

/// Gathers texts and their units until the automaton can be made.
type Pending = HashMap<(usize, Key), Vec<(String, usize)>>;

impl Index {
    pub(crate) fn of(rules: &[Rule]) -> Self {
        let mut index = Self {
            units: Vec::new(),
            families: KINDS.iter().map(|_| Family::default()).collect(),
        };
        let mut pending = Pending::new();
        for (rule, step) in rules
            .iter()
            .enumerate()
            .flat_map(|(at, rule)| (0..rule.program.steps.len()).map(move |step| (at, step)))
        {
            let program = rules.get(rule).map(|rule| &rule.program);
            let Some(step_of) = program.and_then(|program| program.steps.get(step)) else {
                continue;
            };
            let unit = index.units.len();
            index.units.push(Unit { rule, step });
            let of_condition = || anchor::of_condition(step_of.condition.as_ref()?);
            let anchor = step_of.matcher.anchor().or_else(of_condition);
            index.file(unit, step_of.kinds, anchor.as_ref(), &mut pending);
        }
        index.make_automata(pending);
        index
    }

    fn file(
        &mut self,
        unit: usize,
        kinds: KindSet,
        anchor: Option<&Anchor>,
        pending: &mut Pending,
    ) {
        let mut families: Vec<usize> = kinds.iter().map(family).collect();
        families.sort_unstable();
        families.dedup();
        for at in families {
            let Some(family) = self.families.get_mut(at) else {
                continue;
            };
            match anchor {
                None => family.always.push(unit),
                Some(Anchor::Label(set)) => family.labels.push((*set, unit)),
                Some(Anchor::FileLabel(set)) => family.file_labels.push((*set, unit)),
                Some(Anchor::Exe(names)) => {
                    for name in names {
                        family.exes.entry(name.clone()).or_default().push(unit);
                    }
                }
                Some(Anchor::Port(ports)) => {
                    for port in ports {
                        family.ports.entry(*port).or_default().push(unit);
                    }
                }
                Some(Anchor::Literal(key, texts)) => {
                    let list = pending.entry((at, *key)).or_default();
                    list.extend(texts.iter().map(|text| (text.clone(), unit)));
                }
            }
        }
    }

    fn make_automata(&mut self, pending: Pending) {
        for ((at, key), texts) in pending {
            let Some(family) = self.families.get_mut(at) else {
                continue;
            };
            let mut units_of: HashMap<String, Vec<usize>> = HashMap::new();
            for (text, unit) in texts {
                units_of.entry(text).or_default().push(unit);
            }
            let (texts, units): (Vec<String>, Vec<Vec<usize>>) = units_of.into_iter().unzip();
            let kind = (texts.len() <= FAST_LITERALS).then_some(AhoCorasickKind::DFA);
            let automaton = AhoCorasick::builder()
                .kind(kind)
                .ascii_case_insensitive(key == Key::Host)
                .build(&texts);
            match automaton {
                Ok(automaton) => family.literals.push(Literals {
                    key,
                    automaton,
                    units,
                }),
                // Too many texts for an automaton: these rules are asked every time.
                Err(_) => family.always.extend(units.into_iter().flatten()),
            }
        }
    }

    /// Appends the units that may hold for the event, each at most once, in no order.
    pub(crate) fn candidates(&self, kinds: KindSet, view: &View<'_>, found: &mut Vec<usize>) {
        let Some(first) = kinds.iter().next() else {
            return;
        };
        let Some(family) = self.families.get(family(first)) else {
            return;
        };
        found.extend_from_slice(&family.always);
        if !view.process.labels.is_empty() {
            let labelled = family.labels.iter();
            let labelled = labelled.filter(|(set, _)| set.intersects(view.process.labels));
            found.extend(labelled.map(|(_, unit)| *unit));
        }
        if !view.file_labels.is_empty() {
            let labelled = family.file_labels.iter();
            let labelled = labelled.filter(|(set, _)| set.intersects(view.file_labels));
            found.extend(labelled.map(|(_, unit)| *unit));
        }
        if !family.exes.is_empty()
            && let Some(units) = family.exes.get(view.process.name())
        {
            found.extend_from_slice(units);
        }
        if !family.ports.is_empty()
            && let Some(units) = family.ports.get(&view.int(Field::NetworkPort))
        {
            found.extend_from_slice(units);
        }
        for literals in &family.literals {
            let text = match literals.key {
                Key::Path => view.path(),
                Key::Command => &view.process.image.command,
                Key::Exe => &view.process.image.exe,
                Key::Tool => view.tool.map_or("", |tool| &tool.name),
                Key::Operation => view.operation(),
                Key::Host => view.host(),
                _ => &view.text(Field::UnixPath),
            };
            for hit in literals.automaton.find_overlapping_iter(text) {
                if let Some(units) = literals.units.get(hit.pattern().as_usize()) {
                    found.extend_from_slice(units);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
    }
}
