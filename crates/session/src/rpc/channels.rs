//! Conversations over pipes, unix sockets and terminals.
//!
//! Each direction is a flow with a decoder of its own. Two flows are one conversation if they are the two
//! directions of a socket or terminal; pipes, if an answer on one has the id of a request on the other and
//! the kernel saw a process write one and read the other. Who started whom does not matter: a server behind
//! a launcher, or one that was handed its ends by a third process, is found all the same.

mod flow;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agentsight_decode::rpc::{Content, Id, Message, Protocol, Verdict};
use agentsight_model::{
    ChannelData, ChannelEnd, ChannelKind, Direction, IpcPipe, KTime, ProcessKey, RpcCall, RpcSide,
    RpcStatus,
};

use super::{answer, begin, cancelled_id, place_processes, progress_token};
use flow::{Flow, flow_of};

/// Processes remembered at one end of a flow. Few share one.
const MAX_AT_END: usize = 8;

/// Flows remembered of one process, latest first: those of which it may be the other end's partner.
const MAX_FLOWS_OF_PROCESS: usize = 64;

/// Ends of flows remembered, of flows without messages too.
const MAX_ENDS: usize = 65_536;

/// Answers that wait until it is known whose they are.
const MAX_EARLY: usize = 16;

/// Searches for the other direction of a flow, until something new is known of who uses it.
const MAX_SEARCHES: u32 = 64;

/// A flow, as [`ChannelData::flow`] names it.
pub(crate) type FlowKey = (ChannelKind, u64, bool);

/// How much the conversations may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelLimits {
    /// Flows followed at a time.
    pub(crate) flows: usize,
    /// Bytes that all of them together may hold.
    pub(crate) bytes: usize,
}

impl Default for ChannelLimits {
    fn default() -> Self {
        Self {
            flows: 4096,
            bytes: 256 << 20,
        }
    }
}

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    /// A request with its answer, or a notification.
    Call(Box<RpcCall>),
    /// The end of a flow that held messages.
    End(KTime, Option<ProcessKey>, ChannelEnd),
}

/// Who was seen at the ends of a flow.
#[derive(Debug, Default)]
struct Ends {
    writers: Vec<ProcessKey>,
    readers: Vec<ProcessKey>,
}

/// All conversations of a session.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    limits: ChannelLimits,
    flows: BTreeMap<FlowKey, Flow>,
    quiet: BTreeSet<(u64, FlowKey)>,
    ends: HashMap<FlowKey, Ends>,
    by_process: HashMap<ProcessKey, Vec<FlowKey>>,
    held_bytes: usize,
    uses: u64,
    verdicts: Vec<(FlowKey, bool)>,
}

impl Channels {
    pub(crate) fn new(limits: ChannelLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes note of who uses an end.
    pub(crate) fn used(&mut self, process: ProcessKey, pipe: &IpcPipe, out: &mut Vec<Heard>) {
        if pipe.access.write {
            let key = flow_of(&pipe.channel, Direction::Sent);
            self.at_end(key, process, Direction::Sent);
        }
        if pipe.access.read {
            let key = flow_of(&pipe.channel, Direction::Received);
            self.at_end(key, process, Direction::Received);
        }
        // It may be what was missing to tell whose answers came on the flows of this process.
        for key in self.by_process.get(&process).cloned().unwrap_or_default() {
            let Some(flow) = self.flows.get_mut(&key) else {
                continue;
            };
            flow.searches = 0;
            for message in std::mem::take(&mut flow.early) {
                self.response(key, message, out);
            }
        }
    }

    /// Takes bytes of a flow.
    pub(crate) fn data(&mut self, data: &ChannelData, out: &mut Vec<Heard>) {
        let (ino, sender_known) = data.flow();
        let key = (data.channel.kind, ino, sender_known);
        self.at_end(key, data.process, data.direction);
        self.uses = self.uses.saturating_add(1);
        let uses = self.uses;
        let flow = self.flows.entry(key).or_insert_with(|| Flow::new(data));
        self.quiet.remove(&(flow.last_used, key));
        flow.last_used = uses;
        self.quiet.insert((uses, key));
        if data.direction == Direction::Sent {
            flow.writer = Some(data.process);
        }
        let mut messages = Vec::new();
        if data.missing_bytes > 0 {
            flow.decoder
                .hole(data.time, data.missing_bytes, &mut messages);
        }
        flow.decoder.push(data.time, &data.bytes, &mut messages);
        let verdict = flow.decoder.verdict();
        if !flow.decided && verdict != Verdict::Undecided {
            flow.decided = true;
            self.verdicts.push((key, verdict == Verdict::JsonRpc));
        }
        for message in messages {
            self.message(key, message, out);
        }
        self.weigh(key);
        self.evict(data.time, out);
    }

    /// Which flows were found to hold JSON-RPC, or not, since the last time.
    pub(crate) fn take_verdicts(&mut self) -> Vec<(FlowKey, bool)> {
        std::mem::take(&mut self.verdicts)
    }

    /// A process ended: flows that no other process writes end with it, and what it was asked and has not
    /// answered stays without an answer.
    pub(crate) fn exited(&mut self, process: ProcessKey, time: KTime, out: &mut Vec<Heard>) {
        for key in self.by_process.remove(&process).unwrap_or_default() {
            let Some(ends) = self.ends.get_mut(&key) else {
                continue;
            };
            let wrote = remove(&mut ends.writers, process) && ends.writers.is_empty();
            let read = remove(&mut ends.readers, process) && ends.readers.is_empty();
            if ends.writers.is_empty() && ends.readers.is_empty() {
                self.ends.remove(&key);
            }
            if wrote {
                self.close(key, time, out);
            } else if read {
                self.give_up(key, time, out);
                self.weigh(key);
            }
        }
    }

    /// Ends all flows.
    pub(crate) fn finish(&mut self, time: KTime, out: &mut Vec<Heard>) {
        while let Some((&key, _)) = self.flows.first_key_value() {
            self.close(key, time, out);
        }
    }

    fn at_end(&mut self, key: FlowKey, process: ProcessKey, direction: Direction) {
        if self.ends.len() >= MAX_ENDS && !self.ends.contains_key(&key) {
            // Flows that are followed learn their ends anew with the next bytes.
            self.ends.clear();
            self.by_process.clear();
        }
        let ends = self.ends.entry(key).or_default();
        let list = match direction {
            Direction::Sent => &mut ends.writers,
            Direction::Received => &mut ends.readers,
        };
        if list.contains(&process) {
            return;
        }
        if list.len() >= MAX_AT_END {
            list.remove(0);
        }
        list.push(process);
        let flows = self.by_process.entry(process).or_default();
        if !flows.contains(&key) {
            if flows.len() >= MAX_FLOWS_OF_PROCESS {
                flows.remove(0);
            }
            flows.push(key);
        }
    }

    fn message(&mut self, key: FlowKey, message: Message, out: &mut Vec<Heard>) {
        if let Content::Response { .. } = message.content {
            self.response(key, message, out);
        } else if let Some(id) = cancelled_id(&message.content) {
            let taken = self
                .flows
                .get_mut(&key)
                .and_then(|flow| flow.pending.take(&id));
            if let Some(mut call) = taken {
                call.status = RpcStatus::Cancelled;
                call.ended = message.ended;
                self.put_out(key, call, out);
            }
        } else if let Some(token) = progress_token(&message.content) {
            let partner = self.flows.get(&key).and_then(|flow| flow.partner);
            if let Some(partner) = partner.and_then(|partner| self.flows.get_mut(&partner)) {
                partner.pending.progress(&token);
            }
        } else {
            self.request(key, message, out);
        }
    }

    fn request(&mut self, key: FlowKey, message: Message, out: &mut Vec<Heard>) {
        self.pair_by_kind(key);
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        let place = flow.place();
        let Some(mut pending) = begin(&mut flow.facts, message, &place) else {
            return;
        };
        let protocol = flow.facts.protocol.unwrap_or(Protocol::JsonRpc);
        if let Some(side) = protocol.side_of(&pending.call.method) {
            flow.side = Some(side);
        }
        if let Some(side) = flow.side {
            pending.call.initiator = side;
        }
        let writer = flow.writer;
        place_processes(&mut pending.call, writer, None);
        let id = pending.call.request_id.as_ref().and_then(Id::of);
        let done = match id {
            Some(id) => flow.pending.insert(id, pending),
            None => Some(pending.call),
        };
        self.share(key);
        if let Some(call) = done {
            self.put_out(key, call, out);
        }
    }

    /// Looks for the request of an answer.
    fn response(&mut self, key: FlowKey, message: Message, out: &mut Vec<Heard>) {
        let Content::Response { id, .. } = &message.content else {
            return;
        };
        let Some(id) = Id::of(id) else {
            return;
        };
        if let Some(partner) = self.partner(key, &id) {
            self.answered(partner, key, &id, message, out);
            return;
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            if flow.partner.is_none() && flow.early.len() < MAX_EARLY {
                flow.early.push(message);
            } else {
                flow.unmatched_count = flow.unmatched_count.saturating_add(1);
            }
        }
    }

    fn answered(
        &mut self,
        asked: FlowKey,
        key: FlowKey,
        id: &Id,
        message: Message,
        out: &mut Vec<Heard>,
    ) {
        let answerer = self.flows.get(&key).and_then(|flow| flow.writer);
        let Some(flow) = self.flows.get_mut(&asked) else {
            return;
        };
        let Some(mut call) = flow.pending.take(id) else {
            if let Some(flow) = self.flows.get_mut(&key) {
                flow.unmatched_count = flow.unmatched_count.saturating_add(1);
            }
            return;
        };
        let Content::Response { outcome, .. } = message.content else {
            return;
        };
        call.ended = message.ended;
        let asker = asker_of(&call);
        place_processes(&mut call, asker, answerer);
        answer(&mut flow.facts, &mut call, outcome, message.body);
        self.share(asked);
        self.put_out(asked, call, out);
        self.weigh(asked);
    }

    /// The flow that an answer on `key` answers, which holds a request with `id` unless it is the known one.
    fn partner(&mut self, key: FlowKey, id: &Id) -> Option<FlowKey> {
        self.pair_by_kind(key);
        let flow = self.flows.get(&key)?;
        if flow.partner.is_some() {
            return flow.partner;
        }
        if flow.searches >= MAX_SEARCHES {
            return None;
        }
        let found = self.partner_by_processes(key, id);
        match found {
            Some(found) => self.join(key, found),
            None => {
                let flow = self.flows.get_mut(&key)?;
                flow.searches = flow.searches.saturating_add(1);
            }
        }
        found
    }

    /// The two directions of a socket or a terminal belong together whatever they hold.
    fn pair_by_kind(&mut self, key: FlowKey) {
        let Some(flow) = self.flows.get(&key).filter(|flow| flow.partner.is_none()) else {
            return;
        };
        let other = match key {
            (ChannelKind::Unix, _, true) if flow.sender.peer_ino != 0 => {
                (ChannelKind::Unix, flow.sender.peer_ino, true)
            }
            // Even numbers are what the terminal shows, odd ones what is typed.
            (ChannelKind::Terminal, ino, known) => (ChannelKind::Terminal, ino ^ 1, known),
            _ => return,
        };
        let free = |flow: &Flow| flow.partner.is_none();
        if other != key && self.flows.get(&other).is_some_and(free) {
            self.join(key, other);
        }
    }

    /// The pipe with a request of that id which the writer of `key` reads, or a reader of `key` writes.
    fn partner_by_processes(&self, key: FlowKey, id: &Id) -> Option<FlowKey> {
        let ends = self.ends.get(&key)?;
        let at_ends = ends.writers.iter().chain(&ends.readers);
        let candidates: BTreeSet<FlowKey> = at_ends
            .filter_map(|process| self.by_process.get(process))
            .flatten()
            .copied()
            .collect();
        let rank = |candidate: FlowKey| {
            let flow = self.flows.get(&candidate)?;
            let other = self.ends.get(&candidate)?;
            let answers = meet(&ends.writers, &other.readers);
            let asks = meet(&ends.readers, &other.writers);
            let fits = candidate != key
                && flow.partner.is_none()
                && flow.pending.holds(id)
                && (answers || asks);
            fits.then_some(((answers && asks, flow.last_used), candidate))
        };
        let best = candidates.into_iter().filter_map(rank).max();
        best.map(|(_, candidate)| candidate)
    }

    fn join(&mut self, one: FlowKey, other: FlowKey) {
        for (key, partner) in [(one, other), (other, one)] {
            if let Some(flow) = self.flows.get_mut(&key) {
                flow.partner = Some(partner);
            }
        }
        self.share(one);
        self.share(other);
    }

    /// Tells the other direction what this one has taught.
    fn share(&mut self, key: FlowKey) {
        let Some(flow) = self.flows.get(&key) else {
            return;
        };
        let (facts, side, partner) = (flow.facts.clone(), flow.side, flow.partner);
        if let Some(other) = partner.and_then(|partner| self.flows.get_mut(&partner)) {
            other.facts.follow(&facts);
            other.side = other.side.or(side.map(RpcSide::other));
        }
    }

    /// Puts a call out that was asked on `key`.
    fn put_out(&mut self, key: FlowKey, mut call: RpcCall, out: &mut Vec<Heard>) {
        let Some(flow) = self.flows.get(&key) else {
            return;
        };
        flow.facts.complete(&mut call);
        if let Some(side) = flow.side.filter(|side| *side != call.initiator) {
            let (asker, answerer) = (asker_of(&call), answerer_of(&call));
            call.initiator = side;
            place_processes(&mut call, asker, answerer);
        }
        let ends = self.ends.get(&key);
        let partner = flow.partner;
        let asker = asker_of(&call)
            .or(flow.writer)
            .or_else(|| only(&ends?.writers))
            .or_else(|| only(&self.ends.get(&partner?)?.readers));
        let answerer = answerer_of(&call)
            .or_else(|| self.flows.get(&partner?)?.writer)
            .or_else(|| only(&ends?.readers))
            .or_else(|| only(&self.ends.get(&partner?)?.writers));
        place_processes(&mut call, asker, answerer);
        if flow.facts.protocol != Some(Protocol::Lsp) {
            out.push(Heard::Call(Box::new(call)));
        }
    }

    /// Puts the requests of a flow out that will not be answered any more.
    fn give_up(&mut self, key: FlowKey, time: KTime, out: &mut Vec<Heard>) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        for mut call in flow.pending.take_all() {
            call.ended = time;
            self.put_out(key, call, out);
        }
    }

    fn close(&mut self, key: FlowKey, time: KTime, out: &mut Vec<Heard>) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        let mut messages = Vec::new();
        flow.decoder.finish(time, &mut messages);
        for message in messages {
            self.message(key, message, out);
        }
        self.give_up(key, time, out);
        let Some(flow) = self.flows.remove(&key) else {
            return;
        };
        self.quiet.remove(&(flow.last_used, key));
        self.held_bytes = self.held_bytes.saturating_sub(flow.held_bytes);
        if let Some(partner) = flow.partner {
            // Its answers would have come this way.
            self.give_up(partner, time, out);
            if let Some(other) = self.flows.get_mut(&partner) {
                other.partner = None;
            }
            self.weigh(partner);
        }
        if let Some(end) = flow.end() {
            out.push(Heard::End(time, flow.writer, end));
        }
    }

    fn weigh(&mut self, key: FlowKey) {
        if let Some(flow) = self.flows.get_mut(&key) {
            let early: u64 = flow.early.iter().map(|message| message.body.bytes).sum();
            let early = usize::try_from(early).unwrap_or(usize::MAX);
            let held = flow
                .decoder
                .buffered_bytes()
                .saturating_add(flow.pending.held_bytes())
                .saturating_add(early);
            self.held_bytes = self
                .held_bytes
                .saturating_sub(flow.held_bytes)
                .saturating_add(held);
            flow.held_bytes = held;
        }
    }

    fn evict(&mut self, time: KTime, out: &mut Vec<Heard>) {
        while self.flows.len() > self.limits.flows || self.held_bytes > self.limits.bytes {
            let Some(&(_, key)) = self.quiet.first() else {
                return;
            };
            self.close(key, time, out);
        }
    }
}

fn asker_of(call: &RpcCall) -> Option<ProcessKey> {
    match call.initiator {
        RpcSide::Client => call.client,
        RpcSide::Server => call.server,
    }
}

fn answerer_of(call: &RpcCall) -> Option<ProcessKey> {
    match call.initiator {
        RpcSide::Client => call.server,
        RpcSide::Server => call.client,
    }
}

fn only(processes: &[ProcessKey]) -> Option<ProcessKey> {
    match processes {
        [only] => Some(*only),
        _ => None,
    }
}

fn meet(one: &[ProcessKey], other: &[ProcessKey]) -> bool {
    one.iter().any(|process| other.contains(process))
}

fn remove(list: &mut Vec<ProcessKey>, process: ProcessKey) -> bool {
    let before = list.len();
    list.retain(|other| *other != process);
    list.len() < before
}
