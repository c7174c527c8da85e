//! One stream of a connection: a request and its response while they are read.

use agentsight_model::{Direction, KTime};

use crate::http::Limits;
use crate::http::body::BodyReader;
use crate::http::message::{Flaw, Message, StartLine};

/// What goes over a stream, by direction.
#[derive(Default)]
pub(super) struct Stream {
    sent: Half,
    received: Half,
}

/// One direction of a stream.
#[derive(Default)]
pub(super) enum Half {
    /// Nothing was seen yet.
    #[default]
    Idle,
    /// A message that has begun.
    Open(Box<OpenMessage>),
    /// A message that has ended.
    Done(Box<Message>),
}

/// A message whose end was not seen yet.
pub(super) struct OpenMessage {
    pub(super) message: Message,
    reader: BodyReader,
}

impl Stream {
    pub(super) fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }

    /// Bytes of bodies held.
    pub(super) fn held_bytes(&self) -> usize {
        let sent = self.sent.held_bytes();
        sent.saturating_add(self.received.held_bytes())
    }
}

impl Half {
    /// Begins a message while `held` bytes are in memory.
    pub(super) fn open(message: Message, limits: Limits, held: usize) -> Self {
        let keep = limits.keep_for(&message, held);
        let mut reader = BodyReader::new(&message.headers, keep, limits.decoded_bytes);
        if message.start == StartLine::Unseen {
            reader.expect_any_coding();
        }
        Self::Open(Box::new(OpenMessage { message, reader }))
    }

    /// Bytes of the body held.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Idle => 0,
            Self::Open(open) => {
                let head = open.message.headers.size_bytes();
                open.reader.held_bytes().saturating_add(head)
            }
            Self::Done(message) => {
                let head = message.headers.size_bytes();
                message.body.bytes.len().saturating_add(head)
            }
        }
    }

    /// Takes bytes of the body; keeps them unless there is no more room.
    pub(super) fn push(&mut self, bytes: &[u8], time: KTime, full: bool) {
        if let Self::Open(open) = self
            && !bytes.is_empty()
        {
            if full {
                open.reader.keep_no_more();
            }
            open.message.body_started.get_or_insert(time);
            open.reader.push(bytes);
        }
    }

    /// Notes that bytes of the body may be missing here.
    pub(super) fn gap(&mut self) {
        if let Self::Open(open) = self {
            open.reader.gap();
        }
    }

    /// Ends the message, if it has not ended.
    pub(super) fn end(&mut self, time: KTime, flaw: Option<Flaw>) {
        *self = match std::mem::take(self) {
            Self::Open(open) => {
                let OpenMessage {
                    mut message,
                    reader,
                } = *open;
                message.body = reader.finish(flaw);
                message.ended = time;
                Self::Done(Box::new(message))
            }
            half => half,
        };
    }

    /// The message as far as it was seen.
    pub(super) fn take(&mut self, time: KTime) -> Option<Message> {
        self.end(time, Some(Flaw::Cut));
        match std::mem::take(self) {
            Self::Done(message) => Some(*message),
            _ => None,
        }
    }
}
