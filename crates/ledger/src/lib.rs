//! The append-only, hash-chained log of one session: the truth that every view is made from.
//!
//! A ledger is a directory of segment files and a small `HEAD`. Records are collected in compressed
//! blocks; every block carries the hash of the one before it and a hash of itself, so that nothing can
//! be changed, removed, added or moved without [`verify`] naming the place. The format is in
//! `docs/adr/0006-ledger-format.md`.
//!
//! The log proves that it is *consistent*. Whoever can write to it can also rewrite it from some point
//! on, with new hashes; what protects from that is a chain hash kept elsewhere (see
//! [`VerifyOptions::known`]), and the signatures that the format has room for.
//!
//! ```
//! use agentsight_ledger::{Options, Reader, Verdict, Writer, verify};
//! use agentsight_model::{DropReason, EventClass, KTime, Loss};
//!
//! let temp = tempfile::tempdir()?;
//! let dir = temp.path().join("01JCZ9V8Q4");
//! let mut writer = Writer::create(&dir, "01JCZ9V8Q4", Options::default())?;
//! let loss = Loss::new(EventClass::File, DropReason::RingFull, 3);
//! assert_eq!(writer.append(&loss.into_event(KTime(17)))?, 0);
//! writer.close()?;
//!
//! assert_eq!(verify(&dir)?.verdict, Verdict::Intact { records: 1, closed: true });
//! let (seq, event) = Reader::open(&dir)?.next().expect("one record")?;
//! assert_eq!((seq, event.time), (0, KTime(17)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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

mod block;
mod builder;
mod cursor;
mod error;
mod fields;
mod files;
mod format;
mod hash;
mod head;
#[cfg(test)]
mod hostile_tests;
mod kind;
mod reader;
mod record;
mod verify;
mod writer;

pub use cursor::BlockPosition;
pub use error::LedgerError;
pub use files::is_session_id;
pub use format::MAX_RECORD_BYTES;
pub use hash::{ChainHash, ChainHashError};
pub use head::{Head, is_being_written, read_head};
pub use kind::{Kind, KindSet};
pub use reader::{BlockInfo, Blocks, Reader, blocks};
pub use record::{Encoding, NewRecord, RawRecord};
pub use verify::{
    KnownState, Problem, ProblemKind, Report, Verdict, VerifyOptions, verify, verify_with,
};
pub use writer::{Options, Writer};
