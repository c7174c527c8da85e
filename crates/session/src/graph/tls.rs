//! TLS connections: how much went over them, and which of them are dark.

use std::collections::HashMap;
use std::net::SocketAddr;

use agentsight_model::document::Finding;
use agentsight_model::{KTime, NetworkClose, ProcessKey, SocketId, TlsConnection};
use serde_json::{Value, json};

use super::budget::Budget;

/// The rule by which dark connections are findings.
const RULE: &str = "dark-tls";
/// Findings made of dark connections; a process that opens more of them is known by then.
const MAX_FINDINGS: usize = 100;

#[derive(Debug)]
struct Record {
    process: ProcessKey,
    time: KTime,
    connection: TlsConnection,
    remote: Option<SocketAddr>,
    sent_bytes: u64,
    received_bytes: u64,
}

/// The TLS connections of a session, in the order in which they were first reported.
#[derive(Debug, Default)]
pub(crate) struct TlsTable {
    records: Vec<Record>,
    open: HashMap<SocketId, usize>,
    closed_bytes: u64,
}

impl TlsTable {
    pub(crate) fn report(
        &mut self,
        time: KTime,
        process: ProcessKey,
        connection: &TlsConnection,
        budget: &mut Budget,
    ) {
        if let Some(record) = self
            .open
            .get(&connection.socket)
            .and_then(|position| self.records.get_mut(*position))
        {
            record.connection = connection.clone();
            return;
        }
        if !budget.record("tls.connection") {
            return;
        }
        self.open.insert(connection.socket, self.records.len());
        self.records.push(Record {
            process,
            time,
            connection: connection.clone(),
            remote: None,
            sent_bytes: 0,
            received_bytes: 0,
        });
    }

    pub(crate) fn closed(&mut self, close: &NetworkClose) {
        let record = self
            .open
            .remove(&close.socket)
            .and_then(|position| self.records.get_mut(position));
        if let Some(record) = record {
            record.remote = close.remote;
            record.sent_bytes = close.sent_bytes;
            record.received_bytes = close.received_bytes;
            self.closed_bytes = self
                .closed_bytes
                .saturating_add(close.sent_bytes)
                .saturating_add(close.received_bytes);
        }
    }

    /// Bytes of all TLS connections that have been closed, handshakes included; none if there were none.
    pub(crate) fn wire_bytes(&self) -> Option<u64> {
        (!self.records.is_empty()).then_some(self.closed_bytes)
    }

    fn dark(&self) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .filter(|record| !record.connection.plaintext)
    }

    /// The dark connections. `program` names the program of a process, `text` writes a time.
    pub(crate) fn dark_connections(
        &self,
        program: &dyn Fn(ProcessKey) -> String,
        text: &dyn Fn(KTime) -> String,
    ) -> Vec<Value> {
        self.dark()
            .map(|record| describe(record, &program(record.process), &text(record.time)))
            .collect()
    }

    /// A finding for each dark connection.
    pub(crate) fn findings(
        &self,
        program: &dyn Fn(ProcessKey) -> String,
        text: &dyn Fn(KTime) -> String,
    ) -> Vec<Finding> {
        self.dark()
            .take(MAX_FINDINGS)
            .enumerate()
            .map(|(index, record)| {
                let program = program(record.process);
                let time = text(record.time);
                Finding {
                    id: format!("finding-{}", index.saturating_add(1)),
                    rule: RULE.to_owned(),
                    severity: "medium".to_owned(),
                    title: format!(
                        "encrypted traffic of {program} to {} cannot be read",
                        peer(record)
                    ),
                    evidence: vec![describe(record, &program, &time)],
                    time,
                    process: Some(record.process),
                    taxonomy: Vec::new(),
                    verdict: None,
                }
            })
            .collect()
    }
}

fn peer(record: &Record) -> String {
    match (&record.connection.server_name, record.remote) {
        (Some(name), _) => name.clone(),
        (None, Some(remote)) => remote.to_string(),
        (None, None) => "an unknown server".to_owned(),
    }
}

fn describe(record: &Record, program: &str, time: &str) -> Value {
    let connection = &record.connection;
    json!({
        "process": record.process,
        "executable": program,
        "time": time,
        "server_name": connection.server_name,
        "alpn": connection.alpn,
        "encrypted_hello": connection.encrypted_hello,
        "remote": record.remote.map(|remote| remote.to_string()),
        "sent_bytes": record.sent_bytes,
        "received_bytes": record.received_bytes,
        "reason": connection.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::GraphLimits;
    use agentsight_model::NetworkProtocol;

    fn connection(socket: u64, plaintext: bool) -> TlsConnection {
        TlsConnection {
            socket: SocketId(socket),
            server_name: Some("api.example".into()),
            plaintext,
            ..TlsConnection::default()
        }
    }

    fn close(socket: u64) -> NetworkClose {
        NetworkClose {
            socket: SocketId(socket),
            protocol: NetworkProtocol::Tcp,
            local: None,
            remote: Some("[2001:db8::1]:443".parse().unwrap()),
            sent_bytes: 10,
            received_bytes: 20,
        }
    }

    #[test]
    fn the_last_report_of_a_socket_holds_until_it_is_closed() {
        let mut table = TlsTable::default();
        let mut budget = Budget::new(GraphLimits::default());
        let process = ProcessKey::default();
        table.report(KTime(1), process, &connection(1, false), &mut budget);
        table.report(KTime(2), process, &connection(1, true), &mut budget);
        table.closed(&close(1));
        // The socket's address is used again.
        table.report(KTime(3), process, &connection(1, false), &mut budget);
        table.closed(&close(1));
        let findings = table.findings(&|_| "curl".into(), &|time| time.0.to_string());
        assert_eq!(findings.len(), 1);
        assert_eq!(
            findings[0].title,
            "encrypted traffic of curl to api.example cannot be read"
        );
        assert_eq!(findings[0].evidence[0]["remote"], "[2001:db8::1]:443");
        assert_eq!(table.wire_bytes(), Some(60));
    }
}
