//! The kinds of events that rules name: those of the ledger, and finer ones that are made of them.
//!
//! An opened file is `file.open`, and `file.read`, `file.write`, `file.create` by what it was opened for. A
//! conversation with a model is `llm.call`, and one `tool.call`, `tool.result` or `tool.definition` for each
//! tool call in the answer, each new result in the request, and each definition not seen before.

use agentsight_model::{Event, EventBody};

/// A set of kinds: bit `n` is the kind at index `n` of [`KINDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KindSet(pub(crate) u64);

impl KindSet {
    pub(crate) const fn of(kind: Kind) -> Self {
        Self(1 << kind as u32)
    }

    pub(crate) const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u32)
    }

    pub(crate) fn contains(self, kind: Kind) -> bool {
        self.0 & Self::of(kind).0 != 0
    }

    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn insert(&mut self, kind: Kind) {
        self.0 |= Self::of(kind).0;
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Kind> {
        KINDS
            .iter()
            .map(|info| info.kind)
            .filter(move |kind| self.contains(*kind))
    }
}

/// Defines the kinds once: the enum, and the table of their names and meanings.
macro_rules! kinds {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// A kind of event, as rules name it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub(crate) enum Kind { $(#[doc = $doc] $variant,)* }

        /// Every kind.
        pub(crate) const KINDS: &[KindInfo] = &[
            $(KindInfo { kind: Kind::$variant, name: $name, doc: $doc },)*
        ];
    };
}

/// A kind with its name.
#[derive(Debug)]
pub(crate) struct KindInfo {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
}

kinds! {
    ProcessExec "process.exec" "A program was started.",
    ProcessFork "process.fork" "A process was made; the event's process is the parent.",
    ProcessExit "process.exit" "A process ended.",
    ProcessSignal "process.signal" "A signal was sent.",
    ProcessPtrace "process.ptrace" "A process reached into another.",
    ProcessCredentials "process.credentials" "A process changed whom it acts as.",
    FileOpen "file.open" "A file was opened, for whatever purpose.",
    FileRead "file.read" "A file was opened for reading.",
    FileWrite "file.write" "A file was opened for writing.",
    FileCreate "file.create" "A file was made by being opened.",
    FileDelete "file.delete" "A name was removed.",
    FileRename "file.rename" "A name was changed; `file.path` is the new one.",
    FileLink "file.link" "A file got one more name, or a symbolic link was made.",
    FileChmod "file.chmod" "Mode, owner or attributes of a file were changed.",
    FileTruncate "file.truncate" "A file's length was set.",
    FileMmap "file.mmap" "A file was mapped, or memory that may be written and run.",
    FilePass "file.pass" "An open file went from one process to another.",
    NetworkConnect "network.connect" "A socket was connected, or was asked to.",
    NetworkAccept "network.accept" "A connection was accepted.",
    NetworkListen "network.listen" "A socket began to listen.",
    NetworkClose "network.close" "A connection ended; has its byte counts.",
    NetworkDns "network.dns" "A name was looked up, in the clear.",
    NetworkUnix "network.unix" "A unix socket was connected.",
    NetworkSocket "network.socket" "A socket of another family than IP and unix was made.",
    IpcPipe "ipc.pipe" "An end of a channel between processes was used for the first time.",
    KernelBpf "kernel.bpf" "The bpf system call.",
    KernelMount "kernel.mount" "Mounts were changed.",
    KernelNamespace "kernel.namespace" "Namespaces were made or entered.",
    KernelModule "kernel.module" "A module or another kernel was loaded.",
    KernelIoUring "kernel.io_uring" "Something was asked of io_uring.",
    HttpExchange "http.exchange" "An HTTP request that is no conversation with a model, with its answer.",
    TlsConnection "tls.connection" "What is known of a TLS connection.",
    LlmCall "llm.call" "A conversation with a model has been answered.",
    ToolCall "tool.call" "A model asked for a tool call.",
    ToolResult "tool.result" "A tool's result went to a model.",
    ToolDefinition "tool.definition" "A model was told of a tool, for the first time or not as before.",
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|info| info.kind == self)
            .map_or("", |info| info.name)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let mut kinds = KINDS.iter();
        Some(kinds.find(|info| info.name == name)?.kind)
    }
}

/// The kinds that an event is, without those of the tools in it.
pub(crate) fn kinds_of(event: &Event) -> KindSet {
    let one = match &event.body {
        EventBody::FileOpen(open) => {
            let mut kinds = KindSet::of(Kind::FileOpen);
            let access = open.access;
            for (is, kind) in [
                (access.read, Kind::FileRead),
                (access.write || access.truncate, Kind::FileWrite),
                (access.create, Kind::FileCreate),
            ] {
                if is {
                    kinds.insert(kind);
                }
            }
            return kinds;
        }
        EventBody::ProcessExec(_) => Kind::ProcessExec,
        EventBody::ProcessFork(_) => Kind::ProcessFork,
        EventBody::ProcessExit(_) => Kind::ProcessExit,
        EventBody::ProcessSignal(_) => Kind::ProcessSignal,
        EventBody::ProcessTrace(_) => Kind::ProcessPtrace,
        EventBody::ProcessCredentials(_) => Kind::ProcessCredentials,
        EventBody::FileDelete(_) => Kind::FileDelete,
        EventBody::FileRename(_) => Kind::FileRename,
        EventBody::FileLink(_) => Kind::FileLink,
        EventBody::FileAttributes(_) => Kind::FileChmod,
        EventBody::FileTruncate(_) => Kind::FileTruncate,
        EventBody::FileMap(_) => Kind::FileMmap,
        EventBody::FilePass(_) => Kind::FilePass,
        EventBody::NetworkConnect(_) => Kind::NetworkConnect,
        EventBody::NetworkAccept(_) => Kind::NetworkAccept,
        EventBody::NetworkListen(_) => Kind::NetworkListen,
        EventBody::NetworkClose(_) => Kind::NetworkClose,
        EventBody::NetworkDns(_) => Kind::NetworkDns,
        EventBody::NetworkUnix(_) => Kind::NetworkUnix,
        EventBody::NetworkSocket(_) => Kind::NetworkSocket,
        EventBody::IpcPipe(_) => Kind::IpcPipe,
        EventBody::KernelBpf(_) => Kind::KernelBpf,
        EventBody::KernelMount(_) => Kind::KernelMount,
        EventBody::KernelNamespace(_) => Kind::KernelNamespace,
        EventBody::KernelModule(_) => Kind::KernelModule,
        EventBody::KernelIoUring(_) => Kind::KernelIoUring,
        EventBody::HttpExchange(_) => Kind::HttpExchange,
        EventBody::TlsConnection(_) => Kind::TlsConnection,
        EventBody::LlmCall(_) => Kind::LlmCall,
        _ => return KindSet::default(),
    };
    KindSet::of(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_fits_a_set() {
        assert!(KINDS.len() <= 64);
        for (index, info) in KINDS.iter().enumerate() {
            assert_eq!(info.kind as usize, index);
            assert_eq!(Kind::from_name(info.name), Some(info.kind));
        }
    }
}
