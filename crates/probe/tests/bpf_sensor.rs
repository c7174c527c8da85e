//! The kernel programs on the real kernel, watching commands that these tests start and nothing else.
//!
//! Needs root; run with `cargo xtask test`, or `cargo test -p agentsight-probe -- --ignored`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod recording;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;

use agentsight_wire::{self as wire, process_fork_rec};
use recording::{PART, watch, watch_part};
use zerocopy::FromBytes;

#[test]
#[ignore = "is what others watch"]
fn the_watched_program() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    match part.split_once(' ') {
        Some(("files", folder)) => open_files(Path::new(folder)),
        _ => connect_in_both_families(),
    }
}

/// Makes a thousand files and opens each of them 49 times more.
fn open_files(folder: &Path) {
    let paths: Vec<_> = (0..1000).map(|n| folder.join(format!("f{n}"))).collect();
    for path in &paths {
        File::create(path).unwrap();
    }
    for path in std::iter::repeat_n(&paths, 49).flatten() {
        File::open(path).unwrap();
    }
}

/// Sends 30,000 bytes one way and 500 back, over IPv4 and IPv6.
fn connect_in_both_families() {
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    for server in [v4, v6] {
        let address = server.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
            stream.write_all(&[b'y'; 500]).unwrap();
        });
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&[b'x'; 30_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        serving.join().unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn forks_execs_and_exits_are_seen() {
    let recording = watch(&["sh", "-c", "/bin/true; /bin/true; (/bin/true); :"]);
    recording.assert_conserved();
    assert_eq!(recording.count(wire::EV_PROCESS_EXEC), 4);
    assert_eq!(recording.count(wire::EV_PROCESS_FORK), 3);
    assert_eq!(recording.count(wire::EV_PROCESS_EXIT), 4);
    for fork in recording.bytes(wire::EV_PROCESS_FORK) {
        let (fork, _) = process_fork_rec::read_from_prefix(fork).unwrap();
        assert_eq!(
            (fork.header.tgid, fork.header.start_ns),
            (recording.root.tgid, recording.root.start_ns)
        );
    }
}

#[test]
#[ignore = "needs root"]
fn orphans_stay_in_the_tree() {
    let recording = watch(&[
        "sh",
        "-c",
        "(setsid sh -c '(/bin/true; sleep 0.1; /bin/false) &' &) ; sleep 3",
    ]);
    let execs = recording.bytes(wire::EV_PROCESS_EXEC).count();
    // sh, setsid, sh, true, sleep, false, sleep
    assert_eq!(execs, 7);
    recording.assert_conserved();
}

#[test]
#[ignore = "needs root"]
fn every_open_counts_and_a_file_costs_one_record() {
    let folder = tempfile::tempdir().unwrap();
    let recording = watch_part(&format!("files {}", folder.path().display()));
    recording.assert_conserved();
    let opens: Vec<u64> = recording
        .files
        .values()
        .filter(|totals| totals.creates == 1)
        .map(|totals| totals.opens)
        .collect();
    assert_eq!(opens, vec![50; 1000]);
    assert!(recording.count(wire::EV_FILE_OPEN) < 1500);
}

#[test]
#[ignore = "needs root"]
fn bytes_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let script = format!(
        "head -c 100000 /dev/zero > {0}; cat {0} > {0}.copy; rm {0}; mv {0}.copy {0}.moved",
        file.display()
    );
    let recording = watch(&["sh", "-c", &script]);
    recording.assert_conserved();
    // The shell opens, its children write: what counts is who did it.
    let written: u64 = recording
        .files
        .values()
        .map(|totals| totals.written_bytes)
        .sum();
    let created = recording
        .files
        .values()
        .filter(|totals| totals.creates == 1)
        .count();
    assert_eq!(created, 2);
    assert_eq!(written, 200_000);
    assert_eq!(recording.count(wire::EV_FILE_DELETE), 1);
    assert_eq!(recording.count(wire::EV_FILE_RENAME), 1);
}

#[test]
#[ignore = "needs root"]
fn connections_are_seen_on_both_sides_and_in_both_families() {
    let recording = watch_part("connections");
    recording.assert_conserved();
    for (kind, expected) in [
        (wire::EV_NETWORK_LISTEN, 2),
        (wire::EV_NETWORK_CONNECT, 2),
        (wire::EV_NETWORK_ACCEPT, 2),
    ] {
        assert_eq!(recording.count(kind), expected, "kind {kind}");
    }
    let closed: Vec<(u64, u64)> = recording
        .bytes(wire::EV_NETWORK_CLOSE)
        .map(|bytes| wire::network_rec::read_from_prefix(bytes).unwrap().0)
        .map(|record| (record.sent_bytes, record.received_bytes))
        .chain(
            recording
                .sockets
                .iter()
                .map(|totals| (totals.sent_bytes, totals.received_bytes)),
        )
        .collect();
    for side in [(30_000, 500), (500, 30_000)] {
        assert_eq!(
            closed.iter().filter(|&&counts| counts == side).count(),
            2,
            "{closed:?}"
        );
    }
}

#[test]
#[ignore = "needs root"]
fn a_long_argument_vector_arrives_whole() {
    let long = "x".repeat(100_000);
    let recording = watch(&["true", &long, "end"]);
    recording.assert_conserved();
    let inline: usize = recording
        .bytes(wire::EV_PROCESS_EXEC)
        .map(|bytes| {
            wire::process_exec_rec::read_from_prefix(bytes)
                .unwrap()
                .0
                .argv_bytes as usize
        })
        .sum();
    let rest: usize = recording
        .bytes(wire::EV_PROCESS_ARGV)
        .map(|bytes| {
            wire::process_argv_rec::read_from_prefix(bytes)
                .unwrap()
                .0
                .bytes as usize
        })
        .sum();
    assert_eq!(
        inline + rest,
        "true".len() + 1 + long.len() + 1 + "end".len() + 1
    );
}
