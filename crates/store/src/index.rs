//! Opening the index: taking it as it is, making it, or setting it aside.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::layout::{self, INDEX_NAME};
use crate::{Mode, StoreError};

/// Version of the schema; in `PRAGMA user_version`. Any other is made again from the ledgers.
pub const SCHEMA_VERSION: i32 = 1;
/// In `PRAGMA application_id`: tells this database from any other ("ASix").
const APPLICATION_ID: i32 = 0x4153_6978;
const SCHEMA: &str = include_str!("schema.sql");
/// How long to wait for another program's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What was found in the place of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexState {
    /// An index of this version.
    Ready,
    /// None. One was made if the store was opened for writing.
    Missing,
    /// One that cannot be used.
    Unusable {
        /// Why.
        reason: UnusableIndex,
        /// Where it was moved to, if the store was opened for writing.
        aside: Option<PathBuf>,
    },
}

/// Why an index cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnusableIndex {
    /// It is damaged, or no database at all.
    Damaged,
    /// It is a database of something else, or somebody changed its schema.
    Foreign,
    /// It has another version's schema.
    OtherVersion(i32),
}

impl std::fmt::Display for UnusableIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged => f.write_str("the index is damaged"),
            Self::Foreign => f.write_str("the index has tables that are not ours"),
            Self::OtherVersion(version) => write!(
                f,
                "the index has schema version {version}, this program uses {SCHEMA_VERSION}"
            ),
        }
    }
}

/// Opens the index of a store.
pub(crate) fn open(store: &Path, mode: Mode) -> Result<(Connection, IndexState), StoreError> {
    match mode {
        Mode::Read => open_to_read(store),
        Mode::Write => open_to_write(store),
    }
}

fn open_to_read(store: &Path) -> Result<(Connection, IndexState), StoreError> {
    let path = store.join(INDEX_NAME);
    if !layout::is_file(&path)? {
        return Ok((in_memory()?, IndexState::Missing));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    match connect(store, flags).and_then(|db| Ok((inspect(&db)?, db))) {
        Ok((Found::Ours, db)) => Ok((db, IndexState::Ready)),
        Ok((Found::Empty, _)) => Ok((in_memory()?, IndexState::Missing)),
        Ok((Found::Unusable(reason), _)) => {
            let aside = None;
            Ok((in_memory()?, IndexState::Unusable { reason, aside }))
        }
        Err(error) => Err(error),
    }
}

fn open_to_write(store: &Path) -> Result<(Connection, IndexState), StoreError> {
    let _lock = layout::lock(store)?;
    let (db, found) = connect_to_write(store)?;
    match found {
        Found::Ours => Ok((db, IndexState::Ready)),
        Found::Empty => Ok((filled(db)?, IndexState::Missing)),
        Found::Unusable(reason) => {
            drop(db);
            let aside = Some(layout::move_index_aside(store)?);
            let db = filled(connect_to_write(store)?.0)?;
            Ok((db, IndexState::Unusable { reason, aside }))
        }
    }
}

/// Sets the index aside, whatever its state, and makes an empty one.
pub(crate) fn replace(store: &Path, old: Connection) -> Result<(Connection, PathBuf), StoreError> {
    let _lock = layout::lock(store)?;
    drop(old);
    let aside = layout::move_index_aside(store)?;
    Ok((filled(connect_to_write(store)?.0)?, aside))
}

/// Whether the pages of the index are in order.
pub(crate) fn is_sound(db: &Connection) -> bool {
    db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        .is_ok_and(|answer| answer == "ok")
}

fn connect_to_write(store: &Path) -> Result<(Connection, Found), StoreError> {
    layout::create_file(&store.join(INDEX_NAME))?;
    let db = connect(store, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let found = inspect(&db)?;
    Ok((db, found))
}

fn connect(store: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    // SQLite refuses links anywhere in the path; the ones above the store are the owner's business.
    let store = store
        .canonicalize()
        .map_err(StoreError::io("open", store))?;
    let flags = flags | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = store.join(INDEX_NAME);
    let db = Connection::open_with_flags(&path, flags).map_err(|error| open_error(&path, error))?;
    configure(&db).map_err(StoreError::index("open"))?;
    Ok(db)
}

/// SQLite says little about why a file cannot be opened; the system says more.
fn open_error(path: &Path, error: rusqlite::Error) -> StoreError {
    match std::fs::File::open(path) {
        Err(reason) => StoreError::io("open", path)(reason),
        Ok(_) => StoreError::index("open")(error),
    }
}

fn configure(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    // The file may have been written by somebody else: its schema runs nothing on our behalf.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(())
}

enum Found {
    Ours,
    Empty,
    Unusable(UnusableIndex),
}

fn inspect(db: &Connection) -> Result<Found, StoreError> {
    match try_inspect(db).map_err(StoreError::index("open")) {
        Err(StoreError::IndexDamaged(_)) => Ok(Found::Unusable(UnusableIndex::Damaged)),
        other => other,
    }
}

fn try_inspect(db: &Connection) -> rusqlite::Result<Found> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let objects = names(db)?;
    if application == 0 && version == 0 && objects.is_empty() {
        return Ok(Found::Empty);
    }
    if application != APPLICATION_ID {
        return Ok(Found::Unusable(UnusableIndex::Foreign));
    }
    if version != SCHEMA_VERSION {
        return Ok(Found::Unusable(UnusableIndex::OtherVersion(version)));
    }
    if objects != names(&fresh()?)? {
        return Ok(Found::Unusable(UnusableIndex::Foreign));
    }
    Ok(Found::Ours)
}

/// Kinds, names and definitions of everything in the schema.
fn names(db: &Connection) -> rusqlite::Result<Vec<(String, String, String)>> {
    let sql = "SELECT type, name, coalesce(sql, '') FROM sqlite_schema
               WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name";
    db.prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Gives an empty database the schema.
fn filled(db: Connection) -> Result<Connection, StoreError> {
    fill(&db).map_err(StoreError::index("create"))?;
    Ok(db)
}

fn fill(db: &Connection) -> rusqlite::Result<()> {
    // Readers go on while a session is being indexed.
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "normal")?;
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         {SCHEMA}
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {SCHEMA_VERSION};
         COMMIT;"
    ))
}

fn fresh() -> rusqlite::Result<Connection> {
    let db = Connection::open_in_memory()?;
    fill(&db)?;
    Ok(db)
}

/// An index of no session, in place of one that cannot be read.
fn in_memory() -> Result<Connection, StoreError> {
    fresh().map_err(StoreError::index("create"))
}
