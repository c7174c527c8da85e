//! The directories and files of a store.
//!
//! ```text
//! <store>/                 0700
//!   lock                   held while the index is opened for writing
//!   index.sqlite           0600, with -wal and -shm beside it
//!   index.sqlite.aside-N   an index that could not be used; never deleted
//!   sessions/<id>/         0700, one ledger each
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use agentsight_ledger::is_session_id;

use crate::StoreError;

pub(crate) const INDEX_NAME: &str = "index.sqlite";
const SESSIONS_NAME: &str = "sessions";
const LOCK_NAME: &str = "lock";
/// What SQLite adds to the name of a database for the files that belong to it.
const INDEX_COMPANIONS: [&str; 2] = ["-wal", "-shm"];
/// Indexes that are kept aside. Somebody who comes near that many has another problem.
const MAX_ASIDE: u32 = 1000;

pub(crate) fn sessions_dir(store: &Path) -> PathBuf {
    store.join(SESSIONS_NAME)
}

/// Makes the directories of a store where they are missing.
pub(crate) fn create(store: &Path) -> Result<(), StoreError> {
    create_directory(store, true)?;
    create_directory(&sessions_dir(store), false)
}

fn create_directory(path: &Path, recursive: bool) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    match builder.mode(0o700).recursive(recursive).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::io("create", path)(error))
        }
        _ => require_directory(path),
    }
}

/// Makes sure that a store is there.
pub(crate) fn require(store: &Path) -> Result<(), StoreError> {
    let of_store = require_directory(store).map_err(|error| match error {
        StoreError::WrongFileType(path) => StoreError::NotAStore(path),
        error => error,
    });
    of_store?;
    match require_directory(&sessions_dir(store)) {
        // Whatever has no place for sessions is some other directory.
        Err(StoreError::NotAStore(_)) => Err(StoreError::NotAStore(store.to_owned())),
        other => other,
    }
}

fn require_directory(path: &Path) -> Result<(), StoreError> {
    let metadata = fs::symlink_metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            StoreError::NotAStore(path.to_owned())
        }
        _ => StoreError::io("open", path)(error),
    })?;
    if metadata.is_symlink() {
        return Err(StoreError::Symlink(path.to_owned()));
    }
    if !metadata.is_dir() {
        return Err(StoreError::WrongFileType(path.to_owned()));
    }
    Ok(())
}

/// Whether a regular file is there; an error if something else is.
pub(crate) fn is_file(path: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(StoreError::Symlink(path.to_owned())),
        Ok(metadata) if !metadata.is_file() => Err(StoreError::WrongFileType(path.to_owned())),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("open", path)(error)),
    }
}

/// Makes an empty file for its owner alone, where none is. SQLite gives the files that it makes
/// beside it the same permissions.
pub(crate) fn create_file(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::io("create", path)(error))
        }
        _ => is_file(path).map(drop),
    }
}

/// Keeps other programs from opening the index for writing at the same time, until it is dropped.
pub(crate) fn lock(store: &Path) -> Result<File, StoreError> {
    let path = store.join(LOCK_NAME);
    create_file(&path)?;
    let file = File::open(&path).map_err(StoreError::io("open", &path))?;
    file.lock().map_err(StoreError::io("lock", &path))?;
    Ok(file)
}

/// Gives the index, and what belongs to it, a name under which nothing uses it.
pub(crate) fn move_index_aside(store: &Path) -> Result<PathBuf, StoreError> {
    let index = store.join(INDEX_NAME);
    let aside = (1..=MAX_ASIDE)
        .map(|number| store.join(format!("{INDEX_NAME}.aside-{number}")))
        .find(|path| fs::symlink_metadata(path).is_err())
        .ok_or_else(|| {
            let error = io::Error::other("too many indexes are aside already");
            StoreError::io("move aside", &index)(error)
        })?;
    for companion in INDEX_COMPANIONS {
        let renamed = fs::rename(
            with_suffix(&index, companion),
            with_suffix(&aside, companion),
        );
        match renamed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("move aside", &index)(error));
            }
            _ => {}
        }
    }
    fs::rename(&index, &aside).map_err(StoreError::io("move aside", &index))?;
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Ids of the directories that may hold a session's ledger, oldest first.
pub(crate) fn session_ids(store: &Path) -> Result<Vec<String>, StoreError> {
    let dir = sessions_dir(store);
    let mut ids = Vec::new();
    for entry in fs::read_dir(&dir).map_err(StoreError::io("list", &dir))? {
        let entry = entry.map_err(StoreError::io("list", &dir))?;
        // The type of the entry itself: a link to a directory is none.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = entry.file_name();
        ids.extend(
            name.to_str()
                .filter(|id| is_session_id(id))
                .map(str::to_owned),
        );
    }
    // ULIDs sort by time.
    ids.sort_unstable();
    Ok(ids)
}
