//! From captured plaintext to facts.
//!
//! Each TLS stream has a decoder of its own. What it puts out becomes a conversation with a model or, if
//! it is none, a plain HTTP exchange; both pass the redactor before they leave. Memory is bounded: beyond
//! [`AssemblerOptions::max_streams`] or [`AssemblerOptions::max_buffered_bytes`] the streams that were
//! quiet the longest are ended, and their end says so.

mod rpc;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use agentsight_decode::http::{Connection, Exchange, Limits};
use agentsight_decode::llm;
use agentsight_decode::redact::{OwnPattern, Redactor};
use agentsight_model::{
    Direction, Event, EventBody, KTime, LlmCall, Part, Payload, PayloadEnd, ProcessKey, StreamKey,
};
use serde_json::Value;

use crate::rpc::channels::{ChannelLimits, Channels};
use crate::rpc::http::HttpConversations;
use crate::texts;
pub use rpc::FlowVerdict;

/// How streams are assembled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AssemblerOptions {
    /// Key of the hashes that stand for secrets.
    pub redaction_key: [u8; 32],
    /// The user's own patterns of what is secret.
    pub own_patterns: Vec<OwnPattern>,
    /// Whether message content is kept, or only its size and kind.
    pub content: bool,
    /// Streams that are followed at a time.
    pub max_streams: usize,
    /// Bytes that all streams together may hold.
    pub max_buffered_bytes: usize,
}

impl AssemblerOptions {
    /// The defaults, with the given key.
    #[must_use]
    pub fn new(redaction_key: [u8; 32]) -> Self {
        Self {
            redaction_key,
            own_patterns: Vec::new(),
            content: true,
            max_streams: 4096,
            max_buffered_bytes: 1 << 30,
        }
    }
}

/// One stream and what is needed to end it in fair order.
struct Stream {
    connection: Connection,
    buffered_bytes: usize,
    last_used: u64,
}

/// Turns payload into facts.
pub struct Assembler {
    options: AssemblerOptions,
    redactor: Redactor,
    streams: HashMap<StreamKey, Stream>,
    /// (last use, stream): who was quiet the longest comes first.
    quiet: BTreeSet<(u64, StreamKey)>,
    buffered_bytes: usize,
    uses: u64,
    calls: u64,
    channels: Channels,
    conversations: HttpConversations,
    /// Requests put out, by protocol.
    rpc_calls: rpc::CallNumbers,
}

/// Why a stream ends early.
const EVICTED: &str = "more streams or data at once than are followed";

impl Assembler {
    /// An assembler without streams.
    #[must_use]
    pub fn new(options: AssemblerOptions) -> Self {
        Self {
            redactor: Redactor::with_own(options.redaction_key, options.own_patterns.clone()),
            options,
            streams: HashMap::new(),
            quiet: BTreeSet::new(),
            buffered_bytes: 0,
            uses: 0,
            calls: 0,
            channels: Channels::new(ChannelLimits::default()),
            conversations: HttpConversations::default(),
            rpc_calls: rpc::CallNumbers::default(),
        }
    }

    /// Takes a run of plaintext. Facts that it completes are appended to `out`.
    pub fn payload(&mut self, payload: Payload, out: &mut Vec<Event>) {
        let key = payload.stream;
        self.uses = self.uses.saturating_add(1);
        let stream = self.streams.entry(key).or_insert_with(|| Stream {
            connection: if payload.cleartext {
                Connection::cleartext(Limits::default())
            } else {
                Connection::new(Limits::default())
            },
            buffered_bytes: 0,
            last_used: 0,
        });
        self.quiet.remove(&(stream.last_used, key));
        stream.last_used = self.uses;
        self.quiet.insert((self.uses, key));

        let mut exchanges = Vec::new();
        let Payload {
            time, direction, ..
        } = payload;
        if payload.missing_bytes > 0 {
            stream
                .connection
                .hole(direction, time, payload.missing_bytes, &mut exchanges);
        }
        stream
            .connection
            .push(direction, time, &payload.bytes, &mut exchanges);
        let buffered_bytes = stream.connection.buffered_bytes();
        self.buffered_bytes = self
            .buffered_bytes
            .saturating_sub(stream.buffered_bytes)
            .saturating_add(buffered_bytes);
        stream.buffered_bytes = buffered_bytes;
        self.take(key.process, exchanges, out);
        self.evict(time, out);
    }

    /// Takes the end of a stream.
    pub fn end(&mut self, end: PayloadEnd, out: &mut Vec<Event>) {
        self.close(end.stream, end.time, None, out);
    }

    /// Ends all streams of a process that ended or runs another program.
    pub fn process_exited(&mut self, process: ProcessKey, time: KTime, out: &mut Vec<Event>) {
        let mut keys: Vec<StreamKey> = self
            .streams
            .keys()
            .filter(|key| key.process == process)
            .copied()
            .collect();
        keys.sort_unstable();
        for key in keys {
            self.close(key, time, None, out);
        }
    }

    /// Ends all streams: what is unfinished comes out as far as it was seen.
    pub fn finish(&mut self, time: KTime, out: &mut Vec<Event>) {
        let mut keys: Vec<StreamKey> = self.streams.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.close(key, time, None, out);
        }
        self.finish_rpc(time, out);
    }

    /// Replaces secrets in a fact that did not come out of a stream: command lines and names of files.
    pub fn redact_event(&self, event: &mut Event) {
        match &mut event.body {
            EventBody::SessionStart(start) => {
                self.redactor.argv(&mut start.command);
                self.name(&mut start.cwd);
            }
            EventBody::ProcessExec(exec) => {
                self.redactor.argv(&mut exec.argv);
                self.name(&mut exec.exe.path);
                self.name(&mut exec.filename);
                self.name(&mut exec.cwd);
                if let Some(interpreter) = &mut exec.interpreter {
                    self.name(interpreter);
                }
            }
            EventBody::ProcessSeen(seen) => {
                self.redactor.argv(&mut seen.argv);
                self.name(&mut seen.exe.path);
                self.name(&mut seen.cwd);
            }
            EventBody::FileOpen(open) => self.name(&mut open.file.path),
            EventBody::LlmSources(found) => found
                .sources
                .iter_mut()
                .for_each(|source| self.name(&mut source.file.path)),
            EventBody::FileDelete(delete) => self.name(&mut delete.file.path),
            EventBody::FileLink(link) => {
                self.name(&mut link.file.path);
                self.name(&mut link.target);
            }
            EventBody::FileAttributes(change) => self.name(&mut change.file.path),
            EventBody::FileTruncate(truncate) => self.name(&mut truncate.file.path),
            EventBody::FileMap(map) => self.name(&mut map.file.path),
            EventBody::FilePass(pass) => self.name(&mut pass.file.path),
            EventBody::IpcPipe(pipe) => self.name(&mut pipe.path),
            EventBody::NetworkDns(dns) => self.name(&mut dns.question),
            EventBody::NetworkUnix(unix) => self.name(&mut unix.path),
            EventBody::KernelBpf(act)
            | EventBody::KernelMount(act)
            | EventBody::KernelNamespace(act)
            | EventBody::KernelModule(act)
            | EventBody::KernelIoUring(act) => {
                if let Some(file) = &mut act.file {
                    self.name(&mut file.path);
                }
                if let Some(name) = &mut act.name {
                    self.name(name);
                }
            }
            EventBody::FileRename(rename) => {
                self.name(&mut rename.from.path);
                self.name(&mut rename.to.path);
            }
            _ => {}
        }
    }

    fn name(&self, name: &mut String) {
        if let Cow::Owned(redacted) = self.redactor.text(name) {
            *name = redacted;
        }
    }

    fn close(&mut self, key: StreamKey, time: KTime, reason: Option<&str>, out: &mut Vec<Event>) {
        let Some(mut stream) = self.streams.remove(&key) else {
            return;
        };
        self.quiet.remove(&(stream.last_used, key));
        self.buffered_bytes = self.buffered_bytes.saturating_sub(stream.buffered_bytes);
        let mut exchanges = Vec::new();
        stream.connection.finish(time, &mut exchanges);
        self.take(key.process, exchanges, out);
        let mut end = stream.connection.summary().stream_end();
        if let Some(reason) = reason {
            end.error.get_or_insert_with(|| reason.to_owned());
        }
        out.push(Event {
            time,
            process: key.process,
            body: EventBody::StreamEnd(end),
        });
    }

    fn evict(&mut self, time: KTime, out: &mut Vec<Event>) {
        while self.streams.len() > self.options.max_streams
            || self.buffered_bytes > self.options.max_buffered_bytes
        {
            let Some(&(_, key)) = self.quiet.first() else {
                return;
            };
            self.close(key, time, Some(EVICTED), out);
        }
    }

    fn take(&mut self, process: ProcessKey, exchanges: Vec<Exchange>, out: &mut Vec<Event>) {
        for exchange in exchanges {
            let time = exchange.ended();
            let body = match self.llm_call(process, &exchange) {
                Some(call) => EventBody::LlmCall(Box::new(call)),
                None if self.rpc_exchange(process, &exchange, out) => continue,
                None => EventBody::HttpExchange(Box::new(self.redactor.exchange(&exchange))),
            };
            out.push(Event {
                time,
                process,
                body,
            });
        }
    }

    fn llm_call(&mut self, process: ProcessKey, exchange: &Exchange) -> Option<LlmCall> {
        // A server that is watched answers calls; the calls are its clients'.
        if exchange.requests_from != Direction::Sent {
            return None;
        }
        let number = self.calls.saturating_add(1);
        let mut call = llm::decode(exchange, process, &format!("llm-{number}"))?;
        self.calls = number;
        call.texts = texts::digests(&call.request.messages);
        self.redactor.call(&mut call);
        if !self.options.content {
            withhold_content(&mut call);
        }
        Some(call)
    }
}

/// What stands for text that is not kept.
fn withheld(bytes: usize) -> String {
    format!("[{bytes} bytes not kept]")
}

fn withhold_part(part: &mut Part) {
    match part {
        Part::Text { content } | Part::Reasoning { content } => *content = withheld(content.len()),
        Part::ToolCall { arguments, .. } => withhold_value(arguments),
        Part::ToolCallResponse { response, .. } => withhold_value(response),
        Part::Uri { uri, .. } => *uri = withheld(uri.len()),
        Part::Other { content, .. } => withhold_value(content),
        Part::Blob { .. } => {}
    }
}

fn withhold_value(value: &mut Value) {
    *value = Value::String(withheld(value.to_string().len()));
}

/// Removes what was said, and keeps who said how much of what kind.
fn withhold_content(call: &mut LlmCall) {
    let messages = call
        .request
        .messages
        .iter_mut()
        .chain(&mut call.response.messages);
    messages
        .flat_map(|message| &mut message.parts)
        .chain(&mut call.request.system)
        .for_each(withhold_part);
    for tool in &mut call.request.tools {
        tool.description = None;
        tool.parameters = None;
    }
    if let Some(error) = &mut call.error {
        error.message = withheld(error.message.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nHost: m.example\r\n\
        Authorization: Bearer sk-secret-secret-secret-secret\r\nContent-Length: 91\r\n\r\n\
        {\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"use key AKIAIOSFODNN7EXAMPLE, please\"}]}";
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 125\r\n\r\n\
        {\"id\":\"1\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"no\"},\"finish_r";

    fn payload(object: u64, direction: Direction, bytes: &[u8]) -> Payload {
        Payload {
            time: KTime(object),
            stream: StreamKey {
                process: ProcessKey {
                    tgid: 1,
                    start_ns: 1,
                },
                object,
            },
            tid: 1,
            direction,
            cleartext: false,
            missing_bytes: 0,
            bytes: bytes.to_vec(),
        }
    }

    fn assembler(content: bool) -> Assembler {
        let mut options = AssemblerOptions::new([1; 32]);
        options.content = content;
        options.max_streams = 2;
        Assembler::new(options)
    }

    fn only_call(events: &[Event]) -> &LlmCall {
        events
            .iter()
            .find_map(|event| match &event.body {
                EventBody::LlmCall(call) => Some(call.as_ref()),
                _ => None,
            })
            .unwrap()
    }

    #[test]
    fn a_call_comes_out_without_secrets_even_if_it_is_cut() {
        let mut assembler = assembler(true);
        let mut events = Vec::new();
        assembler.payload(payload(1, Direction::Sent, REQUEST), &mut events);
        assembler.payload(payload(1, Direction::Received, RESPONSE), &mut events);
        assembler.finish(KTime(9), &mut events);
        let call = only_call(&events);
        assert_eq!(call.id, "llm-1");
        assert!(!call.complete);
        let json = serde_json::to_string(&events).unwrap();
        assert!(
            !json.contains("AKIAIOSFODNN7EXAMPLE") && !json.contains("sk-secret"),
            "{json}"
        );
        assert!(json.contains("please"));
    }

    #[test]
    fn content_is_withheld_on_request() {
        let mut assembler = assembler(false);
        let mut events = Vec::new();
        assembler.payload(payload(1, Direction::Sent, REQUEST), &mut events);
        assembler.finish(KTime(9), &mut events);
        let json = serde_json::to_string(&events).unwrap();
        assert!(
            !json.contains("please") && json.contains("bytes not kept"),
            "{json}"
        );
    }

    #[test]
    fn the_quietest_stream_is_ended_when_there_are_too_many() {
        let mut assembler = assembler(true);
        let mut events = Vec::new();
        for object in [1, 2, 1, 3] {
            assembler.payload(payload(object, Direction::Sent, b"GET "), &mut events);
        }
        let ends: Vec<_> = events
            .iter()
            .filter_map(|event| match &event.body {
                EventBody::StreamEnd(end) => Some(end.error.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(ends.len(), 1);
        assert!(
            assembler
                .streams
                .contains_key(&payload(1, Direction::Sent, b"").stream)
        );
        assembler.finish(KTime(9), &mut events);
        assert!(assembler.streams.is_empty() && assembler.quiet.is_empty());
        assert_eq!(assembler.buffered_bytes, 0);
    }
}
