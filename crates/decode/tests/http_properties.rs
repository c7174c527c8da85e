//! What holds for any bytes: how they are split does not matter, and nothing panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use agentsight_decode::http::{Body, Exchange, Flaw, Limits, Summary};
use agentsight_model::Direction::{Received, Sent};
use proptest::prelude::*;
use support::{Script, brotli, chunked, gzip, message, play, received, sent, zlib, zstd};

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
