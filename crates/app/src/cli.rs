//! The command line. Stable: scripts rely on it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use agentsight_model::Severity;

use crate::rules::RuleFiles;
use crate::sinks::DEFAULT_SOCKET;

/// Where sessions are kept unless said otherwise: owned by root, not writable by the agent's user.
pub(crate) const DEFAULT_STORE: &str = "/var/lib/agentsight";

const EXIT_CODES: &str = "\
Exit codes: 0 success, 1 failure, 2 usage, 3 missing privilege, 4 unsupported kernel.
`run` ends with the exit code of the command it watched (128 + n if signal n ended it, 127 if it was \
not found, 126 if it could not be run), or with 5 if --fail-on asks for it.";

/// See what AI agents really do on this machine.
#[derive(Debug, Parser)]
#[command(name = "agentsight", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command and watch it and everything it starts
    Run(RunArgs),
    /// Watch processes that run already, with everything they start from now on
    Attach(AttachArgs),
    /// List the recorded sessions
    Sessions(SessionsArgs),
    /// Show one session
    Show(ShowArgs),
    /// Print what a session did, one action a line, as JSON
    Events(EventsArgs),
    /// Check that the recorded sessions are as they were written
    Verify(VerifyArgs),
    /// List, check and test the rules by which sessions are judged
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Say what this kernel offers, and what that means
    Doctor(DoctorArgs),
    /// Look for TLS functions in programs and libraries
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Watch a small scripted agent talk to a scripted model; needs no network and no key
    Demo(DemoArgs),
}

/// Where sessions are kept.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreArgs {
    /// Directory that holds the recorded sessions
    #[arg(long, value_name = "DIR", env = "AGENTSIGHT_STORE", default_value = DEFAULT_STORE)]
    pub(crate) store: PathBuf,
}

/// What to keep and to print of a session.
#[derive(Clone, Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Write the session document (as `show --json`) to FILE at the end; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Keep no message content: only who talked to whom, how much, and when
    #[arg(long)]
    pub(crate) no_content: bool,
    /// Your own prices of models (YAML); by default `prices.yaml` in the store, if it is there
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
    /// Your own patterns of what is secret (YAML); by default `redact.yaml` in the store, if it is there
    #[arg(long, value_name = "FILE")]
    pub(crate) redact: Option<PathBuf>,
    /// Print no report at the end
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) rules: RuleArgs,
    #[command(flatten)]
    pub(crate) findings: FindingArgs,
}

/// What to do with what rules find.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FindingArgs {
    /// End with exit code 5 if there is a finding of at least this severity: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY")]
    pub(crate) fail_on: Option<Severity>,
    /// Print findings as they come even if a program uses the whole terminal, or with --quiet
    #[arg(long)]
    pub(crate) findings_live: bool,
    /// POST each finding as JSON to this address
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// Send each finding to the system's log, or to another socket of syslog
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_SOCKET)]
    pub(crate) syslog: Option<PathBuf>,
    /// Accept rules that ask to deny, kill, freeze or ask, and only alert
    #[arg(long)]
    pub(crate) allow_weaker: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    /// Process to watch; may be given several times
    #[arg(long, required = true, num_args = 1.., value_name = "PID")]
    pub(crate) pid: Vec<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Id of a session, the beginning of one, or `last`
    #[arg(default_value = "last")]
    pub(crate) session: String,
    /// The whole session as one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Id of a session, the beginning of one, or `last`
    #[arg(default_value = "last")]
    pub(crate) session: String,
    /// Only actions of this kind, such as `process.exec`, or of a whole domain, such as `file`
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Go on as the session goes on, until it ends
    #[arg(long, short)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A store, or one session's directory in it
    #[arg(value_name = "DIR", env = "AGENTSIGHT_STORE", default_value = DEFAULT_STORE)]
    pub(crate) directory: PathBuf,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// Print which TLS functions a file holds and how they were found; for bug reports
    Inspect {
        /// Program or library
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which rules are in force.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RuleArgs {
    /// Rules of your own: a file, or a directory of `.yaml` files. They replace rules of the default pack
    /// that have the same id
    #[arg(long, value_name = "PATH")]
    pub(crate) rules: Vec<PathBuf>,
    /// Leave the rules out that come with AgentSight
    #[arg(long)]
    pub(crate) no_default_rules: bool,
}

impl RuleArgs {
    pub(crate) fn files(&self) -> RuleFiles {
        RuleFiles {
            paths: self.rules.clone(),
            default_pack: !self.no_default_rules,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List the rules that are in force
    List {
        #[command(flatten)]
        rules: RuleArgs,
        /// As JSON, with everything that is known of each
        #[arg(long)]
        json: bool,
    },
    /// Check rule files: says what is wrong, where, and what may have been meant
    Check {
        /// Files and directories; the default pack if none is given
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the tests that are in rule files, or try rules on a recorded session
    Test(RulesTestArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RulesTestArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Files and directories; the default pack if none is given
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Instead of the tests: what all rules would have found in this session (an id, the beginning of one,
    /// or `last`)
    #[arg(long, value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_command_is_the_commands_own() {
        let cli = Cli::parse_from(["agentsight", "run", "--quiet", "ls", "--json", "-q"]);
        let Command::Run(run) = cli.command else {
            panic!("{cli:?}")
        };
        assert!(run.watch.quiet && run.watch.json.is_none());
        assert_eq!(run.command, ["ls", "--json", "-q"]);
    }
}
