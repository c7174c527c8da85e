//! `agentsight events`: what a session did, one action a line.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use agentsight_model::document::Action;
use agentsight_session::ACTION_KINDS;
use agentsight_store::{Mode, Store};
use anyhow::Context as _;

use crate::cli::EventsArgs;
use crate::commands::show::replay;
use crate::failure::{Failure, USAGE};
use crate::terminal;

/// How often a running session is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// A word that is no kind would find nothing, which looks as if nothing had happened.
fn check_kind(wanted: &str) -> Result<(), Failure> {
    if ACTION_KINDS.iter().any(|kind| is_of_kind(kind, wanted)) {
        return Ok(());
    }
    Err(
        Failure::new(format!("no kind of action is called `{wanted}`"), USAGE)
            .hint(format!("the kinds are: {}", ACTION_KINDS.join(", "))),
    )
}

pub(crate) fn run(arguments: &EventsArgs) -> anyhow::Result<ExitCode> {
    if let Some(kind) = &arguments.kind {
        check_kind(kind)?;
    }
    let store = Store::open(&arguments.store.store, Mode::Read)?;
    let id = store.resolve(&arguments.session)?;
    let directory = store.session_dir(&id)?;
    // An action is printed again when its counts have grown.
    let mut printed: HashMap<String, String> = HashMap::new();
    loop {
        let replayed = replay(&directory)?;
        let mut lines = String::new();
        for action in &replayed.document.actions {
            if !is_wanted(action, arguments.kind.as_deref()) {
                continue;
            }
            let line = serde_json::to_string(action).context("failed to encode an action")?;
            if arguments.follow {
                if printed.get(&action.id) == Some(&line) {
                    continue;
                }
                printed.insert(action.id.clone(), line.clone());
            }
            lines.push_str(&line);
            lines.push('\n');
        }
        terminal::print(&lines)?;
        if !arguments.follow || replayed.document.session.status != "running" {
            replayed.warn();
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(FOLLOW_EVERY);
    }
}

/// Whether the action is of the kind, or of the domain, that was asked for.
fn is_wanted(action: &Action, kind: Option<&str>) -> bool {
    kind.is_none_or(|kind| is_of_kind(&action.kind, kind))
}

fn is_of_kind(kind: &str, wanted: &str) -> bool {
    kind.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_kind_is_refused() {
        assert!(check_kind("file").is_ok() && check_kind("process.exec").is_ok());
        for wrong in ["", "foo", "file.", "file.opens", "fil"] {
            assert!(check_kind(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_kind_may_be_a_domain() {
        let action = Action {
            kind: "file.open".into(),
            ..Action::default()
        };
        assert!(is_wanted(&action, None));
        assert!(is_wanted(&action, Some("file")));
        assert!(is_wanted(&action, Some("file.open")));
        assert!(!is_wanted(&action, Some("file.o")));
        assert!(!is_wanted(&action, Some("fil")));
    }
}
