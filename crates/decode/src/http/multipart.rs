//! Bodies of several parts (`multipart/form-data`, RFC 7578; `multipart/mixed`, RFC 2046), fed with any
//! runs of bytes.
//!
//! A part's content is counted and hashed whole; of its bytes only the first ones are kept, enough to
//! read a text field or to tell what a file is. Parts that are cut, or that bytes are missing of, come out
//! as far as they were seen and say so.

use memchr::memmem::Finder;
use sha2::{Digest, Sha256};

use super::head::parse_fields;
use super::message::Headers;
use crate::text::hexadecimal;

/// Bytes kept of one part's content.
const KEEP_BYTES: usize = 256 << 10;

/// Bytes kept of all parts' content.
const KEEP_TOTAL_BYTES: usize = 8 << 20;

/// Bytes of one part's header fields.
const HEAD_BYTES: usize = 16 << 10;

/// Parts of one body; more are counted.
const MAX_PARTS: usize = 1024;

/// RFC 2046, section 5.1.1.
const MAX_BOUNDARY_BYTES: usize = 70;

/// Blanks between a delimiter and the end of its line.
const MAX_BLANK_BYTES: usize = 256;

/// The empty line that ends a head, with the end of the line before it.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A line end.
const LINE_END_BYTES: usize = 2;

/// One part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Its header fields.
    pub headers: Headers,
    /// The first bytes of its content.
    pub head: Vec<u8>,
    /// Bytes of its content.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// Whether all of it was seen.
    pub complete: bool,
}

impl Part {
    /// The name of the field that it is; empty if it has none.
    #[must_use]
    pub fn name(&self) -> String {
        self.disposition("name").unwrap_or_default()
    }

    /// The file's name, if it is a file.
    #[must_use]
    pub fn filename(&self) -> Option<String> {
        self.disposition("filename")
    }

    /// Its declared media type, in lower case; empty if none is declared.
    #[must_use]
    pub fn media_type(&self) -> String {
        let value = self.headers.get("content-type").unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }

    fn disposition(&self, name: &str) -> Option<String> {
        parameter(self.headers.get("content-disposition")?, name)
    }
}

/// The boundary that a `Content-Type` names, if it is that of a body of several parts.
#[must_use]
pub fn boundary_of(content_type: &str) -> Option<String> {
    let kind = content_type.trim_start().get(..10)?;
    let boundary = kind
        .eq_ignore_ascii_case("multipart/")
        .then(|| parameter(content_type, "boundary"))??;
    (1..=MAX_BOUNDARY_BYTES)
        .contains(&boundary.len())
        .then_some(boundary)
}

/// A parameter of a header field, unquoted; `None` if there is none of that name.
fn parameter(field: &str, wanted: &str) -> Option<String> {
    let (_, mut rest) = field.split_once(';')?;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = take_value(after);
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// Takes a parameter's value, and gives what follows the semicolon after it.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return (value.trim().to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            // Browsers leave backslashes of file names alone: only these two are escapes in practice.
            '\\' => match characters.clone().next() {
                Some(escaped @ ('"' | '\\')) => {
                    characters.next();
                    value.push(escaped);
                }
                _ => value.push('\\'),
            },
            _ => value.push(character),
        }
    }
    let rest = characters.as_str();
    (value, rest.split_once(';').map_or("", |(_, rest)| rest))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first delimiter, or after bytes that are missing.
    Preamble,
    /// After a delimiter: the end of its line or of the body follows.
    Delimiter,
    /// Inside the header fields of a part.
    Head,
    /// Inside the content of a part.
    Content,
    /// After the last delimiter.
    End,
}

/// An incremental parser.
#[derive(Debug)]
pub struct Parser {
    /// Line end, two dashes and the boundary.
    delimiter: Finder<'static>,
    state: State,
    /// What to go on with if what looked like a delimiter is none.
    before_delimiter: State,
    /// Bytes that are not dealt with yet.
    pending: Vec<u8>,
    part: Option<Open>,
    parts_count: usize,
    kept_bytes: usize,
    dropped_count: u64,
}

/// A part while its content comes.
#[derive(Debug)]
struct Open {
    part: Part,
    digest: Sha256,
    /// Bytes of the line end that parts content from head.
    skip_bytes: usize,
    keep_bytes: usize,
}

impl Parser {
    /// A parser of a body whose parts `boundary` separates.
    #[must_use]
    pub fn new(boundary: &str) -> Self {
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        Self {
            delimiter: Finder::new(&delimiter).into_owned(),
            state: State::Preamble,
            before_delimiter: State::Preamble,
            // The first delimiter may be the first line.
            pending: b"\r\n".to_vec(),
            part: None,
            parts_count: 0,
            kept_bytes: 0,
            dropped_count: 0,
        }
    }

    /// Takes bytes and appends the parts that they complete to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Part>) {
        let mut held = std::mem::take(&mut self.pending);
        held.extend_from_slice(bytes);
        let mut rest = held.as_slice();
        while self.step(&mut rest, out) {}
        let count = held.len().saturating_sub(rest.len());
        held.drain(..count);
        self.pending = held;
    }

    /// Notes that bytes are missing here. The part in progress ends; the next one is searched for.
    pub fn gap(&mut self, out: &mut Vec<Part>) {
        self.cut(out);
        if self.state != State::End {
            self.state = State::Preamble;
        }
    }

    /// Ends the body. Whether it was whole: its last delimiter was seen.
    pub fn finish(mut self, out: &mut Vec<Part>) -> bool {
        self.cut(out);
        self.state == State::End
    }

    /// Parts that were given up: there were too many, or their header fields were too long.
    #[must_use]
    pub fn dropped_count(&self) -> u64 {
        self.dropped_count
    }

    /// Ends the part in progress where it is.
    fn cut(&mut self, out: &mut Vec<Part>) {
        let pending = std::mem::take(&mut self.pending);
        if self.state == State::Content {
            self.content(&pending);
        }
        self.close(false, out);
    }

    /// Goes one step on; false if more bytes are needed.
    fn step(&mut self, rest: &mut &[u8], out: &mut Vec<Part>) -> bool {
        match self.state {
            State::Preamble | State::Content => self.pass_to_delimiter(rest),
            State::Delimiter => self.after_delimiter(rest, out),
            State::Head => self.head(rest),
            State::End => {
                *rest = &[];
                false
            }
        }
    }

    /// Passes over content up to a delimiter, or up to what may become one.
    fn pass_to_delimiter(&mut self, rest: &mut &[u8]) -> bool {
        let length = self.delimiter.needle().len();
        let found = self.delimiter.find(rest);
        let end = found.unwrap_or_else(|| rest.len().saturating_sub(length.saturating_sub(1)));
        let (content, after) = rest.split_at_checked(end).unwrap_or_default();
        if self.state == State::Content {
            self.content(content);
        }
        *rest = after;
        if found.is_some() {
            *rest = after.get(length..).unwrap_or_default();
            self.before_delimiter = self.state;
            self.state = State::Delimiter;
        }
        found.is_some()
    }

    /// Judges what follows a delimiter. If it is neither the end of the line nor of the body, this was
    /// content that only looks like one.
    fn after_delimiter(&mut self, rest: &mut &[u8], out: &mut Vec<Part>) -> bool {
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        let blanks = rest.iter().take(MAX_BLANK_BYTES).take_while(is_blank);
        let line = rest.get(blanks.count()..).unwrap_or_default();
        match line {
            [] | [_] => return false,
            [b'-', b'-', ..] => {
                self.close(true, out);
                self.state = State::End;
            }
            [b'\r', b'\n', ..] => {
                self.close(true, out);
                // The line end stays: together with an empty line it ends a head without fields.
                *rest = line;
                self.state = State::Head;
            }
            _ => {
                self.state = self.before_delimiter;
                if self.state == State::Content {
                    let looked_like = self.delimiter.needle().to_vec();
                    self.content(&looked_like);
                }
            }
        }
        true
    }

    fn head(&mut self, rest: &mut &[u8]) -> bool {
        let found = memchr::memmem::find(rest, HEAD_END);
        let longest =
            found.unwrap_or_else(|| rest.len().saturating_sub(HEAD_END.len().saturating_sub(1)));
        if longest > HEAD_BYTES {
            self.dropped_count = self.dropped_count.saturating_add(1);
            self.state = State::Preamble;
            return true;
        }
        let Some(end) = found else {
            return false;
        };
        let (fields, after) = rest.split_at_checked(end).unwrap_or_default();
        self.open(parse_fields(fields));
        // The second line end may begin the delimiter that ends a part without content.
        *rest = after.get(LINE_END_BYTES..).unwrap_or_default();
        self.state = State::Content;
        true
    }

    fn open(&mut self, headers: Headers) {
        if self.parts_count >= MAX_PARTS {
            self.dropped_count = self.dropped_count.saturating_add(1);
            return;
        }
        self.parts_count = self.parts_count.saturating_add(1);
        let room = KEEP_TOTAL_BYTES.saturating_sub(self.kept_bytes);
        self.part = Some(Open {
            part: Part {
                headers,
                ..Part::default()
            },
            digest: Sha256::new(),
            skip_bytes: LINE_END_BYTES,
            keep_bytes: KEEP_BYTES.min(room),
        });
    }

    fn content(&mut self, bytes: &[u8]) {
        if let Some(open) = &mut self.part {
            open.take(bytes);
        }
    }

    fn close(&mut self, complete: bool, out: &mut Vec<Part>) {
        if let Some(open) = self.part.take() {
            let mut part = open.part;
            part.complete = complete;
            part.sha256 = hexadecimal(&open.digest.finalize());
            self.kept_bytes = self.kept_bytes.saturating_add(part.head.len());
            out.push(part);
        }
    }
}

impl Open {
    fn take(&mut self, bytes: &[u8]) {
        let skipped = self.skip_bytes.min(bytes.len());
        self.skip_bytes = self.skip_bytes.saturating_sub(skipped);
        let bytes = bytes.get(skipped..).unwrap_or_default();
        self.digest.update(bytes);
        self.part.bytes = self.part.bytes.saturating_add(bytes.len() as u64);
        let room = self.keep_bytes.saturating_sub(self.part.head.len());
        self.part
            .head
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}

#[cfg(test)]
mod tests;
