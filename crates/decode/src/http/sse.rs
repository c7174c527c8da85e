//! Server-sent events, as the HTML standard defines them (section 9.2.6), fed with any runs of bytes.

/// Bytes of one event that is not finished yet; longer ones are given up.
const DEFAULT_LIMIT_BYTES: usize = 64 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The event's type; empty if none was given, which stands for `message`.
    pub event: String,
    /// Its data lines, joined by line feeds.
    pub data: String,
    /// The last event id at that point of the stream, if one was given.
    pub id: Option<String>,
    /// The reconnection time that was set with this event, in milliseconds.
    pub retry_ms: Option<u64>,
}

/// An incremental parser.
#[derive(Debug)]
pub struct Parser {
    line: Vec<u8>,
    event: String,
    data: Vec<u8>,
    has_data: bool,
    retry_ms: Option<u64>,
    id: Option<String>,
    /// Whether the last byte was a carriage return: a line feed after it ends no second line.
    after_return: bool,
    /// Whether a byte order mark may still come.
    at_start: bool,
    /// Whether everything up to the next blank line is to be passed over.
    resyncing: bool,
    limit_bytes: usize,
    dropped_count: u64,
}

impl Default for Parser {
    fn default() -> Self {
        Self::with_limit(DEFAULT_LIMIT_BYTES)
    }
}

impl Parser {
    /// A parser that gives up events longer than `limit_bytes`.
    #[must_use]
    pub fn with_limit(limit_bytes: usize) -> Self {
        Self {
            line: Vec::new(),
            event: String::new(),
            data: Vec::new(),
            has_data: false,
            retry_ms: None,
            id: None,
            after_return: false,
            at_start: true,
            resyncing: false,
            limit_bytes,
            dropped_count: 0,
        }
    }

    /// Takes bytes and appends the events that they complete to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', rest);
            let (part, after) = rest
                .split_at_checked(end.unwrap_or(rest.len()))
                .unwrap_or_default();
            self.extend_line(part);
            rest = after;
            if let Some((&ending, after)) = after.split_first() {
                self.after_return = ending == b'\r';
                rest = after;
                self.end_line(out);
            }
        }
    }

    /// Notes that bytes are missing here: the event in progress is given up, and parsing goes on after
    /// the next blank line.
    pub fn gap(&mut self) {
        self.give_up();
        self.after_return = false;
    }

    /// The event that the end of the stream cut off, as far as it came. Clients by the standard discard
    /// it; many do not.
    #[must_use]
    pub fn finish(mut self) -> Option<Event> {
        let mut out = Vec::new();
        if !self.line.is_empty() {
            self.end_line(&mut out);
        }
        self.end_event(&mut out);
        out.pop()
    }

    /// Events that were given up, because they were too long or bytes of them are missing.
    #[must_use]
    pub fn dropped_count(&self) -> u64 {
        self.dropped_count
    }

    fn extend_line(&mut self, part: &[u8]) {
        let held = self.line.len().saturating_add(self.data.len());
        if self.resyncing {
            // Only whether the line is blank matters.
            self.line
                .extend_from_slice(part.get(..1).unwrap_or_default());
            self.line.truncate(1);
        } else if held.saturating_add(part.len()) > self.limit_bytes {
            self.give_up();
            self.line.push(b'-');
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn give_up(&mut self) {
        self.resyncing = true;
        self.dropped_count = self.dropped_count.saturating_add(1);
        self.line.clear();
        self.reset_event();
    }

    fn end_line(&mut self, out: &mut Vec<Event>) {
        let line = std::mem::take(&mut self.line);
        let text = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(text) if self.at_start => text,
            _ => &line,
        };
        self.at_start = false;
        if text.is_empty() {
            self.end_event(out);
        } else if !self.resyncing {
            self.field(text);
        }
        // Keeps the allocation.
        self.line = line;
        self.line.clear();
    }

    fn field(&mut self, line: &[u8]) {
        let (name, value) = match memchr::memchr(b':', line) {
            None => (line, [].as_slice()),
            Some(colon) => {
                let (name, rest) = line.split_at_checked(colon).unwrap_or_default();
                let value = rest.strip_prefix(b":").unwrap_or_default();
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
        };
        match name {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => self.event = lossy(value),
            b"id" if !value.contains(&0) => self.id = Some(lossy(value)),
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                self.retry_ms = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            }
            // Comments (an empty name) and unknown fields.
            _ => {}
        }
    }

    fn end_event(&mut self, out: &mut Vec<Event>) {
        self.resyncing = false;
        if self.has_data {
            out.push(Event {
                event: std::mem::take(&mut self.event),
                data: into_text(std::mem::take(&mut self.data)),
                id: self.id.clone(),
                retry_ms: self.retry_ms,
            });
        }
        self.reset_event();
    }

    fn reset_event(&mut self) {
        self.event.clear();
        self.data.clear();
        self.has_data = false;
        self.retry_ms = None;
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
