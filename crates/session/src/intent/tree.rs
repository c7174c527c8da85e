//! The process tree as joins see it: parents before children, and no circles.

use std::collections::HashSet;

use agentsight_model::ProcessKey;

use crate::graph::{ProcessRecord, ProcessTable};

/// The process tree, as far as joins need it.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    pub(crate) processes: &'a [ProcessRecord],
    /// Positions, oldest process first.
    pub(crate) order: Vec<usize>,
    /// Position of the parent, if it is known and older.
    pub(crate) parents: Vec<Option<usize>>,
    /// Processes that talk to models.
    pub(crate) callers: HashSet<usize>,
    /// The nearest ancestor that talks to a model.
    pub(crate) caller_above: Vec<Option<usize>>,
}

impl<'a> Tree<'a> {
    pub(crate) fn of(table: &'a ProcessTable, callers: impl Iterator<Item = ProcessKey>) -> Self {
        let processes = table.all();
        let age = |position: usize| processes.get(position).map(|p| (p.key.start_ns, position));
        let mut order: Vec<usize> = (0..processes.len()).collect();
        order.sort_by_key(|position| age(*position));
        // A parent is older than its child. Where a record says otherwise it is wrong, and following it
        // could lead round in a circle.
        let parent_of = |(position, process): (usize, &ProcessRecord)| {
            let parent = table.position(process.parent?)?;
            (age(parent) < age(position)).then_some(parent)
        };
        let parents: Vec<Option<usize>> = processes.iter().enumerate().map(parent_of).collect();
        let callers: HashSet<usize> = callers.filter_map(|key| table.position(key)).collect();
        let mut caller_above = vec![None; processes.len()];
        for position in &order {
            let parent = parents.get(*position).copied().flatten();
            let above = parent.and_then(|parent| {
                if callers.contains(&parent) {
                    Some(parent)
                } else {
                    caller_above.get(parent).copied().flatten()
                }
            });
            if let Some(slot) = caller_above.get_mut(*position) {
                *slot = above;
            }
        }
        Self {
            processes,
            order,
            parents,
            callers,
            caller_above,
        }
    }

    pub(crate) fn parent(&self, position: usize) -> Option<usize> {
        self.parents.get(position).copied().flatten()
    }

    pub(crate) fn key(&self, position: usize) -> Option<ProcessKey> {
        self.processes.get(position).map(|process| process.key)
    }
}
