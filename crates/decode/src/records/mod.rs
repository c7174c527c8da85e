//! Kernel records to events.
//!
//! One file a domain, one function a kind, found by the kind's number in `KINDS`. Most records stand
//! for themselves; an argument vector too long for one record and the numbered chunks of a TLS stream
//! need memory, which [`Decoder`] holds and bounds.

mod act;
mod channel;
mod file;
mod names;
mod network;
mod path;
mod process;
mod tls;

use std::collections::{BTreeMap, HashMap};

use agentsight_model::{
    ChannelData, Event, EventBody, EventClass, KTime, Payload, PayloadEnd, ProcessKey, SocketId,
    StreamKey,
};
use agentsight_wire::{self as wire, WireError, rec_header};

pub use file::totals as file_totals;
pub use network::totals as socket_totals;
use process::PendingExec;

/// What one record becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A fact.
    Event(Event),
    /// Plaintext of a stream.
    Payload(Payload),
    /// Bytes that went through a pipe, a unix socket or a terminal.
    Channel(ChannelData),
    /// The monitor's own call, by its number: the sensor sees.
    Canary(u64),
    /// The end of a stream.
    StreamEnded(PayloadEnd),
    /// A TLS handshake ended; `succeeded` says how.
    Handshake {
        /// When.
        time: KTime,
        /// The TLS object.
        stream: StreamKey,
        /// Whether a connection was made.
        succeeded: bool,
    },
    /// Plaintext of a socket is seen from now on.
    SocketBound {
        /// When.
        time: KTime,
        /// The process that uses it.
        process: ProcessKey,
        /// The socket.
        socket: SocketId,
        /// The TLS object whose plaintext travels over it.
        stream: StreamKey,
    },
    /// A process began a TLS connection as its client.
    Hello {
        /// When.
        time: KTime,
        /// The process.
        process: ProcessKey,
        /// The connection's socket.
        socket: SocketId,
        /// The beginning of the first TLS record.
        bytes: Vec<u8>,
    },
}

/// A record that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Its form is wrong.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Its kind is not one of this version.
    #[error("unknown record kind {0}")]
    UnknownKind(u16),
    /// It names a socket family or protocol that is not one of those that are watched.
    #[error("record names an address of family {family} or a protocol {protocol}")]
    Address {
        /// Address family.
        family: u16,
        /// IP protocol.
        protocol: u32,
    },
}

type Handler = fn(&mut Decoder, &rec_header, &[u8], &mut Vec<Item>) -> Result<(), RecordError>;

/// Every kind and what reads it.
const KINDS: &[(u32, Handler)] = &[
    (wire::EV_PROCESS_FORK, process::fork),
    (wire::EV_PROCESS_EXEC, process::exec),
    (wire::EV_PROCESS_ARGV, process::argv),
    (wire::EV_PROCESS_EXIT, process::exit),
    (wire::EV_FILE_OPEN, file::open),
    (wire::EV_FILE_DELETE, file::delete),
    (wire::EV_FILE_RENAME, file::rename),
    (wire::EV_NETWORK_CONNECT, network::socket),
    (wire::EV_NETWORK_ACCEPT, network::socket),
    (wire::EV_NETWORK_LISTEN, network::socket),
    (wire::EV_NETWORK_CLOSE, network::socket),
    (wire::EV_TLS_DATA, tls::data),
    (wire::EV_TLS_HANDSHAKE, tls::handshake),
    (wire::EV_TLS_FREE, tls::free),
    (wire::EV_IMAGE_MAPPED, ignore),
    (wire::EV_FILE_USE, file::replaced_use),
    (wire::EV_TLS_SOCKET, tls::socket),
    (wire::EV_TLS_HELLO, tls::hello),
    (wire::EV_CHANNEL_OPEN, channel::open),
    (wire::EV_CHANNEL_DATA, channel::data),
    (wire::EV_ACT, act::act),
    (wire::EV_DNS, act::dns),
    (wire::EV_CANARY, act::canary),
];

/// Turns records, in the order of their times, into items.
#[derive(Debug)]
pub struct Decoder {
    page_bytes: u64,
    /// Execs whose argument vector is not complete yet, by thread.
    pending_execs: HashMap<u32, PendingExec>,
    streams: HashMap<ProcessKey, tls::ProcessStreams>,
    streams_of_sockets: tls::StreamsOfSockets,
    flows: channel::Flows,
    received: BTreeMap<EventClass, u64>,
    malformed: BTreeMap<EventClass, u64>,
}

impl Decoder {
    /// A decoder for a machine with pages of `page_bytes`.
    #[must_use]
    pub fn new(page_bytes: u64) -> Self {
        Self {
            page_bytes,
            pending_execs: HashMap::new(),
            streams: HashMap::new(),
            streams_of_sockets: tls::StreamsOfSockets::new(),
            flows: channel::Flows::default(),
            received: BTreeMap::new(),
            malformed: BTreeMap::new(),
        }
    }

    /// Decodes one record. A record that means nothing is counted and reported; the next one is not
    /// affected by it.
    ///
    /// # Errors
    /// The record is not what its kind asks for, or its kind is unknown.
    pub fn decode(&mut self, bytes: &[u8], out: &mut Vec<Item>) -> Result<(), RecordError> {
        let header = wire::header(bytes)?;
        let class = class_of(header);
        let result = KINDS
            .iter()
            .find(|(kind, _)| *kind == u32::from(header.kind))
            .ok_or(RecordError::UnknownKind(header.kind))
            .and_then(|(_, handler)| handler(self, header, bytes, out));
        let counters = if result.is_ok() {
            &mut self.received
        } else {
            &mut self.malformed
        };
        let count = counters.entry(class).or_default();
        *count = count.saturating_add(1);
        result
    }

    /// Hands out what still waits for more: call it when no more records will come.
    pub fn finish(&mut self, out: &mut Vec<Item>) {
        out.extend(self.pending_execs.drain().map(|(_, pending)| pending.cut()));
        tls::finish(self, out);
    }

    /// Records decoded, by class.
    #[must_use]
    pub fn received(&self) -> &BTreeMap<EventClass, u64> {
        &self.received
    }

    /// Records that meant nothing, by class.
    #[must_use]
    pub fn malformed(&self) -> &BTreeMap<EventClass, u64> {
        &self.malformed
    }
}

fn ignore(_: &mut Decoder, _: &rec_header, _: &[u8], _: &mut Vec<Item>) -> Result<(), RecordError> {
    // For the sensor, which attaches probes to the image, and not for the record.
    Ok(())
}

fn class_of(header: &rec_header) -> EventClass {
    EventClass::ALL
        .into_iter()
        .find(|class| *class as u8 == header.class)
        .unwrap_or(EventClass::Process)
}

fn process_of(header: &rec_header) -> ProcessKey {
    ProcessKey {
        tgid: header.tgid,
        start_ns: header.start_ns,
    }
}

fn event(header: &rec_header, body: EventBody) -> Item {
    Item::Event(Event {
        time: KTime(header.ktime_ns),
        process: process_of(header),
        body,
    })
}

fn has_flag(header: &rec_header, flag: u32) -> bool {
    u32::from(header.flags) & flag != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    /// The kinds of `wire.h` are numbered without gaps; each has a line in `KINDS`.
    #[test]
    fn every_kind_has_a_decoder() {
        let last = KINDS.iter().map(|(kind, _)| *kind).max().unwrap();
        for kind in 1..=last {
            assert!(
                KINDS.iter().any(|(known, _)| *known == kind),
                "records/mod.rs has no line in KINDS for kind {kind}"
            );
        }
        let generated = include_str!("../../../wire/src/generated.rs");
        let defined = generated
            .lines()
            .filter(|line| line.contains("pub const EV_"))
            .count();
        assert_eq!(
            defined - 1,
            KINDS.len(),
            "a kind of wire.h is missing in KINDS"
        );
    }

    #[test]
    fn an_unknown_kind_is_counted() {
        let header = rec_header {
            kind: 999,
            ..rec_header::default()
        };
        let mut decoder = Decoder::new(4096);
        let error = decoder
            .decode(header.as_bytes(), &mut Vec::new())
            .unwrap_err();
        assert_eq!(error, RecordError::UnknownKind(999));
        assert_eq!(decoder.malformed()[&EventClass::Process], 1);
    }

    proptest! {
        /// Whatever the bytes, the decoder answers, and counts what it was given.
        #[test]
        fn no_bytes_break_it(
            kind in 0_u16..27,
            class in 0_u8..6,
            flags: u8,
            words in proptest::collection::vec(any::<u64>(), 0..64),
        ) {
            let header = rec_header { kind, class, flags, ..rec_header::default() };
            let mut record: Vec<u64> = header
                .as_bytes()
                .chunks_exact(8)
                .map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap()))
                .collect();
            record.extend(&words);
            let mut decoder = Decoder::new(4096);
            let mut out = Vec::new();
            let _ = decoder.decode(record.as_bytes(), &mut out);
            decoder.finish(&mut out);
            let counted: u64 =
                decoder.received().values().chain(decoder.malformed().values()).sum();
            prop_assert_eq!(counted, 1);
        }
    }
}
