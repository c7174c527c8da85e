//! From captured bytes and events to the story of one session: which process came from which, which
//! files and sockets it used, what was said to models, and which tool call caused what.
//!
//! [`Assembler`] turns captured plaintext into events, before they go to the ledger. [`Deduplicator`] keeps
//! what conversations repeat out of it. [`SessionGraph`]
//! takes events in ledger order, live or replayed, and gives the session document. Both are pure functions
//! of what they are given: no clock, no file, no randomness. Everything may have been shaped by a hostile
//! process, so memory is bounded by [`AssemblerOptions`] and [`GraphLimits`], and what does not fit is
//! counted.

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
pub mod container;
mod contents;
mod graph;
mod intent;
mod patterns;
mod prices;
mod rpc;
mod texts;
mod tls_watch;
mod tool;
mod yaml;

pub use agents::known_agent;
pub use assembler::{Assembler, AssemblerOptions, FlowVerdict};
pub use contents::Deduplicator;
pub use graph::{ACTION_KINDS, GraphLimits, SessionGraph};
pub use patterns::{MAX_PATTERNS_BYTES, parse_patterns};
pub use prices::{MAX_PRICES_BYTES, parse_prices};
pub use tls_watch::TlsWatch;
pub use yaml::FileError;
