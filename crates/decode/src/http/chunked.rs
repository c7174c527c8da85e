//! The chunked transfer coding (RFC 9112, section 7.1), fed with any runs of bytes.

use super::head::parse_fields;
use super::message::Headers;

/// A chunk size with its extensions. Real ones take a few bytes.
const MAX_SIZE_LINE_BYTES: usize = 16 * 1024;

/// All trailer fields of a message together.
const MAX_TRAILER_BYTES: usize = 64 * 1024;

/// What a run of bytes led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More bytes are needed.
    More,
    /// The body has ended.
    Done,
    /// The bytes are not what can stand here; where the next message begins is unknown.
    Broken,
}

/// A chunked body in the middle of being read.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    part: Part,
    /// The line being read: a chunk size, or the trailer so far.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Part {
    #[default]
    Size,
    Data {
        left: u64,
    },
    DataEnd,
    Trailer,
}

impl Chunked {
    /// Takes bytes off the front of `input` and hands those of the body to `emit`.
    pub(super) fn push(&mut self, input: &mut &[u8], emit: &mut dyn FnMut(&[u8])) -> Progress {
        while !input.is_empty() {
            let progress = match self.part {
                Part::Size => self.size(input),
                Part::Data { left } => {
                    let taken = take_front(input, left);
                    emit(taken);
                    self.after_data(left.saturating_sub(taken.len() as u64));
                    Progress::More
                }
                Part::DataEnd => self.data_end(input),
                Part::Trailer => self.trailer(input),
            };
            if progress != Progress::More {
                return progress;
            }
        }
        Progress::More
    }

    /// Leaves out `missing` bytes that were not captured.
    pub(super) fn skip(&mut self, missing: u64) -> Progress {
        match self.part {
            Part::Data { left } if missing <= left => {
                self.after_data(left.saturating_sub(missing));
                Progress::More
            }
            _ => Progress::Broken,
        }
    }

    /// The trailer fields, once the body has ended.
    pub(super) fn trailers(&self) -> Headers {
        parse_fields(&self.line)
    }

    fn after_data(&mut self, left: u64) {
        self.part = match left {
            0 => Part::DataEnd,
            left => Part::Data { left },
        };
    }

    fn size(&mut self, input: &mut &[u8]) -> Progress {
        if !take_line(input, &mut self.line, MAX_SIZE_LINE_BYTES) {
            return more_unless(self.line.len() >= MAX_SIZE_LINE_BYTES);
        }
        let Some(size) = parse_size(&self.line) else {
            return Progress::Broken;
        };
        self.line.clear();
        self.part = match size {
            0 => Part::Trailer,
            left => Part::Data { left },
        };
        Progress::More
    }

    /// Takes the line end after the data of a chunk, byte by byte: what else stands there is not taken.
    fn data_end(&mut self, input: &mut &[u8]) -> Progress {
        match (self.line.as_slice(), input.first()) {
            ([], Some(b'\r')) => self.line.push(b'\r'),
            ([] | [b'\r'], Some(b'\n')) => {
                self.line.clear();
                self.part = Part::Size;
            }
            _ => return Progress::Broken,
        }
        take_front(input, 1);
        Progress::More
    }

    fn trailer(&mut self, input: &mut &[u8]) -> Progress {
        let start = last_line_start(&self.line);
        if !take_line(input, &mut self.line, MAX_TRAILER_BYTES) {
            return more_unless(self.line.len() >= MAX_TRAILER_BYTES);
        }
        match self.line.get(start..) {
            Some(line) if is_blank(line) => Progress::Done,
            _ => Progress::More,
        }
    }
}

fn more_unless(broken: bool) -> Progress {
    if broken {
        Progress::Broken
    } else {
        Progress::More
    }
}

/// Takes at most `count` bytes off the front of `input`.
pub(crate) fn take_front<'a>(input: &mut &'a [u8], count: u64) -> &'a [u8] {
    let count = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(input.len());
    let (front, rest) = input.split_at_checked(count).unwrap_or_default();
    *input = rest;
    front
}

/// Moves bytes from the front of `input` to `line`, up to and with the first line feed; true if there
/// was one. `line` grows to `limit_bytes` at most.
pub(super) fn take_line(input: &mut &[u8], line: &mut Vec<u8>, limit_bytes: usize) -> bool {
    let room = limit_bytes.saturating_sub(line.len());
    let window = input.get(..room).unwrap_or(input);
    let end = memchr::memchr(b'\n', window);
    let count = end.map_or(window.len(), |end| end.saturating_add(1));
    line.extend_from_slice(take_front(input, count as u64));
    end.is_some()
}

/// Whether a line is nothing but its end.
pub(super) fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

fn last_line_start(lines: &[u8]) -> usize {
    memchr::memrchr(b'\n', lines).map_or(0, |end| end.saturating_add(1))
}

/// The number in front of a chunk, without extensions.
fn parse_size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let digits = text.split(';').next()?.trim();
    // `from_str_radix` would take a sign.
    let hexadecimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    hexadecimal.then(|| u64::from_str_radix(digits, 16).ok())?
}
