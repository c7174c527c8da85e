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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Event, Parser};

    fn parse(pieces: &[&[u8]]) -> (Vec<Event>, Option<Event>) {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.push(piece, &mut events);
        }
        (events, parser.finish())
    }

    fn data(text: &str) -> Vec<String> {
        let (events, _) = parse(&[text.as_bytes()]);
        events.into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn streams_give_the_data_that_the_standard_says() {
        let table: [(&str, &[&str]); 16] = [
            ("data: a\n\n", &["a"]),
            ("data:a\r\n\r\ndata:b\r\rdata:c\n\n", &["a", "b", "c"]),
            ("data: YHOO\ndata: +2\ndata: 10\n\n", &["YHOO\n+2\n10"]),
            (": comment\n\ndata: a\n: more\n\n", &["a"]),
            ("data\n\ndata\ndata\n\ndata:", &["", "\n"]),
            ("data:test\n\ndata: test\n\n", &["test", "test"]),
            ("data:  two spaces\n\n", &[" two spaces"]),
            ("\u{feff}data: a\n\n", &["a"]),
            ("\n\u{feff}data: a\n\n", &[]),
            ("event: x\n\ndata: a\n\n", &["a"]),
            ("data : a\nDATA: b\n\n", &[]),
            ("data: a\n", &[]),
            ("data: a:b: c\n\n", &["a:b: c"]),
            ("\r\n\r\ndata: a\r\n\r\n", &["a"]),
            ("data: a\n\r\n", &["a"]),
            ("", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(data(text), expected, "{text:?}");
        }
    }

    #[test]
    fn fields_apply_as_the_standard_says() {
        let text = "event: add\nid: 1\nretry: 250\ndata: a\n\ndata: b\n\nid: x\0y\nretry: 1s\ndata: c\n\nid\ndata: d\n\n";
        let (events, rest) = parse(&[text.as_bytes()]);
        let facts: Vec<_> = events
            .iter()
            .map(|e| (e.event.as_str(), e.id.as_deref(), e.retry_ms))
            .collect();
        let expected = [
            ("add", Some("1"), Some(250)),
            ("", Some("1"), None),
            ("", Some("1"), None),
            ("", Some(""), None),
        ];
        assert_eq!(facts, expected);
        assert_eq!(rest, None);
    }

    #[test]
    fn the_event_that_was_cut_off_is_told_apart() {
        for text in [
            "data: a\n\ndata: b",
            "data: a\n\ndata: b\n",
            "data: a\n\ndata: b\r\n",
        ] {
            let (events, rest) = parse(&[text.as_bytes()]);
            assert_eq!(events.len(), 1, "{text:?}");
            assert_eq!(rest.map(|e| e.data).as_deref(), Some("b"), "{text:?}");
        }
    }

    #[test]
    fn an_event_over_the_limit_is_dropped_alone() {
        let (mut parser, mut events) = (Parser::with_limit(16), Vec::new());
        parser.push(b"data: 1\n\ndata: ", &mut events);
        parser.push(&[b'x'; 100], &mut events);
        parser.push(b"\ndata: x\n\ndata: 2\n\n", &mut events);
        let data: Vec<_> = events.iter().map(|e| e.data.as_str()).collect();
        assert_eq!(data, ["1", "2"]);
        assert_eq!(parser.dropped_count(), 1);
    }

    #[test]
    fn a_gap_costs_the_event_it_is_in() {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        parser.push(b"data: 1\n\ndata: {\"a\":", &mut events);
        parser.gap();
        parser.push(b"1}\n\ndata: 3\n\n", &mut events);
        let data: Vec<_> = events.iter().map(|e| e.data.as_str()).collect();
        assert_eq!(data, ["1", "3"]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            lines in prop::collection::vec("(data|id|event|retry)?:? ?[a-z0-9é:]{0,5}(\r|\n|\r\n|\n\n)", 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let text = lines.concat().into_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|i| i.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            let whole = parse(&[&text]);
            prop_assert_eq!(&parse(&pieces), &whole);
            prop_assert_eq!(&parse(&bytes), &whole);
        }
    }
}
