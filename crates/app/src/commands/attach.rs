//! `agentsight attach`: watch processes that run already.

use std::process::ExitCode;

use crate::cli::AttachArgs;
use crate::watch::{Subject, watch};

pub(crate) fn run(arguments: &AttachArgs) -> anyhow::Result<ExitCode> {
    watch(&Subject::Processes(arguments.pid.clone()), &arguments.watch)
}
