//! Requests that wait for their answers.

use std::collections::{BTreeMap, HashMap};

use agentsight_decode::rpc::Id;
use agentsight_model::RpcCall;

use super::held_bytes;

/// Requests of one side that wait at a time; the oldest comes out without an answer.
const MAX_PENDING: usize = 1024;

/// A request without an answer.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) call: RpcCall,
    /// What reports of its progress bear.
    pub(super) progress: Option<Id>,
}

/// The requests of one side, in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct PendingTable {
    list: BTreeMap<u64, (Id, Pending)>,
    by_id: HashMap<Id, u64>,
    by_token: HashMap<Id, u64>,
    next: u64,
    held_bytes: usize,
}

impl PendingTable {
    /// Takes a request. Gives the one that can no longer be answered: of the same id, or the oldest.
    pub(super) fn insert(&mut self, id: Id, pending: Pending) -> Option<RpcCall> {
        let replaced = self.take(&id).or_else(|| {
            let oldest = (self.list.len() >= MAX_PENDING).then(|| self.list.first_key_value());
            let id = oldest.flatten().map(|(_, (id, _))| id.clone());
            id.and_then(|id| self.take(&id))
        });
        let number = self.next;
        self.next = self.next.saturating_add(1);
        if let Some(token) = &pending.progress {
            self.by_token.insert(token.clone(), number);
        }
        self.held_bytes = self.held_bytes.saturating_add(held_bytes(&pending.call));
        self.by_id.insert(id.clone(), number);
        self.list.insert(number, (id, pending));
        replaced
    }

    /// Whether a request with that id waits.
    pub(super) fn holds(&self, id: &Id) -> bool {
        self.by_id.contains_key(id)
    }

    /// Takes the request with that id out.
    pub(super) fn take(&mut self, id: &Id) -> Option<RpcCall> {
        let number = self.by_id.remove(id)?;
        let (_, pending) = self.list.remove(&number)?;
        if let Some(token) = &pending.progress
            && self.by_token.get(token) == Some(&number)
        {
            self.by_token.remove(token);
        }
        self.held_bytes = self.held_bytes.saturating_sub(held_bytes(&pending.call));
        Some(pending.call)
    }

    /// Counts a report of progress. Says whether its request waits.
    pub(super) fn progress(&mut self, token: &Id) -> bool {
        let number = self.by_token.get(token);
        let Some((_, pending)) = number.and_then(|number| self.list.get_mut(number)) else {
            return false;
        };
        pending.call.progress_count = pending.call.progress_count.saturating_add(1);
        true
    }

    /// Takes all requests out, oldest first.
    pub(super) fn take_all(&mut self) -> Vec<RpcCall> {
        let all = std::mem::take(self).list.into_values();
        all.map(|(_, pending)| pending.call).collect()
    }

    /// About how much memory the requests take.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(number: u64) -> Id {
        Id::of(&json!(number)).unwrap()
    }

    fn pending(method: &str, token: Option<u64>) -> Pending {
        Pending {
            call: RpcCall {
                method: method.into(),
                ..RpcCall::default()
            },
            progress: token.map(id),
        }
    }

    #[test]
    fn a_request_leaves_when_its_id_comes_again_or_there_are_too_many() {
        let mut table = PendingTable::default();
        assert!(table.insert(id(0), pending("a", Some(7))).is_none());
        assert!(table.progress(&id(7)) && !table.progress(&id(8)));
        let replaced = table.insert(id(0), pending("b", None)).unwrap();
        assert_eq!(
            (replaced.method.as_str(), replaced.progress_count),
            ("a", 1)
        );
        assert!(!table.progress(&id(7)));
        let mut pushed = 0;
        for number in 1..3000 {
            pushed += u64::from(
                table
                    .insert(id(number), pending("c", Some(number)))
                    .is_some(),
            );
        }
        assert_eq!(pushed, 3000 - MAX_PENDING as u64);
        assert!(!table.holds(&id(0)) && table.holds(&id(2999)));
        assert_eq!(table.take_all().len(), MAX_PENDING);
        assert_eq!(table.held_bytes(), 0);
        assert!(table.by_id.is_empty() && table.by_token.is_empty());
    }
}
