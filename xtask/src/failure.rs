//! How a command ends when it cannot do its work.

use std::fmt;
use std::process::ExitCode;

/// Why a command failed, what to do about it, and its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// Something went wrong.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            hint: None,
            code: 1,
        }
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self {
            code: 2,
            ..Self::new(message)
        }
    }

    /// It takes rights that we do not have.
    pub(crate) fn privilege(message: impl fmt::Display) -> Self {
        Self {
            code: 3,
            ..Self::new(message)
        }
    }

    /// Says what to do about it.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Prints it.
    pub(crate) fn report(&self) -> ExitCode {
        if self.code == 2 {
            eprint!("{}", self.message);
        } else {
            eprintln!("error: {}", self.message);
        }
        if let Some(hint) = &self.hint {
            eprintln!("\nhint: {hint}");
        }
        ExitCode::from(self.code)
    }
}
