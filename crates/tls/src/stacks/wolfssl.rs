//! wolfSSL, as the library that it is shipped as.

use super::named::{self, Named};
use super::{Inspection, StackEntry};
use crate::LocateError;
use crate::convention::{Convention, Operand, Success};
use crate::report::{HookKind, Stack, StackReport};

/// wolfSSL.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::WolfSsl,
    symbols: &[
        "wolfSSL_read",
        "wolfSSL_read_ex",
        "wolfSSL_write",
        "wolfSSL_write_ex",
        "wolfSSL_connect",
        "wolfSSL_accept",
        "wolfSSL_free",
        "wolfSSL_set_fd",
    ],
    constants: &[],
    inspect,
};

/// Lengths are of 32 bits.
const MOVES: fn() -> Convention = || Convention::returning(Success::ReturnedPositive);
const OBJECT: fn() -> Convention = || Convention::of_object(Operand::Argument(0));
/// These have lengths of 64 bits, and give how much they moved by a pointer.
const STORES: fn() -> Convention = || Convention::storing(3);
const DESCRIPTOR: fn() -> Convention = || Convention {
    fd: Some(Operand::Argument(1)),
    ..Convention::of_object(Operand::Argument(0))
};

const FUNCTIONS: &[Named] = &[
    ("wolfSSL_read", HookKind::ReadReturn, MOVES),
    ("wolfSSL_read_ex", HookKind::ReadEx, STORES),
    ("wolfSSL_write", HookKind::WriteReturn, MOVES),
    ("wolfSSL_write_ex", HookKind::WriteEx, STORES),
    ("wolfSSL_connect", HookKind::Handshake, OBJECT),
    ("wolfSSL_accept", HookKind::Handshake, OBJECT),
    ("wolfSSL_free", HookKind::Free, OBJECT),
    ("wolfSSL_set_fd", HookKind::SetFd, DESCRIPTOR),
];

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    Ok(named::report(
        inspection,
        Stack::WolfSsl,
        FUNCTIONS,
        "symbols of libwolfssl",
    ))
}
