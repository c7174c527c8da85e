//! Java Secure Socket Extension: a blind spot, and named as one.
//!
//! Java's TLS is Java code. The virtual machine compiles it while it runs, so that its functions are in no
//! file.

use super::{Inspection, StackEntry};
use crate::LocateError;
use crate::report::{Stack, StackReport};

/// JSSE.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::Jsse,
    symbols: &[VIRTUAL_MACHINE, NATIVE_IMAGE],
    constants: &[],
    inspect,
};

/// What a Java virtual machine offers to its starter.
const VIRTUAL_MACHINE: &str = "JNI_CreateJavaVM";
/// What a library compiled ahead of time by GraalVM offers.
const NATIVE_IMAGE: &str = "graal_create_isolate";

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    let name = [VIRTUAL_MACHINE, NATIVE_IMAGE]
        .into_iter()
        .find(|name| inspection.symbols.contains(name));
    Ok(name.map(|name| {
        let mut report = StackReport::new(Stack::Jsse, vec![format!("symbol {name}")]);
        report.miss(
            "SSLEngine",
            "TLS in Java is compiled while the program runs: it is in no file",
        );
        report
    }))
}
