//! How far the verifier may have to look, by kernel and program: a change that makes it look a fifth
//! further fails, and is either undone or accepted with `cargo xtask vm --accept`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::checks::Result as CheckResult;
use super::{Outcome, Row, write};
use crate::failure::Failure;

/// Of small programs a fifth is a line of C; so much more is always allowed.
const SLACK: u64 = 100;

const HEADER: &str = "\
# Instructions that the verifier walks through: kernel, program, instructions. Written by
# `cargo xtask vm --accept`; `cargo xtask vm` fails if one grows by more than a fifth.
";

/// The limits, by kernel and program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Limits(BTreeMap<(String, String), u64>);

impl Limits {
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("failed to read {}: {error}", file.display())))?;
        Self::parse(&text).map_err(|line| {
            Failure::new(format!(
                "{}: this line makes no sense: {line}",
                file.display()
            ))
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut limits = Self::default();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [kernel, program, count] = words.as_slice() else {
                return Err(line.to_owned());
            };
            let count = count.parse().map_err(|_| line.to_owned())?;
            limits
                .0
                .insert(((*kernel).to_owned(), (*program).to_owned()), count);
        }
        Ok(limits)
    }

    /// Compares what a kernel's verifier did with its limits. A program that has none is new, and passes.
    pub(super) fn check(&self, kernel: &str, found: &[(String, u64)]) -> CheckResult {
        let beyond: Vec<String> = found
            .iter()
            .filter_map(|(program, count)| {
                let limit = *self.0.get(&(kernel.to_owned(), program.clone()))?;
                let most = limit + (limit / 5).max(SLACK);
                (*count > most).then(|| format!("{program} {count} (accepted: {limit})"))
            })
            .collect();
        let worst = found.iter().map(|(_, count)| *count).max().unwrap_or(0);
        CheckResult {
            name: "verifier",
            outcome: if beyond.is_empty() {
                Ok(format!("at most {worst}"))
            } else {
                Err(beyond.join(", "))
            },
        }
    }

    /// With the numbers of these rows in place of their kernels' former ones.
    pub(super) fn accept(mut self, rows: &[Row]) -> Self {
        for row in rows {
            if let Outcome::Ran(ran) = &row.outcome {
                self.0.retain(|(kernel, _), _| kernel != row.label);
                for (program, count) in &ran.verifier {
                    self.0
                        .insert((row.label.to_owned(), program.clone()), *count);
                }
            }
        }
        self
    }

    pub(super) fn write(&self, file: &Path) -> Result<(), Failure> {
        write(file, self.text().as_bytes())
    }

    fn text(&self) -> String {
        let mut text = HEADER.to_owned();
        for ((kernel, program), count) in &self.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{kernel} {program} {count}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_more_is_too_much() {
        let limits = Limits::parse("# comment\n\n6.1 large 1000\n6.1 small 10\n").unwrap();
        let passes = |program: &str, count| {
            let found = [(program.to_owned(), count)];
            limits.check("6.1", &found).outcome.is_ok()
        };
        for (program, count, expected) in [
            ("large", 1200, true),
            ("large", 1201, false),
            ("small", 110, true),
            ("small", 111, false),
            ("new", 900_000, true),
        ] {
            assert_eq!(passes(program, count), expected, "{program} {count}");
        }
    }

    #[test]
    fn limits_are_written_as_they_are_read() {
        let text = format!("{HEADER}5.10 a 1\n6.1 b 2\n");
        assert_eq!(Limits::parse(&text).unwrap().text(), text);
        for wrong in ["6.1 a", "6.1 a many", "6.1 a 1 2"] {
            assert!(Limits::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_limits_of_this_repository_can_be_read() {
        let limits = Limits::read(&super::super::limits_file()).unwrap();
        assert!(!limits.0.is_empty());
    }
}
