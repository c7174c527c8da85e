//! What is wrong with a rule file, where, and what may have been meant.

use std::fmt;

/// Something wrong with a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was named to [`crate::RuleSet::load`].
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            hint,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")?;
        match hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a set of rule files, in the order of files and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A place in a file: line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

/// A message without its place: what a check says before it is known where the text lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Complaint {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// About a word that is none of those allowed.
    pub(crate) fn unknown<'a>(
        what: &str,
        word: &str,
        allowed: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::new(format!("unknown {what} `{word}`")).hint(proposal(word, allowed))
    }
}

/// Words listed in full where none is near.
const MAX_LISTED: usize = 12;

/// `did you mean ...?`, or the list of what is allowed, if it is short.
pub(crate) fn proposal<'a>(
    word: &str,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let allowed: Vec<&str> = allowed.into_iter().collect();
    if let Some(near) = nearest(word, &allowed) {
        return Some(format!("did you mean `{near}`?"));
    }
    (!allowed.is_empty() && allowed.len() <= MAX_LISTED)
        .then(|| format!("it may be: {}", allowed.join(", ")))
}

fn nearest<'a>(word: &str, allowed: &[&'a str]) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(64).collect();
    let limit = (word.len() / 3).clamp(1, 3);
    allowed
        .iter()
        .map(|candidate| (distance(&word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits from one word to the other (Levenshtein).
fn distance(word: &[char], candidate: &str) -> usize {
    let mut above: Vec<usize> = (0..=word.len()).collect();
    for (line, other) in candidate.chars().enumerate() {
        let mut row = Vec::with_capacity(above.len());
        row.push(line.saturating_add(1));
        for (cells, character) in above.windows(2).zip(word) {
            let &[diagonal, up] = cells else { continue };
            let left = row.last().copied().unwrap_or(0);
            let change = diagonal.saturating_add(usize::from(*character != other));
            row.push(change.min(up.saturating_add(1)).min(left.saturating_add(1)));
        }
        above = row;
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_proposed() {
        let kinds = ["file.read", "file.write", "process.exec"];
        for (word, expected) in [
            ("file.raed", Some("did you mean `file.read`?")),
            ("proces.exec", Some("did you mean `process.exec`?")),
            ("File.Write", Some("did you mean `file.write`?")),
            ("x", Some("it may be: file.read, file.write, process.exec")),
        ] {
            assert_eq!(proposal(word, kinds).as_deref(), expected, "{word}");
        }
        assert_eq!(proposal("x", []), None);
        let word: Vec<char> = "kitten".chars().collect();
        assert_eq!(distance(&word, "sitting"), 3);
    }
}
