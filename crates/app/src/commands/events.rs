//! `agentsight events`: what a session did, one action a line.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use agentsight_model::document::Action;
use agentsight_store::{Mode, Store};
use anyhow::Context as _;

use crate::cli::EventsArgs;
use crate::commands::show::replay;
use crate::terminal;

/// How often a running session is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: &EventsArgs) -> anyhow::Result<ExitCode> {
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
    kind.is_none_or(|kind| {
        action.kind == kind
            || action
                .kind
                .strip_prefix(kind)
                .is_some_and(|rest| rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
