//! BoringSSL, in programs that carry it: Chromium and Electron, Bun, Deno and what is built from them.

use super::{Inspection, StackEntry, libssl};
use crate::report::{Stack, StackReport};

/// BoringSSL.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::BoringSsl,
    symbols: &[MARKER],
    inspect,
};

/// A function that BoringSSL has and OpenSSL does not.
const MARKER: &str = "SSL_CTX_set_grease_enabled";

/// Whether the file's symbols are those of BoringSSL.
pub(super) fn is_named(inspection: &Inspection<'_>) -> bool {
    inspection.symbols.contains(MARKER)
}

fn inspect(inspection: &Inspection<'_>) -> Option<StackReport> {
    let hooks = libssl::named_hooks(inspection);
    (!hooks.is_empty() && is_named(inspection)).then(|| StackReport {
        stack: Stack::BoringSsl,
        version: None,
        hooks,
        missing: Vec::new(),
        superseded_by: None,
        evidence: vec![format!("symbol {MARKER}")],
    })
}
