//! Starts the command that is to be watched, in such a way that nothing of it is missed and it notices
//! nothing: as the invoking user, on the same terminal, held at the gate until it is watched.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::thread::JoinHandle;

use crate::ProbeError;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{Gid, Uid, User, getgrouplist, pipe2};

/// The user that the command runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Home folder.
    pub home: OsString,
    groups: Vec<libc::gid_t>,
}

impl RunAs {
    /// The user who called `sudo`, if we are root because of that.
    ///
    /// # Errors
    /// [`ProbeError::Caller`]: there is one, but who it is cannot be found out.
    pub fn sudo_caller() -> Result<Option<Self>, ProbeError> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        let Some(text) = std::env::var_os("SUDO_UID") else {
            return Ok(None);
        };
        let found = match text.to_str().and_then(|text| text.parse().ok()) {
            Some(0) => return Ok(None),
            Some(uid) => User::from_uid(Uid::from_raw(uid)).ok().flatten(),
            None => None,
        };
        found
            .and_then(Self::of)
            .map(Some)
            .ok_or_else(|| ProbeError::Caller {
                uid: text.to_string_lossy().into_owned(),
            })
    }

    /// The user that we are.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::of(User::from_uid(Uid::effective()).ok()??)
    }

    fn of(user: User) -> Option<Self> {
        let name = CString::new(user.name.clone()).ok()?;
        let groups = getgrouplist(&name, user.gid).ok()?;
        Some(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            home: user.dir.into_os_string(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            name: user.name,
        })
    }
}

/// A command that was started but waits at the gate, before it runs its program.
pub struct Held {
    pid: u32,
    gate: File,
    spawning: JoinHandle<io::Result<Child>>,
}

/// The command at work.
pub struct Running {
    child: Child,
    ended: Option<OwnedFd>,
}

/// A command line and where it is to run.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Working directory; ours if absent.
    pub cwd: Option<PathBuf>,
}

impl From<&[OsString]> for CommandLine {
    fn from(argv: &[OsString]) -> Self {
        Self {
            argv: argv.to_vec(),
            cwd: None,
        }
    }
}

/// Starts a command, which waits before it becomes its program. With `user` it gives up all privileges
/// first.
///
/// # Errors
/// The process could not be made. That its program does not exist shows at [`Held::release`].
pub fn hold(line: &CommandLine, user: Option<&RunAs>) -> io::Result<Held> {
    let (program, arguments) = line
        .argv
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // Its own pid goes one way, the permission to go on the other.
    let (pid_out, pid_in) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let (gate_out, gate_in) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(cwd) = &line.cwd {
        command.current_dir(cwd);
    }
    if let Some(user) = user {
        command
            .env("HOME", &user.home)
            .env("USER", &user.name)
            .env("LOGNAME", &user.name);
    }
    let prepare = prepare(user.cloned(), pid_in, gate_out, gate_in.as_raw_fd());
    // SAFETY: the closure runs between fork and exec and calls only functions that are safe to call
    // from a signal handler: getpid, read, write, close, setgroups, setgid, setuid. It does not allocate.
    unsafe { command.pre_exec(prepare) };
    // `spawn` returns only when the program runs, so it waits on a thread of its own.
    let spawning = std::thread::spawn(move || command.spawn());

    let mut pid = [0; 4];
    File::from(pid_out).read_exact(&mut pid)?;
    Ok(Held {
        pid: u32::from_ne_bytes(pid),
        gate: File::from(gate_in),
        spawning,
    })
}

fn prepare(
    user: Option<RunAs>,
    pid_in: OwnedFd,
    gate_out: OwnedFd,
    parents_gate: libc::c_int,
) -> impl FnMut() -> io::Result<()> + Send + Sync + 'static {
    move || {
        let check = |result: libc::c_int| match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        let pid = std::process::id().to_ne_bytes();
        let mut go = 0_u8;
        // SAFETY: the descriptors are open, the buffers are valid for their lengths. Our copy of the
        // gate's writing end is closed first, so that the read ends if the parent dies.
        let held = unsafe {
            libc::close(parents_gate);
            libc::write(pid_in.as_raw_fd(), pid.as_ptr().cast(), pid.len());
            libc::read(gate_out.as_raw_fd(), (&raw mut go).cast(), 1)
        };
        if held != 1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let Some(user) = &user else { return Ok(()) };
        // SAFETY: the list is valid for its length; the others take numbers. Groups first, user last:
        // the other order would leave no right to change the groups.
        unsafe {
            check(libc::setgroups(user.groups.len(), user.groups.as_ptr()))?;
            check(libc::setgid(user.gid))?;
            check(libc::setuid(user.uid))
        }
    }
}

impl Held {
    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it become its program.
    ///
    /// # Errors
    /// The program could not be run: not found, no permission, or no program.
    pub fn release(mut self) -> io::Result<Running> {
        self.gate.write_all(&[1])?;
        match self.spawning.join() {
            Ok(result) => result.map(|child| Running {
                ended: open_pidfd(child.id()),
                child,
            }),
            Err(_) => Err(io::Error::other(
                "the thread that starts the command failed",
            )),
        }
    }
}

/// A descriptor that is readable once the process has ended (Linux 5.3).
fn open_pidfd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: the call takes numbers, and gives a descriptor that is nobody else's.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as libc::c_int))
    }
}

impl Running {
    /// Becomes readable when it has ended.
    #[must_use]
    pub fn ended(&self) -> Option<BorrowedFd<'_>> {
        self.ended.as_ref().map(OwnedFd::as_fd)
    }

    /// Its status, if it has ended.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        let Ok(pid) = i32::try_from(self.child.id()) else {
            return;
        };
        // SAFETY: kill takes numbers. The pid is that of our child, which has not been waited for.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Exit code and signal of a status, one of which is there.
#[must_use]
pub fn code_and_signal(status: ExitStatus) -> (Option<i32>, Option<i32>) {
    (status.code(), status.signal())
}

/// The last signal that somebody sent to us, and not the terminal to everybody; 0 if none.
static TO_FORWARD: AtomicI32 = AtomicI32::new(0);
/// Signals of any origin, as bits.
static RECEIVED: AtomicU32 = AtomicU32::new(0);

extern "C" fn note(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    RECEIVED.fetch_or(1 << (signal & 31), Ordering::Relaxed);
    // SAFETY: with SA_SIGINFO the kernel passes a valid pointer.
    let code = unsafe { info.as_ref() }.map_or(0, |info| info.si_code);
    // The terminal's signals come from the kernel and go to the whole foreground group, the command
    // included; what a process sent (codes up to 0) was meant for us alone.
    if code <= 0 {
        TO_FORWARD.store(signal, Ordering::Relaxed);
    }
}

/// From now on, signals that would end us are noted instead: the command decides what they mean.
///
/// A handler, and not "ignore": what is ignored stays ignored in the command.
///
/// # Errors
/// The handlers cannot be set.
pub fn note_signals() -> io::Result<()> {
    let action = SigAction::new(
        SigHandler::SigAction(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ] {
        // SAFETY: the handler touches atomics only.
        let before = unsafe { sigaction(signal, &action) }?;
        if matches!(before.handler(), SigHandler::SigIgn) {
            // Somebody (nohup) wants the command to go on, and a handler would be reset in it.
            // SAFETY: this puts back what was there.
            unsafe { sigaction(signal, &before) }?;
        }
    }
    Ok(())
}

/// The signal that is to be handed on to the command, once.
#[must_use]
pub fn signal_to_forward() -> Option<i32> {
    Some(TO_FORWARD.swap(0, Ordering::Relaxed)).filter(|&signal| signal != 0)
}

/// Whether one of the signals that end a program has come, since the last call.
#[must_use]
pub fn asked_to_end() -> bool {
    let ends = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT]
        .iter()
        .fold(0, |bits, signal| bits | 1_u32 << signal);
    RECEIVED.swap(0, Ordering::Relaxed) & ends != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> CommandLine {
        CommandLine {
            argv: words.iter().map(OsString::from).collect(),
            cwd: None,
        }
    }

    fn wait(mut running: Running) -> ExitStatus {
        loop {
            if let Some(status) = running.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[test]
    fn a_held_command_has_not_run_yet() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let held = hold(&words(&["touch", mark.to_str().unwrap()]), None).unwrap();
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", held.pid())).unwrap();
        assert_ne!(comm.trim(), "touch");
        assert!(!mark.exists());
        assert_eq!(
            code_and_signal(wait(held.release().unwrap())),
            (Some(0), None)
        );
        assert!(mark.exists());
    }

    #[test]
    fn codes_and_signals_come_through() {
        let run = |script| {
            wait(
                hold(&words(&["sh", "-c", script]), None)
                    .unwrap()
                    .release()
                    .unwrap(),
            )
        };
        assert_eq!(code_and_signal(run("exit 7")), (Some(7), None));
        assert_eq!(code_and_signal(run("kill -9 $$")), (None, Some(9)));
    }

    #[test]
    fn a_missing_program_is_an_error_at_the_gate() {
        let held = hold(&words(&["/nonexistent/program"]), None).unwrap();
        let error = held.release().err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
