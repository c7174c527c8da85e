//! What can go wrong between us and the kernel, by what the caller can do about it.

use std::io;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Not root, or without the capabilities that loading needs.
    #[error("loading kernel programs needs root, or the capabilities {missing}")]
    Privilege {
        /// Names of the missing capabilities.
        missing: String,
    },
    /// The kernel lacks something without which nothing works.
    #[error("this kernel cannot run AgentSight: {reason}")]
    Kernel {
        /// What is missing.
        reason: String,
    },
    /// The kernel refused a program, a map or an attachment.
    #[error("failed to {action}")]
    Refused {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: libbpf_rs::Error,
    },
    /// The user on whose behalf `sudo` runs us cannot be found, and must not be taken for root.
    #[error("SUDO_UID names a user who cannot be looked up: `{uid}`")]
    Caller {
        /// What SUDO_UID says.
        uid: String,
    },
    /// A process that was named does not exist, or its `/proc` entry makes no sense.
    #[error("failed to read process {pid}")]
    Process {
        /// The pid.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ProbeError {
    pub(crate) fn kernel(action: impl Into<String>) -> impl FnOnce(libbpf_rs::Error) -> Self {
        let action = action.into();
        move |source| Self::Refused { action, source }
    }
}
