//! Which rules to ask about an event, without asking all of them.
//!
//! Each step of a rule is filed under the kinds of events that it looks at, and there under one thing that no
//! event passes without: a label, a program's name, a text within a path. So the cost of an event follows from
//! what it is, and hardly from the number of rules.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::anchor;
use crate::engine::context::Image;
use crate::engine::flow::LabelSet;
use crate::field::Field;
use crate::kind::{KINDS, Kind, KindSet};
use crate::matcher::{Anchor, Key};
use crate::rule::Rule;
use crate::view::{View, file_name};

/// Texts in one automaton up to which it is made for speed, not for size.
const FAST_LITERALS: usize = 5_000;

/// A step of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) rule: usize,
    pub(crate) step: usize,
}

/// Texts to be found in one text.
#[derive(Clone, Debug)]
struct Literals<T> {
    key: Key,
    automaton: AhoCorasick,
    /// What each text stands for.
    units: Vec<Vec<T>>,
}

impl<T: Copy> Literals<T> {
    /// The automaton for these texts; what they stand for, if there are too many for one.
    fn new(key: Key, texts: Vec<(String, T)>) -> Result<Self, Vec<T>> {
        let mut units_of: HashMap<String, Vec<T>> = HashMap::new();
        for (text, unit) in texts {
            units_of.entry(text).or_default().push(unit);
        }
        let (texts, units): (Vec<String>, Vec<Vec<T>>) = units_of.into_iter().unzip();
        let kind = (texts.len() <= FAST_LITERALS).then_some(AhoCorasickKind::DFA);
        let automaton = AhoCorasick::builder()
            .kind(kind)
            .ascii_case_insensitive(key == Key::Host)
            .build(&texts);
        match automaton {
            Ok(automaton) => Ok(Self {
                key,
                automaton,
                units,
            }),
            Err(_) => Err(units.concat()),
        }
    }

    fn found_in(&self, text: &str, into: &mut Vec<T>) {
        for hit in self.automaton.find_overlapping_iter(text) {
            if let Some(units) = self.units.get(hit.pattern().as_usize()) {
                into.extend_from_slice(units);
            }
        }
    }
}

/// A unit and the family of kinds that it is filed under.
pub(crate) type Filed = (usize, usize);

/// What follows from a process's program and arguments alone. It is looked up once for each program that is
/// started, and not for each of its events.
#[derive(Clone, Debug, Default)]
struct ImageIndex {
    exes: HashMap<String, Vec<Filed>>,
    literals: Vec<Literals<Filed>>,
}

/// The steps that look at one family of kinds.
#[derive(Clone, Debug, Default)]
struct Family {
    always: Vec<usize>,
    labels: Vec<(LabelSet, usize)>,
    file_labels: Vec<(LabelSet, usize)>,
    ports: HashMap<i64, Vec<usize>>,
    literals: Vec<Literals<usize>>,
}

/// All steps of all rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pub(crate) units: Vec<Unit>,
    families: Vec<Family>,
    image: ImageIndex,
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
            image: ImageIndex::default(),
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
                        let filed = self.image.exes.entry(name.clone()).or_default();
                        filed.push((at, unit));
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
        let mut of_images: HashMap<Key, Vec<(String, Filed)>> = HashMap::new();
        for ((at, key), texts) in pending {
            if matches!(key, Key::Exe | Key::Command) {
                let filed = texts.into_iter().map(|(text, unit)| (text, (at, unit)));
                of_images.entry(key).or_default().extend(filed);
                continue;
            }
            let Some(family) = self.families.get_mut(at) else {
                continue;
            };
            match Literals::new(key, texts) {
                Ok(literals) => family.literals.push(literals),
                // These rules are asked every time.
                Err(units) => family.always.extend(units),
            }
        }
        for (key, texts) in of_images {
            match Literals::new(key, texts) {
                Ok(literals) => self.image.literals.push(literals),
                Err(units) => {
                    for (at, unit) in units {
                        if let Some(family) = self.families.get_mut(at) {
                            family.always.push(unit);
                        }
                    }
                }
            }
        }
    }

    /// The units that may hold for events of a process that runs this program with these arguments.
    fn of_image(&self, image: &Image) -> Vec<Filed> {
        let name = file_name(&image.exe);
        let mut found = self.image.exes.get(name).cloned().unwrap_or_default();
        for literals in &self.image.literals {
            let text = match literals.key {
                Key::Exe => &image.exe,
                _ => &image.command,
            };
            literals.found_in(text, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Appends the units that may hold for the event, each at most once, in no order.
    pub(crate) fn candidates(&self, kinds: KindSet, view: &View<'_>, found: &mut Vec<usize>) {
        let Some(first) = kinds.iter().next() else {
            return;
        };
        let at = family(first);
        let Some(family) = self.families.get(at) else {
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
        let of_image = view.process.image.filed(|image| self.of_image(image));
        let own = of_image.iter().filter(|(of, _)| *of == at);
        found.extend(own.map(|(_, unit)| *unit));
        if !family.ports.is_empty()
            && let Some(units) = family.ports.get(&view.int(Field::NetworkPort))
        {
            found.extend_from_slice(units);
        }
        for literals in &family.literals {
            let text = match literals.key {
                Key::Path => view.path(),
                Key::Tool => view.tool.map_or("", |tool| &tool.name),
                Key::Operation => view.operation(),
                Key::Host => view.host(),
                _ => &view.text(Field::UnixPath),
            };
            literals.found_in(text, found);
        }
        found.sort_unstable();
        found.dedup();
    }
}
