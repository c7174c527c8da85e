//! Plaintext of every TLS stack on the real kernel: clients of all kinds talk to the scripted model, and
//! what was recorded is held against what the model received and sent, byte for byte, by its hashes.
//!
//! Needs root; run with `cargo xtask test`, or
//! `cargo test -p agentsight --test tls -- --ignored --test-threads=1`. A client whose toolchain is not
//! installed is left out, with a line that says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod builds;
mod clients;
mod dark;
mod places;
mod servers;
#[path = "../e2e/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the other tests, which use more of it"
)]
mod support;
mod talk;
mod volume;
