//! Plaintext of TLS streams, in numbered chunks.

use agentsight_model::{Direction, KTime, Payload, PayloadEnd, StreamKey};
use agentsight_wire::{self as wire, rec_header, tls_data_rec, tls_object_rec};

use super::{Decoder, Item, RecordError, process_of};

/// Streams of one process that are followed at a time. Beyond it the oldest knowledge is dropped, so that
/// a hole in one of them would not be noticed by its offsets.
const MAX_STREAMS: usize = 65_536;

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
    if streams.len() >= MAX_STREAMS {
        streams.clear();
    }
    let offsets = streams.entry(record.object).or_insert([0, 0]);
    let mut missing_bytes = 0;
    if let Some(expected) = offsets.get_mut(side) {
        missing_bytes = record.offset.saturating_sub(*expected);
        *expected = record.offset.saturating_add(u64::from(record.bytes));
    }
    out.push(Item::Payload(Payload {
        time: KTime(header.ktime_ns),
        stream: StreamKey {
            process,
            object: record.object,
        },
        tid: header.tid,
        direction,
        missing_bytes,
        bytes: bytes.to_vec(),
    }));
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
        stream: StreamKey {
            process: process_of(header),
            object: record.object,
        },
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
    // An object that carried nothing was never a stream.
    let known = decoder
        .streams
        .get_mut(&process)
        .is_some_and(|streams| streams.remove(&record.object).is_some());
    if known {
        out.push(Item::StreamEnded(PayloadEnd {
            time: KTime(header.ktime_ns),
            stream: StreamKey {
                process,
                object: record.object,
            },
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn chunk(direction: u32, offset: u64) -> Vec<u64> {
        let record = tls_data_rec {
            header: rec_header {
                kind: wire::EV_TLS_DATA as u16,
                ..rec_header::default()
            },
            object: 0x10,
            offset,
            bytes: 8,
            direction: direction as u8,
            ..tls_data_rec::default()
        };
        let mut bytes = record.as_bytes().to_vec();
        bytes.extend_from_slice(b"12345678");
        bytes
            .chunks_exact(8)
            .map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn a_hole_shows_by_its_offset_and_directions_are_apart() {
        let mut decoder = Decoder::new(4096);
        let mut out = Vec::new();
        for record in [
            chunk(wire::TLS_SENT, 0),
            chunk(wire::TLS_RECEIVED, 0),
            chunk(wire::TLS_SENT, 8),
            chunk(wire::TLS_SENT, 20),
            chunk(wire::TLS_RECEIVED, 8),
        ] {
            decoder.decode(record.as_bytes(), &mut out).unwrap();
        }
        let missing: Vec<u64> = out
            .iter()
            .map(|item| match item {
                Item::Payload(payload) => payload.missing_bytes,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(missing, [0, 0, 0, 4, 0]);
    }
}
