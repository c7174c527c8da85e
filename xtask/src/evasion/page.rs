//! The tables: for the terminal, and for `docs/reference/coverage.md`.

use std::fmt::Write as _;

use super::Judged;
use super::table::{Attack, WITHOUT, attacks};
use super::verdicts::Verdicts;

/// The columns of the page: machines, as the verdicts name them.
const MACHINES: &[&str] = &["native", "5.10", "6.1", "6.12", "7"];

const INTRODUCTION: &str = "\
# Coverage

<!-- Written by `cargo xtask test --evasion --accept` and `cargo xtask vm --accept`; changes by hand are lost. -->

What programs do that try not to be seen, and what is seen of it. Each technique is a small program in
`tests/evasion`, which runs under `agentsight run` (one under `attach`); what the session must say is in
`xtask/src/evasion/table`, and none of it holds for a program that does nothing. *caught*: the act is recorded,
with its object. *alarmed*: something is recorded, though not the act. *missed*: nothing is. *impossible*: that
kernel does not let the act be done.

One set of hooks is in use everywhere, tracepoints (`tp_btf`) and uprobes; there is none of LSM or fentry yet. They
observe and cannot refuse.

";

/// What came of each attack, for the terminal.
pub(super) fn text(judged: &Judged) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (program, verdict) in &judged.0 {
        let _ = writeln!(
            text,
            "{:<10} {program:<24} {}",
            verdict.word(),
            verdict.detail()
        );
    }
    let _ = writeln!(text, "{}", judged.summary());
    text
}

/// The page of the reference.
pub(super) fn page(verdicts: &Verdicts) -> String {
    let mut page = INTRODUCTION.to_owned();
    let heads = MACHINES.iter().map(|machine| match *machine {
        "native" => verdicts.release(machine).to_owned(),
        machine => machine.to_owned(),
    });
    line(
        &mut page,
        ["row".into(), "technique".into(), "seen by".into()]
            .into_iter()
            .chain(heads),
    );
    line(&mut page, (0..MACHINES.len() + 3).map(|_| "---".to_owned()));
    let mut attacks: Vec<&Attack> = attacks().collect();
    attacks.sort_by_key(|attack| attack.program);
    for row in 1..=45 {
        for attack in attacks.iter().filter(|attack| attack.row == row) {
            let cells = MACHINES
                .iter()
                .map(|machine| cell(verdicts, machine, attack));
            let first = [
                row.to_string(),
                attack.technique.to_owned(),
                attack.hooks.to_owned(),
            ];
            line(&mut page, first.into_iter().chain(cells));
        }
        for (_, technique, _) in WITHOUT.iter().filter(|without| without.0 == row) {
            let cells = MACHINES.iter().map(|_| "no attacker".to_owned());
            let first = [row.to_string(), (*technique).to_owned(), String::new()];
            line(&mut page, first.into_iter().chain(cells));
        }
    }
    let sums = MACHINES.iter().map(|machine| verdicts.summary(machine));
    let first = ["".to_owned(), "all".to_owned(), String::new()];
    line(&mut page, first.into_iter().chain(sums));
    page.push_str("\n## What remains unseen\n\n");
    for row in 1..=45 {
        for attack in attacks
            .iter()
            .filter(|attack| attack.row == row && !attack.unseen.is_empty())
        {
            let _ = writeln!(page, "- {row}, {}: {}.", attack.technique, attack.unseen);
        }
        for (_, technique, why) in WITHOUT.iter().filter(|without| without.0 == row) {
            let _ = writeln!(page, "- {row}, {technique}: {why}.");
        }
    }
    reasons(&mut page, verdicts, &attacks);
    page
}

/// Why something is neither caught nor alarmed, by machine.
fn reasons(page: &mut String, verdicts: &Verdicts, attacks: &[&Attack]) {
    let mut lines = String::new();
    for machine in MACHINES {
        for attack in attacks {
            let kept = verdicts
                .0
                .get(*machine)
                .and_then(|rows| rows.get(attack.program));
            if let Some(kept) = kept.filter(|kept| !kept.detail.is_empty()) {
                let _ = writeln!(
                    lines,
                    "- {machine}, `{}`: {}: {}",
                    attack.program, kept.word, kept.detail
                );
            }
        }
    }
    if !lines.is_empty() {
        page.push_str("\n## Neither caught nor alarmed\n\n");
        page.push_str(&lines);
    }
}

fn cell(verdicts: &Verdicts, machine: &str, attack: &Attack) -> String {
    verdicts
        .0
        .get(machine)
        .and_then(|rows| rows.get(attack.program))
        .map_or_else(|| "not run".to_owned(), |kept| kept.word.clone())
}

fn line(page: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}
