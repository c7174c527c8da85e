//! The interface that OpenSSL and its descendants share.

use super::Inspection;
use super::named::{self, Named};
use crate::convention::{Convention, Operand, Success};
use crate::report::{Hook, HookKind};

/// The functions that are hooked, by the name that every descendant gives them.
const FUNCTIONS: &[Named] = &[
    ("SSL_read", HookKind::ReadReturn, RETURNS),
    ("SSL_read_ex", HookKind::ReadEx, STORES),
    ("SSL_write", HookKind::WriteReturn, RETURNS),
    ("SSL_write_ex", HookKind::WriteEx, STORES),
    ("SSL_write_ex2", HookKind::WriteEx2, STORES_FIFTH),
    ("SSL_do_handshake", HookKind::Handshake, OBJECT),
    ("SSL_free", HookKind::Free, OBJECT),
    ("SSL_set_fd", HookKind::SetFd, DESCRIPTOR),
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

/// Lengths are of 32 bits.
const RETURNS: fn() -> Convention = || Convention::returning(Success::ReturnedPositive);
const STORES: fn() -> Convention = || Convention::storing(3);
const STORES_FIFTH: fn() -> Convention = || Convention::storing(4);
const OBJECT: fn() -> Convention = || Convention::of_object(Operand::Argument(0));
const DESCRIPTOR: fn() -> Convention = || Convention {
    fd: Some(Operand::Argument(1)),
    ..Convention::of_object(Operand::Argument(0))
};

/// The hooks of every function that the file names.
pub(super) fn named_hooks(inspection: &Inspection<'_>) -> Vec<Hook> {
    named::hooks(inspection, FUNCTIONS)
}

/// A hook of a function that was found by what it does.
pub(super) fn hook(
    inspection: &Inspection<'_>,
    name: &str,
    kind: HookKind,
    address: u64,
    evidence: Vec<String>,
) -> Option<Hook> {
    let (_, _, convention) = FUNCTIONS.iter().find(|(_, of, _)| *of == kind)?;
    let hook = named::hook(inspection, name, kind, address, evidence)?;
    Some(Hook {
        convention: convention(),
        ..hook
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_looked_up() {
        let names: Vec<&str> = FUNCTIONS.iter().map(|(name, _, _)| *name).collect();
        assert_eq!(names, NAMES);
    }
}
