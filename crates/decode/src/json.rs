//! JSON that may be cut, broken, too deep or too large: what can be read of it is read.
//!
//! Nothing is rejected as a whole. A document that ends early gives the values that were complete and
//! the beginning of the string in which it stopped. Containers nested too deeply are kept as the text
//! that they are, so that every value can be written and read again by recursive code.

mod scan;

use serde_json::{Map, Number, Value};

use scan::container_end;
pub(crate) use scan::{elements, members, only_element, unquote, whole_members};

/// Containers nested deeper than this stay text. Readers of what we write stop at 128 levels, and a
/// value becomes part of larger ones.
const MAX_DEPTH: usize = 96;

/// Values in one document. Small ones take about a hundred times their size in memory.
const MAX_VALUES: usize = 1 << 20;

/// Why a document was not read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It ends before its end.
    Truncated,
    /// It is no JSON from some point on.
    Malformed,
    /// It holds more values than the limit.
    TooLarge,
    /// Parts of it were given up, because they are not what was sent.
    Damaged,
}

/// What was read of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) value: Value,
    pub(crate) problem: Option<Problem>,
}

/// Reads a document.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let mut parser = Parser::new(bytes);
    let value = parser.value(0);
    if parser.problem.is_none() && parser.peek().is_some() {
        parser.problem = Some(Problem::Malformed);
    }
    Parsed {
        value,
        problem: parser.problem,
    }
}

/// Reads documents that stand one after the other, each on a line of its own or not, until `take` says
/// no more. After one that cannot be read to its end, reading goes on in the next line.
pub(crate) fn parse_each(bytes: &[u8], take: &mut dyn FnMut(Parsed) -> bool) {
    let mut parser = Parser::new(bytes);
    while parser.peek().is_some() {
        parser.values_left = MAX_VALUES;
        let value = parser.value(0);
        let problem = parser.problem.take();
        if problem.is_some() {
            let line = memchr::memchr(b'\n', parser.rest());
            parser.advance(line.map_or(usize::MAX, |end| end.saturating_add(1)));
        }
        if !take(Parsed { value, problem }) {
            return;
        }
    }
}

/// The value that a text is, or the text itself where it is no JSON.
pub(crate) fn parse_or_text(text: String) -> Value {
    match parse(text.as_bytes()) {
        Parsed {
            value,
            problem: None,
        } => value,
        _ => Value::String(text),
    }
}

/// Appends what a string says that is given as it is written, quotes and all.
pub(crate) fn append_string(written: &[u8], text: &mut String) {
    match std::str::from_utf8(unquote(written)) {
        Ok(plain) if !plain.contains('\\') => text.push_str(plain),
        _ => text.push_str(&Parser::new(written).string()),
    }
}

/// Whether a body may be a JSON document with an object or array at its top.
pub(crate) fn looks_like_document(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Whether an object is followed by another one.
pub(crate) fn is_sequence(bytes: &[u8]) -> bool {
    let end = container_end(bytes);
    let rest = end.and_then(|end| bytes.get(end..)).unwrap_or_default();
    rest.trim_ascii_start().first() == Some(&b'{')
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    values_left: usize,
    problem: Option<Problem>,
}

impl<'a> Parser<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes: bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes),
            at: 0,
            values_left: MAX_VALUES,
            problem: None,
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
        let rest = self.rest();
        let count = rest.iter().position(|b| !blank(b)).unwrap_or(rest.len());
        self.advance(count);
        self.rest().first().copied()
    }

    /// Notes why reading stops here: the end of the document, or what stands in it.
    fn fail(&mut self) {
        let problem = match self.peek() {
            None => Problem::Truncated,
            Some(_) => Problem::Malformed,
        };
        self.problem.get_or_insert(problem);
    }

    fn value(&mut self, depth: usize) -> Value {
        let Some(left) = self.values_left.checked_sub(1) else {
            self.problem.get_or_insert(Problem::TooLarge);
            return Value::Null;
        };
        self.values_left = left;
        match self.peek() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => self.container_text(),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Value::String(self.string()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => {
                self.fail();
                Value::Null
            }
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut map = Map::new();
        self.advance(1);
        if self.ends_with(b'}') {
            return Value::Object(map);
        }
        while self.problem.is_none() {
            if self.peek() != Some(b'"') {
                self.fail();
                break;
            }
            let key = self.string();
            if self.problem.is_some() || !self.expect(b':') {
                break;
            }
            let value = self.value(depth.saturating_add(1));
            if !self.is_missing(&value) {
                map.insert(key, value);
            }
            if self.problem.is_some() || !self.continues(b'}') {
                break;
            }
        }
        Value::Object(map)
    }

    fn array(&mut self, depth: usize) -> Value {
        let mut items = Vec::new();
        self.advance(1);
        if self.ends_with(b']') {
            return Value::Array(items);
        }
        while self.problem.is_none() {
            let value = self.value(depth.saturating_add(1));
            if !self.is_missing(&value) {
                items.push(value);
            }
            if self.problem.is_some() || !self.continues(b']') {
                break;
            }
        }
        Value::Array(items)
    }

    /// Whether a value stands for one that was not there any more.
    fn is_missing(&self, value: &Value) -> bool {
        self.problem.is_some() && value.is_null()
    }

    fn ends_with(&mut self, end: u8) -> bool {
        let ends = self.peek() == Some(end);
        self.advance(usize::from(ends));
        ends
    }

    fn expect(&mut self, wanted: u8) -> bool {
        let found = self.ends_with(wanted);
        if !found {
            self.fail();
        }
        found
    }

    /// Whether another member follows; if neither a comma nor `end` stands here, that is a problem.
    fn continues(&mut self, end: u8) -> bool {
        !self.ends_with(end) && self.expect(b',')
    }

    fn word(&mut self, word: &str, value: Value) -> Value {
        let rest = self.rest();
        if rest.starts_with(word.as_bytes()) {
            self.advance(word.len());
            return value;
        }
        if word.as_bytes().starts_with(rest) {
            self.advance(rest.len());
        }
        self.fail();
        Value::Null
    }

    fn number(&mut self) -> Value {
        let rest = self.rest();
        let part = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let count = rest.iter().position(|b| !part(b)).unwrap_or(rest.len());
        let digits = rest.get(..count).unwrap_or_default();
        if let Ok(number) = serde_json::from_slice::<Number>(digits) {
            self.advance(count);
            return Value::Number(number);
        }
        if count == rest.len() {
            self.advance(count);
        }
        self.fail();
        Value::Null
    }

    /// Reads a string; the quote is the next byte.
    fn string(&mut self) -> String {
        self.advance(1);
        let mut text = Vec::new();
        loop {
            let rest = self.rest();
            let Some(end) = memchr::memchr2(b'"', b'\\', rest) else {
                text.extend_from_slice(rest);
                self.advance(rest.len());
                self.problem.get_or_insert(Problem::Truncated);
                break;
            };
            let (plain, after) = rest.split_at_checked(end).unwrap_or_default();
            text.extend_from_slice(plain);
            self.advance(end.saturating_add(1));
            if after.first() == Some(&b'"') {
                break;
            }
            self.escape(&mut text);
        }
        match String::from_utf8(text) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    /// Reads what follows a backslash. What is no escape is kept as it stands.
    fn escape(&mut self, text: &mut Vec<u8>) {
        let Some(&letter) = self.rest().first() else {
            return;
        };
        self.advance(1);
        let plain = match letter {
            b'"' | b'\\' | b'/' => letter,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode_escape(text),
            _ => {
                text.push(b'\\');
                letter
            }
        };
        text.push(plain);
    }

    fn unicode_escape(&mut self, text: &mut Vec<u8>) {
        let Some(unit) = hex4(self.rest()) else {
            text.extend_from_slice(b"\\u");
            return;
        };
        self.advance(4);
        let low = self.rest().strip_prefix(b"\\u").and_then(hex4);
        let pair = low.and_then(|low| char::decode_utf16([unit, low]).next()?.ok());
        let character = match pair {
            Some(character) if (0xd800..0xdc00).contains(&unit) => {
                self.advance(6);
                character
            }
            _ => char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER),
        };
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Passes over a container, however deep, and gives it as the text that it is.
    fn container_text(&mut self) -> Value {
        let rest = self.rest();
        let end = container_end(rest);
        if end.is_none() {
            self.problem.get_or_insert(Problem::Truncated);
        }
        let count = end.unwrap_or(rest.len());
        self.advance(count);
        let text = rest.get(..count).unwrap_or_default();
        Value::String(String::from_utf8_lossy(text).into_owned())
    }
}

fn hex4(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.get(..4)?;
    let valid = digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| valid)?;
    u16::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests;
