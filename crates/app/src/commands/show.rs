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
    /// Records that were written, and are not there or could not be read.
    missing_records: u64,
    /// Whether the session ended in order, and the mark of that is not there.
    end_is_missing: bool,
}

impl Replayed {
    /// Says on standard error what could not be read.
    pub(crate) fn warn(&self) {
        for error in &self.damage {
            terminal::warn(&format!(
                "{error}; `agentsight verify` tells what is missing"
            ));
        }
        if self.missing_records > 0 {
            let missing = report::count(self.missing_records, "record", "records");
            let text = "of this session missing; `agentsight verify` tells more";
            terminal::warn(&format!("{missing} {text}"));
        } else if self.end_is_missing {
            terminal::warn(
                "the end of this session's ledger is missing; `agentsight verify` tells more",
            );
        }
    }
}

/// Reads a ledger from its beginning. Records after a damaged place are read, the place is reported.
pub(crate) fn replay(directory: &Path) -> anyhow::Result<Replayed> {
    let mut reader = Reader::open(directory)
        .with_context(|| format!("failed to read the session in `{}`", directory.display()))?;
    // Before the records: a session that runs has more by the time that they are read.
    let (written, ended) = agentsight_ledger::read_head(directory)
        .map_or((0, false), |head| (head.records, head.closed));
    let mut graph = SessionGraph::default();
    let mut damage = Vec::new();
    let mut read = 0_u64;
    for record in reader.by_ref() {
        match record {
            Ok((seq, event)) => {
                read = read.saturating_add(1);
                graph.apply(seq, &event);
            }
            Err(error) => damage.push(error),
        }
    }
    if !reader.is_closed() && !agentsight_ledger::is_being_written(directory) {
        graph.mark_interrupted();
    }
    Ok(Replayed {
        document: graph.document(),
        damage,
        missing_records: written.saturating_sub(read),
        end_is_missing: ended && !reader.is_closed(),
    })
}
