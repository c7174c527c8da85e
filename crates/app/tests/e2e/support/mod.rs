//! What the tests share: calls of `agentsight` that are bounded in time, and what holds of any session.

mod call;
mod session;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

#[allow(unused_imports, reason = "this module is shared with other tests")]
pub(crate) use call::{Call, Ended, Going};
pub(crate) use session::{Recorded, texts};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_agentsight");

/// The distribution's interpreter: the one that uses the system's `libssl.so`.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// A user without rights who exists on every distribution.
pub(crate) const NOBODY: u32 = 65534;

/// A store of its own and a folder to work in; both go with the test.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Other users may enter, as some watched commands run as one.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        Self { folder }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The folder in which watched commands run.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// A path beside the store and the working folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `agentsight` with these arguments, this store, in the working folder.
    pub(crate) fn agentsight<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Call {
        Call::new(PROGRAM)
            .args(arguments)
            .env("AGENTSIGHT_STORE", self.store())
            .cwd(self.work())
    }

    /// `agentsight run`, without the report, of this command.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Call {
        self.agentsight(["run", "--quiet", "--"]).args(command)
    }

    /// `agentsight run` of a shell script.
    pub(crate) fn run_script(&self, script: &str) -> Call {
        self.run(["/bin/sh", "-c", script])
    }

    /// The one session of the store, with all that must hold of it.
    #[track_caller]
    pub(crate) fn recorded(&self) -> Recorded {
        let recorded = self.recorded_in_part();
        recorded.assert_in_order();
        recorded
    }

    /// The same for a session that need not have ended in order.
    #[track_caller]
    pub(crate) fn recorded_in_part(&self) -> Recorded {
        Recorded::read(self)
    }

    /// Folders of all sessions.
    pub(crate) fn sessions(&self) -> Vec<PathBuf> {
        files_in(&self.store().join("sessions"))
    }

    /// Folder of the only session.
    #[track_caller]
    pub(crate) fn session(&self) -> PathBuf {
        let [session] = self.sessions().try_into().unwrap();
        session
    }

    /// Segments of the only session's ledger.
    #[track_caller]
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut segments = files_in(&self.session());
        segments.retain(|path| path.extension() == Some(OsStr::new("seg")));
        segments
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}
