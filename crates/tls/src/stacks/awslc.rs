//! AWS-LC, as a TLS library of its own or as the cryptography under rustls.
//!
//! Under rustls, records are sealed and opened by the AEAD functions of `aead.c`, which have a plain C
//! interface whatever the Rust compiler did around them. They are told apart by the reasons that they give
//! for errors.

use std::collections::BTreeSet;

use super::{Function, Inspection, StackEntry, boringssl, errors, version};
use crate::LocateError;
use crate::convention::{Convention, Moment, Operand, Success, Trailer};
use crate::report::{Attach, Confidence, Hook, HookKind, Stack, StackReport};

/// AWS-LC.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::AwsLc,
    symbols: &[MARKER],
    constants: &[SOURCE, RUST_CRATE],
    inspect,
};

/// A function that AWS-LC has and BoringSSL does not.
const MARKER: &str = "awslc_api_version_num";
/// How the name of the source file ends.
pub(super) const SOURCE: &[u8] = b"/fipsmodule/cipher/aead.c\0";
/// The crate that brings AWS-LC to rustls; the library itself leaves no version.
const RUST_CRATE: &[u8] = b"/aws-lc-rs-";
/// `ERR_LIB_CIPHER`.
const LIBRARY: u64 = 30;

/// An AEAD function.
struct Aead {
    name: &'static str,
    /// Every reason that it gives, and no other: bad decrypt 101, buffer too small 103, not implemented
    /// 104, invalid operation 112, output aliases input 115, too large 117.
    reasons: &'static [u64],
    /// One that it gives if another function was built into it.
    inherited: Option<u64>,
    kind: HookKind,
    convention: fn() -> Convention,
}

impl Aead {
    fn matches(&self, given: &BTreeSet<u64>) -> bool {
        let is_known =
            |reason: &u64| self.reasons.contains(reason) || self.inherited == Some(*reason);
        given.iter().all(is_known) && self.reasons.iter().all(|reason| given.contains(reason))
    }
}

const AEADS: &[Aead] = &[
    Aead {
        name: "EVP_AEAD_CTX_seal",
        reasons: &[103, 115, 117],
        inherited: None,
        kind: HookKind::RecordSeal,
        convention: || Convention {
            length: Some(Operand::Argument(7)),
            ..record(6, 8)
        },
    },
    Aead {
        name: "EVP_AEAD_CTX_seal_scatter",
        reasons: &[112, 115],
        inherited: None,
        kind: HookKind::RecordSeal,
        convention: || Convention {
            length: Some(Operand::Argument(8)),
            ..record(7, 11)
        },
    },
    Aead {
        name: "EVP_AEAD_CTX_open",
        reasons: &[101, 103, 115],
        inherited: Some(104),
        kind: HookKind::RecordOpen,
        convention: || Convention {
            moved: Some(Operand::Argument(2).load(0, Moment::Return)),
            success: Success::ReturnedOne,
            ..record(1, 8)
        },
    },
    Aead {
        name: "EVP_AEAD_CTX_open_gather",
        reasons: &[104, 115],
        inherited: None,
        kind: HookKind::RecordOpen,
        convention: || Convention {
            length: Some(Operand::Argument(5)),
            success: Success::ReturnedOne,
            ..record(1, 8)
        },
    },
];

/// A function on one direction of a connection.
fn record(buffer: u8, associated_data: u8) -> Convention {
    Convention {
        buffer: Some(Operand::Argument(buffer)),
        trailer: Trailer::ContentTypeInTls13,
        associated_data: Some(Operand::Argument(associated_data)),
        associated_data_bytes: Some(Operand::Argument(associated_data + 1)),
        ..Convention::of_object(Operand::Argument(0))
    }
}

/// Whether the file's symbols are those of AWS-LC.
pub(super) fn is_named(inspection: &Inspection<'_>) -> bool {
    inspection.symbols.contains(MARKER)
}

/// Whether a source file is one of AWS-LC.
pub(super) fn is_path(path: &str) -> bool {
    path.contains("aws-lc") || path.contains("aws_lc")
}

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    let as_tls = boringssl::inspect_as(inspection, Stack::AwsLc, is_path)?;
    if as_tls.is_some() {
        return Ok(as_tls);
    }
    let mut sources = inspection.string_starts(SOURCE)?;
    sources.retain(|(_, path)| is_path(path));
    let Some((_, path)) = sources.first() else {
        return Ok(None);
    };
    let evidence = vec![format!("name of the source file {path}")];
    let mut report = StackReport::new(Stack::AwsLc, evidence);
    report.version =
        version::after(inspection, RUST_CRATE)?.map(|version| format!("aws-lc-rs {version}"));
    let files: BTreeSet<u64> = sources.iter().map(|(address, _)| *address).collect();
    search(inspection, &files, &mut report)?;
    Ok(Some(report))
}

fn search(
    inspection: &mut Inspection<'_>,
    files: &BTreeSet<u64>,
    report: &mut StackReport,
) -> Result<(), LocateError> {
    let targets: Vec<u64> = files.iter().copied().collect();
    let functions = inspection.functions_referring(&targets)?;
    let reasons: Vec<BTreeSet<u64>> = functions
        .iter()
        .map(|function| errors::reasons_with_file(&function.routine, files, LIBRARY))
        .collect();
    for aead in AEADS {
        let mut found = functions
            .iter()
            .zip(&reasons)
            .filter(|(_, given)| aead.matches(given));
        match (found.next(), found.next()) {
            (Some((function, _)), None) => {
                report.hooks.extend(hook(inspection, aead, function));
            }
            (None, _) => report.miss(aead.name, "no function gives the reasons that it gives"),
            _ => report.miss(
                aead.name,
                "several functions give the reasons that it gives",
            ),
        }
    }
    Ok(())
}

fn hook(inspection: &Inspection<'_>, aead: &Aead, function: &Function) -> Option<Hook> {
    let reasons: Vec<String> = aead.reasons.iter().map(u64::to_string).collect();
    let reasons = reasons.join(", ");
    Some(Hook {
        function: aead.name.to_owned(),
        kind: aead.kind,
        file_offset: inspection.elf.file_offset(function.start.address)?,
        address: function.start.address,
        convention: (aead.convention)(),
        attach: match aead.kind {
            HookKind::RecordSeal => Attach::Entry,
            _ => Attach::Both,
        },
        confidence: Confidence::Proven,
        superseded_by: None,
        evidence: vec![
            function.start.evidence.clone(),
            format!("reports errors of library {LIBRARY} from aead.c with reasons {reasons}"),
        ],
    })
}
