//! Pipes, unix sockets and terminals: who is at which end, and what goes through.

use std::collections::HashMap;

use agentsight_model::{Channel, ChannelData, ChannelKind, Direction, EventBody, IpcPipe, KTime};
use agentsight_wire::{self as wire, channel_data_rec, channel_open_rec, rec_header};

use super::{Decoder, Item, RecordError, event, file::access, path, process_of};

/// Flows whose position is remembered. Beyond it all are forgotten, and a hole in one of them may not be
/// noticed.
const MAX_FLOWS: usize = 65_536;

/// How far each flow has come, and when it began: numbers of pipes and sockets are used again, some day.
#[derive(Debug, Default)]
pub(super) struct Flows(HashMap<(ChannelKind, u64, bool), (u64, u64)>);

fn kind(number: u32) -> ChannelKind {
    match number {
        wire::CHANNEL_UNIX => ChannelKind::Unix,
        wire::CHANNEL_TERMINAL => ChannelKind::Terminal,
        _ => ChannelKind::Pipe,
    }
}

pub(super) fn open(
    _: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, mut pieces) = wire::fixed::<channel_open_rec>(bytes, header.kind)?;
    let components = pieces.take(record.path_bytes)?;
    // A pipe without a name is the root of a file system of its own.
    let path = match path::absolute(components) {
        path if path == "/" => String::new(),
        path => path,
    };
    out.push(event(
        header,
        EventBody::IpcPipe(IpcPipe {
            use_id: record.use_id,
            channel: Channel {
                kind: kind(record.channel),
                ino: record.ino,
                peer_ino: record.peer_ino,
            },
            path,
            access: access(record.access),
        }),
    ));
    Ok(())
}

pub(super) fn data(
    decoder: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, mut pieces) = wire::fixed::<channel_data_rec>(bytes, header.kind)?;
    let bytes = pieces.take(record.bytes)?;
    let mut data = ChannelData {
        time: KTime(header.ktime_ns),
        process: process_of(header),
        channel: Channel {
            kind: kind(record.channel.into()),
            ino: record.ino,
            peer_ino: record.peer_ino,
        },
        direction: if record.received == 0 {
            Direction::Sent
        } else {
            Direction::Received
        },
        missing_bytes: 0,
        bytes: bytes.to_vec(),
    };
    let (ino, sender_known) = data.flow();
    let flows = &mut decoder.flows.0;
    let key = (data.channel.kind, ino, sender_known);
    if flows.len() >= MAX_FLOWS && !flows.contains_key(&key) {
        flows.clear();
    }
    let end = record.offset.saturating_add(u64::from(record.bytes));
    let expected = match flows.get(&key) {
        Some(&(began_ns, expected)) if began_ns == record.began_ns => expected,
        _ => 0,
    };
    flows.insert(key, (record.began_ns, expected.max(end)));
    // Two CPUs may capture the same piece, one at each end.
    let known = usize::try_from(expected.saturating_sub(record.offset)).unwrap_or(usize::MAX);
    if known > 0 && known >= data.bytes.len() {
        return Ok(());
    }
    data.bytes.drain(..known);
    data.missing_bytes = record.offset.saturating_sub(expected);
    out.push(Item::Channel(data));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    const BEGAN_WORD: usize = (size_of::<rec_header>() + 16) / 8;

    fn record(offset: u64, text: &[u8], received: u8) -> Vec<u64> {
        let length = size_of::<channel_data_rec>() + text.len();
        let record = channel_data_rec {
            header: rec_header {
                kind: u16::try_from(wire::EV_CHANNEL_DATA).unwrap(),
                length: u32::try_from(length).unwrap(),
                class: 4,
                tgid: 7,
                start_ns: 9,
                ..rec_header::default()
            },
            ino: 11,
            peer_ino: 12,
            offset,
            bytes: u32::try_from(text.len()).unwrap(),
            channel: 1,
            received,
            ..channel_data_rec::default()
        };
        let mut bytes = record.as_bytes().to_vec();
        bytes.extend(text);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
            .chunks_exact(8)
            .map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap()))
            .collect()
    }

    fn decode(records: &[Vec<u64>]) -> Vec<ChannelData> {
        let mut decoder = Decoder::new(4096);
        let mut out = Vec::new();
        for record in records {
            decoder.decode(record.as_bytes(), &mut out).unwrap();
        }
        out.into_iter()
            .map(|item| match item {
                Item::Channel(data) => data,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_hole_is_counted_and_a_new_flow_of_the_same_number_has_none() {
        let mut again = record(0, b"new", 0);
        again[BEGAN_WORD] = 77;
        let data = decode(&[
            record(0, b"{\"a\"", 0),
            record(4, b":1}", 0),
            record(10, b"x", 0),
            again,
        ]);
        let missing: Vec<u64> = data.iter().map(|data| data.missing_bytes).collect();
        assert_eq!(missing, [0, 0, 3, 0]);
        assert_eq!(data[0].flow(), (11, true));
    }

    #[test]
    fn a_piece_that_was_captured_at_both_ends_comes_once() {
        let data = decode(&[
            record(0, b"abcdef", 0),
            record(0, b"abc", 0),
            record(3, b"defghi", 0),
        ]);
        let texts: Vec<&[u8]> = data.iter().map(|data| data.bytes.as_slice()).collect();
        assert_eq!(texts, [b"abcdef".as_slice(), b"ghi"]);
        assert!(data.iter().all(|data| data.missing_bytes == 0));
    }

    #[test]
    fn what_a_reader_got_belongs_to_the_flow_of_the_sender() {
        let data = decode(&[record(0, b"hello", 1)]);
        assert_eq!(data[0].flow(), (12, true));
        assert_eq!(data[0].direction, Direction::Received);
    }

    #[test]
    fn a_flow_that_is_joined_late_misses_its_beginning() {
        assert_eq!(decode(&[record(100, b"hello", 0)])[0].missing_bytes, 100);
    }
}
