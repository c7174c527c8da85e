//! Requests and their answers, whatever carries them: pipes and sockets ([`channels`]) or HTTP ([`http`]).
//!
//! Both put out [`RpcCall`]s without an id of their own; the assembler numbers, redacts and files them.

pub(crate) mod channels;
pub(crate) mod http;
mod pending;

use agentsight_decode::rpc::{Asked, Content, Id, Message, Protocol, Reply};
use agentsight_decode::{a2a, mcp};
use agentsight_model::{
    ProcessKey, RpcBody, RpcCall, RpcError, RpcPeer, RpcSide, RpcStatus, RpcTask,
};
use serde_json::Value;

use pending::Pending;

/// What is known of a conversation, from what both sides said.
#[derive(Clone, Debug, Default)]
struct Facts {
    protocol: Option<Protocol>,
    revision: Option<String>,
    client_info: Option<RpcPeer>,
    server_info: Option<RpcPeer>,
}

impl Facts {
    /// What is known of the protocol after a request or notification.
    fn protocol_of(&mut self, method: &str, params: &Value) -> Protocol {
        if let Some(told) = Protocol::of(method, params)
            && matches!(self.protocol, None | Some(Protocol::JsonRpc))
        {
            self.protocol = Some(told);
        }
        self.protocol.unwrap_or(Protocol::JsonRpc)
    }

    fn learn_asked(&mut self, asked: &Asked) {
        learn(&mut self.revision, &asked.revision);
        learn(&mut self.client_info, &asked.client_info);
    }

    fn learn_reply(&mut self, reply: &Reply) {
        learn(&mut self.revision, &reply.revision);
        learn(&mut self.server_info, &reply.server_info);
    }

    /// Takes over what the other direction has just learned: what was agreed on replaces what was offered.
    fn follow(&mut self, other: &Self) {
        if matches!(self.protocol, None | Some(Protocol::JsonRpc)) {
            self.protocol = other.protocol.or(self.protocol);
        }
        learn(&mut self.revision, &other.revision);
        learn(&mut self.client_info, &other.client_info);
        learn(&mut self.server_info, &other.server_info);
    }

    /// Completes a call that is about to be put out.
    fn complete(&self, call: &mut RpcCall) {
        let protocol = self.protocol.unwrap_or(Protocol::JsonRpc);
        protocol.as_str().clone_into(&mut call.protocol);
        call.revision.clone_from(&self.revision);
        call.client_info.clone_from(&self.client_info);
        call.server_info.clone_from(&self.server_info);
    }
}

fn learn<T: Clone>(known: &mut Option<T>, told: &Option<T>) {
    if told.is_some() {
        known.clone_from(told);
    }
}

/// Where a conversation goes on.
#[derive(Clone, Debug, Default)]
struct Place {
    transport: &'static str,
    endpoint: String,
}

/// A call that begins with a request or notification, and the token that reports of its progress bear.
/// `None` for an answer.
fn begin(facts: &mut Facts, message: Message, place: &Place) -> Option<Pending> {
    let (id, method, mut params) = match message.content {
        Content::Request { id, method, params } => (Some(id), method, params),
        Content::Notification { method, params } => (None, method, params),
        Content::Response { .. } => return None,
    };
    let protocol = facts.protocol_of(&method, &params);
    let asked = protocol.asked(&method, &params);
    facts.learn_asked(&asked);
    let mut parts = Vec::new();
    protocol.take_parts(&mut params, &mut parts);
    if protocol == Protocol::Lsp {
        // Source code that is edited; its requests are counted only.
        params = Value::Null;
    }
    let call = RpcCall {
        initiator: protocol.side_of(&method).unwrap_or_default(),
        method,
        name: asked.name,
        transport: place.transport.to_owned(),
        endpoint: place.endpoint.clone(),
        status: match id {
            Some(_) => RpcStatus::Unanswered,
            None => RpcStatus::Notification,
        },
        complete: id.is_none() && message.body.complete,
        request_id: id,
        params,
        started: message.started,
        ended: message.ended,
        request: message.body,
        traceparent: asked.traceparent,
        task: asked.task,
        parts,
        ..RpcCall::default()
    };
    Some(Pending {
        call,
        progress: asked.progress_token.as_ref().and_then(Id::of),
    })
}

/// Adds the answer to a call.
fn answer(facts: &mut Facts, call: &mut RpcCall, outcome: Result<Value, RpcError>, body: RpcBody) {
    let protocol = facts.protocol.unwrap_or(Protocol::JsonRpc);
    call.complete = call.request.complete && body.complete;
    call.response = Some(body);
    match outcome {
        Ok(mut result) => {
            let reply = protocol.reply(&call.method, &result);
            facts.learn_reply(&reply);
            call.status = match reply.is_error {
                true => RpcStatus::Error,
                false => RpcStatus::Ok,
            };
            a2a::update(&mut call.task, reply.task);
            protocol.take_parts(&mut result, &mut call.parts);
            call.result = Some(match protocol {
                Protocol::Lsp => Value::Null,
                _ => result,
            });
        }
        Err(error) => {
            call.status = RpcStatus::Error;
            call.error = Some(error);
        }
    }
}

/// The request that a notification takes back.
fn cancelled_id(content: &Content) -> Option<Id> {
    match content {
        Content::Notification { method, params } if method == mcp::CANCELLED => {
            Id::of(params.get("requestId")?)
        }
        _ => None,
    }
}

/// The token of the request whose progress a notification reports.
fn progress_token(content: &Content) -> Option<Id> {
    match content {
        Content::Notification { method, params } if method == mcp::PROGRESS => {
            Id::of(params.get("progressToken")?)
        }
        _ => None,
    }
}

/// Puts the processes where they belong: who asked, and who answers.
fn place_processes(call: &mut RpcCall, asker: Option<ProcessKey>, answerer: Option<ProcessKey>) {
    (call.client, call.server) = match call.initiator {
        RpcSide::Client => (asker, answerer),
        RpcSide::Server => (answerer, asker),
    };
}

/// About how much memory the variable parts of a call take.
fn held_bytes(call: &RpcCall) -> usize {
    const FIXED: usize = 512;
    let task = |task: &RpcTask| task.id.as_ref().map_or(0, String::len);
    crate::graph::value_bytes(&call.params)
        .saturating_add(call.method.len())
        .saturating_add(call.task.as_ref().map_or(0, task))
        .saturating_add(FIXED)
}
