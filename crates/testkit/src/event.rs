//! Sequences of events for unit tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use agentsight_model::{
    Access, Event, EventBody, FileOpen, FileRef, KTime, NetworkConnect, NetworkProtocol,
    ProcessExec, ProcessExit, ProcessFork, ProcessKey, ResourceUse, SocketId,
};

/// Time between two events, unless [`EventBuilder::advance`] adds to it: one millisecond.
const STEP_NS: u64 = 1_000_000;

/// Builds a plausible sequence of events. Processes are named by pid alone; the builder gives each its key
/// when it is first mentioned, and a new key when the pid is forked again.
///
/// ```
/// use agentsight_testkit::EventBuilder;
///
/// let mut builder = EventBuilder::new();
/// builder
///     .exec(10, &["agent"])
///     .fork(10, 11)
///     .exec(11, &["ls", "-l"])
///     .open_read(11, "/etc/hosts")
///     .exit(11, 0);
/// let ls = builder.key(11);
/// let events = builder.build();
/// assert_eq!(events.len(), 5);
/// assert_eq!(events[4].process, ls);
/// assert!(events.windows(2).all(|pair| pair[0].time < pair[1].time));
/// ```
#[derive(Clone, Debug, Default)]
pub struct EventBuilder {
    now_ns: u64,
    next_id: u64,
    keys: BTreeMap<u32, ProcessKey>,
    parents: BTreeMap<u32, ProcessKey>,
    events: Vec<Event>,
}

impl EventBuilder {
    /// A builder without events, at boot-clock time zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets time pass before the next event.
    pub fn advance(&mut self, ns: u64) -> &mut Self {
        self.now_ns = self.now_ns.saturating_add(ns);
        self
    }

    /// The time of the latest event.
    #[must_use]
    pub fn now(&self) -> KTime {
        KTime(self.now_ns)
    }

    /// The key of the process that has this pid at present.
    pub fn key(&mut self, pid: u32) -> ProcessKey {
        let start_ns = self.now_ns;
        *self.keys.entry(pid).or_insert(ProcessKey {
            tgid: pid,
            start_ns,
        })
    }

    /// Adds any event of this process.
    pub fn push(&mut self, pid: u32, body: EventBody) -> &mut Self {
        self.advance(STEP_NS);
        let event = Event {
            time: self.now(),
            process: self.key(pid),
            body,
        };
        self.events.push(event);
        self
    }

    /// `parent` makes `child`, a new process even if that pid was used before.
    pub fn fork(&mut self, parent: u32, child: u32) -> &mut Self {
        let parent_key = self.key(parent);
        let child_key = ProcessKey {
            tgid: child,
            start_ns: self.now_ns.saturating_add(STEP_NS),
        };
        self.keys.insert(child, child_key);
        self.parents.insert(child, parent_key);
        self.push(
            parent,
            EventBody::ProcessFork(ProcessFork {
                child: child_key,
                comm: format!("comm-{parent}"),
            }),
        )
    }

    /// The process runs the program `argv[0]`; a bare name lives in `/usr/bin`.
    pub fn exec(&mut self, pid: u32, argv: &[&str]) -> &mut Self {
        let name = argv.first().copied().unwrap_or_default();
        let path = if name.starts_with('/') {
            name.to_owned()
        } else {
            format!("/usr/bin/{name}")
        };
        let exec = ProcessExec {
            parent: self.parents.get(&pid).copied().unwrap_or_default(),
            exe: self.file(&path),
            filename: path,
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            cwd: "/project".to_owned(),
            uid: 1000,
            gid: 1000,
            ..ProcessExec::default()
        };
        self.push(pid, EventBody::ProcessExec(Box::new(exec)))
    }

    /// The process ends with this code.
    pub fn exit(&mut self, pid: u32, code: i32) -> &mut Self {
        self.push(
            pid,
            EventBody::ProcessExit(ProcessExit {
                code: Some(code),
                signal: None,
                resources: ResourceUse::default(),
            }),
        )
    }

    /// The process opens a file for reading.
    pub fn open_read(&mut self, pid: u32, path: &str) -> &mut Self {
        self.open(
            pid,
            path,
            Access {
                read: true,
                ..Access::default()
            },
        )
    }

    /// The process makes a file and opens it for writing.
    pub fn create(&mut self, pid: u32, path: &str) -> &mut Self {
        self.open(
            pid,
            path,
            Access {
                write: true,
                create: true,
                ..Access::default()
            },
        )
    }

    /// The process opens a file.
    pub fn open(&mut self, pid: u32, path: &str, access: Access) -> &mut Self {
        let file = self.file(path);
        let open = FileOpen {
            use_id: self.id(),
            file,
            access,
            inherited: false,
        };
        self.push(pid, EventBody::FileOpen(open))
    }

    /// The process connects to this address by TCP.
    pub fn connect(&mut self, pid: u32, remote: SocketAddr) -> &mut Self {
        let connect = NetworkConnect {
            socket: SocketId(self.id()),
            protocol: NetworkProtocol::Tcp,
            local: None,
            remote,
        };
        self.push(pid, EventBody::NetworkConnect(connect))
    }

    /// The events, in order of time.
    #[must_use]
    pub fn build(self) -> Vec<Event> {
        self.events
    }

    fn id(&mut self) -> u64 {
        self.next_id = self.next_id.saturating_add(1);
        self.next_id
    }

    /// A regular file; its inode depends on nothing but its path.
    fn file(&self, path: &str) -> FileRef {
        let ino = path.bytes().fold(17_u64, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        FileRef {
            path: path.to_owned(),
            path_cut: false,
            dev: 1 << 20,
            ino,
            mode: 0o100_644,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_pid_is_another_process() {
        let mut builder = EventBuilder::new();
        builder.exec(1, &["agent"]).fork(1, 2).exit(2, 0);
        let first = builder.key(2);
        builder.fork(1, 2).exec(2, &["true"]);
        let second = builder.key(2);
        assert_ne!(first, second);
        let agent = builder.key(1);
        let events = builder.build();
        let EventBody::ProcessExec(exec) = &events[4].body else {
            panic!("{:?} is no exec", events[4]);
        };
        assert_eq!((events[4].process, exec.parent), (second, agent));
    }

    #[test]
    fn a_file_keeps_its_inode() {
        let mut builder = EventBuilder::new();
        builder
            .create(1, "/project/a")
            .open_read(2, "/project/a")
            .open_read(2, "/project/b");
        let inodes: Vec<u64> = builder
            .build()
            .iter()
            .map(|event| match &event.body {
                EventBody::FileOpen(open) => open.file.ino,
                other => panic!("{other:?} is no open"),
            })
            .collect();
        assert_eq!(inodes[0], inodes[1]);
        assert_ne!(inodes[0], inodes[2]);
    }
}
