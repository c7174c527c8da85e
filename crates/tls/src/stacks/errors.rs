//! How functions of OpenSSL and its descendants report errors: the one trace that a stripped build keeps.

use std::collections::BTreeSet;

use crate::code::Routine;

/// Reasons that `routine` gives for errors, with the name of a source file among `files`: the convention of
/// BoringSSL, AWS-LC and OpenSSL before 3.0, `put(library, function, reason, file, line)`. BoringSSL does
/// not use the function; where the whole program was optimised together, the argument is gone.
pub(super) fn reasons_with_file(
    routine: &Routine,
    files: &BTreeSet<u64>,
    library: u64,
) -> BTreeSet<u64> {
    let mut reasons = BTreeSet::new();
    for (call, _) in routine.calls() {
        for file_index in [2, 3] {
            let file = routine.argument_at(call, file_index);
            let is_report = !file.values.is_disjoint(files)
                && routine.argument_at(call, 0).values.contains(&library);
            if is_report {
                reasons.extend(routine.argument_at(call, file_index - 1).values);
            }
        }
    }
    reasons
}

/// Reasons that `routine` gives for errors in the convention of OpenSSL 3, `set(library, reason, ..)`.
pub(super) fn reasons(routine: &Routine, library: u64) -> BTreeSet<u64> {
    let mut reasons = BTreeSet::new();
    for (call, _) in routine.calls() {
        let given = routine.argument_at(call, 0);
        if given.values.len() == 1 && given.values.contains(&library) {
            reasons.extend(routine.argument_at(call, 1).values);
        }
    }
    reasons
}

/// Numbers of functions and reasons that `routine` gives, in the convention of OpenSSL before 3.0.
pub(super) fn codes_and_reasons_with_file(
    routine: &Routine,
    files: &BTreeSet<u64>,
    library: u64,
) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (mut codes, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    for (call, _) in routine.calls() {
        let file = routine.argument_at(call, 3);
        if !file.values.is_disjoint(files) && routine.argument_at(call, 0).values.contains(&library)
        {
            codes.extend(routine.argument_at(call, 1).values);
            reasons.extend(routine.argument_at(call, 2).values);
        }
    }
    (codes, reasons)
}
