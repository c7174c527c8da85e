//! The first message of a TLS connection (ClientHello, RFC 8446 section 4.1.2), of which a passive
//! observer reads the name of the server and the protocols that are offered.

/// Extension numbers (IANA TLS ExtensionType registry).
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HOST_NAME: u8 = 0;
/// Protocols listed of an offer.
const MAX_PROTOCOLS: usize = 16;

/// What a ClientHello says in the open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The server's name (RFC 6066).
    pub server_name: Option<String>,
    /// Protocols offered (RFC 7301).
    pub alpn: Vec<String>,
    /// Whether the real message is hidden inside (Encrypted ClientHello).
    pub is_encrypted: bool,
}

/// Bytes taken one after the other.
#[derive(Clone, Copy)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A vector with a length of one byte; of a cut one, what is there.
    fn vector8(&mut self) -> Option<Input<'a>> {
        let length = usize::from(self.u8()?);
        Some(self.up_to(length))
    }

    /// A vector with a length of two bytes; of a cut one, what is there.
    fn vector16(&mut self) -> Option<Input<'a>> {
        let length = usize::from(self.u16()?);
        Some(self.up_to(length))
    }

    fn up_to(&mut self, length: usize) -> Input<'a> {
        let length = length.min(self.0.len());
        Input(self.take(length).unwrap_or_default())
    }
}

/// Reads a ClientHello from the beginning of the first record; of one that is cut, as far as it goes.
/// None if it is something else.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<ClientHello> {
    let mut record = Input(bytes);
    if record.u8()? != HANDSHAKE_RECORD {
        return None;
    }
    record.take(2)?; // version of the record layer, of no meaning
    let mut message = record.vector16()?;
    if message.u8()? != CLIENT_HELLO {
        return None;
    }
    message.take(3)?; // length
    message.take(2 + 32)?; // version, random
    message.vector8()?; // session id
    message.vector16()?; // cipher suites
    message.vector8()?; // compression methods
    let mut hello = ClientHello::default();
    let Some(mut extensions) = message.vector16() else {
        return Some(hello);
    };
    while let (Some(number), Some(body)) = (extensions.u16(), extensions.vector16()) {
        match number {
            SERVER_NAME => hello.server_name = server_name(body).or(hello.server_name),
            ALPN => hello.alpn = protocols(body),
            ENCRYPTED_CLIENT_HELLO => hello.is_encrypted = true,
            _ => {}
        }
    }
    Some(hello)
}

fn server_name(mut body: Input<'_>) -> Option<String> {
    let mut names = body.vector16()?;
    while let Some(kind) = names.u8() {
        let name = names.vector16()?;
        if kind == HOST_NAME {
            return Some(String::from_utf8_lossy(name.0).into_owned());
        }
    }
    None
}

fn protocols(mut body: Input<'_>) -> Vec<String> {
    let Some(mut list) = body.vector16() else {
        return Vec::new();
    };
    std::iter::from_fn(|| list.vector8())
        .take(MAX_PROTOCOLS)
        .map(|name| String::from_utf8_lossy(name.0).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector16(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u16).to_be_bytes()[..], body].concat()
    }

    fn extension(number: u16, body: &[u8]) -> Vec<u8> {
        [&number.to_be_bytes()[..], &vector16(body)].concat()
    }

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let name = [&[HOST_NAME][..], &vector16(b"api.example.com")].concat();
        let mut all = extension(SERVER_NAME, &vector16(&name));
        all.extend(extension(ALPN, &vector16(b"\x02h2\x08http/1.1")));
        all.extend(extensions.concat());
        let body = [
            &[3, 3][..],
            &[7; 32],
            &[0],
            &vector16(&[0x13, 1]),
            &[1, 0],
            &vector16(&all),
        ]
        .concat();
        let message = [&[CLIENT_HELLO, 0][..], &vector16(&body)].concat();
        [&[HANDSHAKE_RECORD, 3, 1][..], &vector16(&message)].concat()
    }

    #[test]
    fn name_and_protocols_are_read() {
        let parsed = parse(&hello(&[])).unwrap();
        assert_eq!(parsed.server_name.as_deref(), Some("api.example.com"));
        assert_eq!(parsed.alpn, ["h2", "http/1.1"]);
        assert!(!parsed.is_encrypted);
    }

    #[test]
    fn a_hidden_hello_is_named() {
        let parsed = parse(&hello(&[extension(ENCRYPTED_CLIENT_HELLO, &[0; 40])])).unwrap();
        assert!(parsed.is_encrypted);
    }

    #[test]
    fn other_records_are_none() {
        for bytes in [
            &b""[..],
            b"\x16",
            b"GET / HTTP/1.1",
            b"\x17\x03\x03\x00\x10",
        ] {
            assert_eq!(parse(bytes), None);
        }
    }

    proptest! {
        #[test]
        fn cut_or_changed_bytes_do_no_harm(cut in 0_usize..200, at in 0_usize..200, byte: u8) {
            let mut bytes = hello(&[]);
            bytes.truncate(cut);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let _ = parse(&bytes);
        }
    }
}
