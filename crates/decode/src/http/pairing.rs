//! Which response answers which request.

use std::collections::VecDeque;

use super::message::Message;

/// Requests without a whole response, oldest first. Only the last one can be unfinished.
#[derive(Default)]
pub(super) struct Pairing {
    pending: VecDeque<Pending>,
    /// Whether bytes were lost while several responses were due.
    uncertain: bool,
}

/// A request that waits for its end, its response, or both.
#[derive(Default)]
struct Pending {
    expected: Expected,
    /// Whether the client announced that it waits for leave to send the body, and got none yet.
    awaits_leave: bool,
    request: Option<Message>,
    response: Option<Message>,
}

/// What a request says about its response.
#[derive(Clone, Default)]
pub(super) struct Expected {
    /// The request's method; empty if it was not seen.
    pub(super) method: String,
    /// The protocol that the request asks to go on with.
    pub(super) upgrade: Option<String>,
    /// Whether there is no request for the response.
    pub(super) orphan: bool,
}

/// A request and its response as far as they were seen.
pub(super) type Pair = (Message, Option<Message>);

impl Pairing {
    /// Requests that wait.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Bytes of bodies that wait.
    pub(super) fn body_bytes(&self) -> usize {
        let messages = self.pending.iter().flat_map(|p| [&p.request, &p.response]);
        let sizes = messages.flatten().map(|message| message.body.bytes.len());
        sizes.fold(0, usize::saturating_add)
    }

    /// Notes that a request has begun.
    pub(super) fn begin_request(&mut self, head: &Message) {
        self.pending.push_back(Pending {
            expected: Expected {
                method: head.method().to_owned(),
                upgrade: head.headers.get("upgrade").map(protocol_name),
                orphan: false,
            },
            awaits_leave: head.headers.has_element("expect", "100-continue"),
            ..Pending::default()
        });
    }

    /// What the request says to which the next response belongs.
    pub(super) fn begin_response(&self) -> Expected {
        match self.pending.front() {
            Some(pending) if pending.response.is_none() => pending.expected.clone(),
            _ => Expected {
                orphan: true,
                ..Expected::default()
            },
        }
    }

    /// Notes an interim response: the client may send its body.
    pub(super) fn give_leave(&mut self) {
        if let Some(pending) = self.pending.front_mut() {
            pending.awaits_leave = false;
        }
    }

    /// Whether the only request asked for leave to send its body and got a response instead: the body
    /// never comes (RFC 9110, section 10.1.1).
    pub(super) fn is_refused(&self) -> bool {
        let refused = |p: &Pending| p.awaits_leave && p.request.is_none() && p.response.is_some();
        self.len() == 1 && self.pending.front().is_some_and(refused)
    }

    /// Takes the request that began last.
    pub(super) fn end_request(&mut self, request: Message) {
        if let Some(pending) = self.pending.back_mut() {
            pending.request = Some(request);
        }
    }

    /// Takes the response to the oldest request.
    pub(super) fn end_response(&mut self, response: Message) {
        if let Some(pending) = self.pending.front_mut() {
            pending.response = Some(response);
        }
    }

    /// Notes that bytes of responses were lost.
    pub(super) fn note_loss(&mut self) {
        self.uncertain |= self.len() > 1;
    }

    /// Whether it cannot be told which request the next response answers; only once.
    pub(super) fn take_uncertain(&mut self) -> bool {
        std::mem::take(&mut self.uncertain)
    }

    /// The oldest pair, if it is whole.
    pub(super) fn pop_whole(&mut self) -> Option<Pair> {
        self.pop_if(|pending| pending.request.is_some() && pending.response.is_some())
    }

    /// The oldest request that has ended, whether or not it has a response.
    pub(super) fn pop_ended(&mut self) -> Option<Pair> {
        self.pop_if(|pending| pending.request.is_some())
    }

    /// The oldest request, whatever there is of it.
    pub(super) fn pop(&mut self) -> Option<Pair> {
        self.pop_if(|_| true)
    }

    fn pop_if(&mut self, ready: impl Fn(&Pending) -> bool) -> Option<Pair> {
        if !self.pending.front().is_some_and(ready) {
            return None;
        }
        let pending = self.pending.pop_front()?;
        Some((pending.request.unwrap_or_default(), pending.response))
    }
}

/// The protocol that an `Upgrade` field names, without version, in lower case.
pub(super) fn protocol_name(field: &str) -> String {
    let first = field.split([',', '/']).next().unwrap_or_default();
    first.trim().to_ascii_lowercase().chars().take(32).collect()
}
