//! One call of a program, bounded in time.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest time that a call may take, unless said otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often we look whether something has happened.
const POLL: Duration = Duration::from_millis(5);

/// A call that is being put together.
pub(crate) struct Call {
    command: Command,
    patience: Duration,
}

impl Call {
    /// A call without input, in an environment that says nothing to `agentsight`.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        for name in [
            "AGENTSIGHT_STORE",
            "SUDO_UID",
            "SUDO_GID",
            "SUDO_USER",
            "COLUMNS",
        ] {
            command.env_remove(name);
        }
        Self {
            command,
            patience: PATIENCE,
        }
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn env_clear(mut self) -> Self {
        self.command.env_clear();
        self
    }

    pub(crate) fn cwd(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub(crate) fn input(mut self, bytes: &[u8]) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        self.command.stdin(file);
        self
    }

    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Begins it. Its output goes to files, as a pipe would block it when full, and would stay open for as
    /// long as a process that it leaves behind.
    #[track_caller]
    pub(crate) fn start(mut self) -> Going {
        let [stdout, stderr] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        self.command
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap());
        let name = format!("{:?}", self.command);
        Going {
            child: self.command.spawn().unwrap(),
            name,
            stdout,
            stderr,
            deadline: Instant::now() + self.patience,
        }
    }

    /// Does it.
    #[track_caller]
    pub(crate) fn end(self) -> Ended {
        self.start().end()
    }
}

/// A call at work. It is killed if it is dropped before its end.
pub(crate) struct Going {
    child: Child,
    name: String,
    stdout: File,
    stderr: File,
    deadline: Instant,
}

impl Going {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    #[allow(dead_code, reason = "this module is shared with other tests")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&content(&self.stdout)).into_owned()
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() || is_so(self),
                "{} ended without: {what}\n{}",
                self.name,
                self.errors()
            );
            assert!(
                Instant::now() < self.deadline,
                "waited in vain: {what}\n{}",
                self.errors()
            );
            thread::sleep(POLL);
        }
    }

    /// Waits until the command has printed this.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |going| going.stdout().contains(text));
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < self.deadline,
                "{} does not end\n{}",
                self.name,
                self.errors()
            );
            thread::sleep(POLL);
        };
        let ended = Ended {
            status,
            stdout: content(&self.stdout),
            stderr: self.errors(),
            name: self.name.clone(),
        };
        assert!(!ended.stderr.contains("panicked at"), "{ended:?}");
        ended
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&content(&self.stderr)).into_owned()
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What the file has, read through a handle of its own: the position of the one that the child writes
/// through is shared with it.
fn content(file: &File) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// How a call went.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    name: String,
}

impl Ended {
    /// Standard output as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Exit code as a shell says it.
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(
            self.code(),
            code,
            "{}\nstdout: {}\nstderr: {}",
            self.name,
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }

    /// Asserts exit code 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.with_code(0)
    }
}
