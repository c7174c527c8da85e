//! The interface that OpenSSL and its descendants share.

use super::Inspection;
use crate::report::{Attach, Confidence, Convention, Hook, HookKind, Operand, Success};

/// The functions that are hooked, by the name that every descendant gives them.
const FUNCTIONS: &[(&str, HookKind)] = &[
    ("SSL_read", HookKind::ReadReturn),
    ("SSL_read_ex", HookKind::ReadEx),
    ("SSL_write", HookKind::WriteReturn),
    ("SSL_write_ex", HookKind::WriteEx),
    ("SSL_write_ex2", HookKind::WriteEx2),
    ("SSL_do_handshake", HookKind::Handshake),
    ("SSL_free", HookKind::Free),
    ("SSL_set_fd", HookKind::SetFd),
];

/// Names of the functions that are hooked.
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
fn convention(kind: HookKind) -> Convention {
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
fn attach(kind: HookKind) -> Attach {
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
            let found = hook(inspection, name, *kind, symbol.address, evidence);
            hooks.extend(found.map(|hook| Hook {
                confidence: Confidence::Named,
                ..hook
            }));
        }
    }
    drop_forwarders(inspection, &mut hooks);
    hooks
}

/// A hook of a function that was found by what it does.
pub(super) fn hook(
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
        confidence: Confidence::Proven,
        evidence,
    })
}

/// Drops functions that only pass their arguments to another hooked one, which would count every byte
/// twice: since OpenSSL 3.3 `SSL_write_ex` is `SSL_write_ex2` without flags.
fn drop_forwarders(inspection: &Inspection<'_>, hooks: &mut Vec<Hook>) {
    let inner = hooks.iter().find(|hook| hook.kind == HookKind::WriteEx2);
    let Some(inner) = inner.map(|hook| hook.address) else {
        return;
    };
    hooks.retain(|hook| {
        let forwards = || {
            let routine = inspection.starts.routine(hook.address).ok()?;
            Some(routine.callees().contains(&inner))
        };
        hook.kind != HookKind::WriteEx || !forwards().unwrap_or(false)
    });
}
