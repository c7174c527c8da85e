//! Captured bytes on their way to becoming facts. Never serialised: they may hold secrets.

use crate::{KTime, ProcessKey};

/// Which way bytes went, seen from the watched process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the process to the outside.
    Sent,
    /// From the outside to the process.
    Received,
}

/// Names one stream of plaintext: a TLS object of one process, or one of its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// The process that holds the object.
    pub process: ProcessKey,
    /// Address of the TLS object in that process, or of the socket in the kernel: the two never meet.
    /// Reused after the object is freed.
    pub object: u64,
}

/// A run of captured plaintext. Runs of one stream and direction come in order; each continues the one
/// before it unless `missing_bytes` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// When the bytes were sent or received.
    pub time: KTime,
    /// The stream.
    pub stream: StreamKey,
    /// The thread.
    pub tid: u32,
    /// Which way the bytes went.
    pub direction: Direction,
    /// Whether they went over the wire as they are, without TLS.
    pub cleartext: bool,
    /// Bytes that should have come before these, but could not be captured.
    pub missing_bytes: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The end of a stream: its TLS object was freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadEnd {
    /// When it was freed.
    pub time: KTime,
    /// The stream.
    pub stream: StreamKey,
}
