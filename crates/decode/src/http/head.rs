//! Heads of HTTP/1 messages: start line and header fields.
//!
//! The reader is lenient while it is in step with the stream, because clients and servers are. When it
//! is not (watching began in the middle, or bytes were lost) it hunts for the next head and is strict.

use agentsight_model::KTime;

use super::chunked::{is_blank, take_line};
use super::message::{Headers, StartLine};

/// A head, read whole.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) start: Start,
    pub(super) headers: Headers,
    /// When its first byte went by.
    pub(super) started: KTime,
}

/// A start line, and what only the decoder of HTTP/1 needs to know of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Of an HTTP/1 message.
    Message(StartLine),
    /// `PRI * HTTP/2.0`: the bytes that follow are HTTP/2.
    Http2,
}

/// Collects the lines of a head.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// Whole lines of the head, then the one being read.
    buffer: Vec<u8>,
    line_start: usize,
    started: KTime,
    line_started: KTime,
    /// Whether the start of the next message must be searched for.
    hunting: bool,
    /// Whether the line being read was given up because of its length.
    skipping: bool,
    /// Whether the reader fell out of step since that was asked last; it may be in step again.
    lost_step: bool,
    skipped_bytes: u64,
}

impl HeadReader {
    /// A reader that is out of step with the stream.
    pub(super) fn hunting() -> Self {
        Self {
            hunting: true,
            ..Self::default()
        }
    }

    /// Whether the reader is out of step with the stream.
    pub(super) fn is_hunting(&self) -> bool {
        self.hunting
    }

    /// Whether the reader fell out of step with the stream since that was asked last.
    pub(super) fn take_lost_step(&mut self) -> bool {
        std::mem::take(&mut self.lost_step)
    }

    fn lose_step(&mut self) {
        self.lost_step |= !self.hunting;
        self.hunting = true;
    }

    /// Bytes passed over so far that are part of no message.
    pub(super) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped_bytes)
    }

    /// Gives up what was read of a head, because bytes after it are missing or there are none.
    pub(super) fn abandon(&mut self) {
        self.skip_buffer();
        self.skipping = false;
        self.hunting = true;
    }

    /// Bytes of an unfinished head.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes bytes off the front of `input`, up to the end of a head.
    pub(super) fn push(
        &mut self,
        input: &mut &[u8],
        time: KTime,
        limit_bytes: usize,
    ) -> Option<Head> {
        while !input.is_empty() {
            if self.buffer.len() == self.line_start {
                self.line_started = time;
            }
            let whole = take_line(input, &mut self.buffer, limit_bytes);
            if !whole && self.buffer.len() >= limit_bytes {
                self.skip_buffer();
                self.lose_step();
                self.skipping = true;
            } else if whole && std::mem::take(&mut self.skipping) {
                self.skip_buffer();
            } else if whole && self.end_line() {
                return self.finish();
            }
        }
        None
    }

    /// Judges the line just read; true if it ended a head.
    fn end_line(&mut self) -> bool {
        let line = self.buffer.get(self.line_start..).unwrap_or_default();
        if self.line_start > 0 && is_blank(line) {
            return true;
        }
        if self.line_start > 0 && (!self.hunting || is_field(line)) {
            self.line_start = self.buffer.len();
            return false;
        }
        self.try_start(self.line_start);
        false
    }

    /// Begins a head with the line at `offset`, or passes over it.
    fn try_start(&mut self, offset: usize) {
        let line = self.buffer.split_off(offset);
        self.skip_buffer();
        if parse_start(&line).is_some() {
            self.line_start = line.len();
            self.started = self.line_started;
            self.buffer = line;
        } else if !is_blank(&line) {
            self.lose_step();
            self.skipped_bytes = self.skipped_bytes.saturating_add(line.len() as u64);
        }
    }

    fn skip_buffer(&mut self) {
        self.skipped_bytes = self.skipped_bytes.saturating_add(self.buffer.len() as u64);
        self.buffer.clear();
        self.line_start = 0;
    }

    fn finish(&mut self) -> Option<Head> {
        let buffer = std::mem::take(&mut self.buffer);
        self.line_start = 0;
        self.hunting = false;
        let end = memchr::memchr(b'\n', &buffer)?.saturating_add(1);
        let (line, fields) = buffer.split_at_checked(end)?;
        Some(Head {
            start: parse_start(line)?,
            headers: parse_fields(fields),
            started: self.started,
        })
    }
}

/// Parses a start line, with its line end.
fn parse_start(line: &[u8]) -> Option<Start> {
    let line = line.trim_ascii_end();
    if let Some(rest) = line.strip_prefix(b"HTTP/1.") {
        return parse_status(rest).map(Start::Message);
    }
    let end = memchr::memrchr(b' ', line)?;
    let (request, version) = line.split_at_checked(end)?;
    let begin = memchr::memchr(b' ', request)?;
    let (method, target) = request.split_at_checked(begin)?;
    let target = target.trim_ascii_start();
    let valid = method.first().is_some_and(u8::is_ascii_uppercase)
        && method.len() <= 32
        && method.iter().copied().all(is_token_byte)
        && !target.is_empty()
        && !target
            .iter()
            .any(|b| b.is_ascii_whitespace() || b.is_ascii_control());
    match version {
        b" HTTP/1.1" | b" HTTP/1.0" if valid => Some(Start::Message(StartLine::Request {
            method: lossy(method),
            target: lossy(target),
        })),
        b" HTTP/2.0" if method == b"PRI" && target == b"*" => Some(Start::Http2),
        _ => None,
    }
}

/// Parses what follows `HTTP/1.` in a status line.
fn parse_status(rest: &[u8]) -> Option<StartLine> {
    let (minor, rest) = rest.split_first()?;
    let (code, reason) = rest.strip_prefix(b" ")?.split_at_checked(3)?;
    let status: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
    let separated = reason.is_empty() || reason.first() == Some(&b' ');
    (minor.is_ascii_digit() && separated && (100..1000).contains(&status)).then(|| {
        StartLine::Response {
            status,
            reason: lossy(reason.trim_ascii()),
        }
    })
}

/// Parses header or trailer fields. Lines that are none are left out, as recipients do.
pub(super) fn parse_fields(block: &[u8]) -> Headers {
    let mut headers = Headers::default();
    for line in block.split(|&b| b == b'\n') {
        if line.first().is_some_and(|&b| b == b' ' || b == b'\t') {
            headers.fold(&lossy(line.trim_ascii()));
        } else if let Some((name, value)) = split_field(line) {
            headers.push(lossy(name), lossy(value.trim_ascii()));
        }
    }
    headers
}

fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = line.split_at_checked(colon)?;
    let name = name.trim_ascii_end();
    let valid = !name.is_empty() && name.iter().copied().all(is_token_byte);
    valid.then(|| (name, value.get(1..).unwrap_or_default()))
}

/// Whether a line after the start line is a field or continues one.
fn is_field(line: &[u8]) -> bool {
    line.first().is_some_and(|&b| b == b' ' || b == b'\t') || split_field(line).is_some()
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
