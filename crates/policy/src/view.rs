//! One event as rules see it: with what is known of its process, its session and its objects.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use agentsight_model::{Event, EventBody, FileRef, KernelAct};

use crate::engine::context::{Process, ProcessTable, SessionFacts};
use crate::engine::flow::{LabelSet, labels_in};
use crate::field::Field;
use crate::kind::Kind;

/// A tool call, a result or a definition, taken out of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ToolFacts {
    pub(crate) name: String,
    /// Arguments, result or description, as text.
    pub(crate) text: String,
    pub(crate) is_error: bool,
    pub(crate) changed: bool,
}

/// An event and what is known around it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) event: &'a Event,
    /// The finest kind that it is.
    pub(crate) kind: Kind,
    pub(crate) process: &'a Process,
    pub(crate) processes: &'a ProcessTable,
    pub(crate) session: &'a SessionFacts,
    pub(crate) label_names: &'a [String],
    pub(crate) file_labels: LabelSet,
    /// Name of the other side, by what was seen before.
    pub(crate) host: &'a str,
    pub(crate) tool: Option<&'a ToolFacts>,
    pub(crate) host_changed: bool,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Last part of a path.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The host of a URL.
pub(crate) fn host_of(endpoint: &str) -> &str {
    let rest = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// The MCP server in the name of a tool, as the common agents write it.
fn mcp_server(tool: &str) -> &str {
    tool.strip_prefix("mcp__")
        .and_then(|rest| rest.split_once("__"))
        .map_or("", |(server, _)| server)
}

pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            // RFC 6598 has the last one: between customers and their provider.
            let carrier = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || carrier
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_unspecified()
        }
    }
}

impl<'a> View<'a> {
    /// The file that the event is about.
    pub(crate) fn file(&self) -> Option<&'a FileRef> {
        match &self.event.body {
            EventBody::FileOpen(open) => Some(&open.file),
            EventBody::FileDelete(delete) => Some(&delete.file),
            EventBody::FileRename(rename) => Some(&rename.to),
            EventBody::FileLink(link) => Some(&link.file),
            EventBody::FileAttributes(change) => Some(&change.file),
            EventBody::FileTruncate(truncate) => Some(&truncate.file),
            EventBody::FileMap(map) => Some(&map.file),
            EventBody::FilePass(pass) => Some(&pass.file),
            EventBody::ProcessExec(exec) => Some(&exec.exe),
            _ => self.kernel().and_then(|act| act.file.as_ref()),
        }
    }

    fn kernel(&self) -> Option<&'a KernelAct> {
        match &self.event.body {
            EventBody::KernelBpf(act)
            | EventBody::KernelMount(act)
            | EventBody::KernelNamespace(act)
            | EventBody::KernelModule(act)
            | EventBody::KernelIoUring(act) => Some(act),
            _ => None,
        }
    }

    pub(crate) fn path(&self) -> &'a str {
        self.file().map_or("", |file| &file.path)
    }

    /// The address that a connection is about.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        address_of(&self.event.body)
    }

    pub(crate) fn in_workspace(&self) -> bool {
        let (path, root) = (self.path(), self.session.cwd.as_str());
        !root.is_empty()
            && path
                .strip_prefix(root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || root.ends_with('/'))
    }

    pub(crate) fn parent(&self) -> Option<&'a Process> {
        self.processes.get(self.process.parent)
    }

    /// Names of the programs above the process, the nearest first.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = &'a str> {
        self.processes
            .ancestors(self.process)
            .map(|process| process.name())
    }

    pub(crate) fn tool_text(&self) -> &'a str {
        self.tool.map_or("", |tool| &tool.text)
    }

    pub(crate) fn operation(&self) -> &'a str {
        match &self.event.body {
            EventBody::ProcessTrace(trace) => &trace.operation,
            EventBody::ProcessCredentials(change) => &change.operation,
            EventBody::FileAttributes(change) => &change.operation,
            _ => self.kernel().map_or("", |act| &act.operation),
        }
    }

    /// Name of the other side, as far as it is known.
    pub(crate) fn host(&self) -> &'a str {
        match &self.event.body {
            EventBody::NetworkDns(dns) => &dns.question,
            EventBody::HttpExchange(exchange) => host_of(&exchange.host),
            EventBody::TlsConnection(tls) => tls.server_name.as_deref().unwrap_or(self.host),
            EventBody::LlmCall(call) => host_of(&call.endpoint),
            _ => self.host,
        }
    }

    /// A fact that is a text.
    pub(crate) fn text(&self, field: Field) -> Cow<'a, str> {
        match field {
            Field::NetworkAddress => {
                let address = self.address().map(|address| address.ip().to_canonical());
                Cow::Owned(address.map(|ip| ip.to_string()).unwrap_or_default())
            }
            Field::FileName => Cow::Borrowed(file_name(self.path())),
            _ => Cow::Borrowed(
                self.process_text(field)
                    .unwrap_or_else(|| self.object_text(field)),
            ),
        }
    }

    /// Facts of sessions and processes.
    fn process_text(&self, field: Field) -> Option<&'a str> {
        let parent = self.parent();
        Some(match field {
            Field::SessionCwd => &self.session.cwd,
            Field::SessionUser => &self.session.user,
            Field::ProcessExe => &self.process.image.exe,
            Field::ProcessName => self.process.name(),
            Field::ProcessCommand => &self.process.image.command,
            Field::ProcessCwd => &self.process.image.cwd,
            Field::ProcessAgent => self.process.agent.as_deref().unwrap_or_default(),
            Field::ParentExe => parent.map_or("", |parent| &parent.image.exe),
            Field::ParentName => parent.map_or("", |parent| parent.name()),
            Field::ParentAgent => {
                parent.map_or("", |parent| parent.agent.as_deref().unwrap_or_default())
            }
            Field::ParentCommand => parent.map_or("", |parent| &parent.image.command),
            _ => return None,
        })
    }

    /// Facts of what an event is about.
    fn object_text(&self, field: Field) -> &'a str {
        match (field, &self.event.body) {
            (Field::FilePath, _) => self.path(),
            (Field::FileFrom, EventBody::FileRename(rename)) => &rename.from.path,
            (Field::FileTarget, EventBody::FileLink(link)) => &link.target,
            (Field::FileAttribute, EventBody::FileAttributes(change)) => {
                change.attribute.as_deref().unwrap_or_default()
            }
            (Field::FileChannel, EventBody::FilePass(pass)) => &pass.channel,
            (Field::NetworkHost, _) => self.host(),
            (Field::DnsType, EventBody::NetworkDns(dns)) => &dns.record_type,
            (Field::DnsResponse, EventBody::NetworkDns(dns)) => {
                dns.response.as_deref().unwrap_or_default()
            }
            (Field::DnsParent, EventBody::NetworkDns(dns)) => parent_domain(&dns.question),
            (Field::UnixPath, EventBody::NetworkUnix(unix)) => &unix.path,
            (Field::UnixPath, EventBody::IpcPipe(pipe)) => &pipe.path,
            (Field::SocketFamily, EventBody::NetworkSocket(socket)) => &socket.family,
            (Field::HttpMethod, EventBody::HttpExchange(exchange)) => &exchange.method,
            (Field::HttpTarget, EventBody::HttpExchange(exchange)) => &exchange.target,
            (Field::LlmProvider, EventBody::LlmCall(call)) => &call.provider,
            (Field::LlmModel, EventBody::LlmCall(call)) => {
                call.model.as_deref().unwrap_or_default()
            }
            (Field::LlmEndpoint, EventBody::LlmCall(call)) => &call.endpoint,
            (Field::ToolName, _) => self.tool.map_or("", |tool| &tool.name),
            (Field::ToolServer, _) => self.tool.map_or("", |tool| mcp_server(&tool.name)),
            (Field::ToolArguments | Field::ToolText | Field::ToolDescription, _) => {
                self.tool_text()
            }
            (Field::Operation, _) => self.operation(),
            (Field::SignalTarget, EventBody::ProcessSignal(signal)) => &signal.target_comm,
            (Field::KernelName, _) => self
                .kernel()
                .and_then(|act| act.name.as_deref())
                .unwrap_or_default(),
            _ => "",
        }
    }

    /// A fact that is an integer.
    pub(crate) fn int(&self, field: Field) -> i64 {
        match field {
            Field::SessionUid => i64::from(self.session.uid),
            Field::SessionCalls => signed(self.session.calls),
            Field::SessionTokens => signed(self.session.tokens),
            Field::SessionCents => self.session.cents(),
            Field::ProcessUid => i64::from(self.process.image.uid),
            Field::ProcessPid => i64::from(self.event.process.tgid),
            Field::FileMode => self.file().map_or(0, |file| i64::from(file.mode)),
            Field::NetworkPort => self
                .address()
                .map_or(0, |address| i64::from(address.port())),
            Field::KernelFlags => self
                .kernel()
                .and_then(|act| act.arguments.first())
                .map_or(0, |argument| signed(*argument)),
            _ => self.object_int(field),
        }
    }

    fn object_int(&self, field: Field) -> i64 {
        match (field, &self.event.body) {
            (Field::FileOwner, EventBody::FileAttributes(change)) => {
                change.owner.map_or(-1, |(uid, _)| i64::from(uid))
            }
            (Field::NetworkSent, EventBody::NetworkClose(close)) => signed(close.sent_bytes),
            (Field::NetworkReceived, EventBody::NetworkClose(close)) => {
                signed(close.received_bytes)
            }
            (Field::DnsLongestLabel, EventBody::NetworkDns(dns)) => {
                let lengths = dns.question.split('.').map(str::len);
                lengths.max().map_or(0, |length| signed(length as u64))
            }
            (Field::HttpStatus, EventBody::HttpExchange(exchange)) => {
                exchange.status.map_or(0, i64::from)
            }
            (Field::HttpRequestBytes, EventBody::HttpExchange(exchange)) => {
                signed(exchange.request_bytes)
            }
            (Field::HttpResponseBytes, EventBody::HttpExchange(exchange)) => {
                signed(exchange.response_bytes)
            }
            (Field::LlmStatus, EventBody::LlmCall(call)) => call.status.map_or(0, i64::from),
            (Field::LlmInput, EventBody::LlmCall(call)) => {
                call.usage.input_tokens.map_or(0, signed)
            }
            (Field::LlmOutput, EventBody::LlmCall(call)) => {
                call.usage.output_tokens.map_or(0, signed)
            }
            (Field::SignalNumber, EventBody::ProcessSignal(signal)) => i64::from(signal.signal),
            (Field::CredentialsUid, EventBody::ProcessCredentials(change)) => i64::from(change.uid),
            (Field::CredentialsEuid, EventBody::ProcessCredentials(change)) => {
                i64::from(change.euid)
            }
            (Field::CredentialsCapabilities, EventBody::ProcessCredentials(change)) => {
                signed(change.capabilities)
            }
            (Field::ExitCode, EventBody::ProcessExit(exit)) => exit.code.map_or(-1, i64::from),
            (Field::ExitSignal, EventBody::ProcessExit(exit)) => exit.signal.map_or(0, i64::from),
            _ => 0,
        }
    }

    /// A fact that is true or false.
    pub(crate) fn flag(&self, field: Field) -> bool {
        let address = || self.address().map(|address| address.ip().to_canonical());
        match (field, &self.event.body) {
            (Field::ProcessIsAgent, _) => self.process.is_agent,
            (Field::ParentIsAgent, _) => self.parent().is_some_and(|parent| parent.is_agent),
            (Field::FileInWorkspace, _) => self.in_workspace(),
            (Field::FileInherited, EventBody::FileOpen(open)) => open.inherited,
            (Field::FileSymbolic, EventBody::FileLink(link)) => link.symbolic,
            (Field::FileExecute, EventBody::FileMap(map)) => map.execute,
            (Field::FileShared, EventBody::FileMap(map)) => map.shared,
            (Field::FileWritable, EventBody::FileMap(map)) => map.write,
            (Field::FileReceived, EventBody::FilePass(pass)) => pass.received,
            (Field::NetworkLoopback, _) => address().is_some_and(|address| address.is_loopback()),
            (Field::NetworkPrivate, _) => address().is_some_and(is_private),
            (Field::NetworkAny, _) => address().is_some_and(|address| address.is_unspecified()),
            (Field::TlsPlaintext, EventBody::TlsConnection(tls)) => tls.plaintext,
            (Field::TlsHidden, EventBody::TlsConnection(tls)) => tls.encrypted_hello,
            (Field::LlmHostChanged, _) => self.host_changed,
            (Field::ToolIsError, _) => self.tool.is_some_and(|tool| tool.is_error),
            (Field::ToolChanged, _) => self.tool.is_some_and(|tool| tool.changed),
            (Field::SignalOutside, EventBody::ProcessSignal(signal)) => {
                !self.processes.knows(signal.target)
            }
            _ => false,
        }
    }

    /// A fact that is a list of texts.
    pub(crate) fn list(&self, field: Field) -> Vec<Cow<'a, str>> {
        let borrowed = |labels: LabelSet| {
            labels_in(labels, self.label_names)
                .map(Cow::Borrowed)
                .collect()
        };
        match field {
            Field::ProcessArgv => {
                let argv = self.process.image.argv.iter();
                argv.map(|word| Cow::Borrowed(word.as_str())).collect()
            }
            Field::ProcessAncestors => self.ancestors().map(Cow::Borrowed).collect(),
            Field::ProcessLabels => borrowed(self.process.labels),
            Field::FileLabels => borrowed(self.file_labels),
            _ => Vec::new(),
        }
    }
}

/// The address that a connection is about.
pub(crate) fn address_of(body: &EventBody) -> Option<SocketAddr> {
    match body {
        EventBody::NetworkConnect(connect) => Some(connect.remote),
        EventBody::NetworkAccept(accept) => Some(accept.remote),
        EventBody::NetworkListen(listen) => Some(listen.local),
        EventBody::NetworkClose(close) => close.remote,
        _ => None,
    }
}

/// The last two parts of a name.
pub(crate) fn parent_domain(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.');
    match dots.nth(1) {
        Some((at, _)) => name.get(at.saturating_add(1)..).unwrap_or(name),
        None => name,
    }
}
