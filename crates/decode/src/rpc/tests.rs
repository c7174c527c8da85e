use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

fn headed(message: &Value) -> Vec<u8> {
    let text = message.to_string();
    format!("Content-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
}

fn decode(decoder: &mut Decoder, pieces: &[&[u8]]) -> Vec<Message> {
    let mut out = Vec::new();
    for piece in pieces {
        decoder.push(KTime(1), piece, &mut out);
    }
    decoder.finish(KTime(1), &mut out);
    out
}

/// What messages say, in short.
fn said(messages: &[Message]) -> Vec<String> {
    let short = |message: &Message| match &message.content {
        Content::Request { id, method, .. } => format!("{id}? {method}"),
        Content::Notification { method, .. } => format!("- {method}"),
        Content::Response { id, outcome: Ok(_) } => format!("{id}!"),
        Content::Response {
            id,
            outcome: Err(error),
        } => format!("{id}! error {}", error.code),
    };
    messages.iter().map(short).collect()
}

fn said_by(text: &str) -> (Vec<String>, Counts) {
    let mut decoder = Decoder::default();
    let messages = decode(&mut decoder, &[text.as_bytes()]);
    (said(&messages), decoder.counts())
}

#[test]
fn messages_are_told_by_their_members() {
    let cases: &[(&str, &[&str])] = &[
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{}}"#,
            &["1? m"],
        ),
        (r#"{"method":"m","jsonrpc":"2.0","id":"a"}"#, &["\"a\"? m"]),
        (r#"{"jsonrpc":"2.0","method":"m"}"#, &["- m"]),
        (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, &["- m"]),
        (r#"{"result":null,"jsonrpc":"2.0","id":2}"#, &["2!"]),
        (
            r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"x"}}"#,
            &["2! error -32601"],
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#,
            &["null! error -32700"],
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"error":null,"result":1}"#,
            &["2!"],
        ),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"}]"#,
            &["1? a", "- b"],
        ),
        (r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#, &[]),
        (r#"{"id":1,"method":"m"}"#, &[]),
        (r#"{"jsonrpc":"2.0","id":1}"#, &[]),
        (r#"{"jsonrpc":"2.0","id":1,"method":{}}"#, &[]),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m"} and more"#, &[]),
        (r#"{"a":{"jsonrpc":"2.0","id":1,"method":"m"}}"#, &[]),
        ("[", &[]),
        ("[1,", &[]),
        ("{}", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(said_by(text).0, *expected, "{text}");
        assert_eq!(
            said_by(&format!("{text}\r\n")).0,
            *expected,
            "{text} in a line"
        );
    }
}

#[test]
fn what_a_server_logs_between_messages_is_passed_over() {
    let text = "starting up\n{\"jsonrpc\":\"2.0\",\"method\":\"a\"}\n\n{\"level\":\"info\"}\nCaution\n\
        {\"jsonrpc\":\"2.0\",\"method\":\"b\"}\nbye";
    let (messages, counts) = said_by(text);
    assert_eq!(messages, ["- a", "- b"]);
    assert_eq!((counts.messages, counts.other_bytes), (2, 11 + 16 + 7 + 3));
}

#[test]
fn headers_and_lines_may_follow_each_other() {
    let message = json!({"jsonrpc": "2.0", "method": "é"});
    let mut stream = headed(&message);
    stream.extend(line(&message));
    let typed = String::from_utf8(headed(&message)).unwrap();
    stream.extend(
        typed
            .replace(
                "Content-Length",
                "Content-Type: a; charset=utf-8\r\ncontent-length",
            )
            .into_bytes(),
    );
    stream.extend(b"Content-Length: 0\r\n\r\nContent-Length: x\r\n\r\n");
    stream.extend(headed(&message));
    assert_eq!(decode(&mut Decoder::default(), &[&stream]).len(), 4);
}

#[test]
fn a_long_message_keeps_its_head_its_tail_and_its_id() {
    let text = "x".repeat(300_000);
    let request = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": {"name": "write", "arguments": {"text": text}}});
    let answer = format!(
        r#"{{"result":{{"content":[{{"type":"text","text":"{text}"}}]}},"jsonrpc":"2.0","id":7}}"#
    );
    let mut stream = line(&request);
    stream.extend(answer.as_bytes());
    stream.push(b'\n');
    stream.extend(line(&json!({"jsonrpc": "2.0", "method": "next"})));

    let messages = decode(&mut Decoder::with_limit(100_000), &[&stream]);
    assert_eq!(said(&messages), ["7? tools/call", "7!", "- next"]);
    assert!(!messages[0].body.complete && !messages[1].body.complete);
    assert_eq!(messages[1].body.bytes, answer.len() as u64);
    let Content::Request { params, .. } = &messages[0].content else {
        panic!("{:?}", messages[0]);
    };
    assert_eq!(params["name"], "write");
    let Content::Response {
        outcome: Ok(result),
        ..
    } = &messages[1].content
    else {
        panic!("{:?}", messages[1]);
    };
    assert!(result["head"].as_str().unwrap().starts_with(r#"{"result""#));
    assert!(result["tail"].as_str().unwrap().ends_with(r#""id":7}"#));

    let whole = decode(&mut Decoder::default(), &[&stream]);
    assert!(whole.iter().all(|message| message.body.complete));
    let digests = |messages: &[Message]| -> Vec<String> {
        messages
            .iter()
            .map(|message| message.body.sha256.clone())
            .collect()
    };
    assert_eq!(digests(&whole), digests(&messages));
}

#[test]
fn a_hole_costs_the_message_it_is_in() {
    let first = r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"text":"some"#;
    let mut decoder = Decoder::default();
    let mut out = Vec::new();
    decoder.push(KTime(1), first.as_bytes(), &mut out);
    decoder.hole(KTime(2), 100, &mut out);
    decoder.push(
        KTime(3),
        b" more\"}}\n{\"jsonrpc\":\"2.0\",\"method\":\"b\"}\n",
        &mut out,
    );
    assert_eq!(said(&out), ["1? a", "- b"]);
    assert!(!out[0].body.complete && out[1].body.complete);
    assert_eq!(decoder.counts().missing_bytes, 100);
}

#[test]
fn a_hole_inside_a_body_of_known_length_keeps_step() {
    let message =
        json!({"jsonrpc": "2.0", "id": 1, "method": "a", "params": {"text": "x".repeat(500)}});
    let stream = headed(&message);
    let mut decoder = Decoder::default();
    let mut out = Vec::new();
    decoder.push(KTime(1), &stream[..300], &mut out);
    decoder.hole(KTime(2), 100, &mut out);
    decoder.push(KTime(3), &stream[400..], &mut out);
    decoder.push(
        KTime(4),
        &headed(&json!({"jsonrpc": "2.0", "method": "b"})),
        &mut out,
    );
    assert_eq!(said(&out), ["1? a", "- b"]);
    assert!(!out[0].body.complete);
}

#[test]
fn a_stream_of_something_else_is_given_up() {
    let json_lines = "{\"event\":\"x\",\"n\":1}\n".repeat(100_000);
    let text = "a line of a log\n".repeat(10_000);
    let one_line = format!("{{\"jsonrpc\":\"2.0\",\"x\":\"{}", "y".repeat(2 << 20));
    for stream in [&json_lines, &text, &one_line] {
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        for piece in stream.as_bytes().chunks(4096) {
            decoder.push(KTime(1), piece, &mut out);
            assert!(decoder.buffered_bytes() <= (1 << 20) + 4096);
        }
        decoder.push(
            KTime(1),
            b"\n{\"jsonrpc\":\"2.0\",\"method\":\"late\"}\n",
            &mut out,
        );
        assert_eq!(decoder.verdict(), Verdict::Other);
        assert_eq!(decoder.buffered_bytes(), 0);
        assert!(out.is_empty());
        assert_eq!(decoder.counts().other_bytes, decoder.counts().bytes);
    }
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let message = prop_oneof![
        (0_u32..9, "[a-z/]{1,8}", "[a-zé\\\\\"{}]{0,40}").prop_map(|(id, method, text)| json!({
            "jsonrpc": "2.0", "id": id, "method": method, "params": {"text": text},
        })),
        (0_u32..9, "[a-z\n]{0,300}")
            .prop_map(|(id, text)| json!({"result": {"text": text}, "jsonrpc": "2.0", "id": id})),
        "[a-z]{0,9}".prop_map(|text| json!({"level": text})),
    ];
    let unit = prop_oneof![
        message.clone().prop_map(|message| line(&message)),
        message.prop_map(|message| headed(&message)),
        "[A-Za-z :]{0,20}\n".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(unit, 0..8).prop_map(|units| units.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_messages(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|at| &stream[at[0]..at[1]]).collect();
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        for limit in [1 << 20, 64] {
            let run = |pieces: &[&[u8]]| {
                let mut decoder = Decoder::with_limit(limit);
                let messages = decode(&mut decoder, pieces);
                (messages, decoder.counts(), decoder.verdict())
            };
            let whole = run(&[&stream]);
            prop_assert_eq!(&run(&pieces), &whole);
            prop_assert_eq!(&run(&bytes), &whole);
        }
    }

    #[test]
    fn no_bytes_and_no_hole_break_it(
        runs in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..80), 0_u64..99), 0..9),
    ) {
        let mut decoder = Decoder::with_limit(50);
        let mut out = Vec::new();
        for (bytes, missing) in runs {
            decoder.push(KTime(1), &bytes, &mut out);
            decoder.hole(KTime(1), missing, &mut out);
        }
        decoder.finish(KTime(2), &mut out);
        prop_assert!(decoder.buffered_bytes() == 0);
    }
}
