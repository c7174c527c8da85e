//! OpenSSL 1.1 and 3.x, and LibreSSL, in shared libraries and in programs that carry them.

use super::{Inspection, StackEntry, libssl};
use crate::report::{Stack, StackReport};

/// OpenSSL.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::OpenSsl,
    symbols: libssl::NAMES,
    inspect,
};

fn inspect(inspection: &Inspection<'_>) -> Option<StackReport> {
    let hooks = libssl::named_hooks(inspection);
    let is_other = super::boringssl::is_named(inspection);
    (!hooks.is_empty() && !is_other).then(|| StackReport {
        stack: Stack::OpenSsl,
        version: None,
        hooks,
        missing: Vec::new(),
        superseded_by: None,
        evidence: vec!["symbols of libssl".to_owned()],
    })
}
