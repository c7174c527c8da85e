//! The `agentsight` program: command line and wiring only.
//!
//! Data goes to standard output, everything else to standard error. What is printed of a watched process
//! is hostile and passes through `report::sanitize` or is JSON.

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod cli;
mod commands;
mod failure;
mod report;
mod rules;
mod sinks;
mod terminal;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, TlsCommand};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Attach(arguments) => commands::attach::run(&arguments),
        Command::Sessions(arguments) => commands::sessions::run(&arguments),
        Command::Show(arguments) => commands::show::run(&arguments),
        Command::Events(arguments) => commands::events::run(&arguments),
        Command::Verify(arguments) => commands::verify::run(&arguments),
        Command::Rules(command) => commands::rules::run(&command),
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Tls(TlsCommand::Inspect { file, json }) => commands::tls::inspect(&file, json),
        Command::Demo(arguments) => commands::demo::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        terminal::tell(&failure::render(&error));
        failure::exit_code(&error)
    })
}
