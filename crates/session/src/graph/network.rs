//! Connections, and the HTTP exchanges on them that were no conversation with a model.
//!
//! One record is kept per process, kind, transport and address, so that a program that connects ten
//! thousand times to one server is one line with a count.

use std::collections::HashMap;
use std::net::SocketAddr;

use agentsight_model::{
    HttpExchange, KTime, NetworkAccept, NetworkClose, NetworkConnect, NetworkListen,
    NetworkProtocol, ProcessKey, SocketId,
};

use super::budget::Budget;

/// Sockets whose byte counts are still to come. One process cannot hold more open at a time than this
/// by default, and those beyond it only lose their byte counts.
const MAX_OPEN_SOCKETS: usize = 1 << 16;

/// What was done with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NetworkKind {
    Connect,
    Accept,
    Listen,
    /// Bytes went over a socket whose beginning was not seen, or that needs none (UDP).
    Send,
}

/// The two ends of a connection, as far as they tell it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    pub(crate) kind: NetworkKind,
    pub(crate) protocol: NetworkProtocol,
    /// The other side; absent for a listening socket.
    pub(crate) peer: Option<SocketAddr>,
    /// This side, where it is what matters: listening and accepting.
    pub(crate) local: Option<SocketAddr>,
}

/// Everything that one process did with one address.
#[derive(Clone, Debug)]
pub(crate) struct NetworkRecord {
    pub(crate) seq: u64,
    pub(crate) process: ProcessKey,
    pub(crate) endpoint: Endpoint,
    pub(crate) first: KTime,
    pub(crate) last: KTime,
    pub(crate) count: u64,
    pub(crate) closed: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

/// Every exchange of one process with one host by one method.
#[derive(Clone, Debug)]
pub(crate) struct HttpRecord {
    pub(crate) seq: u64,
    pub(crate) process: ProcessKey,
    pub(crate) first: KTime,
    pub(crate) last: KTime,
    pub(crate) count: u64,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    /// The first one.
    pub(crate) exchange: HttpExchange,
}

/// The network side of a session.
#[derive(Debug, Default)]
pub(crate) struct NetworkTable {
    records: Vec<NetworkRecord>,
    index: HashMap<(ProcessKey, Endpoint), usize>,
    sockets: HashMap<SocketId, usize>,
    http: Vec<HttpRecord>,
    /// By process, method and host; calls of gRPC by service and method.
    http_index: HashMap<(ProcessKey, String, String), usize>,
}

impl NetworkTable {
    pub(crate) fn records(&self) -> &[NetworkRecord] {
        &self.records
    }

    pub(crate) fn http_records(&self) -> &[HttpRecord] {
        &self.http
    }

    fn used(
        &mut self,
        seq: u64,
        time: KTime,
        process: ProcessKey,
        endpoint: Endpoint,
        budget: &mut Budget,
    ) -> Option<usize> {
        if let Some(position) = self.index.get(&(process, endpoint)) {
            let known = self.records.get_mut(*position)?;
            known.count = known.count.saturating_add(1);
            known.last = known.last.max(time);
            return Some(*position);
        }
        if !budget.record("network") {
            return None;
        }
        let position = self.records.len();
        self.records.push(NetworkRecord {
            seq,
            process,
            endpoint,
            first: time,
            last: time,
            count: 1,
            closed: 0,
            sent_bytes: 0,
            received_bytes: 0,
        });
        self.index.insert((process, endpoint), position);
        Some(position)
    }

    /// Remembers which record the byte counts of a socket belong to.
    fn remember(&mut self, socket: SocketId, position: Option<usize>, budget: &mut Budget) {
        match position {
            Some(position) if self.sockets.len() < MAX_OPEN_SOCKETS => {
                self.sockets.insert(socket, position);
            }
            Some(_) => budget.omit("network.close"),
            None => {}
        }
    }

    pub(super) fn connect(
        &mut self,
        seq: u64,
        time: KTime,
        process: ProcessKey,
        connect: &NetworkConnect,
        budget: &mut Budget,
    ) {
        let endpoint = Endpoint {
            kind: NetworkKind::Connect,
            protocol: connect.protocol,
            peer: Some(connect.remote),
            local: None,
        };
        let position = self.used(seq, time, process, endpoint, budget);
        self.remember(connect.socket, position, budget);
    }

    pub(super) fn accept(
        &mut self,
        seq: u64,
        time: KTime,
        process: ProcessKey,
        accept: &NetworkAccept,
        budget: &mut Budget,
    ) {
        // A client's port says nothing and is another one each time: clients are told apart by address.
        let mut client = accept.remote;
        client.set_port(0);
        let endpoint = Endpoint {
            kind: NetworkKind::Accept,
            protocol: NetworkProtocol::Tcp,
            peer: Some(client),
            local: Some(accept.local),
        };
        let position = self.used(seq, time, process, endpoint, budget);
        self.remember(accept.socket, position, budget);
    }

    pub(super) fn listen(
        &mut self,
        seq: u64,
        time: KTime,
        process: ProcessKey,
        listen: &NetworkListen,
        budget: &mut Budget,
    ) {
        let endpoint = Endpoint {
            kind: NetworkKind::Listen,
            protocol: NetworkProtocol::Tcp,
            peer: None,
            local: Some(listen.local),
        };
        self.used(seq, time, process, endpoint, budget);
    }

    pub(super) fn close(
        &mut self,
        seq: u64,
        time: KTime,
        process: ProcessKey,
        close: &NetworkClose,
        budget: &mut Budget,
    ) {
        let position = match (self.sockets.remove(&close.socket), close.remote) {
            (Some(position), _) => Some(position),
            (None, Some(remote)) if close.sent_bytes > 0 || close.received_bytes > 0 => {
                let endpoint = Endpoint {
                    kind: NetworkKind::Send,
                    protocol: close.protocol,
                    peer: Some(remote),
                    local: None,
                };
                self.used(seq, time, process, endpoint, budget)
            }
            _ => None,
        };
        if let Some(record) = position.and_then(|position| self.records.get_mut(position)) {
            record.closed = record.closed.saturating_add(1);
            record.last = record.last.max(time);
            record.sent_bytes = record.sent_bytes.saturating_add(close.sent_bytes);
            record.received_bytes = record.received_bytes.saturating_add(close.received_bytes);
        }
    }

    pub(super) fn http(
        &mut self,
        seq: u64,
        time: KTime,
        process: ProcessKey,
        exchange: &HttpExchange,
        budget: &mut Budget,
    ) {
        let method = match &exchange.grpc {
            Some(call) => format!("{}/{}", call.service, call.method),
            None => exchange.method.clone(),
        };
        let key = (process, method, exchange.host.clone());
        let known = self.http_index.get(&key).copied();
        if let Some(record) = known.and_then(|position| self.http.get_mut(position)) {
            record.count = record.count.saturating_add(1);
            record.last = record.last.max(exchange.ended);
            record.request_bytes = record.request_bytes.saturating_add(exchange.request_bytes);
            record.response_bytes = record
                .response_bytes
                .saturating_add(exchange.response_bytes);
            return;
        }
        if !budget.record("http.exchange") {
            return;
        }
        self.http_index.insert(key, self.http.len());
        self.http.push(HttpRecord {
            seq,
            process,
            first: time,
            last: exchange.ended,
            count: 1,
            request_bytes: exchange.request_bytes,
            response_bytes: exchange.response_bytes,
            exchange: exchange.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentsight_model::GrpcCall;

    fn exchange(rpc: Option<&str>) -> HttpExchange {
        HttpExchange {
            method: "POST".into(),
            host: "api.test".into(),
            target: "/x".into(),
            status: Some(200),
            transport: "h2".into(),
            request_bytes: 10,
            response_bytes: 20,
            ended: KTime(2),
            complete: true,
            grpc: rpc.map(|method| GrpcCall {
                service: "test.Chat".into(),
                method: method.into(),
                ..GrpcCall::default()
            }),
        }
    }

    #[test]
    fn equal_exchanges_are_one_record_and_methods_of_grpc_are_told_apart() {
        let mut table = NetworkTable::default();
        let mut budget = Budget::default();
        let calls = [None, None, Some("A"), Some("B"), Some("A")];
        for (seq, rpc) in (1..).zip(calls) {
            table.http(
                seq,
                KTime(1),
                ProcessKey::default(),
                &exchange(rpc),
                &mut budget,
            );
        }
        let counts: Vec<u64> = table
            .http_records()
            .iter()
            .map(|record| record.count)
            .collect();
        assert_eq!(counts, [2, 2, 1]);
    }
}
