//! Sends an answer, whole or with a fault, and says what really went out.

use std::io::{self, Write};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Shared;
use super::http::{self, Length};
use crate::Outcome;
use crate::dialect::Framing;
use crate::script::Fault;
use crate::truth::Body;

/// Bytes of a piece when a fault cuts an answer that is no stream.
const DOCUMENT_PIECE_BYTES: usize = 64;

/// An answer, ready to be sent.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) framing: Framing,
    pub(super) pieces: Vec<String>,
    pub(super) gzip: bool,
    pub(super) retry_after_seconds: Option<u32>,
}

impl Reply {
    pub(super) fn error(status: u16, body: String, retry_after_seconds: Option<u32>) -> Self {
        Self {
            status,
            framing: Framing::Document,
            pieces: vec![body],
            gzip: false,
            retry_after_seconds,
        }
    }
}

/// What went out.
pub(super) struct Delivered {
    pub(super) status: Option<u16>,
    pub(super) body: Body,
    pub(super) outcome: Outcome,
}

/// Sends the answer. Fails only if not even a head could be sent.
pub(super) fn deliver(
    stream: &mut impl Write,
    reply: &Reply,
    fault: Option<&Fault>,
    shared: &Shared,
) -> io::Result<Delivered> {
    if let Some(Fault::Garbage(bytes)) = fault {
        stream.write_all(bytes)?;
        stream.flush()?;
        return Ok(Delivered {
            status: None,
            body: Body::new(bytes.clone(), None, bytes.len()),
            outcome: Outcome::Garbage,
        });
    }
    let pieces = pieces_for(reply, fault);
    let (kept, outcome) = match fault {
        Some(Fault::Truncated { pieces }) => (*pieces, Outcome::Truncated),
        Some(Fault::Cut { pieces }) => (*pieces, Outcome::Cut),
        Some(Fault::NoEnd { pieces }) => (*pieces, Outcome::NoEnd),
        _ => (usize::MAX, Outcome::Complete),
    };
    let sent: Vec<&[u8]> = pieces.iter().take(kept).map(Vec::as_slice).collect();
    // A fault that would cut behind the end has nothing to cut.
    let outcome = if kept >= pieces.len() && outcome == Outcome::Truncated {
        Outcome::Complete
    } else {
        outcome
    };
    let mut delivery = Delivery {
        stream,
        shared,
        decoded: Vec::new(),
        wire_bytes: 0,
    };
    let result = match reply.framing {
        Framing::Document => {
            let promised = match outcome {
                Outcome::Complete | Outcome::Truncated => sent.concat().len(),
                // One byte more than there will be, so that the end never comes.
                _ => pieces
                    .concat()
                    .len()
                    .max(sent.concat().len().saturating_add(1)),
            };
            delivery.send_document(reply, &sent, promised)
        }
        Framing::Sse | Framing::JsonArray => {
            let whole = matches!(outcome, Outcome::Complete | Outcome::Truncated);
            delivery.send_stream(reply, &sent, whole)
        }
    };
    Ok(Delivered {
        status: Some(reply.status),
        outcome: if result.is_ok() {
            outcome
        } else {
            Outcome::ClientGone
        },
        body: Body::new(
            delivery.decoded,
            reply.gzip.then_some("gzip"),
            delivery.wire_bytes,
        ),
    })
}

/// The pieces of the body. A document is one piece, unless a fault shall cut it.
fn pieces_for(reply: &Reply, fault: Option<&Fault>) -> Vec<Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> = reply
        .pieces
        .iter()
        .map(|piece| piece.clone().into_bytes())
        .collect();
    match fault {
        Some(Fault::NestedJson { levels }) => {
            if let Some(first) = pieces.first_mut() {
                *first = nest(first, *levels);
            }
            pieces
        }
        Some(Fault::Truncated { .. } | Fault::Cut { .. } | Fault::NoEnd { .. })
            if reply.framing == Framing::Document =>
        {
            let whole = pieces.concat();
            whole
                .chunks(DOCUMENT_PIECE_BYTES)
                .map(<[u8]>::to_vec)
                .collect()
        }
        _ => pieces,
    }
}

/// Puts a field with nested arrays into the first object of `piece`. By text: a value of this depth could
/// overflow the stack of whatever walks it.
fn nest(piece: &[u8], levels: usize) -> Vec<u8> {
    let at = piece
        .iter()
        .position(|&byte| byte == b'{')
        .map_or(0, |brace| brace.saturating_add(1));
    let (before, after) = piece.split_at_checked(at).unwrap_or((piece, &[]));
    let field = format!("\"nested\":{}{},", "[".repeat(levels), "]".repeat(levels));
    [before, field.as_bytes(), after].concat()
}

struct Delivery<'a, W: Write> {
    stream: &'a mut W,
    shared: &'a Shared,
    /// What was handed to the socket, before compression.
    decoded: Vec<u8>,
    wire_bytes: usize,
}

impl<W: Write> Delivery<'_, W> {
    fn send_document(&mut self, reply: &Reply, sent: &[&[u8]], promised: usize) -> io::Result<()> {
        let document = sent.concat();
        let (body, length) = if reply.gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&document)?;
            let body = encoder.finish()?;
            let missing = promised.saturating_sub(document.len());
            let length = body.len().saturating_add(missing);
            (body, length)
        } else {
            (document.clone(), promised)
        };
        let headers = headers("application/json", reply);
        http::write_head(self.stream, reply.status, Length::Known(length), &headers)?;
        self.stream.write_all(&body)?;
        self.stream.flush()?;
        self.decoded = document;
        self.wire_bytes = body.len();
        Ok(())
    }

    fn send_stream(&mut self, reply: &Reply, sent: &[&[u8]], whole: bool) -> io::Result<()> {
        let content_type = match reply.framing {
            Framing::Sse => "text/event-stream; charset=utf-8",
            _ => "application/json; charset=utf-8",
        };
        let headers = headers(content_type, reply);
        http::write_head(self.stream, reply.status, Length::Chunked, &headers)?;
        let mut encoder = reply
            .gzip
            .then(|| GzEncoder::new(Vec::new(), Compression::default()));
        for &piece in sent {
            match &mut encoder {
                None => self.send_chunks(piece)?,
                Some(encoder) => {
                    encoder.write_all(piece)?;
                    // So that the client sees the event now and not when a block is full.
                    encoder.flush()?;
                    let bytes = std::mem::take(encoder.get_mut());
                    self.send_chunks(&bytes)?;
                }
            }
            self.decoded.extend_from_slice(piece);
            if !self.shared.script.pause.is_zero() {
                thread::sleep(self.shared.script.pause);
            }
        }
        if whole {
            if let Some(encoder) = encoder {
                let bytes = encoder.finish()?;
                self.send_chunks(&bytes)?;
            }
            self.stream.write_all(b"0\r\n\r\n")?;
        }
        self.stream.flush()
    }

    fn send_chunks(&mut self, bytes: &[u8]) -> io::Result<()> {
        let chunk_bytes = self.shared.script.write_bytes.unwrap_or(usize::MAX).max(1);
        for chunk in bytes.chunks(chunk_bytes) {
            http::write_chunk(self.stream, chunk)?;
            self.stream.flush()?;
            self.wire_bytes = self.wire_bytes.saturating_add(chunk.len());
        }
        Ok(())
    }
}

fn headers(content_type: &str, reply: &Reply) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("Content-Type", content_type.to_owned()),
        ("Server", "agentsight-testkit".to_owned()),
    ];
    if reply.gzip {
        headers.push(("Content-Encoding", "gzip".to_owned()));
    }
    if let Some(seconds) = reply.retry_after_seconds {
        headers.push(("Retry-After", seconds.to_string()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_goes_into_the_first_object() {
        assert_eq!(nest(b"[{\"a\":1}", 2), b"[{\"nested\":[[]],\"a\":1}");
        assert_eq!(
            nest(b"data: {\"a\":1}", 1),
            b"data: {\"nested\":[],\"a\":1}"
        );
        assert_eq!(nest(b"", 0), b"\"nested\":,");
    }
}
