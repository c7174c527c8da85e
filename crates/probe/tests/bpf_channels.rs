//! Pipes, unix sockets and terminals on the real kernel: who is at which end, and what goes through.
//!
//! Needs root; run with `cargo xtask test`, or `cargo test -p agentsight-probe -- --ignored`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod recording;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use agentsight_wire::{self as wire, channel_data_rec, channel_open_rec};
use recording::{PART, Recording, watch_part};
use zerocopy::FromBytes;

/// Like JSON-RPC, so that it is captured beyond the head.
fn message(bytes: usize) -> Vec<u8> {
    let mut text = br#"{"jsonrpc":"2.0","id":1,"result":""#.to_vec();
    text.extend((0..bytes).map(|n| b'a' + u8::try_from(n % 26).unwrap()));
    text.extend(b"\"}\n");
    text
}

#[test]
#[ignore = "is what others watch"]
fn the_watched_program() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    match part.as_str() {
        "pipe" => {
            let (mut reader, mut writer) = std::io::pipe().unwrap();
            let writing = std::thread::spawn(move || writer.write_all(&message(200_000)).unwrap());
            reader.read_to_end(&mut Vec::new()).unwrap();
            writing.join().unwrap();
        }
        "text" => {
            let (mut reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(&[b'x'; 10_000]).unwrap();
            drop(writer);
            reader.read_to_end(&mut Vec::new()).unwrap();
        }
        "sockets" => {
            let (mut one, mut other) = UnixStream::pair().unwrap();
            let text = message(1_000);
            one.write_all(&text).unwrap();
            // In pieces, by a vector.
            let (head, tail) = text.split_at(100);
            let slices = [std::io::IoSlice::new(head), std::io::IoSlice::new(tail)];
            assert_eq!(other.write_vectored(&slices).unwrap(), text.len());
            one.read_exact(&mut vec![0; text.len()]).unwrap();
            other.read_exact(&mut vec![0; text.len()]).unwrap();
        }
        other => panic!("{other}"),
    }
}

/// The bytes of each flow, by the inode of its sender; panics at a hole.
fn flows(recording: &Recording) -> BTreeMap<u64, Vec<u8>> {
    let mut flows: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for bytes in recording.bytes(wire::EV_CHANNEL_DATA) {
        let (record, rest) = channel_data_rec::read_from_prefix(bytes).unwrap();
        let sender = if record.received != 0 && record.peer_ino != 0 {
            record.peer_ino
        } else {
            record.ino
        };
        let flow = flows.entry(sender).or_default();
        // A piece may be captured at both ends.
        let known = flow.len() - usize::try_from(record.offset).expect("no hole");
        if let Some(fresh) = rest[..record.bytes as usize].get(known..) {
            flow.extend(fresh);
        }
    }
    flows
}

#[test]
#[ignore = "needs root"]
fn a_long_message_through_a_pipe_arrives_whole() {
    let recording = watch_part("pipe");
    recording.assert_conserved();
    let text = message(200_000);
    assert!(flows(&recording).values().any(|flow| *flow == text));
}

#[test]
#[ignore = "needs root"]
fn of_other_text_the_head_is_kept() {
    let recording = watch_part("text");
    recording.assert_conserved();
    let head = vec![b'x'; 4096];
    assert!(flows(&recording).values().any(|flow| *flow == head));
}

#[test]
#[ignore = "needs root"]
fn both_ends_of_a_pipe_are_named() {
    let recording = watch_part("text");
    let uses: Vec<u64> = recording
        .files
        .values()
        .filter(|totals| totals.written_bytes == 10_000 && totals.read_bytes == 10_000)
        .map(|totals| totals.use_id)
        .collect();
    // Both ends of a pipe are one file to the kernel, and here to one process.
    assert_eq!(uses.len(), 1);
    assert!(recording.bytes(wire::EV_CHANNEL_OPEN).any(|bytes| {
        let (record, _) = channel_open_rec::read_from_prefix(bytes).unwrap();
        record.use_id == uses[0] && record.channel == wire::CHANNEL_PIPE
    }));
}

#[test]
#[ignore = "needs root"]
fn the_two_sockets_of_a_pair_name_each_other() {
    let recording = watch_part("sockets");
    recording.assert_conserved();
    let text = message(1_000);
    let flows = flows(&recording);
    let senders: Vec<u64> = flows
        .iter()
        .filter(|(_, flow)| **flow == text)
        .map(|(ino, _)| *ino)
        .collect();
    assert_eq!(senders.len(), 2, "{flows:?}");
    let peers: BTreeMap<u64, u64> = recording
        .bytes(wire::EV_CHANNEL_OPEN)
        .map(|bytes| channel_open_rec::read_from_prefix(bytes).unwrap().0)
        .filter(|record| record.channel == wire::CHANNEL_UNIX)
        .map(|record| (record.ino, record.peer_ino))
        .collect();
    assert_eq!(peers.get(&senders[0]), Some(&senders[1]));
    assert_eq!(peers.get(&senders[1]), Some(&senders[0]));
}
