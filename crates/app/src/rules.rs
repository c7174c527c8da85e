//! Rule files on disk: which they are, whether they have changed, and what is wrong with them.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use agentsight_policy::{Diagnostics, RuleSet, Source, default_pack};
use anyhow::Context as _;

use crate::failure::{FAILURE, Failure};

/// Files read of one directory and those below it.
const MAX_FILES: usize = 10_000;
/// Directories below the one that was named.
const MAX_DEPTH: usize = 8;
/// Bytes read of one file; more are refused by the language itself.
const MAX_BYTES: u64 = 1 << 20;
/// The user's rules replace those of the pack that have the same id.
const USER_LAYER: u8 = 1;

/// Where rules come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleFiles {
    /// Files and directories.
    pub(crate) paths: Vec<PathBuf>,
    /// Whether the pack that comes with the product is in force.
    pub(crate) default_pack: bool,
}

/// What tells that a file has changed.
pub(crate) type Stamp = Vec<(PathBuf, Option<SystemTime>, u64)>;

impl RuleFiles {
    /// Reads, checks and compiles all of them.
    pub(crate) fn load(&self) -> anyhow::Result<Arc<RuleSet>> {
        let sources = self.sources()?;
        let rules = RuleSet::load(sources).map_err(|errors| refused(&errors))?;
        Ok(Arc::new(rules))
    }

    /// The texts of all of them.
    pub(crate) fn sources(&self) -> anyhow::Result<Vec<Source>> {
        let pack = default_pack().filter(|_| self.default_pack);
        let mut sources: Vec<Source> = pack.collect();
        for path in self.files()? {
            sources.push(read(&path)?.layer(USER_LAYER));
        }
        Ok(sources)
    }

    /// Names, times and sizes of the files, to see whether they have changed. What cannot be read is absent.
    pub(crate) fn stamp(&self) -> Stamp {
        let files = self.files().unwrap_or_default();
        let stamped = files.into_iter().map(|path| {
            let metadata = fs::metadata(&path).ok();
            let modified = metadata
                .as_ref()
                .and_then(|metadata| metadata.modified().ok());
            (
                path,
                modified,
                metadata.map_or(0, |metadata| metadata.len()),
            )
        });
        stamped.collect()
    }

    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for path in &self.paths {
            if path.is_dir() {
                collect(path, 0, &mut files)?;
            } else {
                files.push(path.clone());
            }
        }
        files.sort();
        files.dedup();
        Ok(files)
    }
}

/// A failure that tells everything that is wrong with rule files.
pub(crate) fn refused(errors: &Diagnostics) -> anyhow::Error {
    let count = crate::report::count(errors.0.len() as u64, "error", "errors");
    let failure = Failure::new(format!("the rules have {count}"), FAILURE);
    let lines: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    anyhow::Error::from(failure.hint(format!(
        "{}\n\n`agentsight rules check` checks rule files; the language is in docs/reference/rules.md",
        lines.join("\n      ")
    )))
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let context = || format!("failed to read the rules in `{}`", folder.display());
    for entry in fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') || files.len() >= MAX_FILES {
            continue;
        }
        if path.is_dir() {
            if depth < MAX_DEPTH {
                collect(&path, depth.saturating_add(1), files)?;
            }
        } else if path
            .extension()
            .is_some_and(|kind| kind == "yaml" || kind == "yml")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Source> {
    let context = || format!("failed to read the rule file `{}`", path.display());
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
        .with_context(context)?;
    Ok(Source::new(path.display().to_string(), text))
}
