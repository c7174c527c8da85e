//! Checks rule files against the vocabulary and compiles them.

use std::collections::BTreeMap;

use agentsight_model::Severity;
use serde_saphyr::{Location, Spanned};

use super::file::{ExceptionFile, MatchFile, RuleFile, SequenceFile, ThresholdFile, Words};
use super::{By, Effect, MAX_FILE_BYTES, Program, Rule, Source, Step, Template, Threshold};
use crate::diagnostic::{Complaint, Diagnostic, Diagnostics, Place, proposal};
use crate::engine::flow::LabelSet;
use crate::expr::{self, Pred, Scope};
use crate::field::{FIELDS, field};
use crate::kind::{KINDS, Kind, KindSet};
use crate::matcher::{Matcher, Test, key_for};

/// Labels in one set of rules: they are bits of a word.
const MAX_LABELS: usize = 64;
/// Steps of a sequence.
const MAX_STEPS: usize = 8;
/// Events that a threshold may count to: it keeps the time of each.
const MAX_THRESHOLD: usize = 1000;
/// Longest time that a sequence or threshold may span.
const MAX_WITHIN_NS: u64 = 24 * 3_600 * 1_000_000_000;

/// Names in taxonomies begin with one of these. The list of each is in docs/reference/rules.md.
const TAXONOMIES: &[&str] = &[
    "owasp-llm-2025:",
    "owasp-asi-2026:",
    "atlas-5.6.0:",
    "attack-18:",
];

pub(super) struct Built {
    pub(super) rules: Vec<Rule>,
    pub(super) labels: Vec<String>,
}

/// Labels by name: whether a rule sets them, and where rules ask for them.
#[derive(Default)]
struct Labels {
    names: Vec<String>,
    is_set: Vec<bool>,
    asked: Vec<(String, Place, String)>,
}

impl Labels {
    fn bit(&mut self, name: &str, sets: bool) -> Result<LabelSet, Complaint> {
        let at = match self.names.iter().position(|known| known == name) {
            Some(at) => at,
            None if self.names.len() >= MAX_LABELS => {
                return Err(Complaint::new(format!("more than {MAX_LABELS} labels")));
            }
            None => {
                self.names.push(name.to_owned());
                self.is_set.push(false);
                self.names.len().saturating_sub(1)
            }
        };
        if sets && let Some(is_set) = self.is_set.get_mut(at) {
            *is_set = true;
        }
        Ok(LabelSet(
            1_u64
                .checked_shl(u32::try_from(at).unwrap_or(64))
                .unwrap_or(0),
        ))
    }

    /// A label that no rule sets can never be found.
    fn complain(&self, into: &mut Vec<Diagnostic>) {
        let set = || {
            let pairs = self.names.iter().zip(&self.is_set);
            pairs
                .filter(|(_, is_set)| **is_set)
                .map(|(name, _)| name.as_str())
        };
        for (file, place, name) in &self.asked {
            if !set().any(|known| known == name) {
                into.push(Diagnostic {
                    file: file.clone(),
                    line: place.line,
                    column: place.column,
                    message: format!("no rule sets the label `{name}`"),
                    hint: proposal(name, set()),
                });
            }
        }
    }
}

pub(super) fn build(sources: &[Source]) -> Result<Built, Diagnostics> {
    let mut diagnostics = Vec::new();
    let mut parsed = Vec::new();
    for source in sources {
        match parse(source) {
            Ok(file) => parsed.push((source, file)),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    let mut lists = BTreeMap::new();
    let mut macros = BTreeMap::new();
    for (_, file) in parsed.iter().filter(|(_, file)| file.id.is_none()) {
        lists.extend(file.lists.clone());
        macros.extend(texts_of(&file.macros));
    }
    let chosen = choose(&parsed, &mut diagnostics);
    let mut labels = Labels::default();
    let mut rules = Vec::new();
    for (source, file) in chosen {
        let (mut lists, mut macros) = (lists.clone(), macros.clone());
        lists.extend(file.lists.clone());
        macros.extend(texts_of(&file.macros));
        let mut builder = Builder {
            source,
            lists: &lists,
            macros: &macros,
            labels: &mut labels,
            diagnostics: &mut diagnostics,
        };
        rules.extend(builder.rule(file));
    }
    labels.complain(&mut diagnostics);
    if diagnostics.is_empty() {
        return Ok(Built {
            rules,
            labels: labels.names,
        });
    }
    diagnostics.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Err(Diagnostics(diagnostics))
}

fn texts_of(macros: &BTreeMap<String, Spanned<String>>) -> BTreeMap<String, String> {
    let texts = macros.iter();
    texts
        .map(|(name, text)| (name.clone(), text.value.clone()))
        .collect()
}

fn parse(source: &Source) -> Result<RuleFile, Diagnostic> {
    let refuse = |place: Place, complaint: Complaint| Diagnostic {
        file: source.name.clone(),
        line: place.line,
        column: place.column,
        message: complaint.message,
        hint: complaint.hint,
    };
    if source.text.len() > MAX_FILE_BYTES {
        let message = format!("a rule file may have {MAX_FILE_BYTES} bytes");
        return Err(refuse(
            Place { line: 1, column: 1 },
            Complaint::new(message),
        ));
    }
    let first = Place { line: 1, column: 1 };
    let file: RuleFile = serde_saphyr::from_str(&source.text).map_err(|error| {
        let place = error.location().map_or(first, Place::from);
        refuse(place, yaml_complaint(error.without_snippet()))
    })?;
    let shares = !file.lists.is_empty() || !file.macros.is_empty();
    let is_rule = file.on.is_some() || file.sequence.is_some() || file.title.is_some();
    if file.id.is_none() && (is_rule || !shares) {
        return Err(refuse(first, Complaint::new("`id` is missing")));
    }
    Ok(file)
}

fn yaml_complaint(error: &serde_saphyr::Error) -> Complaint {
    match error {
        serde_saphyr::Error::SerdeUnknownField {
            field, expected, ..
        } => Complaint::unknown("key", field, expected.iter().copied()),
        serde_saphyr::Error::SerdeMissingField { field, .. } => {
            Complaint::new(format!("`{field}` is missing"))
        }
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            // The place is in the diagnostic.
            let message = first.split(" at line ").next().unwrap_or(first);
            Complaint::new(message)
        }
    }
}

/// The rules in force: of those with the same id the one of the highest layer, if it is enabled.
fn choose<'a>(
    parsed: &'a [(&'a Source, RuleFile)],
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<(&'a Source, &'a RuleFile)> {
    let mut by_id: BTreeMap<&str, (&Source, &RuleFile)> = BTreeMap::new();
    for (source, file) in parsed {
        let Some(id) = &file.id else { continue };
        match by_id.get(id.value.as_str()) {
            Some((other, _)) if other.layer == source.layer => diagnostics.push(Diagnostic {
                file: source.name.clone(),
                line: id.referenced.line(),
                column: id.referenced.column(),
                message: format!("there is a rule `{}` already, in {}", id.value, other.name),
                hint: None,
            }),
            Some((other, _)) if other.layer > source.layer => {}
            _ => {
                by_id.insert(&id.value, (source, file));
            }
        }
    }
    let chosen = by_id.into_values();
    chosen
        .filter(|(_, file)| file.enabled != Some(false))
        .collect()
}

struct Builder<'a> {
    source: &'a Source,
    lists: &'a BTreeMap<String, Vec<String>>,
    macros: &'a BTreeMap<String, String>,
    labels: &'a mut Labels,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Builder<'_> {
    fn refuse(&mut self, place: impl Into<Place>, complaint: Complaint) {
        let place = place.into();
        self.diagnostics.push(Diagnostic {
            file: self.source.name.clone(),
            line: place.line.max(1),
            column: place.column.max(1),
            message: complaint.message,
            hint: complaint.hint,
        });
    }

    /// Takes the value, or says what is wrong with it and goes on with a stand-in.
    fn or_refuse<T: Default>(&mut self, place: Location, result: Result<T, Complaint>) -> T {
        result.unwrap_or_else(|complaint| {
            self.refuse(place, complaint);
            T::default()
        })
    }

    fn rule(&mut self, file: &RuleFile) -> Option<Rule> {
        let id = file.id.as_ref()?;
        let place = id.referenced;
        self.check_id(id);
        if file.title.is_none() {
            self.refuse(place, Complaint::new("`title` is missing"));
        }
        let effect = self.effect(file);
        let severity = self.severity(file, effect, place);
        self.taxonomy(file);
        let program = self.program(file, place);
        if effect == Effect::Label && program.process_labels.union(program.file_labels).is_empty() {
            self.refuse(
                place,
                Complaint::new("a rule of effect `label` sets labels: `labels:` is missing"),
            );
        }
        let kinds = program
            .steps
            .iter()
            .fold(0, |kinds, step| kinds | step.kinds.0);
        let cases = |fires: bool, cases: &[super::CaseFile]| -> Vec<_> {
            cases.iter().map(|case| (fires, case.clone())).collect()
        };
        let mut all = cases(true, &file.tests.fire);
        all.extend(cases(false, &file.tests.quiet));
        Some(Rule {
            id: id.value.clone(),
            title: file
                .title
                .as_ref()
                .map_or_else(String::new, |title| title.value.clone()),
            description: file.description.trim().to_owned(),
            why: file.why.trim().to_owned(),
            false_positives: file.false_positives.texts().map(str::to_owned).collect(),
            severity,
            taxonomy: file.taxonomy.texts().map(str::to_owned).collect(),
            effect,
            on: KindSet(kinds).iter().map(Kind::name).collect(),
            file: self.source.name.clone(),
            tests: (file.tests.fire.len(), file.tests.quiet.len()),
            program,
            cases: all,
        })
    }

    fn check_id(&mut self, id: &Spanned<String>) {
        let text = id.value.as_str();
        let is_kebab = !text.is_empty()
            && text.len() <= 64
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !is_kebab {
            let message = format!("`{text}` is no id: small letters, digits and `-`, 64 at most");
            self.refuse(id.referenced, Complaint::new(message));
        }
    }

    fn effect(&mut self, file: &RuleFile) -> Effect {
        let Some(word) = &file.effect else {
            return Effect::Alert;
        };
        let mut all = Effect::ALL.iter();
        let known = all.find(|(_, name)| *name == word.value);
        let result = known.map(|(effect, _)| *effect).ok_or_else(|| {
            Complaint::unknown(
                "effect",
                &word.value,
                Effect::ALL.iter().map(|(_, name)| *name),
            )
        });
        self.or_refuse(word.referenced, result)
    }

    fn severity(&mut self, file: &RuleFile, effect: Effect, place: Location) -> Severity {
        let Some(word) = &file.severity else {
            if effect != Effect::Label {
                self.refuse(place, Complaint::new("`severity` is missing"));
            }
            return Severity::Info;
        };
        let result = word.value.parse().map_err(|_| {
            let names = Severity::ALL.iter().map(|severity| severity.as_str());
            Complaint::unknown("severity", &word.value, names)
        });
        self.or_refuse(word.referenced, result)
    }

    fn taxonomy(&mut self, file: &RuleFile) {
        for word in &file.taxonomy.0 {
            let text = &word.value.0;
            if !TAXONOMIES.iter().any(|prefix| text.starts_with(prefix)) {
                let message = format!("`{text}` names no taxonomy that is known");
                let hint = format!("it begins with one of {}", TAXONOMIES.join(" "));
                self.refuse(word.referenced, Complaint::new(message).hint(Some(hint)));
            }
        }
    }

    fn program(&mut self, file: &RuleFile, place: Location) -> Program {
        let mut program = Program {
            // The text decides whether two versions of a rule are the same.
            fingerprint: crate::engine::hash_of(&self.source.text),
            ..Program::default()
        };
        match (&file.on, &file.sequence) {
            (Some(on), None) => {
                let step = self.step(on, &file.matcher, file.condition.as_ref(), &file.exceptions);
                program.steps.push(step);
            }
            (None, Some(sequence)) => self.sequence(file, sequence, &mut program),
            (Some(_), Some(sequence)) => {
                let message = "a rule has either `on:` or `sequence:`";
                self.refuse(sequence.referenced, Complaint::new(message));
            }
            (None, None) => {
                let message = "`on` is missing: the kinds of events that the rule looks at";
                self.refuse(place, Complaint::new(message));
            }
        }
        let kinds = program
            .steps
            .last()
            .map_or(KindSet::default(), |step| step.kinds);
        if let Some(threshold) = &file.threshold {
            self.threshold(threshold, kinds, &mut program);
        }
        if let Some(labels) = &file.labels {
            program.process_labels = self.labels(&labels.process);
            program.file_labels = self.labels(&labels.file);
        }
        let message = file.message.as_ref();
        if let Some(text) = message
            .and_then(|message| message.human.as_ref())
            .or(file.title.as_ref())
        {
            program.message = self.or_refuse(text.referenced, Template::new(&text.value, kinds));
        }
        if let Some(text) = message.and_then(|message| message.agent.as_ref()) {
            let advice = Template::new(&text.value, kinds);
            program.advice = Some(self.or_refuse(text.referenced, advice));
        }
        program
    }

    fn step(
        &mut self,
        on: &Spanned<Words>,
        matcher: &MatchFile,
        condition: Option<&Spanned<String>>,
        exceptions: &[ExceptionFile],
    ) -> Step {
        let kinds = self.kinds(on);
        let exceptions = exceptions.iter().map(|exception| {
            if exception.matcher.0.is_empty() && exception.condition.is_none() {
                let message = "an exception needs `match:` or `where:`";
                self.refuse(exception.name.referenced, Complaint::new(message));
            }
            let matcher = self.matcher(&exception.matcher, kinds);
            (matcher, self.condition(exception.condition.as_ref(), kinds))
        });
        let exceptions = exceptions.collect();
        Step {
            kinds,
            matcher: self.matcher(matcher, kinds),
            condition: self.condition(condition, kinds),
            exceptions,
        }
    }

    fn kinds(&mut self, on: &Spanned<Words>) -> KindSet {
        let mut kinds = KindSet::default();
        for word in &on.value.0 {
            match Kind::from_name(&word.value.0) {
                Some(kind) => kinds.insert(kind),
                None => {
                    let names = KINDS.iter().map(|info| info.name);
                    let complaint = Complaint::unknown("kind of event", &word.value.0, names);
                    self.refuse(place_of(word.referenced, on.referenced), complaint);
                }
            }
        }
        if on.value.0.is_empty() {
            self.refuse(on.referenced, Complaint::new("no kind of event is named"));
        }
        kinds
    }

    fn matcher(&mut self, file: &MatchFile, kinds: KindSet) -> Matcher {
        let mut matcher = Matcher::default();
        for (name, words) in &file.0 {
            let key = match key_for(&name.value, kinds) {
                Ok(key) => key,
                Err(complaint) => {
                    self.refuse(name.referenced, complaint);
                    continue;
                }
            };
            let (values, places) = self.values(words);
            let (labels, file_name) = (&mut *self.labels, &self.source.name);
            let mut asked = Vec::new();
            let test = Test::new(key, &values, &mut |label| {
                asked.push(label.to_owned());
                labels.bit(label, false)
            });
            let place = |at: usize| places.get(at).copied().unwrap_or_default();
            for (at, label) in asked.into_iter().enumerate() {
                labels.asked.push((file_name.clone(), place(at), label));
            }
            match test {
                Ok(test) => matcher.tests.push(test),
                Err((at, complaint)) => self.refuse(place(at), complaint),
            }
        }
        matcher
    }

    /// The values of a matcher's key, with those of the lists that it names.
    fn values(&mut self, words: &Spanned<Words>) -> (Vec<String>, Vec<Place>) {
        let (mut values, mut places) = (Vec::new(), Vec::new());
        for word in &words.value.0 {
            let place = place_of(word.referenced, words.referenced);
            let text = &word.value.0;
            match text.strip_prefix('$') {
                None => {
                    values.push(text.clone());
                    places.push(place);
                }
                Some(name) => match self.lists.get(name) {
                    Some(list) => {
                        values.extend(list.iter().cloned());
                        places.extend(list.iter().map(|_| place));
                    }
                    None => {
                        let names = self.lists.keys().map(String::as_str);
                        let complaint = Complaint::unknown("list", name, names);
                        self.refuse(place, complaint);
                    }
                },
            }
        }
        if words.value.0.is_empty() {
            self.refuse(words.referenced, Complaint::new("no value is given"));
        }
        (values, places)
    }

    fn condition(&mut self, text: Option<&Spanned<String>>, kinds: KindSet) -> Option<Pred> {
        let text = text?;
        let scope = Scope {
            kinds,
            lists: self.lists,
            macros: self.macros,
        };
        match expr::compile(&text.value, &scope) {
            Ok(pred) => Some(pred),
            Err(error) => {
                let start = Place::from(text.referenced);
                let place = place_in(&self.source.text, start, &text.value, error.offset);
                self.refuse(place, error.complaint);
                None
            }
        }
    }

    fn sequence(
        &mut self,
        file: &RuleFile,
        sequence: &Spanned<SequenceFile>,
        program: &mut Program,
    ) {
        let outside = !file.matcher.0.is_empty() || file.condition.is_some();
        if outside || !file.exceptions.is_empty() || file.threshold.is_some() {
            let message = "in a sequence, `match`, `where` and `exceptions` belong to its steps, and there is no `threshold`";
            self.refuse(sequence.referenced, Complaint::new(message));
        }
        let steps = &sequence.value.steps;
        if steps.len() < 2 || steps.len() > MAX_STEPS {
            let message = format!("a sequence has from 2 to {MAX_STEPS} steps");
            self.refuse(sequence.referenced, Complaint::new(message));
        }
        program.within_ns = self.duration(&sequence.value.within);
        program.by = self.by(sequence.value.by.as_ref());
        for step in steps {
            let step = self.step(
                &step.on,
                &step.matcher,
                step.condition.as_ref(),
                &step.exceptions,
            );
            program.steps.push(step);
        }
    }

    fn threshold(
        &mut self,
        threshold: &Spanned<ThresholdFile>,
        kinds: KindSet,
        program: &mut Program,
    ) {
        let file = &threshold.value;
        if file.count < 2 || file.count > MAX_THRESHOLD {
            let message = format!("a threshold counts to at least 2 and at most {MAX_THRESHOLD}");
            self.refuse(threshold.referenced, Complaint::new(message));
        }
        program.within_ns = self.duration(&file.within);
        program.by = self.by(file.by.as_ref());
        let distinct = file.distinct.as_ref().and_then(|name| {
            let known = field(&name.value).filter(|info| kinds.0 & !info.group.kinds().0 == 0);
            if known.is_none() {
                let of_kinds = FIELDS
                    .iter()
                    .filter(|info| kinds.0 & !info.group.kinds().0 == 0);
                let complaint =
                    Complaint::unknown("name", &name.value, of_kinds.map(|info| info.name));
                self.refuse(name.referenced, complaint);
            }
            known.map(|info| info.field)
        });
        program.threshold = Some(Threshold {
            count: file.count,
            distinct,
        });
    }

    fn by(&mut self, word: Option<&Spanned<String>>) -> By {
        let Some(word) = word else {
            return By::default();
        };
        let mut all = By::ALL.iter();
        let known = all.find(|(_, name)| *name == word.value);
        let result = known.map(|(by, _)| *by).ok_or_else(|| {
            Complaint::unknown(
                "word for `by`",
                &word.value,
                By::ALL.iter().map(|(_, name)| *name),
            )
        });
        self.or_refuse(word.referenced, result)
    }

    fn duration(&mut self, word: &Spanned<String>) -> u64 {
        let parsed = duration_ns(&word.value).filter(|ns| *ns > 0 && *ns <= MAX_WITHIN_NS);
        let result = parsed.ok_or_else(|| {
            Complaint::new(format!("`{}` is no time up to a day", word.value))
                .hint(Some("such as `500ms`, `30s`, `5m`, `2h`".to_owned()))
        });
        self.or_refuse(word.referenced, result)
    }

    fn labels(&mut self, words: &Words) -> LabelSet {
        let mut set = LabelSet::default();
        for word in &words.0 {
            let bit = self.labels.bit(&word.value.0, true);
            set = set.union(self.or_refuse(word.referenced, bit));
        }
        set
    }
}

/// Nanoseconds of a text such as `30s`.
pub(crate) fn duration_ns(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(at);
    let unit_ns = match unit.trim() {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit_ns)
}

/// The place of a word; that of the whole value where the word has none of its own.
fn place_of(own: Location, whole: Location) -> Place {
    let own = Place::from(own);
    if own.line == 0 { whole.into() } else { own }
}

/// Where the byte at `offset` of a scalar's value lies in the file.
///
/// The value of a scalar is not its text: quotes, escapes and folded lines are gone. But its words are there in
/// the same order, so the word at `offset` is found by counting how often it occurs before.
fn place_in(text: &str, start: Place, value: &str, offset: usize) -> Place {
    let before = value.get(..offset).unwrap_or(value);
    let rest = value.get(offset..).unwrap_or_default();
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let word = match rest.get(..length).filter(|word| !word.is_empty()) {
        Some(word) => word,
        None => rest
            .get(..rest.chars().next().map_or(0, char::len_utf8))
            .unwrap_or_default(),
    };
    let line_at = usize::try_from(start.line.saturating_sub(1)).unwrap_or(usize::MAX);
    let column_at = usize::try_from(start.column.saturating_sub(1)).unwrap_or(usize::MAX);
    if word.is_empty() {
        return start;
    }
    let mut left = before.matches(word).count();
    for (index, line) in text.lines().enumerate().skip(line_at) {
        let skipped = if index == line_at { column_at } else { 0 };
        let from = line
            .char_indices()
            .nth(skipped)
            .map_or(line.len(), |(at, _)| at);
        for (at, _) in line.get(from..).unwrap_or_default().match_indices(word) {
            if left == 0 {
                let column = line
                    .get(..from.saturating_add(at))
                    .unwrap_or_default()
                    .chars()
                    .count();
                return Place {
                    line: (index as u64).saturating_add(1),
                    column: (column as u64).saturating_add(1),
                };
            }
            left = left.saturating_sub(1);
        }
    }
    start
}
