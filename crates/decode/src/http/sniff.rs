//! What a connection speaks, by its first bytes in either direction.
//!
//! Nothing is put out until that is clear, which takes a few bytes where a connection is watched from
//! its beginning. Where it was entered in the middle, frames are searched for in both directions, until
//! a message of HTTP/1 begins or the limit is reached. What is no HTTP at all is left to the decoder of
//! HTTP/1, which goes on looking.

use agentsight_model::{Direction, KTime};

use super::h1::opposite;
use super::hunt::{Guess, Hunter};
use super::{h2, websocket};

/// Bytes held until a decision: enough for two of the longest frames that are searched for.
const HELD_BYTES: usize = 40 << 10;

/// Runs held until a decision.
const HELD_RUNS: usize = 4096;

/// First bytes of a message of HTTP/1 that are looked at.
const MAX_START_BYTES: usize = 64;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
    WebSocket { client: Direction },
}

/// What went by, to be played again to the decoder that is chosen.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) direction: Direction,
    pub(super) time: KTime,
    /// The bytes, or how many are missing.
    pub(super) bytes: Result<Vec<u8>, u64>,
}

/// A decision in the making.
#[derive(Debug, Default)]
pub(super) struct Sniffer {
    runs: Vec<Run>,
    held_bytes: usize,
    sent: Side,
    received: Side,
}

/// One direction.
#[derive(Debug)]
enum Side {
    /// The first bytes.
    Opening(Vec<u8>),
    /// Neither a message nor a frame began where watching did.
    Middle(Box<Middle>),
}

/// Searches for what could go by.
#[derive(Debug)]
struct Middle {
    http2: Hunter,
    from_client: Hunter,
    from_server: Hunter,
}

/// Messages of a WebSocket that are looked into for a decision.
const MAX_PROBES: u32 = 1024;

impl Middle {
    fn new() -> Box<Self> {
        Box::new(Self {
            http2: h2::hunter(),
            from_client: websocket::hunter(true, MAX_PROBES),
            from_server: websocket::hunter(false, MAX_PROBES),
        })
    }

    /// Takes bytes off the front of `input` until something is found. Goes byte by byte: which of
    /// several finds comes first must not depend on how the stream is cut.
    fn push(&mut self, direction: Direction, input: &mut &[u8]) -> Option<Protocol> {
        while let Some((byte, rest)) = input.split_at_checked(1) {
            *input = rest;
            let finds = |hunter: &mut Hunter| hunter.push(&mut &*byte, &mut 0).is_some();
            if finds(&mut self.http2) {
                return Some(Protocol::Http2);
            }
            if finds(&mut self.from_client) {
                return Some(Protocol::WebSocket { client: direction });
            }
            if finds(&mut self.from_server) {
                let client = opposite(direction);
                return Some(Protocol::WebSocket { client });
            }
        }
        None
    }
}

impl Default for Side {
    fn default() -> Self {
        Self::Opening(Vec::new())
    }
}

impl Sniffer {
    /// Bytes held.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes bytes off the front of `input` until it is clear what they are.
    pub(super) fn push(
        &mut self,
        direction: Direction,
        time: KTime,
        input: &mut &[u8],
    ) -> Option<Protocol> {
        let room = HELD_BYTES.saturating_sub(self.held_bytes);
        let (window, _) = input.split_at_checked(room).unwrap_or((input, &[]));
        let side = match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        };
        let mut rest = window;
        let protocol = side.push(direction, &mut rest);
        let taken = window.len().saturating_sub(rest.len());
        let (bytes, after) = input.split_at_checked(taken).unwrap_or_default();
        *input = after;
        self.held_bytes = self.held_bytes.saturating_add(taken);
        match self.runs.last_mut() {
            Some(Run {
                direction: own,
                time: at,
                bytes: Ok(run),
            }) if *own == direction && *at == time => run.extend_from_slice(bytes),
            _ => self.runs.push(Run {
                direction,
                time,
                bytes: Ok(bytes.to_vec()),
            }),
        }
        let full = self.held_bytes >= HELD_BYTES || self.runs.len() >= HELD_RUNS;
        protocol.or_else(|| full.then_some(Protocol::Http1))
    }

    /// Notes that bytes are missing.
    pub(super) fn hole(&mut self, direction: Direction, time: KTime, missing: u64) {
        let side = match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        };
        *side = Side::Middle(Middle::new());
        self.runs.push(Run {
            direction,
            time,
            bytes: Err(missing),
        });
    }

    /// Everything that went by.
    pub(super) fn into_runs(self) -> Vec<Run> {
        self.runs
    }
}

impl Side {
    fn push(&mut self, direction: Direction, input: &mut &[u8]) -> Option<Protocol> {
        loop {
            let bytes = match self {
                Self::Middle(middle) => return middle.push(direction, input),
                Self::Opening(bytes) => bytes,
            };
            match judge(bytes) {
                Some(Some(protocol)) => return Some(protocol),
                Some(None) => {
                    let bytes = std::mem::take(bytes);
                    let mut middle = Middle::new();
                    let found = middle.push(direction, &mut bytes.as_slice());
                    *self = Self::Middle(middle);
                    if found.is_some() {
                        return found;
                    }
                }
                None => {
                    let (&byte, rest) = input.split_first()?;
                    bytes.push(byte);
                    *input = rest;
                }
            }
        }
    }
}

/// What the first bytes of a direction say: nothing yet, a protocol, or that there is no telling.
fn judge(bytes: &[u8]) -> Option<Option<Protocol>> {
    const STARTS: [&[u8]; 10] = [
        b"HTTP/1.",
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"CONNECT ",
        b"OPTIONS ",
        b"TRACE ",
        b"PATCH ",
    ];
    // Some clients end a request with a line too many, which stands before the next one.
    let line_ends = bytes
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'));
    let start = bytes.get(line_ends.count()..).unwrap_or_default();
    if STARTS.iter().any(|known| start.starts_with(known)) {
        return Some(Some(Protocol::Http1));
    }
    if bytes == h2::PREFACE {
        return Some(Some(Protocol::Http2));
    }
    let may_become = |known: &[u8]| known.starts_with(start) && bytes.len() < MAX_START_BYTES;
    if STARTS.iter().any(|known| may_become(known)) || h2::PREFACE.starts_with(bytes) {
        return None;
    }
    match h2::guess(bytes) {
        Guess::Frame(_) => Some(Some(Protocol::Http2)),
        Guess::More => None,
        Guess::No => Some(None),
    }
}
