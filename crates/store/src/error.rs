//! What can go wrong, by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use agentsight_ledger::LedgerError;

/// Why a store could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store at that place.
    #[error("`{}` is not a store", .0.display())]
    NotAStore(PathBuf),
    /// A symbolic link stands where a directory or file of the store should be.
    #[error("`{}` is a symbolic link", .0.display())]
    Symlink(PathBuf),
    /// Something else stands there.
    #[error("`{}` is another type of file than belongs there", .0.display())]
    WrongFileType(PathBuf),
    /// The user may not read or write the store.
    #[error("permission denied to {action} `{}`", path.display())]
    Denied {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system refused for another reason.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another program keeps the index locked.
    #[error("the index is locked by another program")]
    Busy(#[source] rusqlite::Error),
    /// The index is damaged. The ledgers are not concerned.
    #[error("the index is damaged")]
    IndexDamaged(#[source] rusqlite::Error),
    /// The index could not be used for another reason.
    #[error("failed to {action} the index")]
    Index {
        /// What was being done.
        action: &'static str,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// The store was opened for reading.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The store has no session.
    #[error("the store has no session")]
    NoSession,
    /// No session has that id, nor one that begins with it.
    #[error("no session `{0}`")]
    UnknownSession(String),
    /// Several sessions begin like that.
    #[error("{count} sessions begin with `{prefix}`: {}", shown(candidates, *count))]
    AmbiguousSession {
        /// What was asked for.
        prefix: String,
        /// The newest of them.
        candidates: Vec<String>,
        /// How many there are.
        count: usize,
    },
    /// An id that cannot name a session.
    #[error("session id {0:?} is not made of 1 to 64 letters, digits, `-` and `_`")]
    BadSessionId(String),
    /// A ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

fn shown(candidates: &[String], count: usize) -> String {
    let more = if count > candidates.len() {
        ", ..."
    } else {
        ""
    };
    candidates.join(", ") + more
}

impl StoreError {
    /// What the user can do about it, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotAStore(_) => {
                Some("record a session first, or name the store with --store or AGENTSIGHT_STORE")
            }
            Self::Symlink(_) | Self::WrongFileType(_) => Some(
                "somebody may have put it there to redirect the store: look before you remove it",
            ),
            Self::Denied { .. } => {
                Some("the store belongs to the user who records: try as that user, or with sudo")
            }
            Self::Busy(_) => Some("try again when the other program has finished"),
            Self::IndexDamaged(_) => {
                Some("it can be made again from the ledgers, which are not concerned")
            }
            Self::NoSession => Some("record one with `agentsight run -- COMMAND`"),
            Self::UnknownSession(_) => Some("`agentsight sessions` lists them"),
            Self::AmbiguousSession { .. } => Some("give more of the id"),
            Self::Ledger(error) => error.hint(),
            _ => None,
        }
    }

    /// Wraps an error of the operating system.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            if source.kind() == io::ErrorKind::PermissionDenied {
                Self::Denied {
                    action,
                    path,
                    source,
                }
            } else {
                Self::Io {
                    action,
                    path,
                    source,
                }
            }
        }
    }

    /// Wraps an error of the database.
    pub(crate) fn index(action: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase};
        move |source| match source.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => Self::Busy(source),
            Some(DatabaseCorrupt | NotADatabase) => Self::IndexDamaged(source),
            _ => Self::Index { action, source },
        }
    }
}
