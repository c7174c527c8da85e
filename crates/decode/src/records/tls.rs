//! Plaintext of TLS streams, in numbered chunks, and the sockets that carry them.
//!
//! Where a library's record layer is probed, each direction of a connection has an object of its own, and
//! only the socket says which two belong together. What such an object sends before its socket is known
//! waits here, in order and bounded.

use std::collections::HashMap;

use agentsight_model::{Direction, KTime, Payload, PayloadEnd, ProcessKey, SocketId, StreamKey};
use agentsight_wire::{
    self as wire, rec_header, tls_data_rec, tls_hello_rec, tls_object_rec, tls_socket_rec,
};

use super::{Decoder, Item, RecordError, process_of};

/// Objects of one process that are followed at a time. Beyond it the knowledge of all of them is dropped,
/// so that a hole in one of them would not be noticed by its offsets.
const MAX_OBJECTS: usize = 65_536;
/// Bytes that wait for their socket, of all objects of a process. Beyond it the object stands for itself.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// What is known of the TLS objects of one process.
#[derive(Debug, Default)]
pub(super) struct ProcessStreams {
    objects: HashMap<u64, Object>,
    waiting_bytes: usize,
}

#[derive(Debug, Default)]
struct Object {
    /// How far it has come, by direction.
    offsets: [u64; 2],
    socket: Option<u64>,
    /// Payload that waits for the socket.
    waiting: Vec<Payload>,
}

/// Which streams end with a socket.
pub(super) type StreamsOfSockets = HashMap<u64, Vec<StreamKey>>;

fn key(process: ProcessKey, object: u64) -> StreamKey {
    StreamKey { process, object }
}

pub(super) fn data(
    decoder: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, mut pieces) = wire::fixed::<tls_data_rec>(bytes, header.kind)?;
    let bytes = pieces.take(record.bytes)?;
    let (direction, side) = if u32::from(record.direction) == wire::TLS_SENT {
        (Direction::Sent, 0)
    } else {
        (Direction::Received, 1)
    };
    let process = process_of(header);
    let streams = decoder.streams.entry(process).or_default();
    if streams.objects.len() >= MAX_OBJECTS {
        *streams = ProcessStreams::default();
    }
    let object = streams.objects.entry(record.object).or_default();
    let mut missing_bytes = 0;
    if let Some(expected) = object.offsets.get_mut(side) {
        missing_bytes = record.offset.saturating_sub(*expected);
        *expected = record.offset.saturating_add(u64::from(record.bytes));
    }
    let time = KTime(header.ktime_ns);
    let stream = key(process, record.object);
    // The kernel side knows best: an object's memory may be another connection's by now.
    let socket = Some(record.socket).filter(|&socket| socket != 0);
    let former = std::mem::replace(&mut object.socket, socket);
    if former != socket {
        leaves(&mut decoder.streams_of_sockets, former, time, stream, out);
    }
    let layer = u32::from(record.layer);
    let mut payload = Payload {
        time,
        stream,
        tid: header.tid,
        direction,
        cleartext: layer == wire::LAYER_CLEARTEXT,
        missing_bytes,
        bytes: bytes.to_vec(),
    };
    if layer == wire::LAYER_RECORD || layer == wire::LAYER_THREAD {
        // What a thread encrypts goes to whichever connection it writes next.
        match object.socket.filter(|_| layer == wire::LAYER_RECORD) {
            Some(socket) => payload.stream.object = socket,
            None if streams.waiting_bytes.saturating_add(bytes.len()) <= MAX_WAITING_BYTES => {
                streams.waiting_bytes = streams.waiting_bytes.saturating_add(bytes.len());
                object.waiting.push(payload);
                return Ok(());
            }
            None => {}
        }
    }
    if let Some(socket) = object.socket {
        ends_with(&mut decoder.streams_of_sockets, socket, payload.stream);
    }
    out.push(Item::Payload(payload));
    Ok(())
}

fn ends_with(sockets: &mut StreamsOfSockets, socket: u64, stream: StreamKey) {
    if sockets.len() >= MAX_OBJECTS {
        sockets.clear();
    }
    let streams = sockets.entry(socket).or_default();
    if !streams.contains(&stream) {
        streams.push(stream);
    }
}

/// Ends a stream whose socket was closed and whose object serves another connection: the socket itself
/// may end much later, when the other side has answered.
fn leaves(
    sockets: &mut StreamsOfSockets,
    former: Option<u64>,
    time: KTime,
    stream: StreamKey,
    out: &mut Vec<Item>,
) {
    let Some(streams) = former.and_then(|socket| sockets.get_mut(&socket)) else {
        return;
    };
    let count = streams.len();
    streams.retain(|other| *other != stream);
    if streams.len() < count {
        out.push(Item::StreamEnded(PayloadEnd { time, stream }));
    }
}

pub(super) fn socket(
    decoder: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, _) = wire::fixed::<tls_socket_rec>(bytes, header.kind)?;
    let process = process_of(header);
    let streams = decoder.streams.entry(process).or_default();
    let object = streams.objects.entry(record.object).or_default();
    let time = KTime(header.ktime_ns);
    let former = object.socket.replace(record.socket);
    if former != Some(record.socket) {
        let stream = key(process, record.object);
        leaves(&mut decoder.streams_of_sockets, former, time, stream, out);
    }
    out.push(Item::SocketBound {
        time,
        process,
        socket: SocketId(record.socket),
        stream: key(process, record.object),
    });
    for mut payload in object.waiting.drain(..) {
        streams.waiting_bytes = streams.waiting_bytes.saturating_sub(payload.bytes.len());
        payload.stream.object = record.socket;
        ends_with(
            &mut decoder.streams_of_sockets,
            record.socket,
            payload.stream,
        );
        out.push(Item::Payload(payload));
    }
    Ok(())
}

/// Ends the streams that a socket carried.
pub(super) fn socket_closed(decoder: &mut Decoder, time: KTime, socket: u64, out: &mut Vec<Item>) {
    for stream in decoder
        .streams_of_sockets
        .remove(&socket)
        .unwrap_or_default()
    {
        if let Some(streams) = decoder.streams.get_mut(&stream.process) {
            // The kernel side goes on counting where an object's memory is used again.
            if let Some(object) = streams.objects.get_mut(&stream.object) {
                object.socket = None;
            }
        }
        out.push(Item::StreamEnded(PayloadEnd { time, stream }));
    }
}

/// Hands out what still waits for its socket.
pub(super) fn finish(decoder: &mut Decoder, out: &mut Vec<Item>) {
    for streams in decoder.streams.values_mut() {
        release(streams, out);
    }
}

fn release(streams: &mut ProcessStreams, out: &mut Vec<Item>) {
    let waiting = streams
        .objects
        .values_mut()
        .flat_map(|object| object.waiting.drain(..));
    out.extend(waiting.map(Item::Payload));
    streams.waiting_bytes = 0;
}

/// A process's memory is another one from now on, or gone: its TLS objects with it.
pub(super) fn forget(decoder: &mut Decoder, process: ProcessKey, out: &mut Vec<Item>) {
    if let Some(mut streams) = decoder.streams.remove(&process) {
        release(&mut streams, out);
    }
}

pub(super) fn hello(
    _: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, mut pieces) = wire::fixed::<tls_hello_rec>(bytes, header.kind)?;
    out.push(Item::Hello {
        time: KTime(header.ktime_ns),
        process: process_of(header),
        socket: SocketId(record.socket),
        bytes: pieces.take(record.bytes)?.to_vec(),
    });
    Ok(())
}

pub(super) fn handshake(
    _: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, _) = wire::fixed::<tls_object_rec>(bytes, header.kind)?;
    out.push(Item::Handshake {
        time: KTime(header.ktime_ns),
        stream: key(process_of(header), record.object),
        succeeded: record.result == 1,
    });
    Ok(())
}

pub(super) fn free(
    decoder: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, _) = wire::fixed::<tls_object_rec>(bytes, header.kind)?;
    let process = process_of(header);
    let freed = decoder
        .streams
        .get_mut(&process)
        .and_then(|streams| streams.objects.remove(&record.object));
    // An object that carried nothing was never a stream.
    if let Some(object) = freed {
        let stream = key(process, record.object);
        if let Some(streams) = object
            .socket
            .and_then(|socket| decoder.streams_of_sockets.get_mut(&socket))
        {
            streams.retain(|other| *other != stream);
        }
        out.extend(object.waiting.into_iter().map(Item::Payload));
        out.push(Item::StreamEnded(PayloadEnd {
            time: KTime(header.ktime_ns),
            stream,
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    const SOCKET: u64 = 0xffff_8880_0000_0040;

    fn header(kind: u32) -> rec_header {
        rec_header {
            kind: kind as u16,
            ..rec_header::default()
        }
    }

    fn words(fixed: &[u8], tail: &[u8]) -> Vec<u64> {
        [fixed, tail]
            .concat()
            .chunks_exact(8)
            .map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap()))
            .collect()
    }

    fn chunk(object: u64, layer: u32, direction: u32, offset: u64) -> Vec<u64> {
        chunk_of(0, object, layer, direction, offset)
    }

    /// A chunk whose socket the kernel side knows.
    fn chunk_of(socket: u64, object: u64, layer: u32, direction: u32, offset: u64) -> Vec<u64> {
        let record = tls_data_rec {
            header: header(wire::EV_TLS_DATA),
            object,
            socket,
            offset,
            bytes: 8,
            direction: direction as u8,
            layer: layer as u8,
            ..tls_data_rec::default()
        };
        words(record.as_bytes(), b"12345678")
    }

    fn bound(object: u64) -> Vec<u64> {
        let record = tls_socket_rec {
            header: header(wire::EV_TLS_SOCKET),
            object,
            socket: SOCKET,
        };
        words(record.as_bytes(), b"")
    }

    fn closed() -> Vec<u64> {
        let record = wire::network_rec {
            header: header(wire::EV_NETWORK_CLOSE),
            socket: SOCKET,
            protocol: 6,
            ..wire::network_rec::default()
        };
        words(record.as_bytes(), b"")
    }

    fn decode(records: &[Vec<u64>]) -> Vec<Item> {
        let mut decoder = Decoder::new(4096);
        let mut out = Vec::new();
        for record in records {
            decoder.decode(record.as_bytes(), &mut out).unwrap();
        }
        decoder.finish(&mut out);
        out
    }

    fn payloads(items: &[Item]) -> Vec<&Payload> {
        items
            .iter()
            .filter_map(|item| match item {
                Item::Payload(payload) => Some(payload),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_hole_shows_by_its_offset_and_directions_are_apart() {
        let items = decode(&[
            chunk(1, wire::LAYER_STREAM, wire::TLS_SENT, 0),
            chunk(1, wire::LAYER_STREAM, wire::TLS_RECEIVED, 0),
            chunk(1, wire::LAYER_STREAM, wire::TLS_SENT, 8),
            chunk(1, wire::LAYER_STREAM, wire::TLS_SENT, 20),
            chunk(1, wire::LAYER_STREAM, wire::TLS_RECEIVED, 8),
        ]);
        let missing: Vec<u64> = payloads(&items).iter().map(|p| p.missing_bytes).collect();
        assert_eq!(missing, [0, 0, 0, 4, 0]);
    }

    #[test]
    fn two_directions_meet_at_their_socket() {
        let items = decode(&[
            chunk(1, wire::LAYER_RECORD, wire::TLS_SENT, 0),
            bound(1),
            bound(2),
            chunk_of(SOCKET, 2, wire::LAYER_RECORD, wire::TLS_RECEIVED, 0),
            chunk_of(SOCKET, 1, wire::LAYER_RECORD, wire::TLS_SENT, 8),
            closed(),
        ]);
        let objects: Vec<u64> = payloads(&items).iter().map(|p| p.stream.object).collect();
        assert_eq!(objects, [SOCKET; 3]);
        let ends = items
            .iter()
            .filter(|item| matches!(item, Item::StreamEnded(_)))
            .count();
        assert_eq!(ends, 1);
    }

    #[test]
    fn an_object_whose_memory_is_used_again_waits_for_its_new_socket() {
        let items = decode(&[
            bound(1),
            chunk_of(SOCKET, 1, wire::LAYER_RECORD, wire::TLS_SENT, 0),
            closed(),
            chunk(1, wire::LAYER_RECORD, wire::TLS_SENT, 8),
        ]);
        assert!(matches!(items.last(), Some(Item::Payload(payload)) if payload.stream.object == 1));
        assert!(matches!(items[2], Item::StreamEnded(_)));
    }

    #[test]
    fn what_never_gets_a_socket_comes_out_at_the_end() {
        let items = decode(&[chunk(1, wire::LAYER_RECORD, wire::TLS_SENT, 0)]);
        assert_eq!(payloads(&items).len(), 1);
    }

    #[test]
    fn a_stream_ends_with_its_socket() {
        let items = decode(&[
            bound(1),
            chunk_of(SOCKET, 1, wire::LAYER_STREAM, wire::TLS_SENT, 0),
            closed(),
        ]);
        assert!(matches!(
            items.as_slice(),
            [
                Item::SocketBound { .. },
                Item::Payload(_),
                Item::StreamEnded(_),
                Item::Event(_)
            ]
        ));
    }

    #[test]
    fn a_stream_ends_when_its_object_serves_another_socket() {
        const OTHER: u64 = SOCKET + 64;
        let data =
            |socket, offset| chunk_of(socket, 1, wire::LAYER_STREAM, wire::TLS_RECEIVED, offset);
        for next in [0, OTHER] {
            let items = decode(&[
                bound(1),
                data(SOCKET, 0),
                data(next, 8),
                data(OTHER, 16),
                closed(),
                data(OTHER, 24),
            ]);
            let order: String = items
                .iter()
                .filter_map(|item| match item {
                    Item::Payload(_) => Some('p'),
                    Item::StreamEnded(_) => Some('e'),
                    _ => None,
                })
                .collect();
            assert_eq!(order, "peppp", "{next:#x}");
            assert!(payloads(&items).iter().all(|p| p.missing_bytes == 0));
        }
    }
}
