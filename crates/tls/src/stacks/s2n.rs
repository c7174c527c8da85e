//! s2n-tls, as the library that it is shipped as.

use super::named::{self, Named};
use super::{Inspection, StackEntry};
use crate::LocateError;
use crate::convention::{Convention, Operand, Success};
use crate::report::{HookKind, Stack, StackReport};

/// s2n-tls.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::S2n,
    symbols: &[
        "s2n_recv",
        "s2n_send",
        "s2n_negotiate",
        "s2n_connection_free",
        "s2n_connection_set_fd",
    ],
    constants: &[],
    inspect,
};

/// Lengths are of 64 bits.
const MOVES: fn() -> Convention = || Convention::returning(Success::ReturnedPositive64);
const OBJECT: fn() -> Convention = || Convention::of_object(Operand::Argument(0));
const DESCRIPTOR: fn() -> Convention = || Convention {
    fd: Some(Operand::Argument(1)),
    ..Convention::of_object(Operand::Argument(0))
};

const FUNCTIONS: &[Named] = &[
    ("s2n_recv", HookKind::ReadReturn, MOVES),
    ("s2n_send", HookKind::WriteReturn, MOVES),
    ("s2n_negotiate", HookKind::Handshake, OBJECT),
    ("s2n_connection_free", HookKind::Free, OBJECT),
    ("s2n_connection_set_fd", HookKind::SetFd, DESCRIPTOR),
];

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    Ok(named::report(
        inspection,
        Stack::S2n,
        FUNCTIONS,
        "symbols of s2n-tls",
    ))
}
