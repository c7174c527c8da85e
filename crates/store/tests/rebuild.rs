//! An index that cannot be used is set aside and made again; what is no store is left alone.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use agentsight_model::document::SessionDocument;
use agentsight_store::{IndexState, Mode, SCHEMA_VERSION, Store, StoreError, UnusableIndex};
use common::{FIRST, Place, SECOND, document_of};

/// What the tests compare: sessions with their numbers.
fn listed(store: &Store) -> Vec<(String, bool, u64)> {
    store
        .sessions()
        .unwrap()
        .into_iter()
        .map(|session| (session.id, session.indexed, session.llm_calls))
        .collect()
}

fn two(indexed: bool, llm_calls: u64) -> Vec<(String, bool, u64)> {
    [SECOND, FIRST]
        .map(|id| (id.to_owned(), indexed, llm_calls))
        .to_vec()
}

/// Everything in the index into one file, so that a change of the file is a change of the index.
fn checkpoint(place: &Place) {
    place
        .sql()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
}

fn execute(place: &Place, sql: &str) {
    place.sql().execute_batch(sql).unwrap();
    checkpoint(place);
}

fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_index_that_cannot_be_used_is_set_aside_and_made_again() {
    type Spoil = fn(&Place);
    let cases: [(UnusableIndex, Spoil); 7] = [
        (UnusableIndex::Damaged, |place| {
            overwrite(&place.index_path(), |bytes| bytes[..16].fill(b'x'));
        }),
        (UnusableIndex::Damaged, |place| {
            fs::write(place.index_path(), "no database".repeat(1000)).unwrap();
        }),
        (UnusableIndex::Damaged, |place| {
            overwrite(&place.index_path(), |bytes| bytes[100..4096].fill(0xEE));
        }),
        (UnusableIndex::Foreign, |place| {
            execute(place, "PRAGMA application_id = 7")
        }),
        (UnusableIndex::Foreign, |place| {
            execute(place, "DROP VIEW tool_usage")
        }),
        (UnusableIndex::Foreign, |place| {
            execute(
                place,
                "CREATE TRIGGER t AFTER INSERT ON sessions BEGIN DELETE FROM findings; END",
            );
        }),
        (UnusableIndex::OtherVersion(SCHEMA_VERSION + 1), |place| {
            execute(
                place,
                &format!("PRAGMA user_version = {}", SCHEMA_VERSION + 1),
            );
        }),
    ];
    for (expected, spoil) in cases {
        let place = Place::with_two_sessions();
        checkpoint(&place);
        spoil(&place);
        let spoiled = fs::read(place.index_path()).unwrap();

        let store = place.read();
        let aside = None;
        let reason = expected;
        assert_eq!(*store.index_state(), IndexState::Unusable { reason, aside });
        assert_eq!(listed(&store), two(false, 0), "{reason}");
        assert!(store.needs_rebuild().unwrap());
        drop(store);
        assert_eq!(
            fs::read(place.index_path()).unwrap(),
            spoiled,
            "reading changes nothing"
        );

        let mut store = place.open();
        let IndexState::Unusable { reason, aside } = store.index_state() else {
            panic!("{:?}", store.index_state());
        };
        assert_eq!(*reason, expected);
        let aside = aside.clone().unwrap();
        assert_eq!(aside, place.dir.join("index.sqlite.aside-1"));
        assert_eq!(fs::read(aside).unwrap(), spoiled, "nothing is deleted");

        let rebuilt = store.rebuild(document_of).unwrap();
        assert_eq!(rebuilt.indexed, [FIRST, SECOND]);
        assert!(rebuilt.failed.is_empty() && rebuilt.aside.is_none());
        assert!(!store.needs_rebuild().unwrap());
        assert_eq!(listed(&place.read()), two(true, 2));
    }
}

#[test]
fn a_missing_index_is_made_again() {
    let place = Place::with_two_sessions();
    checkpoint(&place);
    fs::remove_file(place.index_path()).unwrap();
    assert_eq!(*place.read().index_state(), IndexState::Missing);
    assert_eq!(listed(&place.read()), two(false, 0));
    assert!(!place.index_path().exists(), "reading makes nothing");

    let mut store = place.open();
    assert_eq!(*store.index_state(), IndexState::Missing);
    assert!(store.needs_rebuild().unwrap());
    store.rebuild(document_of).unwrap();
    assert_eq!(listed(&store), two(true, 2));
    assert_eq!(*place.open().index_state(), IndexState::Ready);
}

#[test]
fn a_new_store_needs_nothing() {
    let place = Place::new();
    assert!(!place.open().needs_rebuild().unwrap());
    assert!(listed(&place.read()).is_empty());
}

#[test]
fn damage_within_the_pages_is_found_by_a_rebuild() {
    let place = Place::with_two_sessions();
    checkpoint(&place);
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'sessions'";
    let page: u32 = place.sql().query_row(sql, [], |row| row.get(0)).unwrap();
    overwrite(&place.index_path(), |bytes| {
        let end = page as usize * 4096;
        bytes[end - 4096..end].fill(0xEE);
    });
    let mut store = place.open();
    assert_eq!(*store.index_state(), IndexState::Ready);
    let error = store.sessions().unwrap_err();
    assert!(matches!(error, StoreError::IndexDamaged(_)), "{error:?}");
    let rebuilt = store.rebuild(document_of).unwrap();
    assert!(rebuilt.aside.unwrap().exists());
    assert_eq!(listed(&store), two(true, 2));
}

#[test]
fn a_session_that_cannot_be_read_keeps_no_other_out() {
    let place = Place::with_two_sessions();
    let mut store = place.open();
    let rebuilt = store
        .rebuild(|dir| {
            if dir.ends_with(FIRST) {
                return Err("out of luck");
            }
            // A ledger that claims to be another session's does not replace that one's rows.
            let mut document = document_of(dir).unwrap_or_default();
            document.session.id = FIRST.into();
            Ok::<SessionDocument, _>(document)
        })
        .unwrap();
    assert_eq!(rebuilt.indexed, [SECOND]);
    assert_eq!(
        rebuilt.failed,
        [(FIRST.to_owned(), "out of luck".to_owned())]
    );
    assert_eq!(listed(&store).len(), 2);
}

#[test]
fn sessions_without_a_ledger_are_forgotten_by_a_rebuild() {
    let place = Place::with_two_sessions();
    let mut store = place.open();
    fs::remove_dir_all(store.session_dir(FIRST).unwrap()).unwrap();
    store.rebuild(document_of).unwrap();
    assert_eq!(listed(&store), [(SECOND.to_owned(), true, 2)]);
}

#[test]
fn what_is_no_store_is_told_apart() {
    let place = Place::with_two_sessions();
    let outside = place.dir.parent().unwrap().to_owned();
    let open = |dir: &Path, mode| Store::open(dir, mode).unwrap_err();

    let missing = outside.join("missing");
    assert!(matches!(
        open(&missing, Mode::Read),
        StoreError::NotAStore(_)
    ));
    assert!(matches!(open(&outside, Mode::Read), StoreError::NotAStore(path) if path == outside));
    let file = outside.join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(open(&file, Mode::Read), StoreError::NotAStore(_)));
    assert!(matches!(
        open(&file, Mode::Write),
        StoreError::WrongFileType(_)
    ));
    let link = outside.join("link");
    symlink(&place.dir, &link).unwrap();
    assert!(matches!(open(&link, Mode::Read), StoreError::Symlink(_)));
    assert!(matches!(open(&link, Mode::Write), StoreError::Symlink(_)));
}

#[test]
fn links_inside_a_store_are_refused() {
    for name in ["index.sqlite", "lock", "sessions"] {
        let place = Place::with_two_sessions();
        checkpoint(&place);
        let path = place.dir.join(name);
        let elsewhere = place.dir.parent().unwrap().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let error = Store::open(&place.dir, Mode::Write).unwrap_err();
        assert!(matches!(error, StoreError::Symlink(_)), "{name}: {error}");
    }
    let place = Place::with_two_sessions();
    let store = place.open();
    symlink(
        store.session_dir(FIRST).unwrap(),
        store.session_dir("zzz").unwrap(),
    )
    .unwrap();
    assert_eq!(listed(&store), two(true, 2));
}

#[test]
fn a_store_reached_through_a_link_above_it_is_one() {
    let place = Place::with_two_sessions();
    let above = place.dir.parent().unwrap();
    let link = above.with_extension("link");
    symlink(above, &link).unwrap();
    let store = Store::open(&link.join("store"), Mode::Write).unwrap();
    assert_eq!(listed(&store), two(true, 2));
    fs::remove_file(link).unwrap();
}

#[test]
fn reading_makes_nothing() {
    let place = Place::with_two_sessions();
    checkpoint(&place);
    let before = place.names();
    let mut store = place.read();
    assert_eq!(listed(&store), two(true, 2));
    assert!(matches!(
        store.forget_session(FIRST),
        Err(StoreError::ReadOnly)
    ));
    assert!(matches!(
        store.rebuild(document_of),
        Err(StoreError::ReadOnly)
    ));
    drop(store);
    let made = place
        .names()
        .into_iter()
        .filter(|name| !before.contains(name));
    let made: Vec<_> = made.collect();
    assert_eq!(
        made,
        ["index.sqlite-shm", "index.sqlite-wal"],
        "SQLite needs these to read"
    );
}

#[test]
fn many_programs_may_open_a_store_at_once() {
    let place = Place::with_two_sessions();
    execute(&place, "PRAGMA user_version = 99");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let dir = place.dir.clone();
            std::thread::spawn(move || Store::open(&dir, Mode::Write).map(drop))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    let aside = place
        .names()
        .into_iter()
        .filter(|name| name.contains("aside"));
    assert_eq!(aside.count(), 1);
}

#[test]
fn every_error_says_what_and_has_a_hint() {
    let path = || Path::new("/srv/store").to_owned();
    let denied = std::io::ErrorKind::PermissionDenied;
    for (error, message, hint) in [
        (
            StoreError::NotAStore(path()),
            "`/srv/store` is not a store",
            "record a session first, or name the store with --store or AGENTSIGHT_STORE",
        ),
        (
            StoreError::Symlink(path()),
            "`/srv/store` is a symbolic link",
            "somebody may have put it there to redirect the store: look before you remove it",
        ),
        (
            StoreError::Denied {
                action: "open",
                path: path(),
                source: denied.into(),
            },
            "permission denied to open `/srv/store`",
            "the store belongs to the user who records: try as that user, or with sudo",
        ),
        (
            StoreError::NoSession,
            "the store has no session",
            "record one with `agentsight run -- COMMAND`",
        ),
        (
            StoreError::UnknownSession("x".into()),
            "no session `x`",
            "`agentsight sessions` lists them",
        ),
        (
            StoreError::IndexDamaged(rusqlite::Error::InvalidQuery),
            "the index is damaged",
            "it can be made again from the ledgers, which are not concerned",
        ),
        (
            StoreError::Busy(rusqlite::Error::InvalidQuery),
            "the index is locked by another program",
            "try again when the other program has finished",
        ),
    ] {
        assert_eq!(error.to_string(), message);
        assert_eq!(error.hint(), Some(hint));
    }
}
