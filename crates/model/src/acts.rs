//! Acts that are neither the life of a process, nor the use of a file, nor a connection: what one process
//! does to another, to names and attributes, to the kernel, and the channels between processes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Access, FileRef, ProcessKey};

/// A process sent a signal to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSignal {
    /// Who gets it.
    pub target: ProcessKey,
    /// Its `comm`, as it may be outside the tree.
    pub target_comm: String,
    /// The signal's number.
    pub signal: i32,
}

/// A process reached into another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessTrace {
    /// What was called, such as `ptrace.attach`, `process_vm_writev` or `pidfd_getfd`.
    pub operation: String,
    /// The other process; its start time is 0 where it is not known.
    pub target: ProcessKey,
    /// The error by which the kernel refused (errno(3)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<i32>,
}

/// A process changed whom it acts as. The figures are those after the act.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessCredentials {
    /// What was called, such as `setuid` or `capset`.
    pub operation: String,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Effective capabilities, as in `/proc/PID/status` (capabilities(7)).
    pub capabilities: u64,
}

/// A file got one more name, or a symbolic link was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLink {
    /// The new name; with the inode's identity.
    pub file: FileRef,
    /// What it leads to: the old name of a hard link, the text of a symbolic one.
    pub target: String,
    /// Whether it is a symbolic link.
    pub symbolic: bool,
}

/// Mode, owner or extended attributes of a file were changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAttributes {
    /// `chmod`, `chown`, `setxattr` or `removexattr`.
    pub operation: String,
    /// The file, with its mode after the act.
    pub file: FileRef,
    /// Owner after the act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<(u32, u32)>,
    /// Name of the extended attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
}

/// A file's length was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTruncate {
    /// The file.
    pub file: FileRef,
    /// Its length after the act, in bytes.
    pub length: u64,
}

/// A file was mapped so that memory accesses reach it, or runs as code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMap {
    /// The file; empty for anonymous memory that may be written and run.
    pub file: FileRef,
    /// Whether it is shared: writes reach the file.
    pub shared: bool,
    /// Whether it may be written.
    pub write: bool,
    /// Whether it may be run.
    pub execute: bool,
}

/// Open files went from one process to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePass {
    /// Whether this process got them; otherwise it sent them.
    pub received: bool,
    /// How: `scm_rights`, `pidfd_getfd` or `inherited`.
    pub channel: String,
    /// The file.
    pub file: FileRef,
}

/// What joins two ends of a channel.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// A pipe or FIFO: one inode, which one side writes and the other reads.
    #[default]
    Pipe,
    /// A pair of connected unix sockets: each side has an inode of its own.
    Unix,
    /// A terminal.
    Terminal,
}

/// One end of a channel between processes, as the kernel knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Channel {
    /// What it is.
    #[serde(rename = "channel")]
    pub kind: ChannelKind,
    /// Inode number: of the pipe, of this side's socket, or of the terminal.
    pub ino: u64,
    /// Inode number of the other side's socket; 0 if it has none or it is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub peer_ino: u64,
}

/// A process used one end of a channel for the first time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpcPipe {
    /// Ties this event to the totals in [`crate::FileUse`]; unique within the process.
    pub use_id: u64,
    /// The end.
    #[serde(flatten)]
    pub channel: Channel,
    /// Name of a FIFO or terminal, or the address of a unix socket.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What this first use was: `read` or `write`.
    pub access: Access,
}

/// The kernel itself was asked to change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelAct {
    /// What was called, such as `bpf.prog_load`, `mount`, `unshare` or `io_uring.openat`.
    pub operation: String,
    /// The call's first arguments, as numbers, where they mean something (flags, descriptors).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<u64>,
    /// The file or directory that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileRef>,
    /// A name that came with the call: a file-system type, a module's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The error by which the kernel refused (errno(3)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<i32>,
}

/// A name was looked up, over DNS in the clear.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkDns {
    /// The name asked for, without the final dot; bytes that are not printable are escaped as `\\DDD`.
    pub question: String,
    /// Type of the record asked for, such as `A`, `AAAA` or `TYPE65` (RFC 3597).
    pub record_type: String,
    /// Response code of an answer, such as `NOERROR`; absent for a question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// Addresses in the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// The server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<std::net::SocketAddr>,
}

/// A unix socket was connected to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkUnix {
    /// This side's socket.
    #[serde(flatten)]
    pub channel: Channel,
    /// Address of the other side: a path, or `@` and an abstract name.
    pub path: String,
    /// The process that listens there, where the kernel knows it; its start time is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<ProcessKey>,
}

/// A socket of a family other than IP and unix was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSocket {
    /// Address family, such as `packet`, `vsock`, `netlink`, `alg`, or `inet.raw` for raw IP.
    pub family: String,
    /// Socket type (`SOCK_STREAM` = 1, ...).
    pub socket_type: u32,
    /// Protocol number.
    pub protocol: u32,
    /// The error by which the kernel refused (errno(3)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<i32>,
}

/// A container that a process of the tree runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its cgroup (cgroup v2), as [`crate::ProcessExec::cgroup`] has it.
    #[serde(default)]
    pub cgroup: u64,
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// `docker`, `containerd`, `cri-o`, `podman` or `kubernetes` (a pod of a runtime that is not told).
    pub runtime: String,
    /// Its image, as it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Uid of the Kubernetes pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Name of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// Namespace of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_namespace: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
