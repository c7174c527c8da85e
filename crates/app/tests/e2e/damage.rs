//! Ledgers that somebody has changed, cut or robbed, and stores that are none.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use agentsight_model::document::SessionDocument;
use agentsight_model::{DropReason, EventClass};
use serde_json::Value;

use crate::support::{Call, PROGRAM, Site};

/// A session long enough to have several blocks.
fn recorded_site() -> Site {
    let site = Site::new();
    // Blocks are written when time passes, not only when they are full.
    site.run_script("for i in 1 2 3 4; do /bin/true; /bin/true; sleep 0.4; done")
        .end()
        .ok();
    site.agentsight(["verify"]).end().ok();
    site
}

/// What `verify` says of the only session, with its exit code.
#[track_caller]
fn verified(site: &Site) -> (i32, Value) {
    let ended = site.agentsight(["verify", "--json"]).end();
    let report: Value = serde_json::from_str(ended.text()).unwrap();
    (ended.code(), report[0].clone())
}

/// Asserts that `verify` finds and locates damage, and that readers warn and go on.
#[track_caller]
fn assert_found(site: &Site) -> Value {
    let (code, report) = verified(site);
    assert_eq!(code, 1, "{report}");
    assert_eq!(report["verdict"], "damaged", "{report}");
    assert!(
        !report["problems"].as_array().unwrap().is_empty(),
        "{report}"
    );
    let told = site.agentsight(["verify"]).end().with_code(1);
    assert!(told.text().contains("DAMAGED"), "{}", told.text());

    let shown = site.agentsight(["show", "--json"]).end().ok();
    let document: Value = serde_json::from_str(shown.text()).unwrap();
    assert!(document["session"].is_object());
    report["problems"][0].clone()
}

#[test]
#[ignore = "needs root"]
fn a_changed_byte_anywhere_is_found_and_located() {
    let site = recorded_site();
    let segment = &site.segments()[0];
    let whole = fs::read(segment).unwrap();
    let mut problems_before_the_place = 0;
    for tenth in 0..10 {
        let at = whole.len() * tenth / 10 + 7;
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        fs::write(segment, &changed).unwrap();
        let problem = assert_found(&site);
        let offset = problem["offset"].as_u64().unwrap();
        assert_eq!(
            problem["file"],
            segment.file_name().unwrap().to_str().unwrap()
        );
        // The place is the block that has the byte, or the header of the file.
        problems_before_the_place += usize::from(offset > at as u64);
    }
    assert_eq!(
        problems_before_the_place, 0,
        "damage is located behind its place"
    );
    fs::write(segment, &whole).unwrap();
    assert_eq!(verified(&site).0, 0);
}

#[test]
#[ignore = "needs root"]
fn readers_go_on_behind_a_damaged_place() {
    let site = recorded_site();
    let segment = &site.segments()[0];
    let mut bytes = fs::read(segment).unwrap();
    let before = site.recorded();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(segment, &bytes).unwrap();
    assert_found(&site);
    let shown = site.agentsight(["show", "--json"]).end().ok();
    assert!(
        shown.stderr.contains("agentsight verify"),
        "{}",
        shown.stderr
    );
    let document: Value = serde_json::from_str(shown.text()).unwrap();
    let processes = document["processes"].as_array().unwrap().len();
    assert!(processes > 0 && processes <= before.document.processes.len());
    // The end of the session lies behind the damage.
    assert_eq!(document["session"]["status"], "ended");
    let events = site.agentsight(["events"]).end().ok();
    assert!(
        events.stderr.contains("agentsight verify"),
        "{}",
        events.stderr
    );
}

#[test]
#[ignore = "needs root"]
fn a_cut_tail_is_found() {
    let site = recorded_site();
    let segment = &site.segments()[0];
    let whole = fs::read(segment).unwrap();
    for kept in [whole.len() - 1, whole.len() - 100, whole.len() / 2, 40, 0] {
        fs::write(segment, &whole[..kept]).unwrap();
        assert_found(&site);
        let shown = site.agentsight(["show"]).end().ok();
        assert!(
            shown.stderr.contains("agentsight verify"),
            "{kept} kept: {}",
            shown.stderr
        );
    }
}

#[test]
#[ignore = "needs root"]
fn a_removed_block_and_a_removed_segment_are_found() {
    let site = recorded_site();
    let segment = &site.segments()[0];
    let whole = fs::read(segment).unwrap();
    let third = whole.len() / 3;
    let robbed = [&whole[..third], &whole[2 * third..]].concat();
    fs::write(segment, robbed).unwrap();
    assert_found(&site);

    fs::remove_file(segment).unwrap();
    let (code, report) = verified(&site);
    assert_eq!(code, 1, "{report}");
    let shown = site.agentsight(["show"]).end().ok();
    assert!(
        shown.stderr.contains("of this session missing"),
        "{}",
        shown.stderr
    );

    // Nor does it help to remove all of it: the index knows that it was there.
    fs::remove_dir_all(site.session()).unwrap();
    let (code, report) = verified(&site);
    assert_eq!(code, 1, "{report}");
    let shown = site.agentsight(["show"]).end();
    assert_ne!(shown.code(), 0);
}

#[test]
#[ignore = "needs root"]
fn a_replaced_ledger_is_found_by_what_the_index_knows() {
    let site = recorded_site();
    let other = recorded_site();
    let (ours, theirs) = (site.session(), other.session());
    for entry in fs::read_dir(&theirs).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), ours.join(entry.file_name())).unwrap();
    }
    let (code, report) = verified(&site);
    assert_eq!(code, 1, "{report}");
}

#[test]
#[ignore = "needs root"]
fn a_store_that_is_none_is_told() {
    let site = Site::new();
    let file = site.path("file");
    fs::write(&file, "x").unwrap();
    let empty = site.path("empty");
    fs::create_dir(&empty).unwrap();
    let real = site.path("real");
    fs::create_dir(&real).unwrap();
    let link = site.path("link");
    symlink(&real, &link).unwrap();
    for store in [&file, &link] {
        let mark = site.work().join("mark");
        let ended = site
            .agentsight(["run", "--store"])
            .args([store])
            .args(["--", "touch"])
            .args([&mark])
            .end();
        assert!([1, 3].contains(&ended.code()), "{ended:?}");
        assert_told(&ended.stderr, store);
        assert!(!mark.exists(), "the command ran without a record");
        assert_eq!(
            fs::read_dir(&real).unwrap().count(),
            0,
            "written through a link"
        );
    }
    for store in [&file, &link, &empty, &site.path("nowhere")] {
        for command in ["sessions", "show", "events", "verify"] {
            let call = site.agentsight([command]);
            let call = if command == "verify" {
                call.args([store])
            } else {
                call.args(["--store"]).args([store])
            };
            let ended = call.end();
            assert_eq!(ended.code(), 1, "{command} {}: {ended:?}", store.display());
            assert_told(&ended.stderr, store);
        }
    }
    assert_eq!(
        fs::read_dir(&empty).unwrap().count(),
        0,
        "a reader has written"
    );
}

#[track_caller]
fn assert_told(stderr: &str, store: &Path) {
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(stderr.contains(store.to_str().unwrap()), "{stderr}");
    assert!(stderr.contains("\nhint: "), "{stderr}");
}

#[test]
#[ignore = "needs root"]
fn a_link_in_place_of_a_session_or_file_is_not_followed() {
    let site = recorded_site();
    let elsewhere = site.path("elsewhere");
    fs::rename(site.session(), &elsewhere).unwrap();
    let id = fs::read_dir(site.store().join("sessions")).unwrap().count();
    assert_eq!(id, 0);
    let sessions = site.agentsight(["sessions", "--json"]).end().ok();
    let sessions: Value = serde_json::from_str(sessions.text()).unwrap();
    let id = sessions[0]["id"].as_str().unwrap();
    symlink(&elsewhere, site.store().join("sessions").join(id)).unwrap();
    let ended = site.agentsight(["show", id]).end();
    assert_ne!(ended.code(), 0);
    assert!(ended.stderr.contains("symbolic link"), "{}", ended.stderr);
    let (code, report) = verified(&site);
    assert_eq!(code, 1, "{report}");
}

#[test]
#[ignore = "needs root"]
fn files_of_the_store_are_for_its_owner_alone() {
    let site = recorded_site();
    let mut folders = vec![site.store()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            assert_eq!(
                metadata.permissions().mode() & 0o077,
                0,
                "{}",
                path.display()
            );
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    // However open the folder is that somebody made for it.
    let site = Site::new();
    fs::create_dir(site.store()).unwrap();
    fs::set_permissions(site.store(), Permissions::from_mode(0o777)).unwrap();
    let ended = site.run(["true"]).end();
    if ended.code() == 0 {
        let mode = fs::metadata(site.session()).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    } else {
        assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    }
}

#[test]
#[ignore = "needs root"]
fn a_full_disk_does_not_end_the_command() {
    let site = Site::new();
    // A file system of some megabytes in a mount namespace of its own, with a store on it.
    let script = "\
mkdir -p \"$1\" && mount -t tmpfs -o size=12m,mode=700 tmpfs \"$1\" || exit 99
AGENTSIGHT_STORE=\"$1\" \"$0\" run --quiet -- /bin/sh -c '
i=0; while [ $i -lt 500 ]; do /bin/true before; i=$((i+1)); done
sleep 1.5
dd if=/dev/zero of=\"$1/fill\" bs=4k 2>/dev/null
i=0; while [ $i -lt 4000 ]; do /bin/true \"$i-$i-$i\"; i=$((i+1)); done
rm \"$1/fill\"
sleep 1.5
i=0; while [ $i -lt 500 ]; do /bin/true after; i=$((i+1)); done
echo done; exit 7' sh \"$1\"
code=$?
cp -r \"$1\" \"$2\"
exit $code";
    let ended = Call::new("unshare")
        .args(["--mount", "--", "/bin/sh", "-c", script, PROGRAM])
        .args([site.store(), site.path("copy")])
        .patience(Duration::from_secs(200))
        .end();
    assert!(
        ended.text().contains("done"),
        "the command did not end: {ended:?}"
    );
    let ended = ended.with_code(7);
    assert!(
        ended.stderr.contains("the record has a gap"),
        "{}",
        ended.stderr
    );

    // What could be written was, the rest is counted, and nothing else was lost on the way.
    let copied = site.path("copy");
    site.agentsight(["verify"]).args([&copied]).end().ok();
    let shown = site
        .agentsight(["show", "--json", "--store"])
        .args([&copied])
        .end()
        .ok();
    let document: SessionDocument = serde_json::from_str(shown.text()).unwrap();
    let runs = |argument: &str| {
        let wanted = Value::from(vec!["/bin/true", argument]);
        let execs = document
            .actions
            .iter()
            .filter(|action| action.kind == "process.exec");
        execs
            .filter(|action| action.attributes["process.command_args"] == wanted)
            .count()
    };
    assert_eq!((runs("before"), runs("after")), (500, 500));
    assert_eq!(document.session.exit_code, Some(7));
    for (class, counters) in &document.coverage.events {
        assert_eq!(counters.unaccounted(), 0);
        assert_eq!(
            counters.produced,
            counters.stored + counters.dropped_count()
        );
        let reasons: Vec<&DropReason> = counters.dropped.keys().collect();
        assert!(
            reasons
                .iter()
                .all(|reason| **reason == DropReason::WriteFailed),
            "{class:?}: {counters:?}"
        );
    }
    assert!(document.coverage.events[&EventClass::Process].dropped_count() > 0);
}
