//! Which TLS connections of the tree are read and which are dark.
//!
//! A connection is known by its first bytes, and is read once some object's plaintext is known to travel
//! over it. One that has carried data for a while without that is dark: it is reported with the server's
//! name, so that silence is never taken for quiet. A connection may turn out to be read later; the last
//! report of a socket holds.

use std::collections::HashMap;

use agentsight_decode::tls_hello::{self, ClientHello};
use agentsight_model::{Event, EventBody, KTime, ProcessKey, SocketId, TlsConnection};

/// Time that plaintext has to show up.
const PATIENCE_NS: u64 = 700_000_000;
/// Bytes that most clients send at most beyond their first message before any data: the end of the
/// handshake, in TLS 1.2 with a key share before it. The smallest request that makes sense is longer, and
/// must count. A longer handshake (with a certificate of the client) is taken for data: without a function
/// that carried it the connection cannot be read all the same.
const HANDSHAKE_BYTES: u64 = 100;
/// How a QUIC packet with a long header begins (RFC 9000 section 17.2).
const QUIC_LONG_HEADER: u8 = 0xc0;
/// Why a QUIC connection is dark.
const QUIC: &str = "QUIC: its TLS is inside UDP, and is not read";
/// Connections that are followed at a time; beyond it the oldest are forgotten.
const MAX_CONNECTIONS: usize = 65_536;

#[derive(Debug)]
struct Connection {
    process: ProcessKey,
    began: KTime,
    hello: ClientHello,
    hello_bytes: u64,
    is_quic: bool,
    is_read: bool,
    is_reported_dark: bool,
}

/// The TLS connections of one session.
#[derive(Debug, Default)]
pub struct TlsWatch {
    connections: HashMap<SocketId, Connection>,
}

impl TlsWatch {
    /// A connection began with these bytes.
    pub fn began(&mut self, time: KTime, process: ProcessKey, socket: SocketId, bytes: &[u8]) {
        if self.connections.len() >= MAX_CONNECTIONS {
            let oldest = self
                .connections
                .iter()
                .min_by_key(|(_, connection)| connection.began)
                .map(|(socket, _)| *socket);
            if let Some(oldest) = oldest {
                self.connections.remove(&oldest);
            }
        }
        self.connections.insert(
            socket,
            Connection {
                process,
                began: time,
                hello: tls_hello::parse(bytes).unwrap_or_default(),
                hello_bytes: bytes.len() as u64,
                is_quic: bytes
                    .first()
                    .is_some_and(|first| first & QUIC_LONG_HEADER == QUIC_LONG_HEADER),
                is_read: false,
                is_reported_dark: false,
            },
        );
    }

    /// Plaintext of the socket is seen.
    pub fn is_read(&mut self, time: KTime, socket: SocketId, out: &mut Vec<Event>) {
        if let Some(connection) = self.connections.get_mut(&socket)
            && !connection.is_read
        {
            connection.is_read = true;
            out.push(report(connection, socket, time, None));
        }
    }

    /// The socket has sent so much by now, and no plaintext of it is known. `reason` is asked for what is
    /// known of the process's TLS library if the connection is dark.
    pub fn progress(
        &mut self,
        time: KTime,
        socket: SocketId,
        sent_bytes: u64,
        reason: impl FnOnce(ProcessKey) -> Option<String>,
        out: &mut Vec<Event>,
    ) {
        if let Some(connection) = self.connections.get_mut(&socket)
            && time.since(connection.began) >= PATIENCE_NS
        {
            judge(connection, socket, time, sent_bytes, reason, out);
        }
    }

    /// The socket was closed after it had sent so much.
    pub fn ended(
        &mut self,
        time: KTime,
        socket: SocketId,
        sent_bytes: u64,
        reason: impl FnOnce(ProcessKey) -> Option<String>,
        out: &mut Vec<Event>,
    ) {
        if let Some(mut connection) = self.connections.remove(&socket) {
            judge(&mut connection, socket, time, sent_bytes, reason, out);
        }
    }
}

fn judge(
    connection: &mut Connection,
    socket: SocketId,
    time: KTime,
    sent_bytes: u64,
    reason: impl FnOnce(ProcessKey) -> Option<String>,
    out: &mut Vec<Event>,
) {
    let has_data = sent_bytes > connection.hello_bytes.saturating_add(HANDSHAKE_BYTES);
    if connection.is_read || connection.is_reported_dark || !has_data {
        return;
    }
    connection.is_reported_dark = true;
    let reason = if connection.is_quic {
        Some(QUIC.to_owned())
    } else {
        reason(connection.process)
    };
    out.push(report(connection, socket, time, reason));
}

fn report(connection: &Connection, socket: SocketId, time: KTime, reason: Option<String>) -> Event {
    Event {
        time,
        process: connection.process,
        body: EventBody::TlsConnection(Box::new(TlsConnection {
            socket,
            server_name: connection.hello.server_name.clone(),
            alpn: connection.hello.alpn.clone(),
            encrypted_hello: connection.hello.is_encrypted,
            plaintext: connection.is_read,
            reason,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: SocketId = SocketId(7);
    const SECOND: u64 = 1_000_000_000;

    fn process() -> ProcessKey {
        ProcessKey {
            tgid: 1,
            start_ns: 1,
        }
    }

    fn states(events: &[Event]) -> Vec<bool> {
        events
            .iter()
            .map(|event| match &event.body {
                EventBody::TlsConnection(connection) => connection.plaintext,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn data_without_plaintext_is_dark_once() {
        let mut watch = TlsWatch::default();
        let mut out = Vec::new();
        watch.began(KTime(0), process(), SOCKET, &[22, 3, 1]);
        watch.progress(KTime(SECOND / 10), SOCKET, 5000, |_| None, &mut out);
        assert!(out.is_empty(), "too early");
        // Change cipher spec and a finished message of TLS 1.3, with the longest hash.
        watch.progress(KTime(SECOND), SOCKET, 3 + 6 + 74, |_| None, &mut out);
        assert!(out.is_empty(), "no data yet");
        // The same and the smallest request, sealed.
        let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".len() as u64 + 22;
        watch.progress(
            KTime(SECOND),
            SOCKET,
            3 + 6 + 58 + request,
            |_| Some("rustls".into()),
            &mut out,
        );
        watch.ended(KTime(2 * SECOND), SOCKET, 9000, |_| None, &mut out);
        assert_eq!(states(&out), [false]);
    }

    #[test]
    fn quic_is_named() {
        let mut watch = TlsWatch::default();
        let mut out = Vec::new();
        watch.began(KTime(0), process(), SOCKET, &[0xc3, 0, 0, 0, 1]);
        watch.progress(KTime(SECOND), SOCKET, 2400, |_| None, &mut out);
        assert!(matches!(
            &out[0].body,
            EventBody::TlsConnection(connection) if connection.reason.as_deref() == Some(QUIC)
        ));
    }

    #[test]
    fn a_connection_that_is_read_is_not_dark() {
        let mut watch = TlsWatch::default();
        let mut out = Vec::new();
        watch.began(KTime(0), process(), SOCKET, &[22, 3, 1]);
        watch.is_read(KTime(1), SOCKET, &mut out);
        watch.is_read(KTime(2), SOCKET, &mut out);
        watch.progress(KTime(SECOND), SOCKET, 5000, |_| None, &mut out);
        watch.ended(KTime(2 * SECOND), SOCKET, 5000, |_| None, &mut out);
        assert_eq!(states(&out), [true]);
    }

    #[test]
    fn a_short_connection_is_judged_at_its_end() {
        let mut watch = TlsWatch::default();
        let mut out = Vec::new();
        watch.began(KTime(0), process(), SOCKET, &[22, 3, 1]);
        watch.ended(KTime(1), SOCKET, 5000, |_| None, &mut out);
        assert_eq!(states(&out), [false]);
        watch.ended(KTime(2), SOCKET, 5000, |_| None, &mut out);
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let mut watch = TlsWatch::default();
        for number in 0..=MAX_CONNECTIONS as u64 {
            watch.began(KTime(number), process(), SocketId(number), &[]);
        }
        assert_eq!(watch.connections.len(), MAX_CONNECTIONS);
        assert!(!watch.connections.contains_key(&SocketId(0)));
    }
}
