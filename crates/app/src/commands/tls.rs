//! `agentsight tls inspect`: which TLS functions a file holds.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use agentsight_tls::{Options, locate};
use anyhow::Context as _;

use crate::terminal;

pub(crate) fn inspect(path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let file = File::open(path).with_context(|| format!("failed to open `{}`", path.display()))?;
    let located = locate(&file, &Options::default())
        .with_context(|| format!("failed to inspect `{}`", path.display()))?;
    let text = if json {
        let mut text =
            serde_json::to_string_pretty(&located).context("failed to encode the result")?;
        text.push('\n');
        text
    } else {
        agentsight_tls::describe(&located)
    };
    terminal::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
