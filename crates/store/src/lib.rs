//! The store: the ledgers of all sessions, and an index over them.
//!
//! The index says which sessions there are and what happened in them: processes, calls to models, tool
//! calls and the actions that they caused, findings, and where in which segment of the ledger the raw
//! events lie. It is a view. Nothing is in it that is not in the ledgers, so that an index which is
//! missing, damaged or of another version is made again ([`Store::rebuild`]) and never repaired; the old
//! one is set aside, not deleted.
//!
//! Queries may rely on the views of [`VIEWS`]; the tables below them change with the version.

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

mod blocks;
mod error;
mod index;
mod layout;
mod preview;
mod sessions;
mod store;
mod views;
mod write;

pub use blocks::BlockFilter;
pub use error::StoreError;
pub use index::{IndexState, SCHEMA_VERSION, UnusableIndex};
pub use sessions::SessionSummary;
pub use store::{Mode, Rebuilt, Store};
pub use views::{VIEWS, View};
