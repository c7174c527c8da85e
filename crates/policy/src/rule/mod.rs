//! Rules: from texts to a checked and compiled set.

mod build;
mod file;
mod template;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use agentsight_model::Severity;
use sha2::{Digest as _, Sha256};

pub(crate) use build::duration_ns;
pub(crate) use file::{CaseFile, EventFile, Words};
pub(crate) use template::{Template, shortened};

use crate::compile::Index;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::engine::flow::LabelSet;
use crate::expr::Pred;
use crate::field::Field;
use crate::kind::KindSet;
use crate::matcher::Matcher;

/// Rules in one set.
pub(crate) const MAX_RULES: usize = 10_000;
/// Longest rule file, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 256 << 10;

/// A rule file.
#[derive(Clone, Debug)]
pub struct Source {
    /// How it is called in messages: its path, as the user knows it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Rules of a higher layer replace those of lower ones that have the same id. The pack is layer 0.
    pub layer: u8,
}

impl Source {
    /// A file of layer 0.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            layer: 0,
        }
    }

    /// The same file in another layer.
    #[must_use]
    pub fn layer(mut self, layer: u8) -> Self {
        self.layer = layer;
        self
    }
}

/// What a rule asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// A finding.
    #[default]
    Alert,
    /// Labels, and no finding.
    Label,
    /// To refuse the act. Not carried out.
    Deny,
    /// To end the process. Not carried out.
    Kill,
    /// To stop the process. Not carried out.
    Freeze,
    /// To ask somebody. Not carried out.
    Ask,
}

impl Effect {
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Alert, "alert"),
        (Self::Label, "label"),
        (Self::Deny, "deny"),
        (Self::Kill, "kill"),
        (Self::Freeze, "freeze"),
        (Self::Ask, "ask"),
    ];

    /// Its name in rule files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(effect, _)| *effect == self)
            .map_or("alert", |(_, name)| name)
    }

    /// Whether this program can carry it out.
    #[must_use]
    pub fn is_carried_out(self) -> bool {
        matches!(self, Self::Alert | Self::Label)
    }
}

/// A rule, checked and compiled.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its id.
    pub id: String,
    /// What it finds, in one line.
    pub title: String,
    /// What it looks at.
    pub description: String,
    /// Why that matters.
    pub why: String,
    /// What looks the same and is harmless.
    pub false_positives: Vec<String>,
    /// How bad a finding is.
    pub severity: Severity,
    /// Names in public taxonomies.
    pub taxonomy: Vec<String>,
    /// What it asks for.
    pub effect: Effect,
    /// The kinds of events that it looks at.
    pub on: Vec<&'static str>,
    /// The file that it comes from.
    pub file: String,
    /// Number of its tests: must fire, must not.
    pub tests: (usize, usize),
    pub(crate) program: Program,
    pub(crate) cases: Vec<(bool, CaseFile)>,
}

/// The working parts of a rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// One step, or the steps of a sequence.
    pub(crate) steps: Vec<Step>,
    /// Time from the first step to the last, or of a threshold.
    pub(crate) within_ns: u64,
    pub(crate) by: By,
    pub(crate) threshold: Option<Threshold>,
    pub(crate) process_labels: LabelSet,
    pub(crate) file_labels: LabelSet,
    pub(crate) message: Template,
    pub(crate) advice: Option<Template>,
    /// Distinguishes versions of a rule: state is kept across reloads only for the same one.
    pub(crate) fingerprint: u64,
}

/// What an event must be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    pub(crate) kinds: KindSet,
    pub(crate) matcher: Matcher,
    pub(crate) condition: Option<Pred>,
    pub(crate) exceptions: Vec<(Matcher, Option<Pred>)>,
}

/// How often, of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threshold {
    pub(crate) count: usize,
    pub(crate) distinct: Option<Field>,
}

/// What the events of a sequence or threshold have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum By {
    Process,
    Parent,
    Agent,
    #[default]
    Session,
}

impl By {
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::Process, "process"),
        (Self::Parent, "parent"),
        (Self::Agent, "agent"),
        (Self::Session, "session"),
    ];
}

/// A checked set of rules.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    pub(crate) rules: Vec<Rule>,
    pub(crate) labels: Vec<String>,
    pub(crate) index: Index,
    sha256: String,
}

impl RuleSet {
    /// Parses, checks and compiles rule files.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them, if anything is; then no rule of them is usable.
    pub fn load(sources: impl IntoIterator<Item = Source>) -> Result<Self, Diagnostics> {
        let sources: Vec<Source> = sources.into_iter().collect();
        let mut built = build::build(&sources)?;
        built.rules.sort_by(|a, b| a.id.cmp(&b.id));
        if built.rules.len() > MAX_RULES {
            return Err(Diagnostics(vec![Diagnostic {
                file: String::new(),
                line: 0,
                column: 0,
                message: format!("more than {MAX_RULES} rules"),
                hint: None,
            }]));
        }
        let index = Index::of(&built.rules);
        Ok(Self {
            sha256: digest(&sources),
            rules: built.rules,
            labels: built.labels,
            index,
        })
    }

    /// The rules, in the order of their ids.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules.iter()
    }

    /// SHA-256 of the files that it was made from, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Rules that ask for more than an alert, which nobody carries out.
    pub fn stronger_effects(&self) -> impl Iterator<Item = &Rule> {
        self.rules
            .iter()
            .filter(|rule| !rule.effect.is_carried_out())
    }
}

/// Over names and texts, each with its length, so that no two sets of files look alike.
fn digest(sources: &[Source]) -> String {
    let mut texts: BTreeMap<(u8, &str), &str> = BTreeMap::new();
    for source in sources {
        texts.insert((source.layer, &source.name), &source.text);
    }
    let mut hash = Sha256::new();
    for ((layer, name), text) in texts {
        hash.update([layer]);
        for part in [name, text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
