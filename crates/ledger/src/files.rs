//! The files of a ledger: their names, and opening them without following what an attacker put there.
//!
//! The directory above a session's is trusted: whoever may write there may replace the session's
//! directory as a whole. Inside it nothing but regular files is opened, and no link is followed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::LedgerError;

/// Longest session id.
pub(crate) const SESSION_ID_BYTES: usize = 64;

/// Name of the file that says how far the ledger goes.
pub(crate) const HEAD_NAME: &str = "HEAD";

const SEGMENT_PREFIX: &str = "ledger-";
const SEGMENT_SUFFIX: &str = ".seg";
/// Digits of a segment number in a file name; larger numbers take more.
const SEGMENT_DIGITS: usize = 6;

/// Whether `id` may name a session: 1 to 64 ASCII letters, digits, `-` and `_`, which can name no
/// other directory than its own.
#[must_use]
pub fn is_session_id(id: &str) -> bool {
    (1..=SESSION_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

pub(crate) fn segment_name(number: u32) -> String {
    format!("{SEGMENT_PREFIX}{number:0SEGMENT_DIGITS$}{SEGMENT_SUFFIX}")
}

pub(crate) fn segment_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(segment_name(number))
}

fn segment_number(name: &str) -> Option<u32> {
    let digits = name
        .strip_prefix(SEGMENT_PREFIX)?
        .strip_suffix(SEGMENT_SUFFIX)?;
    let number = digits.parse().ok()?;
    // Only the one spelling that a writer uses, so that no two files claim the same number.
    (number > 0 && segment_name(number) == name).then_some(number)
}

/// Numbers of the segments in `dir`, in order.
pub(crate) fn list_segments(dir: &Path) -> Result<Vec<u32>, LedgerError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(LedgerError::io("list", dir))? {
        let entry = entry.map_err(LedgerError::io("list", dir))?;
        numbers.extend(entry.file_name().to_str().and_then(segment_number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes sure that `dir` is a directory and not a link to one.
pub(crate) fn require_directory(dir: &Path) -> Result<(), LedgerError> {
    let metadata = fs::symlink_metadata(dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => LedgerError::NotALedger(dir.to_owned()),
        _ => LedgerError::io("open", dir)(error),
    })?;
    if metadata.is_symlink() {
        return Err(LedgerError::Symlink(dir.to_owned()));
    }
    if !metadata.is_dir() {
        return Err(LedgerError::WrongFileType(dir.to_owned()));
    }
    Ok(())
}

/// Makes `dir`, for its owner alone. An empty directory that exists is taken as it is.
pub(crate) fn create_directory(dir: &Path) -> Result<(), LedgerError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => require_directory(dir),
        Err(error) => Err(LedgerError::io("create", dir)(error)),
    }
}

/// Opens a regular file for reading.
pub(crate) fn open(path: &Path) -> Result<File, LedgerError> {
    let file = OpenOptions::new()
        .read(true)
        // O_NONBLOCK: opening a FIFO that was put in the file's place must not hang.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(LedgerError::io("open", path))?;
    let metadata = file.metadata().map_err(LedgerError::io("open", path))?;
    if !metadata.is_file() {
        return Err(LedgerError::WrongFileType(path.to_owned()));
    }
    Ok(file)
}

/// Makes a file that must not exist yet, for its owner alone.
pub(crate) fn create(path: &Path) -> Result<File, LedgerError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(LedgerError::io("create", path))
}

/// Length of an open file.
pub(crate) fn length(file: &File, path: &Path) -> Result<u64, LedgerError> {
    Ok(file
        .metadata()
        .map_err(LedgerError::io("read", path))?
        .len())
}

/// Makes the names in `dir` survive a power failure.
pub(crate) fn sync_directory(dir: &Path) -> Result<(), LedgerError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(LedgerError::io("sync", dir))
}

/// Whether an error says that a file is not there.
pub(crate) fn is_missing(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_the_spelling_of_a_writer_is_a_segment() {
        for (name, number) in [
            ("ledger-000001.seg", Some(1)),
            ("ledger-999999.seg", Some(999_999)),
            ("ledger-1000000.seg", Some(1_000_000)),
            ("ledger-000000.seg", None),
            ("ledger-1.seg", None),
            ("ledger-0000001.seg", None),
            ("ledger-+00001.seg", None),
            ("ledger-99999999999.seg", None),
            ("ledger-000001.seg~", None),
            ("ledger-.seg", None),
            ("ledger-.se", None),
            ("HEAD", None),
        ] {
            assert_eq!(segment_number(name), number, "{name}");
        }
    }

    #[test]
    fn session_ids_name_no_other_directory() {
        for id in ["01JC", "a-b_c", &"x".repeat(64)] {
            assert!(is_session_id(id), "{id:?}");
        }
        for id in ["", ".", "..", "a/b", "a\0", "é", &"x".repeat(65)] {
            assert!(!is_session_id(id), "{id:?}");
        }
    }

    #[test]
    fn files_and_directories_are_for_their_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("session");
        create_directory(&dir).unwrap();
        create(&dir.join("file")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join("file")), 0o600);
        assert!(matches!(
            create(&dir.join("file")),
            Err(LedgerError::AlreadyExists(_))
        ));
    }

    #[test]
    fn links_and_special_files_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let link = temp.path().join("link");
        symlink(temp.path(), &link).unwrap();
        assert!(matches!(open(&link), Err(LedgerError::Symlink(_))));
        assert!(matches!(create(&link), Err(LedgerError::AlreadyExists(_))));
        assert!(matches!(
            require_directory(&link),
            Err(LedgerError::Symlink(_))
        ));
        assert!(matches!(
            create_directory(&link),
            Err(LedgerError::Symlink(_))
        ));
        assert!(matches!(
            open(temp.path()),
            Err(LedgerError::WrongFileType(_))
        ));
        assert!(matches!(
            open(Path::new("/dev/null")),
            Err(LedgerError::WrongFileType(_))
        ));
    }
}
