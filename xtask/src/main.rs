//! The developer's one entry point: `cargo xtask <command>`.
//!
//! Installs what a build needs, builds and shows the demo, runs every suite and measures what watching
//! costs. It must build where nothing but Rust is installed, so it depends on no crate of the product; what
//! it needs of them it runs as programs.

#![forbid(unsafe_code)]

mod agents;
mod bench;
mod demo;
mod eval_rules;
mod eval_tls;
mod evasion;
mod failure;
mod fuzz;
mod run;
mod setup;
mod suites;
mod vm;

use std::process::ExitCode;

use failure::Failure;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup            checks what building needs and installs what is missing with apt-get
  demo             setup, a release build, and the demo
  test [--all]     setup, then every suite; --all adds real agents, if they are installed,
                   the programs of --evasion, and the kernels of `vm`
  test agents [AGENT[/SCENARIO]]
                   only real agents
  test --evasion [--accept]
                   only programs that try not to be seen; --accept keeps what came of it and writes
                   docs/reference/coverage.md
  gen              makes what is generated again: crates/wire/src/generated.rs and pages of
                   docs/reference
  vm [--accept] [KERNEL..]
                   the product on stock Debian kernels in QEMU: 5.10, 6.1, 6.12, 7; writes
                   docs/reference/kernels.md; --accept takes what the verifier did as the new limits
  bench [--pairs N] [--only WORKLOAD]
                   what watching costs: exec-burst, open-burst, tls-echo
  bench storm [--only FLOOD]
                   floods of programs, processes, opens, writes and connections, and what is recorded of them
  bench tls [--rounds N]
                   what a pair of SSL_write and SSL_read costs, and the locator
  bench decode     how fast bytes become exchanges and conversations, and what they allocate
  fuzz [TARGET] [--seconds N]
                   the fuzz targets of `fuzz/`, or one of them, N seconds each (60)
  eval rules       how well the default pack finds attacks: writes docs/reference/rules-eval.md
  eval tls [--releases N] [--only PROGRAM]
                   which releases of agents can be read: writes docs/reference/tls.md
";

/// The Rust mirror of the wire records, from the BTF of the kernel programs, the pages about rules, and the page
/// about evasion, from the verdicts that are kept.
fn generate() -> Result<(), Failure> {
    evasion::Verdicts::read()?.write()?;
    for (package, test) in [
        ("agentsight-bpf", "wire_layout"),
        ("agentsight-policy", "documents"),
    ] {
        run::step(
            run::cargo()
                .args(["test", "-p", package, "--test", test])
                .env("AGENTSIGHT_WRITE_GENERATED", "1"),
        )?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["setup"] => setup::run(setup::Report::Everything),
        ["demo"] => demo::run(),
        ["test"] => suites::run(false),
        ["test", "--all"] => suites::run(true),
        ["test", "--evasion"] => evasion::run(false),
        ["test", "--evasion", "--accept"] => evasion::run(true),
        ["test", "agents"] => suites::run_agents(None),
        ["test", "agents", only] => suites::run_agents(Some(only)),
        ["gen"] => generate(),
        ["vm", arguments @ ..] => vm::run(arguments),
        ["bench", options @ ..] => bench::run(options),
        ["fuzz", options @ ..] => fuzz::run(options),
        ["eval", "rules"] => eval_rules::run(),
        ["eval", "tls", options @ ..] => eval_tls::run(options),
        ["eval", "tls-inspect", agentsight, file] => {
            eval_tls::inspect_and_measure(agentsight, file)
        }
        ["workload", name, result_file] => bench::workload::run(name, result_file),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(Failure::usage(USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
