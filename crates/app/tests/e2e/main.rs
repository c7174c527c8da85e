//! The whole product on the real kernel: `agentsight` as a user calls it, watching commands that these
//! tests start and nothing else, each with a store of its own.
//!
//! Needs root; run with `cargo xtask test`, or
//! `cargo test -p agentsight --test e2e -- --ignored --test-threads=1`. Whatever else a test is about, it
//! asserts conservation: what the kernel side produced is in the ledger, or is counted as lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod commands;
mod conversations;
mod damage;
mod endings;
mod facts;
mod faults;
mod findings;
mod hostile;
mod lineage;
mod load;
mod mcp;
mod scope;
mod secrets;
mod support;
mod transparency;
