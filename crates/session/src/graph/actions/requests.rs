//! Requests between programs as actions, and what servers did to answer them.

use agentsight_model::{KTime, ProcessKey};

use super::Builder;
use crate::graph::attributes::rpc_attributes;
use crate::graph::document::position_of;
use crate::graph::rpc::{asker, kind_of};
use crate::intent::{Cause, Evidence, Intent};

impl Builder<'_> {
    /// The cause of what a process did: its own, or that of the request that it was answering.
    pub(super) fn cause_of(
        &self,
        position: Option<usize>,
        process: ProcessKey,
        time: KTime,
    ) -> Option<Cause> {
        let found = position.and_then(|position| self.links.cause(position));
        found
            .map(|found| found.cause)
            .or_else(|| self.requests.cause(process, time))
    }

    /// A cause found by a path, with the request that a server was answering at the time, or else that one.
    pub(super) fn with_request(
        &self,
        by_path: Option<Cause>,
        process: ProcessKey,
        time: KTime,
    ) -> Option<Cause> {
        let by_request = self.requests.cause(process, time);
        let Some(by_path) = by_path else {
            return by_request;
        };
        Some(Cause {
            requested: by_request.is_some_and(|cause| cause.tool == by_path.tool),
            ..by_path
        })
    }

    pub(super) fn rpc(&mut self) {
        let graph = self.graph;
        for (position, record) in graph.rpc.all().iter().enumerate() {
            let call = &record.call;
            let carried = self.requests.tool_of(position).map(|tool| Cause {
                tool,
                confidence_percent: 98,
                evidence: Evidence::McpRequest,
                windowed: true,
                requested: true,
            });
            let process = asker(call).unwrap_or_default();
            let at = position_of(self.tree, graph, process);
            let cause = carried.or_else(|| self.cause_of(at, process, call.started));
            let intent = match (carried, cause) {
                (Some(_), _) => Intent::Stated,
                (None, Some(_)) => Intent::Implied("request"),
                (None, None) => Intent::None,
            };
            self.push(
                record.seq,
                kind_of(call),
                (call.started, process),
                rpc_attributes(call),
                (cause, intent),
            );
        }
    }
}
