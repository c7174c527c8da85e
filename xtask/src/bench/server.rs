//! The echo server of the TLS benchmark: the testkit's model server in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;
use crate::run;

/// Variables by which the workload learns where the server is.
pub(super) const URL: &str = "XTASK_ECHO_URL";
pub(super) const CA: &str = "XTASK_ECHO_CA";

/// A running server; it ends when dropped, as its standard input does.
pub(super) struct EchoServer {
    child: Child,
    url: String,
    ca: String,
}

impl EchoServer {
    pub(super) fn start() -> Result<Self, Failure> {
        let example = ["-p", "agentsight-testkit", "--example", "model_server"];
        run::step(run::cargo().arg("build").args(example))?;
        let program = run::target_dir()?.join("debug/examples/model_server");
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(format!("failed to run {}: {error}", program.display()))
        };
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let output = child.stdout.take().ok_or_else(|| failed(&"no output"))?;
        let mut lines = BufReader::new(output).lines();
        let mut next = || match lines.next() {
            Some(Ok(line)) => Ok(line),
            _ => Err(failed(&"it does not say where it listens")),
        };
        Ok(Self {
            url: next()?,
            ca: next()?,
            child,
        })
    }

    /// Tells a workload where the server is.
    pub(super) fn tell(&self, command: &mut Command) {
        command.env(URL, &self.url).env(CA, &self.ca);
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
