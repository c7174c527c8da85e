//! Patterns of a user's own, for what only that user knows to be secret.

use regex::{Regex, RegexBuilder};

/// Longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1000;

/// Most memory that a compiled pattern may take. Matching takes time linear in the text, whatever the pattern.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Groups in groups.
const MAX_NESTING: u32 = 32;

/// A pattern, and the kind of credential that it finds.
#[derive(Clone, Debug)]
pub struct OwnPattern {
    pub(super) kind: String,
    pub(super) regex: Regex,
}

impl OwnPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If the kind is not of 1 to 32 small letters and underscores, or the pattern is no regular expression
    /// (syntax of the crate `regex`), too large, or matches an empty text.
    pub fn new(kind: &str, pattern: &str) -> Result<Self, String> {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        if kind.is_empty() || kind.len() > 32 || !kind.bytes().all(is_letter) {
            return Err("a kind is 1 to 32 small letters and underscores".to_owned());
        }
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(format!("a pattern has at most {MAX_PATTERN_BYTES} bytes"));
        }
        let regex = RegexBuilder::new(pattern)
            .size_limit(MAX_COMPILED_BYTES)
            .nest_limit(MAX_NESTING)
            .build()
            .map_err(|error| {
                let whole = error.to_string();
                // The last line says what is wrong; those before draw where.
                let last = whole.lines().last().unwrap_or_default();
                last.trim_start_matches("error: ").to_owned()
            })?;
        if regex.is_match("") {
            return Err("the pattern matches an empty text".to_owned());
        }
        Ok(Self {
            kind: kind.to_owned(),
            regex,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::redact::Redactor;

    #[test]
    fn patterns_that_cannot_be_are_refused() {
        for (kind, pattern) in [
            ("", "x"),
            ("Big", "x"),
            ("kind", "("),
            ("kind", "x*"),
            ("kind", "[0-9]{1000}{1000}"),
            ("kind", &"x".repeat(2000)),
        ] {
            assert!(OwnPattern::new(kind, pattern).is_err(), "{kind} {pattern}");
        }
    }

    #[test]
    fn own_patterns_replace_what_they_find_but_no_marks() {
        let own = vec![
            OwnPattern::new("customer", r"CN-[0-9]{6}").unwrap(),
            // Everything in a mark looks like that.
            OwnPattern::new("word", r"[a-z0-9]{5,}").unwrap(),
        ];
        let redactor = Redactor::with_own([7; 32], own);
        let once = redactor
            .text("CN-123456, AKIAQ7XW2MZP4RTY6NBD, hello")
            .into_owned();
        let kinds: Vec<&str> = once
            .split("[redacted:")
            .skip(1)
            .filter_map(|mark| mark.split(':').next())
            .collect();
        assert_eq!(kinds, ["customer", "aws_key", "word"], "{once}");
        assert!(matches!(redactor.text(&once), Cow::Borrowed(_)));
        assert!(matches!(redactor.text("CN-12"), Cow::Borrowed(_)));
    }
}
