//! Which TLS connections of the tree are read and which are dark.
//!
//! A connection is known by its first bytes, and is read once plaintext of it has been seen. One that has
//! carried data for a while without that is dark: it is reported with the server's name, so that silence is
//! never taken for quiet. So is one, when it ends, of which only part was seen: what was sent is held against
//! the plaintext, as a probe may be gone from one process (which may take it out of its own memory) or from all.
//! A connection may turn out to be read later; the last report of a socket holds.

use std::collections::HashMap;

use agentsight_decode::tls_hello::{self, ClientHello};
use agentsight_model::{
    Direction, Event, EventBody, KTime, Payload, ProcessKey, SocketId, StreamKey, TlsConnection,
};

/// Time that plaintext has to show up.
const PATIENCE_NS: u64 = 700_000_000;
/// Bytes that most clients send at most beyond their first message before any data: the end of the
/// handshake, in TLS 1.2 with a key share before it. The smallest request that makes sense is longer, and
/// must count. A longer handshake (with a certificate of the client) is taken for data: without a function
/// that carried it the connection cannot be read all the same.
const HANDSHAKE_BYTES: u64 = 100;
/// The same of a connection whose TLS object is known: only its handshake was seen, so that what is not read
/// may be a certificate of the client.
const LONG_HANDSHAKE_BYTES: u64 = 16 << 10;
/// What TLS may add to each piece of plaintext: a record's head, nonce, tag and padding, twice (TLS 1.0 sends the
/// first byte apart).
const RECORD_OVERHEAD_BYTES: u64 = 128;
/// Bytes beyond all that that may be sent without plaintext: handshakes after the handshake, session tickets.
const UNREAD_BYTES: u64 = 16 << 10;
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
    /// Whether its TLS object is known.
    is_bound: bool,
    is_read: bool,
    is_reported_dark: bool,
    sent: Plaintext,
}

/// Plaintext that was seen.
#[derive(Clone, Copy, Debug, Default)]
struct Plaintext {
    bytes: u64,
    pieces: u64,
}

impl Plaintext {
    fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.pieces = self.pieces.saturating_add(other.pieces);
    }

    /// The most that it may take on the wire.
    fn on_the_wire(self) -> u64 {
        let overhead = self.pieces.saturating_mul(RECORD_OVERHEAD_BYTES);
        self.bytes.saturating_add(overhead)
    }
}

/// A TLS object.
#[derive(Debug, Default)]
struct Object {
    socket: Option<SocketId>,
    /// Plaintext whose socket was not known yet.
    sent: Plaintext,
    is_read: bool,
}

/// The TLS connections of one session.
#[derive(Debug, Default)]
pub struct TlsWatch {
    connections: HashMap<SocketId, Connection>,
    objects: HashMap<StreamKey, Object>,
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
                is_bound: false,
                is_read: false,
                is_reported_dark: false,
                sent: Plaintext::default(),
            },
        );
    }

    /// The object's plaintext travels over the socket.
    pub fn bound(
        &mut self,
        time: KTime,
        stream: StreamKey,
        socket: SocketId,
        out: &mut Vec<Event>,
    ) {
        let Some(object) = self.object(stream) else {
            return;
        };
        object.socket = Some(socket);
        let sent = std::mem::take(&mut object.sent);
        let is_read = std::mem::take(&mut object.is_read);
        if let Some(connection) = self.connections.get_mut(&socket) {
            connection.is_bound = true;
            credit(connection, socket, time, sent, is_read, out);
        }
    }

    /// Plaintext was seen.
    pub fn plaintext(&mut self, payload: &Payload, out: &mut Vec<Event>) {
        if payload.cleartext || payload.bytes.is_empty() {
            return;
        }
        let mut sent = Plaintext::default();
        if payload.direction == Direction::Sent {
            sent.bytes = payload.bytes.len() as u64;
            sent.pieces = 1;
        }
        // Each direction of a record layer's has an object of its own; they are named by their socket.
        let direct = SocketId(payload.stream.object);
        let socket = if self.connections.contains_key(&direct) {
            direct
        } else {
            let Some(object) = self.object(payload.stream) else {
                return;
            };
            match object.socket {
                Some(socket) => socket,
                None => {
                    object.sent.add(sent);
                    object.is_read = true;
                    return;
                }
            }
        };
        if let Some(connection) = self.connections.get_mut(&socket) {
            credit(connection, socket, payload.time, sent, true, out);
        }
    }

    /// The object is gone, or serves another connection from now on.
    pub fn object_ended(&mut self, stream: StreamKey) {
        self.objects.remove(&stream);
    }

    /// The entry of an object. Beyond the limit, unknown ones are not followed: their connections may be said to
    /// be dark, which is the safe side.
    fn object(&mut self, stream: StreamKey) -> Option<&mut Object> {
        if self.objects.len() >= MAX_CONNECTIONS && !self.objects.contains_key(&stream) {
            return None;
        }
        Some(self.objects.entry(stream).or_default())
    }

    /// The socket has sent so much by now. `reason` is asked for what is known of the process's TLS library if the
    /// connection is dark. A connection that is read is judged at its end: plaintext comes when the call that
    /// sends it returns, which may be long after its first bytes were sent.
    pub fn progress(
        &mut self,
        time: KTime,
        socket: SocketId,
        sent_bytes: u64,
        reason: impl FnOnce(ProcessKey) -> Option<String>,
        out: &mut Vec<Event>,
    ) {
        if let Some(connection) = self.connections.get_mut(&socket)
            && !connection.is_read
            && time.since(connection.began) >= PATIENCE_NS
        {
            judge(connection, socket, time, sent_bytes, reason, out);
        }
    }

    /// The socket was closed after it had sent so much. Returns whose plaintext went missing of a connection that
    /// was read, if it did.
    pub fn ended(
        &mut self,
        time: KTime,
        socket: SocketId,
        sent_bytes: u64,
        reason: impl FnOnce(ProcessKey) -> Option<String>,
        out: &mut Vec<Event>,
    ) -> Option<ProcessKey> {
        let mut connection = self.connections.remove(&socket)?;
        judge(&mut connection, socket, time, sent_bytes, reason, out).then_some(connection.process)
    }
}

/// Plaintext of the connection was seen.
fn credit(
    connection: &mut Connection,
    socket: SocketId,
    time: KTime,
    sent: Plaintext,
    is_read: bool,
    out: &mut Vec<Event>,
) {
    connection.sent.add(sent);
    if is_read && !connection.is_read {
        connection.is_read = true;
        out.push(report(connection, socket, time, true, None));
    }
}

/// Returns whether plaintext went missing of a connection that was read.
fn judge(
    connection: &mut Connection,
    socket: SocketId,
    time: KTime,
    sent_bytes: u64,
    reason: impl FnOnce(ProcessKey) -> Option<String>,
    out: &mut Vec<Event>,
) -> bool {
    if connection.is_reported_dark {
        return false;
    }
    let handshake = if connection.is_bound {
        LONG_HANDSHAKE_BYTES
    } else {
        HANDSHAKE_BYTES
    };
    let opening = connection.hello_bytes.saturating_add(handshake);
    let reason = if connection.is_read {
        let explained = opening
            .saturating_add(connection.sent.on_the_wire())
            .saturating_add(UNREAD_BYTES);
        if sent_bytes <= explained {
            return false;
        }
        let bytes = connection.sent.bytes;
        Some(format!(
            "of {sent_bytes} bytes sent, only {bytes} were seen as plaintext: the functions that carry it \
             are not read any more"
        ))
    } else if sent_bytes <= opening {
        return false;
    } else if connection.is_quic {
        Some(QUIC.to_owned())
    } else {
        reason(connection.process)
    };
    connection.is_reported_dark = true;
    out.push(report(connection, socket, time, false, reason));
    connection.is_read
}

fn report(
    connection: &Connection,
    socket: SocketId,
    time: KTime,
    plaintext: bool,
    reason: Option<String>,
) -> Event {
    Event {
        time,
        process: connection.process,
        body: EventBody::TlsConnection(Box::new(TlsConnection {
            socket,
            server_name: connection.hello.server_name.clone(),
            alpn: connection.hello.alpn.clone(),
            encrypted_hello: connection.hello.is_encrypted,
            plaintext,
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

    const STREAM: StreamKey = StreamKey {
        process: ProcessKey {
            tgid: 1,
            start_ns: 1,
        },
        object: 0xabc,
    };

    fn payload(direction: Direction, bytes: usize) -> Payload {
        Payload {
            time: KTime(1),
            stream: STREAM,
            tid: 1,
            direction,
            cleartext: false,
            missing_bytes: 0,
            bytes: vec![b'x'; bytes],
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
        watch.plaintext(&payload(Direction::Sent, 4000), &mut out);
        assert!(out.is_empty(), "whose it is is not known yet");
        watch.bound(KTime(1), STREAM, SOCKET, &mut out);
        watch.plaintext(&payload(Direction::Received, 4000), &mut out);
        watch.progress(KTime(SECOND), SOCKET, 5000, |_| None, &mut out);
        watch.ended(KTime(2 * SECOND), SOCKET, 5000, |_| None, &mut out);
        assert_eq!(states(&out), [true]);
    }

    #[test]
    fn a_handshake_alone_is_no_plaintext() {
        let mut watch = TlsWatch::default();
        let mut out = Vec::new();
        watch.began(KTime(0), process(), SOCKET, &[22, 3, 1]);
        watch.bound(KTime(1), STREAM, SOCKET, &mut out);
        // With a certificate of the client.
        watch.progress(KTime(SECOND), SOCKET, 6_000, |_| None, &mut out);
        assert!(out.is_empty());
        watch.progress(KTime(2 * SECOND), SOCKET, 600_000, |_| None, &mut out);
        assert_eq!(states(&out), [false]);
    }

    #[test]
    fn a_connection_of_which_only_the_beginning_is_seen_is_dark() {
        let mut watch = TlsWatch::default();
        let mut out = Vec::new();
        watch.began(KTime(0), process(), SOCKET, &[22, 3, 1]);
        watch.bound(KTime(1), STREAM, SOCKET, &mut out);
        for _ in 0..1000 {
            watch.plaintext(&payload(Direction::Sent, 10), &mut out);
        }
        // Small pieces take many times their size. A long write is in progress.
        let sent = 1000 * (10 + 29 + 53);
        watch.progress(KTime(SECOND), SOCKET, sent + 200_000, |_| None, &mut out);
        assert_eq!(states(&out), [true]);
        let lost = watch.ended(
            KTime(2 * SECOND),
            SOCKET,
            sent + 200_000,
            |_| None,
            &mut out,
        );
        assert_eq!(lost, Some(process()));
        assert_eq!(states(&out), [true, false]);
    }

    #[test]
    fn a_connection_of_small_pieces_is_read_whole() {
        let mut watch = TlsWatch::default();
        let mut out = Vec::new();
        watch.began(KTime(0), process(), SOCKET, &[22, 3, 1]);
        watch.bound(KTime(1), STREAM, SOCKET, &mut out);
        for _ in 0..1000 {
            watch.plaintext(&payload(Direction::Sent, 10), &mut out);
        }
        let sent = 1000 * (10 + 29 + 53);
        assert_eq!(
            watch.ended(KTime(SECOND), SOCKET, sent, |_| None, &mut out),
            None
        );
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
