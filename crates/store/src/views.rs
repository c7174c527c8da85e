//! The views that queries may rely on.

/// A view of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// What a row of it is.
    pub row: &'static str,
}

/// Every view of the index. Their columns are only ever added to.
pub const VIEWS: &[View] = &[
    View {
        name: "session_overview",
        row: "a session: what happened in it, in numbers",
    },
    View {
        name: "model_usage",
        row: "a session, provider and model: calls, tokens, cost and latency",
    },
    View {
        name: "tool_usage",
        row: "a session and tool: calls, failures, and the actions that they caused",
    },
    View {
        name: "tool_actions",
        row: "an action that a tool call caused, with the call and why the two are joined",
    },
    View {
        name: "process_tree",
        row: "a process, with its depth below the session's first processes",
    },
    View {
        name: "finding_counts",
        row: "a session and rule that fired",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_of_the_schema_is_listed() {
        let schema = include_str!("schema.sql");
        let in_schema: Vec<_> = schema
            .lines()
            .filter_map(|line| line.strip_prefix("CREATE VIEW ")?.strip_suffix(" AS"))
            .collect();
        let listed: Vec<_> = VIEWS.iter().map(|view| view.name).collect();
        assert_eq!(
            listed, in_schema,
            "add the view to VIEWS in crates/store/src/views.rs"
        );
    }
}
