//! What a message too long to be kept says about itself: the short members of its outermost object and of its
//! parameters, wherever they stand. Libraries write the id of an answer behind its result, and the name of
//! a tool behind its arguments.

use serde_json::Value;

use crate::json;

/// Bytes of a name or value that is noted.
const TOKEN_BYTES: usize = 256;

/// Members noted. A message has four, and its parameters a few.
const MAX_MEMBERS: usize = 32;

/// The member whose own members are noted, too.
const PARAMS: &str = "params";

/// Follows a document as it goes by, in any runs.
#[derive(Debug, Default)]
pub(super) struct Outline {
    depth: u32,
    /// Whether the second level is that of the parameters.
    in_params: bool,
    in_string: bool,
    escaped: bool,
    /// What stands at the level of the members: a name, or a value as it is written.
    token: Vec<u8>,
    name: Option<String>,
    members: Vec<(String, Option<Value>)>,
}

impl Outline {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = if self.in_string {
                self.string(rest)
            } else {
                self.structure(byte);
                after
            };
        }
    }

    /// Passes over what is left of a string; gives what follows.
    fn string<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let next = if self.escaped {
            Some(0)
        } else {
            memchr::memchr2(b'"', b'\\', bytes)
        };
        let count = next.map_or(bytes.len(), |at| at.saturating_add(1));
        let (part, rest) = bytes.split_at_checked(count).unwrap_or_default();
        if self.is_noted() {
            self.note(part);
        }
        let last = part.last();
        if std::mem::take(&mut self.escaped) {
            return rest;
        }
        self.escaped = next.is_some() && last == Some(&b'\\');
        self.in_string = !(next.is_some() && last == Some(&b'"'));
        rest
    }

    fn structure(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.in_string = true;
                self.at_members(byte);
            }
            b'{' | b'[' => {
                if self.is_noted() {
                    self.in_params |= self.name.as_deref() == Some(PARAMS) && byte == b'{';
                    self.end_member(false);
                }
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => {
                if self.is_noted() {
                    self.end_member(true);
                }
                self.depth = self.depth.saturating_sub(1);
                self.in_params &= self.depth > 1;
            }
            b':' if self.is_noted() => {
                let token = std::mem::take(&mut self.token);
                let name = std::str::from_utf8(json::unquote(&token)).ok();
                self.name = name.map(|name| match self.depth {
                    1 => name.to_owned(),
                    _ => format!("{PARAMS}.{name}"),
                });
            }
            b',' if self.is_noted() => self.end_member(true),
            byte if byte.is_ascii_whitespace() => {}
            byte => self.at_members(byte),
        }
    }

    fn is_noted(&self) -> bool {
        self.depth == 1 || self.depth == 2 && self.in_params
    }

    fn at_members(&mut self, byte: u8) {
        if self.is_noted() {
            self.note(&[byte]);
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        let room = TOKEN_BYTES.saturating_sub(self.token.len());
        self.token
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn end_member(&mut self, scalar: bool) {
        let token = std::mem::take(&mut self.token);
        let Some(name) = self.name.take() else {
            return;
        };
        if self.members.len() < MAX_MEMBERS {
            let read = json::parse(&token);
            let value = (scalar && read.problem.is_none()).then_some(read.value);
            self.members.push((name, value));
        }
    }

    /// Takes the members: name and value, where that is short. Those of the parameters are `params.<name>`.
    pub(super) fn take_members(&mut self) -> Vec<(String, Option<Value>)> {
        // A member that was cut off is there all the same.
        self.end_member(false);
        std::mem::take(&mut self.members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn outline(pieces: &[&[u8]]) -> Vec<(String, Option<Value>)> {
        let mut outline = Outline::default();
        pieces.iter().for_each(|piece| outline.push(piece));
        outline.take_members()
    }

    #[test]
    fn short_members_are_found_wherever_they_stand() {
        let long = "x".repeat(400);
        let cases = [
            (
                r#"{"result":{"a":[1,"}"],"id":5},"jsonrpc":"2.0","id":7}"#.to_owned(),
                vec![
                    ("result", None),
                    ("jsonrpc", Some(json!("2.0"))),
                    ("id", Some(json!(7))),
                ],
            ),
            (
                r#"{ "id" : "a\"b" , "method" : "m" }"#.to_owned(),
                vec![("id", Some(json!("a\"b"))), ("method", Some(json!("m")))],
            ),
            (
                format!(r#"{{"id":"{long}","n":null}}"#),
                vec![("id", None), ("n", Some(Value::Null))],
            ),
            (
                r#"{"id":1,"params":{"a"#.to_owned(),
                vec![("id", Some(json!(1))), ("params", None)],
            ),
            (
                format!(
                    r#"{{"params":{{"arguments":{{"name":"no"}},"t":"{long}","name":"w"}},"id":1}}"#
                ),
                vec![
                    ("params", None),
                    ("params.arguments", None),
                    ("params.t", None),
                    ("params.name", Some(json!("w"))),
                    ("id", Some(json!(1))),
                ],
            ),
            (
                r#"{"params":[{"name":1}],"id":1}"#.to_owned(),
                vec![("params", None), ("id", Some(json!(1)))],
            ),
            (String::new(), vec![]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            assert_eq!(outline(&[text.as_bytes()]), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            text in r#"[{}\[\]",:\\a1 ]{0,60}"#,
            at in any::<prop::sample::Index>(),
        ) {
            let bytes = text.as_bytes();
            let (front, back) = bytes.split_at(at.index(bytes.len() + 1));
            prop_assert_eq!(outline(&[front, back]), outline(&[bytes]));
        }
    }
}
