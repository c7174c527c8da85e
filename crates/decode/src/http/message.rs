//! What the decoders of this module produce: messages, and exchanges of two messages.

use agentsight_model::{BodyInfo, Direction, KTime};

/// More headers than this in one message are counted, not kept. Real messages have a few dozen.
const MAX_HEADERS: usize = 512;

/// Header fields in the order in which they came, names as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<(String, String)>,
    omitted_count: u32,
    size_bytes: usize,
}

impl Headers {
    /// Stands for a name or a value that cannot be known: in HTTP/2, a field may refer to one that was
    /// sent before watching began.
    pub const UNKNOWN: &'static str = "[unknown]";

    /// Appends a field; counts it instead once there are too many.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        if self.fields.len() < MAX_HEADERS {
            let field = (name.into(), value.into());
            self.size_bytes = self.size_bytes.saturating_add(size_of(&field));
            self.fields.push(field);
        } else {
            self.omit();
        }
    }

    /// Puts a field in front of all others.
    pub(super) fn push_front(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let field = (name.into(), value.into());
        self.size_bytes = self.size_bytes.saturating_add(size_of(&field));
        self.fields.insert(0, field);
    }

    /// Counts a field that is not kept.
    pub(super) fn omit(&mut self) {
        self.omitted_count = self.omitted_count.saturating_add(1);
    }

    /// Bytes of all names and values.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Fields whose name or value cannot be known.
    #[must_use]
    pub fn unknown_count(&self) -> usize {
        let unknown = |text: &str| text == Self::UNKNOWN;
        self.iter()
            .filter(|(name, value)| unknown(name) || unknown(value))
            .count()
    }

    /// The value of the first field named `name`, whatever its case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|(own, _)| own.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// The values of all fields named `name`, whatever its case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The comma-separated elements of all fields named `name`, without white space and empty ones.
    pub fn elements<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|element| !element.is_empty())
    }

    /// Whether an element of the fields named `name` is `element`, whatever its case.
    #[must_use]
    pub fn has_element(&self, name: &str, element: &str) -> bool {
        self.elements(name)
            .any(|own| own.eq_ignore_ascii_case(element))
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Fields that came but were not kept, because there were too many.
    #[must_use]
    pub fn omitted_count(&self) -> u32 {
        self.omitted_count
    }

    /// Continues the value of the last field (obsolete line folding).
    pub(super) fn fold(&mut self, more: &str) {
        if let Some((_, value)) = self.fields.last_mut() {
            value.push(' ');
            value.push_str(more);
            let added = more.len().saturating_add(1);
            self.size_bytes = self.size_bytes.saturating_add(added);
        }
    }
}

fn size_of((name, value): &(String, String)) -> usize {
    name.len().saturating_add(value.len())
}

/// The first line of a message, in the terms of HTTP/1.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StartLine {
    /// A request.
    Request {
        /// Method, as sent.
        method: String,
        /// Target, as sent: a path with query, an absolute URL, an authority or `*`.
        target: String,
    },
    /// A response.
    Response {
        /// Status code.
        status: u16,
        /// Reason phrase, often empty.
        reason: String,
    },
    /// The message was not seen: its response was, but watching began too late or bytes were lost.
    #[default]
    Unseen,
}

/// Why a body is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It ended before its declared or marked end.
    Cut,
    /// Bytes in it could not be captured.
    Hole,
    /// Its framing or content coding is broken.
    Corrupt,
    /// It decodes to more than the limit; decoding stopped there.
    Limit,
}

/// A body, decoded: transfer and content coding removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The bytes that were kept: all of them unless there were more than the limit.
    pub bytes: Vec<u8>,
    /// Size and digest of the whole body, whether or not all of it was kept.
    pub info: BodyInfo,
    /// Offsets into `bytes` at which captured bytes are missing; the first ones, if there are many.
    pub gaps: Vec<usize>,
    /// Why the body is not whole; absent if it is.
    pub flaw: Option<Flaw>,
}

impl Body {
    /// Whether `bytes` is the whole body.
    #[must_use]
    pub fn is_kept_whole(&self) -> bool {
        self.flaw.is_none() && u64::try_from(self.bytes.len()).is_ok_and(|n| n == self.info.bytes)
    }
}

/// A request or response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub start: StartLine,
    /// Header fields.
    pub headers: Headers,
    /// Trailer fields.
    pub trailers: Headers,
    /// The body.
    pub body: Body,
    /// When its first byte went by.
    pub started: KTime,
    /// When the first byte of its body went by; absent if there was none.
    pub body_started: Option<KTime>,
    /// When its last byte went by, or its stream ended.
    pub ended: KTime,
}

impl Message {
    /// The method of a request; empty for anything else.
    #[must_use]
    pub fn method(&self) -> &str {
        match &self.start {
            StartLine::Request { method, .. } => method,
            _ => "",
        }
    }

    /// The target of a request; empty for anything else.
    #[must_use]
    pub fn target(&self) -> &str {
        match &self.start {
            StartLine::Request { target, .. } => target,
            _ => "",
        }
    }

    /// The status of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Response { status, .. } => Some(status),
            _ => None,
        }
    }

    /// The media type of the body in lower case, without parameters; empty if not declared.
    #[must_use]
    pub fn media_type(&self) -> String {
        let value = self.headers.get("content-type").unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }
}

/// A request and its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// `http/1.1`, `h2`, `websocket`.
    pub transport: &'static str,
    /// `https` or `http`.
    pub scheme: &'static str,
    /// Which way the request went: [`Direction::Sent`] if the watched process is the client.
    pub requests_from: Direction,
    /// The request; [`StartLine::Unseen`] if only the response was seen.
    pub request: Message,
    /// The response; absent if none was seen.
    pub response: Option<Message>,
}

impl Exchange {
    /// Whether both messages were seen whole.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.request.start != StartLine::Unseen
            && self.request.body.info.complete
            && self
                .response
                .as_ref()
                .is_some_and(|response| response.body.info.complete)
    }

    /// When the first byte of the exchange went by.
    #[must_use]
    pub fn started(&self) -> KTime {
        match (&self.request.start, &self.response) {
            (StartLine::Unseen, Some(response)) => response.started,
            _ => self.request.started,
        }
    }

    /// When the last byte of the exchange went by, or its stream ended.
    #[must_use]
    pub fn ended(&self) -> KTime {
        let response = self.response.as_ref().map(|response| response.ended);
        self.request.ended.max(response.unwrap_or_default())
    }

    /// Host and port that the request names; empty if unknown.
    #[must_use]
    pub fn host(&self) -> &str {
        match split_absolute(self.request.target()) {
            Some((_, authority, _)) => authority,
            None => self.request.headers.get("host").unwrap_or_default(),
        }
    }

    /// Path and query that the request asks for.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        let target = self.request.target();
        split_absolute(target).map_or(target, |(_, _, rest)| rest)
    }

    /// Path that the request asks for.
    #[must_use]
    pub fn path(&self) -> &str {
        let target = self.path_and_query();
        target.split(['?', '#']).next().unwrap_or_default()
    }

    /// Scheme, host and path, without query; empty if the request was not seen.
    #[must_use]
    pub fn endpoint(&self) -> String {
        if self.request.start == StartLine::Unseen || self.request.target().is_empty() {
            return String::new();
        }
        let scheme =
            split_absolute(self.request.target()).map_or(self.scheme, |(scheme, _, _)| scheme);
        format!("{scheme}://{}{}", self.host(), self.path())
    }
}

/// Splits an absolute-form target, as sent to a proxy, into scheme, authority and the rest.
fn split_absolute(target: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    // Credentials before the host are no part of where the request goes.
    let host = authority.rsplit('@').next().unwrap_or_default();
    Some((scheme, host, path))
}
