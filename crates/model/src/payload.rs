//! Captured bytes on their way to becoming facts. Never serialised: they may hold secrets.

use crate::{Channel, KTime, ProcessKey};

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

/// A run of bytes that went through a pipe, a unix socket or a terminal. Captured where a watched process
/// writes; where only the reader is watched, there. Runs of one flow come in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelData {
    /// When the bytes were written or read.
    pub time: KTime,
    /// The process that wrote them ([`Direction::Sent`]) or read them.
    pub process: ProcessKey,
    /// The end that this process holds. A pipe is one flow; of a pair of sockets each side's sending is one.
    pub channel: Channel,
    /// Whether `process` wrote or read.
    pub direction: Direction,
    /// Bytes that should have come before these, but could not be captured.
    pub missing_bytes: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl ChannelData {
    /// Names the flow that the bytes belong to, whichever end they were captured at: the inode of the pipe,
    /// or of the socket that sends; of a socket whose peer is not known, its own inode and `false`.
    #[must_use]
    pub fn flow(&self) -> (u64, bool) {
        match (self.direction, self.channel.peer_ino) {
            (Direction::Sent, _) => (self.channel.ino, true),
            (Direction::Received, 0) => (
                self.channel.ino,
                self.channel.kind != crate::ChannelKind::Unix,
            ),
            (Direction::Received, peer) => (peer, true),
        }
    }
}
