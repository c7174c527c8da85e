//! A user's own patterns of what is secret: a YAML file, read before anything is watched.
//!
//! ```yaml
//! patterns:
//!   - kind: customer_number        # stands in the mark: small letters and underscores
//!     pattern: 'CN-[0-9]{8}'       # a regular expression; the whole match is replaced
//! ```

use agentsight_decode::redact::OwnPattern;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::yaml::{self, FileError};

/// Most bytes of a file of patterns.
pub const MAX_PATTERNS_BYTES: u64 = 1 << 20;

/// Most patterns: each of them goes over every text.
const MAX_PATTERNS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    patterns: Vec<Checked>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    kind: String,
    pattern: String,
}

/// A line that was compiled while it was read, so that an error has its place.
struct Checked(OwnPattern);

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = Line::deserialize(deserializer)?;
        let pattern = OwnPattern::new(&line.kind, &line.pattern);
        pattern.map(Self).map_err(de::Error::custom)
    }
}

/// Reads a file of patterns.
///
/// # Errors
/// If it is no YAML, says what is not known, or has a pattern that cannot be: with the line.
pub fn parse_patterns(text: &str) -> Result<Vec<OwnPattern>, FileError> {
    let file: File = yaml::parse(text)?;
    if file.patterns.len() > MAX_PATTERNS {
        return Err(FileError::of(format!("more than {MAX_PATTERNS} patterns")));
    }
    Ok(file.patterns.into_iter().map(|checked| checked.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_or_its_mistake_is_named_with_the_line() {
        let good = "patterns:\n  - kind: customer\n    pattern: 'CN-[0-9]+'\n";
        assert_eq!(parse_patterns(good).unwrap().len(), 1);
        for (text, lines) in [
            (
                "patterns:\n  - kind: a\n    pattern: x\n  - kind: b\n    pattern: '('\n",
                4..=5,
            ),
            ("patterns:\n  - kind: A B\n    pattern: x\n", 2..=3),
            ("patterns:\n  - kind: a\n    regex: x\n", 2..=3),
        ] {
            let error = parse_patterns(text).unwrap_err();
            assert!(
                error.line.is_some_and(|line| lines.contains(&line)),
                "{text}: {error}"
            );
        }
    }
}
