//! Any bytes as one direction of a conversation over JSON-RPC: how they are cut changes nothing, and memory
//! is bounded. The first byte says where they are cut.

#![no_main]

use agentsight_decode::rpc::{Decoder, Message};
use agentsight_model::KTime;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1024;

fn decode(pieces: &[&[u8]]) -> Vec<Message> {
    let mut decoder = Decoder::with_limit(LIMIT);
    let mut out = Vec::new();
    for piece in pieces {
        decoder.push(KTime(1), piece, &mut out);
        assert!(decoder.buffered_bytes() <= 128 << 10);
    }
    decoder.finish(KTime(1), &mut out);
    out
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&at, rest)) = bytes.split_first() else {
        return;
    };
    let (front, back) = rest.split_at(rest.len() * usize::from(at) / 256);
    assert_eq!(decode(&[front, back]), decode(&[rest]));
});
