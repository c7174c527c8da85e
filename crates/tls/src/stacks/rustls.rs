//! rustls, whatever does its cryptography.
//!
//! The compiler keeps the place in the source of everything that may panic, and the path has the version in
//! it. `AeadAlgorithm::encrypter` and `decrypter` in `tls13.rs` of each provider may panic, and they refer
//! to the table of the object that they make. From there:
//!
//! - in: the object whose table has one method decrypts, in place;
//! - out: the object whose table has two methods encrypts. It calls `OutboundChunks::copy_to_vec`, which puts
//!   the plaintext of every record into one vector, and is the first function of `outbound.rs` that it calls.
//!   The vector does not tell whose it is: that is the object of the encrypter that called.
//!
//! How structures are laid out is the compiler's choice. What is used here holds for rustls 0.23.

use std::collections::{BTreeMap, BTreeSet};

use super::{Function, Inspection, StackEntry, version};
use crate::LocateError;
use crate::convention::{Convention, Moment, Operand, Success, Trailer};
use crate::elf::Machine;
use crate::report::{Attach, Confidence, Hook, HookKind, Stack, StackReport};
use crate::rust::{self, Location, MAX_PATH_BYTES};

/// rustls.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::Rustls,
    symbols: &[],
    constants: &[CRATE, OUTBOUND, RING, AWS_LC],
    inspect,
};

pub(super) const CRATE: &[u8] = b"/rustls-";
pub(super) const OUTBOUND: &[u8] = b"/src/msgs/message/outbound.rs";
const RING: &[u8] = b"/src/crypto/ring/tls13.rs";
const AWS_LC: &[u8] = b"/src/crypto/aws_lc_rs/tls13.rs";
/// Name of the provider that uses AWS-LC.
const AWS_LC_PROVIDER: &str = "aws-lc-rs";
/// Name, file, and how many kinds of decrypters the file has: AWS-LC has one of its own for AES.
const PROVIDERS: &[(&str, &[u8], usize)] = &[("ring", RING, 1), (AWS_LC_PROVIDER, AWS_LC, 2)];
const COPY: &str = "OutboundChunks::copy_to_vec";
/// Bytes behind the plaintext of a record: content type and authentication tag. Padding would come between
/// them, which rustls does not add and servers of models do not, either.
const TYPE_AND_TAG_BYTES: u8 = 17;
/// Versions whose layout is known.
const KNOWN_VERSIONS: &str = "0.23.";

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    let version = match own_version(inspection)? {
        Some(version) => Some(version),
        None => version::after(inspection, CRATE)?,
    };
    if version.is_none() && inspection.constant(OUTBOUND).is_empty() {
        return Ok(None);
    }
    let evidence = vec!["paths of rustls' source files".to_owned()];
    let mut report = StackReport::new(Stack::Rustls, evidence);
    report.version = version;
    let is_unknown = |version: &str| !version.starts_with(KNOWN_VERSIONS);
    if report.version.as_deref().is_some_and(is_unknown) {
        let reason = format!("layout is known of versions {KNOWN_VERSIONS}x only");
        report.miss("rustls", reason);
        return Ok(Some(report));
    }
    search(inspection, &mut report)?;
    Ok(Some(report))
}

/// The version in the path of `outbound.rs`: a program may hold several versions, of which older ones do
/// not have this file.
fn own_version(inspection: &Inspection<'_>) -> Result<Option<String>, LocateError> {
    for hit in inspection.constant(OUTBOUND) {
        let from = hit.saturating_sub(MAX_PATH_BYTES / 8);
        let path = inspection.elf.read_memory(from, OUTBOUND.len() + 64)?;
        let name = memchr::memmem::rfind(&path, CRATE);
        let found = name.and_then(|at| version::leading(path.get(at + CRATE.len()..)?));
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// What the functions that make a provider's objects refer to.
struct Objects {
    /// (method, table, maker)
    decrypters: Vec<(u64, u64, u64)>,
    encrypters: Vec<Encrypter>,
}

/// What seals records of TLS 1.3.
struct Encrypter {
    method: u64,
    table: u64,
    provider: &'static str,
    callees: BTreeSet<u64>,
}

fn search(inspection: &mut Inspection<'_>, report: &mut StackReport) -> Result<(), LocateError> {
    let names = [OUTBOUND]
        .into_iter()
        .chain(PROVIDERS.iter().map(|(_, file, _)| *file));
    let files: Vec<(&[u8], &[u64])> = names
        .map(|name| (name, inspection.constant(name)))
        .collect();
    let locations = rust::locations(inspection.elf, &inspection.scanner, &files)?;
    let targets: Vec<u64> = locations.iter().flatten().map(|l| l.address).collect();
    let functions = inspection.functions_referring(&targets)?;
    let mut encrypters = Vec::new();
    for (provider, locations) in PROVIDERS.iter().zip(locations.iter().skip(1)) {
        if !locations.is_empty() {
            let objects = objects(inspection, provider.0, &holding(&functions, locations))?;
            encrypters.extend(objects.encrypters);
            add_decrypters(inspection, provider, &objects.decrypters, report);
        }
    }
    report.miss(
        "MessageDecrypter::decrypt (TLS 1.2)",
        "only records of TLS 1.3 are read; those of older versions are not looked for",
    );
    let outbound = locations.first().map_or(&[][..], Vec::as_slice);
    if let Some(copy) = search_copy(inspection, outbound, &functions, &encrypters, report) {
        let callers = encrypters
            .iter()
            .filter(|encrypter| encrypter.callees.contains(&copy));
        let owners: BTreeMap<u64, &Encrypter> =
            callers.map(|caller| (caller.method, caller)).collect();
        report.hooks.extend(
            owners
                .into_values()
                .filter_map(|owner| owner_hook(inspection, owner)),
        );
    }
    Ok(())
}

/// Functions that hold one of `locations`.
fn holding<'f>(functions: &'f [Function], locations: &[Location]) -> Vec<&'f Function> {
    let holds = |function: &&Function| {
        locations
            .iter()
            .any(|l| function.references.contains_key(&l.address))
    };
    functions.iter().filter(holds).collect()
}

/// Finds what `makers` make.
fn objects(
    inspection: &Inspection<'_>,
    provider: &'static str,
    makers: &[&Function],
) -> Result<Objects, LocateError> {
    let mut maker_of: BTreeMap<u64, u64> = BTreeMap::new();
    for maker in makers {
        let constants = maker.routine.constants().into_iter();
        maker_of.extend(constants.map(|constant| (constant, maker.start.address)));
    }
    let addresses: BTreeSet<u64> = maker_of.keys().copied().collect();
    let mut objects = Objects {
        decrypters: Vec::new(),
        encrypters: Vec::new(),
    };
    for (table, methods) in rust::vtables(inspection.elf, &inspection.scanner, &addresses)? {
        let maker = maker_of.get(&table).copied().unwrap_or(0);
        match methods.as_slice() {
            [decrypt] if inspection.starts.routine(*decrypt)?.is_sound => {
                objects.decrypters.push((*decrypt, table, maker));
            }
            [encrypt, _] => {
                let routine = inspection.starts.routine(*encrypt)?;
                let kept: BTreeSet<u64> = routine.kept_callees().collect();
                let kept = inspection.scanner.pointers_at(&kept)?;
                let mut callees = routine.callees();
                callees.extend(kept.into_values());
                objects.encrypters.push(Encrypter {
                    method: *encrypt,
                    table,
                    provider,
                    callees,
                });
            }
            _ => {}
        }
    }
    Ok(objects)
}

fn add_decrypters(
    inspection: &Inspection<'_>,
    (provider, _, kinds): &(&str, &[u8], usize),
    decrypters: &[(u64, u64, u64)],
    report: &mut StackReport,
) {
    let name = format!("MessageDecrypter::decrypt (TLS 1.3, {provider})");
    let found: BTreeMap<u64, (u64, u64)> = decrypters
        .iter()
        .map(|(method, table, maker)| (*method, (*table, *maker)))
        .collect();
    if found.is_empty() {
        report.miss(
            &name,
            "no function of tls13.rs refers to a table with one method",
        );
        return;
    }
    let confidence = if found.len() <= *kinds {
        Confidence::Proven
    } else {
        Confidence::Candidate
    };
    for (address, (table, maker)) in found {
        let Some(file_offset) = inspection.elf.file_offset(address) else {
            continue;
        };
        report.hooks.push(Hook {
            function: name.clone(),
            kind: HookKind::RecordOpen,
            file_offset,
            address,
            convention: decrypt_convention(inspection.elf.machine),
            attach: Attach::Both,
            confidence,
            superseded_by: None,
            evidence: vec![
                format!("the function at {maker:#x} holds a place in tls13.rs of {provider}"),
                format!("and refers to the table at {table:#x}, whose one method it is"),
            ],
        });
    }
}

/// `fn decrypt(&mut self, message, sequence) -> Result<..>`: the message is passed by its address. It is
/// {pointer, length, ..}, and is decrypted in place. Where the result goes is the first argument on AMD64,
/// and has a register of its own on ARM.
fn decrypt_convention(machine: Machine) -> Convention {
    let (object, message) = match machine {
        Machine::X86_64 => (1, 2),
        Machine::Aarch64 => (0, 1),
    };
    let message = || Operand::Argument(message);
    Convention {
        buffer: Some(message().load(0, Moment::Entry)),
        length: Some(message().load(8, Moment::Entry)),
        skip_tail_bytes: TYPE_AND_TAG_BYTES,
        trailer: Trailer::ContentType,
        success: Success::Always,
        ..Convention::of_object(Operand::Argument(object))
    }
}

/// Finds `copy_to_vec`: other functions of `outbound.rs` may panic before it in the file, such as `to_vec`,
/// which has it inside; but encrypters do not call them. Returns its address.
fn search_copy(
    inspection: &Inspection<'_>,
    outbound: &[Location],
    functions: &[Function],
    encrypters: &[Encrypter],
    report: &mut StackReport,
) -> Option<u64> {
    let is_called = |address: u64| {
        let mut encrypters = encrypters.iter();
        encrypters.any(|encrypter| encrypter.callees.contains(&address))
    };
    let line_of: BTreeMap<u64, u32> = outbound.iter().map(|l| (l.address, l.line)).collect();
    let lines = |function: &Function| {
        function
            .references
            .keys()
            .filter_map(|address| line_of.get(address))
            .min()
            .copied()
    };
    let found: Vec<(u32, &Function)> = functions
        .iter()
        .filter(|function| is_called(function.start.address))
        .filter_map(|function| Some((lines(function)?, function)))
        .collect();
    let first = found.iter().map(|(line, _)| *line).min();
    let mut firsts = found.iter().filter(|(line, _)| Some(*line) == first);
    match (firsts.next(), firsts.next()) {
        (Some((line, function)), None) => {
            report.hooks.push(copy_hook(inspection, function, *line)?);
            return Some(function.start.address);
        }
        (None, _) => report.miss(COPY, "no encrypter calls a function of outbound.rs"),
        _ => report.miss(COPY, "encrypters call several functions of outbound.rs"),
    }
    None
}

/// Marks the hooks whose bytes those of AWS-LC see, too. Connections over another provider in the same
/// program are seen here alone; what their encrypters copy is told from the rest by its owner.
pub(super) fn mark_superseded(report: &mut StackReport) {
    let by = Some(Stack::AwsLc);
    let is_over_aws_lc = |hook: &Hook| hook.function.contains(AWS_LC_PROVIDER);
    if !report.hooks.iter().any(is_over_aws_lc) {
        return;
    }
    let others = [HookKind::RecordOpen, HookKind::RecordOwner].map(|kind| {
        report
            .hooks
            .iter()
            .any(|hook| hook.kind == kind && !is_over_aws_lc(hook))
    });
    let is_needed = others == [true, true];
    for hook in &mut report.hooks {
        if is_over_aws_lc(hook) || !is_needed {
            hook.superseded_by = by;
        }
        hook.convention.only_created_objects |= hook.kind == HookKind::RecordSeal;
    }
    if !is_needed {
        report.superseded_by = by;
    }
}

/// `fn encrypt(&mut self, message, sequence) -> Result<..>`, which is passed like `decrypt`.
fn encrypt_convention(machine: Machine) -> Convention {
    let (object, sequence) = match machine {
        Machine::X86_64 => (1, 3),
        Machine::Aarch64 => (0, 2),
    };
    Convention {
        sequence: Some(Operand::Argument(sequence)),
        ..Convention::of_object(Operand::Argument(object))
    }
}

fn owner_hook(inspection: &Inspection<'_>, encrypter: &Encrypter) -> Option<Hook> {
    let Encrypter {
        provider, table, ..
    } = encrypter;
    Some(Hook {
        function: format!("MessageEncrypter::encrypt (TLS 1.3, {provider})"),
        kind: HookKind::RecordOwner,
        file_offset: inspection.elf.file_offset(encrypter.method)?,
        address: encrypter.method,
        convention: encrypt_convention(inspection.elf.machine),
        attach: Attach::Entry,
        confidence: Confidence::Proven,
        superseded_by: None,
        evidence: vec![format!(
            "one of two methods in the table at {table:#x} of {provider}; calls {COPY}"
        )],
    })
}

fn copy_hook(inspection: &Inspection<'_>, function: &Function, line: u32) -> Option<Hook> {
    let vector = || Operand::Argument(1);
    Some(Hook {
        function: COPY.to_owned(),
        kind: HookKind::RecordSeal,
        file_offset: inspection.elf.file_offset(function.start.address)?,
        address: function.start.address,
        // A vector is {capacity, pointer, length}. What it holds at entry is the record's header, and
        // what it has more at return is the plaintext, without a content type.
        convention: Convention {
            buffer: Some(vector().load(8, Moment::Return)),
            length: Some(vector().load(16, Moment::Return)),
            skip_head: Some(vector().load(16, Moment::Entry)),
            ..Convention::of_object(Operand::RecordOwner)
        },
        attach: Attach::Both,
        confidence: Confidence::Proven,
        superseded_by: None,
        evidence: vec![
            function.start.evidence.clone(),
            format!("holds line {line} of outbound.rs, and encrypters call it"),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(function: &str, kind: HookKind) -> Hook {
        Hook {
            function: function.to_owned(),
            kind,
            file_offset: 0,
            address: 0,
            convention: Convention::of_object(Operand::RecordOwner),
            attach: Attach::Both,
            confidence: Confidence::Proven,
            evidence: Vec::new(),
            superseded_by: None,
        }
    }

    /// Arguments begin behind the result's address on one machine, and not on the other.
    #[test]
    fn methods_are_passed_as_the_machine_does() {
        for (machine, object, message, sequence) in
            [(Machine::X86_64, 1, 2, 3), (Machine::Aarch64, 0, 1, 2)]
        {
            let decrypt = decrypt_convention(machine);
            let buffer = Operand::Argument(message).load(0, Moment::Entry);
            assert_eq!(decrypt.object, Operand::Argument(object), "{machine:?}");
            assert_eq!(decrypt.buffer, Some(buffer), "{machine:?}");
            let encrypt = encrypt_convention(machine);
            assert_eq!(encrypt.object, Operand::Argument(object), "{machine:?}");
            assert_eq!(encrypt.sequence, Some(Operand::Argument(sequence)));
        }
    }

    #[test]
    fn aws_lc_sees_what_is_its_own() {
        const RING: &[(&str, HookKind)] = &[
            ("decrypt (ring)", HookKind::RecordOpen),
            ("encrypt (ring)", HookKind::RecordOwner),
        ];
        const AWS: &[(&str, HookKind)] = &[
            ("decrypt (aws-lc-rs)", HookKind::RecordOpen),
            ("encrypt (aws-lc-rs)", HookKind::RecordOwner),
        ];
        const BOTH: &[&str] = &["decrypt (ring)", "encrypt (ring)", COPY];
        let cases: [(Vec<_>, &[&str]); 4] = [
            (RING.to_vec(), BOTH),
            (AWS.to_vec(), &[]),
            ([RING, AWS].concat(), BOTH),
            // One direction alone is not read.
            ([&RING[..1], AWS].concat(), &[]),
        ];
        for (hooks, expected) in cases {
            let mut report = StackReport::new(Stack::Rustls, Vec::new());
            report.hooks = hooks.iter().map(|(name, kind)| hook(name, *kind)).collect();
            report.hooks.push(hook(COPY, HookKind::RecordSeal));
            mark_superseded(&mut report);
            let left = report.hooks.iter().filter(|h| h.superseded_by.is_none());
            let left: Vec<&str> = left.map(|h| h.function.as_str()).collect();
            assert_eq!(left, expected, "{hooks:?}");
            assert_eq!(report.superseded_by.is_some(), expected.is_empty());
            let shares_copy = hooks.iter().any(|(name, _)| name.contains(AWS_LC_PROVIDER));
            let copy = report.hooks.iter().find(|h| h.function == COPY).unwrap();
            assert_eq!(copy.convention.only_created_objects, shares_copy);
        }
    }
}
