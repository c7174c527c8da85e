//! Bodies: content codings, and what limits do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use agentsight_decode::http::{Flaw, Limits};
use support::{
    brotli, chunked, decode, gzip, message, play, raw_deflate, received, sent, zlib, zstd,
};

#[test]
fn content_codings_are_removed() {
    let text: Vec<u8> = (0..50_000_u32)
        .flat_map(|n| format!("{n} ").into_bytes())
        .collect();
    for (name, coded) in [
        ("gzip", gzip(&text)),
        (
            "x-gzip",
            [gzip(&text[..1000]), gzip(&text[1000..])].concat(),
        ),
        ("gzip", [gzip(&text), b"trailing garbage".to_vec()].concat()),
        ("deflate", zlib(&text)),
        ("deflate", raw_deflate(&text)),
        ("br", brotli(&text)),
        ("zstd", zstd(&text)),
        ("zstd", [zstd(&text[..1000]), zstd(&text[1000..])].concat()),
        ("gzip, br", brotli(&gzip(&text))),
        ("identity", text.clone()),
        ("some-future-coding", text.clone()),
    ] {
        let head = format!(
            "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Encoding: {name}\nTransfer-Encoding: chunked"
        );
        let script = vec![
            sent(message("GET / HTTP/1.1", b"")),
            received(message(&head, &chunked(&coded, 777))),
        ];
        for pieces in [&[][..], &[1], &[4096, 1, 2]] {
            let (exchanges, _) = play(&script, pieces, Limits::default());
            let body = &exchanges[0].response.as_ref().unwrap().body;
            assert_eq!(body.flaw, None, "{name}");
            assert!(body.bytes == text, "{name}");
            assert_eq!(body.info.wire_bytes, coded.len() as u64, "{name}");
            assert!(body.is_kept_whole());
        }
    }
}

#[test]
fn a_cut_compressed_body_gives_what_it_holds() {
    let text: Vec<u8> = (0..50_000_u32)
        .flat_map(|n| format!("{n} ").into_bytes())
        .collect();
    for (name, coded) in [
        ("gzip", gzip(&text)),
        ("deflate", zlib(&text)),
        ("br", brotli(&text)),
        ("zstd", zstd(&text)),
    ] {
        let head = format!(
            "HTTP/1.1 200 OK\nContent-Encoding: {name}\nContent-Length: {}",
            coded.len()
        );
        let part = &coded[..coded.len() * 7 / 8];
        let exchanges = decode(&vec![
            sent(message("GET / HTTP/1.1", b"")),
            received(message(&head, part)),
        ]);
        let body = &exchanges[0].response.as_ref().unwrap().body;
        assert_eq!(body.flaw, Some(Flaw::Cut), "{name}");
        assert!(!exchanges[0].is_complete());
        assert!(
            body.bytes.len() > text.len() / 8,
            "{name}: {}",
            body.bytes.len()
        );
        assert!(text.starts_with(&body.bytes), "{name}");
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    let zeros = vec![0; 20 << 20];
    let limits = Limits {
        decoded_bytes: 1 << 20,
        ..Limits::default()
    };
    for (name, coded) in [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("br", brotli(&zeros)),
        ("zstd", zstd(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ] {
        let head = format!("HTTP/1.1 200 OK\nContent-Encoding: {name}");
        let script = vec![
            sent(message("GET / HTTP/1.1", b"")),
            received(message(&head, &coded)),
        ];
        let (exchanges, _) = play(&script, &[], limits);
        let body = &exchanges[0].response.as_ref().unwrap().body;
        assert_eq!(body.flaw, Some(Flaw::Limit), "{name}");
        assert!(body.bytes.len() <= 1 << 20, "{name}");
    }
}

#[test]
fn broken_codings_are_flawed_not_fatal() {
    for name in ["gzip", "deflate", "br", "zstd"] {
        let head = format!("HTTP/1.1 200 OK\nContent-Encoding: {name}");
        let script = vec![
            sent(message("GET / HTTP/1.1", b"")),
            received(message(&head, &[0x77; 5000])),
        ];
        let exchanges = decode(&script);
        let body = &exchanges[0].response.as_ref().unwrap().body;
        assert!(body.flaw.is_some(), "{name}");
        assert_eq!(body.info.wire_bytes, 5000, "{name}");
    }
}

#[test]
fn bodies_of_64_mib_pass_whole() {
    let big = vec![b'a'; 64 << 20];
    let head = format!("POST /a HTTP/1.1\nContent-Length: {}", big.len());
    let script = vec![
        sent(message(&head, &big)),
        received(message("HTTP/1.1 200 OK\nContent-Length: 0", b"")),
    ];
    let (exchanges, _) = play(&script, &[16_384], Limits::default());
    assert!(exchanges[0].request.body.is_kept_whole());
    assert_eq!(exchanges[0].request.body.bytes.len(), 64 << 20);
}

#[test]
fn what_is_not_kept_is_still_hashed_and_counted() {
    let limits = Limits {
        body_bytes: 2,
        ..Limits::default()
    };
    let script = vec![sent(message("POST /a HTTP/1.1\nContent-Length: 3", b"abc"))];
    let (exchanges, _) = play(&script, &[], limits);
    let body = &exchanges[0].request.body;
    assert_eq!(body.bytes, b"ab");
    assert!(body.info.complete && !body.is_kept_whole());
    assert!(body.info.sha256.starts_with("ba7816bf"));
}
