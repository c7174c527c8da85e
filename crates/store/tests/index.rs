//! What goes into the index comes out of it, by session and by query.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::os::unix::fs::PermissionsExt;

use agentsight_ledger::{Kind, Reader, Verdict, VerifyOptions, verify_with};
use agentsight_model::KTime;
use agentsight_model::document::{Session, SessionDocument, ToolCall};
use agentsight_store::{BlockFilter, StoreError};
use common::{FIRST, Place, SECOND, document, index, process};

const TABLES: [&str; 7] = [
    "sessions",
    "processes",
    "llm_calls",
    "tool_calls",
    "links",
    "findings",
    "segments",
];

#[test]
fn a_store_is_for_its_owner_alone() {
    let place = Place::with_two_sessions();
    let _open = place.open();
    let mode = |name: &str| {
        let metadata = std::fs::metadata(place.dir.join(name)).unwrap();
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("sessions"), 0o700);
    for name in [
        "index.sqlite",
        "index.sqlite-wal",
        "index.sqlite-shm",
        "lock",
    ] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}

#[test]
fn sessions_are_listed_newest_first_with_their_numbers() {
    let place = Place::with_two_sessions();
    let sessions = place.read().sessions().unwrap();
    let ids: Vec<_> = sessions.iter().map(|session| session.id.as_str()).collect();
    assert_eq!(ids, [SECOND, FIRST]);
    let session = &sessions[0];
    assert!(session.indexed && session.has_ledger);
    assert_eq!(session.agent, "test-agent");
    assert_eq!(session.command, ["agent", "--fix"]);
    assert_eq!(session.exit_code, Some(3));
    assert_eq!(session.records, 100);
    let counts = [
        session.processes,
        session.llm_calls,
        session.tool_calls,
        session.actions,
        session.findings,
    ];
    assert_eq!(counts, [3, 2, 1, 3, 1]);
    assert_eq!(session.input_tokens, Some(1500));
    assert_eq!(session.output_tokens, Some(150));
    assert_eq!(session.cost_usd, Some(0.5));
}

#[test]
fn indexing_again_replaces_a_session_and_touches_no_other() {
    let place = Place::with_two_sessions();
    let before: Vec<i64> = TABLES.iter().map(|table| place.count(table)).collect();
    let mut store = place.open();
    index(&mut store, FIRST);
    let after: Vec<i64> = TABLES.iter().map(|table| place.count(table)).collect();
    assert_eq!(before, after);

    let bare = SessionDocument {
        session: Session {
            id: FIRST.into(),
            ..Session::default()
        },
        ..SessionDocument::default()
    };
    store.index_session(&bare, &[], None).unwrap();
    for (table, count) in TABLES.iter().zip(&before).skip(1) {
        assert_eq!(place.count(table), count / 2, "{table}");
    }
    store.forget_session(SECOND).unwrap();
    for table in &TABLES[1..] {
        assert_eq!(place.count(table), 0, "{table}");
    }
}

#[test]
fn a_session_without_a_row_is_listed_from_its_ledger() {
    let place = Place::new();
    let store = place.open();
    let mut writer = place.record(&store, FIRST, 5);
    writer.flush().unwrap();
    std::fs::create_dir(store.session_dir("not-a-ledger").unwrap()).unwrap();
    let status = || {
        let sessions = place.read().sessions().unwrap();
        let [session] = &sessions[..] else {
            panic!("{sessions:?}");
        };
        assert!(!session.indexed && session.has_ledger);
        session.clone()
    };
    let session = status();
    assert_eq!(session.status, "running");
    assert_eq!(session.records, 5);
    assert_eq!(session.command, ["agent", "--fix"]);
    assert_eq!(session.started_at, "2025-11-13T02:13:20.000000000Z");
    drop(writer);
    assert_eq!(status().status, "interrupted");
    std::fs::write(store.session_dir(FIRST).unwrap().join("HEAD"), b"x").unwrap();
    let session = status();
    assert_eq!(session.status, "damaged");
    assert_eq!(session.user, "dev");
}

#[test]
fn a_row_that_says_running_is_held_against_the_ledger() {
    let place = Place::new();
    let mut store = place.open();
    let mut writer = place.record(&store, FIRST, 5);
    writer.flush().unwrap();
    let mut running = document(FIRST);
    running.session.status = "running".into();
    store
        .index_session(&running, &[], Some(writer.head()))
        .unwrap();
    let status = || place.read().sessions().unwrap()[0].status.clone();
    assert_eq!(status(), "running");
    drop(writer);
    assert_eq!(status(), "interrupted");
    std::fs::remove_dir_all(store.session_dir(FIRST).unwrap()).unwrap();
    assert!(!place.read().sessions().unwrap()[0].has_ledger);
}

#[test]
fn a_session_is_found_by_id_prefix_or_as_the_last() {
    let place = Place::with_two_sessions();
    let store = place.open();
    place.record(&store, "01JCZ9CCCC", 1).close().unwrap();
    let store = place.read();
    for (wanted, id) in [
        ("last", "01JCZ9CCCC"),
        (FIRST, FIRST),
        ("01JCZ8", FIRST),
        ("01jcz9b", SECOND),
        ("01JCZ9C", "01JCZ9CCCC"),
    ] {
        assert_eq!(store.resolve(wanted).unwrap(), id, "{wanted}");
    }
    for wanted in ["", "X", "01JCZ8AAAAX", "../x", "é"] {
        let error = store.resolve(wanted).unwrap_err();
        assert!(matches!(error, StoreError::UnknownSession(_)), "{wanted}");
    }
    let error = store.resolve("01JCZ9").unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 sessions begin with `01JCZ9`: 01JCZ9CCCC, 01JCZ9BBBB"
    );
    let empty = Place::new();
    empty.open();
    assert!(matches!(
        empty.read().resolve("last"),
        Err(StoreError::NoSession)
    ));
}

#[test]
fn blocks_are_found_by_number_time_and_kind() {
    let place = Place::with_two_sessions();
    let store = place.read();
    let all = store.blocks(FIRST, &BlockFilter::default()).unwrap();
    assert!(all.len() > 5);
    assert_eq!(all.iter().map(|block| block.records).sum::<u32>(), 100);

    let from_seq = BlockFilter {
        from_seq: Some(50),
        ..BlockFilter::default()
    };
    let found = store.blocks(FIRST, &from_seq).unwrap();
    assert!(found[0].first_seq <= 50 && found[1].first_seq > 50);
    let mut reader = Reader::open(&store.session_dir(FIRST).unwrap()).unwrap();
    reader.seek(found[0].position);
    assert_eq!(reader.next().unwrap().unwrap().0, found[0].first_seq);

    let second = 1_000_000_000;
    let times = BlockFilter {
        from: Some(KTime(30 * second)),
        until: Some(KTime(40 * second)),
        ..BlockFilter::default()
    };
    let found = store.blocks(FIRST, &times).unwrap();
    assert!(!found.is_empty() && found.len() < all.len());
    assert!(found.iter().all(|block| block.latest >= KTime(30 * second)));

    for (kind, expected) in [("session.start", 1), ("loss", all.len()), ("file.open", 0)] {
        let kinds = BlockFilter {
            kinds: Some(vec![Kind::from_name(kind)]),
            ..BlockFilter::default()
        };
        assert_eq!(
            store.blocks(FIRST, &kinds).unwrap().len(),
            expected,
            "{kind}"
        );
    }
    let unknown = store.blocks("unknown", &BlockFilter::default()).unwrap();
    assert!(unknown.is_empty());
}

#[test]
fn a_ledger_that_was_rolled_back_with_its_head_is_found_by_the_index() {
    let place = Place::new();
    let mut store = place.open();
    place.record(&store, FIRST, 100).close().unwrap();
    let head = index(&mut store, FIRST);
    let known = store.known_state(FIRST).unwrap();
    assert_eq!(known, Some((&head).into()));
    assert_eq!(store.known_state("unknown").unwrap(), None);

    let dir = store.session_dir(FIRST).unwrap();
    let options = VerifyOptions {
        known,
        ..VerifyOptions::default()
    };
    let verdict = |options: &VerifyOptions<'_>| verify_with(&dir, options).unwrap().verdict;
    let intact = |records| Verdict::Intact {
        records,
        closed: true,
    };
    assert_eq!(verdict(&options), intact(100));
    std::fs::remove_dir_all(&dir).unwrap();
    place.record(&store, FIRST, 90).close().unwrap();
    assert_eq!(verdict(&VerifyOptions::default()), intact(90));
    assert_eq!(verdict(&options), Verdict::Damaged);
}

#[test]
fn views_answer_in_whole_numbers() {
    let place = Place::with_two_sessions();
    let db = place.sql();
    let row = |sql: &str| -> Vec<String> {
        let mut statement = db.prepare(sql).unwrap();
        let columns = statement.column_count();
        statement
            .query_row([], |row| {
                (0..columns)
                    .map(|column| row.get::<_, rusqlite::types::Value>(column))
                    .map(|value| value.map(|value| format!("{value:?}")))
                    .collect()
            })
            .unwrap()
    };
    assert_eq!(
        row("SELECT sum(calls), sum(input_tokens), sum(failed_calls), max(model) FROM model_usage"),
        [
            "Integer(4)",
            "Integer(3000)",
            "Integer(0)",
            "Text(\"model-a\")"
        ]
    );
    assert_eq!(
        row("SELECT name, calls, failed_calls, actions FROM tool_usage"),
        ["Text(\"shell\")", "Integer(1)", "Integer(1)", "Integer(2)"]
    );
    assert_eq!(
        row("SELECT tool, action_kind, confidence, evidence FROM tool_actions"),
        [
            "Text(\"shell\")",
            "Text(\"process.exec\")",
            "Real(0.9)",
            "Text(\"[\\\"argv-exact\\\",\\\"lineage\\\"]\")"
        ]
    );
    assert_eq!(
        row("SELECT max(depth), count(*) FROM process_tree"),
        ["Integer(2)", "Integer(6)"]
    );
    assert_eq!(
        row("SELECT prompt_preview, answer_preview FROM llm_calls LIMIT 1"),
        ["Text(\"Fix the build. Please.\")", "Text(\"Done.\")"]
    );
    for view in agentsight_store::VIEWS {
        let sql = format!("SELECT * FROM {}", view.name);
        let mut statement = db.prepare(&sql).unwrap();
        let rows = statement.query_map([], |_| Ok(())).unwrap();
        assert!(rows.count() >= 2, "{}", view.name);
    }
}

#[test]
fn a_circle_of_parents_does_not_turn_forever() {
    let place = Place::new();
    let mut store = place.open();
    let mut circle = document(FIRST);
    circle.processes = vec![process(1, None), process(2, Some(3)), process(3, Some(2))];
    circle
        .processes
        .extend((0..50).map(|_| process(1, Some(1))));
    store.index_session(&circle, &[], None).unwrap();
    let sql = "SELECT count(*) FROM process_tree";
    let rows: i64 = place.sql().query_row(sql, [], |row| row.get(0)).unwrap();
    assert!(rows <= 53);
}

#[test]
fn documents_of_any_content_are_indexed() {
    let place = Place::new();
    let mut store = place.open();
    let mut hostile = document(FIRST);
    hostile.processes.push(hostile.processes[0].clone());
    hostile.processes[0].exe = "\0'; DROP TABLE sessions; --".into();
    hostile.processes[0].argv = vec!["\u{1b}]0;x\u{7}".into(); 1000];
    hostile.llm_calls[0].duration_ms = f64::NAN;
    hostile.llm_calls[1].duration_ms = f64::INFINITY;
    hostile.llm_calls[0].cost_usd = Some(f64::NAN);
    hostile.llm_calls[0].usage.input_tokens = Some(u64::MAX);
    hostile.llm_calls[1].usage.input_tokens = Some(u64::MAX);
    hostile.tool_calls = vec![ToolCall::default(); 3];
    store.index_session(&hostile, &[], None).unwrap();
    let error = store.index_session(&document("../x"), &[], None);
    assert!(matches!(error, Err(StoreError::BadSessionId(_))));
    assert_eq!(place.count("processes"), 4);
    // Sums beyond the range of numbers must not take the list down.
    assert_eq!(place.read().sessions().unwrap().len(), 1);
}

#[test]
fn reading_goes_on_while_a_session_is_indexed() {
    let place = Place::with_two_sessions();
    let writer = std::thread::spawn({
        let mut store = place.open();
        move || (0..50).for_each(|_| drop(index(&mut store, SECOND)))
    });
    while !writer.is_finished() {
        let sessions = place.read().sessions().unwrap();
        assert!(sessions.iter().all(|session| session.processes == 3));
    }
    writer.join().unwrap();
}
