//! Reads the rings and puts their records into the order of time.
//!
//! Each class of events has a ring of its own, and each ring is filled by several CPUs, so records arrive
//! in no order that means anything. A round copies everything that is there into one batch, sorts it by
//! time, and hands on what is older than the moment at which the round began, less a grace period for
//! records that were stamped but not yet submitted. The rest waits for the next round, as does what is
//! fetched while records are handed on.

use std::cell::{Cell, RefCell};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use agentsight_wire::{self as wire, rec_header};
use libbpf_rs::{MapCore, RingBuffer, RingBufferBuilder};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{ProbeError, clock};

/// How long a record may be on its way from its time stamp to its ring. Programs run for microseconds;
/// only a CPU taken away by the hypervisor in between takes longer, and then order suffers, not content.
const GRACE_NS: u64 = 2_000_000;
/// Time between two rounds, at least. The rings hold what comes meanwhile.
const LEAST_INTERVAL: Duration = Duration::from_millis(2);

/// While so many bytes are handed on, what comes meanwhile is fetched: who takes them may be slower than who
/// makes them, and a ring holds less than a burst.
const FETCH_EVERY_BYTES: usize = 1 << 20;
/// Beyond this, what comes stays in the rings, and is counted as lost when they are full.
const MAX_BATCH_BYTES: usize = 512 << 20;

/// Where records wait for their turn.
#[derive(Default)]
pub(crate) struct Batch {
    /// The records' bytes, each from an 8-byte boundary on, as the rings align them.
    words: Vec<u64>,
    /// (time, word index, bytes), in order of arrival.
    index: Vec<(u64, usize, usize)>,
    /// Records that cannot wait: images to attach to, ends of processes. Copies.
    urgent: Vec<Vec<u8>>,
    /// Records too short to have a header.
    malformed: u64,
}

impl Batch {
    fn push(&mut self, bytes: &[u8]) {
        let Ok(header) = header_of(bytes) else {
            self.malformed += 1;
            return;
        };
        if matches!(
            u32::from(header.kind),
            wire::EV_PROCESS_EXEC | wire::EV_IMAGE_MAPPED | wire::EV_PROCESS_EXIT
        ) {
            self.urgent.push(bytes.to_vec());
        }
        let at = self.words.len();
        self.words.resize(at + bytes.len().div_ceil(8), 0);
        let copy = zerocopy::IntoBytes::as_mut_bytes(&mut self.words[at..]);
        copy[..bytes.len()].copy_from_slice(bytes);
        self.index.push((header.ktime_ns, at, bytes.len()));
    }

    /// Takes out the records up to `until_ns`, in order, and keeps the others.
    fn take_due(&mut self, until_ns: u64) -> Due {
        self.index.sort_by_key(|&(time, at, _)| (time, at));
        let count = self.index.partition_point(|&(time, _, _)| time <= until_ns);
        let mut kept = Self::default();
        for &(time, at, length) in &self.index[count..] {
            kept.index.push((time, kept.words.len(), length));
            let words = length.div_ceil(8);
            kept.words.extend_from_slice(&self.words[at..at + words]);
        }
        let mut index = std::mem::replace(&mut self.index, kept.index);
        index.truncate(count);
        Due {
            words: std::mem::replace(&mut self.words, kept.words),
            index,
        }
    }

    fn byte_count(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }
}

/// Records whose turn has come.
struct Due {
    words: Vec<u64>,
    index: Vec<(u64, usize, usize)>,
}

impl Due {
    fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.index
            .iter()
            .map(|&(_, at, length)| bytes_at(&self.words, at, length))
    }
}

fn bytes_at(words: &[u64], at: usize, length: usize) -> &[u8] {
    let bytes = zerocopy::IntoBytes::as_bytes(&words[at..at + length.div_ceil(8)]);
    &bytes[..length]
}

/// The header of a record that may not be aligned.
fn header_of(bytes: &[u8]) -> Result<rec_header, ()> {
    zerocopy::FromBytes::read_from_prefix(bytes)
        .map(|(header, _)| header)
        .map_err(|_| ())
}

/// All rings of a sensor.
pub(crate) struct Rings {
    buffer: RingBuffer<'static>,
    last_fetch: Cell<Instant>,
    batch: Rc<RefCell<Batch>>,
}

impl Rings {
    pub(crate) fn new(maps: &[&dyn MapCore]) -> Result<Self, ProbeError> {
        let batch = Rc::new(RefCell::new(Batch::default()));
        let mut builder = RingBufferBuilder::new();
        for map in maps {
            let batch = Rc::clone(&batch);
            builder
                .add(*map, move |bytes: &[u8]| {
                    batch.borrow_mut().push(bytes);
                    0
                })
                .map_err(ProbeError::kernel("open a ring buffer"))?;
        }
        let buffer = builder
            .build()
            .map_err(ProbeError::kernel("open the ring buffers"))?;
        Ok(Self {
            buffer,
            last_fetch: Cell::new(Instant::now()),
            batch,
        })
    }

    /// Waits up to `timeout` for a record that wakes the reader, or for something else to be readable.
    pub(crate) fn wait(&self, timeout: Duration, or_readable: &[Option<BorrowedFd<'_>>]) {
        // SAFETY: the descriptor belongs to the buffer, which outlives this call.
        let rings = unsafe { BorrowedFd::borrow_raw(self.buffer.epoll_fd()) };
        let mut sources = vec![PollFd::new(rings, PollFlags::POLLIN)];
        let others = or_readable.iter().flatten();
        sources.extend(others.map(|&other| PollFd::new(other, PollFlags::POLLIN)));
        let timeout = u16::try_from(timeout.as_millis()).unwrap_or(u16::MAX);
        // Interrupted or failed, it only means that we look earlier.
        let _ = poll(&mut sources, PollTimeout::from(timeout));
        if sources
            .iter()
            .skip(1)
            .any(|source| source.any() == Some(true))
        {
            return;
        }
        // While records keep coming, a ring that once woke us is readable all the time. Many small rounds
        // would cost more than the records.
        let since = self.last_fetch.get().elapsed();
        if let Some(rest) = LEAST_INTERVAL.checked_sub(since) {
            std::thread::sleep(rest);
        }
    }

    /// Fetches what there is. Returns the moment up to which the batch is complete.
    pub(crate) fn fetch(&self) -> Result<u64, ProbeError> {
        self.last_fetch.set(Instant::now());
        let complete_until = clock::now().0.saturating_sub(GRACE_NS);
        self.buffer
            .consume()
            .map_err(ProbeError::kernel("read the ring buffers"))?;
        Ok(complete_until)
    }

    pub(crate) fn take_urgent(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.batch.borrow_mut().urgent)
    }

    /// Hands on, in order, the records up to `until_ns`.
    pub(crate) fn release(&self, until_ns: u64, sink: &mut dyn FnMut(&[u8])) {
        let due = self.batch.borrow_mut().take_due(until_ns);
        let mut handed_on = 0;
        for record in due.records() {
            sink(record);
            handed_on += record.len();
            if handed_on >= FETCH_EVERY_BYTES {
                handed_on = 0;
                self.fetch_meanwhile();
            }
        }
    }

    fn fetch_meanwhile(&self) {
        if self.batch.borrow().byte_count() < MAX_BATCH_BYTES {
            // What fails here fails in the next round, too, and is told there.
            let _ = self.buffer.consume();
        }
    }

    pub(crate) fn malformed_count(&self) -> u64 {
        self.batch.borrow().malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn record(time: u64, tail: &[u8]) -> Vec<u8> {
        let header = rec_header {
            ktime_ns: time,
            ..rec_header::default()
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(tail);
        bytes
    }

    fn released(batch: &mut Batch, until: u64) -> Vec<Vec<u8>> {
        let due = batch.take_due(until);
        due.records().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn records_come_out_by_time_and_late_ones_wait() {
        let mut batch = Batch::default();
        for (time, tail) in [
            (30, &b"thirty"[..]),
            (10, b"ten"),
            (20, b""),
            (10, b"ten too"),
        ] {
            batch.push(&record(time, tail));
        }
        assert_eq!(
            released(&mut batch, 20),
            [record(10, b"ten"), record(10, b"ten too"), record(20, b"")]
        );
        assert_eq!(released(&mut batch, 29), Vec::<Vec<u8>>::new());
        batch.push(&record(25, b"late"));
        assert_eq!(
            released(&mut batch, 40),
            [record(25, b"late"), record(30, b"thirty")]
        );
        assert!(batch.words.is_empty());
    }

    #[test]
    fn a_record_without_a_header_is_counted() {
        let mut batch = Batch::default();
        batch.push(b"short");
        assert_eq!(batch.malformed, 1);
        assert!(released(&mut batch, u64::MAX).is_empty());
    }
}
