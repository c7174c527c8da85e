//! Which sessions there are: those of the index, and those that have a ledger only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agentsight_ledger::{Head, LedgerError, Reader, is_being_written, read_head};
use agentsight_model::{EventBody, KTime, SessionStart};
use rusqlite::{Connection, Row};

use crate::{StoreError, layout};

/// One session in a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionSummary {
    /// Its id.
    pub id: String,
    /// The agent; empty if it is not known.
    pub agent: String,
    /// The watched command.
    pub command: Vec<String>,
    /// Its working directory.
    pub cwd: String,
    /// The user that it ran as.
    pub user: String,
    /// When it began (RFC 3339, UTC); empty if it is not known.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Exit code of the command.
    pub exit_code: Option<i32>,
    /// Signal that ended the command.
    pub signal: Option<i32>,
    /// `running`, `ended`, `interrupted`; `damaged` if the ledger does not say how far it goes, and
    /// `unreadable` if this user may not read it.
    pub status: String,
    /// Whether the index has it. The counts below are known only then.
    pub indexed: bool,
    /// Whether its ledger is there.
    pub has_ledger: bool,
    /// Records of its ledger.
    pub records: u64,
    /// Processes.
    pub processes: u64,
    /// Conversations with models.
    pub llm_calls: u64,
    /// Tool calls.
    pub tool_calls: u64,
    /// Actions.
    pub actions: u64,
    /// Findings.
    pub findings: u64,
    /// Tokens sent to models, where it is known.
    pub input_tokens: Option<u64>,
    /// Tokens received from models, where it is known.
    pub output_tokens: Option<u64>,
    /// Price of the calls whose price is known, in US dollars.
    pub cost_usd: Option<f64>,
}

/// Lists all sessions, newest first.
pub(crate) fn list(db: &Connection, store: &Path) -> Result<Vec<SessionSummary>, StoreError> {
    let mut sessions: BTreeMap<String, SessionSummary> = indexed(db)
        .map_err(StoreError::index("read"))?
        .into_iter()
        .map(|summary| (summary.id.clone(), summary))
        .collect();
    for id in layout::session_ids(store)? {
        let dir = layout::sessions_dir(store).join(&id);
        match sessions.get_mut(&id) {
            Some(summary) => refresh(summary, &dir),
            None => {
                let summary = unindexed(&dir, id.clone());
                sessions.extend(summary.map(|summary| (id, summary)));
            }
        }
    }
    Ok(sessions.into_values().rev().collect())
}

fn indexed(db: &Connection) -> rusqlite::Result<Vec<SessionSummary>> {
    let sql = "SELECT o.*, s.ledger_records FROM session_overview o JOIN sessions s ON s.id = o.id";
    db.prepare_cached(sql)?.query_map([], from_row)?.collect()
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<SessionSummary> {
    let count = |name| Ok::<_, rusqlite::Error>(unsigned(row.get(name)?));
    let command: String = row.get("command")?;
    let tokens = |name| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(name)?.map(unsigned));
    Ok(SessionSummary {
        id: row.get("id")?,
        agent: row.get("agent")?,
        command: serde_json::from_str(&command).unwrap_or_default(),
        cwd: row.get("cwd")?,
        user: row.get("user")?,
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
        exit_code: row.get("exit_code")?,
        signal: row.get("signal")?,
        status: row.get("status")?,
        indexed: true,
        has_ledger: false,
        records: row
            .get::<_, Option<i64>>("ledger_records")?
            .map_or(0, unsigned),
        processes: count("processes")?,
        llm_calls: count("llm_calls")?,
        tool_calls: count("tool_calls")?,
        actions: count("actions")?,
        findings: count("findings")?,
        input_tokens: tokens("input_tokens")?,
        output_tokens: tokens("output_tokens")?,
        cost_usd: row.get("cost_usd")?,
    })
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Brings what the index says up to date with the ledger.
fn refresh(summary: &mut SessionSummary, dir: &Path) {
    let head = read_head(dir);
    summary.has_ledger = !matches!(head, Err(LedgerError::NotALedger(_)));
    if let Ok(head) = head {
        summary.records = head.records;
        if summary.status == "running" {
            status(&head, dir).clone_into(&mut summary.status);
        }
    }
}

fn status(head: &Head, dir: &Path) -> &'static str {
    if head.closed {
        "ended"
    } else if is_being_written(dir) {
        "running"
    } else {
        "interrupted"
    }
}

/// What a ledger says of its session without an index; `None` if there is no ledger.
fn unindexed(dir: &Path, id: String) -> Option<SessionSummary> {
    let (records, status) = match read_head(dir) {
        Ok(head) => (head.records, status(&head, dir)),
        // One session of another user must not hide all others.
        Err(LedgerError::Io { .. }) => return Some(bare(id, 0, "unreadable")),
        Err(_) => (0, "damaged"),
    };
    let mut reader = match Reader::open(dir) {
        Ok(reader) => reader,
        Err(LedgerError::NotALedger(_)) => return None,
        Err(_) => return Some(bare(id, records, "damaged")),
    };
    let mut summary = bare(id, records, status);
    if let Some(Ok((_, event))) = reader.next()
        && let EventBody::SessionStart(start) = event.body
    {
        describe(&mut summary, *start, event.time);
    }
    Some(summary)
}

fn bare(id: String, records: u64, status: &str) -> SessionSummary {
    SessionSummary {
        id,
        status: status.to_owned(),
        has_ledger: true,
        records,
        ..SessionSummary::default()
    }
}

fn describe(summary: &mut SessionSummary, start: SessionStart, time: KTime) {
    let unix_ns = i128::from(start.clock.unix_ns(time));
    summary.started_at = jiff::Timestamp::from_nanosecond(unix_ns)
        .map(|time| format!("{time:.9}"))
        .unwrap_or_default();
    summary.command = start.command;
    summary.cwd = start.cwd;
    summary.user = start.user;
}

/// Ids of all sessions, oldest first.
fn ids(db: &Connection, store: &Path) -> Result<Vec<String>, StoreError> {
    let mut ids = layout::session_ids(store)?;
    ids.retain(|id| has_ledger(&layout::sessions_dir(store).join(id)));
    ids.extend(indexed_ids(db).map_err(StoreError::index("read"))?);
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn indexed_ids(db: &Connection) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached("SELECT id FROM sessions")?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn has_ledger(dir: &Path) -> bool {
    !matches!(Reader::open(dir), Err(LedgerError::NotALedger(_)))
}

/// Ambiguous candidates that are named.
const SHOWN_CANDIDATES: usize = 5;

/// Finds the session that `wanted` means: `last`, an id, or the beginning of one.
pub(crate) fn resolve(db: &Connection, store: &Path, wanted: &str) -> Result<String, StoreError> {
    let mut ids = ids(db, store)?;
    if wanted == "last" {
        return ids.pop().ok_or(StoreError::NoSession);
    }
    if ids.iter().any(|id| id == wanted) {
        return Ok(wanted.to_owned());
    }
    // ULIDs are written in capitals, and typed as it comes.
    ids.retain(|id| {
        id.get(..wanted.len())
            .is_some_and(|start| !start.is_empty() && start.eq_ignore_ascii_case(wanted))
    });
    match ids.as_slice() {
        [] => Err(StoreError::UnknownSession(wanted.to_owned())),
        [id] => Ok(id.clone()),
        _ => Err(StoreError::AmbiguousSession {
            prefix: wanted.to_owned(),
            candidates: ids.iter().rev().take(SHOWN_CANDIDATES).cloned().collect(),
            count: ids.len(),
        }),
    }
}

/// Directories of all ledgers, oldest first.
pub(crate) fn ledgers(store: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let dir = layout::sessions_dir(store);
    Ok(layout::session_ids(store)?
        .into_iter()
        .map(|id| (dir.join(&id), id))
        .filter(|(dir, _)| has_ledger(dir))
        .map(|(dir, id)| (id, dir))
        .collect())
}
