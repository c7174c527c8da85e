//! What holds for any bytes: how they are split does not matter, and nothing panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use agentsight_decode::http::{Body, Exchange, Flaw, Limits, Summary};
use agentsight_model::Direction::{Received, Sent};
use proptest::prelude::*;
use support::{Script, brotli, chunked, frame, gzip, message, play, received, sent, zlib, zstd};

/// One exchange of random shape.
fn any_exchange() -> impl Strategy<Value = Script> {
    let body = prop::collection::vec(any::<u8>(), 0..400);
    let framing = 0..3_u8;
    let coding = prop::sample::select(vec!["", "gzip", "deflate", "br", "zstd"]);
    (body, framing, coding, any::<bool>()).prop_map(|(body, framing, coding, trailer)| {
        let coded = match coding {
            "gzip" => gzip(&body),
            "deflate" => zlib(&body),
            "br" => brotli(&body),
            "zstd" => zstd(&body),
            _ => body,
        };
        let (field, framed) = match framing {
            0 => ("Transfer-Encoding: chunked".to_owned(), chunked(&coded, 7)),
            _ => (format!("Content-Length: {}", coded.len()), coded),
        };
        let encoding = format!("Content-Encoding: {coding}");
        let extra = if trailer { "\r\n" } else { "" };
        vec![
            sent(message(
                &format!("POST /x HTTP/1.1\n{field}\n{encoding}"),
                &framed,
            )),
            sent(extra),
            received(message(
                &format!("HTTP/1.1 200 OK\n{encoding}\n{field}"),
                &framed,
            )),
        ]
    })
}

/// Frames of HTTP/2, most of them as they could come.
fn any_frames() -> impl Strategy<Value = Script> {
    let block = prop::sample::select(vec![
        b"\x83\x86\x84\x41\x01h".to_vec(),
        b"\x82\x87\x44\x02/a\x40\x01x\x01y".to_vec(),
        b"\x88\xbe\xbf\x5c\x011".to_vec(),
        b"\x48\x03429\x00\x10content-encoding\x04gzip".to_vec(),
        b"\x20\x3f\xe1\x1f\x88".to_vec(),
    ]);
    let payload = prop_oneof![
        2 => block,
        1 => Just(gzip(b"some text")),
        2 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    let kind = prop_oneof![4 => Just(0), 4 => Just(1), 2 => Just(9), 1 => 0..12_u8];
    let flags = prop_oneof![3 => Just(4), 3 => Just(5), 2 => Just(0), 1 => any::<u8>()];
    let stream = prop::sample::select(vec![0, 1, 1, 3, 3, 2, 5]);
    let step = (
        any::<bool>(),
        kind,
        flags,
        stream,
        payload,
        prop::option::weighted(0.05, 1..60_u64),
    );
    prop::collection::vec(step, 0..25).prop_map(|steps| {
        let mut script = vec![sent(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec())];
        for (to_server, kind, flags, stream, payload, missing) in steps {
            let bytes = frame(kind, flags, stream, &payload);
            let direction = if to_server { Sent } else { Received };
            script.push((direction, missing.map_or(Ok(bytes), Err)));
        }
        script
    })
}

/// Leaves out what depends on how a decompressor is fed: how much it puts out before it reports an
/// error, and, with zstd, which errors it notices.
fn comparable((mut exchanges, summary): (Vec<Exchange>, Summary)) -> (Vec<Exchange>, Summary) {
    for exchange in &mut exchanges {
        let response = exchange.response.as_mut();
        for message in [Some(&mut exchange.request), response]
            .into_iter()
            .flatten()
        {
            let body = &mut message.body;
            let coding = body.info.encoding.as_deref().unwrap_or_default();
            if coding == "zstd" || (!coding.is_empty() && body.flaw == Some(Flaw::Corrupt)) {
                *body = Body::default();
            }
        }
    }
    (exchanges, summary)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_split_gives_the_same_exchanges(
        scripts in prop::collection::vec(any_exchange(), 1..4),
        pieces in prop::collection::vec(1..200_usize, 1..8),
        cut in any::<prop::sample::Index>(),
        hole in prop::option::of(1..50_u64),
    ) {
        let mut script: Script = scripts.into_iter().flatten().collect();
        if let Some(missing) = hole {
            let at = cut.index(script.len());
            let direction = script[at].0;
            script.insert(at, (direction, Err(missing)));
        } else if let (_, Ok(bytes)) = script.last_mut().unwrap() {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let whole = play(&script, &[], Limits::default());
        prop_assert_eq!(&play(&script, &pieces, Limits::default()), &whole);
        prop_assert_eq!(&play(&script, &[1], Limits::default()), &whole);
    }

    #[test]
    fn mutated_bytes_never_panic_and_split_the_same(
        scripts in prop::collection::vec(any_exchange(), 1..3),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        pieces in prop::collection::vec(1..100_usize, 1..5),
    ) {
        let mut script: Script = scripts.into_iter().flatten().collect();
        for (at, value) in mutations {
            let which = at.index(script.len());
            if let (_, Ok(bytes)) = &mut script[which] && !bytes.is_empty() {
                let place = at.index(bytes.len());
                bytes[place] = value;
            }
        }
        let whole = comparable(play(&script, &[], Limits::default()));
        let split = comparable(play(&script, &pieces, Limits::default()));
        prop_assert_eq!(split, whole);
    }

    #[test]
    fn any_split_of_frames_gives_the_same_exchanges(
        script in any_frames(),
        pieces in prop::collection::vec(1..40_usize, 1..5),
        from in 0..60_usize,
    ) {
        // Watching may begin in the middle.
        let mut script = script;
        if let Ok(bytes) = &mut script[0].1 {
            bytes.drain(..from.min(bytes.len()));
        }
        let whole = comparable(play(&script, &[], Limits::default()));
        for pieces in [&pieces[..], &[1]] {
            prop_assert_eq!(&comparable(play(&script, pieces, Limits::default())), &whole);
        }
    }

    #[test]
    fn random_bytes_never_panic(
        runs in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 0..8),
    ) {
        let script: Script = runs
            .into_iter()
            .map(|(to, bytes)| (if to { Sent } else { Received }, Ok(bytes)))
            .collect();
        play(&script, &[], Limits::default());
    }
}
