//! HTTP/1: what exchanges come out of what bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use agentsight_decode::http::{Connection, Exchange, Fault, Flaw, Limits, StartLine};
use agentsight_model::Direction::{self, Received, Sent};
use agentsight_model::KTime;
use support::{chunked, decode, message, play, received, sent};

fn body(exchange: &Exchange) -> &[u8] {
    &exchange.response.as_ref().unwrap().body.bytes
}

fn status(exchange: &Exchange) -> Option<u16> {
    exchange.response.as_ref().and_then(|r| r.status())
}

fn targets(exchanges: &[Exchange]) -> Vec<(&str, Option<u16>)> {
    exchanges
        .iter()
        .map(|e| (e.request.target(), status(e)))
        .collect()
}

#[test]
fn keep_alive_gives_one_exchange_a_request() {
    let script = vec![
        sent(message(
            "POST /a HTTP/1.1\nHost: h:1\nContent-Length: 3",
            b"abc",
        )),
        received(message("HTTP/1.1 200 OK\nContent-Length: 2", b"ok")),
        sent(message("GET /b?q=1 HTTP/1.1\nHost: h:1", b"")),
        received(message(
            "HTTP/1.1 404\nTransfer-Encoding: chunked",
            &chunked(b"not here", 3),
        )),
    ];
    let exchanges = decode(&script);
    assert_eq!(
        targets(&exchanges),
        [("/a", Some(200)), ("/b?q=1", Some(404))]
    );
    assert!(exchanges.iter().all(Exchange::is_complete));
    assert_eq!(exchanges[0].request.body.bytes, b"abc");
    assert_eq!(body(&exchanges[1]), b"not here");
    assert_eq!(exchanges[0].endpoint(), "https://h:1/a");
    assert_eq!(exchanges[1].endpoint(), "https://h:1/b");
    let info = &exchanges[0].request.body.info;
    assert_eq!((info.bytes, info.wire_bytes, info.complete), (3, 3, true));
    assert_eq!(
        info.sha256,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn a_server_is_watched_as_well_as_a_client() {
    let script = vec![
        received(message("GET /x HTTP/1.1\nHost: h", b"")),
        sent(message("HTTP/1.1 200 OK\nContent-Length: 0", b"")),
    ];
    let exchanges = decode(&script);
    assert_eq!(targets(&exchanges), [("/x", Some(200))]);
    assert_eq!(exchanges[0].requests_from, Received);
}

#[test]
fn pipelined_requests_get_their_responses_in_order() {
    let requests = ["/1", "/2", "/3"].map(|t| message(&format!("GET {t} HTTP/1.1"), b""));
    let responses =
        ["201", "202", "203"].map(|s| message(&format!("HTTP/1.1 {s} X\nContent-Length: 1"), b"x"));
    let exchanges = decode(&vec![sent(requests.concat()), received(responses.concat())]);
    let expected = [("/1", Some(201)), ("/2", Some(202)), ("/3", Some(203))];
    assert_eq!(targets(&exchanges), expected);
}

#[test]
fn responses_without_a_body_have_none() {
    let lengthy = |status: &str| message(&format!("HTTP/1.1 {status}\nContent-Length: 10"), b"");
    for (method, first) in [
        ("HEAD", lengthy("200 OK")),
        ("GET", lengthy("304 Not Modified")),
        ("DELETE", lengthy("204 No Content")),
        (
            "GET",
            [lengthy("103 Early Hints"), lengthy("204 X")].concat(),
        ),
    ] {
        let exchanges = decode(&vec![
            sent(message(&format!("{method} /a HTTP/1.1"), b"")),
            received(first),
            sent(message("GET /b HTTP/1.1", b"")),
            received(message("HTTP/1.1 200 OK\nContent-Length: 1", b"b")),
        ]);
        assert_eq!(exchanges.len(), 2, "{method}");
        assert_eq!(body(&exchanges[0]), b"", "{method}");
        assert_eq!(body(&exchanges[1]), b"b", "{method}");
        assert!(exchanges.iter().all(Exchange::is_complete), "{method}");
    }
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let exchanges = decode(&vec![
        sent(message("GET /a HTTP/1.0", b"")),
        received(message("HTTP/1.0 200 OK", b"to the end")),
    ]);
    assert_eq!(body(&exchanges[0]), b"to the end");
    assert!(exchanges[0].is_complete());
}

#[test]
fn leave_to_continue_comes_before_the_response() {
    let exchanges = decode(&vec![
        sent(message(
            "POST /a HTTP/1.1\nExpect: 100-continue\nContent-Length: 4",
            b"",
        )),
        received(message("HTTP/1.1 100 Continue", b"")),
        sent("body"),
        received(message("HTTP/1.1 200 OK\nContent-Length: 0", b"")),
    ]);
    assert_eq!(targets(&exchanges), [("/a", Some(200))]);
    assert_eq!(exchanges[0].request.body.bytes, b"body");
}

#[test]
fn a_refused_body_never_comes() {
    let exchanges = decode(&vec![
        sent(message(
            "POST /a HTTP/1.1\nExpect: 100-continue\nContent-Length: 4",
            b"",
        )),
        received(message("HTTP/1.1 417 No\nContent-Length: 0", b"")),
        sent(message("GET /b HTTP/1.1", b"")),
        received(message("HTTP/1.1 200 OK\nContent-Length: 0", b"")),
    ]);
    assert_eq!(targets(&exchanges), [("/a", Some(417)), ("/b", Some(200))]);
    assert_eq!(exchanges[0].request.body.flaw, Some(Flaw::Cut));
}

#[test]
fn an_early_response_waits_for_its_request_to_end() {
    let exchanges = decode(&vec![
        sent(message("POST /a HTTP/1.1\nContent-Length: 4", b"bo")),
        received(message("HTTP/1.1 413 Too Large\nContent-Length: 0", b"")),
        sent("dy"),
    ]);
    assert_eq!(targets(&exchanges), [("/a", Some(413))]);
    assert_eq!(exchanges[0].request.body.bytes, b"body");
    assert!(exchanges[0].is_complete());
}

#[test]
fn an_upgrade_ends_http() {
    let (exchanges, summary) = play(
        &vec![
            sent(message(
                "GET /ws HTTP/1.1\nConnection: Upgrade\nUpgrade: WebSocket",
                b"",
            )),
            received(message(
                "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket",
                b"\x81\x02hi",
            )),
            sent(b"\x81\x82....xx".to_vec()),
        ],
        &[],
        Limits::default(),
    );
    assert_eq!(targets(&exchanges)[0], ("/ws", Some(101)));
    assert_eq!(summary.protocol, "websocket");
    let (_, summary) = play(
        &vec![
            sent(message("GET / HTTP/1.1\nUpgrade: other/1", b"")),
            received(message(
                "HTTP/1.1 101 Switching\nUpgrade: other/1",
                b"\x01\x02",
            )),
            sent("abc"),
        ],
        &[],
        Limits::default(),
    );
    assert_eq!(
        (summary.protocol.as_str(), summary.undecoded_bytes),
        ("other", 5)
    );
}

#[test]
fn a_tunnel_is_not_looked_into() {
    let (exchanges, summary) = play(
        &vec![
            sent(message("CONNECT h:443 HTTP/1.1\nHost: h:443", b"")),
            received(message("HTTP/1.1 200 Connection established", b"")),
            sent(b"\x16\x03\x01 GET / HTTP/1.1\r\n\r\n".to_vec()),
        ],
        &[],
        Limits::default(),
    );
    assert_eq!(targets(&exchanges), [("h:443", Some(200))]);
    assert_eq!(summary.protocol, "tunnel");
}

#[test]
fn trailers_and_repeated_headers_are_kept() {
    let exchanges = decode(&vec![
        sent(message(
            "GET / HTTP/1.1\nX-A: 1\nx-a: 2\nX-B: \u{e9}\nX-C: a\n  folded",
            b"",
        )),
        received(message(
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked",
            b"2\r\nhi\r\n0\r\nX-T: end\r\n\r\n",
        )),
    ]);
    let headers = &exchanges[0].request.headers;
    assert_eq!(headers.all("X-A").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(headers.get("x-c"), Some("a folded"));
    let response = exchanges[0].response.as_ref().unwrap();
    assert_eq!(response.trailers.get("x-t"), Some("end"));
}

#[test]
fn a_truncated_exchange_keeps_what_arrived() {
    for (received_bytes, expected) in [
        (
            message("HTTP/1.1 200 OK\nContent-Length: 10", b"half"),
            Some(200),
        ),
        (
            message("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"a\r\nhalf"),
            Some(200),
        ),
        (b"HTTP/1.1 200".to_vec(), None),
        (b"".to_vec(), None),
    ] {
        let exchanges = decode(&vec![
            sent(message("GET /a HTTP/1.1", b"")),
            received(received_bytes),
        ]);
        assert_eq!(targets(&exchanges), [("/a", expected)]);
        assert!(!exchanges[0].is_complete());
        if expected.is_some() {
            assert_eq!(body(&exchanges[0]), b"half");
        }
    }
}

#[test]
fn watching_may_begin_in_the_middle() {
    let (exchanges, summary) = play(
        &vec![
            received("rest of a body\nthat began before\r\n"),
            sent(message("GET /b HTTP/1.1\nHost: h", b"")),
            received(message("HTTP/1.1 200 OK\nContent-Length: 1", b"b")),
        ],
        &[],
        Limits::default(),
    );
    assert_eq!(targets(&exchanges), [("/b", Some(200))]);
    assert_eq!(summary.undecoded_bytes, 34);
}

#[test]
fn a_response_whose_request_was_missed_is_kept() {
    let exchanges = decode(&vec![
        received(message("HTTP/1.1 200 OK\nContent-Length: 1", b"a")),
        sent(message("GET /b HTTP/1.1", b"")),
        received(message("HTTP/1.1 201 OK\nContent-Length: 1", b"b")),
    ]);
    assert_eq!(targets(&exchanges), [("", Some(200)), ("/b", Some(201))]);
    assert_eq!(exchanges[0].request.start, StartLine::Unseen);
    assert!(!exchanges[0].is_complete() && exchanges[1].is_complete());
}

#[test]
fn a_hole_inside_a_body_keeps_step() {
    let chunked_head = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked";
    for (head, before, missing, after) in [
        ("HTTP/1.1 200 OK\nContent-Length: 10", "ab", 3, "fghij"),
        ("HTTP/1.1 200 OK\nContent-Length: 10", "abcde", 5, ""),
        (chunked_head, "a\r\nab", 3, "fghij\r\n0\r\n\r\n"),
    ] {
        let (exchanges, summary) = play(
            &vec![
                sent(message("GET /a HTTP/1.1", b"")),
                received(message(head, before.as_bytes())),
                (Received, Err(missing)),
                received(after),
                sent(message("GET /b HTTP/1.1", b"")),
                received(message("HTTP/1.1 200 OK\nContent-Length: 0", b"")),
            ],
            &[],
            Limits::default(),
        );
        assert_eq!(targets(&exchanges), [("/a", Some(200)), ("/b", Some(200))]);
        let body = &exchanges[0].response.as_ref().unwrap().body;
        assert_eq!(body.flaw, Some(Flaw::Hole));
        assert!(exchanges[1].is_complete());
        assert_eq!((summary.missing_bytes, summary.fault), (missing, None));
    }
}

#[test]
fn a_lost_response_is_not_taken_from_the_next_request() {
    let (exchanges, summary) = play(
        &vec![
            sent(message("GET /a HTTP/1.1", b"")),
            (Received, Err(500)),
            sent(message("GET /b HTTP/1.1", b"")),
            received(message("HTTP/1.1 200 OK\nContent-Length: 0", b"")),
        ],
        &[],
        Limits::default(),
    );
    assert_eq!(targets(&exchanges), [("/a", None), ("/b", Some(200))]);
    assert_eq!(summary.fault, Some(Fault::OutOfStep));
}

#[test]
fn hostile_framing_is_refused_and_passed_over() {
    for fields in [
        "Content-Length: 1\nContent-Length: 2",
        "Content-Length: 1, 2",
        "Content-Length: -1",
        "Content-Length: +5",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: gzip",
    ] {
        let (exchanges, _) = play(
            &vec![
                sent(message(&format!("POST /a HTTP/1.1\n{fields}"), b"x\r\n")),
                received(message("HTTP/1.1 400 Bad\nContent-Length: 0", b"")),
                sent(message("GET /b HTTP/1.1\nHost: h", b"")),
                received(message("HTTP/1.1 200 OK\nContent-Length: 0", b"")),
            ],
            &[],
            Limits::default(),
        );
        assert_eq!(
            targets(&exchanges),
            [("/a", Some(400)), ("/b", Some(200))],
            "{fields}"
        );
        assert_eq!(
            exchanges[0].request.body.flaw,
            Some(Flaw::Corrupt),
            "{fields}"
        );
    }
}

#[test]
fn chunks_that_are_none_end_the_body() {
    for bad in [
        "zz\r\n",
        "-1\r\n",
        "+1\r\n",
        "\r\n",
        "fffffffffffffffff\r\n",
        "1\r\nab\r\n",
    ] {
        let exchanges = decode(&vec![
            sent(message("GET / HTTP/1.1", b"")),
            received(message(
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked",
                format!("2\r\nok\r\n{bad}").as_bytes(),
            )),
        ]);
        let body = &exchanges[0].response.as_ref().unwrap().body;
        assert_eq!(body.flaw, Some(Flaw::Corrupt), "{bad:?}");
        assert!(body.bytes.starts_with(b"ok"), "{bad:?}");
    }
}

#[test]
fn what_is_no_http_is_counted_in_bounded_memory() {
    let mut connection = Connection::new(Limits::default());
    let mut out = Vec::new();
    let junk = [0x5a; 16_384];
    for _ in 0..1000 {
        connection.push(Sent, KTime(1), &junk, &mut out);
        assert!(connection.buffered_bytes() <= 300 << 10);
    }
    connection.finish(KTime(2), &mut out);
    let summary = connection.summary();
    assert!(out.is_empty());
    assert_eq!(summary.protocol, "unknown");
    assert_eq!(summary.undecoded_bytes, 16_384_000);
}

#[test]
fn requests_without_responses_are_bounded() {
    let request = message("GET / HTTP/1.1", b"");
    let (exchanges, summary) = play(&vec![sent(request.repeat(1000))], &[], Limits::default());
    assert_eq!(exchanges.len(), 1000);
    assert_eq!(summary.fault, Some(Fault::TooManyPending));
}

#[test]
fn http2_is_named() {
    let (_, summary) = play(
        &vec![sent("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")],
        &[3],
        Limits::default(),
    );
    assert_eq!(summary.protocol, "h2");
}

#[test]
fn times_are_those_of_first_and_last_bytes() {
    let mut connection = Connection::new(Limits::default());
    let mut out = Vec::new();
    let steps: [(Direction, u64, &str); 6] = [
        (Sent, 1, "POST / HTTP/1.1\r\n"),
        (Sent, 2, "Content-Length: 2\r\n\r\n"),
        (Sent, 3, "ab"),
        (Received, 4, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        (Received, 5, "a"),
        (Received, 6, "b"),
    ];
    for (direction, time, bytes) in steps {
        connection.push(direction, KTime(time), bytes.as_bytes(), &mut out);
    }
    let (request, response) = (&out[0].request, out[0].response.as_ref().unwrap());
    let times =
        |m: &agentsight_decode::http::Message| (m.started.0, m.body_started.unwrap().0, m.ended.0);
    assert_eq!(times(request), (1, 3, 3));
    assert_eq!(times(response), (4, 5, 6));
}
