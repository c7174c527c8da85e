//! `agentsight show`: one session, for people or as the JSON document.

use std::path::Path;
use std::process::ExitCode;

use agentsight_ledger::{LedgerError, Reader};
use agentsight_model::document::SessionDocument;
use agentsight_session::SessionGraph;
use agentsight_store::{Mode, Store};
use anyhow::Context as _;

use crate::cli::ShowArgs;
use crate::{report, terminal};

pub(crate) fn run(arguments: &ShowArgs) -> anyhow::Result<ExitCode> {
    let store = Store::open(&arguments.store.store, Mode::Read)?;
    let id = store.resolve(&arguments.session)?;
    let directory = store.session_dir(&id)?;
    let replayed = replay(&directory)?;
    replayed.warn();
    let text = if arguments.json {
        let mut json =
            serde_json::to_string(&replayed.document).context("failed to encode the session")?;
        json.push('\n');
        json
    } else {
        report::render(
            &replayed.document,
            &report::ReportOptions {
                color: terminal::stdout_colour(),
                width: terminal::width(),
            },
        )
    };
    terminal::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A session as its ledger tells it.
pub(crate) struct Replayed {
    pub(crate) document: SessionDocument,
    /// Places in the ledger that could not be read.
    damage: Vec<LedgerError>,
}

impl Replayed {
    /// Says on standard error what could not be read.
    pub(crate) fn warn(&self) {
        for error in &self.damage {
            eprintln!("agentsight: {error}; `agentsight verify` tells what is missing");
        }
    }
}

/// Reads a ledger from its beginning. Records after a damaged place are read, the place is reported.
pub(crate) fn replay(directory: &Path) -> anyhow::Result<Replayed> {
    let mut reader = Reader::open(directory)
        .with_context(|| format!("failed to read the session in `{}`", directory.display()))?;
    let mut graph = SessionGraph::default();
    let mut damage = Vec::new();
    for record in reader.by_ref() {
        match record {
            Ok((seq, event)) => graph.apply(seq, &event),
            Err(error) => damage.push(error),
        }
    }
    if !reader.is_closed() && !agentsight_ledger::is_being_written(directory) {
        graph.mark_interrupted();
    }
    Ok(Replayed {
        document: graph.document(),
        damage,
    })
}
