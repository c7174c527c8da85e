//! `agentsight run`: start a command and watch it.

use std::process::ExitCode;

use crate::cli::RunArgs;
use crate::watch::{Subject, watch};

pub(crate) fn run(arguments: &RunArgs) -> anyhow::Result<ExitCode> {
    let line = arguments.command.as_slice().into();
    watch(&Subject::Command(line), &arguments.watch)
}
