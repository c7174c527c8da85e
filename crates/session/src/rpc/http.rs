//! Conversations over HTTP: MCP (streamable HTTP, and HTTP with server-sent events of 2024-11-05) and A2A
//! (JSON-RPC and REST bindings).
//!
//! A request and its answer are mostly in one exchange. What is not: a server that asks its client (the
//! answer is the body of a request of its own), and the older transport of MCP, where every answer comes on
//! the stream of events that the client opened first. These wait for each other in a [`Session`]; as an
//! exchange comes out when it has ended, a request on the older transport does when the stream has.

use std::collections::HashMap;

use agentsight_decode::a2a;
use agentsight_decode::http::{Exchange, Message as HttpMessage, sse};
use agentsight_decode::rpc::{Content, Id, Message, Protocol, parse_document, read_document};
use agentsight_model::{
    Direction, KTime, ProcessKey, RpcBody, RpcCall, RpcError, RpcPeer, RpcSide, RpcStatus,
};
use serde_json::Value;

use super::pending::{Pending, PendingTable};
use super::{Facts, Place, answer, begin, cancelled_id, place_processes, progress_token};

/// Conversations remembered. Beyond it all are forgotten; what waits in them comes out first.
const MAX_SESSIONS: usize = 1024;

/// Answers of a client that wait for the request to come out, a session.
const MAX_EARLY: usize = 64;

/// What goes beyond one exchange.
#[derive(Debug, Default)]
struct Session {
    facts: Facts,
    /// Requests whose answers come elsewhere, by who sent them.
    from_client: PendingTable,
    from_server: PendingTable,
    /// Answers of the client to requests that have not come out yet.
    early: Vec<Message>,
}

/// All conversations over HTTP.
#[derive(Debug, Default)]
pub(crate) struct HttpConversations {
    sessions: HashMap<(ProcessKey, String), Session>,
}

/// The messages of one exchange.
#[derive(Debug, Default)]
struct Said {
    by_client: Vec<Message>,
    by_server: Vec<Message>,
    /// Where the older transport of MCP wants its messages sent.
    endpoint: Option<String>,
    is_stream: bool,
}

impl HttpConversations {
    /// Takes an exchange; says whether it was one of MCP or A2A.
    pub(crate) fn take(
        &mut self,
        process: ProcessKey,
        exchange: &Exchange,
        out: &mut Vec<RpcCall>,
    ) -> bool {
        if let Some(operation) = a2a::rest_operation(exchange.request.method(), exchange.path())
            && let Some(call) = self.rest(process, exchange, operation)
        {
            out.push(call);
            return true;
        }
        let said = read(exchange);
        let is_empty = said.by_client.is_empty() && said.by_server.is_empty();
        if is_empty && said.endpoint.is_none() {
            return false;
        }
        let key = (process, session_name(exchange, &said));
        let known = self.sessions.get(&key).map(|session| &session.facts);
        let Some(protocol) = protocol_of(exchange, &said, known) else {
            return false;
        };
        self.make_room(exchange.ended(), out);
        let session = self.sessions.entry(key).or_default();
        session.facts.protocol = Some(protocol);
        Reader::new(session, process, exchange, &said).read(said, out);
        true
    }

    /// Gives out what still waits.
    pub(crate) fn finish(&mut self, time: KTime, out: &mut Vec<RpcCall>) {
        let mut sessions: Vec<_> = std::mem::take(&mut self.sessions).into_iter().collect();
        sessions.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (_, mut session) in sessions {
            let mut waiting = session.from_client.take_all();
            waiting.append(&mut session.from_server.take_all());
            for mut call in waiting {
                session.facts.complete(&mut call);
                call.ended = call.ended.max(time);
                out.push(call);
            }
        }
    }

    fn make_room(&mut self, time: KTime, out: &mut Vec<RpcCall>) {
        if self.sessions.len() >= MAX_SESSIONS {
            self.finish(time, out);
        }
    }

    /// An operation of the REST binding of A2A, or the description of an agent.
    fn rest(
        &mut self,
        process: ProcessKey,
        exchange: &Exchange,
        operation: &str,
    ) -> Option<RpcCall> {
        let asks_for_card = operation == "GetAgentCard";
        let mut params = body_of(&exchange.request).unwrap_or(Value::Null);
        let response = exchange.response.as_ref();
        let results = response.map(results_of).unwrap_or_default();
        let fits = match asks_for_card {
            true => results.iter().any(is_card),
            false => params.get("message").is_some() || operation.ends_with("Task"),
        };
        if !fits {
            return None;
        }
        if !asks_for_card && params.is_null() {
            let id = exchange.path().rsplit('/').next().unwrap_or_default();
            let id = id.split(':').next().unwrap_or_default();
            params = serde_json::json!({ "id": id });
        }
        let key = (
            process,
            format!("{}://{}", exchange.scheme, exchange.host()),
        );
        let facts = &mut self.sessions.entry(key).or_default().facts;
        facts.protocol = Some(Protocol::A2a);
        if let Some(card) = results.first().filter(|_| asks_for_card) {
            facts.server_info = card_peer(card);
        }
        let place = Place {
            transport: "http-rest",
            endpoint: exchange.endpoint(),
        };
        let request = Message {
            content: Content::Notification {
                method: operation.to_owned(),
                params,
            },
            body: rpc_body(&exchange.request),
            started: exchange.started(),
            ended: exchange.ended(),
        };
        let mut call = begin(facts, request, &place)?.call;
        call.status = RpcStatus::Unanswered;
        if let Some(response) = response {
            let body = rpc_body(response);
            for outcome in outcomes(response, results) {
                let earlier = call.result.take();
                answer(facts, &mut call, outcome, body.clone());
                call.result = match earlier {
                    Some(earlier) => Some(appended(earlier, call.result.take())),
                    None => call.result.take(),
                };
            }
        }
        call.complete = exchange.is_complete();
        facts.complete(&mut call);
        call.name = call.server_info.as_ref().map(|peer| peer.name.clone());
        place_here(&mut call, exchange, process);
        Some(call)
    }
}

/// Reads one exchange of a session.
struct Reader<'a> {
    session: &'a mut Session,
    process: ProcessKey,
    exchange: &'a Exchange,
    place: Place,
    /// Whether answers come on another exchange's stream.
    answers_elsewhere: bool,
}

impl<'a> Reader<'a> {
    fn new(
        session: &'a mut Session,
        process: ProcessKey,
        exchange: &'a Exchange,
        said: &Said,
    ) -> Self {
        let status = exchange.response.as_ref().and_then(HttpMessage::status);
        let is_a2a = session.facts.protocol == Some(Protocol::A2a);
        let place = Place {
            transport: match (is_a2a, &said.endpoint) {
                (true, _) => "http-json-rpc",
                (false, Some(_)) => "sse",
                (false, None) => "streamable-http",
            },
            endpoint: exchange.endpoint(),
        };
        Self {
            session,
            process,
            exchange,
            place,
            answers_elsewhere: status == Some(202) && !said.is_stream,
        }
    }

    fn read(&mut self, said: Said, out: &mut Vec<RpcCall>) {
        let mut open = PendingTable::default();
        for message in said.by_client {
            if let Content::Response { .. } = message.content {
                self.answer_server(message, out);
            } else if let Some(id) = cancelled_id(&message.content) {
                if let Some(mut call) = self.session.from_client.take(&id) {
                    call.status = RpcStatus::Cancelled;
                    self.put_out(call, out);
                }
            } else {
                self.ask(message, RpcSide::Client, &mut open, out);
            }
        }
        let mut answered: Vec<(Id, RpcCall)> = Vec::new();
        for message in said.by_server {
            if let Content::Response { .. } = message.content {
                self.answer_client(message, &mut open, &mut answered, out);
            } else if let Some(token) = progress_token(&message.content) {
                if !open.progress(&token) {
                    self.session.from_client.progress(&token);
                }
            } else {
                let mut from_server = std::mem::take(&mut self.session.from_server);
                self.ask(message, RpcSide::Server, &mut from_server, out);
                self.session.from_server = from_server;
                self.answer_early(out);
            }
        }
        for (_, call) in answered {
            self.put_out(call, out);
        }
        self.leave_open(open, out);
    }

    fn ask(
        &mut self,
        message: Message,
        side: RpcSide,
        open: &mut PendingTable,
        out: &mut Vec<RpcCall>,
    ) {
        let Some(mut pending) = begin(&mut self.session.facts, message, &self.place) else {
            return;
        };
        pending.call.initiator = side;
        let done = match pending.call.request_id.as_ref().and_then(Id::of) {
            Some(id) => open.insert(id, pending),
            None => Some(pending.call),
        };
        if let Some(call) = done {
            self.put_out(call, out);
        }
    }

    /// An answer of the server: to a request of this exchange, or of an earlier one.
    fn answer_client(
        &mut self,
        message: Message,
        open: &mut PendingTable,
        answered: &mut Vec<(Id, RpcCall)>,
        out: &mut Vec<RpcCall>,
    ) {
        let Content::Response { id, outcome } = message.content else {
            return;
        };
        let Some(id) = Id::of(&id) else {
            return;
        };
        let facts = &mut self.session.facts;
        if let Some(mut call) = open.take(&id) {
            call.ended = message.ended;
            answer(facts, &mut call, outcome, message.body);
            answered.push((id, call));
        } else if let Some((_, call)) = answered.last_mut().filter(|(known, _)| *known == id) {
            // A2A answers one request by a stream of results.
            let earlier = call.result.take().unwrap_or(Value::Null);
            answer(facts, call, outcome, message.body);
            call.result = Some(appended(earlier, call.result.take()));
        } else if let Some(mut call) = self.session.from_client.take(&id) {
            call.ended = message.ended;
            answer(&mut self.session.facts, &mut call, outcome, message.body);
            self.put_out(call, out);
        }
    }

    /// An answer of the client to a request that the server sent on some stream.
    fn answer_server(&mut self, message: Message, out: &mut Vec<RpcCall>) {
        let Content::Response { id, outcome } = &message.content else {
            return;
        };
        let waiting = Id::of(id).and_then(|id| self.session.from_server.take(&id));
        match waiting {
            Some(mut call) => {
                call.ended = message.ended;
                let (outcome, body) = (outcome.clone(), message.body);
                answer(&mut self.session.facts, &mut call, outcome, body);
                self.put_out(call, out);
            }
            // The stream that carried the request has not ended yet.
            None if self.session.early.len() < MAX_EARLY => self.session.early.push(message),
            None => {}
        }
    }

    fn answer_early(&mut self, out: &mut Vec<RpcCall>) {
        for message in std::mem::take(&mut self.session.early) {
            self.answer_server(message, out);
        }
    }

    /// Requests of this exchange that it does not answer.
    fn leave_open(&mut self, mut open: PendingTable, out: &mut Vec<RpcCall>) {
        let status = self
            .exchange
            .response
            .as_ref()
            .and_then(HttpMessage::status);
        for mut call in open.take_all() {
            let refused = status.filter(|status| *status >= 400);
            if let Some(status) = refused {
                call.status = RpcStatus::Error;
                call.error = Some(http_error(status));
                call.complete = self.exchange.is_complete();
            } else if self.answers_elsewhere
                && let Some(id) = call.request_id.as_ref().and_then(Id::of)
            {
                "sse".clone_into(&mut call.transport);
                place_here(&mut call, self.exchange, self.process);
                let progress = call.params.pointer("/_meta/progressToken").and_then(Id::of);
                let pending = Pending { call, progress };
                if let Some(call) = self.session.from_client.insert(id, pending) {
                    self.put_out(call, out);
                }
                continue;
            }
            self.put_out(call, out);
        }
    }

    fn put_out(&self, mut call: RpcCall, out: &mut Vec<RpcCall>) {
        self.session.facts.complete(&mut call);
        if call.protocol == "a2a" {
            call.name = call.server_info.as_ref().map(|peer| peer.name.clone());
        }
        place_here(&mut call, self.exchange, self.process);
        out.push(call);
    }
}

/// The process that was seen is the client, or else the server.
fn place_here(call: &mut RpcCall, exchange: &Exchange, process: ProcessKey) {
    let is_client = exchange.requests_from == Direction::Sent;
    let asks = is_client == (call.initiator == RpcSide::Client);
    if asks {
        place_processes(call, Some(process), None);
    } else {
        place_processes(call, None, Some(process));
    }
}

/// The results of a stream, as a list.
fn appended(earlier: Value, next: Option<Value>) -> Value {
    let mut all = match earlier {
        Value::Array(all) => all,
        one => vec![one],
    };
    all.extend(next);
    Value::Array(all)
}

fn http_error(status: u16) -> RpcError {
    RpcError {
        code: i64::from(status),
        message: format!("HTTP {status}"),
        data: None,
    }
}

/// The messages of both sides.
fn read(exchange: &Exchange) -> Said {
    let mut said = Said::default();
    let request = &exchange.request;
    document(request, &mut said.by_client);
    let Some(response) = &exchange.response else {
        return said;
    };
    said.is_stream = response.media_type() == "text/event-stream";
    if !said.is_stream {
        document(response, &mut said.by_server);
        return said;
    }
    let times = (response.started, response.ended);
    for event in events(response) {
        if event.event == "endpoint" {
            said.endpoint.get_or_insert(event.data);
        } else {
            read_document(event.data.as_bytes(), true, times, &mut said.by_server);
        }
    }
    said
}

fn document(message: &HttpMessage, out: &mut Vec<Message>) {
    let body = &message.body;
    let times = (message.started, message.ended);
    read_document(&body.bytes, body.is_kept_whole(), times, out);
}

fn events(response: &HttpMessage) -> Vec<sse::Event> {
    let mut parser = sse::Parser::default();
    let mut events = Vec::new();
    let mut from = 0;
    let bytes = &response.body.bytes;
    for gap in response.body.gaps.iter().chain([&bytes.len()]) {
        parser.push(bytes.get(from..*gap).unwrap_or_default(), &mut events);
        if *gap < bytes.len() {
            parser.gap();
        }
        from = *gap;
    }
    events.extend(parser.finish());
    events
}

/// The protocol that an exchange speaks, if it is one of the two. JSON-RPC of other kinds over HTTP stays
/// an exchange like any other.
fn protocol_of(exchange: &Exchange, said: &Said, known: Option<&Facts>) -> Option<Protocol> {
    let told =
        said.by_client
            .iter()
            .chain(&said.by_server)
            .find_map(|message| match &message.content {
                Content::Request { method, params, .. }
                | Content::Notification { method, params } => Protocol::of(method, params),
                Content::Response { .. } => None,
            });
    let headers = &exchange.request.headers;
    let by_header = ["mcp-protocol-version", "mcp-session-id"]
        .iter()
        .any(|name| headers.get(name).is_some());
    told.or(by_header.then_some(Protocol::Mcp))
        .or(known.and_then(|facts| facts.protocol))
        .or(said.endpoint.is_some().then_some(Protocol::Mcp))
        .filter(|protocol| matches!(protocol, Protocol::Mcp | Protocol::A2a))
}

/// What names the conversation that an exchange belongs to: the server, the path, and the session.
fn session_name(exchange: &Exchange, said: &Said) -> String {
    let base = format!("{}://{}", exchange.scheme, exchange.host());
    if let Some(endpoint) = &said.endpoint {
        // Relative to the server, or whole.
        return match endpoint.starts_with('/') {
            true => format!("{base}{endpoint}"),
            false => endpoint.clone(),
        };
    }
    let header = |message: &HttpMessage| message.headers.get("mcp-session-id").map(str::to_owned);
    let session = header(&exchange.request)
        .or_else(|| exchange.response.as_ref().and_then(header))
        .unwrap_or_default();
    let is_a2a = said.by_client.iter().any(|message| {
        matches!(&message.content, Content::Request { method, params, .. }
            if a2a::is_request(method, params))
    });
    match is_a2a {
        // The description of an agent lies elsewhere on its server.
        true => base,
        false => format!("{base}{}{session}", exchange.path_and_query()),
    }
}

fn body_of(message: &HttpMessage) -> Option<Value> {
    parse_document(&message.body.bytes)
}

fn rpc_body(message: &HttpMessage) -> RpcBody {
    let info = &message.body.info;
    RpcBody {
        bytes: info.bytes,
        sha256: info.sha256.clone(),
        complete: info.complete,
    }
}

/// The documents in a response: its body, or the events of its stream.
fn results_of(response: &HttpMessage) -> Vec<Value> {
    if response.media_type() != "text/event-stream" {
        return body_of(response).into_iter().collect();
    }
    events(response)
        .iter()
        .filter_map(|event| parse_document(event.data.as_bytes()))
        .collect()
}

/// The outcome of an operation: one, of all results of a stream.
fn outcomes(response: &HttpMessage, mut results: Vec<Value>) -> Vec<Result<Value, RpcError>> {
    if let Some(status) = response.status().filter(|status| *status >= 400) {
        let data = results.pop();
        return vec![Err(RpcError {
            data,
            ..http_error(status)
        })];
    }
    results.into_iter().map(Ok).collect()
}

/// Whether a document describes an agent.
fn is_card(value: &Value) -> bool {
    let has = |name: &str| value.get(name).is_some();
    has("name")
        && has("skills")
        && (has("url") || has("supportedInterfaces") || has("capabilities"))
}

fn card_peer(card: &Value) -> Option<RpcPeer> {
    let text = |name: &str| card.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(RpcPeer {
        name: text("name")?,
        version: text("version"),
    })
}
