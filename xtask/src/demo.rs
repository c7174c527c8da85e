//! `cargo xtask demo`: from a checkout to the product at work, in one command.

use std::process::Command;

use crate::failure::Failure;
use crate::{run, setup};

pub(crate) fn run() -> Result<(), Failure> {
    setup::run(setup::Report::Missing)?;
    run::step(run::cargo().args(["build", "--release", "-p", "agentsight"]))?;
    let program = run::target_dir()?.join("release/agentsight");
    let mut demo = if run::is_root() {
        Command::new(&program)
    } else if run::works("sudo", "--version") {
        println!(
            "\nThe demo loads programs into the kernel, which takes root: sudo may ask for your password."
        );
        let mut sudo = Command::new("sudo");
        sudo.arg("--").arg(&program);
        sudo
    } else {
        return Err(
            Failure::privilege("the demo takes root, and there is no sudo")
                .hint(format!("run as root: {} demo", program.display())),
        );
    };
    run::step(demo.arg("demo"))
}
