//! One direction of a conversation.

use agentsight_decode::rpc::{Decoder, Message, Protocol};
use agentsight_model::{
    Channel, ChannelData, ChannelEnd, ChannelKind, Direction, KTime, ProcessKey, RpcSide,
};

use super::FlowKey;
use crate::rpc::pending::PendingTable;
use crate::rpc::{Facts, Place};

/// What is known of one direction.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) decoder: Decoder,
    pub(super) sender: Channel,
    pub(super) facts: Facts,
    pub(super) side: Option<RpcSide>,
    pub(super) partner: Option<FlowKey>,
    pub(super) pending: PendingTable,
    pub(super) early: Vec<Message>,
    pub(super) searches: u32,
    pub(super) unmatched_count: u64,
    pub(super) last_used: u64,
    pub(super) held_bytes: usize,
    /// Who wrote last.
    pub(super) writer: Option<ProcessKey>,
    pub(super) decided: bool,
}

impl Flow {
    pub(super) fn new(data: &ChannelData) -> Self {
        let sender = match data.direction {
            Direction::Sent => data.channel.clone(),
            Direction::Received if data.channel.kind == ChannelKind::Unix => Channel {
                ino: data.channel.peer_ino,
                peer_ino: data.channel.ino,
                ..data.channel.clone()
            },
            Direction::Received => data.channel.clone(),
        };
        Self {
            decoder: Decoder::default(),
            sender,
            facts: Facts::default(),
            side: None,
            partner: None,
            pending: PendingTable::default(),
            early: Vec::new(),
            searches: 0,
            unmatched_count: 0,
            last_used: 0,
            held_bytes: 0,
            writer: None,
            decided: false,
        }
    }

    pub(super) fn place(&self) -> Place {
        let transport = match self.sender.kind {
            ChannelKind::Pipe => "pipe",
            ChannelKind::Unix => "unix",
            ChannelKind::Terminal => "pty",
        };
        Place {
            transport,
            endpoint: format!("{transport}:[{}]", self.sender.ino),
        }
    }

    /// What is said of its end, if it held messages.
    pub(super) fn end(&self) -> Option<ChannelEnd> {
        let counts = self.decoder.counts();
        let waiting = u64::try_from(self.early.len()).unwrap_or(u64::MAX);
        (counts.messages > 0).then(|| ChannelEnd {
            channel: self.sender.clone(),
            protocol: self
                .facts
                .protocol
                .unwrap_or(Protocol::JsonRpc)
                .as_str()
                .to_owned(),
            bytes: counts.bytes,
            missing_bytes: counts.missing_bytes,
            messages: counts.messages,
            other_bytes: counts.other_bytes,
            unmatched_count: self.unmatched_count.saturating_add(waiting),
        })
    }
}

/// The flow that a process at an end sends on, or receives from.
pub(super) fn flow_of(channel: &Channel, direction: Direction) -> FlowKey {
    let data = ChannelData {
        time: KTime::default(),
        process: ProcessKey::default(),
        channel: channel.clone(),
        direction,
        missing_bytes: 0,
        bytes: Vec::new(),
    };
    let (ino, sender_known) = data.flow();
    (channel.kind, ino, sender_known)
}
