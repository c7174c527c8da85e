//! WebSocket: what turns come out of what frames.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use agentsight_decode::http::{Connection, Exchange, Fault, Flaw, Limits, StartLine};
use agentsight_model::Direction::{Received, Sent};
use agentsight_model::KTime;
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use support::{Script, decode, message, play, received, runs, sent};

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const LAST: u8 = 0x80;
const COMPRESSED: u8 = 0x40;

/// A frame with any first byte.
fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mask = if key.is_some() { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        0..126 => out.push(mask | u8::try_from(payload.len()).unwrap()),
        126..65_536 => {
            out.push(mask | 126);
            out.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend(
        key.unwrap_or_default()
            .iter()
            .take(if key.is_some() { 4 } else { 0 }),
    );
    let key = key.unwrap_or_default();
    out.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    out
}

const KEY: Option<[u8; 4]> = Some([0x11, 0xf2, 0x33, 0x84]);

fn ask(text: &str) -> (agentsight_model::Direction, Result<Vec<u8>, u64>) {
    sent(frame(LAST | TEXT, text.as_bytes(), KEY))
}

fn answer(text: &str) -> (agentsight_model::Direction, Result<Vec<u8>, u64>) {
    received(frame(LAST | TEXT, text.as_bytes(), None))
}

/// Messages compressed one after the other, each with the ones before as context.
struct Deflate(Compress);

impl Deflate {
    fn new() -> Self {
        Self(Compress::new(Compression::best(), false))
    }

    fn message(&mut self, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() * 2 + 1000);
        self.0
            .compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync)
            .unwrap();
        out.truncate(out.len() - 4);
        out
    }
}

fn handshake(extensions: &str) -> Script {
    vec![
        sent(message(
            "GET /v1/responses HTTP/1.1\nHost: h:1\nConnection: Upgrade\nUpgrade: websocket\nUser-Agent: a/1\nAuthorization: Bearer x",
            b"",
        )),
        received(message(
            &format!(
                "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nSec-WebSocket-Extensions: {extensions}"
            ),
            b"",
        )),
    ]
}

fn opened(extensions: &str, mut rest: Script) -> Script {
    let mut script = handshake(extensions);
    script.append(&mut rest);
    script
}

/// Request and response bodies of the turns; `-` where there is none.
fn bodies(exchanges: &[Exchange]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    exchanges
        .iter()
        .filter(|exchange| exchange.transport == "websocket")
        .map(|exchange| {
            let request = match exchange.request.start {
                StartLine::Unseen => "-".to_owned(),
                _ => text(&exchange.request.body.bytes),
            };
            let response = exchange.response.as_ref();
            let response = response.map_or_else(|| "-".to_owned(), |r| text(&r.body.bytes));
            (request, response)
        })
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

const CREATE: &str = r#"{"type":"response.create","model":"m","input":"1"}"#;
const CREATE_2: &str = r#"{"type":"response.create","model":"m","input":"2"}"#;
const CREATED: &str = r#"{"type":"response.created","response":{"id":"r1"}}"#;
const CREATED_2: &str = r#"{"type":"response.created","response":{"id":"r2"}}"#;
const DELTA: &str = r#"{"type":"response.output_text.delta","delta":"a"}"#;
const COMPLETED: &str = r#"{"type":"response.completed","response":{"id":"r1"}}"#;
const COMPLETED_2: &str = r#"{"type":"response.completed","response":{"id":"r2"}}"#;

#[test]
fn a_question_and_its_answer_are_a_turn() {
    let script = opened(
        "",
        vec![
            ask(CREATE),
            answer(CREATED),
            answer(DELTA),
            answer(COMPLETED),
            ask(CREATE_2),
            answer(CREATED_2),
            answer(COMPLETED_2),
            sent(frame(LAST | CLOSE, &[3, 232], KEY)),
        ],
    );
    let (exchanges, summary) = play(&script, &[], Limits::default());
    let response = [CREATED, DELTA, COMPLETED].join("\n");
    let response_2 = [CREATED_2, COMPLETED_2].join("\n");
    assert_eq!(
        bodies(&exchanges),
        pairs(&[(CREATE, &response), (CREATE_2, &response_2)])
    );
    let turn = &exchanges[1];
    assert!(turn.is_complete());
    assert_eq!(turn.endpoint(), "https://h:1/v1/responses");
    assert_eq!(turn.request.headers.get("user-agent"), Some("a/1"));
    assert_eq!(turn.request.headers.get("authorization"), None);
    let info = &turn.response.as_ref().unwrap().body.info;
    let wire_bytes = (CREATED.len() + DELTA.len() + COMPLETED.len()) as u64;
    assert_eq!((info.bytes, info.wire_bytes), (wire_bytes + 2, wire_bytes));
    assert_eq!(info.encoding, None);
    assert_eq!(summary.protocol, "websocket");
    assert_eq!((summary.undecoded_bytes, summary.fault), (0, None));
}

#[test]
fn messages_may_be_fragmented_with_control_frames_in_between() {
    let (first, rest) = CREATE.as_bytes().split_at(7);
    let (second, third) = rest.split_at(1);
    let script = opened(
        "",
        vec![
            sent(frame(TEXT, first, Some([9, 8, 7, 6]))),
            received(frame(LAST | PING, b"x", None)),
            sent(frame(LAST | PING, b"ping", KEY)),
            sent(frame(CONTINUATION, second, KEY)),
            sent(frame(CONTINUATION, b"", KEY)),
            sent(frame(LAST | CONTINUATION, third, KEY)),
            received(frame(TEXT, COMPLETED.as_bytes(), None)),
            received(frame(LAST | CONTINUATION, b"", None)),
        ],
    );
    for pieces in [&[][..], &[1], &[3, 5]] {
        let (exchanges, _) = play(&script, pieces, Limits::default());
        assert_eq!(bodies(&exchanges), pairs(&[(CREATE, COMPLETED)]));
        assert!(exchanges[1].is_complete());
    }
}

#[test]
fn compressed_messages_are_read_whatever_was_negotiated() {
    for (extensions, keeps_context) in [
        ("permessage-deflate", true),
        ("permessage-deflate; server_max_window_bits=15", true),
        (
            "x-other, permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12",
            false,
        ),
    ] {
        let (mut client, mut server) = (Deflate::new(), Deflate::new());
        let mut script = handshake(extensions);
        for _ in 0..3 {
            if !keeps_context {
                (client, server) = (Deflate::new(), Deflate::new());
            }
            let coded = client.message(CREATE);
            let (one, two) = coded.split_at(coded.len() / 2);
            script.push(sent(frame(COMPRESSED | TEXT, one, KEY)));
            script.push(sent(frame(LAST | CONTINUATION, two, KEY)));
            // One that is not compressed stands in between.
            script.push(answer(CREATED));
            script.push(received(frame(
                LAST | COMPRESSED | TEXT,
                &server.message(COMPLETED),
                None,
            )));
        }
        let (exchanges, summary) = play(&script, &[], Limits::default());
        let response = [CREATED, COMPLETED].join("\n");
        assert_eq!(bodies(&exchanges), pairs(&[(CREATE, response.as_str()); 3]));
        assert!(exchanges.iter().all(Exchange::is_complete));
        let info = &exchanges[2].request.body.info;
        assert_eq!(info.encoding.as_deref(), Some("permessage-deflate"));
        assert!(
            !keeps_context || info.wire_bytes < 20,
            "{}",
            info.wire_bytes
        );
        assert_eq!(summary.fault, None);
    }
}

/// What goes by, and the turns that come out.
type Talk = (Vec<String>, Vec<(String, String)>);

#[test]
fn answers_find_their_questions() {
    let plain: (&[&str], &[(&str, &str)]) = (
        &["<hello", ">a", ">b", "<1", "<2", ">c", "<3"],
        &[("-", "hello"), ("a\nb", "1\n2"), ("c", "3")],
    );
    let error = r#"{"type":"error","status":429,"error":{"code":"x"}}"#;
    let limits = r#"{"type":"rate_limits"}"#;
    let cancel = r#"{"type":"response.cancel"}"#;
    let table: [Talk; 6] = [
        (
            plain.0.iter().map(|step| (*step).to_owned()).collect(),
            pairs(plain.1),
        ),
        // Two questions before the first answer.
        (
            vec![
                format!(">{CREATE}"),
                format!(">{CREATE_2}"),
                format!("<{limits}"),
                format!("<{CREATED}"),
                format!("<{COMPLETED}"),
                format!("<{CREATED_2}"),
                format!("<{DELTA}"),
                format!("<{COMPLETED_2}"),
            ],
            pairs(&[
                (CREATE, &[limits, CREATED, COMPLETED].join("\n")),
                (CREATE_2, &[CREATED_2, DELTA, COMPLETED_2].join("\n")),
            ]),
        ),
        // Answers that are told apart by the name of their stream.
        (
            vec![
                r#">{"type":"response.create","stream_id":"a","input":"1"}"#.to_owned(),
                r#">{"type":"response.create","stream_id":"b","input":"2"}"#.to_owned(),
                r#"<{"type":"response.x","stream_id":"b"}"#.to_owned(),
                r#"<{"type":"response.y","stream_id":"a"}"#.to_owned(),
                r#"<{"type":"response.done","stream_id":"b"}"#.to_owned(),
                r#"<{"type":"response.done","stream_id":"a"}"#.to_owned(),
            ],
            pairs(&[
                (
                    r#"{"type":"response.create","stream_id":"b","input":"2"}"#,
                    "{\"type\":\"response.x\",\"stream_id\":\"b\"}\n{\"type\":\"response.done\",\"stream_id\":\"b\"}",
                ),
                (
                    r#"{"type":"response.create","stream_id":"a","input":"1"}"#,
                    "{\"type\":\"response.y\",\"stream_id\":\"a\"}\n{\"type\":\"response.done\",\"stream_id\":\"a\"}",
                ),
            ]),
        ),
        // An error is an answer, and what else the client says in between is none of the question.
        (
            vec![
                format!(">{CREATE}"),
                format!(">{cancel}"),
                format!("<{error}"),
                format!(">{CREATE_2}"),
                format!("<{COMPLETED_2}"),
            ],
            pairs(&[(CREATE, error), (cancel, "-"), (CREATE_2, COMPLETED_2)]),
        ),
        // OpenAI Realtime: what leads to a response, and all of it up to its end.
        (
            vec![
                r#"<{"type":"session.created"}"#.to_owned(),
                r#">{"type":"session.update"}"#.to_owned(),
                r#"<{"type":"session.updated"}"#.to_owned(),
                r#">{"type":"conversation.item.create"}"#.to_owned(),
                r#">{"type":"response.create"}"#.to_owned(),
                format!("<{CREATED}"),
                r#"<{"type":"conversation.item.done"}"#.to_owned(),
                r#">{"type":"input_audio_buffer.append"}"#.to_owned(),
                r#"<{"type":"response.done","response":{"id":"r1"}}"#.to_owned(),
                r#"<{"type":"input_audio_buffer.committed"}"#.to_owned(),
                format!("<{CREATED_2}"),
                r#"<{"type":"response.done","response":{"id":"r2"}}"#.to_owned(),
            ],
            pairs(&[
                ("-", r#"{"type":"session.created"}"#),
                (
                    "{\"type\":\"session.update\"}\n{\"type\":\"conversation.item.create\"}\n{\"type\":\"response.create\"}",
                    &[
                        r#"{"type":"session.updated"}"#,
                        CREATED,
                        r#"{"type":"conversation.item.done"}"#,
                        r#"{"type":"response.done","response":{"id":"r1"}}"#,
                    ]
                    .join("\n"),
                ),
                (
                    r#"{"type":"input_audio_buffer.append"}"#,
                    &[
                        r#"{"type":"input_audio_buffer.committed"}"#,
                        CREATED_2,
                        r#"{"type":"response.done","response":{"id":"r2"}}"#,
                    ]
                    .join("\n"),
                ),
            ]),
        ),
        // Gemini Live.
        (
            vec![
                r#">{"setup":{"model":"m"}}"#.to_owned(),
                r#"<{"setupComplete":{}}"#.to_owned(),
                r#">{"clientContent":{"turnComplete":true}}"#.to_owned(),
                r#"<{"serverContent":{"modelTurn":{}}}"#.to_owned(),
                r#"<{"toolCall":{}}"#.to_owned(),
                r#">{"toolResponse":{}}"#.to_owned(),
                r#"<{"serverContent":{"turnComplete":true}}"#.to_owned(),
            ],
            pairs(&[
                (
                    "{\"setup\":{\"model\":\"m\"}}\n{\"clientContent\":{\"turnComplete\":true}}",
                    "{\"setupComplete\":{}}\n{\"serverContent\":{\"modelTurn\":{}}}\n{\"toolCall\":{}}",
                ),
                (
                    r#"{"toolResponse":{}}"#,
                    r#"{"serverContent":{"turnComplete":true}}"#,
                ),
            ]),
        ),
    ];
    for (steps, expected) in table {
        let step = |step: &String| match step.split_at(1) {
            (">", text) => ask(text),
            (_, text) => answer(text),
        };
        let exchanges = decode(&opened("", steps.iter().map(step).collect()));
        assert_eq!(bodies(&exchanges), expected, "{steps:#?}");
    }
}

#[test]
fn watching_may_begin_in_the_middle() {
    let create = frame(LAST | TEXT, CREATE.as_bytes(), KEY);
    let (mut client, mut server) = (Deflate::new(), Deflate::new());
    let compressed = |deflate: &mut Deflate, text: &str, key| {
        frame(LAST | COMPRESSED | TEXT, &deflate.message(text), key)
    };
    let rest = vec![
        sent(create[20..].to_vec()),
        answer(&CREATED.repeat(20)[30..]),
        answer(DELTA),
        answer(COMPLETED),
        ask(CREATE_2),
        sent(frame(LAST | TEXT, br#"{"type":"response.cancel"}"#, KEY)),
        answer(CREATED_2),
        answer(COMPLETED_2),
        // The first compressed messages refer to nothing before them.
        sent(compressed(&mut client, CREATE, KEY)),
        received(compressed(&mut server, COMPLETED, None)),
    ];
    for pieces in [&[][..], &[1], &[10, 3]] {
        let (exchanges, summary) = play(&rest, pieces, Limits::default());
        let turns = bodies(&exchanges);
        let last = [CREATED_2, COMPLETED_2].join("\n");
        assert!(turns.contains(&(CREATE_2.to_owned(), last)), "{turns:#?}");
        assert_eq!(turns.last(), pairs(&[(CREATE, COMPLETED)]).last());
        assert_eq!(summary.protocol, "websocket");
    }
}

#[test]
fn what_refers_to_messages_that_were_not_seen_is_never_made_up() {
    let (mut client, mut server) = (Deflate::new(), Deflate::new());
    let mut script = vec![];
    for round in 0..6 {
        let question = CREATE.replace('1', &round.to_string());
        let coded = client.message(&question);
        script.push(sent(frame(LAST | COMPRESSED | TEXT, &coded, KEY)));
        let coded = server.message(COMPLETED);
        script.push(received(frame(LAST | COMPRESSED | TEXT, &coded, None)));
    }
    for from in 0..8 {
        let mut joined = script[from..].to_vec();
        // Messages that are not compressed tell what this is.
        joined.extend([
            ask(CREATE),
            ask(CREATE_2),
            answer(COMPLETED),
            answer(COMPLETED_2),
        ]);
        let exchanges = decode(&joined);
        for exchange in &exchanges {
            for message in [Some(&exchange.request), exchange.response.as_ref()] {
                let body = message.map(|message| &message.body);
                let body = body.filter(|body| body.flaw.is_none() && !body.bytes.is_empty());
                let Some(body) = body else { continue };
                let text = String::from_utf8(body.bytes.clone()).unwrap();
                assert!(
                    text.starts_with(r#"{"type":"response."#) && text.ends_with('}'),
                    "{text}"
                );
            }
        }
        assert_eq!(
            bodies(&exchanges).last(),
            pairs(&[(CREATE_2, COMPLETED_2)]).last()
        );
    }
}

#[test]
fn holes_cost_what_was_in_them() {
    // Inside of a message that is not compressed.
    let question = frame(LAST | TEXT, CREATE.as_bytes(), KEY);
    let script = opened(
        "",
        vec![
            sent(question[..20].to_vec()),
            (Sent, Err(5)),
            sent(question[25..].to_vec()),
            answer(COMPLETED),
            ask(CREATE_2),
            answer(COMPLETED_2),
        ],
    );
    let (exchanges, summary) = play(&script, &[], Limits::default());
    let lossy = &exchanges[1].request.body;
    assert_eq!(
        (lossy.flaw, lossy.gaps.as_slice()),
        (Some(Flaw::Hole), &[14][..])
    );
    assert_eq!(
        lossy.bytes,
        [&CREATE.as_bytes()[..14], &CREATE.as_bytes()[19..]].concat()
    );
    assert_eq!(bodies(&exchanges)[1], pairs(&[(CREATE_2, COMPLETED_2)])[0]);
    assert!(exchanges[2].is_complete());
    assert_eq!(summary.fault, None);

    // Inside of a compressed one, which spoils the rest of it and its use as context.
    let (mut server, mut alone) = (Deflate::new(), Deflate::new());
    let first = frame(LAST | COMPRESSED | TEXT, &server.message(CREATED), None);
    let second = frame(LAST | COMPRESSED | TEXT, &server.message(COMPLETED), None);
    let third = frame(LAST | COMPRESSED | TEXT, &alone.message(COMPLETED), None);
    let script = opened(
        "permessage-deflate",
        vec![
            ask(CREATE),
            received(first[..10].to_vec()),
            (Received, Err(first.len() as u64 - 10)),
            received(second),
            received(third),
        ],
    );
    let (exchanges, _) = play(&script, &[], Limits::default());
    let response = &exchanges[1].response.as_ref().unwrap().body;
    assert_eq!(response.flaw, Some(Flaw::Hole));
    assert!(response.bytes.ends_with(COMPLETED.as_bytes()));

    // Over frames: whose answer it was can no longer be told, and the next turn is whole.
    let script = opened(
        "",
        vec![
            ask(CREATE),
            answer(CREATED),
            (Received, Err(1000)),
            ask(CREATE_2),
            answer(CREATED_2),
            answer(COMPLETED_2),
        ],
    );
    let (exchanges, summary) = play(&script, &[], Limits::default());
    let whole = [CREATED_2, COMPLETED_2].join("\n");
    assert_eq!(
        bodies(&exchanges),
        pairs(&[(CREATE, CREATED), (CREATE_2, &whole)])
    );
    assert!(!exchanges[1].is_complete() && exchanges[2].is_complete());
    assert_eq!(summary.fault, Some(Fault::OutOfStep));
}

#[test]
fn a_connection_that_ends_early_gives_what_there_was() {
    let question = frame(LAST | TEXT, CREATE.as_bytes(), KEY);
    let exchanges = decode(&opened(
        "",
        vec![
            ask(CREATE_2),
            answer(CREATED_2),
            received(frame(LAST | TEXT, DELTA.as_bytes(), None)[..20].to_vec()),
            sent(question[..30].to_vec()),
        ],
    ));
    let cut = format!("{CREATED_2}\n{}", &DELTA[..18]);
    assert_eq!(
        bodies(&exchanges),
        pairs(&[(CREATE_2, &cut), (&CREATE[..24], "-")])
    );
    let flaw = |exchange: &Exchange| exchange.response.as_ref().and_then(|r| r.body.flaw);
    assert_eq!(flaw(&exchanges[1]), Some(Flaw::Cut));
    assert_eq!(exchanges[2].request.body.flaw, Some(Flaw::Cut));
}

#[test]
fn memory_is_bounded() {
    let limits = Limits {
        decoded_bytes: 4 << 20,
        body_bytes: 1 << 20,
        connection_bytes: 8 << 20,
        ..Limits::default()
    };
    let mut connection = Connection::new(limits);
    let mut out = Vec::new();
    for (direction, bytes) in handshake("permessage-deflate") {
        connection.push(direction, KTime(1), &bytes.unwrap(), &mut out);
    }
    // Questions without answers, a bomb, and a message that never ends.
    for _ in 0..3000 {
        let bytes = frame(LAST | TEXT, CREATE.as_bytes(), KEY);
        connection.push(Sent, KTime(1), &bytes, &mut out);
    }
    let bomb = Deflate::new().message(&"x".repeat(32 << 20));
    let bytes = frame(LAST | COMPRESSED | TEXT, &bomb, None);
    connection.push(Received, KTime(1), &bytes, &mut out);
    assert!(connection.buffered_bytes() < 4 << 20);
    connection.push(
        Received,
        KTime(1),
        &[TEXT, 127, 0, 0, 1, 0, 0, 0, 0, 0],
        &mut out,
    );
    for _ in 0..64 {
        connection.push(Received, KTime(1), &[b'x'; 1 << 20], &mut out);
        assert!(connection.buffered_bytes() < 4 << 20);
    }
    connection.finish(KTime(2), &mut out);
    assert_eq!(connection.summary().fault, Some(Fault::TooManyPending));
    let flaws = out.iter().filter_map(|e| e.response.as_ref()?.body.flaw);
    assert!(flaws.collect::<Vec<_>>().contains(&Flaw::Limit));
}

#[test]
fn who_joins_a_recording_anywhere_reads_nothing_wrong() {
    let script = runs(include_bytes!("golden/websocket/agent_codex_shell/in.rec"));
    let whole = decode(&script);
    let hashes: Vec<_> = whole
        .iter()
        .flat_map(|e| [Some(&e.request), e.response.as_ref()])
        .flatten()
        .map(|message| message.body.info.sha256.clone())
        .collect();
    let mut found = 0;
    for run in 2..script.len() {
        let length = script[run].1.as_ref().unwrap().len();
        for at in (0..length).step_by(211) {
            let mut joined = script[run..].to_vec();
            if let Ok(bytes) = &mut joined[0].1 {
                bytes.drain(..at);
            }
            for exchange in decode(&joined) {
                let messages = [Some(&exchange.request), exchange.response.as_ref()];
                for message in messages.into_iter().flatten() {
                    let body = &message.body;
                    let seen = message.start != StartLine::Unseen && body.flaw.is_none();
                    let known = hashes.contains(&body.info.sha256);
                    // What came before the join is missing from the first answer.
                    assert!(!seen || known || body.bytes.starts_with(b"{\"type\":\"response."));
                    found += usize::from(seen && known);
                }
            }
        }
    }
    assert!(found > 100, "{found}");
}

fn any_steps() -> impl Strategy<Value = Script> {
    let text = prop_oneof![
        prop::sample::select(vec![CREATE, CREATE_2, CREATED, COMPLETED, DELTA])
            .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let first = prop_oneof![
        4 => Just(LAST | TEXT),
        2 => Just(LAST | COMPRESSED | TEXT),
        1 => Just(TEXT),
        1 => Just(LAST | CONTINUATION),
        1 => any::<u8>(),
    ];
    let masked = prop::bool::weighted(0.97);
    let step = (
        any::<bool>(),
        first,
        text,
        masked,
        prop::option::weighted(0.05, 1..60_u64),
    );
    prop::collection::vec(step, 0..20).prop_map(|steps| {
        let (mut client, mut server) = (Deflate::new(), Deflate::new());
        let mut script = Vec::new();
        for (of_client, first, text, as_it_should_be, missing) in steps {
            let deflate = if of_client { &mut client } else { &mut server };
            let payload = match std::str::from_utf8(&text) {
                Ok(text) if first & COMPRESSED != 0 => deflate.message(text),
                _ => text,
            };
            let key = KEY.filter(|_| of_client == as_it_should_be);
            let bytes = frame(first, &payload, key);
            let direction = if of_client { Sent } else { Received };
            script.push((direction, missing.map_or(Ok(bytes), Err)));
        }
        script
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_split_gives_the_same_turns(
        steps in any_steps(),
        pieces in prop::collection::vec(1..40_usize, 1..5),
        joined in any::<bool>(),
    ) {
        let script = if joined { steps } else { opened("permessage-deflate", steps) };
        let whole = play(&script, &[], Limits::default());
        prop_assert_eq!(&play(&script, &pieces, Limits::default()), &whole);
        prop_assert_eq!(&play(&script, &[1], Limits::default()), &whole);
    }
}
