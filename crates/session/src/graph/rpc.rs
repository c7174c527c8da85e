//! Requests between programs.
//!
//! Where both sides of a connection are watched, each request is seen twice: once by who sends it, once by
//! who gets it. These two are one record.

use std::collections::HashMap;

use agentsight_model::{ProcessKey, RpcCall, RpcSide};

use super::budget::Budget;
use super::calls::value_bytes;

/// One request, or one notification.
#[derive(Clone, Debug)]
pub(crate) struct RpcRecord {
    pub(crate) seq: u64,
    pub(crate) call: RpcCall,
}

/// Every request, in ledger order (the order in which they were answered).
#[derive(Debug, Default)]
pub(crate) struct RpcLog {
    list: Vec<RpcRecord>,
    /// The latest one with a digest, to find its other half.
    by_digest: HashMap<String, usize>,
}

impl RpcLog {
    pub(crate) fn all(&self) -> &[RpcRecord] {
        &self.list
    }

    /// Files a request away.
    pub(super) fn call(&mut self, seq: u64, call: &RpcCall, budget: &mut Budget) {
        if let Some(half) = self
            .by_digest
            .get(&call.request.sha256)
            .and_then(|known| self.list.get_mut(*known))
            .filter(|known| is_other_half(&known.call, call))
        {
            half.call.client = half.call.client.or(call.client);
            half.call.server = half.call.server.or(call.server);
            return;
        }
        if !budget.record(kind_of(call)) {
            return;
        }
        let mut call = call.clone();
        let result = call.result.as_ref().map_or(0, value_bytes);
        let data = call.error.as_ref().and_then(|error| error.data.as_ref());
        let bytes = value_bytes(&call.params)
            .saturating_add(result)
            .saturating_add(data.map_or(0, value_bytes));
        if !budget.content(kind_of(&call), bytes) {
            call.params = serde_json::Value::Null;
            call.result = None;
            call.error.iter_mut().for_each(|error| error.data = None);
        }
        self.by_digest
            .insert(call.request.sha256.clone(), self.list.len());
        self.list.push(RpcRecord { seq, call });
    }
}

/// The kind of action that a request is.
pub(crate) fn kind_of(call: &RpcCall) -> &'static str {
    match call.protocol.as_str() {
        "mcp" => "mcp.call",
        "a2a" => "a2a.call",
        _ => "rpc.call",
    }
}

/// Whether two are the same request, seen at its two ends.
fn is_other_half(one: &RpcCall, other: &RpcCall) -> bool {
    let apart = one.client.is_none() && other.server.is_none() && other.client.is_some()
        || one.server.is_none() && other.client.is_none() && other.server.is_some();
    let overlap = one.started <= other.ended && other.started <= one.ended;
    let ids = one.request_id == other.request_id && one.method == other.method;
    apart && overlap && ids && one.request == other.request
}

/// The process that asks.
pub(crate) fn asker(call: &RpcCall) -> Option<ProcessKey> {
    match call.initiator {
        RpcSide::Client => call.client,
        RpcSide::Server => call.server,
    }
}
