//! Sockets: connect, accept, listen, close.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use agentsight_model::{
    Event, EventBody, KTime, NetworkAccept, NetworkClose, NetworkConnect, NetworkListen,
    NetworkProtocol, ProcessKey, SocketId,
};
use agentsight_wire::{self as wire, network_rec, rec_header, socket_address, socket_use};

use super::{Decoder, Item, RecordError, event, tls};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;

/// An address; none for a family that is not one of the two. An IPv4 address in IPv6 form is IPv4.
pub(super) fn address(raw: &socket_address) -> Option<SocketAddr> {
    let ip = match raw.family {
        AF_INET => {
            let [a, b, c, d, ..] = raw.bytes;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(raw.bytes)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, raw.port))
}

/// An address that means something: an unbound socket has none.
fn known_address(raw: &socket_address) -> Option<SocketAddr> {
    address(raw).filter(|address| address.port() != 0)
}

fn protocol(number: u32) -> Option<NetworkProtocol> {
    match number {
        IPPROTO_TCP => Some(NetworkProtocol::Tcp),
        IPPROTO_UDP => Some(NetworkProtocol::Udp),
        _ => None,
    }
}

fn body(kind: u32, record: &network_rec) -> Option<EventBody> {
    let socket = SocketId(record.socket);
    let protocol = protocol(record.protocol)?;
    Some(match kind {
        wire::EV_NETWORK_CONNECT => EventBody::NetworkConnect(NetworkConnect {
            socket,
            protocol,
            local: known_address(&record.local),
            remote: address(&record.remote)?,
        }),
        wire::EV_NETWORK_ACCEPT => EventBody::NetworkAccept(NetworkAccept {
            socket,
            local: address(&record.local)?,
            remote: address(&record.remote)?,
        }),
        wire::EV_NETWORK_LISTEN => EventBody::NetworkListen(NetworkListen {
            socket,
            local: address(&record.local)?,
        }),
        _ => EventBody::NetworkClose(NetworkClose {
            socket,
            protocol,
            local: known_address(&record.local),
            remote: known_address(&record.remote),
            sent_bytes: record.sent_bytes,
            received_bytes: record.received_bytes,
        }),
    })
}

pub(super) fn socket(
    decoder: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, _) = wire::fixed::<network_rec>(bytes, header.kind)?;
    let body = body(u32::from(header.kind), record).ok_or(RecordError::Address {
        family: record.remote.family,
        protocol: record.protocol,
    })?;
    if matches!(body, EventBody::NetworkClose(_)) {
        tls::socket_closed(decoder, KTime(header.ktime_ns), record.socket, out);
    }
    out.push(event(header, body));
    Ok(())
}

/// The event for the totals of a socket whose process has ended, or that is open when watching ends.
/// None for a socket that only listened.
#[must_use]
pub fn totals(process: ProcessKey, socket: u64, totals: &socket_use) -> Option<Event> {
    Some(Event {
        time: KTime(totals.last_ns),
        process,
        body: EventBody::NetworkClose(NetworkClose {
            socket: SocketId(socket),
            protocol: protocol(totals.protocol)?,
            local: known_address(&totals.local),
            remote: Some(known_address(&totals.remote)?),
            sent_bytes: totals.sent_bytes,
            received_bytes: totals.received_bytes,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_read_and_mapped_addresses_are_ipv4() {
        let raw = |family, bytes: &[u8]| {
            let mut raw = socket_address {
                family,
                port: 443,
                ..socket_address::default()
            };
            raw.bytes[..bytes.len()].copy_from_slice(bytes);
            address(&raw).map(|address| address.to_string())
        };
        let mapped: Vec<u8> = [[0; 10].as_slice(), &[0xff, 0xff, 10, 0, 0, 1]].concat();
        assert_eq!(
            raw(AF_INET, &[127, 0, 0, 1]).as_deref(),
            Some("127.0.0.1:443")
        );
        assert_eq!(raw(AF_INET6, &[0x20, 1]).as_deref(), Some("[2001::]:443"));
        assert_eq!(raw(AF_INET6, &mapped).as_deref(), Some("10.0.0.1:443"));
        assert_eq!(raw(1, &[]), None);
    }
}
