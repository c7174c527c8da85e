//! GnuTLS, as the library that it is shipped as.

use super::named::{self, Named};
use super::{Inspection, StackEntry};
use crate::LocateError;
use crate::convention::{Convention, Operand, Success};
use crate::report::{HookKind, Stack, StackReport};

/// GnuTLS.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::GnuTls,
    symbols: &[
        "gnutls_record_recv",
        "gnutls_record_recv_seq",
        "gnutls_record_recv_early_data",
        "gnutls_record_send",
        "gnutls_record_send2",
        "gnutls_record_send_range",
        "gnutls_record_send_early_data",
        "gnutls_record_recv_packet",
        "gnutls_handshake",
        "gnutls_deinit",
        "gnutls_transport_set_int2",
        "gnutls_transport_set_ptr",
        "gnutls_transport_set_ptr2",
    ],
    constants: &[ASSERTION],
    inspect,
};

/// What GnuTLS logs where its code gives up, in every build.
pub(super) const ASSERTION: &[u8] = b"ASSERT: %s[%s]:%d\n\0";
/// Lengths are of 64 bits.
const MOVES: fn() -> Convention = || Convention::returning(Success::ReturnedPositive64);
/// A record that could not be sent may be sent by a call without a buffer.
const SENDS: fn() -> Convention = || Convention {
    keeps_data: true,
    ..MOVES()
};
/// Early data is accepted whole or not at all, and 0 means that it was.
const ACCEPTS: fn() -> Convention = || Convention {
    moved: None,
    success: Success::ReturnedZero,
    ..Convention::returning(Success::ReturnedZero)
};
const OBJECT: fn() -> Convention = || Convention::of_object(Operand::Argument(0));
const DESCRIPTOR: fn() -> Convention = || Convention {
    fd: Some(Operand::Argument(1)),
    ..Convention::of_object(Operand::Argument(0))
};

const FUNCTIONS: &[Named] = &[
    ("gnutls_record_recv", HookKind::ReadReturn, MOVES),
    ("gnutls_record_recv_seq", HookKind::ReadReturn, MOVES),
    ("gnutls_record_recv_early_data", HookKind::ReadReturn, MOVES),
    ("gnutls_record_send", HookKind::WriteReturn, SENDS),
    ("gnutls_record_send2", HookKind::WriteReturn, SENDS),
    ("gnutls_record_send_range", HookKind::WriteReturn, SENDS),
    (
        "gnutls_record_send_early_data",
        HookKind::WriteReturn,
        ACCEPTS,
    ),
    ("gnutls_handshake", HookKind::Handshake, OBJECT),
    ("gnutls_deinit", HookKind::Free, OBJECT),
    // A pointer is a descriptor as a rule; it is not if the program moves the bytes itself.
    ("gnutls_transport_set_int2", HookKind::SetFd, DESCRIPTOR),
    ("gnutls_transport_set_ptr", HookKind::SetFd, DESCRIPTOR),
    ("gnutls_transport_set_ptr2", HookKind::SetFd, DESCRIPTOR),
];

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    let hooks = named::hooks(inspection, FUNCTIONS);
    if hooks.is_empty() {
        return Ok(inspection.constant(ASSERTION).first().map(|_| {
            let evidence = vec!["format of the messages of failed assertions".to_owned()];
            let mut report = StackReport::new(Stack::GnuTls, evidence);
            report.miss(
                "gnutls_record_send",
                "no symbol, and code without symbols is not searched",
            );
            report
        }));
    }
    let mut report = StackReport::new(Stack::GnuTls, vec!["symbols of libgnutls".to_owned()]);
    report.version = inspection.elf.soname()?.and_then(|name| {
        name.strip_prefix("libgnutls.so.")
            .map(|abi| format!("abi {abi}"))
    });
    report.hooks = hooks;
    if inspection.symbols.contains("gnutls_record_recv_packet") {
        report.miss(
            "gnutls_record_recv_packet",
            "it returns a packet of unknown layout",
        );
    }
    Ok(Some(report))
}
