//! What a condition needs an event to have: texts, of which one must be within a fact.
//!
//! Lets a rule without a matcher be filed under these texts, so that it is asked only about events that have
//! one of them. Whatever is not understood here only makes a rule be asked more often.

use regex_syntax::hir::{Hir, HirKind};

use crate::expr::{Compare, Pred, Text, TextTest};
use crate::field::Field;
use crate::matcher::{Anchor, Key};

/// Texts that one rule is filed under.
const MAX_TEXTS: usize = 64;
/// Shortest text that is searched for. Commands such as `rm` and `nc` have two letters.
const MIN_TEXT: usize = 2;
/// Nesting of a regular expression that is looked into.
const MAX_DEPTH: usize = 32;

/// Texts of which one must be within the text of the key, if the condition is to hold.
struct Needs {
    key: Key,
    texts: Vec<String>,
}

/// The anchor that a condition gives, if it gives one.
pub(crate) fn of_condition(pred: &Pred) -> Option<Anchor> {
    let needs = needs(pred)?;
    let useful =
        needs.texts.len() <= MAX_TEXTS && needs.texts.iter().all(|text| text.len() >= MIN_TEXT);
    useful.then_some(Anchor::Literal(needs.key, needs.texts))
}

fn key_of(text: &Text) -> Option<Key> {
    match text {
        Text::Field(Field::ProcessCommand) => Some(Key::Command),
        // A name is part of the path.
        Text::Field(Field::ProcessName | Field::ProcessExe) => Some(Key::Exe),
        Text::Field(Field::FilePath | Field::FileName) => Some(Key::Path),
        Text::Field(Field::ToolName) => Some(Key::Tool),
        Text::Field(Field::Operation) => Some(Key::Operation),
        _ => None,
    }
}

fn needs(pred: &Pred) -> Option<Needs> {
    match pred {
        Pred::And(left, right) => match (needs(left), needs(right)) {
            (Some(left), Some(right)) => Some(if rank(&left.texts) >= rank(&right.texts) {
                left
            } else {
                right
            }),
            (left, right) => left.or(right),
        },
        Pred::Or(left, right) => {
            let (mut left, right) = (needs(left)?, needs(right)?);
            left.texts.extend(right.texts);
            (left.key == right.key).then_some(left)
        }
        Pred::Matches(text, regex) => {
            let hir = regex_syntax::parse(regex.as_str()).ok()?;
            Some(Needs {
                key: key_of(text)?,
                texts: required(&hir, 0)?,
            })
        }
        Pred::InSet(text, set) => Some(Needs {
            key: key_of(text)?,
            texts: set.iter().cloned().collect(),
        }),
        Pred::Texts(Compare::Equal, text, Text::Const(part))
        | Pred::Test(
            TextTest::Contains | TextTest::StartsWith | TextTest::EndsWith,
            text,
            Text::Const(part),
        ) => Some(Needs {
            key: key_of(text)?,
            texts: vec![part.to_string()],
        }),
        _ => None,
    }
}

/// How good a set of texts is: by its shortest one.
fn rank(texts: &[String]) -> usize {
    texts.iter().map(String::len).min().unwrap_or(0)
}

/// Texts of which every match of the expression has one.
fn required(hir: &Hir, depth: usize) -> Option<Vec<String>> {
    let below = depth.saturating_add(1);
    if depth > MAX_DEPTH {
        return None;
    }
    match hir.kind() {
        HirKind::Literal(literal) => {
            let text = String::from_utf8(literal.0.to_vec()).ok()?;
            Some(vec![text])
        }
        HirKind::Capture(capture) => required(&capture.sub, below),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub, below),
        HirKind::Concat(parts) => {
            let texts = parts.iter().filter_map(|part| required(part, below));
            texts
                .filter(|texts| texts.len() <= MAX_TEXTS)
                .max_by_key(|texts| rank(texts))
        }
        HirKind::Alternation(parts) => {
            let texts: Option<Vec<_>> = parts.iter().map(|part| required(part, below)).collect();
            Some(texts?.concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    fn texts(pattern: &str) -> Option<Vec<String>> {
        required(&regex_syntax::parse(pattern).unwrap(), 0)
    }

    #[test]
    fn texts_that_every_match_has() {
        for (pattern, expected) in [
            ("(curl|wget)\\s+x", Some(vec!["curl", "wget"])),
            ("a?b*", None),
            (
                "(stratum\\+(tcp|ssl)://|--donate)",
                Some(vec!["stratum+", "--donate"]),
            ),
            ("(?i)abc", None),
            ("(abc)+d?", Some(vec!["abc"])),
            ("(abc|d?)x", Some(vec!["x"])),
            ("", None),
        ] {
            let found = texts(pattern).map(|mut texts| {
                texts.sort();
                texts
            });
            let expected = expected.map(|texts| {
                let mut texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
                texts.sort();
                texts
            });
            assert_eq!(found, expected, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn what_matches_has_one_of_them(pattern in "[ab(|)?*+.]{0,12}", text in "[ab]{0,12}") {
            let (Ok(regex), Ok(hir)) = (Regex::new(&pattern), regex_syntax::parse(&pattern)) else {
                return Ok(());
            };
            if let Some(texts) = required(&hir, 0) && regex.is_match(&text) {
                prop_assert!(texts.iter().any(|part| text.contains(part.as_str())), "{pattern} {text} {texts:?}");
            }
        }
    }
}
