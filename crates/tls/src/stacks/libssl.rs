//! The interface that OpenSSL and its descendants share, for files that name its functions.

use crate::report::{Attach, Confidence, Convention, Hook, HookKind, Operand, Success};
use crate::stacks::Inspection;

/// The functions that are hooked, by the name that every descendant gives them.
pub(super) const FUNCTIONS: &[(&str, HookKind)] = &[
    ("SSL_read", HookKind::ReadReturn),
    ("SSL_read_ex", HookKind::ReadEx),
    ("SSL_write", HookKind::WriteReturn),
    ("SSL_write_ex", HookKind::WriteEx),
    ("SSL_write_ex2", HookKind::WriteEx2),
    ("SSL_do_handshake", HookKind::Handshake),
    ("SSL_free", HookKind::Free),
    ("SSL_set_fd", HookKind::SetFd),
];

/// Names of [`FUNCTIONS`].
pub(super) const NAMES: &[&str] = &[
    "SSL_read",
    "SSL_read_ex",
    "SSL_write",
    "SSL_write_ex",
    "SSL_write_ex2",
    "SSL_do_handshake",
    "SSL_free",
    "SSL_set_fd",
];

/// How to call functions of a kind.
pub(super) fn convention(kind: HookKind) -> Convention {
    match kind {
        HookKind::ReadReturn | HookKind::WriteReturn => {
            Convention::returning(Success::ReturnedPositive)
        }
        HookKind::ReadEx | HookKind::WriteEx => Convention::storing(3),
        HookKind::WriteEx2 => Convention::storing(4),
        HookKind::SetFd => Convention {
            fd: Some(Operand::Argument(1)),
            ..Convention::of_object(Operand::Argument(0))
        },
        _ => Convention::of_object(Operand::Argument(0)),
    }
}

/// Where to attach for a kind.
pub(super) fn attach(kind: HookKind) -> Attach {
    match kind {
        HookKind::Free | HookKind::SetFd => Attach::Entry,
        _ => Attach::Both,
    }
}

/// The hooks of every function that the file names.
pub(super) fn named_hooks(inspection: &Inspection<'_>) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for (name, kind) in FUNCTIONS {
        for symbol in inspection.symbols.get(name) {
            let evidence = vec![format!("symbol {name} in {}", symbol.table)];
            hooks.extend(hook(inspection, name, *kind, symbol.address, evidence));
        }
    }
    hooks
}

fn hook(
    inspection: &Inspection<'_>,
    name: &str,
    kind: HookKind,
    address: u64,
    evidence: Vec<String>,
) -> Option<Hook> {
    Some(Hook {
        function: name.to_owned(),
        kind,
        file_offset: inspection.elf.file_offset(address)?,
        address,
        convention: convention(kind),
        attach: attach(kind),
        confidence: Confidence::Named,
        evidence,
    })
}
