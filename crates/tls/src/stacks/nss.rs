//! NSS, which puts TLS under the interface of NSPR: reads and writes are those of any descriptor, and
//! `SSL_ImportFD` is what makes one a TLS descriptor.

use super::named::{self, Named};
use super::{Inspection, StackEntry};
use crate::LocateError;
use crate::convention::{Convention, Operand, Success};
use crate::report::{HookKind, Stack, StackReport};

/// NSS.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::Nss,
    symbols: &[
        "PR_Read",
        "PR_Recv",
        "PR_Write",
        "PR_Send",
        "PR_Close",
        "SSL_ImportFD",
        "SSL_ForceHandshake",
    ],
    constants: &[],
    inspect,
};

/// Lengths are of 32 bits.
const MOVES: fn() -> Convention = || Convention {
    only_created_objects: true,
    ..Convention::returning(Success::ReturnedPositive)
};
const CLOSES: fn() -> Convention = || Convention {
    only_created_objects: true,
    ..Convention::of_object(Operand::Argument(0))
};
const CREATES: fn() -> Convention = || Convention::of_object(Operand::Return);
const OBJECT: fn() -> Convention = || Convention::of_object(Operand::Argument(0));

const FUNCTIONS: &[Named] = &[
    ("PR_Read", HookKind::ReadReturn, MOVES),
    ("PR_Recv", HookKind::ReadReturn, MOVES),
    ("PR_Write", HookKind::WriteReturn, MOVES),
    ("PR_Send", HookKind::WriteReturn, MOVES),
    ("PR_Close", HookKind::Free, CLOSES),
    ("SSL_ImportFD", HookKind::Create, CREATES),
    ("SSL_ForceHandshake", HookKind::Handshake, OBJECT),
];

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    let hooks = named::hooks(inspection, FUNCTIONS);
    if hooks.is_empty() {
        return Ok(None);
    }
    let has = |name: &str| inspection.symbols.contains(name);
    let (moves, creates) = (has("PR_Write"), has("SSL_ImportFD"));
    let mut report = StackReport::new(Stack::Nss, vec!["symbols of NSPR or NSS".to_owned()]);
    report.hooks = hooks;
    if !moves {
        report.rest_is_in = Some("libnspr4.so".to_owned());
    } else if !creates {
        report.rest_is_in = Some("libssl3.so".to_owned());
    }
    Ok(Some(report))
}
