//! Processes: fork, exec with its argument vector, exit.

use agentsight_model::{
    EventBody, KTime, ProcessExec, ProcessExit, ProcessFork, ProcessKey, ResourceUse, Truncated,
};
use agentsight_wire::{
    self as wire, process_argv_rec, process_exec_rec, process_exit_rec, process_fork_rec,
    rec_header,
};

use super::{Decoder, Item, RecordError, event, has_flag, path, process_of, tls};

/// Argument vectors beyond this are cut. The kernel's own limit is 6 MiB.
const MAX_ARGV_BYTES: usize = 8 << 20;
/// Execs that wait for more of their arguments at the same time.
const MAX_PENDING_EXECS: usize = 256;

/// An exec whose argument vector has more records to come.
#[derive(Debug)]
pub(super) struct PendingExec {
    time: KTime,
    process: ProcessKey,
    exec: ProcessExec,
    argv: Vec<u8>,
    total_bytes: u64,
}

impl PendingExec {
    /// The event with what has come so far.
    pub(super) fn cut(mut self) -> Item {
        let kept = u64::try_from(self.argv.len()).unwrap_or(u64::MAX);
        if kept < self.total_bytes {
            self.exec.argv_truncated = Some(Truncated {
                kept,
                total: self.total_bytes,
            });
        }
        self.exec.argv = arguments(&self.argv);
        Item::Event(agentsight_model::Event {
            time: self.time,
            process: self.process,
            body: EventBody::ProcessExec(Box::new(self.exec)),
        })
    }
}

fn arguments(bytes: &[u8]) -> Vec<String> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    bytes
        .split(|&byte| byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

pub(super) fn fork(
    _: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, _) = wire::fixed::<process_fork_rec>(bytes, header.kind)?;
    let name = record
        .comm
        .split(|&byte| byte == 0)
        .next()
        .unwrap_or_default();
    out.push(event(
        header,
        EventBody::ProcessFork(ProcessFork {
            child: ProcessKey {
                tgid: record.child_tgid,
                start_ns: record.child_start_ns,
            },
            comm: String::from_utf8_lossy(name).into_owned(),
        }),
    ));
    Ok(())
}

pub(super) fn exec(
    decoder: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, mut pieces) = wire::fixed::<process_exec_rec>(bytes, header.kind)?;
    let exe = pieces.take(record.exe_bytes)?;
    let cwd = pieces.take(record.cwd_bytes)?;
    let filename = path::text(pieces.take(record.filename_bytes)?);
    let interpreter = path::text(pieces.take(record.interp_bytes)?);
    let argv = pieces.take(record.argv_bytes)?;

    let process = process_of(header);
    tls::forget(decoder, process, out);
    let pending = PendingExec {
        time: KTime(header.ktime_ns),
        process,
        exec: ProcessExec {
            parent: ProcessKey {
                tgid: record.parent_tgid,
                start_ns: record.parent_start_ns,
            },
            exe: path::file(&record.exe, exe, has_flag(header, wire::REC_PATH_CUT)),
            exe_deleted: has_flag(header, wire::REC_DELETED),
            interpreter: (!interpreter.is_empty() && interpreter != filename)
                .then_some(interpreter),
            filename,
            argv: Vec::new(),
            argv_truncated: None,
            cwd: path::absolute(cwd),
            uid: record.uid,
            gid: record.gid,
            cgroup: record.cgroup,
        },
        argv: argv.to_vec(),
        total_bytes: u64::from(record.argv_total_bytes),
    };
    // An exec that still waits lost its rest: the thread has gone on.
    if let Some(stale) = decoder.pending_execs.remove(&header.tid) {
        out.push(stale.cut());
    }
    let waits = has_flag(header, wire::REC_MORE) && decoder.pending_execs.len() < MAX_PENDING_EXECS;
    if waits {
        decoder.pending_execs.insert(header.tid, pending);
    } else {
        out.push(pending.cut());
    }
    Ok(())
}

pub(super) fn argv(
    decoder: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, mut pieces) = wire::fixed::<process_argv_rec>(bytes, header.kind)?;
    let more = pieces.take(record.bytes)?;
    let Some(mut pending) = decoder.pending_execs.remove(&header.tid) else {
        return Ok(()); // its exec was lost, and counted
    };
    let continues = pending.process == process_of(header)
        && usize::try_from(record.offset).is_ok_and(|offset| offset == pending.argv.len())
        && pending.argv.len().saturating_add(more.len()) <= MAX_ARGV_BYTES;
    if continues {
        pending.argv.extend_from_slice(more);
    }
    let complete = u64::try_from(pending.argv.len()).unwrap_or(u64::MAX) >= pending.total_bytes;
    if continues && !complete {
        decoder.pending_execs.insert(header.tid, pending);
    } else {
        out.push(pending.cut());
    }
    Ok(())
}

pub(super) fn exit(
    decoder: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, _) = wire::fixed::<process_exit_rec>(bytes, header.kind)?;
    tls::forget(decoder, process_of(header), out);
    // Each thread has one exec at most that waits; the last one of the process takes it along.
    if let Some(stale) = decoder.pending_execs.remove(&header.tid) {
        out.push(stale.cut());
    }
    // As for wait(2): the signal in the low 7 bits, else the code in the next 8.
    let signal = i32::try_from(record.status & 0x7f).unwrap_or(0);
    let code = i32::try_from(record.status >> 8 & 0xff).unwrap_or(0);
    out.push(event(
        header,
        EventBody::ProcessExit(ProcessExit {
            code: (signal == 0).then_some(code),
            signal: (signal != 0).then_some(signal),
            resources: ResourceUse {
                user_ns: record.user_ns,
                system_ns: record.system_ns,
                max_rss_bytes: record.max_rss_pages.saturating_mul(decoder.page_bytes),
                storage_read_bytes: record.storage_read_bytes,
                storage_write_bytes: record.storage_write_bytes,
            },
        }),
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn header(kind: u32, flags: u32) -> rec_header {
        rec_header {
            kind: kind as u16,
            flags: flags as u8,
            tgid: 7,
            tid: 7,
            start_ns: 70,
            ktime_ns: 1000,
            ..rec_header::default()
        }
    }

    fn aligned(fixed: &[u8], tail: &[u8]) -> Vec<u64> {
        let mut bytes = fixed.to_vec();
        bytes.extend_from_slice(tail);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
            .chunks_exact(8)
            .map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap()))
            .collect()
    }

    fn exec_record(flags: u32, argv: &[u8], total: u32) -> Vec<u64> {
        let record = process_exec_rec {
            header: header(wire::EV_PROCESS_EXEC, flags),
            exe_bytes: 9,
            cwd_bytes: 4,
            filename_bytes: 5,
            interp_bytes: 5,
            argv_bytes: argv.len() as u32,
            argv_total_bytes: total,
            ..process_exec_rec::default()
        };
        let tail = [&b"bash\0bin\0"[..], b"tmp\0", b"./s\0\0", b"bash\0", argv].concat();
        aligned(record.as_bytes(), &tail)
    }

    fn argv_record(offset: u32, bytes: &[u8]) -> Vec<u64> {
        let record = process_argv_rec {
            header: header(wire::EV_PROCESS_ARGV, 0),
            offset,
            bytes: bytes.len() as u32,
        };
        aligned(record.as_bytes(), bytes)
    }

    fn decode(records: &[Vec<u64>]) -> Vec<Item> {
        let mut decoder = Decoder::new(4096);
        let mut out = Vec::new();
        for record in records {
            decoder.decode(record.as_bytes(), &mut out).unwrap();
        }
        decoder.finish(&mut out);
        out
    }

    fn only_exec(items: &[Item]) -> &ProcessExec {
        match items {
            [Item::Event(event)] => match &event.body {
                EventBody::ProcessExec(exec) => exec,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_exec_is_read_whole() {
        let items = decode(&[exec_record(0, b"./s\0a b\0\0", 9)]);
        let exec = only_exec(&items);
        assert_eq!(exec.exe.path, "/bin/bash");
        assert_eq!(exec.cwd, "/tmp");
        assert_eq!(exec.argv, ["./s", "a b", ""]);
        assert_eq!(exec.interpreter.as_deref(), Some("bash"));
        assert_eq!(exec.argv_truncated, None);
    }

    #[test]
    fn a_long_argument_vector_is_put_together() {
        let items = decode(&[
            exec_record(wire::REC_MORE, b"x\0aa", 8),
            argv_record(4, b"a"),
            argv_record(5, b"bc\0"),
        ]);
        let exec = only_exec(&items);
        assert_eq!(exec.argv, ["x", "aaabc"]);
        assert_eq!(exec.argv_truncated, None);
    }

    #[test]
    fn a_hole_in_an_argument_vector_shows() {
        for records in [
            vec![
                exec_record(wire::REC_MORE, b"x\0aa", 8),
                argv_record(6, b"c\0"),
            ],
            vec![exec_record(wire::REC_MORE, b"x\0aa", 8)],
        ] {
            let items = decode(&records);
            let exec = only_exec(&items);
            assert_eq!(exec.argv, ["x", "aa"]);
            assert_eq!(exec.argv_truncated, Some(Truncated { kept: 4, total: 8 }));
        }
    }

    #[test]
    fn exit_codes_and_signals_are_told_apart() {
        for (status, code, signal) in [
            (0, Some(0), None),
            (3 << 8, Some(3), None),
            (0x8b, None, Some(11)),
        ] {
            let record = process_exit_rec {
                header: header(wire::EV_PROCESS_EXIT, 0),
                status,
                max_rss_pages: 2,
                ..process_exit_rec::default()
            };
            let items = decode(&[aligned(record.as_bytes(), b"")]);
            let [Item::Event(event)] = items.as_slice() else {
                panic!("{items:?}")
            };
            let EventBody::ProcessExit(exit) = &event.body else {
                panic!("{event:?}")
            };
            assert_eq!((exit.code, exit.signal), (code, signal));
            assert_eq!(exit.resources.max_rss_bytes, 8192);
        }
    }
}
