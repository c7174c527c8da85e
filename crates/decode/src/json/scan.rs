//! Finding one's way through a document without reading its values.

use super::Parser;

/// Hands the members of the object at the top of a document to `visit`, as far as they can be read:
/// name and value, as they are written. Values are not looked into, so this is fast.
pub(crate) fn members<'a>(bytes: &'a [u8], visit: &mut dyn FnMut(&'a [u8], &'a [u8])) {
    let mut parser = Parser::new(bytes);
    if !parser.expect(b'{') {
        return;
    }
    while parser.peek() == Some(b'"') {
        let name = written(&mut parser);
        if !parser.expect(b':') {
            return;
        }
        let value = written(&mut parser);
        visit(unquote(name), value);
        if !parser.continues(b'}') {
            return;
        }
    }
}

/// Hands the members of the object that a document is to `visit`, as they are written, as long as it says
/// so. True if it never said otherwise, and the document is an object and nothing else.
pub(crate) fn whole_members<'a>(
    bytes: &'a [u8],
    visit: &mut dyn FnMut(&'a [u8], &'a [u8]) -> bool,
) -> bool {
    let mut parser = Parser::new(bytes);
    if !parser.expect(b'{') {
        return false;
    }
    if !parser.ends_with(b'}') {
        loop {
            if parser.peek() != Some(b'"') {
                return false;
            }
            let name = written(&mut parser);
            if !parser.expect(b':') {
                return false;
            }
            let value = written(&mut parser);
            if value.is_empty() || !visit(unquote(name), value) {
                return false;
            }
            if parser.ends_with(b'}') {
                break;
            }
            if !parser.expect(b',') {
                return false;
            }
        }
    }
    parser.peek().is_none()
}

/// The only element of an array, if it is an object.
pub(crate) fn only_element(array: &[u8]) -> Option<&[u8]> {
    let inner = array.strip_prefix(b"[")?.strip_suffix(b"]")?.trim_ascii();
    (inner.first() == Some(&b'{') && container_end(inner) == Some(inner.len())).then_some(inner)
}

/// Hands the elements of the array at the top of a document to `visit`, as they are written and as far as
/// they can be read. They are not looked into.
pub(crate) fn elements<'a>(bytes: &'a [u8], visit: &mut dyn FnMut(&'a [u8])) {
    let mut parser = Parser::new(bytes);
    if !parser.expect(b'[') || parser.ends_with(b']') {
        return;
    }
    while parser.peek().is_some() {
        let element = written(&mut parser);
        visit(element);
        // What is no value takes no bytes: nothing follows it.
        if element.is_empty() || !parser.continues(b']') {
            return;
        }
    }
}

/// What is between the quotes of a string, as it is written; anything else as it is.
pub(crate) fn unquote(written: &[u8]) -> &[u8] {
    let inner = written.strip_prefix(b"\"");
    inner
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(written)
}

/// Passes over a value and gives it as it is written.
fn written<'a>(parser: &mut Parser<'a>) -> &'a [u8] {
    let first = parser.peek();
    let rest = parser.rest();
    let end = match first {
        Some(b'{' | b'[') => container_end(rest),
        Some(b'"') => string_end(rest),
        _ => rest.iter().position(|byte| b",:]} \t\r\n".contains(byte)),
    };
    let count = end.unwrap_or(rest.len());
    parser.advance(count);
    rest.get(..count).unwrap_or_default()
}

/// Where the container ends that begins here.
pub(super) fn container_end(bytes: &[u8]) -> Option<usize> {
    let (mut open, mut at) = (0_usize, 0_usize);
    loop {
        let rest = bytes.get(at..)?;
        let next = rest
            .iter()
            .position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))?;
        at = at.saturating_add(next);
        match bytes.get(at)? {
            b'"' => {
                let string = bytes.get(at..)?;
                at = at.saturating_add(string_end(string)?);
                continue;
            }
            b'{' | b'[' => open = open.saturating_add(1),
            _ => open = open.saturating_sub(1),
        }
        at = at.saturating_add(1);
        if open == 0 {
            return Some(at);
        }
    }
}

/// Where the string ends that begins here.
fn string_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 1_usize;
    loop {
        let rest = bytes.get(at..)?;
        let next = memchr::memchr2(b'"', b'\\', rest)?;
        at = at.saturating_add(next).saturating_add(1);
        if rest.get(next) == Some(&b'"') {
            return Some(at);
        }
        // What follows a backslash is no end.
        at = at.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_as_they_are_written() {
        let list = |text: &'static str| {
            let mut found = Vec::new();
            members(text.as_bytes(), &mut |name, value| {
                let text = |bytes| std::str::from_utf8(bytes).unwrap();
                found.push((text(name), text(value)));
            });
            found
        };
        for (text, expected) in [
            (
                r#" { "a" : "x\"}" , "b":[1,{"c":"]"}],"d":-1.5e3,"e":null} "#,
                &[
                    ("a", r#""x\"}""#),
                    ("b", r#"[1,{"c":"]"}]"#),
                    ("d", "-1.5e3"),
                    ("e", "null"),
                ][..],
            ),
            (r#"{"a":{"b":"#, &[("a", r#"{"b":"#)]),
            (r#"{"a":"cut"#, &[("a", r#""cut"#)]),
            (r#"{"a":"cut\"#, &[("a", r#""cut\"#)]),
            (r#"{"a":1 "b":2}"#, &[("a", "1")]),
            (r#"{"a"}"#, &[]),
            (r#"["a"]"#, &[]),
            ("{}", &[]),
            ("", &[]),
        ] {
            assert_eq!(list(text), expected, "{text}");
        }
    }
}
