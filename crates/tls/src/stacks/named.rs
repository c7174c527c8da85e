//! Hooks of functions that the file names.

use super::Inspection;
use crate::convention::Convention;
use crate::report::{Attach, Confidence, Hook, HookKind, Stack, StackReport};

/// A function's name, what it does, and how.
pub(super) type Named = (&'static str, HookKind, fn() -> Convention);

/// A routine with more instructions than this does more than pass its arguments on.
const MAX_FORWARDER_STEPS: usize = 24;

/// The hooks of those of `functions` that the file names.
pub(super) fn hooks(inspection: &Inspection<'_>, functions: &[Named]) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for (name, kind, convention) in functions {
        for symbol in inspection.symbols.get(name) {
            let evidence = vec![format!("symbol {name} in {}", symbol.table)];
            let found = hook(inspection, name, *kind, symbol.address, evidence);
            hooks.extend(found.map(|hook| Hook {
                convention: convention(),
                confidence: Confidence::Named,
                ..hook
            }));
        }
    }
    drop_forwarders(inspection, &mut hooks);
    hooks
}

/// A report of a stack that is found by its symbols only; nothing if there are none.
pub(super) fn report(
    inspection: &Inspection<'_>,
    stack: Stack,
    functions: &[Named],
    evidence: &str,
) -> Option<StackReport> {
    let hooks = hooks(inspection, functions);
    (!hooks.is_empty()).then(|| StackReport {
        hooks,
        ..StackReport::new(stack, vec![evidence.to_owned()])
    })
}

/// A hook of a function that was found by what it does, of which only the object matters.
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
        convention: Convention::of_object(crate::convention::Operand::Argument(0)),
        attach: match kind {
            HookKind::Free | HookKind::SetFd | HookKind::RecordSeal => Attach::Entry,
            _ => Attach::Both,
        },
        confidence: Confidence::Proven,
        evidence,
        superseded_by: None,
    })
}

/// Drops functions that only pass their arguments to another hooked one of the same direction, as every
/// byte would be seen twice: since OpenSSL 3.3 `SSL_write_ex` is `SSL_write_ex2` without flags, and
/// `gnutls_record_send` is `gnutls_record_send2` without padding.
fn drop_forwarders(inspection: &Inspection<'_>, hooks: &mut Vec<Hook>) {
    let all: Vec<(u64, HookKind)> = hooks.iter().map(|hook| (hook.address, hook.kind)).collect();
    hooks.retain(|hook| {
        let Some(direction) = hook.kind.moves() else {
            return true;
        };
        let Ok(routine) = inspection.starts.routine(hook.address) else {
            return true;
        };
        let callees = routine.callees();
        let forwards = all.iter().any(|(address, kind)| {
            kind.moves() == Some(direction) && *address != hook.address && callees.contains(address)
        });
        !forwards || routine.steps.len() > MAX_FORWARDER_STEPS
    });
}
