//! From the text of a condition to its words.

use super::ExprError;

/// A word of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Ident(String),
    Int(i64),
    Text(String),
    /// An operator or a bracket.
    Mark(&'static str),
    End,
}

/// Longest first, so that `<=` is not `<`.
const MARKS: &[&str] = &[
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")",
    "[", "]", ",", ".",
];

/// The words of a text, each with the byte at which it begins.
pub(crate) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ExprError> {
    let mut found = Vec::new();
    let mut offset = 0;
    while let Some(rest) = text.get(offset..).filter(|rest| !rest.is_empty()) {
        let Some(first) = rest.chars().next() else {
            break;
        };
        if first.is_whitespace() {
            offset = offset.saturating_add(first.len_utf8());
            continue;
        }
        if rest.starts_with("//") {
            offset = offset.saturating_add(rest.find('\n').unwrap_or(rest.len()));
            continue;
        }
        let (token, length) = token(rest, first, offset)?;
        found.push((offset, token));
        offset = offset.saturating_add(length);
    }
    found.push((text.len(), Token::End));
    Ok(found)
}

fn token(rest: &str, first: char, offset: usize) -> Result<(Token, usize), ExprError> {
    if first == '"' || first == '\'' {
        return string(rest, first, offset);
    }
    if (first == 'r' || first == 'R')
        && let Some(quote @ ('"' | '\'')) = rest.chars().nth(1)
    {
        return raw_string(rest, quote, offset);
    }
    if first.is_ascii_digit() {
        return number(rest, offset);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        return Ok((Token::Ident(word.to_owned()), length));
    }
    let mut marks = MARKS.iter();
    marks
        .find(|mark| rest.starts_with(**mark))
        .map(|mark| (Token::Mark(mark), mark.len()))
        .ok_or_else(|| ExprError::new(offset, format!("unexpected character `{first}`")))
}

fn number(rest: &str, offset: usize) -> Result<(Token, usize), ExprError> {
    let length = rest
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(rest.len());
    let digits = rest.get(..length).unwrap_or_default();
    let value = match digits.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    value
        .map(|value| (Token::Int(value), length))
        .map_err(|_| ExprError::new(offset, format!("`{digits}` is no integer of 64 bits")))
}

fn unclosed(offset: usize) -> ExprError {
    ExprError::new(offset, "a string is not closed")
}

fn raw_string(rest: &str, quote: char, offset: usize) -> Result<(Token, usize), ExprError> {
    let body = rest.get(2..).unwrap_or_default();
    let end = body.find(quote).ok_or_else(|| unclosed(offset))?;
    let text = body.get(..end).unwrap_or_default();
    Ok((Token::Text(text.to_owned()), end.saturating_add(3)))
}

fn string(rest: &str, quote: char, offset: usize) -> Result<(Token, usize), ExprError> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\n' => break,
            '\\' => {
                let (_, escaped) = characters.next().ok_or_else(|| unclosed(offset))?;
                text.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    '\\' | '"' | '\'' | '`' | '?' => escaped,
                    other => {
                        let at = offset.saturating_add(at);
                        let message = format!("unknown escape `\\{other}` in a string");
                        let mut error = ExprError::new(at, message);
                        error.complaint.hint = Some(
                            "write `\\\\` for a backslash, or a raw string: r'...'".to_owned(),
                        );
                        return Err(error);
                    }
                });
            }
            character if character == quote => {
                return Ok((Token::Text(text), at.saturating_add(1)));
            }
            character => text.push(character),
        }
    }
    Err(unclosed(offset))
}
