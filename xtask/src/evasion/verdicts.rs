//! The verdicts that are kept: `tests/evasion/verdicts`, a line for each machine and attacker.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::check::Verdict;
use super::{Judged, page, sources};
use crate::failure::Failure;
use crate::run;

const HEADER: &str = "\
# What came of each attacker: machine, attacker, verdict, and why. Written by `cargo xtask test --evasion --accept`
# and `cargo xtask vm --accept`; docs/reference/coverage.md is made of it. A worse verdict fails both commands.
";

/// What a machine's kernel is, as an attacker's name.
const RELEASE: &str = "kernel";

/// A verdict as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) word: String,
    pub(super) detail: String,
}

/// The verdicts by machine and attacker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts(pub(super) BTreeMap<String, BTreeMap<String, Kept>>);

impl Verdicts {
    pub(crate) fn read() -> Result<Self, Failure> {
        match fs::read_to_string(file()) {
            Ok(text) => Self::parse(&text).map_err(|line| {
                Failure::new(format!(
                    "{}: this line makes no sense: {line}",
                    file().display()
                ))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::new(format!(
                "failed to read {}: {error}",
                file().display()
            ))),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut verdicts = Self::default();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let mut words = line.splitn(4, ' ');
            let (Some(machine), Some(program), Some(word)) =
                (words.next(), words.next(), words.next())
            else {
                return Err(line.to_owned());
            };
            let kept = Kept {
                word: word.to_owned(),
                detail: words.next().unwrap_or_default().to_owned(),
            };
            verdicts
                .0
                .entry(machine.to_owned())
                .or_default()
                .insert(program.to_owned(), kept);
        }
        Ok(verdicts)
    }

    /// With what came of one machine in place of what was kept of it.
    pub(crate) fn accept(mut self, machine: &str, release: &str, judged: &Judged) -> Self {
        let kept = |verdict: &Verdict| Kept {
            word: verdict.word().to_owned(),
            detail: one_line(verdict.detail()),
        };
        let mut rows: BTreeMap<String, Kept> = judged
            .0
            .iter()
            .map(|(program, verdict)| ((*program).to_owned(), kept(verdict)))
            .collect();
        let release = Kept {
            word: one_line(release).replace(' ', "-"),
            detail: String::new(),
        };
        rows.insert(RELEASE.to_owned(), release);
        self.0.insert(machine.to_owned(), rows);
        self
    }

    /// The attackers that came off better than what is kept, and how.
    pub(crate) fn worse(&self, machine: &str, judged: &Judged) -> Vec<String> {
        let kept = self.0.get(machine);
        judged
            .0
            .iter()
            .filter_map(|(program, verdict)| {
                let before = kept
                    .and_then(|kept| kept.get(*program))
                    .map_or("", |kept| kept.word.as_str());
                let detail = verdict.detail();
                let is_worse = verdict.word() == "broken" || rank(verdict.word()) < rank(before);
                is_worse
                    .then(|| format!("{program} {} ({detail}); it was {before}", verdict.word()))
            })
            .collect()
    }

    /// The kernel of a machine.
    pub(super) fn release(&self, machine: &str) -> &str {
        self.0
            .get(machine)
            .and_then(|rows| rows.get(RELEASE))
            .map_or("not run", |kept| kept.word.as_str())
    }

    /// How many attackers of a machine came to what.
    pub(super) fn summary(&self, machine: &str) -> String {
        let rows = self.0.get(machine).into_iter().flatten();
        let words = rows
            .filter(|(program, _)| *program != RELEASE)
            .map(|(_, kept)| kept.word.as_str());
        summary(words)
    }

    /// Writes what is kept, and the page that is made of it.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        write(file(), &self.text())?;
        write(
            run::root().join("docs/reference/coverage.md"),
            &page::page(self),
        )
    }

    fn text(&self) -> String {
        let mut text = HEADER.to_owned();
        for (machine, rows) in &self.0 {
            for (program, Kept { word, detail }) in rows {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{}",
                    format!("{machine} {program} {word} {detail}").trim_end()
                );
            }
        }
        text
    }
}

/// Verdicts, counted.
pub(super) fn summary<'a>(verdicts: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in verdicts {
        *counts.entry(word).or_default() += 1;
    }
    let words = ["caught", "alarmed", "missed", "impossible", "broken"];
    let counts = words
        .iter()
        .filter_map(|word| counts.get(word).map(|count| format!("{count} {word}")));
    counts.collect::<Vec<_>>().join(", ")
}

/// How good a verdict is. What cannot be done on a machine is neither good nor bad.
fn rank(word: &str) -> u8 {
    match word {
        "caught" => 3,
        "alarmed" => 2,
        "impossible" => 1,
        _ => 0,
    }
}

fn one_line(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn file() -> PathBuf {
    sources().join("verdicts")
}

fn write(file: PathBuf, text: &str) -> Result<(), Failure> {
    fs::write(&file, text)
        .map_err(|error| Failure::new(format!("failed to write {}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_written_as_they_are_read() {
        let text =
            format!("{HEADER}6.1 01_a caught\n6.1 kernel 6.1.0\nnative 02_b missed no file.open\n");
        assert_eq!(Verdicts::parse(&text).unwrap().text(), text);
        assert!(Verdicts::parse("6.1 a").is_err());
    }

    #[test]
    fn worse_is_worse_and_what_is_broken_always_is() {
        let verdicts =
            Verdicts::parse("m a caught\nm b missed x\nm c impossible x\nm d caught\n").unwrap();
        let judged = Judged(
            [
                ("a", Verdict::Alarmed),
                ("b", Verdict::Caught),
                ("c", Verdict::Missed("y".to_owned())),
                ("d", Verdict::Caught),
                ("e", Verdict::Broken("z".to_owned())),
            ]
            .into(),
        );
        let worse = verdicts.worse("m", &judged);
        let programs: Vec<&str> = worse
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(programs, ["a", "c", "e"]);
        let accepted = verdicts.accept("m", "1.2 x", &judged);
        assert_eq!(accepted.release("m"), "1.2-x");
        assert_eq!(accepted.worse("m", &judged).len(), 1);
    }

    #[test]
    fn the_page_is_that_of_the_verdicts_kept() {
        let kept = Verdicts::read().unwrap();
        let written = fs::read_to_string(run::root().join("docs/reference/coverage.md")).unwrap();
        assert!(written == page::page(&kept), "run: cargo xtask gen");
    }
}
