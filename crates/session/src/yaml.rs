//! Files that a user wrote: what is wrong with one, and where.

use serde::de::DeserializeOwned;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The line, from 1, where it is known.
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl FileError {
    pub(crate) fn of(message: String) -> Self {
        Self {
            line: None,
            message,
        }
    }
}

impl std::fmt::Display for FileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for FileError {}

/// Reads YAML.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, FileError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let location = error.location();
        // The error itself shows the place and its surroundings over several lines.
        let whole = error.to_string();
        let first = whole.lines().next().unwrap_or_default();
        FileError {
            line: location.map(|location| location.line()),
            message: without_place(first.trim_start_matches("error: ")).to_owned(),
        }
    })
}

/// A message without the place at its beginning, which is told apart.
fn without_place(message: &str) -> &str {
    match message.split_once(": ") {
        Some((place, rest)) if place.starts_with("line ") && !rest.is_empty() => rest,
        _ => message,
    }
}
