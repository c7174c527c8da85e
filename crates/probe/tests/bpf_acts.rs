//! Acts on processes, names and the kernel, on the real kernel.
//!
//! Needs root; run with `cargo xtask test`, or `cargo test -p agentsight-probe -- --ignored`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod recording;

use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use agentsight_wire::{self as wire, act_rec, canary_rec, dns_rec};
use recording::{PART, Recording, watch, watch_part};
use zerocopy::FromBytes;

/// A question for the address of `a.test`.
const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01";

#[test]
#[ignore = "is what others watch"]
fn the_watched_program() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let (act, folder) = part.split_once(' ').unwrap();
    let folder = Path::new(folder);
    match act {
        "names" => {
            let file = folder.join("file");
            let made = File::create(&file).unwrap();
            fs::hard_link(&file, folder.join("hard")).unwrap();
            symlink("file", folder.join("soft")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            made.set_len(4096).unwrap();
            fs::create_dir(folder.join("sub")).unwrap();
        }
        "sockets" => {
            let path = folder.join("listening");
            let listener = UnixListener::bind(&path).unwrap();
            let _stream = UnixStream::connect(&path).unwrap();
            drop(listener);
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            // Nobody listens there, and nothing leaves this machine.
            let _ = socket.send_to(QUESTION, "127.0.0.1:53");
        }
        other => panic!("{other}"),
    }
}

fn texts(bytes: &[u8], record: &act_rec) -> Vec<String> {
    let rest = &bytes[size_of::<act_rec>()..];
    let lengths = [
        record.path_bytes,
        record.name.base_bytes,
        record.name.name_bytes,
        record.other.base_bytes,
        record.other.name_bytes,
        record.text_bytes,
    ];
    let mut at = 0;
    lengths
        .iter()
        .map(|length| {
            let piece = &rest[at..at + *length as usize];
            at += *length as usize;
            String::from_utf8_lossy(piece).replace('\0', "|")
        })
        .collect()
}

fn acts(recording: &Recording, operation: u32) -> Vec<(act_rec, Vec<String>)> {
    recording
        .bytes(wire::EV_ACT)
        .map(|bytes| {
            let (record, _) = act_rec::read_from_prefix(bytes).unwrap();
            (record, texts(bytes, &record))
        })
        .filter(|(record, _)| record.operation == operation)
        .collect()
}

fn is_at(texts: &[String], index: usize, name: &str) -> bool {
    texts[index].trim_end_matches('|').ends_with(name)
}

#[test]
#[ignore = "needs root"]
fn names_and_attributes_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let recording = watch_part(&format!("names {}", folder.path().display()));
    recording.assert_conserved();
    for (operation, index, name) in [
        (wire::OP_LINKAT, 2, "/file"),
        (wire::OP_LINKAT, 4, "/hard"),
        (wire::OP_SYMLINK, 4, "/soft"),
        (wire::OP_SYMLINK, 5, "file"),
        (wire::OP_CHMOD, 2, "/file"),
        (wire::OP_MKDIR, 2, "/sub"),
    ] {
        let found = acts(&recording, operation);
        assert!(
            found.iter().any(|(_, texts)| is_at(texts, index, name)),
            "{operation} {name}: {found:?}"
        );
    }
    let lengths = acts(&recording, wire::OP_FTRUNCATE);
    assert!(
        lengths
            .iter()
            .any(|(record, texts)| record.arguments[1] == 4096 && texts[0].starts_with("file|")),
        "{lengths:?}"
    );
}

#[test]
#[ignore = "needs root"]
fn connections_to_daemons_and_questions_to_name_servers_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let recording = watch_part(&format!("sockets {}", folder.path().display()));
    recording.assert_conserved();
    let connected = acts(&recording, wire::OP_UNIX_CONNECT);
    assert!(
        connected.iter().any(|(record, texts)| {
            is_at(texts, 5, "/listening") && record.arguments[2] == u64::from(record.header.tgid)
        }),
        "{connected:?}"
    );
    let asked: Vec<&[u8]> = recording
        .bytes(wire::EV_DNS)
        .map(|bytes| &bytes[size_of::<dns_rec>()..])
        .collect();
    assert_eq!(asked, [QUESTION]);
}

#[test]
#[ignore = "needs root"]
fn signals_name_their_target() {
    let recording = watch(&["sh", "-c", "sleep 60 & kill -9 $!; wait"]);
    recording.assert_conserved();
    let signals = acts(&recording, wire::OP_SIGNAL);
    let (signal, texts) = signals
        .iter()
        .find(|(record, _)| record.arguments[0] == 9)
        .expect("a signal");
    assert_ne!(signal.arguments[1], u64::from(recording.root.tgid));
    assert!(signal.arguments[2] >= recording.root.start_ns);
    assert!(!texts[5].is_empty());
}

#[test]
#[ignore = "needs root"]
fn refused_acts_are_seen_with_their_error() {
    // No such file system: refused whoever asks.
    let recording = watch(&[
        "sh",
        "-c",
        "mount -t nosuchfs none /proc 2>/dev/null; unshare --user true 2>/dev/null; :",
    ]);
    let mounts: Vec<_> = [wire::OP_MOUNT, wire::OP_FSOPEN]
        .into_iter()
        .flat_map(|operation| acts(&recording, operation))
        .collect();
    assert!(
        mounts
            .iter()
            .any(|(record, texts)| record.error != 0 && is_at(texts, 4, "/proc")),
        "{mounts:?}"
    );
    assert!(!acts(&recording, wire::OP_UNSHARE).is_empty());
}

#[test]
#[ignore = "needs root"]
fn the_canary_is_heard() {
    let recording = recording::watch_with(&["sleep", "0.2"], &|sensor| sensor.sing(4711));
    recording.assert_conserved();
    let numbers: Vec<u64> = recording
        .bytes(wire::EV_CANARY)
        .map(|bytes| canary_rec::read_from_prefix(bytes).unwrap().0.number)
        .collect();
    assert!(!numbers.is_empty());
    assert!(numbers.iter().all(|number| *number == 4711));
}
