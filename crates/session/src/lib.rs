//! From events to the story of one session: which process came from which, which files and sockets it
//! used, what was said to models, and which tool call caused what.
//!
//! [`SessionGraph`] takes events in ledger order, live or replayed, and gives the session document.
//! It is a pure function of those events: no clock, no file, no randomness. Every event may have been
//! shaped by a hostile process, so memory is bounded by [`GraphLimits`] and what does not fit is counted.

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod agents;
mod assembler;
mod graph;
mod intent;
mod tool;

pub use assembler::{Assembler, AssemblerOptions};
pub use graph::{GraphLimits, SessionGraph};
