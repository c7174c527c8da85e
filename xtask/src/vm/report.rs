//! The tables: for the terminal, and for `docs/reference/kernels.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Outcome, Ran, Row};

/// What came of each kernel, for the terminal.
pub(super) fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for row in rows {
        match &row.outcome {
            Outcome::Skipped(reason) => {
                let _ = writeln!(text, "{:<6} skipped: {reason}", row.label);
            }
            Outcome::Failed(reason) => {
                let _ = writeln!(text, "{:<6} FAILED: {reason}", row.label);
            }
            Outcome::Ran(ran) => {
                let _ = writeln!(
                    text,
                    "{:<6} {} in {:.1} s",
                    row.label, ran.release, ran.seconds
                );
                for check in &ran.checks {
                    let (mark, found) = match &check.outcome {
                        Ok(found) => ("ok", found),
                        Err(why) => ("FAILED", why),
                    };
                    let _ = writeln!(text, "  {mark:<6} {:<14} {found}", check.name);
                }
            }
        }
    }
    text
}

/// The page of the reference.
pub(super) fn page(rows: &[Row]) -> String {
    let ran: Vec<(&str, &Ran)> = rows
        .iter()
        .filter_map(|row| match &row.outcome {
            Outcome::Ran(ran) => Some((row.label, &**ran)),
            _ => None,
        })
        .collect();
    let mut page = String::from(
        "# Kernels\n\n\
         <!-- Written by `cargo xtask vm`; changes by hand are lost. -->\n\n\
         Stock kernels of Debian, in QEMU with 256 MB, each with the product's own tests and a watched command.\n\
         On all of them processes, files, connections and the plaintext of the OpenSSL family are seen. What\n\
         `doctor` calls limited works in another way or less well, and is named in every session. `memory` is what\n\
         watching takes with rings and tables of a quarter of their size, as they are below 1 GiB of memory.\n\n",
    );
    table(
        &mut page,
        "",
        ran.iter().map(|(_, ran)| ran.release.clone()),
    );
    for name in check_names(&ran) {
        let cells = ran.iter().map(|(_, ran)| {
            let found = ran.checks.iter().find(|check| check.name == name);
            match found.map(|check| &check.outcome) {
                Some(Ok(found)) => found.clone(),
                Some(Err(why)) => format!("**failed**: {}", why.replace('|', "\\|")),
                None => String::new(),
            }
        });
        line(&mut page, name, cells);
    }
    page.push_str(
        "\n## Work of the verifier\n\n\
         Instructions that it walks through before it lets a program in; the kernels stop at 1,000,000. A program\n\
         without a number is not loaded on that kernel. Growth by more than a fifth fails the command\n\
         (`xtask/vm/verifier.limits`).\n\n",
    );
    table(
        &mut page,
        "program",
        ran.iter().map(|(label, _)| (*label).to_owned()),
    );
    let mut programs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (column, (_, ran)) in ran.iter().enumerate() {
        for (program, count) in &ran.verifier {
            let cells = programs.entry(program).or_default();
            cells.resize(column, String::new());
            cells.push(count.to_string());
        }
    }
    for (program, mut cells) in programs {
        cells.resize(ran.len(), String::new());
        line(&mut page, &format!("`{program}`"), cells.into_iter());
    }
    page
}

/// The checks' names, in order.
fn check_names<'a>(ran: &[(&str, &'a Ran)]) -> Vec<&'a str> {
    let mut names = Vec::new();
    for check in ran.iter().flat_map(|(_, ran)| &ran.checks) {
        if !names.contains(&check.name) {
            names.push(check.name);
        }
    }
    names
}

fn table(page: &mut String, first: &str, columns: impl Iterator<Item = String>) {
    let columns: Vec<String> = columns.collect();
    let rules = columns.iter().map(|_| "---".to_owned());
    line(page, first, columns.iter().cloned());
    line(page, "---", rules);
}

fn line(page: &mut String, first: &str, cells: impl Iterator<Item = String>) {
    page.push_str("| ");
    page.push_str(first);
    for cell in cells {
        page.push_str(" | ");
        page.push_str(&cell);
    }
    page.push_str(" |\n");
}

#[cfg(test)]
mod tests {
    use super::super::checks::Result as CheckResult;
    use super::*;
    use crate::evasion::Results;

    fn ran(label: &'static str, verifier: &[(&str, u64)], outcome: Result<String, String>) -> Row {
        Row {
            label,
            outcome: Outcome::Ran(Box::new(Ran {
                release: format!("{label}.0"),
                seconds: 1.0,
                checks: vec![CheckResult {
                    name: "exec",
                    outcome,
                }],
                verifier: verifier
                    .iter()
                    .map(|(program, count)| ((*program).to_owned(), *count))
                    .collect(),
                attacked: Results::new(),
                evasion: None,
            })),
        }
    }

    #[test]
    fn a_program_that_one_kernel_does_not_load_has_an_empty_cell() {
        let rows = [
            ran("5.10", &[("a", 1)], Ok("seen".into())),
            ran("6.1", &[("a", 2), ("b", 3)], Err("not | seen".into())),
        ];
        let page = page(&rows);
        for line in [
            "|  | 5.10.0 | 6.1.0 |",
            "| exec | seen | **failed**: not \\| seen |",
            "| `a` | 1 | 2 |",
            "| `b` |  | 3 |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[test]
    fn what_was_skipped_and_what_failed_is_said() {
        let rows = [
            Row {
                label: "7",
                outcome: Outcome::Skipped("no mirror".into()),
            },
            ran("6.1", &[], Err("no connect".into())),
        ];
        let text = text(&rows);
        assert!(text.contains("7      skipped: no mirror"), "{text}");
        assert!(text.contains("FAILED exec           no connect"), "{text}");
    }
}
