//! What can go wrong when a server or a demo is set up.

use std::io;
use std::path::PathBuf;

/// Why a server or a demo could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestkitError {
    /// No socket on loopback.
    #[error("failed to listen on loopback")]
    Listen(#[source] io::Error),
    /// No thread to serve with.
    #[error("failed to start a server thread")]
    Thread(#[source] io::Error),
    /// A file or folder could not be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificates could not be made.
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The certificates were refused by the TLS library.
    #[error("failed to set up TLS")]
    Tls(#[from] rustls::Error),
}
