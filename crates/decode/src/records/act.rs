//! Acts on other processes, on names and attributes, on the kernel; and questions to name servers.

use std::net::SocketAddr;

use agentsight_model::{
    Access, Channel, ChannelKind, EventBody, FileAttributes, FileLink, FileMap, FileOpen, FilePass,
    FileRef, FileTruncate, KernelAct, NetworkSocket, NetworkUnix, ProcessCredentials, ProcessKey,
    ProcessSignal, ProcessTrace,
};
use agentsight_wire::{self as wire, act_rec, canary_rec, dns_rec, rec_header};

use super::names::{bpf_name, family_name, operation_name, ptrace_name, uring_name};
use super::{Decoder, Item, RecordError, event, has_flag, network, path};
use crate::dns as protocol;

/// The pieces of an act's record.
struct Act<'a> {
    record: &'a act_rec,
    /// The file behind a descriptor.
    file: FileRef,
    name: String,
    other: String,
    text: String,
}

pub(super) fn act(
    _: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, mut pieces) = wire::fixed::<act_rec>(bytes, header.kind)?;
    let components = pieces.take(record.path_bytes)?;
    let mut named = |name: &wire::name_ref| -> Result<String, RecordError> {
        let base = pieces.take(name.base_bytes)?;
        let text = pieces.take(name.name_bytes)?;
        Ok(if text.is_empty() && base.is_empty() {
            String::new()
        } else {
            path::join(base, text)
        })
    };
    let name = named(&record.name)?;
    let other = named(&record.other)?;
    let text = pieces.take(record.text_bytes)?;
    let cut = has_flag(header, wire::REC_PATH_CUT);
    let file = if components.is_empty() {
        FileRef::default()
    } else {
        path::file(&record.file, components, cut)
    };
    let act = Act {
        record,
        file,
        name,
        other,
        text: if record.operation == wire::OP_UNIX_CONNECT {
            unix_path(text)
        } else {
            path::text(text)
        },
    };
    if let Some(body) = act.body(header) {
        out.push(event(header, body));
    }
    Ok(())
}

/// The address of a unix socket: a path, or `@` and a name that no file system has (unix(7)).
fn unix_path(bytes: &[u8]) -> String {
    match bytes {
        [] => String::new(),
        [0, name @ ..] => format!("@{}", String::from_utf8_lossy(name)),
        path => {
            let end = path.iter().position(|&byte| byte == 0);
            let path = path.get(..end.unwrap_or(path.len())).unwrap_or(path);
            String::from_utf8_lossy(path).into_owned()
        }
    }
}

fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default()
}

fn high(number: u64) -> u32 {
    u32::try_from(number >> 32).unwrap_or_default()
}

impl Act<'_> {
    fn argument(&self, number: usize) -> u64 {
        self.record.arguments.get(number).copied().unwrap_or(0)
    }

    /// The file that a name or a descriptor stands for.
    fn subject(&self) -> FileRef {
        if self.file.path.is_empty() {
            FileRef {
                path: self.name.clone(),
                ..FileRef::default()
            }
        } else {
            self.file.clone()
        }
    }

    fn body(&self, header: &rec_header) -> Option<EventBody> {
        let operation = self.record.operation;
        Some(match operation {
            wire::OP_PTRACE..=wire::OP_PIDFD_GETFD => EventBody::ProcessTrace(self.trace()),
            wire::OP_SETUID..=wire::OP_CREDENTIALS_LAST => {
                EventBody::ProcessCredentials(self.credentials())
            }
            wire::OP_LINK..=wire::OP_SYMLINKAT => EventBody::FileLink(self.link()),
            wire::OP_CHMOD..=wire::OP_FREMOVEXATTR => EventBody::FileAttributes(self.attributes()),
            wire::OP_TRUNCATE | wire::OP_FTRUNCATE => EventBody::FileTruncate(FileTruncate {
                file: self.subject(),
                length: self.argument(1),
            }),
            wire::OP_MKDIR..=wire::OP_MKNODAT => EventBody::FileOpen(self.made(header)),
            wire::OP_CHROOT..=wire::OP_NEW_NAMESPACES => EventBody::KernelNamespace(self.kernel()),
            wire::OP_MOUNT..=wire::OP_MOUNT_SETATTR => EventBody::KernelMount(self.kernel()),
            wire::OP_INIT_MODULE..=wire::OP_KEXEC_FILE_LOAD => {
                EventBody::KernelModule(self.kernel())
            }
            wire::OP_BPF | wire::OP_PERF_EVENT_OPEN => EventBody::KernelBpf(self.kernel()),
            wire::OP_IO_URING_SETUP | wire::OP_IO_URING => EventBody::KernelIoUring(self.kernel()),
            wire::OP_SIGNAL => EventBody::ProcessSignal(ProcessSignal {
                target: ProcessKey {
                    tgid: low(self.argument(1)),
                    start_ns: self.argument(2),
                },
                target_comm: self.text.clone(),
                signal: i32::try_from(self.argument(0)).unwrap_or(0),
            }),
            wire::OP_PASS => EventBody::FilePass(self.passed()),
            wire::OP_UNIX_CONNECT => EventBody::NetworkUnix(NetworkUnix {
                channel: Channel {
                    kind: ChannelKind::Unix,
                    ino: self.argument(0),
                    peer_ino: self.argument(1),
                },
                path: self.text.clone(),
                peer: Some(low(self.argument(2)))
                    .filter(|&tgid| tgid != 0)
                    .map(|tgid| ProcessKey { tgid, start_ns: 0 }),
            }),
            wire::OP_OTHER_SOCKET => EventBody::NetworkSocket(NetworkSocket {
                family: family_name(low(self.argument(0))),
                socket_type: low(self.argument(1)) & 0xf,
                protocol: low(self.argument(2)),
                error: self.error(),
            }),
            wire::OP_MAP => EventBody::FileMap(self.mapped()),
            // Of a later version, in an earlier one's ledger it would be nothing.
            _ => return None,
        })
    }

    fn error(&self) -> Option<i32> {
        (self.record.error != 0).then_some(self.record.error)
    }

    fn trace(&self) -> ProcessTrace {
        let (operation, target) = match self.record.operation {
            wire::OP_PTRACE => (ptrace_name(self.argument(0)), self.argument(1)),
            wire::OP_PROCESS_VM_READV => ("process_vm_readv".to_owned(), self.argument(0)),
            wire::OP_PROCESS_VM_WRITEV => ("process_vm_writev".to_owned(), self.argument(0)),
            // The argument is a descriptor, and not a pid.
            _ => ("pidfd_getfd".to_owned(), 0),
        };
        ProcessTrace {
            operation,
            target: ProcessKey {
                tgid: low(target),
                start_ns: 0,
            },
            error: self.error(),
        }
    }

    fn credentials(&self) -> ProcessCredentials {
        ProcessCredentials {
            operation: operation_name(self.record.operation).to_owned(),
            uid: low(self.argument(0)),
            euid: high(self.argument(0)),
            gid: low(self.argument(1)),
            egid: high(self.argument(1)),
            capabilities: self.argument(2),
        }
    }

    fn link(&self) -> FileLink {
        let symbolic = matches!(self.record.operation, wire::OP_SYMLINK | wire::OP_SYMLINKAT);
        FileLink {
            file: FileRef {
                path: self.other.clone(),
                ..FileRef::default()
            },
            target: if symbolic { &self.text } else { &self.name }.clone(),
            symbolic,
        }
    }

    fn attributes(&self) -> FileAttributes {
        let operation = self.record.operation;
        let mut file = self.subject();
        let mut owner = None;
        match operation {
            wire::OP_CHMOD | wire::OP_FCHMOD => file.mode = with_bits(&file, self.argument(1)),
            wire::OP_FCHMODAT => file.mode = with_bits(&file, self.argument(2)),
            wire::OP_CHOWN | wire::OP_FCHOWN => {
                owner = Some((low(self.argument(1)), low(self.argument(2))));
            }
            wire::OP_FCHOWNAT => owner = Some((low(self.argument(2)), low(self.argument(3)))),
            _ => {}
        }
        FileAttributes {
            operation: match operation {
                wire::OP_CHMOD..=wire::OP_FCHMODAT => "chmod",
                wire::OP_CHOWN..=wire::OP_FCHOWNAT => "chown",
                wire::OP_SETXATTR | wire::OP_FSETXATTR => "setxattr",
                _ => "removexattr",
            }
            .to_owned(),
            file,
            owner,
            attribute: Some(self.text.clone()).filter(|text| !text.is_empty()),
        }
    }

    /// A directory, a FIFO or a device.
    fn made(&self, header: &rec_header) -> FileOpen {
        const S_IFDIR: u32 = 0o040_000;
        let mode = match self.record.operation {
            wire::OP_MKDIR => S_IFDIR | low(self.argument(1)),
            wire::OP_MKDIRAT => S_IFDIR | low(self.argument(2)),
            wire::OP_MKNOD => low(self.argument(1)),
            _ => low(self.argument(2)),
        };
        FileOpen {
            use_id: header.ktime_ns,
            file: FileRef {
                path: self.name.clone(),
                mode,
                ..FileRef::default()
            },
            access: Access {
                create: true,
                ..Access::default()
            },
            inherited: false,
        }
    }

    fn passed(&self) -> FilePass {
        let how = low(self.argument(0));
        FilePass {
            received: how != wire::PASSED_SENT,
            channel: if how == wire::PASSED_BY_PIDFD {
                "pidfd_getfd"
            } else {
                "scm_rights"
            }
            .to_owned(),
            file: self.file.clone(),
        }
    }

    fn mapped(&self) -> FileMap {
        const MAP_TYPE: u64 = 0xf;
        const MAP_PRIVATE: u64 = 2;
        const MAP_ANONYMOUS: u64 = 0x20;
        let flags = self.argument(1);
        FileMap {
            file: self.file.clone(),
            shared: flags & MAP_ANONYMOUS == 0 && flags & MAP_TYPE != MAP_PRIVATE,
            write: self.argument(0) & 2 != 0,
            execute: self.argument(0) & 4 != 0,
        }
    }

    fn kernel(&self) -> KernelAct {
        let operation = self.record.operation;
        let (operation, counted) = match operation {
            wire::OP_BPF => (format!("bpf.{}", bpf_name(self.argument(0))), 1),
            wire::OP_IO_URING => (format!("io_uring.{}", uring_name(self.argument(0))), 1),
            _ => (operation_name(operation).to_owned(), 2),
        };
        // The place that a mount is put, or else what the call names.
        let path = if self.other.is_empty() {
            self.subject()
        } else {
            FileRef {
                path: self.other.clone(),
                ..FileRef::default()
            }
        };
        let source = Some(self.name.clone()).filter(|name| !name.is_empty() && *name != path.path);
        KernelAct {
            operation,
            arguments: self
                .record
                .arguments
                .iter()
                .take(counted)
                .copied()
                .collect(),
            file: (!path.path.is_empty()).then_some(path),
            name: Some(self.text.clone())
                .filter(|text| !text.is_empty())
                .or(source),
            error: self.error(),
        }
    }
}

/// The mode of a file whose permission bits were set.
fn with_bits(file: &FileRef, bits: u64) -> u32 {
    (file.mode & !0o7777) | (low(bits) & 0o7777)
}

pub(super) fn canary(
    _: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, _) = wire::fixed::<canary_rec>(bytes, header.kind)?;
    out.push(Item::Canary(record.number));
    Ok(())
}

pub(super) fn dns(
    _: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, mut pieces) = wire::fixed::<dns_rec>(bytes, header.kind)?;
    let datagram = pieces.take(record.bytes)?;
    let server: Option<SocketAddr> = network::address(&record.server);
    // What is no DNS in spite of its port is counted by its bytes, as all datagrams are.
    if let Some(mut dns) = protocol::parse(datagram) {
        dns.server = server;
        out.push(event(header, EventBody::NetworkDns(dns)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn decode(operation: u32, arguments: [u64; 4], names: [&[u8]; 2], text: &[u8]) -> EventBody {
        let length = size_of::<act_rec>() + names[0].len() + names[1].len() + text.len();
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let record = act_rec {
            header: rec_header {
                kind: u16::try_from(wire::EV_ACT).unwrap(),
                length: u32::try_from(length).unwrap(),
                class: 5,
                tgid: 7,
                ..rec_header::default()
            },
            operation,
            arguments,
            name: wire::name_ref {
                base_bytes: 0,
                name_bytes: size(names[0]),
            },
            other: wire::name_ref {
                base_bytes: 0,
                name_bytes: size(names[1]),
            },
            text_bytes: size(text),
            ..act_rec::default()
        };
        let mut bytes = record.as_bytes().to_vec();
        bytes.extend(names.concat());
        bytes.extend(text);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let words: Vec<u64> = bytes
            .chunks_exact(8)
            .map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap()))
            .collect();
        let mut out = Vec::new();
        Decoder::new(4096)
            .decode(words.as_bytes(), &mut out)
            .unwrap();
        match out.pop().unwrap() {
            Item::Event(event) => event.body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn links_have_their_names_the_right_way_round() {
        let body = decode(wire::OP_LINK, [0; 4], [b"/old\0", b"/new\0"], b"");
        let EventBody::FileLink(link) = body else {
            panic!("{body:?}")
        };
        assert_eq!(
            (link.target.as_str(), link.file.path.as_str()),
            ("/old", "/new")
        );
        let body = decode(wire::OP_SYMLINKAT, [0; 4], [b"", b"/new\0"], b"../text\0");
        let EventBody::FileLink(link) = body else {
            panic!("{body:?}")
        };
        assert!(link.symbolic);
        assert_eq!(
            (link.target.as_str(), link.file.path.as_str()),
            ("../text", "/new")
        );
    }

    #[test]
    fn a_mount_names_its_place_its_source_and_its_kind() {
        let body = decode(wire::OP_MOUNT, [0; 4], [b"/etc\0", b"/tmp/x\0"], b"bind\0");
        let EventBody::KernelMount(act) = body else {
            panic!("{body:?}")
        };
        assert_eq!(act.operation, "mount");
        assert_eq!(act.file.unwrap().path, "/tmp/x");
        assert_eq!(act.name.as_deref(), Some("bind"));
    }

    #[test]
    fn a_signal_names_its_target() {
        let body = decode(wire::OP_SIGNAL, [9, 42, 77, 0], [b"", b""], b"sshd\0");
        assert_eq!(
            body,
            EventBody::ProcessSignal(ProcessSignal {
                target: ProcessKey {
                    tgid: 42,
                    start_ns: 77
                },
                target_comm: "sshd".into(),
                signal: 9,
            })
        );
    }

    #[test]
    fn addresses_of_unix_sockets_come_in_three_forms() {
        for (bytes, text) in [
            (b"/run/docker.sock\0".as_slice(), "/run/docker.sock"),
            (b"\0abstract", "@abstract"),
            (b"", ""),
        ] {
            assert_eq!(unix_path(bytes), text);
        }
    }

    #[test]
    fn every_act_has_a_body() {
        let mut named = 0;
        for operation in wire::OP_ACTS..wire::OP_COUNT {
            let record = act_rec {
                operation,
                ..act_rec::default()
            };
            let act = Act {
                record: &record,
                file: FileRef::default(),
                name: String::new(),
                other: String::new(),
                text: String::new(),
            };
            named += usize::from(act.body(&rec_header::default()).is_some());
        }
        // As many as include/syscalls.h has from OP_ACTS on.
        let generated = include_str!("../../../wire/src/generated.rs");
        let defined = generated
            .lines()
            .filter_map(|line| {
                line.strip_prefix("pub const OP_")?
                    .split_once(" = ")?
                    .1
                    .strip_suffix(';')
            })
            .filter_map(|number| number.parse::<u32>().ok())
            .filter(|number| (wire::OP_ACTS..wire::OP_COUNT).contains(number))
            .collect::<std::collections::BTreeSet<_>>()
            .len();
        assert_eq!(named, defined);
    }
}
