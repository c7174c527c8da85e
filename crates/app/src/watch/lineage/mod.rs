//! Which files the content of a conversation came from.
//!
//! The sensor says which files the tree read, not what was in them. When a request brings new content, the
//! files of the tree that have its length are read and compared by digest, in a thread of its own: a file
//! system that does not answer (FUSE, NFS) must not hold up the recording. What is found follows the call
//! as an `llm.sources` record.
//!
//! We may run as root, and the paths are the agent's to change. So a file is only read if it is a regular
//! one and the very inode that the tree had opened; it is pinned by an `O_PATH` descriptor before it is
//! looked at. Nothing of it is kept but that it is equal to what the tree sent itself.

mod compare;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use agentsight_model::{
    ContentSource, Event, EventBody, FileOpen, KTime, LlmCall, LlmSources, ProcessKey,
};

use compare::{answer, sum_of};

/// Latest files read by the tree that are compared with.
const MAX_FILES: usize = 4096;

/// Digests of content that were looked for. Beyond, all are forgotten, and content that is repeated is
/// looked for once more.
const MAX_SEEN: usize = 1 << 18;

/// Calls that may wait for the thread.
const MAX_WAITING: usize = 64;

/// How long the end of a session waits for the thread.
const PATIENCE: Duration = Duration::from_secs(2);

type Sum = [u8; 32];

/// Device, in the kernel's encoding, and inode.
type Inode = (u64, u64);

#[derive(Clone, Debug)]
struct ReadFile {
    path: Arc<str>,
    process: ProcessKey,
    /// Number of the opening that was seen last.
    last: u64,
}

/// Content that may be that of a file.
#[derive(Clone, Debug)]
struct Wanted {
    modality: String,
    message: Option<u64>,
    /// Names the content, however it is compared.
    own: Sum,
    /// Lengths and digests that a file with this content has.
    forms: Vec<(u64, Sum)>,
}

struct Job {
    call: String,
    time: KTime,
    process: ProcessKey,
    wanted: Vec<Wanted>,
    files: Vec<(Inode, ReadFile)>,
}

struct Worker {
    jobs: SyncSender<Job>,
    found: Receiver<Event>,
    /// Jobs whose answer has not come.
    waiting: usize,
}

/// Remembers what the tree read, and asks for the content of calls.
#[derive(Default)]
pub(super) struct Lineage {
    files: HashMap<Inode, ReadFile>,
    by_age: BTreeMap<u64, Inode>,
    opened: u64,
    /// Texts that were looked for, and other content that was found.
    seen: HashSet<Sum>,
    worker: Option<Worker>,
}

impl Lineage {
    /// Takes note of a file that was opened to be read.
    pub(super) fn opened(&mut self, process: ProcessKey, open: &FileOpen) {
        let file = &open.file;
        let is_regular = file.mode & 0o170_000 == 0o100_000;
        if !open.access.read || !is_regular || file.path_cut || !file.path.starts_with('/') {
            return;
        }
        self.opened = self.opened.saturating_add(1);
        let read = ReadFile {
            path: Arc::from(file.path.as_str()),
            process,
            last: self.opened,
        };
        let inode = (file.dev, file.ino);
        if let Some(before) = self.files.insert(inode, read) {
            self.by_age.remove(&before.last);
        }
        self.by_age.insert(self.opened, inode);
        if self.by_age.len() > MAX_FILES
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.files.remove(&oldest);
        }
    }

    /// Asks where the new content of a call came from. Gives a record if that cannot be asked.
    pub(super) fn ask(&mut self, time: KTime, call: &mut LlmCall) -> Option<Event> {
        let wanted = self.new_content(call);
        if wanted.is_empty() || self.files.is_empty() {
            return None;
        }
        let unchecked = wanted.len() as u64;
        let process = call.process;
        let job = Job {
            call: call.id.clone(),
            time,
            process,
            wanted,
            // The latest first: what was read for this call is among them.
            files: self
                .by_age
                .values()
                .rev()
                .filter_map(|inode| Some((*inode, self.files.get(inode)?.clone())))
                .collect(),
        };
        if self.worker.is_none() {
            self.worker = Worker::start().ok();
        }
        let sent = self.worker.as_mut().is_some_and(|worker| worker.send(job));
        (!sent).then(|| record(&call.id, time, process, Vec::new(), unchecked))
    }

    fn new_content(&mut self, call: &mut LlmCall) -> Vec<Wanted> {
        let texts = std::mem::take(&mut call.texts).into_iter().map(|text| {
            let longer = text.bytes.saturating_add(1);
            Wanted {
                modality: "text".to_owned(),
                message: Some(text.message),
                own: text.sha256,
                forms: vec![(text.bytes, text.sha256), (longer, text.with_line_feed)],
            }
        });
        let parts = call.parts.iter().filter_map(|part| {
            let sum = sum_of(&part.sha256)?;
            Some(Wanted {
                modality: part.modality.clone(),
                message: None,
                own: sum,
                forms: vec![(part.bytes, sum)],
            })
        });
        if self.seen.len() > MAX_SEEN {
            self.seen.clear();
        }
        // A file may be read after its content was first seen: pictures that a model made, for one. Texts
        // are too many to be looked for in each turn.
        let parts: Vec<Wanted> = parts
            .filter(|wanted| !self.seen.contains(&wanted.own))
            .collect();
        let seen = &mut self.seen;
        texts
            .filter(|wanted| seen.insert(wanted.own))
            .chain(parts)
            .collect()
    }

    /// Leaves out what is empty, and content that an earlier call had: it may have been asked for again
    /// before it was found.
    fn new_only(&mut self, mut found: Vec<Event>) -> Vec<Event> {
        let seen = &mut self.seen;
        for event in &mut found {
            if let EventBody::LlmSources(found) = &mut event.body {
                let is_text = |one: &ContentSource| one.message.is_some();
                let mut is_new = |one: &ContentSource| {
                    sum_of(&one.sha256).is_none_or(|content| seen.insert(content))
                };
                found.sources.retain(|one| is_text(one) || is_new(one));
            }
        }
        found.into_iter().filter(is_telling).collect()
    }

    /// What was found by now.
    pub(super) fn take(&mut self) -> Vec<Event> {
        let Some(worker) = &mut self.worker else {
            return Vec::new();
        };
        let found: Vec<Event> = worker.found.try_iter().collect();
        worker.waiting = worker.waiting.saturating_sub(found.len());
        self.new_only(found)
    }

    /// What is found in the end, for which the end waits a moment.
    pub(super) fn finish(&mut self) -> Vec<Event> {
        let Some(mut worker) = self.worker.take() else {
            return Vec::new();
        };
        let until = Instant::now() + PATIENCE;
        let mut found = Vec::new();
        while worker.waiting > 0 {
            match worker
                .found
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(event) => found.push(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            worker.waiting = worker.waiting.saturating_sub(1);
        }
        self.new_only(found)
    }
}

impl Worker {
    fn start() -> io::Result<Self> {
        let (jobs, inbox) = sync_channel::<Job>(MAX_WAITING);
        // Every job has one answer, and no more than the inbox holds are under way.
        let (outbox, found) = sync_channel(MAX_WAITING + 1);
        std::thread::Builder::new()
            .name("lineage".to_owned())
            .spawn(move || {
                for job in inbox {
                    if outbox.send(answer(&job)).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self {
            jobs,
            found,
            waiting: 0,
        })
    }

    fn send(&mut self, job: Job) -> bool {
        let is_sent = self.waiting < MAX_WAITING && self.jobs.try_send(job).is_ok();
        self.waiting = self.waiting.saturating_add(usize::from(is_sent));
        is_sent
    }
}

fn is_telling(event: &Event) -> bool {
    match &event.body {
        EventBody::LlmSources(found) => !found.sources.is_empty() || found.unchecked > 0,
        _ => true,
    }
}

fn record(
    call: &str,
    time: KTime,
    process: ProcessKey,
    sources: Vec<ContentSource>,
    unchecked: u64,
) -> Event {
    Event {
        time,
        process,
        body: EventBody::LlmSources(Box::new(LlmSources {
            call: call.to_owned(),
            sources,
            unchecked,
        })),
    }
}

#[cfg(test)]
mod tests;
