//! Questions to name servers and their answers (RFC 1035), as far as an audit asks: who asked for which name,
//! and which addresses came back.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use agentsight_model::NetworkDns;

/// Longest name in text: 255 bytes, each of which may be escaped by four characters.
const MAX_LABELS: usize = 128;
/// Pointers followed in one name. A name of the longest kind needs fewer.
const MAX_POINTERS: usize = 16;
/// Answers looked at.
const MAX_ANSWERS: usize = 64;

/// Reads a datagram. `None` if it is none of DNS with a question.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<NetworkDns> {
    let flags = word(bytes, 2)?;
    let questions = word(bytes, 4)?;
    let answers = word(bytes, 6)?;
    let is_answer = flags & 0x8000 != 0;
    // Opcode 0 is a standard query; dynamic updates and the like are not for resolving.
    if questions != 1 || flags & 0x7800 != 0 {
        return None;
    }
    let (question, at) = name(bytes, 12)?;
    let record_type = word(bytes, at)?;
    let mut dns = NetworkDns {
        question,
        record_type: type_name(record_type),
        response: is_answer.then(|| code_name(flags & 0xf)),
        ..NetworkDns::default()
    };
    if is_answer {
        dns.addresses = addresses(bytes, at.checked_add(4)?, answers);
    }
    Some(dns)
}

fn addresses(bytes: &[u8], mut at: usize, count: u16) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for _ in 0..usize::from(count).min(MAX_ANSWERS) {
        let Some((address, next)) = answer(bytes, at) else {
            break; // cut
        };
        found.extend(address);
        at = next;
    }
    found
}

/// One resource record: its address, if it is one, and where the next one begins.
fn answer(bytes: &[u8], at: usize) -> Option<(Option<IpAddr>, usize)> {
    let (_, at) = name(bytes, at)?;
    let record_type = word(bytes, at)?;
    let length = usize::from(word(bytes, at.checked_add(8)?)?);
    let begin = at.checked_add(10)?;
    let end = begin.checked_add(length)?;
    let data = bytes.get(begin..end)?;
    let address = match record_type {
        1 => <[u8; 4]>::try_from(data)
            .ok()
            .map(|octets| IpAddr::V4(Ipv4Addr::from(octets))),
        28 => <[u8; 16]>::try_from(data)
            .ok()
            .map(|octets| IpAddr::V6(Ipv6Addr::from(octets))),
        _ => None,
    };
    Some((address, end))
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

/// The name at `at`, and where what follows it begins.
fn name(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut after = None;
    let mut pointers = 0;
    for _ in 0..MAX_LABELS + MAX_POINTERS {
        let length = *bytes.get(at)?;
        let next = at.checked_add(1)?;
        match length {
            0 => return Some((text, after.unwrap_or(next))),
            1..=63 => {
                let end = next.checked_add(usize::from(length))?;
                if !text.is_empty() {
                    text.push('.');
                }
                escape(bytes.get(next..end)?, &mut text);
                at = end;
            }
            0xc0.. => {
                after = after.or(Some(next.checked_add(1)?));
                pointers += 1;
                if pointers > MAX_POINTERS {
                    return None;
                }
                at = usize::from(u16::from_be_bytes([length & 0x3f, *bytes.get(next)?]));
            }
            _ => return None,
        }
    }
    None
}

/// A label in text, as RFC 1035 section 5.1 escapes it.
fn escape(label: &[u8], text: &mut String) {
    for &byte in label {
        match byte {
            b'.' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b'!'..=b'~' => text.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(text, "\\{byte:03}")),
        }
    }
}

fn type_name(number: u16) -> String {
    let known = match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        64 => "SVCB",
        65 => "HTTPS",
        252 => "AXFR",
        255 => "ANY",
        _ => return format!("TYPE{number}"),
    };
    known.to_owned()
}

fn code_name(code: u16) -> String {
    let known = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        _ => return format!("RCODE{code}"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(name: &[&[u8]], record_type: u16, flags: u16) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34];
        bytes.extend(flags.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        for label in name {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(*label);
        }
        bytes.push(0);
        bytes.extend(record_type.to_be_bytes());
        bytes.extend([0, 1]);
        bytes
    }

    #[test]
    fn a_question_is_read() {
        let dns = parse(&question(&[b"api", b"anthropic", b"com"], 28, 0x100)).unwrap();
        assert_eq!(dns.question, "api.anthropic.com");
        assert_eq!(dns.record_type, "AAAA");
        assert_eq!(dns.response, None);
    }

    #[test]
    fn an_answer_gives_its_addresses() {
        let mut bytes = question(&[b"a", b"test"], 1, 0x8180);
        bytes[7] = 3;
        // A CNAME, then two addresses, with names by pointer.
        bytes.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, b'b', 0xc0, 14]);
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 7]);
        bytes.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 9, 0, 16]);
        bytes.extend(Ipv6Addr::LOCALHOST.octets());
        let dns = parse(&bytes).unwrap();
        assert_eq!(dns.response.as_deref(), Some("NOERROR"));
        let expected: [IpAddr; 2] = ["10.0.0.7".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(dns.addresses, expected);
    }

    #[test]
    fn names_are_escaped_and_pointers_do_not_go_round() {
        let dns = parse(&question(&[b"a.b\x1b[", b"x"], 16, 0)).unwrap();
        assert_eq!(dns.question, "a\\.b\\027[.x");
        let mut circle = question(&[], 1, 0);
        circle.truncate(12);
        circle.extend([0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(parse(&circle), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Some(dns) = parse(&bytes) {
                prop_assert!(dns.question.chars().all(|c| c.is_ascii_graphic()));
                prop_assert!(dns.addresses.len() <= MAX_ANSWERS);
            }
        }
    }
}
