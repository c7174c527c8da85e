//! BoringSSL, in programs that carry it: Chromium and Electron, Bun, Deno and what is built from them.
//!
//! Such programs name no function. What stays is how a function reports its errors: it gives the library,
//! the reason, and the name of the source file to one function. Which reasons a function of `ssl_lib.cc`
//! gives is as good as its name:
//!
//! - `SSL_write`: not for QUIC, uninitialized, handshake failure, bad length;
//! - `ssl_read_impl`: uninitialized, handshake failure, and what was built into it;
//! - `SSL_read`: not for QUIC, through the `SSL_peek` within it, and it calls `ssl_read_impl`; or the
//!   reasons of both, if that was built into it. It takes what it read from the connection's buffer, which
//!   `SSL_peek` does not. Where `SSL_peek` is a function of its own, `SSL_read` is the small function that
//!   calls it and does the same.
//!
//! - `SSL_do_handshake`: connection type not set, and `SSL_write` calls it.
//!
//! Line numbers are given, too, but differ from version to version.

use std::collections::BTreeSet;

use super::{Function, Inspection, StackEntry, errors, libssl};
use crate::LocateError;
use crate::code::Routine;
use crate::report::{HookKind, Stack, StackReport};

/// BoringSSL.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::BoringSsl,
    symbols: &[MARKER],
    constants: &[SOURCE],
    inspect,
};

/// A function that BoringSSL has and OpenSSL does not.
const MARKER: &str = "SSL_CTX_set_grease_enabled";
/// How the name of the source file ends.
pub(super) const SOURCE: &[u8] = b"ssl/ssl_lib.cc\0";
/// `ERR_LIB_SSL`.
const LIBRARY: u64 = 16;
/// `ERR_R_SHOULD_NOT_HAVE_BEEN_CALLED`: what QUIC connections get.
const NOT_FOR_QUIC: u64 = 66;
/// `SSL_R_CONNECTION_TYPE_NOT_SET`: of `SSL_do_handshake`.
const CONNECTION_TYPE_NOT_SET: u64 = 134;
/// What `SSL_do_handshake` and what follows it add where they were built into their callers: connection type
/// not set, bad hello request, no renegotiation.
const INHERITED: [u64; 3] = [CONNECTION_TYPE_NOT_SET, 110, 182];
/// `SSL_R_BAD_LENGTH`.
const BAD_LENGTH: u64 = 111;
/// `SSL_R_SSL_HANDSHAKE_FAILURE`.
const HANDSHAKE_FAILURE: u64 = 215;
/// Instructions of `SSL_read` around `SSL_peek`, with room for what may be built into it.
const MAX_READ_STEPS: usize = 100;
/// `SSL_R_UNINITIALIZED`.
const UNINITIALIZED: u64 = 226;

/// Whether the file's symbols are those of BoringSSL or of what descends from it.
pub(super) fn is_named(inspection: &Inspection<'_>) -> bool {
    inspection.symbols.contains(MARKER)
}

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    if super::awslc::is_named(inspection) {
        return Ok(None);
    }
    inspect_as(inspection, Stack::BoringSsl, |path| {
        !super::awslc::is_path(path)
    })
}

/// Looks for the functions of `ssl_lib.cc` in the sources whose path satisfies `is_own`.
pub(super) fn inspect_as(
    inspection: &mut Inspection<'_>,
    stack: Stack,
    is_own: fn(&str) -> bool,
) -> Result<Option<StackReport>, LocateError> {
    let named = libssl::named_hooks(inspection);
    if !named.is_empty() && is_named(inspection) {
        let mut report = StackReport::new(stack, vec![format!("symbol {MARKER}")]);
        report.hooks = named;
        return Ok(Some(report));
    }
    let mut sources = inspection.string_starts(SOURCE)?;
    sources.retain(|(_, path)| is_own(path));
    let Some((_, path)) = sources.first() else {
        return Ok(None);
    };
    let evidence = vec![format!("name of the source file {path}")];
    let mut report = StackReport::new(stack, evidence);
    let files: BTreeSet<u64> = sources.iter().map(|(address, _)| *address).collect();
    search(inspection, &files, &mut report)?;
    Ok(Some(report))
}

/// A function with the reasons that it gives.
struct Suspect<'f> {
    function: &'f Function,
    reasons: BTreeSet<u64>,
}

impl Suspect<'_> {
    /// Whether it gives each of `reasons`, and no other but what it may have inherited.
    fn gives(&self, reasons: &[u64]) -> bool {
        let is_known = |reason: &u64| reasons.contains(reason) || INHERITED.contains(reason);
        self.reasons.iter().all(is_known) && reasons.iter().all(|r| self.reasons.contains(r))
    }

    fn is_write(&self) -> bool {
        self.gives(&[NOT_FOR_QUIC, BAD_LENGTH, HANDSHAKE_FAILURE, UNINITIALIZED])
    }

    fn is_read_impl(&self) -> bool {
        self.gives(&[HANDSHAKE_FAILURE, UNINITIALIZED])
    }

    /// `SSL_read`, or `SSL_peek`, with `ssl_read_impl` inside.
    fn is_whole_read(&self) -> bool {
        self.gives(&[NOT_FOR_QUIC, HANDSHAKE_FAILURE, UNINITIALIZED])
    }

    /// `SSL_read`, or `SSL_peek`, that calls one of `implementations`.
    fn is_read_or_peek(&self, implementations: &BTreeSet<u64>) -> bool {
        self.reasons == BTreeSet::from([NOT_FOR_QUIC])
            && !implementations.is_disjoint(&self.function.routine.callees())
    }

    fn evidence(&self) -> Vec<String> {
        let reasons: Vec<String> = self.reasons.iter().map(u64::to_string).collect();
        vec![
            self.function.start.evidence.clone(),
            format!(
                "reports errors of library {LIBRARY} from ssl_lib.cc with reasons {}",
                reasons.join(", ")
            ),
        ]
    }
}

fn search(
    inspection: &mut Inspection<'_>,
    files: &BTreeSet<u64>,
    report: &mut StackReport,
) -> Result<(), LocateError> {
    let targets: Vec<u64> = files.iter().copied().collect();
    let functions = inspection.functions_referring(&targets)?;
    let suspects: Vec<Suspect<'_>> = functions
        .iter()
        .map(|function| Suspect {
            function,
            reasons: errors::reasons_with_file(&function.routine, files, LIBRARY),
        })
        .collect();
    search_write(inspection, &suspects, report);
    search_read(inspection, &suspects, report)?;
    search_handshake(inspection, &suspects, report);
    for name in ["SSL_free", "SSL_set_fd"] {
        report.miss(name, "it reports no error that would tell it apart");
    }
    Ok(())
}

fn search_write(inspection: &Inspection<'_>, suspects: &[Suspect<'_>], report: &mut StackReport) {
    let found: Vec<&Suspect<'_>> = suspects.iter().filter(|s| s.is_write()).collect();
    match found.as_slice() {
        [write] => add(
            inspection,
            "SSL_write",
            HookKind::WriteReturn,
            write,
            None,
            report,
        ),
        [] => report.miss("SSL_write", "no function gives the reasons that it gives"),
        _ => report.miss(
            "SSL_write",
            "several functions give the reasons that it gives",
        ),
    }
}

fn search_handshake(
    inspection: &Inspection<'_>,
    suspects: &[Suspect<'_>],
    report: &mut StackReport,
) {
    let name = "SSL_do_handshake";
    let mut writes = suspects.iter().filter(|s| s.is_write());
    let called = writes
        .next()
        .map(|s| s.function.routine.callees())
        .unwrap_or_default();
    let mut found = suspects
        .iter()
        .filter(|s| s.reasons == BTreeSet::from([CONNECTION_TYPE_NOT_SET]))
        .filter(|s| called.contains(&s.function.start.address));
    match (found.next(), found.next()) {
        (Some(handshake), None) => {
            add(
                inspection,
                name,
                HookKind::Handshake,
                handshake,
                None,
                report,
            );
        }
        _ => report.miss(
            name,
            "no single function that SSL_write calls gives its reason",
        ),
    }
}

fn search_read(
    inspection: &mut Inspection<'_>,
    suspects: &[Suspect<'_>],
    report: &mut StackReport,
) -> Result<(), LocateError> {
    let implementations: BTreeSet<u64> = suspects
        .iter()
        .filter(|s| s.is_read_impl())
        .map(|s| s.function.start.address)
        .collect();
    let (reads, peeks): (Vec<&Suspect<'_>>, Vec<&Suspect<'_>>) = suspects
        .iter()
        .filter(|s| s.is_whole_read() || s.is_read_or_peek(&implementations))
        .partition(|s| s.function.routine.stores_outside_stack());
    let name = "SSL_read";
    match (reads.as_slice(), peeks.as_slice()) {
        ([read], _) => {
            let callees = read.function.routine.callees();
            let callee = implementations.intersection(&callees).next().copied();
            add(inspection, name, HookKind::ReadReturn, read, callee, report);
        }
        ([], [peek]) => search_read_around(inspection, peek, report)?,
        ([], _) => report.miss(name, "no function gives the reasons that it gives"),
        _ => report.miss(name, "several functions give the reasons that it gives"),
    }
    Ok(())
}

/// Finds `SSL_read` by its call of `SSL_peek`.
fn search_read_around(
    inspection: &mut Inspection<'_>,
    peek: &Suspect<'_>,
    report: &mut StackReport,
) -> Result<(), LocateError> {
    let callee = peek.function.start.address;
    let mut callers = inspection.functions_calling(callee)?;
    callers.retain(|caller| takes_what_it_peeks(&caller.routine, callee));
    match callers.as_slice() {
        [read] => {
            let mut evidence = vec![
                read.start.evidence.clone(),
                format!("calls SSL_peek at {callee:#x} and takes what it read from the buffer"),
            ];
            evidence.extend(peek.evidence().into_iter().skip(1));
            let address = read.start.address;
            let kind = HookKind::ReadReturn;
            report.hooks.extend(libssl::hook(
                inspection, "SSL_read", kind, address, evidence,
            ));
        }
        [] => report.miss(
            "SSL_read",
            "SSL_peek is there, and no small function around it",
        ),
        _ => report.miss("SSL_read", "several small functions are around SSL_peek"),
    }
    Ok(())
}

/// Whether a function begins with a call of `peek`, with its own arguments, and then changes the object.
fn takes_what_it_peeks(routine: &Routine, peek: u64) -> bool {
    let Some((call, callee)) = routine.calls().next() else {
        return false;
    };
    let is_passed_on = |index| {
        let argument = routine.argument_at(call, index);
        argument.values.is_empty() && !argument.stack
    };
    callee == peek
        && routine.steps.len() <= MAX_READ_STEPS
        && (0..3).all(is_passed_on)
        && routine.stores_outside_stack()
}

fn add(
    inspection: &Inspection<'_>,
    name: &str,
    kind: HookKind,
    suspect: &Suspect<'_>,
    callee: Option<u64>,
    report: &mut StackReport,
) {
    let mut evidence = suspect.evidence();
    evidence.extend(callee.map(|to| format!("calls ssl_read_impl at {to:#x}")));
    let address = suspect.function.start.address;
    report
        .hooks
        .extend(libssl::hook(inspection, name, kind, address, evidence));
}
