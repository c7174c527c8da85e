//! Requests between programs: what comes out of pipes, sockets and HTTP becomes facts, numbered, without
//! secrets, and without content where none is to be kept.

use agentsight_decode::http::Exchange;
use agentsight_model::{
    ChannelData, ChannelKind, Event, EventBody, KTime, ProcessKey, RpcCall, RpcSide,
};

use serde_json::{Value, json};

use super::{Assembler, withheld, withhold_value};
use crate::rpc::channels::Heard;

/// Whether a flow was found to hold JSON-RPC, and so needs to be seen whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowVerdict {
    /// What it flows through.
    pub kind: ChannelKind,
    /// The flow, as [`ChannelData::flow`] names it.
    pub flow: (u64, bool),
    /// Whether it holds JSON-RPC.
    pub is_json_rpc: bool,
}

/// Numbers given out, by protocol.
#[derive(Debug, Default)]
pub(super) struct CallNumbers {
    mcp: u64,
    a2a: u64,
    other: u64,
}

impl CallNumbers {
    /// Names a call.
    fn number(&mut self, call: &mut RpcCall) {
        let (count, prefix) = match call.protocol.as_str() {
            "mcp" => (&mut self.mcp, "mcp"),
            "a2a" => (&mut self.a2a, "a2a"),
            _ => (&mut self.other, "rpc"),
        };
        *count = count.saturating_add(1);
        call.id = format!("{prefix}-{count}");
    }
}

impl Assembler {
    /// Takes bytes that went through a pipe, a unix socket or a terminal.
    pub fn channel(&mut self, data: &ChannelData, out: &mut Vec<Event>) {
        let mut heard = Vec::new();
        self.channels.data(data, &mut heard);
        self.hear(heard, out);
    }

    /// Takes note of a fact that tells who is at the ends of channels, and when they leave.
    pub fn observe(&mut self, event: &Event, out: &mut Vec<Event>) {
        let mut heard = Vec::new();
        match &event.body {
            EventBody::IpcPipe(pipe) => self.channels.used(event.process, pipe, &mut heard),
            EventBody::ProcessExit(_) => {
                self.channels.exited(event.process, event.time, &mut heard);
            }
            _ => return,
        }
        self.hear(heard, out);
    }

    /// Which flows were found to hold JSON-RPC, or something else, since the last time.
    pub fn take_flow_verdicts(&mut self) -> Vec<FlowVerdict> {
        let verdicts = self.channels.take_verdicts().into_iter();
        verdicts
            .map(|((kind, ino, sender_known), is_json_rpc)| FlowVerdict {
                kind,
                flow: (ino, sender_known),
                is_json_rpc,
            })
            .collect()
    }

    /// Whether an exchange was one of MCP or A2A; if so, its requests are facts.
    pub(super) fn rpc_exchange(
        &mut self,
        process: ProcessKey,
        exchange: &Exchange,
        out: &mut Vec<Event>,
    ) -> bool {
        let mut calls = Vec::new();
        let taken = self.conversations.take(process, exchange, &mut calls);
        for call in calls {
            out.push(self.rpc_fact(call));
        }
        taken
    }

    /// Ends all conversations.
    pub(super) fn finish_rpc(&mut self, time: KTime, out: &mut Vec<Event>) {
        let mut heard = Vec::new();
        self.channels.finish(time, &mut heard);
        let mut calls = Vec::new();
        self.conversations.finish(time, &mut calls);
        heard.extend(calls.into_iter().map(|call| Heard::Call(Box::new(call))));
        self.hear(heard, out);
    }

    fn hear(&mut self, heard: Vec<Heard>, out: &mut Vec<Event>) {
        for heard in heard {
            out.push(match heard {
                Heard::Call(call) => self.rpc_fact(*call),
                Heard::End(time, writer, end) => Event {
                    time,
                    process: writer.unwrap_or_default(),
                    body: EventBody::ChannelEnd(Box::new(end)),
                },
            });
        }
    }

    fn rpc_fact(&mut self, mut call: RpcCall) -> Event {
        self.rpc_calls.number(&mut call);
        self.redactor.rpc(&mut call);
        if !self.options.content {
            withhold(&mut call);
        }
        let (asker, other) = match call.initiator {
            RpcSide::Client => (call.client, call.server),
            RpcSide::Server => (call.server, call.client),
        };
        Event {
            time: call.ended,
            process: asker.or(other).unwrap_or_default(),
            body: match call.protocol.as_str() {
                "mcp" => EventBody::McpCall(Box::new(call)),
                "a2a" => EventBody::A2aCall(Box::new(call)),
                _ => EventBody::RpcCall(Box::new(call)),
            },
        }
    }
}

/// Removes what was said, and keeps who asked whom for what, and how much was said. The arguments of a tool
/// are withheld by themselves, as those that the model asks for: so the two can still be joined.
fn withhold(call: &mut RpcCall) {
    let arguments = call.params.get_mut("arguments").map(Value::take);
    match arguments {
        Some(mut arguments) if call.method == "tools/call" => {
            withhold_value(&mut arguments);
            call.params = json!({ "name": call.name, "arguments": arguments });
        }
        _ if call.params.is_null() => {}
        _ => withhold_value(&mut call.params),
    }
    if let Some(result) = &mut call.result {
        withhold_value(result);
    }
    if let Some(error) = &mut call.error {
        error.message = withheld(error.message.len());
        error.data = None;
    }
}
