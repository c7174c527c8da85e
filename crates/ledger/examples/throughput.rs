//! Measures appending, verifying and reading of small events:
//!
//! ```text
//! cargo run --release -p agentsight-ledger --example throughput -- [records] [directory]
//! ```
//!
//! Times are CPU times of the whole process, which has one thread. The ledger is left in the page cache.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use agentsight_ledger::{Encoding, Kind, NewRecord, Options, Reader, Verdict, Writer, verify};
use agentsight_model::{
    Access, Event, EventBody, FileOpen, FileRef, FileUse, KTime, ProcessExit, ProcessFork,
    ProcessKey, ResourceUse,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let records = arguments
        .next()
        .map_or(Ok(1_000_000), |text| text.parse())?;
    let temp = match arguments.next() {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    let events: Vec<Event> = (0..records.min(100_000)).map(event).collect();
    let dir = temp.path().join("events");

    let json_bytes = measure("serialise only", records, || serialise(&events, records))?;
    measure("append events", records, || append(&dir, &events, records))?;
    measure("append events, sync once a second", records, || {
        append_and_sync(&temp.path().join("synced"), &events, records)
    })?;
    let raw = temp.path().join("raw");
    measure("append serialised records", records, || {
        append_raw(&raw, &events, records)
    })?;
    measure("verify", records, || check(&dir, records))?;
    measure("read raw records", records, || read_raw(&dir))?;
    measure("read events", records, || {
        Ok(Reader::open(&dir)?.count() as u64)
    })?;

    let bytes = verify(&dir)?.bytes;
    println!(
        "{:.1} bytes of JSON a record, {:.1} bytes stored",
        json_bytes as f64 / records as f64,
        bytes as f64 / records as f64
    );
    Ok(())
}

/// Prints the rate of the fastest of three runs.
fn measure<T>(what: &str, records: u64, mut run: impl FnMut() -> Result<T>) -> Result<T> {
    let mut best = (Duration::MAX, Duration::MAX);
    let mut result = run_once(&mut run, &mut best)?;
    for _ in 0..2 {
        result = run_once(&mut run, &mut best)?;
    }
    let rate = |time: Duration| records as f64 / time.as_secs_f64() / 1e6;
    let (cpu, wall) = best;
    println!(
        "{what:36} {:6.2} M records/CPU-s, {:6.2} M records/s",
        rate(cpu),
        rate(wall)
    );
    Ok(result)
}

fn run_once<T>(run: &mut impl FnMut() -> Result<T>, best: &mut (Duration, Duration)) -> Result<T> {
    let (cpu, wall) = (cpu_time()?, Instant::now());
    let result = black_box(run()?);
    best.0 = best.0.min(cpu_time()?.saturating_sub(cpu));
    best.1 = best.1.min(wall.elapsed());
    Ok(result)
}

/// CPU time of this process, from the first numbers of `/proc/self/schedstat`.
fn cpu_time() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

fn cycle(events: &[Event], records: u64) -> impl Iterator<Item = &Event> {
    events.iter().cycle().take(records as usize)
}

fn serialise(events: &[Event], records: u64) -> Result<u64> {
    let mut buffer = Vec::new();
    let mut bytes = 0;
    for event in cycle(events, records) {
        buffer.clear();
        serde_json::to_writer(&mut buffer, event)?;
        bytes += black_box(&buffer).len() as u64;
    }
    Ok(bytes)
}

fn fresh(dir: &Path) -> Result<Writer> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(Writer::create(dir, "throughput", Options::default())?)
}

fn append(dir: &Path, events: &[Event], records: u64) -> Result<u64> {
    let mut writer = fresh(dir)?;
    for event in cycle(events, records) {
        writer.append(event)?;
    }
    writer.flush()?;
    Ok(writer.records())
}

fn append_and_sync(dir: &Path, events: &[Event], records: u64) -> Result<u64> {
    let mut writer = fresh(dir)?;
    let mut synced = Instant::now();
    for event in cycle(events, records) {
        let seq = writer.append(event)?;
        if seq.is_multiple_of(1024) && synced.elapsed() > Duration::from_secs(1) {
            writer.sync()?;
            synced = Instant::now();
        }
    }
    Ok(writer.close()?.records)
}

fn append_raw(dir: &Path, events: &[Event], records: u64) -> Result<u64> {
    let payloads = events
        .iter()
        .map(serde_json::to_vec)
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let mut writer = fresh(dir)?;
    for payload in payloads.iter().cycle().take(records as usize) {
        writer.append_raw(&NewRecord {
            time: KTime(1),
            kind: Kind::from_name("file.open"),
            encoding: Encoding::JSON,
            payload,
        })?;
    }
    writer.flush()?;
    Ok(writer.records())
}

fn check(dir: &Path, expected: u64) -> Result<u64> {
    match verify(dir)?.verdict {
        Verdict::Intact { records, .. } | Verdict::Interrupted { records }
            if records == expected =>
        {
            Ok(records)
        }
        verdict => Err(format!("{verdict:?}").into()),
    }
}

fn read_raw(dir: &Path) -> Result<u64> {
    let mut reader = Reader::open(dir)?;
    let mut bytes = 0;
    while let Some(record) = reader.next_raw() {
        bytes += record?.payload.len() as u64;
    }
    Ok(bytes)
}

/// Small events of mixed kinds, as a build makes them.
fn event(number: u64) -> Event {
    let process = ProcessKey {
        tgid: 40_000 + (number / 50 % 900) as u32,
        start_ns: 86_400_000_000_000 + number / 50 * 1_234_567,
    };
    let body = match number % 5 {
        0 => EventBody::ProcessFork(ProcessFork {
            child: ProcessKey {
                tgid: 41_000 + (number % 9000) as u32,
                ..process
            },
            comm: "rustc".into(),
        }),
        1 => EventBody::ProcessExit(ProcessExit {
            code: Some(0),
            signal: None,
            resources: ResourceUse {
                user_ns: number * 977,
                system_ns: number * 131,
                ..ResourceUse::default()
            },
        }),
        2 => EventBody::FileUse(file_use(number)),
        _ => EventBody::FileOpen(FileOpen {
            use_id: number,
            file: FileRef {
                path: format!(
                    "/home/dev/project/target/debug/deps/lib{}.rmeta",
                    number % 5003
                ),
                dev: 8_388_609,
                ino: 1_000_000 + number * 37 % 65_537,
                mode: 0o100_644,
                ..FileRef::default()
            },
            access: Access {
                read: true,
                ..Access::default()
            },
            inherited: false,
        }),
    };
    Event {
        time: KTime(86_400_000_000_000 + number * 11_731),
        process,
        body,
    }
}

fn file_use(number: u64) -> FileUse {
    FileUse {
        use_id: number,
        opens: 1,
        creates: 0,
        reads: number % 17,
        read_bytes: number * 613 % 1_000_003,
        writes: 0,
        written_bytes: 0,
        access: Access {
            read: true,
            ..Access::default()
        },
        first: KTime(86_400_000_000_000 + number * 11_000),
        last: KTime(86_400_000_000_000 + number * 11_700),
    }
}
