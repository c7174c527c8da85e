//! HTTP/2: what exchanges come out of what frames.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use agentsight_decode::http::{
    Connection, Exchange, Fault, Flaw, Headers, Limits, StartLine, grpc,
};
use agentsight_model::Direction::{self, Received, Sent};
use agentsight_model::KTime;
use support::{Script, decode, frame, gzip, message, play, received, runs, sent};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
const WHOLE: u8 = END_STREAM | END_HEADERS;

/// A header block that refers to no table.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(u8::try_from(text.len()).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

fn get(path: &str) -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "h:1"),
        (":path", path),
    ])
}

fn status(code: &str) -> Vec<u8> {
    block(&[(":status", code)])
}

/// The client's first bytes.
fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])].concat()
}

/// The server's first bytes.
fn server_hello() -> Vec<u8> {
    [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat()
}

/// A connection that has been opened, and then these frames.
fn opened(mut rest: Script) -> Script {
    let mut script = vec![sent(hello()), received(server_hello())];
    script.append(&mut rest);
    script
}

fn body(exchange: &Exchange) -> &[u8] {
    &exchange.response.as_ref().unwrap().body.bytes
}

fn targets(exchanges: &[Exchange]) -> Vec<(&str, Option<u16>)> {
    exchanges
        .iter()
        .map(|e| {
            (
                e.request.target(),
                e.response.as_ref().and_then(|r| r.status()),
            )
        })
        .collect()
}

#[test]
fn a_request_and_its_response_are_an_exchange() {
    let request = block(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "h:1"),
        (":path", "/a?b"),
        ("content-encoding", "gzip"),
        ("x-a", "1"),
    ]);
    let script = opened(vec![
        sent(frame(HEADERS, END_HEADERS, 1, &request)),
        sent(frame(DATA, END_STREAM, 1, &gzip(b"question"))),
        received(frame(HEADERS, END_HEADERS, 1, &status("200"))),
        received(frame(DATA, 0, 1, b"ans")),
        received(frame(DATA, 0, 1, b"wer")),
        received(frame(HEADERS, WHOLE, 1, &block(&[("x-t", "end")]))),
    ]);
    let (exchanges, summary) = play(&script, &[], Limits::default());
    assert_eq!(targets(&exchanges), [("/a?b", Some(200))]);
    let exchange = &exchanges[0];
    assert!(exchange.is_complete());
    assert_eq!(exchange.transport, "h2");
    assert_eq!(exchange.requests_from, Sent);
    assert_eq!(exchange.endpoint(), "https://h:1/a");
    assert_eq!(exchange.request.method(), "POST");
    assert_eq!(exchange.request.body.bytes, b"question");
    assert_eq!(exchange.request.headers.get("x-a"), Some("1"));
    assert_eq!(exchange.request.headers.iter().count(), 3);
    assert_eq!(body(exchange), b"answer");
    let trailers = &exchange.response.as_ref().unwrap().trailers;
    assert_eq!(trailers.get("x-t"), Some("end"));
    assert_eq!(summary.protocol, "h2");
    assert_eq!((summary.undecoded_bytes, summary.fault), (0, None));
}

#[test]
fn streams_may_be_interleaved_and_framed_in_any_way() {
    let fields = get("/1");
    let (first, second) = fields.split_at(10);
    let padded = [&[3][..], b"abc", &[0; 3]].concat();
    let prioritised = [&[2][..], &[0, 0, 0, 0, 16], &get("/3"), &[0; 2]].concat();
    let script = opened(vec![
        sent(frame(HEADERS, END_STREAM, 1, first)),
        sent(frame(CONTINUATION, END_HEADERS, 1, second)),
        sent(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0])),
        sent(frame(
            HEADERS,
            END_HEADERS | PADDED | PRIORITY,
            3,
            &prioritised,
        )),
        sent(frame(0x10, 0, 0, b"\0\0\0\x01u=0")),
        sent(frame(2, 0, 5, &[0, 0, 0, 0, 16])),
        received(frame(PING, 0, 0, &[0; 8])),
        received(frame(HEADERS, END_HEADERS, 3, &status("203"))),
        received(frame(HEADERS, END_HEADERS, 1, &status("201"))),
        received(frame(DATA, PADDED, 3, &padded)),
        sent(frame(DATA, PADDED, 3, &[0])),
        sent(frame(DATA, END_STREAM | PADDED, 3, &padded)),
        received(frame(DATA, 0, 1, b"x")),
        received(frame(DATA, END_STREAM, 3, b"d")),
        received(frame(DATA, END_STREAM, 1, b"")),
    ]);
    let exchanges = decode(&script);
    assert_eq!(targets(&exchanges), [("/3", Some(203)), ("/1", Some(201))]);
    assert_eq!(exchanges[0].request.body.bytes, b"abc");
    assert_eq!(
        (body(&exchanges[0]), body(&exchanges[1])),
        (&b"abcd"[..], &b"x"[..])
    );
    assert!(exchanges.iter().all(Exchange::is_complete));
}

#[test]
fn responses_before_the_one_that_counts_are_passed_over() {
    let exchanges = decode(&opened(vec![
        sent(frame(HEADERS, WHOLE, 1, &get("/"))),
        received(frame(HEADERS, END_HEADERS, 1, &status("100"))),
        received(frame(HEADERS, END_HEADERS, 1, &status("103"))),
        received(frame(HEADERS, WHOLE, 1, &status("204"))),
    ]));
    assert_eq!(targets(&exchanges), [("/", Some(204))]);
    assert!(exchanges[0].is_complete());
}

#[test]
fn a_stream_that_is_reset_comes_out_as_far_as_it_went() {
    let exchanges = decode(&opened(vec![
        sent(frame(HEADERS, WHOLE, 1, &get("/1"))),
        sent(frame(HEADERS, END_HEADERS, 3, &get("/3"))),
        sent(frame(HEADERS, WHOLE, 5, &get("/5"))),
        received(frame(HEADERS, END_HEADERS, 1, &status("200"))),
        received(frame(DATA, 0, 1, b"half")),
        sent(frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])),
        received(frame(DATA, END_STREAM, 1, b"late")),
        // An answer before the request was sent whole.
        received(frame(HEADERS, WHOLE, 3, &status("413"))),
        received(frame(RST_STREAM, 0, 3, &[0; 4])),
        received(frame(RST_STREAM, 0, 5, &[0, 0, 0, 7])),
    ]));
    assert_eq!(
        targets(&exchanges),
        [("/1", Some(200)), ("/3", Some(413)), ("/5", None)]
    );
    assert_eq!(body(&exchanges[0]), b"half");
    let flaws = exchanges.iter().map(|e| {
        (
            e.request.body.flaw,
            e.response.as_ref().and_then(|r| r.body.flaw),
        )
    });
    let cut = Some(Flaw::Cut);
    assert_eq!(
        flaws.collect::<Vec<_>>(),
        [(None, cut), (cut, None), (None, None)]
    );
}

#[test]
fn requests_that_the_server_did_not_look_at_get_no_answer() {
    let exchanges = decode(&opened(vec![
        sent(frame(HEADERS, WHOLE, 1, &get("/1"))),
        sent(frame(HEADERS, WHOLE, 3, &get("/3"))),
        received(frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])),
        received(frame(HEADERS, WHOLE, 1, &status("200"))),
    ]));
    assert_eq!(targets(&exchanges), [("/3", None), ("/1", Some(200))]);
}

#[test]
fn what_is_pushed_is_passed_over_but_its_fields_are_read() {
    let mut encoder = fluke_hpack::Encoder::new();
    let mut pushed = vec![0, 0, 0, 2];
    pushed.extend(encoder.encode([(&b":path"[..], &b"/pushed"[..]), (b"x-a", b"shared")]));
    let response = encoder.encode([(&b":status"[..], &b"299"[..]), (b"x-a", b"shared")]);
    let (first, second) = pushed.split_at(9);
    let exchanges = decode(&opened(vec![
        sent(frame(HEADERS, WHOLE, 1, &get("/1"))),
        received(frame(PUSH_PROMISE, 0, 1, first)),
        received(frame(CONTINUATION, END_HEADERS, 1, second)),
        received(frame(HEADERS, END_HEADERS, 2, &status("200"))),
        received(frame(DATA, END_STREAM, 2, b"pushed")),
        received(frame(HEADERS, WHOLE, 1, &response)),
    ]));
    assert_eq!(targets(&exchanges), [("/1", Some(299))]);
    let headers = &exchanges[0].response.as_ref().unwrap().headers;
    assert_eq!(headers.get("x-a"), Some("shared"));
}

#[test]
fn the_protocol_is_told_from_whoever_speaks_first() {
    let request = frame(HEADERS, WHOLE, 1, &get("/"));
    let response = frame(HEADERS, WHOLE, 1, &status("204"));
    let server_first = vec![
        received(server_hello()),
        sent([hello(), request.clone()].concat()),
        received(response.clone()),
    ];
    assert_eq!(targets(&decode(&server_first)), [("/", Some(204))]);

    let as_server = vec![
        received([hello(), request.clone()].concat()),
        sent([server_hello(), response.clone()].concat()),
    ];
    let exchanges = decode(&as_server);
    assert_eq!(targets(&exchanges), [("/", Some(204))]);
    assert_eq!(exchanges[0].requests_from, Received);

    let mut cleartext = Connection::cleartext(Limits::default());
    let mut out = Vec::new();
    cleartext.push(Sent, KTime(1), &[hello(), request].concat(), &mut out);
    cleartext.push(
        Received,
        KTime(1),
        &[server_hello(), response].concat(),
        &mut out,
    );
    assert_eq!(out[0].endpoint(), "http://h:1/");
}

#[test]
fn an_upgrade_gets_its_response_on_stream_1() {
    let upgrade = message(
        "GET /up HTTP/1.1\nHost: h\nConnection: Upgrade\nUpgrade: h2c",
        b"",
    );
    let switching = message("HTTP/1.1 101 Switching Protocols\nUpgrade: h2c", b"");
    let script = vec![
        sent(upgrade),
        received([switching, server_hello()].concat()),
        sent(hello()),
        received(frame(HEADERS, END_HEADERS, 1, &status("200"))),
        received(frame(DATA, END_STREAM, 1, b"up")),
        sent(frame(HEADERS, WHOLE, 3, &get("/next"))),
        received(frame(HEADERS, WHOLE, 3, &status("204"))),
    ];
    let (exchanges, summary) = play(&script, &[], Limits::default());
    assert_eq!(
        targets(&exchanges),
        [("/up", Some(200)), ("/next", Some(204))]
    );
    assert!(exchanges.iter().all(Exchange::is_complete));
    assert_eq!(
        (summary.protocol.as_str(), summary.undecoded_bytes),
        ("h2", 0)
    );
}

#[test]
fn a_new_connection_in_an_old_stream_is_noticed() {
    let script = vec![
        sent(message("GET /a HTTP/1.1\nHost: h", b"")),
        sent([hello(), frame(HEADERS, WHOLE, 1, &get("/b"))].concat()),
        received([server_hello(), frame(HEADERS, WHOLE, 1, &status("204"))].concat()),
    ];
    assert_eq!(targets(&decode(&script)), [("/a", None), ("/b", Some(204))]);
}

#[test]
fn a_hole_inside_a_body_keeps_step() {
    let (exchanges, summary) = play(
        &opened(vec![
            sent(frame(HEADERS, WHOLE, 1, &get("/a"))),
            received(frame(HEADERS, END_HEADERS, 1, &status("200"))),
            received(frame(DATA, END_STREAM, 1, b"0123456789")[..14].to_vec()),
            (Received, Err(5)),
            sent(frame(HEADERS, WHOLE, 3, &get("/b"))),
            received(frame(HEADERS, WHOLE, 3, &status("204"))),
        ]),
        &[],
        Limits::default(),
    );
    assert_eq!(targets(&exchanges), [("/a", Some(200)), ("/b", Some(204))]);
    let lossy = &exchanges[0].response.as_ref().unwrap().body;
    assert_eq!(
        (lossy.flaw, lossy.bytes.as_slice()),
        (Some(Flaw::Hole), &b"01234"[..])
    );
    assert!(exchanges[1].is_complete());
    assert_eq!(summary.fault, None);
}

#[test]
fn a_hole_over_frames_costs_what_was_in_it() {
    let mut encoder = fluke_hpack::Encoder::new();
    let mut fields = |name: &'static str| {
        encoder.encode([(&b":status"[..], &b"200"[..]), (name.as_bytes(), b"v")])
    };
    let responses = [
        fields("x-a"),
        fields("x-b"),
        fields("x-a"),
        fields("x-c"),
        fields("x-c"),
    ];
    let response = |at: usize| {
        let stream = 2 * u32::try_from(at).unwrap() + 1;
        frame(HEADERS, WHOLE, stream, &responses[at])
    };
    let mut script = opened(vec![]);
    for at in 0..5_u32 {
        script.push(sent(frame(
            HEADERS,
            WHOLE,
            2 * at + 1,
            &get(&format!("/{at}")),
        )));
    }
    script.push(received(response(0)[..5].to_vec()));
    script.push((Received, Err(40)));
    script.push(received(response(2)));
    script.push(received(response(3)));
    script.push(received(response(4)));
    let (exchanges, summary) = play(&script, &[], Limits::default());
    assert_eq!(summary.fault, Some(Fault::OutOfStep));
    let answered: Vec<_> = exchanges
        .iter()
        .filter_map(|exchange| Some((exchange.request.target(), exchange.response.as_ref()?)))
        .map(|(target, response)| {
            let field = response.headers.iter().next().unwrap();
            (target, response.status(), field)
        })
        .collect();
    let unknown = Headers::UNKNOWN;
    assert_eq!(
        answered,
        [
            ("/2", Some(200), (unknown, unknown)),
            ("/3", Some(200), ("x-c", "v")),
            ("/4", Some(200), ("x-c", "v")),
        ]
    );
}

#[test]
fn a_header_block_that_is_broken_does_not_hide_the_body() {
    let exchanges = decode(&opened(vec![
        sent(frame(HEADERS, WHOLE, 1, &get("/a"))),
        received(frame(HEADERS, END_HEADERS, 1, &[0x88, 0x80])),
        received(frame(DATA, END_STREAM, 1, b"body")),
    ]));
    assert_eq!(targets(&exchanges), [("/a", Some(200))]);
    assert_eq!(body(&exchanges[0]), b"body");
}

#[test]
fn streams_and_fields_are_bounded() {
    let mut connection = Connection::new(Limits::default());
    let mut out = Vec::new();
    connection.push(Sent, KTime(1), &hello(), &mut out);
    // One entry of 3 KiB, referred to a thousand times by each request.
    let large = [&[0x40, 1, b'x', 0x7f, 0x81, 0x16][..], &[b'y'; 2944]].concat();
    let bomb = [get("/"), large, vec![0xbe; 1000]].concat();
    for id in 0..2000_u32 {
        connection.push(
            Sent,
            KTime(1),
            &frame(HEADERS, END_HEADERS, 2 * id + 1, &bomb),
            &mut out,
        );
        assert!(connection.buffered_bytes() < 64 << 20);
    }
    assert!(out.len() > 1000);
    assert!(out[0].request.headers.omitted_count() > 900);
    assert_eq!(connection.summary().fault, Some(Fault::TooManyPending));
}

#[test]
fn times_are_those_of_first_and_last_bytes() {
    let mut connection = Connection::new(Limits::default());
    let mut out = Vec::new();
    let request = frame(HEADERS, END_HEADERS, 1, &get("/"));
    let response = frame(HEADERS, END_HEADERS, 1, &status("200"));
    let steps: [(Direction, u64, &[u8]); 8] = [
        (Sent, 1, &hello()),
        (Sent, 2, &request[..4]),
        (Sent, 3, &request[4..]),
        (Sent, 4, &frame(DATA, 0, 1, b"ab")),
        (Sent, 5, &frame(DATA, END_STREAM, 1, b"")),
        (Received, 6, &response),
        (Received, 7, &frame(DATA, 0, 1, b"a")),
        (Received, 8, &frame(DATA, END_STREAM, 1, b"b")),
    ];
    for (direction, time, bytes) in steps {
        connection.push(direction, KTime(time), bytes, &mut out);
    }
    let (request, response) = (&out[0].request, out[0].response.as_ref().unwrap());
    let times =
        |m: &agentsight_decode::http::Message| (m.started.0, m.body_started.unwrap().0, m.ended.0);
    assert_eq!(times(request), (2, 4, 5));
    assert_eq!(times(response), (6, 7, 8));
}

fn recording() -> Script {
    runs(include_bytes!("golden/h2/sdk_httpx_coding/in.rec"))
}

/// Places in a recording at which a frame begins: the run, and the offset in it.
fn frame_starts(script: &Script, wanted: Direction) -> Vec<(usize, usize)> {
    let (mut starts, mut header, mut left) = (Vec::new(), Vec::new(), 0);
    if wanted == Sent {
        left = PREFACE.len();
    }
    for (run, (direction, bytes)) in script.iter().enumerate() {
        let bytes = bytes.as_ref().unwrap().iter().enumerate();
        for (at, byte) in bytes.filter(|_| *direction == wanted) {
            if left > 0 {
                left -= 1;
                continue;
            }
            if header.is_empty() {
                starts.push((run, at));
            }
            header.push(*byte);
            if let [0, high, low, ..] = header[..]
                && header.len() == 9
            {
                left = usize::from(u16::from_be_bytes([high, low]));
                header.clear();
            }
        }
    }
    starts
}

/// What is left of a recording from these places on, in either direction.
fn join(script: &Script, sent_from: (usize, usize), received_from: (usize, usize)) -> Script {
    let mut rest = Vec::new();
    for (run, (direction, bytes)) in script.iter().enumerate() {
        let from = if *direction == Sent {
            sent_from
        } else {
            received_from
        };
        let bytes = bytes.as_ref().unwrap();
        if run >= from.0 {
            let start = if run == from.0 { from.1 } else { 0 };
            rest.push((*direction, Ok(bytes[start..].to_vec())));
        }
    }
    rest
}

/// Asserts that nothing in the exchanges of one who joined is wrong; gives how much is unknown.
fn nothing_is_wrong(joined: &[Exchange], whole: &[Exchange]) -> (usize, usize) {
    let (mut unknown, mut known) = (0, 0);
    assert!(joined.len() <= whole.len());
    for (part, exchange) in joined.iter().rev().zip(whole.iter().rev()) {
        let (response, true_response) = (
            part.response.as_ref().unwrap(),
            exchange.response.as_ref().unwrap(),
        );
        for (seen, truth) in [
            (&part.request, &exchange.request),
            (response, true_response),
        ] {
            if seen.start != StartLine::Unseen {
                assert!(
                    seen.target().is_empty()
                        || seen.target() == Headers::UNKNOWN
                        || seen.target() == truth.target()
                );
                assert_eq!(seen.status(), truth.status());
                assert!(
                    seen.body.info.sha256 == truth.body.info.sha256 || seen.body.flaw.is_some(),
                    "{seen:?}\n{truth:?}"
                );
            }
            for (name, value) in seen.headers.iter() {
                let (unknown_name, unknown_value) =
                    (name == Headers::UNKNOWN, value == Headers::UNKNOWN);
                if unknown_name || unknown_value {
                    unknown += 1;
                    assert!(unknown_value || truth.headers.iter().any(|(_, v)| v == value));
                } else {
                    known += 1;
                    assert!(
                        truth.headers.all(name).any(|own| own == value),
                        "{name}: {value}"
                    );
                }
            }
        }
    }
    (unknown, known)
}

#[test]
fn who_joins_at_any_frame_reads_nothing_wrong() {
    let script = recording();
    let whole = decode(&script);
    let (all_sent, all_received) = (frame_starts(&script, Sent), frame_starts(&script, Received));
    let (mut unknown, mut known, mut exchanges) = (0, 0, 0);
    let mut starts = [all_sent.clone(), all_received.clone()].concat();
    starts.sort_unstable();
    for start in starts {
        // Both directions are joined at the first frame after that moment.
        let next = |all: &[(usize, usize)]| {
            let after = all.iter().copied().find(|own| *own >= start);
            after.unwrap_or((usize::MAX, 0))
        };
        let part = join(&script, next(&all_sent), next(&all_received));
        let joined = decode(&part);
        let (more_unknown, more_known) = nothing_is_wrong(&joined, &whole);
        unknown += more_unknown;
        known += more_known;
        exchanges += joined.len();
    }
    // This client sends most of its fields once, and refers to them ever after.
    assert!(
        exchanges > 500 && known > 500 && unknown > known,
        "{exchanges} {known} {unknown}"
    );
}

#[test]
fn who_joins_anywhere_finds_the_next_frame() {
    let script = recording();
    let whole = decode(&script);
    for run in 0..script.len() {
        let length = script[run].1.as_ref().unwrap().len();
        for at in (0..length).step_by(29) {
            let joined = decode(&join(&script, (run, at), (run, at)));
            nothing_is_wrong(&joined, &whole);
            // The request that goes by is cut; the ones after it are not.
            let untouched = whole.iter().rev().zip(joined.iter().rev());
            let later = script[run + 1..]
                .iter()
                .filter(|(d, b)| *d == Sent && b.as_ref().unwrap().len() > 200);
            let later = later.count().saturating_sub(1);
            let found = untouched
                .filter(|(a, b)| a.request.body.info.sha256 == b.request.body.info.sha256)
                .count();
            assert!(found >= later, "{run} {at}: {found} of {later}");
        }
    }
}

/// A call of gRPC: its messages cross the frames that carry them, and its status comes last.
#[test]
fn calls_of_grpc_are_named_and_have_a_status() {
    let request = block(&[
        (":method", "POST"),
        (":path", "/xai_api.Chat/GetCompletionChunk"),
        ("content-type", "application/grpc+proto"),
    ]);
    let response = block(&[(":status", "200"), ("content-type", "application/grpc")]);
    let trailers = block(&[("grpc-status", "8"), ("grpc-message", "slow%20down")]);
    let script = vec![
        sent(hello()),
        sent(frame(HEADERS, END_HEADERS, 1, &request)),
        sent(frame(DATA, END_STREAM, 1, b"\0\0\0\0\x03abc")),
        received(frame(SETTINGS, 0, 0, &[])),
        received(frame(HEADERS, END_HEADERS, 1, &response)),
        received(frame(DATA, 0, 1, b"\0\0\0\0\x02a")),
        received(frame(DATA, 0, 1, b"b\x01\0\0\0\x01c")),
        received(frame(HEADERS, WHOLE, 1, &trailers)),
    ];
    for pieces in [&[][..], &[1], &[7, 3]] {
        let (exchanges, _) = play(&script, pieces, Limits::default());
        let call = grpc::call_of(&exchanges[0]).unwrap();
        assert_eq!(call.service, "xai_api.Chat");
        assert_eq!(call.method, "GetCompletionChunk");
        assert_eq!((call.request_messages, call.response_messages), (1, 2));
        assert_eq!(call.compressed_messages, 1);
        assert_eq!(
            (call.status, call.message.as_deref()),
            (Some(8), Some("slow down"))
        );
        assert!(call.complete);
    }
}
