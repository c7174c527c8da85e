//! How a failure is told: what, why, and the way out.

use std::fmt::Write as _;
use std::process::ExitCode;

use agentsight_ledger::LedgerError;
use agentsight_probe::ProbeError;
use agentsight_store::StoreError;

/// Something went wrong.
pub(crate) const FAILURE: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;
/// A privilege is missing.
pub(crate) const PRIVILEGE: u8 = 3;
/// This kernel cannot do it.
pub(crate) const KERNEL: u8 = 4;
/// There is a finding of the severity that `--fail-on` names.
pub(crate) const FOUND: u8 = 5;
/// The command to watch could not be run; as shells say it.
pub(crate) const NOT_RUNNABLE: u8 = 126;
/// The command to watch was not found; as shells say it.
pub(crate) const NOT_FOUND: u8 = 127;

/// An error that knows its exit code or a way out that its cause does not know.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>, code: u8) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit code of an error.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    if let Some(failure) = find::<Failure>(error) {
        return failure.code;
    }
    match find::<ProbeError>(error) {
        Some(ProbeError::Privilege { .. }) => PRIVILEGE,
        Some(ProbeError::Kernel { .. }) => KERNEL,
        _ if is_permission(error) => PRIVILEGE,
        _ => FAILURE,
    }
}

fn find<E: std::error::Error + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

fn is_permission(error: &anyhow::Error) -> bool {
    find::<std::io::Error>(error)
        .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(hint) = find::<Failure>(error).and_then(|failure| failure.hint.clone()) {
        return Some(hint);
    }
    if let Some(hint) = find::<LedgerError>(error).and_then(LedgerError::hint) {
        return Some(hint.to_owned());
    }
    if let Some(hint) = find::<StoreError>(error).and_then(StoreError::hint) {
        return Some(hint.to_owned());
    }
    match find::<ProbeError>(error) {
        Some(ProbeError::Privilege { .. }) => Some(
            "run it with sudo; the watched command still runs as you, and so does everything it starts"
                .to_owned(),
        ),
        Some(ProbeError::Kernel { .. }) => Some(
            "AgentSight needs Linux 5.10 or newer with CONFIG_DEBUG_INFO_BTF, as all current \
             distributions build it; `agentsight doctor` tells more"
                .to_owned(),
        ),
        Some(ProbeError::Caller { .. }) => Some(
            "run it with sudo as a user who is known here (`getent passwd`), or unset SUDO_UID to run the \
             command as root"
                .to_owned(),
        ),
        Some(ProbeError::Process { .. }) => Some("`ps -e` lists the processes that run".to_owned()),
        _ if is_permission(error) => {
            Some("the store belongs to root: use sudo, or --store with a directory of yours".to_owned())
        }
        _ => None,
    }
}

/// The error as it is printed: `error:`, `cause:` for each cause, and `hint:` if there is one.
pub(crate) fn render(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut last = String::new();
    for (index, cause) in error.chain().enumerate() {
        let message = cause.to_string();
        // A cause that its effect quotes already.
        if index > 0 && last.contains(&message) {
            continue;
        }
        let label = if index == 0 { "error" } else { "cause" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label}: {}", crate::report::sanitize(&message));
        last = message;
    }
    if let Some(hint) = hint(error) {
        let _ = writeln!(text, "\nhint: {hint}");
    }
    text
}

#[cfg(test)]
mod tests;
