//! Why a file could not be looked at.

use std::io;

/// Why a file could not be looked at. A file without TLS is no error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// The file is something else: a script, an archive, a directory.
    #[error("not an ELF file")]
    NotElf,
    /// An ELF file of a kind that is not read here.
    #[error("unsupported ELF file: {0}")]
    Unsupported(&'static str),
    /// The headers contradict each other or the file.
    #[error("malformed ELF file: {0}")]
    Malformed(&'static str),
    /// The file could not be read.
    #[error("failed to read the file")]
    Read(#[from] io::Error),
}
