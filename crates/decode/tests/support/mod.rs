//! Helpers that the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses some of them")]

use std::io::Write as _;

use agentsight_decode::http::{Connection, Exchange, Limits, Summary};
use agentsight_model::Direction::{self, Received, Sent};
use agentsight_model::KTime;

/// What went over a connection: runs of bytes in order of time, or holes (`Err`).
pub(crate) type Script = Vec<(Direction, Result<Vec<u8>, u64>)>;

pub(crate) fn sent(bytes: impl Into<Vec<u8>>) -> (Direction, Result<Vec<u8>, u64>) {
    (Sent, Ok(bytes.into()))
}

pub(crate) fn received(bytes: impl Into<Vec<u8>>) -> (Direction, Result<Vec<u8>, u64>) {
    (Received, Ok(bytes.into()))
}

/// Decodes a script in pieces of the sizes that `pieces` gives, over and over.
pub(crate) fn play(script: &Script, pieces: &[usize], limits: Limits) -> (Vec<Exchange>, Summary) {
    let mut connection = Connection::new(limits);
    let mut out = Vec::new();
    let mut sizes = pieces.iter().copied().cycle();
    for (direction, step) in script {
        match step {
            Err(missing) => connection.hole(*direction, KTime(1), *missing, &mut out),
            Ok(bytes) => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let size = sizes.next().unwrap_or(usize::MAX).clamp(1, rest.len());
                    let (piece, after) = rest.split_at(size);
                    connection.push(*direction, KTime(1), piece, &mut out);
                    rest = after;
                }
            }
        }
    }
    connection.finish(KTime(2), &mut out);
    (out, connection.summary())
}

pub(crate) fn decode(script: &Script) -> Vec<Exchange> {
    play(script, &[], Limits::default()).0
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let params = brotli::enc::BrotliEncoderParams {
        quality: 4,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &bytes[..], &mut out, &params).unwrap();
    out
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// A body in chunks of `size` bytes.
pub(crate) fn chunked(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in bytes.chunks(size) {
        write!(out, "{:x};ext=\"1\"\r\n", chunk.len()).unwrap();
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// Head fields, a blank line and a body.
pub(crate) fn message(head: &str, body: &[u8]) -> Vec<u8> {
    let mut out = head.replace('\n', "\r\n").into_bytes();
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
    out
}

/// Reads a recording: `>` (sent) or `<` (received), the length in four bytes, the bytes; over and over.
pub(crate) fn runs(recording: &[u8]) -> Script {
    let (mut script, mut rest) = (Vec::new(), recording);
    while let [direction, a, b, c, d, after @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (bytes, after) = after.split_at(length);
        script.push(match direction {
            b'>' => sent(bytes),
            _ => received(bytes),
        });
        rest = after;
    }
    script
}

/// A frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}
