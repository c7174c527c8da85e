//! Recorded and hand-made connections, and the calls that come out of them.
//!
//! A case is a folder `golden/<provider>/<case>/`: `in.req` and `in.resp` hold the bytes of the two
//! directions, `calls.snap` the calls. Where the order of the directions matters, `in.rec` holds both:
//! `>` (sent) or `<` (received), the length in four bytes, and the bytes, over and over. The cases
//! `sdk_*` and `agent_*` were recorded between the providers' own SDKs, or real agents, and a mock
//! server; the others are made by hand from the formats. All keys in them are made up.
//! `INSTA_UPDATE=always cargo test -p agentsight-decode --test golden` writes the snapshots anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use agentsight_decode::http::{Exchange, Limits};
use agentsight_decode::llm;
use agentsight_decode::redact::Redactor;
use agentsight_model::Direction::Received;
use agentsight_model::{LlmCall, ProcessKey};
use proptest::prelude::*;
use support::{Script, decode, play, received, runs, sent};

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    subfolders(&root)
        .iter()
        .flat_map(|p| subfolders(p))
        .collect()
}

/// What went over the connection of a case.
fn script(case: &Path) -> Script {
    match fs::read(case.join("in.rec")) {
        Ok(recording) => runs(&recording),
        Err(_) => {
            let request = fs::read(case.join("in.req")).unwrap();
            let response = fs::read(case.join("in.resp")).unwrap_or_default();
            vec![sent(request), received(response)]
        }
    }
}

fn calls(exchanges: &[Exchange]) -> Vec<LlmCall> {
    let redactor = Redactor::new([7; 32]);
    let process = ProcessKey {
        tgid: 42,
        start_ns: 7,
    };
    let mut calls: Vec<LlmCall> = exchanges
        .iter()
        .filter_map(|exchange| llm::decode(exchange, process, "llm-1"))
        .collect();
    calls.iter_mut().for_each(|call| redactor.call(call));
    calls
}

#[test]
fn recorded_connections_give_the_calls_they_gave_before() {
    for case in cases() {
        let calls = calls(&decode(&script(&case)));
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&case);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_json_snapshot!("calls", calls));
    }
}

#[test]
fn no_key_of_a_recording_survives() {
    for case in cases() {
        let written = serde_json::to_string(&calls(&decode(&script(&case)))).unwrap();
        for key in ["0123456789abcdef", "abc123def456", "AIzaSy"] {
            assert!(!written.contains(key), "{key} in {}", case.display());
        }
    }
}

#[test]
fn redacting_a_call_twice_is_redacting_it_once() {
    let redactor = Redactor::new([7; 32]);
    for case in cases() {
        for mut call in calls(&decode(&script(&case))) {
            let once = call.clone();
            redactor.call(&mut call);
            assert_eq!(call, once, "{}", case.display());
        }
    }
}

#[test]
fn every_call_can_be_read_back() {
    for case in cases() {
        for call in calls(&decode(&script(&case))) {
            let written = serde_json::to_string(&call).unwrap();
            let read: LlmCall = serde_json::from_str(&written).unwrap();
            assert_eq!(read, call, "{}", case.display());
        }
    }
}

/// What was asked tells that it is a conversation, whatever became of the answer.
#[test]
fn a_conversation_whose_answer_is_cut_is_still_one() {
    for case in cases().iter().filter(|case| case.ends_with("json")) {
        let mut script = script(case);
        assert!(calls(&decode(&script))[0].complete);
        let (direction, response) = script.pop().unwrap();
        let response = response.unwrap();
        for end in 0..response.len() {
            let answer = (direction, Ok(response[..end].to_vec()));
            let calls = calls(&decode(&vec![script[0].clone(), answer]));
            assert_eq!(calls.len(), 1, "{}, cut at {end}", case.display());
        }
    }
}

#[test]
fn it_does_not_matter_how_a_recording_is_split() {
    for case in cases() {
        let script = script(&case);
        let whole = calls(&decode(&script));
        for pieces in [&[1][..], &[7, 1000, 13]] {
            let (split, _) = play(&script, pieces, Limits::default());
            assert_eq!(calls(&split), whole, "{}", case.display());
        }
    }
}

/// Bytes of a recording changed, or runs of it cut.
fn any_mutation() -> impl Strategy<Value = Vec<(prop::sample::Index, Option<u8>)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<Option<u8>>()), 1..8)
}

fn mutate(script: &mut Script, mutations: &[(prop::sample::Index, Option<u8>)]) {
    for (at, value) in mutations {
        let which = at.index(script.len());
        let (_, Ok(bytes)) = &mut script[which] else {
            continue;
        };
        if bytes.is_empty() {
            continue;
        }
        let place = at.index(bytes.len());
        match value {
            Some(value) => bytes[place] = *value,
            None => bytes.truncate(place),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn mutated_recordings_never_panic(
        case in any::<prop::sample::Index>(),
        mutations in any_mutation(),
    ) {
        let cases = cases();
        let mut script = script(&cases[case.index(cases.len())]);
        mutate(&mut script, &mutations);
        for call in calls(&decode(&script)) {
            let written = serde_json::to_string(&call).unwrap();
            prop_assert_eq!(serde_json::from_str::<LlmCall>(&written).unwrap(), call);
        }
    }

    #[test]
    fn a_recording_with_a_hole_is_never_more_complete(
        case in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        missing in 1..60_usize,
    ) {
        let cases = cases();
        let mut script = script(&cases[case.index(cases.len())]);
        let whole = calls(&decode(&script));
        let which = at.index(script.len());
        let (direction, run) = script.remove(which);
        let bytes = run.unwrap();
        let from = at.index(bytes.len() + 1);
        let to = bytes.len().min(from + missing);
        let hole = u64::try_from(to - from).unwrap();
        let pieces = [Ok(bytes[..from].to_vec()), Err(hole), Ok(bytes[to..].to_vec())];
        script.splice(which..which, pieces.map(|piece| (direction, piece)));
        let part = calls(&decode(&script));
        let complete = |calls: &[LlmCall]| calls.iter().filter(|call| call.complete).count();
        prop_assert!(complete(&part) <= complete(&whole));
        prop_assert!(part.iter().filter(|call| !call.complete).all(|call| call.error.is_some()));
    }

    #[test]
    fn a_cut_recording_is_never_complete(
        case in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let cases = cases();
        let mut script = script(&cases[case.index(cases.len())]);
        let whole = calls(&decode(&script));
        let total: usize = script.iter().map(|(_, run)| run.as_ref().unwrap().len()).sum();
        let mut left = cut.index(total.max(1));
        script.retain_mut(|(direction, run)| {
            if *direction == Received {
                let bytes = run.as_mut().unwrap();
                bytes.truncate(left);
                left -= bytes.len();
            }
            true
        });
        let part = calls(&decode(&script));
        let complete = |calls: &[LlmCall]| calls.iter().filter(|call| call.complete).count();
        prop_assert!(complete(&part) <= complete(&whole));
        prop_assert!(part.iter().filter(|call| !call.complete).all(|call| call.error.is_some()));
    }
}
