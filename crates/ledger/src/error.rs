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
    /// The compression library failed, which means that memory ran out.
    #[error("compression failed")]
    Compression(#[source] io::Error),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_and_most_have_a_hint() {
        let path = || PathBuf::from("/srv/s");
        let io = |kind: io::ErrorKind| LedgerError::io("open", &path())(kind.into());
        let json = || serde_json::from_str::<u8>("x").unwrap_err();
        for (error, message, has_hint) in [
            (
                LedgerError::NotALedger(path()),
                "`/srv/s` holds no ledger",
                true,
            ),
            (
                io(io::ErrorKind::AlreadyExists),
                "`/srv/s` exists already",
                true,
            ),
            (
                io(io::ErrorKind::PermissionDenied),
                "failed to open `/srv/s`",
                true,
            ),
            (
                io(io::ErrorKind::StorageFull),
                "failed to open `/srv/s`",
                true,
            ),
            (io(io::ErrorKind::Other), "failed to open `/srv/s`", false),
            (
                LedgerError::io("open", &path())(io::Error::from_raw_os_error(libc::ELOOP)),
                "`/srv/s` is a symbolic link",
                true,
            ),
            (
                LedgerError::WrongFileType(path()),
                "`/srv/s` is not a regular file or directory",
                true,
            ),
            (
                LedgerError::BadSessionId("a/\n".into()),
                "session id \"a/\\n\" is not made of 1 to 64 letters, digits, `-` and `_`",
                false,
            ),
            (
                LedgerError::RecordTooLarge { bytes: 9, limit: 8 },
                "record of 9 bytes is larger than the limit of 8",
                false,
            ),
            (
                LedgerError::UnsupportedVersion {
                    path: path(),
                    found: 2,
                    supported: 1,
                },
                "`/srv/s` has format version 2; this program reads version 1",
                true,
            ),
            (
                LedgerError::damaged(&path(), 256, "block was changed"),
                "`/srv/s` is damaged at byte 256: block was changed",
                true,
            ),
            (
                LedgerError::Record {
                    seq: 7,
                    source: json(),
                },
                "record 7 is not an event that this program understands",
                true,
            ),
            (
                LedgerError::UnknownEncoding {
                    seq: 7,
                    encoding: 9,
                },
                "record 7 has the unknown encoding 9",
                true,
            ),
        ] {
            assert_eq!(error.to_string(), message);
            assert_eq!(error.hint().is_some(), has_hint, "{message}");
        }
    }
}
