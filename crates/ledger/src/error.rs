//! What can go wrong, by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a ledger could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The directory has no ledger in it.
    #[error("`{}` holds no ledger", .0.display())]
    NotALedger(PathBuf),
    /// The directory has a ledger already. A ledger is never continued by a second writer.
    #[error("`{}` exists already", .0.display())]
    AlreadyExists(PathBuf),
    /// A symbolic link stands where a file or directory of the ledger should be.
    #[error("`{}` is a symbolic link", .0.display())]
    Symlink(PathBuf),
    /// Something other than a regular file (or directory) stands there.
    #[error("`{}` is not a regular file or directory", .0.display())]
    WrongFileType(PathBuf),
    /// The operating system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A session id that cannot name a directory.
    #[error("session id {0:?} is not made of 1 to 64 letters, digits, `-` and `_`")]
    BadSessionId(String),
    /// The record is larger than any reader accepts.
    #[error("record of {bytes} bytes is larger than the limit of {limit}")]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
        /// [`crate::MAX_RECORD_BYTES`].
        limit: usize,
    },
    /// The event could not be serialised.
    #[error("failed to encode an event")]
    Encode(#[source] serde_json::Error),
    /// The compressor failed, which means that memory ran out.
    #[error("failed to compress a block")]
    Compress(#[source] io::Error),
    /// Written by a newer version.
    #[error("`{}` has format version {found}; this program reads version {supported}", path.display())]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The version that this program reads.
        supported: u16,
    },
    /// Bytes are not what a writer wrote. Reading continues behind them.
    #[error("`{}` is damaged at byte {offset}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage, or the block that has it, begins.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A record is whole, but this program cannot make an event of it.
    #[error("record {seq} is not an event that this program understands")]
    Record {
        /// Its number.
        seq: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// A record is in an encoding that this program does not know.
    #[error("record {seq} has the unknown encoding {encoding}")]
    UnknownEncoding {
        /// Its number.
        seq: u64,
        /// The encoding byte.
        encoding: u8,
    },
}

impl LedgerError {
    /// What the user can do about it, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotALedger(_) => {
                Some("name a session directory, or choose the store with --store")
            }
            Self::AlreadyExists(_) => Some("every session needs a directory of its own"),
            Self::Symlink(_) | Self::WrongFileType(_) => Some(
                "somebody may have put it there to redirect the log: look before you remove it",
            ),
            Self::Io { source, .. } => io_hint(source),
            Self::UnsupportedVersion { .. } => Some("read it with a newer agentsight"),
            Self::Damaged { .. } => Some("`agentsight verify` lists every damaged place"),
            Self::Record { .. } | Self::UnknownEncoding { .. } => {
                Some("it may come from a newer agentsight")
            }
            _ => None,
        }
    }

    /// Wraps an error of the operating system.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.raw_os_error() {
            // What open(2) says to O_NOFOLLOW on a link.
            Some(libc::ELOOP) => Self::Symlink(path),
            _ if source.kind() == io::ErrorKind::AlreadyExists => Self::AlreadyExists(path),
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, reason: &'static str) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            offset,
            reason,
        }
    }
}

fn io_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Some("ledgers belong to the user who recorded them: try as that user, or with sudo")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space; what could not be written is counted as lost")
        }
        _ => None,
    }
}
