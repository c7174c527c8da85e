//! One connection: which decoder its bytes go to.

use agentsight_model::{Direction, KTime};

use super::h1::{Http1, opposite};
use super::h2::{self, Http2};
use super::message::{Exchange, Message};
use super::sniff::{Protocol, Sniffer};
use super::websocket::WebSocket;
use super::{Limits, Summary};

/// Decoder of one connection.
pub struct Connection {
    limits: Limits,
    scheme: &'static str,
    stage: Stage,
    summary: Summary,
}

/// What the connection speaks.
enum Stage {
    /// Not clear yet.
    Sniffing(Sniffer),
    Http1(Box<Http1>),
    Http2(Box<Http2>),
    WebSocket(Box<WebSocket>),
    /// Something that is not decoded.
    Other(String),
}

impl Connection {
    /// A connection whose plaintext was inside TLS.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::with_scheme(limits, "https")
    }

    /// A connection without TLS.
    #[must_use]
    pub fn cleartext(limits: Limits) -> Self {
        Self::with_scheme(limits, "http")
    }

    fn with_scheme(limits: Limits, scheme: &'static str) -> Self {
        Self {
            limits,
            scheme,
            stage: Stage::Sniffing(Sniffer::default()),
            summary: Summary::default(),
        }
    }

    /// Takes bytes that went by at `time`. Whatever they complete is appended to `out`.
    pub fn push(
        &mut self,
        direction: Direction,
        time: KTime,
        bytes: &[u8],
        out: &mut Vec<Exchange>,
    ) {
        let total = match direction {
            Direction::Sent => &mut self.summary.sent_bytes,
            Direction::Received => &mut self.summary.received_bytes,
        };
        *total = total.saturating_add(bytes.len() as u64);
        let before = out.len();
        self.feed(direction, time, bytes, out);
        self.count(before, out);
    }

    /// Notes that the next `missing` bytes of `direction` were not captured.
    pub fn hole(
        &mut self,
        direction: Direction,
        time: KTime,
        missing: u64,
        out: &mut Vec<Exchange>,
    ) {
        self.summary.missing_bytes = self.summary.missing_bytes.saturating_add(missing);
        let before = out.len();
        self.leave_out(direction, time, missing, out);
        self.count(before, out);
    }

    /// Ends the connection at `time`: what is unfinished is put out as far as it was seen.
    pub fn finish(&mut self, time: KTime, out: &mut Vec<Exchange>) {
        let before = out.len();
        if matches!(self.stage, Stage::Sniffing(_)) {
            self.begin(Protocol::Http1, out);
        }
        match &mut self.stage {
            Stage::Http1(http1) => http1.finish(time, out),
            Stage::Http2(http2) => http2.finish(time, out),
            Stage::WebSocket(websocket) => websocket.finish(time, out),
            Stage::Sniffing(_) | Stage::Other(_) => {}
        }
        self.count(before, out);
    }

    /// What is known so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let (protocol, skipped_bytes, fault) = match &self.stage {
            Stage::Http1(http1) if http1.is_recognised() => {
                ("http/1.1", http1.skipped_bytes(), http1.fault())
            }
            Stage::Http1(http1) => ("unknown", http1.skipped_bytes(), http1.fault()),
            Stage::Http2(http2) => ("h2", http2.skipped_bytes(), http2.fault()),
            Stage::WebSocket(websocket) => {
                ("websocket", websocket.skipped_bytes(), websocket.fault())
            }
            Stage::Other(name) => (name.as_str(), 0, None),
            Stage::Sniffing(_) => ("unknown", 0, None),
        };
        Summary {
            protocol: protocol.to_owned(),
            undecoded_bytes: self.summary.undecoded_bytes.saturating_add(skipped_bytes),
            fault: self.summary.fault.or(fault),
            ..self.summary.clone()
        }
    }

    /// Bytes of messages held in memory: what a caller bounds over all its connections, by finishing
    /// the largest.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        match &self.stage {
            Stage::Sniffing(sniffer) => sniffer.held_bytes(),
            Stage::Http1(http1) => http1.buffered_bytes(),
            Stage::Http2(http2) => http2.buffered_bytes(),
            Stage::WebSocket(websocket) => websocket.buffered_bytes(),
            Stage::Other(_) => 0,
        }
    }

    fn feed(&mut self, direction: Direction, time: KTime, bytes: &[u8], out: &mut Vec<Exchange>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match &mut self.stage {
                Stage::Sniffing(sniffer) => {
                    if let Some(protocol) = sniffer.push(direction, time, &mut rest) {
                        self.begin(protocol, out);
                    }
                }
                Stage::Http1(http1) => {
                    let before = out.len();
                    http1.push(direction, time, &mut rest, out);
                    if let Some(name) = http1.take_switched() {
                        self.switch(&name, direction, time, before, out);
                    }
                }
                Stage::Http2(http2) => {
                    http2.push(direction, time, std::mem::take(&mut rest), out);
                }
                Stage::WebSocket(websocket) => {
                    websocket.push(direction, time, std::mem::take(&mut rest), out);
                }
                Stage::Other(_) => {
                    self.undecoded(rest.len() as u64);
                    return;
                }
            }
        }
    }

    fn leave_out(
        &mut self,
        direction: Direction,
        time: KTime,
        missing: u64,
        out: &mut Vec<Exchange>,
    ) {
        match &mut self.stage {
            Stage::Sniffing(sniffer) => sniffer.hole(direction, time, missing),
            Stage::Http1(http1) => http1.hole(direction, time, missing, out),
            Stage::Http2(http2) => http2.hole(direction, time, missing, out),
            Stage::WebSocket(websocket) => websocket.hole(direction, time, missing, out),
            Stage::Other(_) => {}
        }
    }

    /// Hands what went by to the decoder of `protocol`.
    fn begin(&mut self, protocol: Protocol, out: &mut Vec<Exchange>) {
        let (limits, scheme) = (self.limits, self.scheme);
        let next = match protocol {
            Protocol::Http1 => Stage::Http1(Box::new(Http1::new(limits, scheme))),
            Protocol::Http2 => Stage::Http2(Box::new(Http2::new(limits, scheme))),
            Protocol::WebSocket { client } => {
                Stage::WebSocket(Box::new(WebSocket::joined(limits, scheme, client)))
            }
        };
        let Stage::Sniffing(sniffer) = std::mem::replace(&mut self.stage, next) else {
            return;
        };
        for run in sniffer.into_runs() {
            match run.bytes {
                Ok(bytes) => self.feed(run.direction, run.time, &bytes, out),
                Err(missing) => self.leave_out(run.direction, run.time, missing, out),
            }
        }
    }

    /// Goes on with the protocol of that name. `before` is how many exchanges there were before the
    /// bytes that led to this.
    fn switch(
        &mut self,
        name: &str,
        direction: Direction,
        time: KTime,
        before: usize,
        out: &mut Vec<Exchange>,
    ) {
        if let Stage::Http1(http1) = &mut self.stage {
            http1.finish(time, out);
            let (skipped_bytes, fault) = (http1.skipped_bytes(), http1.fault());
            self.undecoded(skipped_bytes);
            self.summary.fault = self.summary.fault.or(fault);
        }
        let (limits, scheme) = (self.limits, self.scheme);
        self.stage = match name {
            // The line that the decoder of HTTP/1 read is the first part of the preface.
            "h2" => {
                let seen = h2::PREFACE.get(..PRI_BYTES).unwrap_or_default();
                Stage::Http2(Box::new(Http2::after_preface(
                    limits, scheme, direction, seen,
                )))
            }
            "h2c" => {
                // The real response to the request is still to come.
                let request = upgrade_in(before, out).map(|at| out.remove(at).request);
                let client = opposite(direction);
                Stage::Http2(Box::new(Http2::upgraded(limits, scheme, client, request)))
            }
            "websocket" => {
                let websocket = match upgrade_in(before, out).and_then(|at| out.get(at)) {
                    Some(upgrade) => WebSocket::after(limits, upgrade),
                    None => WebSocket::joined(limits, scheme, opposite(direction)),
                };
                Stage::WebSocket(Box::new(websocket))
            }
            name => Stage::Other(name.to_owned()),
        };
    }

    fn undecoded(&mut self, count: u64) {
        self.summary.undecoded_bytes = self.summary.undecoded_bytes.saturating_add(count);
    }

    fn count(&mut self, before: usize, out: &[Exchange]) {
        let added = out.len().saturating_sub(before) as u64;
        self.summary.exchanges = self.summary.exchanges.saturating_add(added);
    }
}

/// Length of `PRI * HTTP/2.0` with the blank line after it.
const PRI_BYTES: usize = 18;

/// Where the exchange is that led to a switch, among those after `before`.
fn upgrade_in(before: usize, out: &[Exchange]) -> Option<usize> {
    let at = out.get(before..)?.iter().position(|exchange| {
        let response = exchange.response.as_ref();
        response.and_then(Message::status) == Some(101)
    })?;
    Some(before.saturating_add(at))
}
