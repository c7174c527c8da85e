//! Credentials, replaced before anything is stored or shown.
//!
//! A credential becomes `[redacted:<kind>:<8 hexadecimal digits>]`. The digits are a keyed hash: with one
//! key, equal credentials stay comparable, and without it nothing can be learned from them. The key
//! belongs to a store and is never written to it in the clear. Replacing twice is the same as replacing
//! once.
//!
//! This guards what is stored against leaks of it. It is no barrier against an agent that hides its
//! credentials on purpose: nothing that looks at text can be one.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)
)]

mod call;
mod own;
mod patterns;
mod rpc;

use std::borrow::Cow;
use std::ops::Range;

use agentsight_model::{GrpcCall, HttpExchange};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::http::{Exchange, Headers, Message, grpc};
use crate::text::hexadecimal;
pub use own::OwnPattern;
use patterns::{Found, find, has_mark, is_secret_name, is_secret_parameter, kind_of};

/// The block of SHA-256, for HMAC (RFC 2104).
const BLOCK_BYTES: usize = 64;

/// Replaces credentials.
#[derive(Clone)]
pub struct Redactor {
    key: [u8; 32],
    own: Vec<OwnPattern>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// A redactor whose marks are comparable with those of every other one with the same key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self::with_own(key, Vec::new())
    }

    /// The same, which also replaces what the user's own patterns find.
    #[must_use]
    pub fn with_own(key: [u8; 32], own: Vec<OwnPattern>) -> Self {
        Self { key, own }
    }

    /// Replaces credentials in any text.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut redacted = self.known(text);
        for pattern in &self.own {
            if let Some(changed) = self.own_pattern(pattern, &redacted) {
                redacted = Cow::Owned(changed);
            }
        }
        redacted
    }

    /// Replaces what one of the user's own patterns finds outside of marks; `None` if it finds nothing.
    fn own_pattern(&self, pattern: &OwnPattern, text: &str) -> Option<String> {
        if !pattern.regex.is_match(text) {
            return None;
        }
        let mut out = String::new();
        let mut copied = 0;
        for range in patterns::between_marks(text) {
            let stretch = text.get(range.clone()).unwrap_or_default();
            for found in pattern
                .regex
                .find_iter(stretch)
                .filter(|found| !found.is_empty())
            {
                let start = range.start.saturating_add(found.start());
                out.push_str(text.get(copied..start).unwrap_or_default());
                out.push_str(&self.mark(&pattern.kind, found.as_str()));
                copied = range.start.saturating_add(found.end());
            }
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        (copied > 0).then_some(out)
    }

    /// Replaces credentials of the forms that everybody has.
    fn known<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !patterns::are_usable() {
            // Without patterns nothing is known to be harmless.
            return Cow::Owned(self.mark("text", text));
        }
        let mut out = String::new();
        let (mut copied, mut at) = (0, 0);
        while let Some((range, found)) = find(text, at) {
            // A match is never empty, so this ends.
            at = range.end;
            let (start, secret, mark) = match found {
                Found::Mark => continue,
                Found::Token(kind) => {
                    let token = text.get(range.clone()).unwrap_or_default();
                    (range.start, token, self.mark(kind, token))
                }
                // A key with line breaks begins here: it is found by its own form.
                Found::Named {
                    value: "-----BEGIN",
                    start,
                    ..
                } => {
                    at = start;
                    continue;
                }
                Found::Named {
                    value, separator, ..
                } if stays(text, &range, value, separator) => {
                    continue;
                }
                Found::Named { value, start, .. } => (start, value, self.secret(value)),
            };
            out.push_str(text.get(copied..start).unwrap_or_default());
            out.push_str(&mark);
            copied = start.saturating_add(secret.len());
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// Replaces credentials in every string of a value, and whole strings whose key names a credential.
    pub fn json(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.string(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(map) => self.object(map),
            _ => {}
        }
    }

    /// Replaces credentials in a URL: before its host, and in parameters that are named as such.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let Some((base, query)) = url.split_once('?') else {
            return self.text(url).into_owned();
        };
        let mut out = self.text(base).into_owned();
        for (at, parameter) in query.split('&').enumerate() {
            out.push(if at == 0 { '?' } else { '&' });
            match parameter.split_once('=') {
                Some((name, value)) if is_secret_parameter(name) => {
                    out.push_str(name);
                    out.push('=');
                    out.push_str(&self.credential(value));
                }
                _ => out.push_str(&self.text(parameter)),
            }
        }
        out
    }

    /// Replaces credentials in the arguments of a program: in options that are named as such, and in
    /// any other argument.
    pub fn argv(&self, argv: &mut [String]) {
        let program = argv
            .first()
            .map(|path| path.rsplit('/').next().unwrap_or_default().to_owned());
        let program = program.unwrap_or_default();
        // What the option before says about an argument.
        let mut expected = Expected::Anything;
        for argument in argv.iter_mut() {
            let next = expect_after(&program, argument);
            match std::mem::replace(&mut expected, next) {
                Expected::Credential => *argument = self.credential(argument),
                Expected::UserAndPassword if !argument.contains("://") => {
                    if let Some((user, password)) = argument.split_once(':') {
                        *argument = format!("{user}:{}", self.credential(password));
                    }
                }
                _ => self.argument(argument),
            }
        }
    }

    /// The fields with credentials replaced.
    #[must_use]
    pub fn headers(&self, headers: &Headers) -> Vec<(String, String)> {
        let fields = headers.iter().map(|(name, value)| {
            // A name that cannot be known may be that of a credential.
            let secret = is_secret_name(name) || name == Headers::UNKNOWN;
            let value = if secret && value != Headers::UNKNOWN {
                self.credential(value)
            } else if value.contains("://") {
                self.url(value)
            } else {
                self.text(value).into_owned()
            };
            (name.to_owned(), value)
        });
        fields.collect()
    }

    /// The fact that an exchange happened, without its bodies and with credentials replaced.
    #[must_use]
    pub fn exchange(&self, exchange: &Exchange) -> HttpExchange {
        let response = exchange.response.as_ref();
        HttpExchange {
            method: exchange.request.method().to_owned(),
            host: self.text(exchange.host()).into_owned(),
            target: self.url(exchange.path_and_query()),
            status: response.and_then(Message::status),
            transport: exchange.transport.to_owned(),
            request_bytes: exchange.request.body.info.bytes,
            response_bytes: response.map_or(0, |response| response.body.info.bytes),
            ended: exchange.ended(),
            complete: exchange.is_complete(),
            grpc: grpc::call_of(exchange).map(|call| self.grpc(call)),
        }
    }

    fn grpc(&self, mut call: GrpcCall) -> GrpcCall {
        let names = [&mut call.service, &mut call.method];
        let texts = names.into_iter().chain(&mut call.message);
        texts.for_each(|text| self.string(text));
        call
    }

    fn string(&self, text: &mut String) {
        if let Cow::Owned(changed) = self.text(text) {
            *text = changed;
        }
    }

    fn object(&self, map: &mut Map<String, Value>) {
        let mut secret_keys = false;
        for (key, value) in map.iter_mut() {
            secret_keys |= matches!(self.text(key), Cow::Owned(_));
            match value {
                Value::String(text) if is_secret_name(key) => *text = self.credential(text),
                Value::Array(items) if is_secret_name(key) => self.secrets(items),
                value => self.json(value),
            }
        }
        if secret_keys {
            let entries = std::mem::take(map).into_iter();
            map.extend(entries.map(|(key, value)| (self.text(&key).into_owned(), value)));
        }
    }

    /// Replaces the elements of a list whose key names a credential.
    fn secrets(&self, items: &mut [Value]) {
        for item in items {
            match item {
                Value::String(text) => *text = self.credential(text),
                item => self.json(item),
            }
        }
    }

    fn argument(&self, argument: &mut String) {
        match argument.split_once('=') {
            Some((name, value)) if is_secret_name(name.trim_start_matches('-')) => {
                *argument = format!("{name}={}", self.credential(value));
            }
            _ if argument.contains("://") => *argument = self.url(argument),
            _ => self.string(argument),
        }
    }

    /// Replaces a value that is known to be a credential. The scheme of an `Authorization` stays.
    fn credential(&self, value: &str) -> String {
        let (scheme, secret) = match value.split_once(' ') {
            Some((scheme, secret)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                (Some(scheme), secret.trim_start())
            }
            _ => (None, value),
        };
        let mark = match secret {
            "" => return value.to_owned(),
            secret if has_mark(secret) => secret.to_owned(),
            secret => self.secret(secret),
        };
        match scheme {
            Some(scheme) => format!("{scheme} {mark}"),
            None => mark,
        }
    }

    /// The mark of a credential, of its own kind if it has one: so it is the same wherever it stands.
    fn secret(&self, secret: &str) -> String {
        self.mark(kind_of(secret).unwrap_or("secret"), secret)
    }

    fn mark(&self, kind: &str, secret: &str) -> String {
        let digest = self.keyed_hash(secret.as_bytes());
        let head = digest.get(..4).unwrap_or_default();
        format!("[redacted:{kind}:{}]", hexadecimal(head))
    }

    /// HMAC-SHA256.
    fn keyed_hash(&self, message: &[u8]) -> [u8; 32] {
        let padded = |pad: u8| {
            let mut block = [pad; BLOCK_BYTES];
            block
                .iter_mut()
                .zip(self.key)
                .for_each(|(byte, key)| *byte ^= key);
            block
        };
        let inner = Sha256::new()
            .chain_update(padded(0x36))
            .chain_update(message);
        let outer = Sha256::new()
            .chain_update(padded(0x5c))
            .chain_update(inner.finalize());
        outer.finalize().into()
    }
}

/// Whether a value that stands where credentials stand is none.
fn stays(text: &str, range: &Range<usize>, value: &str, separator: Option<&str>) -> bool {
    let next = text.get(range.end..).and_then(|rest| rest.chars().next());
    has_mark(value) || separator.is_some_and(|separator| is_code(separator, value, next))
}

/// Whether what looks like an assignment of a credential is prose, or code that computes one.
fn is_code(separator: &str, value: &str, next: Option<char>) -> bool {
    const WORDS: [&str; 14] = [
        "any",
        "bool",
        "bytes",
        "false",
        "nil",
        "none",
        "null",
        "object",
        "optional",
        "required",
        "str",
        "string",
        "true",
        "undefined",
    ];
    const SOURCES: [&str; 10] = [
        "args.",
        "config.",
        "env.",
        "os.",
        "process.",
        "request.",
        "secrets.",
        "self.",
        "settings.",
        "this.",
    ];
    let quoted = separator.ends_with(['"', '\'']);
    let trimmed = value.trim_end_matches(['.', ')', ']', '}', '?', '!', ':']);
    let word = trimmed.to_ascii_lowercase();
    if WORDS.contains(&word.as_str()) || value.starts_with(['$', '{', '(', '[', '*', '%', '=']) {
        return true;
    }
    if quoted {
        return false;
    }
    let computed =
        value.contains('(') || next == Some('(') || SOURCES.iter().any(|s| word.starts_with(s));
    let spaced = separator.contains([' ', '\t']);
    // `The secret: be kind` is no credential, and `token: 5` no secret one.
    computed || (spaced && (trimmed.len() < 6 || trimmed.bytes().all(|b| b.is_ascii_alphabetic())))
}

/// What the argument after an option is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Anything,
    Credential,
    UserAndPassword,
}

fn expect_after(program: &str, argument: &str) -> Expected {
    match argument {
        "-u" | "--user" | "-U" | "--proxy-user" if program == "curl" => Expected::UserAndPassword,
        _ => match argument.strip_prefix('-') {
            Some(name) if is_secret_name(name.trim_start_matches('-')) => Expected::Credential,
            _ => Expected::Anything,
        },
    }
}

#[cfg(test)]
mod tests;
