//! The kernel's verifier and the programs, on the kernel that runs.
//!
//! Needs root; run with `cargo xtask test`, or `cargo test -p agentsight-probe -- --ignored`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use agentsight_probe::verifier;

/// Half of what the verifier allows: compilers differ, and the next kernel may look further.
const MOST_INSTRUCTIONS: u64 = 500_000;

#[test]
#[ignore = "needs root"]
fn every_program_is_let_in_and_far_from_the_limit() {
    let verification = verifier::verify().expect("the kernel programs can be opened (needs root)");
    for program in &verification.accepted {
        // `cargo xtask vm` reads these lines.
        println!("verifier {} {}", program.name, program.instruction_count);
    }
    assert_eq!(verification.refusal, None);
    assert!(!verification.accepted.is_empty());
    for program in &verification.accepted {
        assert!(
            program.instruction_count <= MOST_INSTRUCTIONS,
            "{}: {} instructions",
            program.name,
            program.instruction_count
        );
    }
}
