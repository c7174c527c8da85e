//! When a hook is offered, and when it is not: programs made by hand, which differ in one thing each.

#![allow(clippy::unwrap_used, reason = "tests")]

mod synthetic;

use agentsight_tls::{
    Confidence, HookKind, Located, Options, Stack, StackReport, locate, maybe_tls,
};
use synthetic::{Program, Recipe, build};

fn inspect(program: &Program) -> Located {
    locate(program.bytes.as_slice(), &Options::default()).unwrap()
}

fn openssl(located: &Located) -> &StackReport {
    located
        .stacks
        .iter()
        .find(|report| report.stack == Stack::OpenSsl)
        .unwrap()
}

fn hooks(report: &StackReport) -> Vec<(HookKind, u64)> {
    report
        .hooks
        .iter()
        .map(|hook| (hook.kind, hook.file_offset))
        .collect()
}

fn why_not(report: &StackReport, function: &str) -> String {
    let missing = report
        .missing
        .iter()
        .find(|missing| missing.function == function);
    missing
        .map(|missing| missing.reason.clone())
        .unwrap_or_default()
}

#[test]
fn functions_are_found_with_and_without_unwind_table_and_sections() {
    for unwind in [true, false] {
        for sections in [true, false] {
            let recipe = Recipe {
                unwind,
                sections,
                ..Recipe::default()
            };
            let program = build(recipe);
            let located = inspect(&program);
            let report = openssl(&located);
            assert_eq!(report.version.as_deref(), Some("3.9.1"), "{recipe:?}");
            assert_eq!(
                hooks(report),
                [
                    (HookKind::ReadEx, program.offset("ssl_read_internal")),
                    (HookKind::WriteEx, program.offset("ssl_write_internal")),
                    (HookKind::Handshake, program.offset("SSL_do_handshake")),
                ],
                "{recipe:?}"
            );
            assert!(
                report
                    .hooks
                    .iter()
                    .all(|hook| hook.confidence == Confidence::Proven)
            );
            assert!(!located.is_blind());
        }
    }
}

#[test]
fn two_candidates_are_none() {
    let program = build(Recipe {
        second_write: true,
        ..Recipe::default()
    });
    let located = inspect(&program);
    let report = openssl(&located);
    assert_eq!(
        why_not(report, "SSL_write"),
        "several functions report errors as SSL_write"
    );
    assert!(
        report
            .hooks
            .iter()
            .all(|hook| hook.kind != HookKind::WriteEx)
    );
    assert!(report.is_blind());
}

#[test]
fn a_caller_that_passes_something_else_disproves_the_function() {
    let program = build(Recipe {
        passes_stack: false,
        ..Recipe::default()
    });
    let located = inspect(&program);
    let report = openssl(&located);
    for name in ["ssl_read_internal", "ssl_write_internal"] {
        assert_eq!(
            why_not(report, name),
            "its caller does not call it as the source does"
        );
    }
    assert!(report.is_blind());
}

#[test]
fn code_that_does_not_decode_up_to_the_anchor_is_no_function() {
    for unwind in [true, false] {
        let program = build(Recipe {
            garbage: true,
            unwind,
            ..Recipe::default()
        });
        let located = inspect(&program);
        let report = openssl(&located);
        let offset = program.offset("ssl_read_internal");
        assert!(report.hooks.iter().all(|hook| hook.file_offset != offset));
    }
}

#[test]
fn the_budget_is_kept_and_its_end_is_told() {
    let program = build(Recipe::default());
    let mut options = Options::default();
    // Enough for the constants and not for the code.
    options.max_scanned_bytes = 0x2000 + 100;
    let located = locate(program.bytes.as_slice(), &options).unwrap();
    assert!(located.hooks().next().is_none());
    assert_eq!(located.limits.len(), 1);
}

#[test]
fn the_quick_check_agrees_for_programs_large_enough_to_hold_tls() {
    let mut program = build(Recipe {
        sections: false,
        ..Recipe::default()
    });
    assert!(!maybe_tls(program.bytes.as_slice()).unwrap());
    // The second program header is the code's: its size in the file is at 32.
    let at = 64 + 56 + 32;
    program.bytes[at..at + 8].copy_from_slice(&(200_u64 << 10).to_le_bytes());
    program.bytes.resize(0x2000 + (200 << 10), 0xcc);
    assert!(maybe_tls(program.bytes.as_slice()).unwrap());
}
