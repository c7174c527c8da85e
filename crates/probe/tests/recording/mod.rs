//! Watches a command with the sensor and keeps everything that it sent.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use agentsight_model::{EventClass, ProcessKey};
use agentsight_probe::{KernelCounters, Sensor, Totals, launch};
use agentsight_wire::{file_use, rec_header, socket_use};
use zerocopy::FromBytes;

/// One sensor at a time: each attaches to every exit of a system call.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub struct Recording {
    pub records: Vec<Vec<u64>>,
    pub lengths: Vec<usize>,
    pub counters: KernelCounters,
    pub files: BTreeMap<(ProcessKey, u64), file_use>,
    pub sockets: Vec<socket_use>,
    pub root: ProcessKey,
}

impl Recording {
    pub fn headers(&self) -> impl Iterator<Item = rec_header> {
        self.records.iter().map(|words| {
            rec_header::read_from_prefix(zerocopy::IntoBytes::as_bytes(words.as_slice()))
                .unwrap()
                .0
        })
    }

    pub fn count(&self, kind: u32) -> usize {
        self.headers()
            .filter(|header| u32::from(header.kind) == kind)
            .count()
    }

    pub fn bytes(&self, kind: u32) -> impl Iterator<Item = &[u8]> {
        self.records
            .iter()
            .zip(&self.lengths)
            .map(|(words, length)| &zerocopy::IntoBytes::as_bytes(words.as_slice())[..*length])
            .filter(move |bytes| {
                u32::from(rec_header::read_from_prefix(bytes).unwrap().0.kind) == kind
            })
    }

    /// What was produced is what arrived and what was counted as dropped.
    pub fn assert_conserved(&self) {
        for class in EventClass::ALL {
            let arrived = self
                .headers()
                .filter(|header| header.class == class as u8)
                .count() as u64;
            let counters = &self.counters[&class];
            assert_eq!(
                counters.produced,
                arrived + counters.dropped_count(),
                "{class:?}: {counters:?}"
            );
        }
    }
}

pub fn watch(argv: &[&str]) -> Recording {
    watch_with(argv, &|_| {})
}

/// The same, with something to be done in each round.
pub fn watch_with(argv: &[&str], each_round: &dyn Fn(&Sensor)) -> Recording {
    let _alone = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|error| error.into_inner());
    let mut sensor = Sensor::load().expect("the kernel programs load (needs root)");
    let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
    let held = launch::hold(&argv.as_slice().into(), None).unwrap();
    let root = sensor.watch_tree(held.pid(), 1).unwrap()[0].key;
    let mut running = held.release().unwrap();

    let mut recording = Recording {
        records: Vec::new(),
        lengths: Vec::new(),
        counters: KernelCounters::new(),
        files: BTreeMap::new(),
        sockets: Vec::new(),
        root,
    };
    let mut keep = |bytes: &[u8]| {
        let mut words = vec![0_u64; bytes.len().div_ceil(8)];
        zerocopy::IntoBytes::as_mut_bytes(words.as_mut_slice())[..bytes.len()]
            .copy_from_slice(bytes);
        recording.records.push(words);
        recording.lengths.push(bytes.len());
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while running.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the command does not end");
        each_round(&sensor);
        sensor
            .poll(Duration::from_millis(5), running.ended(), &mut keep)
            .unwrap();
    }
    sensor.detach();
    sensor.drain(&mut keep).unwrap();
    recording.counters = sensor.control().counters().unwrap();
    let (files, sockets) = (&mut recording.files, &mut recording.sockets);
    let mut totals = Totals {
        tls: &mut |_, _, _| {},
        file: &mut |owner, totals| {
            files.insert((owner, totals.use_id), *totals);
        },
        socket: &mut |_, _, totals| sockets.push(*totals),
    };
    sensor.sweep(&mut totals).unwrap();
    sensor.last_sockets(&mut totals).unwrap();
    recording
}

/// Names the part that `the_watched_program` plays.
pub const PART: &str = "AGENTSIGHT_TEST_PART";

/// Watches this test program itself as it plays a part, so that the tests need no other one and run in a
/// virtual machine that has none.
pub fn watch_part(part: &str) -> Recording {
    let own = std::env::current_exe().unwrap();
    let own = own.display();
    // Its own report would be taken for ours.
    let script =
        format!("{PART}='{part}' exec '{own}' --ignored --exact the_watched_program > /dev/null");
    watch(&["sh", "-c", &script])
}
