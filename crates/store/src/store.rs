//! The store as its users see it.

use std::fmt;
use std::path::{Path, PathBuf};

use agentsight_ledger::{BlockInfo, Head, KnownState, blocks, is_session_id, read_head};
use agentsight_model::document::SessionDocument;
use rusqlite::{Connection, OptionalExtension};

use crate::blocks::{self as sparse, BlockFilter};
use crate::index::{self, IndexState};
use crate::sessions::{self, SessionSummary};
use crate::{StoreError, layout, write};

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is changed, and nothing made but what SQLite keeps beside an index while it is read. An
    /// index that cannot be used counts as one without sessions.
    Read,
    /// Directories and index are made where they are missing; an index that cannot be used is set aside.
    Write,
}

/// The ledgers of all sessions, and an index over them.
pub struct Store {
    dir: PathBuf,
    mode: Mode,
    db: Connection,
    state: IndexState,
}

/// What [`Store::rebuild`] did.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Where the old index was moved to, if it was damaged.
    pub aside: Option<PathBuf>,
    /// Sessions that are in the index.
    pub indexed: Vec<String>,
    /// Sessions that could not be put into it, and why.
    pub failed: Vec<(String, String)>,
}

impl Store {
    /// Opens the store in `dir`.
    ///
    /// # Errors
    /// If `dir` is no store (and is opened for reading), is a link, or may not be used.
    pub fn open(dir: &Path, mode: Mode) -> Result<Self, StoreError> {
        match mode {
            Mode::Read => layout::require(dir)?,
            Mode::Write => layout::create(dir)?,
        }
        let (db, state) = index::open(dir, mode)?;
        Ok(Self {
            dir: dir.to_owned(),
            mode,
            db,
            state,
        })
    }

    /// What was found in the place of the index when the store was opened, or what
    /// [`Store::rebuild`] made of it.
    #[must_use]
    pub fn index_state(&self) -> &IndexState {
        &self.state
    }

    /// Whether there are ledgers that an index of this version should have and has not: the index was
    /// missing or could not be used.
    ///
    /// # Errors
    /// If the sessions cannot be listed.
    pub fn needs_rebuild(&self) -> Result<bool, StoreError> {
        Ok(self.state != IndexState::Ready && !sessions::ledgers(&self.dir)?.is_empty())
    }

    /// Where the ledger of a session is, or is to be made.
    ///
    /// # Errors
    /// If the id cannot name a session.
    pub fn session_dir(&self, id: &str) -> Result<PathBuf, StoreError> {
        check_id(id)?;
        Ok(layout::sessions_dir(&self.dir).join(id))
    }

    /// All sessions, newest first, whether the index has them or not.
    ///
    /// # Errors
    /// If the index or the directory of sessions cannot be read.
    pub fn sessions(&self) -> Result<Vec<SessionSummary>, StoreError> {
        sessions::list(&self.db, &self.dir)
    }

    /// The id that a user means: `last` is the newest session, anything else an id or the beginning of
    /// one, in capitals or not.
    ///
    /// # Errors
    /// If no session, or more than one, is meant.
    pub fn resolve(&self, wanted: &str) -> Result<String, StoreError> {
        sessions::resolve(&self.db, &self.dir, wanted)
    }

    /// Replaces what the index has of a session.
    ///
    /// `head` is the state of the ledger that the document was made from; a later verification holds the
    /// ledger against it.
    ///
    /// # Errors
    /// If the store is open for reading, or the index cannot be written; it is unchanged then.
    pub fn index_session(
        &mut self,
        document: &SessionDocument,
        blocks: &[BlockInfo],
        head: Option<&Head>,
    ) -> Result<(), StoreError> {
        self.require_write()?;
        check_id(&document.session.id)?;
        write::replace_session(&mut self.db, document, blocks, head)
            .map_err(StoreError::index("write"))
    }

    /// Removes what the index has of a session. Its ledger stays.
    ///
    /// # Errors
    /// If the store is open for reading, or the index cannot be written.
    pub fn forget_session(&mut self, id: &str) -> Result<(), StoreError> {
        self.require_write()?;
        self.db
            .execute("DELETE FROM sessions WHERE id = ?", [id])
            .map(drop)
            .map_err(StoreError::index("write"))
    }

    /// The blocks of a session's ledger that may hold what `filter` asks for; empty if the index does
    /// not have the session.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn blocks(&self, id: &str, filter: &BlockFilter) -> Result<Vec<BlockInfo>, StoreError> {
        sparse::find(&self.db, id, filter).map_err(StoreError::index("read"))
    }

    /// The state in which a session's ledger was when it was indexed: what to verify it against.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn known_state(&self, id: &str) -> Result<Option<KnownState>, StoreError> {
        let sql = "SELECT ledger_records, ledger_chain FROM sessions
                   WHERE id = ? AND ledger_records IS NOT NULL AND ledger_chain IS NOT NULL";
        let row = self
            .db
            .query_row(sql, [id], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            })
            .optional()
            .map_err(StoreError::index("read"))?;
        Ok(row.and_then(|(records, chain)| {
            Some(KnownState {
                records: u64::try_from(records).ok()?,
                chain: chain.parse().ok()?,
            })
        }))
    }

    /// Makes the index again from the ledgers. `document` makes a session's document from the directory
    /// of its ledger. Each session is a transaction of its own, so that an interrupted rebuild leaves
    /// those that are done.
    ///
    /// # Errors
    /// If the store is open for reading, or the index cannot be written at all. A session that cannot be
    /// read is told in the result and does not keep the others out.
    pub fn rebuild<F, E>(&mut self, mut document: F) -> Result<Rebuilt, StoreError>
    where
        F: FnMut(&Path) -> Result<SessionDocument, E>,
        E: fmt::Display,
    {
        self.require_write()?;
        let mut rebuilt = Rebuilt {
            aside: self.replace_if_damaged()?,
            ..Rebuilt::default()
        };
        let ledgers = sessions::ledgers(&self.dir)?;
        self.forget_all_but(&ledgers)?;
        for (id, dir) in ledgers {
            match self.index_ledger(&id, &dir, &mut document) {
                Ok(()) => rebuilt.indexed.push(id),
                Err(reason) => rebuilt.failed.push((id, reason)),
            }
        }
        self.state = IndexState::Ready;
        Ok(rebuilt)
    }

    fn replace_if_damaged(&mut self) -> Result<Option<PathBuf>, StoreError> {
        if index::is_sound(&self.db) {
            return Ok(None);
        }
        let nothing = Connection::open_in_memory().map_err(StoreError::index("open"))?;
        let damaged = std::mem::replace(&mut self.db, nothing);
        let (db, aside) = index::replace(&self.dir, damaged)?;
        self.db = db;
        Ok(Some(aside))
    }

    /// Removes sessions from the index that have no ledger any more.
    fn forget_all_but(&mut self, ledgers: &[(String, PathBuf)]) -> Result<(), StoreError> {
        let ids: Vec<&str> = ledgers.iter().map(|(id, _)| id.as_str()).collect();
        let ids = serde_json::Value::from(ids).to_string();
        let sql = "DELETE FROM sessions WHERE id NOT IN (SELECT value FROM json_each(?))";
        self.db
            .execute(sql, [ids])
            .map(drop)
            .map_err(StoreError::index("write"))
    }

    fn index_ledger<F, E>(&mut self, id: &str, dir: &Path, document: &mut F) -> Result<(), String>
    where
        F: FnMut(&Path) -> Result<SessionDocument, E>,
        E: fmt::Display,
    {
        // Before the records are read: what is written from then on is not in the document.
        let head = read_head(dir).ok();
        let mut document = document(dir).map_err(|error| error.to_string())?;
        // The directory says which session it is; what a ledger says could be anything.
        id.clone_into(&mut document.session.id);
        let blocks: Vec<BlockInfo> = blocks(dir)
            .map_err(|error| error.to_string())?
            .filter_map(Result::ok)
            .collect();
        self.index_session(&document, &blocks, head.as_ref())
            .map_err(|error| error.to_string())
    }

    fn require_write(&self) -> Result<(), StoreError> {
        match self.mode {
            Mode::Write => Ok(()),
            Mode::Read => Err(StoreError::ReadOnly),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.dir)
            .field("mode", &self.mode)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

fn check_id(id: &str) -> Result<(), StoreError> {
    if is_session_id(id) {
        Ok(())
    } else {
        Err(StoreError::BadSessionId(id.to_owned()))
    }
}
