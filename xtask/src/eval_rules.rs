//! `cargo xtask eval rules`: how well the default pack tells attacks from look-alikes, as a page.

use std::fs;
use std::process::Stdio;

use crate::failure::Failure;
use crate::run;

const DOCUMENT: &str = "docs/reference/rules-eval.md";

/// Judges the corpus, prints what was judged wrongly, and writes the page.
pub(crate) fn run() -> Result<(), Failure> {
    let mut command = run::cargo();
    command.args([
        "run",
        "--quiet",
        "-p",
        "agentsight-policy",
        "--example",
        "eval_rules",
    ]);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("failed to run cargo: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new("the corpus could not be judged"));
    }
    fs::write(run::root().join(DOCUMENT), output.stdout)
        .map_err(|error| Failure::new(format!("failed to write {DOCUMENT}: {error}")))?;
    println!("wrote {DOCUMENT}");
    Ok(())
}
