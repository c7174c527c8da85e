//! Files that say how a session is recorded: prices, and patterns of what is secret.
//!
//! Each is given on the command line, or lies in the store under its usual name. They are read before
//! anything is watched: a mistake in one is told while nothing has happened.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use agentsight_decode::redact::OwnPattern;
use agentsight_model::ModelPrice;
use agentsight_session::{
    FileError, MAX_PATTERNS_BYTES, MAX_PRICES_BYTES, parse_patterns, parse_prices,
};
use anyhow::Context as _;

use crate::cli::WatchArgs;
use crate::failure::{Failure, USAGE};

/// What the files say.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) prices: Vec<ModelPrice>,
    pub(super) patterns: Vec<OwnPattern>,
}

impl Settings {
    pub(super) fn read(arguments: &WatchArgs) -> anyhow::Result<Self> {
        let store = &arguments.store.store;
        let prices = arguments.prices.as_deref();
        let patterns = arguments.redact.as_deref();
        Ok(Self {
            prices: list(
                prices,
                &store.join("prices.yaml"),
                MAX_PRICES_BYTES,
                parse_prices,
            )?,
            patterns: list(
                patterns,
                &store.join("redact.yaml"),
                MAX_PATTERNS_BYTES,
                parse_patterns,
            )?,
        })
    }
}

fn list<T>(
    given: Option<&Path>,
    usual: &Path,
    limit: u64,
    parse: fn(&str) -> Result<Vec<T>, FileError>,
) -> anyhow::Result<Vec<T>> {
    let path = given.unwrap_or(usual);
    let context = || format!("failed to read `{}`", path.display());
    let file = match File::open(path) {
        // A store that is no folder is told by who opens it.
        Err(error)
            if given.is_none()
                && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        opened => opened.with_context(context)?,
    };
    let mut text = String::new();
    file.take(limit.saturating_add(1))
        .read_to_string(&mut text)
        .with_context(context)?;
    let parsed = if text.len() as u64 > limit {
        Err(format!("it has more than {limit} bytes"))
    } else {
        parse(&text).map_err(|error| error.to_string())
    };
    parsed.map_err(|error| {
        let message = format!("`{}`: {error}", path.display());
        let hint = "docs/reference/settings.md describes the file";
        Failure::new(message, USAGE).hint(hint).into()
    })
}
