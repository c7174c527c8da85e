//! HTTP/1.1, the server's side: bounded reading of requests, writing of response heads and chunks.

use std::io::{self, BufRead, Read, Write};

use flate2::read::MultiGzDecoder;

/// Bytes of a request head.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Bytes of a request body, as it travels and decoded.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Bytes of a line that gives the size of a chunk.
const MAX_CHUNK_LINE_BYTES: usize = 256;

/// The head of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of this lower-case name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a comma-separated header lists this lower-case token.
    pub(super) fn lists(&self, name: &str, token: &str) -> bool {
        self.headers
            .iter()
            .filter(|(have, _)| have == name)
            .flat_map(|(_, value)| value.split(','))
            .map(|item| item.split(';').next().unwrap_or_default().trim())
            .any(|item| item.eq_ignore_ascii_case(token))
    }
}

/// A request body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestBody {
    pub(super) decoded: Vec<u8>,
    pub(super) encoding: Option<String>,
    pub(super) wire_bytes: usize,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Reads a line without its end. `None` at the end of the stream.
fn read_line(stream: &mut impl BufRead, max_bytes: usize) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    // Two more for the line's end, one more to tell a line that is too long.
    let limit = (max_bytes as u64).saturating_add(3);
    stream.by_ref().take(limit).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(invalid("a line is too long or cut"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line)
        .map(Some)
        .map_err(|_| invalid("a head that is not text"))
}

/// Reads the head of the next request. `None` if the client has left in good order.
pub(super) fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Head>> {
    let Some(request_line) = read_line(stream, MAX_HEAD_BYTES)? else {
        return Ok(None);
    };
    let mut words = request_line.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid("no HTTP/1.1 request line"));
    };
    let mut head = Head {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
    };
    let mut left = MAX_HEAD_BYTES;
    loop {
        let line = read_line(stream, left)?.ok_or_else(|| invalid("a head without an end"))?;
        if line.is_empty() {
            return Ok(Some(head));
        }
        left = left.saturating_sub(line.len().saturating_add(2));
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid("a header without a colon"))?;
        head.headers
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Reads the body that belongs to this head, and takes its content coding off.
pub(super) fn read_body(stream: &mut impl BufRead, head: &Head) -> io::Result<RequestBody> {
    let wire = if head.lists("transfer-encoding", "chunked") {
        read_chunks(stream)?
    } else {
        let length = match head.header("content-length") {
            None => 0,
            Some(text) => text.parse().map_err(|_| invalid("no content length"))?,
        };
        let mut body = Vec::new();
        read_exactly(stream, length, &mut body)?;
        body
    };
    let wire_bytes = wire.len();
    let encoding = head.header("content-encoding").map(str::to_ascii_lowercase);
    let decoded = match encoding.as_deref() {
        None | Some("identity") => wire,
        Some("gzip") => {
            let mut decoded = Vec::new();
            MultiGzDecoder::new(wire.as_slice())
                .take((MAX_BODY_BYTES as u64).saturating_add(1))
                .read_to_end(&mut decoded)?;
            if decoded.len() > MAX_BODY_BYTES {
                return Err(invalid("a body that is too large"));
            }
            decoded
        }
        Some(_) => return Err(invalid("an unknown content coding")),
    };
    Ok(RequestBody {
        decoded,
        encoding: encoding.filter(|name| name != "identity"),
        wire_bytes,
    })
}

fn read_exactly(stream: &mut impl BufRead, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
    if length > MAX_BODY_BYTES.saturating_sub(out.len()) {
        return Err(invalid("a body that is too large"));
    }
    let read = stream.by_ref().take(length as u64).read_to_end(out)?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn read_chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let line = |stream: &mut _| {
        read_line(stream, MAX_CHUNK_LINE_BYTES)?
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    let mut body = Vec::new();
    loop {
        let size_line = line(stream)?;
        let size = size_line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| invalid("no chunk size"))?;
        if size == 0 {
            // Trailers: none is expected, a few are bearable.
            for _ in 0..16 {
                if line(stream)?.is_empty() {
                    return Ok(body);
                }
            }
            return Err(invalid("too many trailers"));
        }
        read_exactly(stream, size, &mut body)?;
        if !line(stream)?.is_empty() {
            return Err(invalid("a chunk without its end"));
        }
    }
}

/// How the client will know where a response's body ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    Known(usize),
    Chunked,
}

/// Writes the head of a response.
pub(super) fn write_head(
    stream: &mut impl Write,
    status: u16,
    length: Length,
    headers: &[(&str, String)],
) -> io::Result<()> {
    use std::fmt::Write as _;
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        // Writing to a string cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    match length {
        Length::Known(bytes) => {
            let _ = write!(head, "Content-Length: {bytes}\r\n\r\n");
        }
        Length::Chunked => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
    }
    stream.write_all(head.as_bytes())
}

/// Writes one chunk; an empty one would end the body, so it is left out.
pub(super) fn write_chunk(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    stream.write_all(&chunk)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn request(text: &str) -> io::Result<(Head, RequestBody)> {
        let mut stream = text.as_bytes();
        let head = read_head(&mut stream)?.unwrap_or_default();
        let body = read_body(&mut stream, &head)?;
        Ok((head, body))
    }

    #[test]
    fn bodies_by_length_and_in_chunks() {
        for text in [
            "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello rest",
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            "POST /a HTTP/1.1\ntransfer-encoding: Chunked\n\n5\nhello\n0\nTrailer: x\n\n",
        ] {
            let (head, body) = request(text).unwrap();
            assert_eq!(head.target, "/a");
            assert_eq!(body.decoded, b"hello", "{text}");
        }
    }

    #[test]
    fn broken_requests_are_refused() {
        for text in [
            "GET /\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhello",
            "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Encoding: br\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        ] {
            assert!(request(text).is_err(), "{text:?} was accepted");
        }
        assert!(
            request(&format!(
                "GET /{} HTTP/1.1\r\n\r\n",
                "a".repeat(MAX_HEAD_BYTES)
            ))
            .is_err()
        );
        let many = "A: b\r\n".repeat(MAX_HEAD_BYTES);
        assert!(request(&format!("GET / HTTP/1.1\r\n{many}\r\n")).is_err());
    }

    #[test]
    fn a_quiet_client_has_left() {
        assert_eq!(read_head(&mut &b""[..]).unwrap(), None);
    }

    #[test]
    fn lists_are_read_item_by_item() {
        let (head, _) =
            request("GET / HTTP/1.1\r\nAccept-Encoding: br;q=1, GZIP;q=0.5\r\n\r\n").unwrap();
        assert!(head.lists("accept-encoding", "gzip"));
        assert!(!head.lists("accept-encoding", "zip"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..2048)) {
            let mut stream = bytes.as_slice();
            if let Ok(Some(head)) = read_head(&mut stream) {
                let _ = read_body(&mut stream, &head);
            }
            let _ = read_chunks(&mut bytes.as_slice());
        }

        #[test]
        fn what_is_written_in_chunks_is_read_back(chunks in vec(vec(any::<u8>(), 0..300), 0..9)) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                write_chunk(&mut wire, chunk).unwrap();
            }
            wire.extend_from_slice(b"0\r\n\r\nrest");
            let mut stream = wire.as_slice();
            prop_assert_eq!(read_chunks(&mut stream).unwrap(), chunks.concat());
            prop_assert_eq!(stream, b"rest");
        }
    }
}
