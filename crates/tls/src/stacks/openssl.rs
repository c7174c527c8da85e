//! OpenSSL 1.1, 3 and 4, and LibreSSL, in shared libraries and in programs that carry them.
//!
//! A stripped program still tells its functions by how they report errors. Since 3.0 each report carries
//! the function's own name; before, a number for it. `SSL_read`, `SSL_read_ex`, early data and the BIO all
//! go through `ssl_read_internal`, as writes do through `ssl_write_internal`: where these are functions of
//! their own, they are hooked and nothing else, so that no byte is seen twice. Where the compiler put them
//! into their callers, the callers are.

use std::collections::BTreeSet;

use super::{Function, Inspection, StackEntry, errors, libssl, version};
use crate::LocateError;
use crate::code::Routine;
use crate::report::{HookKind, Stack, StackReport};

/// OpenSSL.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::OpenSsl,
    symbols: libssl::NAMES,
    constants: &[
        VERSION,
        LIBRESSL_VERSION,
        SOURCE,
        READ.name,
        READ.internal_name,
        WRITE.name,
        WRITE.internal_name,
        HANDSHAKE,
        SET_FD,
    ],
    inspect,
};

const VERSION: &[u8] = b"OpenSSL ";
const LIBRESSL_VERSION: &[u8] = b"LibreSSL ";
/// How the name of the source file ends.
pub(super) const SOURCE: &[u8] = b"ssl_lib.c\0";
const HANDSHAKE: &[u8] = b"SSL_do_handshake\0";
const SET_FD: &[u8] = b"SSL_set_fd\0";
/// `ERR_LIB_SSL`.
const LIBRARY: u64 = 20;
/// `SSL_R_BAD_LENGTH`: of the functions whose length is an `int`.
const BAD_LENGTH: u64 = 271;
/// `SSL_R_UNINITIALIZED`: of the functions that move data.
const UNINITIALIZED: u64 = 276;
/// `SSL_R_CONNECTION_TYPE_NOT_SET`.
const CONNECTION_TYPE_NOT_SET: u64 = 144;
/// `SSL_R_UNSUPPORTED_WRITE_FLAG`: of `ssl_write_internal` since it has flags.
const UNSUPPORTED_WRITE_FLAG: u64 = 412;

/// One direction of data.
struct Way {
    name: &'static [u8],
    internal_name: &'static [u8],
    /// Numbers of the two functions before 3.0.
    code: u64,
    internal_code: u64,
    kind: HookKind,
    internal_kind: HookKind,
}

const READ: Way = Way {
    name: b"SSL_read\0",
    internal_name: b"ssl_read_internal\0",
    code: 223,
    internal_code: 523,
    kind: HookKind::ReadReturn,
    internal_kind: HookKind::ReadEx,
};

const WRITE: Way = Way {
    name: b"SSL_write\0",
    internal_name: b"ssl_write_internal\0",
    code: 208,
    internal_code: 524,
    kind: HookKind::WriteReturn,
    internal_kind: HookKind::WriteEx,
};

/// A function with what it says when it fails.
struct Suspect<'f> {
    function: &'f Function,
    /// Names among the constants of [`ENTRY`] that it gives.
    names: Vec<&'static [u8]>,
    /// Numbers of functions that it gives, before 3.0.
    codes: BTreeSet<u64>,
    reasons: BTreeSet<u64>,
}

impl Suspect<'_> {
    fn is(&self, name: &[u8], code: u64) -> bool {
        self.names.contains(&name) || self.codes.contains(&code)
    }
}

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    let hooks = libssl::named_hooks(inspection);
    if !hooks.is_empty() {
        let is_other = super::boringssl::is_named(inspection);
        let mut report = StackReport::new(Stack::OpenSsl, vec!["symbols of libssl".to_owned()]);
        report.version = library_version(inspection)?;
        report.hooks = hooks;
        return Ok((!is_other).then_some(report));
    }
    let has_name = |name: &[u8]| !inspection.constant(name).is_empty();
    let is_present = has_name(SOURCE)
        && (has_name(READ.internal_name) || has_name(VERSION) || has_name(LIBRESSL_VERSION));
    if !is_present {
        return Ok(None);
    }
    let mut report = StackReport::new(
        Stack::OpenSsl,
        vec!["name of the source file ssl_lib.c".to_owned()],
    );
    report.version = library_version(inspection)?;
    search(inspection, &mut report)?;
    Ok(Some(report))
}

fn library_version(inspection: &Inspection<'_>) -> Result<Option<String>, LocateError> {
    if let Some(version) = version::after(inspection, LIBRESSL_VERSION)? {
        return Ok(Some(format!("LibreSSL {version}")));
    }
    match version::after(inspection, VERSION)? {
        Some(version) => Ok(Some(version)),
        // A libssl of its own leaves the version to libcrypto; its own name has the part that matters.
        None => Ok(inspection
            .elf
            .soname()?
            .and_then(|name| name.strip_prefix("libssl.so.").map(str::to_owned))),
    }
}

fn search(inspection: &mut Inspection<'_>, report: &mut StackReport) -> Result<(), LocateError> {
    let files: BTreeSet<u64> = inspection
        .string_starts(SOURCE)?
        .into_iter()
        .map(|(address, _)| address)
        .collect();
    let names = [
        READ.name,
        READ.internal_name,
        WRITE.name,
        WRITE.internal_name,
        HANDSHAKE,
        SET_FD,
    ];
    // Names may also be in the file because it exports them: only code that uses them counts.
    let names_at = names.iter().flat_map(|name| inspection.constant(name));
    let targets: Vec<u64> = names_at.copied().chain(files.iter().copied()).collect();
    let functions = inspection.functions_referring(&targets)?;
    let suspects: Vec<Suspect<'_>> = functions
        .iter()
        .map(|function| suspect(inspection, function, &names, &files))
        .collect();
    search_way(inspection, &READ, &suspects, report);
    search_way(inspection, &WRITE, &suspects, report);
    search_handshake(inspection, &suspects, report);
    search_set_fd(inspection, &suspects, report);
    report.miss("SSL_free", "it reports no error that would tell it apart");
    Ok(())
}

fn suspect<'f>(
    inspection: &Inspection<'_>,
    function: &'f Function,
    names: &[&'static [u8]],
    files: &BTreeSet<u64>,
) -> Suspect<'f> {
    let refers = |name: &&&[u8]| {
        let at = inspection.constant(name);
        at.iter()
            .any(|address| function.references.contains_key(address))
    };
    let names: Vec<&'static [u8]> = names.iter().filter(refers).copied().collect();
    let routine = &function.routine;
    let (codes, reasons) = if names.is_empty() {
        errors::codes_and_reasons_with_file(routine, files, LIBRARY)
    } else {
        (BTreeSet::new(), errors::reasons(routine, LIBRARY))
    };
    Suspect {
        function,
        names,
        codes,
        reasons,
    }
}

fn search_way(
    inspection: &Inspection<'_>,
    way: &Way,
    suspects: &[Suspect<'_>],
    report: &mut StackReport,
) {
    let name = text(way.name);
    let internal_name = text(way.internal_name);
    let outer: Vec<&Suspect<'_>> = suspects
        .iter()
        .filter(|s| s.is(way.name, way.code) && s.reasons.contains(&BAD_LENGTH))
        .collect();
    let inner: Vec<&Suspect<'_>> = suspects
        .iter()
        .filter(|s| {
            s.is(way.internal_name, way.internal_code) && s.reasons.contains(&UNINITIALIZED)
        })
        .filter(|s| !s.is(way.name, way.code))
        .collect();
    match (outer.as_slice(), inner.as_slice()) {
        ([], []) => report.miss(name, format!("no function reports errors as {name}")),
        ([_, _, ..], _) => report.miss(name, format!("several functions report errors as {name}")),
        // The program calls the forms with `_ex` only, or all of them go through one function.
        ([], [inner]) => add_internal(inspection, way, inner, None, report),
        ([outer], [inner]) if calls(outer, inner) => {
            add_internal(
                inspection,
                way,
                inner,
                Some(&outer.function.routine),
                report,
            );
        }
        ([], _) => report.miss(
            internal_name,
            format!("several functions report errors as {internal_name}"),
        ),
        ([outer], copies) => {
            let evidence = evidence(outer, name, BAD_LENGTH);
            report.hooks.extend(libssl::hook(
                inspection,
                name,
                way.kind,
                outer.function.start.address,
                evidence,
            ));
            for copy in copies {
                add_internal(inspection, way, copy, None, report);
            }
        }
    }
}

fn calls(outer: &Suspect<'_>, inner: &Suspect<'_>) -> bool {
    outer
        .function
        .routine
        .callees()
        .contains(&inner.function.start.address)
}

/// Adds `ssl_*_internal`, or a form with `_ex` that has it inside: the arguments are the same.
fn add_internal(
    inspection: &Inspection<'_>,
    way: &Way,
    inner: &Suspect<'_>,
    caller: Option<&Routine>,
    report: &mut StackReport,
) {
    let name = text(way.internal_name);
    let address = inner.function.start.address;
    let has_flags = inner.reasons.contains(&UNSUPPORTED_WRITE_FLAG);
    let moved_index = if has_flags { 4 } else { 3 };
    let kind = if has_flags {
        HookKind::WriteEx2
    } else {
        way.internal_kind
    };
    let mut evidence = evidence(inner, name, UNINITIALIZED);
    if let Some(caller) = caller {
        let mut sites = caller.calls().filter(|(_, to)| *to == address).peekable();
        let by_call = sites.peek().is_some();
        if !by_call || !sites.all(|(at, _)| caller.argument_at(at, moved_index).stack) {
            report.miss(name, "its caller does not call it as the source does");
            return;
        }
        evidence.push(format!(
            "called by the function at {:#x}, which gives a place on its stack as argument {moved_index}",
            caller.start
        ));
    }
    report
        .hooks
        .extend(libssl::hook(inspection, name, kind, address, evidence));
}

/// `SSL_do_handshake`, and the functions that have it inside: each is given the object.
fn search_handshake(
    inspection: &Inspection<'_>,
    suspects: &[Suspect<'_>],
    report: &mut StackReport,
) {
    let name = text(HANDSHAKE);
    let before = report.hooks.len();
    let reason = CONNECTION_TYPE_NOT_SET;
    for suspect in suspects
        .iter()
        .filter(|s| s.is(HANDSHAKE, 180) && s.reasons.contains(&reason))
    {
        let (address, evidence) = (
            suspect.function.start.address,
            evidence(suspect, name, reason),
        );
        let kind = HookKind::Handshake;
        report
            .hooks
            .extend(libssl::hook(inspection, name, kind, address, evidence));
    }
    if report.hooks.len() == before {
        report.miss(name, "no function reports errors under this name");
    }
}

fn search_set_fd(inspection: &Inspection<'_>, suspects: &[Suspect<'_>], report: &mut StackReport) {
    let name = text(SET_FD);
    let found: Vec<&Suspect<'_>> = suspects.iter().filter(|s| s.is(SET_FD, 192)).collect();
    let [one] = found.as_slice() else {
        report.miss(
            name,
            format!("{} functions report errors under this name", found.len()),
        );
        return;
    };
    let (address, kind) = (one.function.start.address, HookKind::SetFd);
    let evidence = vec![
        one.function.start.evidence.clone(),
        format!("the one function that reports errors as {name}"),
    ];
    report
        .hooks
        .extend(libssl::hook(inspection, name, kind, address, evidence));
}

fn evidence(suspect: &Suspect<'_>, name: &str, reason: u64) -> Vec<String> {
    vec![
        suspect.function.start.evidence.clone(),
        format!("reports errors of library {LIBRARY} as {name}, with reason {reason}"),
    ]
}

/// A constant without its closing NUL.
fn text(constant: &'static [u8]) -> &'static str {
    let text = std::str::from_utf8(constant).unwrap_or_default();
    text.trim_end_matches('\0')
}
