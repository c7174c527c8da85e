//! Holds programs that the watched tree has made, at their start, until they have been looked at.
//!
//! A file that the tree writes and runs at once may be done with its TLS connection before its functions are
//! found. So each such file gets a fanotify mark, by which the kernel asks before it is run; the answer is
//! always yes, and comes when the probes are in place. Nothing else on the machine is asked about.
//!
//! It cannot harm who is held: the kernel gives the answer itself when this process dies, and a thread gives it
//! after [`LONGEST`] when the rest of this process is busy. Where a file is run before its mark is set, or
//! fanotify is not to be had, programs are looked at while they run, like all others.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agentsight_wire::{IMAGE_NAMED, IMAGE_STARTED, image_item};
use libbpf_rs::{MapHandle, RingBuffer, RingBufferBuilder};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags,
    Response,
};
use zerocopy::FromBytes;

use crate::images::open_path;
use crate::sensor::path_of_components;

/// Longest time that a start is held up. The analysis of the largest known program takes a third of it.
const LONGEST: Duration = Duration::from_secs(1);
/// How long ago a change is that was just told. Some file systems have seconds.
const RECENT: Duration = Duration::from_secs(2);
/// Marks that are set at a time; beyond it all are given up, and programs looked at while they run.
const MAX_MARKS: usize = 4096;
/// Started programs that nobody has asked for yet, at most; others are found by their records.
const MAX_STARTED: usize = 256;
/// Written files that nobody has asked for yet, at most.
const MAX_WRITTEN: usize = 16_384;

/// A program that waits to be run.
pub(crate) struct Held {
    event: FanotifyEvent,
    until: Instant,
    is_answered: AtomicBool,
    fanotify: Arc<Fanotify>,
}

impl Held {
    /// Where the file can be opened.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.event.fd().map(descriptor_path)
    }

    /// Lets it run, if it does not yet. The file is asked about no more, unless it is written again.
    pub(crate) fn let_go(&self) {
        let Some(fd) = self.event.fd() else { return };
        if self.is_answered.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(path) = self.path() {
            let _ = mark(&self.fanotify, MarkFlags::FAN_MARK_REMOVE, &path);
        }
        // What fails here has been answered by the kernel: who asked is gone.
        let response = FanotifyResponse::new(fd, Response::FAN_ALLOW);
        let _ = self.fanotify.write_response(response);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// What the thread has found since it was last asked.
#[derive(Default)]
pub(crate) struct Found {
    /// Files that were written, by device and inode.
    pub(crate) written: Vec<(u64, u64)>,
    /// Programs that are new to us and have been started.
    pub(crate) started: Vec<File>,
    /// Programs that wait.
    pub(crate) held: VecDeque<Arc<Held>>,
}

struct Shared {
    found: Mutex<Found>,
    /// Something was found.
    news: EventFd,
    /// The thread is to end.
    stop: EventFd,
}

impl Shared {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that sets marks and takes the kernel's questions.
pub(crate) struct Holder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Holder {
    /// Begins. None if the kernel does not let us; then nothing is held.
    pub(crate) fn start(image_ring: MapHandle) -> Option<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let shared = Arc::new(Shared {
            found: Mutex::default(),
            news: EventFd::from_value_and_flags(0, flags).ok()?,
            stop: EventFd::from_value_and_flags(0, flags).ok()?,
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("hold".to_owned())
            .spawn(move || {
                be_prompt();
                if let Some(mut keeper) = Keeper::new(theirs, &image_ring) {
                    keeper.keep();
                }
            })
            .ok()?;
        Some(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Readable when something was found.
    pub(crate) fn news(&self) -> BorrowedFd<'_> {
        self.shared.news.as_fd()
    }

    /// What was found.
    pub(crate) fn take(&self) -> Found {
        let _ = self.shared.news.read();
        std::mem::take(&mut *self.shared.found())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.shared.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's own state. When it goes, the kernel lets go of all that is held.
struct Keeper {
    shared: Arc<Shared>,
    fanotify: Option<Arc<Fanotify>>,
    ring: RingBuffer<'static>,
    items: Arc<Mutex<Vec<Vec<u8>>>>,
    held: Vec<Arc<Held>>,
    mark_count: usize,
}

impl Keeper {
    fn new(shared: Arc<Shared>, ring: &MapHandle) -> Option<Self> {
        let items: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let mut builder = RingBufferBuilder::new();
        let into = Arc::clone(&items);
        builder
            .add(ring, move |bytes: &[u8]| {
                let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
                into.push(bytes.to_vec());
                0
            })
            .ok()?;
        let init = InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK;
        let open = EventFFlags::O_RDONLY | EventFFlags::O_LARGEFILE | EventFFlags::O_CLOEXEC;
        Some(Self {
            shared,
            fanotify: Fanotify::init(init, open).ok().map(Arc::new),
            ring: builder.build().ok()?,
            items,
            held: Vec::new(),
            mark_count: 0,
        })
    }

    fn keep(&mut self) {
        loop {
            if self.wait() {
                return;
            }
            self.take_news();
            self.take_questions();
            self.let_the_late_go();
        }
    }

    /// Waits for something to do. Returns whether it is time to end.
    fn wait(&self) -> bool {
        // SAFETY: the descriptor belongs to the buffer, which outlives this call.
        let ring = unsafe { BorrowedFd::borrow_raw(self.ring.epoll_fd()) };
        let mut sources = vec![
            PollFd::new(self.shared.stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(ring, PollFlags::POLLIN),
        ];
        if let Some(fanotify) = &self.fanotify {
            sources.push(PollFd::new(fanotify.as_fd(), PollFlags::POLLIN));
        }
        let timeout = match self.held.iter().map(|held| held.until).min() {
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now()).as_millis();
                PollTimeout::from(u16::try_from(left + 1).unwrap_or(u16::MAX))
            }
            None => PollTimeout::NONE,
        };
        let _ = poll(&mut sources, timeout);
        sources.first().and_then(PollFd::any).unwrap_or(false)
    }

    fn take_news(&mut self) {
        let _ = self.ring.consume();
        let items = {
            let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *items)
        };
        for item in items {
            let Ok((fixed, rest)) = image_item::read_from_prefix(&item) else {
                continue;
            };
            match fixed.what {
                IMAGE_STARTED => self.was_started(fixed.tgid),
                IMAGE_NAMED => self.was_named(&fixed, rest).unwrap_or_default(),
                _ => self.was_written(&fixed, rest).unwrap_or_default(),
            }
        }
    }

    /// The file is opened here and now, as the process may be gone when there is time to look at it: it is for
    /// the next one, then.
    fn was_started(&self, tgid: u32) {
        let opened = open_path(Path::new(&format!("/proc/{tgid}/exe")));
        let mut found = self.shared.found();
        if let Some((file, _)) = opened.filter(|_| found.started.len() < MAX_STARTED) {
            found.started.push(file);
        }
        drop(found);
        let _ = self.shared.news.write(1);
    }

    /// A file of the tree's was opened for writing.
    fn was_written(&mut self, item: &image_item, rest: &[u8]) -> Option<()> {
        let path = path_of_components(rest.get(..bytes(item.path_bytes))?)?;
        let (file, metadata) = open_as_seen_by(item.tgid, &path)
            .filter(|(_, metadata)| metadata.ino() == item.file.ino)?;
        self.ask_about(&file, &metadata);
        Some(())
    }

    /// A file was made executable. Its name may lead elsewhere here, or by now; the file has just been changed.
    fn was_named(&mut self, item: &image_item, rest: &[u8]) -> Option<()> {
        let (base, rest) = rest.split_at_checked(bytes(item.path_bytes))?;
        let name = rest.get(..bytes(item.name_bytes))?.strip_suffix(b"\0")?;
        let mut path = path_of_components(base).unwrap_or_default();
        path.push('/');
        path.push_str(std::str::from_utf8(name).ok()?);
        let (file, metadata) = open_as_seen_by(item.tgid, &path)?;
        if metadata.mode() & 0o111 != 0 && is_recent(metadata.ctime()) {
            self.ask_about(&file, &metadata);
        }
        Some(())
    }

    /// Has the kernel ask before the file is run, and its probes taken out.
    fn ask_about(&mut self, file: &File, metadata: &Metadata) {
        if let Some(fanotify) = &self.fanotify {
            if self.mark_count >= MAX_MARKS {
                let flush = MarkFlags::FAN_MARK_FLUSH;
                let _ = fanotify.mark(flush, MaskFlags::empty(), AT_FDCWD, None::<&Path>);
                self.mark_count = 0;
            }
            if mark(fanotify, MarkFlags::FAN_MARK_ADD, &descriptor_path(file)).is_ok() {
                self.mark_count += 1;
            }
        }
        let mut found = self.shared.found();
        if found.written.len() < MAX_WRITTEN {
            found.written.push((metadata.dev(), metadata.ino()));
        }
        drop(found);
        let _ = self.shared.news.write(1);
    }

    /// Takes the kernel's questions whether files may be run.
    fn take_questions(&mut self) {
        let Some(fanotify) = &self.fanotify else {
            return;
        };
        let events = fanotify.read_events().unwrap_or_default();
        let asking = events
            .into_iter()
            .filter(|event| event.fd().is_some() && event.check_version());
        for event in asking {
            let held = Arc::new(Held {
                event,
                until: Instant::now() + LONGEST,
                is_answered: AtomicBool::new(false),
                fanotify: Arc::clone(fanotify),
            });
            self.held.push(Arc::clone(&held));
            self.shared.found().held.push_back(held);
            let _ = self.shared.news.write(1);
        }
    }

    /// Lets those go that have waited for too long, and forgets those that are gone.
    fn let_the_late_go(&mut self) {
        let now = Instant::now();
        for held in self.held.iter().filter(|held| held.until <= now) {
            held.let_go();
        }
        self.held
            .retain(|held| !held.is_answered.load(Ordering::Acquire));
    }
}

fn bytes(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Opens what a process sees at an absolute path. If it has ended, the path is as good as it is here.
fn open_as_seen_by(tgid: u32, path: &str) -> Option<(File, Metadata)> {
    open_path(Path::new(&format!("/proc/{tgid}/root{path}"))).or_else(|| open_path(Path::new(path)))
}

/// Whether a time, in seconds since the epoch, is that of a moment ago.
fn is_recent(seconds: i64) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let then = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    then.saturating_add(RECENT) > now
}

/// Has this thread run before the programs that it is about: it does little, but must do it at once.
fn be_prompt() {
    const NICENESS: libc::c_int = -20;
    // SAFETY: the call takes numbers; 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}

/// Where an open file can be opened again.
pub(crate) fn descriptor_path(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

fn mark(fanotify: &Fanotify, flags: MarkFlags, path: &Path) -> Result<(), Errno> {
    fanotify.mark(flags, MaskFlags::FAN_OPEN_EXEC_PERM, AT_FDCWD, Some(path))
}
