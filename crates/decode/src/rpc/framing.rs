//! Where messages begin and end in a stream.

use std::collections::VecDeque;

use agentsight_model::KTime;
use sha2::{Digest, Sha256};

use super::outline::Outline;
use crate::http::take_front;
use crate::text::hexadecimal;

/// Bytes kept of the beginning and of the end of a message that is too long to be kept.
const HEAD_BYTES: usize = 64 << 10;
const TAIL_BYTES: usize = 16 << 10;

/// Bytes of a block of header fields; real ones have two fields.
const HEADER_BYTES: usize = 4 << 10;

/// How every header field in use begins.
const HEADER_START: &[u8] = b"content-";

/// One message as it went by.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// All of it; of a long one, its beginning.
    head: Vec<u8>,
    /// Of a long one, its end.
    tail: VecDeque<u8>,
    /// Of a long one, what is needed of its structure, and its digest.
    long: Option<(Box<Outline>, Sha256)>,
    total: u64,
    pub(super) started: KTime,
    /// Whether it was seen to its end.
    pub(super) ended: bool,
}

impl Piece {
    fn new(started: KTime) -> Self {
        Self {
            started,
            ..Self::default()
        }
    }

    fn push(&mut self, bytes: &[u8], keep: usize) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        if self.long.is_none() {
            if self.head.len().saturating_add(bytes.len()) <= keep {
                self.head.extend_from_slice(bytes);
                return;
            }
            let mut begun = (Box::<Outline>::default(), Sha256::new());
            begun.0.push(&self.head);
            begun.1.update(&self.head);
            self.long = Some(begun);
            self.shorten();
        }
        if let Some((outline, digest)) = &mut self.long {
            outline.push(bytes);
            digest.update(bytes);
        }
        let room = HEAD_BYTES.saturating_sub(self.head.len());
        let (front, back) = bytes
            .split_at_checked(room.min(bytes.len()))
            .unwrap_or_default();
        self.head.extend_from_slice(front);
        self.keep_end(back);
    }

    /// Keeps the beginning, and what follows it as far as it is the end.
    fn shorten(&mut self) {
        let mut head = std::mem::take(&mut self.head);
        if head.len() > HEAD_BYTES {
            let rest = head.split_off(HEAD_BYTES);
            self.keep_end(&rest);
        }
        head.shrink_to_fit();
        self.head = head;
    }

    fn keep_end(&mut self, bytes: &[u8]) {
        let end = bytes
            .get(bytes.len().saturating_sub(TAIL_BYTES)..)
            .unwrap_or_default();
        let excess = self
            .tail
            .len()
            .saturating_add(end.len())
            .saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        self.tail.extend(end);
    }

    /// Its length.
    pub(super) fn total_bytes(&self) -> u64 {
        self.total
    }

    /// All of it, unless it was too long.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        self.long.is_none().then_some(self.head.as_slice())
    }

    /// Beginning, end and structure of one that was too long.
    pub(super) fn outline(&mut self) -> Option<(&[u8], Vec<u8>, &mut Outline)> {
        let tail = self.tail.iter().copied().collect();
        let (outline, _) = self.long.as_mut()?;
        Some((&self.head, tail, outline))
    }

    /// SHA-256 of what was seen.
    pub(super) fn sha256(&self) -> String {
        match &self.long {
            Some((_, digest)) => hexadecimal(&digest.clone().finalize()),
            None => hexadecimal(&Sha256::digest(&self.head)),
        }
    }

    fn held_bytes(&self) -> usize {
        self.head.len().saturating_add(self.tail.len())
    }

    /// Takes the carriage return off that ends a line.
    fn without_return(mut self) -> Self {
        if self.long.is_none() && self.head.last() == Some(&b'\r') {
            self.head.pop();
            self.total = self.total.saturating_sub(1);
        }
        self
    }
}

/// What stands in a stream.
pub(super) enum Unit {
    /// What may be a message.
    Piece(Piece),
    /// So many bytes of something else.
    Text(u64),
}

#[derive(Debug)]
enum State {
    /// Between messages.
    Between,
    /// In a line that may be a message.
    Line(Piece),
    /// In a line that is none, and how many bytes of it went by.
    Text(u64),
    /// In header fields.
    Header(Vec<u8>),
    /// In a body, with so many bytes to come.
    Body(Piece, u64),
}

/// Cuts a stream into units.
#[derive(Debug)]
pub(super) struct Framer {
    state: State,
    keep: usize,
}

impl Framer {
    /// A framer that keeps `keep` bytes of a message.
    pub(super) fn new(keep: usize) -> Self {
        Self {
            state: State::Between,
            keep,
        }
    }

    /// Takes bytes off the front of `input`, up to the end of a unit.
    pub(super) fn push(&mut self, time: KTime, input: &mut &[u8]) -> Option<Unit> {
        match &mut self.state {
            State::Between => {
                self.begin(time, input);
                None
            }
            State::Line(piece) => {
                let (line, ended) = take_line(input);
                piece.push(line, self.keep);
                if !ended {
                    return None;
                }
                let mut piece = std::mem::take(piece).without_return();
                piece.ended = true;
                self.state = State::Between;
                Some(Unit::Piece(piece))
            }
            State::Text(count) => {
                let (line, ended) = take_line(input);
                *count = count.saturating_add(line.len() as u64);
                ended.then(|| self.end_text())
            }
            State::Header(_) => self.header(time, input),
            State::Body(piece, left) => {
                let taken = take_front(input, *left);
                piece.push(taken, self.keep);
                *left = left.saturating_sub(taken.len() as u64);
                if *left > 0 {
                    return None;
                }
                piece.ended = true;
                let piece = std::mem::take(piece);
                self.state = State::Between;
                Some(Unit::Piece(piece))
            }
        }
    }

    fn begin(&mut self, time: KTime, input: &mut &[u8]) {
        let blank = |byte: &u8| byte.is_ascii_whitespace();
        let count = input
            .iter()
            .position(|byte| !blank(byte))
            .unwrap_or(input.len());
        take_front(input, count as u64);
        self.state = match input.first() {
            None => return,
            Some(b'{' | b'[') => State::Line(Piece::new(time)),
            Some(b'C' | b'c') => State::Header(Vec::new()),
            Some(_) => State::Text(0),
        };
    }

    fn end_text(&mut self) -> Unit {
        let count = match std::mem::replace(&mut self.state, State::Between) {
            State::Text(count) => count,
            State::Header(header) => header.len() as u64,
            _ => 0,
        };
        Unit::Text(count)
    }

    /// Reads header fields up to the blank line after them, one byte at a time: there are few.
    fn header(&mut self, time: KTime, input: &mut &[u8]) -> Option<Unit> {
        let State::Header(header) = &mut self.state else {
            return None;
        };
        while let Some((&byte, rest)) = input.split_first() {
            header.push(byte);
            let start = header.get(..HEADER_START.len()).unwrap_or(header);
            let is_header = HEADER_START
                .get(..start.len())
                .is_some_and(|expected| expected.eq_ignore_ascii_case(start));
            if !is_header {
                // The line may end with this very byte.
                header.pop();
                self.state = State::Text(header.len() as u64);
                return None;
            }
            *input = rest;
            let ends = header.ends_with(b"\r\n\r\n") || header.ends_with(b"\n\n");
            if ends && let Some(left) = content_length(header).filter(|left| *left > 0) {
                self.state = State::Body(Piece::new(time), left);
                return None;
            }
            if ends || header.len() >= HEADER_BYTES {
                return Some(self.end_text());
            }
        }
        None
    }

    /// Leaves out bytes that were not captured.
    pub(super) fn hole(&mut self, missing: u64) -> Option<Unit> {
        if let State::Body(piece, left) = &mut self.state
            && missing < *left
        {
            // The end is where it was, so what follows stays in step.
            *left = left.saturating_sub(missing);
            let piece = std::mem::take(piece);
            let left = *left;
            self.state = State::Body(Piece::default(), left);
            return Some(Unit::Piece(piece));
        }
        self.finish()
    }

    /// What is unfinished.
    pub(super) fn finish(&mut self) -> Option<Unit> {
        match std::mem::replace(&mut self.state, State::Between) {
            State::Between => None,
            State::Line(piece) | State::Body(piece, _) => Some(Unit::Piece(piece.without_return())),
            State::Text(count) => Some(Unit::Text(count)),
            State::Header(header) => Some(Unit::Text(header.len() as u64)),
        }
    }

    /// Bytes of the unit that is not finished: of text, and of what may be a message.
    pub(super) fn pending(&self) -> (u64, u64) {
        match &self.state {
            State::Between | State::Header(_) => (0, 0),
            State::Text(count) => (*count, 0),
            State::Line(piece) | State::Body(piece, _) => (0, piece.total),
        }
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        match &self.state {
            State::Between | State::Text(_) => 0,
            State::Header(header) => header.len(),
            State::Line(piece) | State::Body(piece, _) => piece.held_bytes(),
        }
    }
}

/// Takes what is left of a line, and its end if that is there.
fn take_line<'a>(input: &mut &'a [u8]) -> (&'a [u8], bool) {
    match memchr::memchr(b'\n', input) {
        None => (std::mem::take(input), false),
        Some(end) => {
            let line = take_front(input, end as u64);
            take_front(input, 1);
            (line, true)
        }
    }
}

fn content_length(header: &[u8]) -> Option<u64> {
    let header = std::str::from_utf8(header).ok()?;
    header.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.trim().eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok()).flatten()
    })
}
