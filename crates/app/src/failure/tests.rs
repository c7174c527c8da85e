//! Every error that the crates below hand up, as the user reads it, with its exit code.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use agentsight_ledger::LedgerError;
use agentsight_probe::ProbeError;
use agentsight_store::StoreError;
use anyhow::{Context as _, anyhow};

use super::{Failure, NOT_FOUND, code, render};

fn path() -> PathBuf {
    PathBuf::from("/srv/store")
}

fn refused(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

const EACCES: i32 = 13;
const ENOSPC: i32 = 28;

fn probe_errors() -> Vec<ProbeError> {
    vec![
        ProbeError::Privilege {
            missing: "CAP_BPF, CAP_PERFMON".to_owned(),
        },
        ProbeError::Kernel {
            reason: "it has no BTF".to_owned(),
        },
        ProbeError::Refused {
            action: "attach `sys_exit`".to_owned(),
            source: refused(EACCES).into(),
        },
        ProbeError::Caller {
            uid: "54321".to_owned(),
        },
        ProbeError::Process {
            pid: 42,
            source: io::ErrorKind::NotFound.into(),
        },
    ]
}

fn ledger_errors() -> Vec<LedgerError> {
    let refusal = |number| LedgerError::Io {
        action: "write",
        path: path(),
        source: refused(number),
    };
    let json = || serde_json::from_str::<u8>("x").unwrap_err();
    vec![
        LedgerError::NotALedger(path()),
        LedgerError::AlreadyExists(path()),
        LedgerError::Symlink(path()),
        LedgerError::WrongFileType(path()),
        refusal(EACCES),
        refusal(ENOSPC),
        LedgerError::BadSessionId("../x".to_owned()),
        LedgerError::RecordTooLarge { bytes: 9, limit: 8 },
        LedgerError::Encode(json()),
        LedgerError::Compression(io::ErrorKind::OutOfMemory.into()),
        LedgerError::UnsupportedVersion {
            path: path(),
            found: 2,
            supported: 1,
        },
        LedgerError::Damaged {
            path: path(),
            offset: 7,
            reason: "block was changed",
        },
        LedgerError::Record {
            seq: 7,
            source: json(),
        },
        LedgerError::UnknownEncoding {
            seq: 7,
            encoding: 9,
        },
    ]
}

fn store_errors() -> Vec<StoreError> {
    vec![
        StoreError::NotAStore(path()),
        StoreError::Symlink(path()),
        StoreError::WrongFileType(path()),
        StoreError::Denied {
            action: "open",
            path: path(),
            source: refused(EACCES),
        },
        StoreError::Io {
            action: "create",
            path: path(),
            source: refused(ENOSPC),
        },
        StoreError::ReadOnly,
        StoreError::NoSession,
        StoreError::UnknownSession("01X".to_owned()),
        StoreError::AmbiguousSession {
            prefix: "01".to_owned(),
            candidates: vec!["01B".to_owned(), "01A".to_owned()],
            count: 3,
        },
        StoreError::BadSessionId("../x".to_owned()),
    ]
}

fn told(errors: impl IntoIterator<Item = anyhow::Error>) -> String {
    let mut text = String::new();
    for error in errors {
        writeln!(text, "{}[exit code {}]\n", render(&error), code(&error)).unwrap();
    }
    text
}

#[test]
fn errors_of_the_kernel_side() {
    let errors = probe_errors().into_iter().map(anyhow::Error::from);
    insta::assert_snapshot!(told(errors));
}

#[test]
fn errors_of_the_ledger() {
    let errors = ledger_errors().into_iter().map(anyhow::Error::from);
    insta::assert_snapshot!(told(errors));
}

#[test]
fn errors_of_the_store() {
    let errors = store_errors().into_iter().map(anyhow::Error::from);
    insta::assert_snapshot!(told(errors));
}

#[test]
fn errors_of_our_own() {
    let not_found = Failure::new("failed to run `agent`: not found", NOT_FOUND);
    let text = told([
        anyhow::Error::from(not_found.hint("try the full path")),
        Err::<(), _>(StoreError::NoSession)
            .context("failed to show the session")
            .unwrap_err(),
        anyhow!("quoted: cause").context("quoted: cause"),
        anyhow!("\x1b[31mred\nerror: forged"),
        anyhow::Error::from(refused(EACCES)).context("failed to write `/srv/x`"),
    ]);
    insta::assert_snapshot!(text);
}

/// Variants with a text of their own. Errors of the database cannot be made here; tests of the store and
/// `tests/errors.rs` bring them about.
#[test]
fn no_error_is_forgotten() {
    let texts = |source: &str| source.matches("#[error(\"").count();
    for (source, listed, elsewhere) in [
        (
            include_str!("../../../probe/src/error.rs"),
            probe_errors().len(),
            0,
        ),
        // One is listed twice, for two causes.
        (
            include_str!("../../../ledger/src/error.rs"),
            ledger_errors().len() - 1,
            0,
        ),
        (
            include_str!("../../../store/src/error.rs"),
            store_errors().len(),
            3,
        ),
    ] {
        assert_eq!(
            texts(source),
            listed + elsewhere,
            "an error has no snapshot"
        );
    }
}
