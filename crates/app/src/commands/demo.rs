//! `agentsight demo`: a small scripted agent and a scripted model, watched as any other.

use std::process::ExitCode;

use agentsight_probe::launch::{CommandLine, RunAs};
use agentsight_testkit::{Demo, DemoOptions, Owner};
use anyhow::Context as _;

use crate::cli::{DemoArgs, FindingArgs, RuleArgs, WatchArgs};
use crate::terminal;
use crate::watch::{Subject, watch};

pub(crate) fn run(arguments: &DemoArgs) -> anyhow::Result<ExitCode> {
    let options = DemoOptions {
        owner: RunAs::sudo_caller()?.map(|user| Owner {
            uid: user.uid,
            gid: user.gid,
        }),
        ..DemoOptions::default()
    };
    let demo = Demo::start(&options).context("failed to start the demo's model")?;
    let line = CommandLine {
        argv: demo.command().to_vec(),
        cwd: Some(demo.workspace().to_owned()),
    };
    terminal::tell(&format!(
        "A scripted model answers on {}; a small Python agent works in {}.\n\n",
        demo.server().url(),
        demo.workspace().display()
    ));
    let watch_arguments = WatchArgs {
        prices: None,
        redact: None,
        store: arguments.store.clone(),
        json: None,
        no_content: false,
        quiet: false,
        rules: RuleArgs::default(),
        findings: FindingArgs::default(),
    };
    let code = watch(&Subject::Command(line), &watch_arguments)?;
    terminal::tell(
        "\nThis session is recorded: `agentsight show`, `agentsight events`, `agentsight verify`.\n\
         Next: sudo agentsight run -- claude, or any other agent.\n",
    );
    Ok(code)
}
