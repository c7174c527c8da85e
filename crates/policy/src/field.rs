//! The facts that rules may ask for: their names, types, and the kinds of events that have them.

use crate::kind::{Kind, KindSet};

/// Type of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Int,
    Bool,
    /// A list of texts.
    List,
}

impl Type {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::List => "list of strings",
        }
    }
}

/// Kinds that share facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Every event.
    Any,
    File,
    Open,
    Rename,
    Link,
    Chmod,
    Map,
    Pass,
    Address,
    Listen,
    Host,
    Traffic,
    Dns,
    Unix,
    Socket,
    Http,
    Tls,
    Llm,
    Tool,
    ToolCall,
    ToolResult,
    ToolDefinition,
    Operation,
    Signal,
    Credentials,
    Kernel,
    Exit,
}

impl Group {
    /// The kinds of events that have the facts of this group.
    pub(crate) const fn kinds(self) -> KindSet {
        use Kind as K;
        let none = KindSet(0);
        let opened = none
            .with(K::FileOpen)
            .with(K::FileRead)
            .with(K::FileWrite)
            .with(K::FileCreate);
        let kernel = none
            .with(K::KernelBpf)
            .with(K::KernelMount)
            .with(K::KernelNamespace)
            .with(K::KernelModule)
            .with(K::KernelIoUring);
        match self {
            Self::Any => KindSet(u64::MAX),
            Self::Open => opened,
            Self::File => KindSet(opened.0 | kernel.0)
                .with(K::ProcessExec)
                .with(K::FileDelete)
                .with(K::FileRename)
                .with(K::FileLink)
                .with(K::FileChmod)
                .with(K::FileTruncate)
                .with(K::FileMmap)
                .with(K::FilePass),
            Self::Rename => none.with(K::FileRename),
            Self::Link => none.with(K::FileLink),
            Self::Chmod => none.with(K::FileChmod),
            Self::Map => none.with(K::FileMmap),
            Self::Pass => none.with(K::FilePass),
            Self::Address => none
                .with(K::NetworkConnect)
                .with(K::NetworkAccept)
                .with(K::NetworkClose)
                .with(K::NetworkListen),
            Self::Listen => none.with(K::NetworkListen),
            Self::Host => none
                .with(K::NetworkConnect)
                .with(K::NetworkClose)
                .with(K::NetworkDns)
                .with(K::HttpExchange)
                .with(K::TlsConnection)
                .with(K::LlmCall),
            Self::Traffic => none.with(K::NetworkClose),
            Self::Dns => none.with(K::NetworkDns),
            Self::Unix => none.with(K::NetworkUnix).with(K::IpcPipe),
            Self::Socket => none.with(K::NetworkSocket),
            Self::Http => none.with(K::HttpExchange),
            Self::Tls => none.with(K::TlsConnection),
            Self::Llm => none
                .with(K::LlmCall)
                .with(K::ToolCall)
                .with(K::ToolResult)
                .with(K::ToolDefinition),
            Self::Tool => none
                .with(K::ToolCall)
                .with(K::ToolResult)
                .with(K::ToolDefinition),
            Self::ToolCall => none.with(K::ToolCall),
            Self::ToolResult => none.with(K::ToolResult),
            Self::ToolDefinition => none.with(K::ToolDefinition),
            Self::Operation => kernel
                .with(K::ProcessPtrace)
                .with(K::ProcessCredentials)
                .with(K::FileChmod),
            Self::Signal => none.with(K::ProcessSignal),
            Self::Credentials => none.with(K::ProcessCredentials),
            Self::Kernel => kernel,
            Self::Exit => none.with(K::ProcessExit),
        }
    }
}

/// A fact with its name and meaning.
#[derive(Debug)]
pub(crate) struct FieldInfo {
    pub(crate) field: Field,
    pub(crate) name: &'static str,
    pub(crate) ty: Type,
    pub(crate) group: Group,
    pub(crate) doc: &'static str,
}

/// Defines the facts once: the enum, and the table of their names, types and meanings.
macro_rules! fields {
    ($($variant:ident $name:literal $ty:ident $group:ident $doc:literal,)*) => {
        /// A fact that rules may ask for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Field { $(#[doc = $doc] $variant,)* }

        /// Every fact.
        pub(crate) const FIELDS: &[FieldInfo] = &[
            $(FieldInfo {
                field: Field::$variant,
                name: $name,
                ty: Type::$ty,
                group: Group::$group,
                doc: $doc,
            },)*
        ];
    };
}

fields! {
    SessionCwd "session.cwd" Text Any "Working directory of the watched command: the workspace.",
    SessionUser "session.user" Text Any "User that the command runs as.",
    SessionUid "session.uid" Int Any "Its number.",
    SessionCalls "session.llm_calls" Int Any "Conversations with models so far.",
    SessionTokens "session.tokens" Int Any "Tokens of all of them, in and out.",
    SessionCents "session.cost_cents" Int Any "List price of all of them in US cents, where it is known.",
    ProcessExe "process.exe" Text Any "Path of the program; for `process.exec`, of the new one.",
    ProcessName "process.name" Text Any "Last part of that path.",
    ProcessArgv "process.argv" List Any "Its arguments, the program's name first.",
    ProcessCommand "process.command" Text Any "Its arguments, joined by blanks.",
    ProcessCwd "process.cwd" Text Any "Its working directory when the program was started.",
    ProcessUid "process.uid" Int Any "Its real user id when the program was started.",
    ProcessPid "process.pid" Int Any "Its number.",
    ProcessAncestors "process.ancestors" List Any "Names of the programs above it, the nearest first, 32 at most.",
    ProcessAgent "process.agent" Text Any "Name of the agent that it is or works for; empty if not known.",
    ProcessIsAgent "process.is_agent" Bool Any "Whether it is an agent itself, by a profile or because it talks to a model.",
    ProcessLabels "process.labels" List Any "Its labels.",
    ParentExe "parent.exe" Text Any "Path of its parent's program.",
    ParentName "parent.name" Text Any "Last part of that path.",
    ParentCommand "parent.command" Text Any "Its parent's arguments, joined by blanks.",
    ParentAgent "parent.agent" Text Any "Name of the agent that its parent is or works for.",
    ParentIsAgent "parent.is_agent" Bool Any "Whether its parent is an agent.",
    FilePath "file.path" Text File "The file; for `process.exec`, the program.",
    FileName "file.name" Text File "Last part of the path.",
    FileMode "file.mode" Int File "Type and permission bits (`st_mode`), 0 if not known.",
    FileLabels "file.labels" List File "Its labels.",
    FileInWorkspace "file.in_workspace" Bool File "Whether it lies in or below the workspace.",
    FileInherited "file.inherited" Bool Open "Whether its opening was not seen: it was passed on or open before.",
    FileFrom "file.from" Text Rename "The old name.",
    FileTarget "file.target" Text Link "What the new name leads to.",
    FileSymbolic "file.symbolic" Bool Link "Whether it is a symbolic link.",
    FileOwner "file.owner" Int Chmod "User id of the owner after the act; -1 if it was not about the owner.",
    FileAttribute "file.attribute" Text Chmod "Name of the extended attribute.",
    FileExecute "file.execute" Bool Map "Whether the mapping may be run.",
    FileShared "file.shared" Bool Map "Whether writes to the mapping reach the file.",
    FileWritable "file.writable" Bool Map "Whether the mapping may be written.",
    FileReceived "file.received" Bool Pass "Whether the process got the file; else it sent it.",
    FileChannel "file.channel" Text Pass "How: `scm_rights`, `pidfd_getfd`, `inherited`.",
    NetworkAddress "network.address" Text Address "Address of the other side; of this side for `network.listen`.",
    NetworkPort "network.port" Int Address "Its port.",
    NetworkLoopback "network.is_loopback" Bool Address "Whether it is this machine.",
    NetworkPrivate "network.is_private" Bool Address "Whether it is loopback, private, link-local or unique local.",
    NetworkAny "network.is_any" Bool Listen "Whether it listens on all addresses.",
    NetworkSent "network.sent_bytes" Int Traffic "Bytes sent.",
    NetworkReceived "network.received_bytes" Int Traffic "Bytes received.",
    NetworkHost "network.host" Text Host "Name of the other side, as far as known: by an earlier look-up of the address, TLS, HTTP.",
    DnsType "dns.record_type" Text Dns "Type of the record asked for, such as `TXT`.",
    DnsResponse "dns.response" Text Dns "Response code; empty for a question.",
    DnsLongestLabel "dns.longest_label" Int Dns "Length of the longest part of the name.",
    DnsParent "dns.parent" Text Dns "The last two parts of the name.",
    UnixPath "unix.path" Text Unix "Address of the unix socket, or name of the FIFO or terminal.",
    SocketFamily "socket.family" Text Socket "Address family, such as `packet`, `vsock`, `inet.raw`.",
    HttpMethod "http.method" Text Http "Request method.",
    HttpTarget "http.target" Text Http "Path and query.",
    HttpStatus "http.status" Int Http "Status; 0 if no answer was seen.",
    HttpRequestBytes "http.request_bytes" Int Http "Bytes of the request's body.",
    HttpResponseBytes "http.response_bytes" Int Http "Bytes of the answer's body.",
    TlsPlaintext "tls.plaintext" Bool Tls "Whether its plaintext is seen.",
    TlsHidden "tls.encrypted_hello" Bool Tls "Whether the client hid the server's name.",
    LlmProvider "llm.provider" Text Llm "`gen_ai.provider.name`.",
    LlmModel "llm.model" Text Llm "The model that answered, or else the one asked for.",
    LlmEndpoint "llm.endpoint" Text Llm "Scheme, host and path.",
    LlmStatus "llm.status" Int Llm "HTTP status; 0 if no answer was seen.",
    LlmInput "llm.input_tokens" Int Llm "Tokens in.",
    LlmOutput "llm.output_tokens" Int Llm "Tokens out.",
    LlmHostChanged "llm.host_changed" Bool Llm "Whether this agent talked to another domain before.",
    ToolName "tool.name" Text Tool "The tool.",
    ToolServer "tool.server" Text Tool "The MCP server in its name (`mcp__server__tool`); empty if there is none.",
    ToolArguments "tool.arguments" Text ToolCall "The texts in its arguments, one a line.",
    ToolText "tool.result" Text ToolResult "The texts in its result, one a line.",
    ToolIsError "tool.is_error" Bool ToolResult "Whether the tool said that it failed.",
    ToolDescription "tool.description" Text ToolDefinition "What the model is told about it.",
    ToolChanged "tool.changed" Bool ToolDefinition "Whether the agent's earlier requests described it otherwise.",
    Operation "operation" Text Operation "What was called, such as `ptrace.attach`, `setuid`, `bpf.prog_load`.",
    SignalNumber "signal.number" Int Signal "The signal.",
    SignalTarget "signal.target" Text Signal "Name of the process that gets it.",
    SignalOutside "signal.is_outside" Bool Signal "Whether that process is none of the session's.",
    CredentialsUid "credentials.uid" Int Credentials "Real user id after the act.",
    CredentialsEuid "credentials.euid" Int Credentials "Effective user id after the act.",
    CredentialsCapabilities "credentials.capabilities" Int Credentials "Effective capabilities after the act, as a number.",
    KernelName "kernel.name" Text Kernel "A name that came with the call: file-system type, module.",
    KernelFlags "kernel.argument" Int Kernel "The call's first argument that means something, 0 if there is none.",
    ExitCode "exit.code" Int Exit "Exit code; -1 if a signal ended it.",
    ExitSignal "exit.signal" Int Exit "The signal that ended it; 0 if none did.",
}

/// The fact of this name.
pub(crate) fn field(name: &str) -> Option<&'static FieldInfo> {
    FIELDS.iter().find(|info| info.name == name)
}

/// What is known of a field.
impl Field {
    pub(crate) fn info(self) -> Option<&'static FieldInfo> {
        FIELDS.iter().find(|info| info.field == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_fact_is_of_some_kind() {
        for (index, info) in FIELDS.iter().enumerate() {
            let (_, rest) = FIELDS.split_at(index + 1);
            assert!(rest.iter().all(|other| other.name != info.name));
            assert_ne!(info.group.kinds().0, 0, "{}", info.name);
        }
    }
}
