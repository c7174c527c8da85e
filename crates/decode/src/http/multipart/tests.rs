//! Parts of bodies, whole and cut.

use proptest::prelude::*;

use super::*;

const BOUNDARY: &str = "b0";

fn parse(runs: &[&[u8]]) -> (Vec<Part>, bool) {
    let mut parser = Parser::new(BOUNDARY);
    let mut out = Vec::new();
    runs.iter().for_each(|run| parser.push(run, &mut out));
    let whole = parser.finish(&mut out);
    (out, whole)
}

fn contents(parts: &[Part]) -> Vec<(String, &[u8], bool)> {
    let content = |part: &Part| part.name();
    parts
        .iter()
        .map(|part| (content(part), part.head.as_slice(), part.complete))
        .collect()
}

#[test]
fn parts_are_told_apart() {
    let body = b"ignored\r\n--b0\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
        --b0  \r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".wav\"\r\n\
        Content-Type: Audio/WAV; x=y\r\n\r\nRIFF\r\n--b\r\n--b01\r\n\r\n--b0\r\n\r\nbare\r\n--b0--\r\nepilogue";
    let (parts, whole) = parse(&[body]);
    assert!(whole);
    assert_eq!(
        contents(&parts),
        [
            ("model".into(), &b"whisper-1"[..], true),
            ("file".into(), b"RIFF\r\n--b\r\n--b01\r\n", true),
            (String::new(), b"bare", true),
        ]
    );
    assert_eq!(parts[1].filename().as_deref(), Some("a \"b\".wav"));
    assert_eq!(parts[1].media_type(), "audio/wav");
    assert_eq!(parts[1].bytes, 18);
    assert_eq!(
        parts[1].sha256,
        hexadecimal(&Sha256::digest(&parts[1].head))
    );
}

#[test]
fn empty_parts_and_bodies() {
    for (body, expected, whole) in [
        (&b"--b0--"[..], &[][..], true),
        (b"", &[], false),
        (b"no part", &[], false),
        (b"--b0\r\nA: b\r\n\r\n\r\n--b0--", &[(&b""[..], true)], true),
        (b"--b0\r\nA: b\r\n\r\n--b0--", &[(b"", true)], true),
        (b"--b0\r\n\r\ncut", &[(b"cut", false)], false),
        (b"--b0\r\nA: b", &[], false),
        (b"--b0\r\n\r\na\r\n--b0", &[(b"a", false)], false),
    ] {
        let (parts, ended) = parse(&[body]);
        let found: Vec<_> = parts.iter().map(|p| (&p.head[..], p.complete)).collect();
        assert_eq!(found, expected, "{}", body.escape_ascii());
        assert_eq!(ended, whole, "{}", body.escape_ascii());
    }
}

#[test]
fn after_a_gap_the_next_part_is_found() {
    let mut parser = Parser::new(BOUNDARY);
    let mut out = Vec::new();
    parser.push(b"--b0\r\n\r\nfirst", &mut out);
    parser.gap(&mut out);
    parser.push(b"rest\r\n--b0\r\n\r\nsecond\r\n--b0--", &mut out);
    assert!(parser.finish(&mut out));
    let found: Vec<_> = out.iter().map(|p| (&p.head[..], p.complete)).collect();
    assert_eq!(found, [(&b"first"[..], false), (b"second", true)]);
}

#[test]
fn what_is_too_much_is_dropped_and_counted() {
    let long = [b"--b0\r\nA: ", vec![b'x'; HEAD_BYTES].as_slice()].concat();
    let many = b"--b0\r\n\r\nx\r\n".repeat(MAX_PARTS + 2);
    let mut parser = Parser::new(BOUNDARY);
    let mut out = Vec::new();
    parser.push(&long, &mut out);
    parser.push(b"\r\n\r\nlost\r\n", &mut out);
    parser.push(&many, &mut out);
    assert_eq!(parser.dropped_count(), 3);
    assert_eq!(out.len(), MAX_PARTS);
    let big = [b"--b0\r\n\r\n", vec![b'x'; KEEP_BYTES + 1].as_slice()].concat();
    let (parts, _) = parse(&[&big]);
    assert_eq!(parts[0].head.len(), KEEP_BYTES);
    assert_eq!(parts[0].bytes, KEEP_BYTES as u64 + 1);
}

#[test]
fn boundaries_are_read_from_the_content_type() {
    for (field, expected) in [
        ("multipart/form-data; boundary=abc", Some("abc")),
        (
            "Multipart/Mixed; charset=x; Boundary=\"a; b\"",
            Some("a; b"),
        ),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data", None),
        ("text/plain; boundary=abc", None),
        ("m\u{fc}ltipart/\u{fc}", None),
    ] {
        assert_eq!(boundary_of(field).as_deref(), expected, "{field}");
    }
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    assert_eq!(boundary_of(&long), None);
}

/// Pieces that delimiters and heads are made of.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"\r\n--b0\r\n"[..],
        b"\r\n--b0",
        b"--b0\r\n",
        b"\r\n\r\n",
        b"\r\n",
        b"--",
        b" ",
        b"Content-Disposition: form-data; name=x",
        b"content",
    ]);
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_parts(body in any_body(), size in 1..30_usize) {
        let whole = parse(&[&body]);
        let pieces: Vec<&[u8]> = body.chunks(size).collect();
        prop_assert_eq!(&parse(&pieces), &whole);
    }

    #[test]
    fn parameters_of_any_text_are_read_without_panic(field in "\\PC{0,60}") {
        let _ = (boundary_of(&field), parameter(&field, "name"));
    }
}
