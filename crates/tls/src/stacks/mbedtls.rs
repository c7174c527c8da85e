//! Mbed TLS, as the library that it is shipped as. It is given its socket as a pointer to anything, so that
//! no function tells the descriptor.

use super::named::{self, Named};
use super::{Inspection, StackEntry};
use crate::LocateError;
use crate::convention::{Convention, Operand, Success};
use crate::report::{HookKind, Stack, StackReport};

/// Mbed TLS.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::MbedTls,
    symbols: &[
        "mbedtls_ssl_read",
        "mbedtls_ssl_write",
        "mbedtls_ssl_handshake",
        "mbedtls_ssl_free",
    ],
    constants: &[],
    inspect,
};

/// Lengths are of 32 bits.
const MOVES: fn() -> Convention = || Convention::returning(Success::ReturnedPositive);
const OBJECT: fn() -> Convention = || Convention::of_object(Operand::Argument(0));

const FUNCTIONS: &[Named] = &[
    ("mbedtls_ssl_read", HookKind::ReadReturn, MOVES),
    ("mbedtls_ssl_write", HookKind::WriteReturn, MOVES),
    ("mbedtls_ssl_handshake", HookKind::Handshake, OBJECT),
    ("mbedtls_ssl_free", HookKind::Free, OBJECT),
];

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    Ok(named::report(
        inspection,
        Stack::MbedTls,
        FUNCTIONS,
        "symbols of libmbedtls",
    ))
}
