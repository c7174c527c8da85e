// Generated from the BTF of the kernel programs (bpf/include/wire.h) by `cargo xtask gen`.
#![allow(non_camel_case_types)]

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

// enum rec_kind
pub const EV_NONE: u32 = 0;
pub const EV_PROCESS_FORK: u32 = 1;
pub const EV_PROCESS_EXEC: u32 = 2;
pub const EV_PROCESS_ARGV: u32 = 3;
pub const EV_PROCESS_EXIT: u32 = 4;
pub const EV_FILE_OPEN: u32 = 5;
pub const EV_FILE_DELETE: u32 = 6;
pub const EV_FILE_RENAME: u32 = 7;
pub const EV_NETWORK_CONNECT: u32 = 8;
pub const EV_NETWORK_ACCEPT: u32 = 9;
pub const EV_NETWORK_LISTEN: u32 = 10;
pub const EV_NETWORK_CLOSE: u32 = 11;
pub const EV_TLS_DATA: u32 = 12;
pub const EV_TLS_HANDSHAKE: u32 = 13;
pub const EV_TLS_FREE: u32 = 14;
pub const EV_IMAGE_MAPPED: u32 = 15;
pub const EV_TLS_SOCKET: u32 = 17;
pub const EV_TLS_HELLO: u32 = 18;
pub const EV_FILE_USE: u32 = 16;
pub const EV_CHANNEL_OPEN: u32 = 19;
pub const EV_CHANNEL_DATA: u32 = 20;
pub const EV_ACT: u32 = 21;
pub const EV_DNS: u32 = 22;
pub const EV_CANARY: u32 = 23;

// enum event_class
pub const CLASS_PROCESS: u32 = 0;
pub const CLASS_FILE: u32 = 1;
pub const CLASS_NETWORK: u32 = 2;
pub const CLASS_TLS: u32 = 3;
pub const CLASS_STDIO: u32 = 4;
pub const CLASS_SECURITY: u32 = 5;
pub const CLASS_COUNT: u32 = 6;

// enum drop_reason
pub const DROP_RING_FULL: u32 = 0;
pub const DROP_MAP_FULL: u32 = 1;
pub const DROP_READ_FAULT: u32 = 2;
pub const DROP_TOO_LONG: u32 = 3;
pub const DROP_FLOOD: u32 = 4;
pub const DROP_COUNT: u32 = 5;

// enum rec_flags
pub const REC_PATH_CUT: u32 = 1;
pub const REC_ARGV_CUT: u32 = 2;
pub const REC_INHERITED: u32 = 4;
pub const REC_DIRECTORY: u32 = 8;
pub const REC_NEW_IMAGE: u32 = 32;
pub const REC_DELETED: u32 = 64;
pub const REC_MORE: u32 = 16;

// enum file_access
pub const ACCESS_READ: u32 = 1;
pub const ACCESS_WRITE: u32 = 2;
pub const ACCESS_CREATE: u32 = 4;
pub const ACCESS_TRUNCATE: u32 = 8;

// enum tls_direction
pub const TLS_SENT: u32 = 0;
pub const TLS_RECEIVED: u32 = 1;
pub const TLS_HANDSHAKE: u32 = 2;

// enum tls_layer
pub const LAYER_STREAM: u32 = 0;
pub const LAYER_RECORD: u32 = 1;
pub const LAYER_CLEARTEXT: u32 = 2;
pub const LAYER_THREAD: u32 = 3;

// enum socket_flags
pub const SOCKET_SNIFFED: u32 = 1;
pub const SOCKET_TLS: u32 = 2;
pub const SOCKET_HTTP: u32 = 4;
pub const SOCKET_BOUND: u32 = 8;

// enum operand_base
pub const BASE_NONE: u32 = 0;
pub const BASE_ARGUMENT: u32 = 1;
pub const BASE_GO_ARGUMENT: u32 = 2;
pub const BASE_GO_RESULT: u32 = 3;
pub const BASE_GOROUTINE: u32 = 4;
pub const BASE_THREAD: u32 = 5;
pub const BASE_STACK: u32 = 6;
pub const BASE_RETURN: u32 = 7;
pub const BASE_OWNER: u32 = 8;

// enum hook_success
pub const SUCCESS_ALWAYS: u32 = 0;
pub const SUCCESS_POSITIVE: u32 = 1;
pub const SUCCESS_POSITIVE_64: u32 = 2;
pub const SUCCESS_ONE: u32 = 3;
pub const SUCCESS_ZERO: u32 = 4;

// enum hook_flags
pub const HOOK_INNER_TYPE: u32 = 1;
pub const HOOK_ONLY_CREATED: u32 = 2;
pub const HOOK_CREATES: u32 = 4;
pub const HOOK_ENDS: u32 = 8;
pub const HOOK_AT_ENTRY: u32 = 16;
pub const HOOK_OWNER: u32 = 32;
pub const HOOK_KEEPS: u32 = 64;

// enum wire_limits
pub const WIRE_NAME_BYTES: u32 = 256;
pub const WIRE_PATH_BYTES: u32 = 4096;
pub const WIRE_ARGV_INLINE_BYTES: u32 = 8192;
pub const WIRE_ARGV_CHUNK_BYTES: u32 = 16384;
pub const WIRE_TLS_CHUNK_BYTES: u32 = 16384;
pub const WIRE_HELLO_BYTES: u32 = 2048;
pub const WIRE_CHANNEL_CHUNK_BYTES: u32 = 16384;
pub const WIRE_DNS_BYTES: u32 = 1536;
pub const WIRE_TEXT_BYTES: u32 = 256;

// enum image_news
pub const IMAGE_WRITTEN: u32 = 0;
pub const IMAGE_STARTED: u32 = 1;
pub const IMAGE_NAMED: u32 = 2;

// enum channel_kind
pub const CHANNEL_PIPE: u32 = 0;
pub const CHANNEL_UNIX: u32 = 1;
pub const CHANNEL_TERMINAL: u32 = 2;

// enum channel_verdict
pub const VERDICT_NONE: u32 = 0;
pub const VERDICT_CAPTURE: u32 = 1;
pub const VERDICT_IGNORE: u32 = 2;

// enum operation
pub const OP_NONE: u32 = 0;
pub const OP_OPEN: u32 = 1;
pub const OP_OPENAT: u32 = 2;
pub const OP_OPEN_OTHER: u32 = 3;
pub const OP_CREAT: u32 = 4;
pub const OP_READ: u32 = 5;
pub const OP_WRITE: u32 = 6;
pub const OP_SENDFILE: u32 = 7;
pub const OP_COPY_RANGE: u32 = 8;
pub const OP_UNLINK: u32 = 9;
pub const OP_UNLINKAT: u32 = 10;
pub const OP_RMDIR: u32 = 11;
pub const OP_RENAME: u32 = 12;
pub const OP_RENAMEAT: u32 = 13;
pub const OP_CONNECT: u32 = 14;
pub const OP_ACCEPT: u32 = 15;
pub const OP_SENDTO: u32 = 16;
pub const OP_MMAP: u32 = 17;
pub const OP_READV: u32 = 18;
pub const OP_WRITEV: u32 = 19;
pub const OP_RECVFROM: u32 = 20;
pub const OP_RECVMSG: u32 = 21;
pub const OP_SENDMSG: u32 = 22;
pub const OP_SENDMMSG: u32 = 23;
pub const OP_RECVMMSG: u32 = 24;
pub const OP_SPLICE: u32 = 25;
pub const OP_TEE: u32 = 26;
pub const OP_VMSPLICE: u32 = 27;
pub const OP_IOCTL: u32 = 28;
pub const OP_BIND: u32 = 29;
pub const OP_CLONE: u32 = 30;
pub const OP_CLONE3: u32 = 31;
pub const OP_MPROTECT: u32 = 32;
pub const OP_SOCKET: u32 = 33;
pub const OP_CANARY: u32 = 34;
pub const OP_ACTS: u32 = 40;
pub const OP_PTRACE: u32 = 40;
pub const OP_PROCESS_VM_READV: u32 = 41;
pub const OP_PROCESS_VM_WRITEV: u32 = 42;
pub const OP_PIDFD_GETFD: u32 = 43;
pub const OP_SETUID: u32 = 50;
pub const OP_SETGID: u32 = 51;
pub const OP_SETREUID: u32 = 52;
pub const OP_SETREGID: u32 = 53;
pub const OP_SETRESUID: u32 = 54;
pub const OP_SETRESGID: u32 = 55;
pub const OP_SETFSUID: u32 = 56;
pub const OP_SETFSGID: u32 = 57;
pub const OP_SETGROUPS: u32 = 58;
pub const OP_CAPSET: u32 = 59;
pub const OP_CREDENTIALS_LAST: u32 = 59;
pub const OP_LINK: u32 = 60;
pub const OP_LINKAT: u32 = 61;
pub const OP_SYMLINK: u32 = 62;
pub const OP_SYMLINKAT: u32 = 63;
pub const OP_CHMOD: u32 = 64;
pub const OP_FCHMOD: u32 = 65;
pub const OP_FCHMODAT: u32 = 66;
pub const OP_CHOWN: u32 = 67;
pub const OP_FCHOWN: u32 = 68;
pub const OP_FCHOWNAT: u32 = 69;
pub const OP_SETXATTR: u32 = 70;
pub const OP_FSETXATTR: u32 = 71;
pub const OP_REMOVEXATTR: u32 = 72;
pub const OP_FREMOVEXATTR: u32 = 73;
pub const OP_TRUNCATE: u32 = 74;
pub const OP_FTRUNCATE: u32 = 75;
pub const OP_MKDIR: u32 = 76;
pub const OP_MKDIRAT: u32 = 77;
pub const OP_MKNOD: u32 = 78;
pub const OP_MKNODAT: u32 = 79;
pub const OP_CHROOT: u32 = 90;
pub const OP_PIVOT_ROOT: u32 = 91;
pub const OP_UNSHARE: u32 = 92;
pub const OP_SETNS: u32 = 93;
pub const OP_NEW_NAMESPACES: u32 = 94;
pub const OP_MOUNT: u32 = 100;
pub const OP_UMOUNT: u32 = 101;
pub const OP_MOVE_MOUNT: u32 = 102;
pub const OP_OPEN_TREE: u32 = 103;
pub const OP_FSOPEN: u32 = 104;
pub const OP_FSCONFIG: u32 = 105;
pub const OP_FSMOUNT: u32 = 106;
pub const OP_FSPICK: u32 = 107;
pub const OP_MOUNT_SETATTR: u32 = 108;
pub const OP_INIT_MODULE: u32 = 110;
pub const OP_FINIT_MODULE: u32 = 111;
pub const OP_DELETE_MODULE: u32 = 112;
pub const OP_KEXEC_LOAD: u32 = 113;
pub const OP_KEXEC_FILE_LOAD: u32 = 114;
pub const OP_BPF: u32 = 115;
pub const OP_PERF_EVENT_OPEN: u32 = 116;
pub const OP_IO_URING_SETUP: u32 = 117;
pub const OP_IO_URING: u32 = 118;
pub const OP_SIGNAL: u32 = 120;
pub const OP_PASS: u32 = 121;
pub const OP_UNIX_CONNECT: u32 = 122;
pub const OP_OTHER_SOCKET: u32 = 123;
pub const OP_MAP: u32 = 124;
pub const OP_COUNT: u32 = 128;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct rec_header {
    pub kind: u16,
    pub cpu: u16,
    pub length: u32,
    pub ktime_ns: u64,
    pub sequence: u64,
    pub start_ns: u64,
    pub tgid: u32,
    pub tid: u32,
    pub label: u32,
    pub class: u8,
    pub flags: u8,
    pub reserved: u16,
}
const _: () = assert!(size_of::<rec_header>() == 48);
const _: () = assert!(offset_of!(rec_header, kind) == 0);
const _: () = assert!(offset_of!(rec_header, cpu) == 2);
const _: () = assert!(offset_of!(rec_header, length) == 4);
const _: () = assert!(offset_of!(rec_header, ktime_ns) == 8);
const _: () = assert!(offset_of!(rec_header, sequence) == 16);
const _: () = assert!(offset_of!(rec_header, start_ns) == 24);
const _: () = assert!(offset_of!(rec_header, tgid) == 32);
const _: () = assert!(offset_of!(rec_header, tid) == 36);
const _: () = assert!(offset_of!(rec_header, label) == 40);
const _: () = assert!(offset_of!(rec_header, class) == 44);
const _: () = assert!(offset_of!(rec_header, flags) == 45);
const _: () = assert!(offset_of!(rec_header, reserved) == 46);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct process_fork_rec {
    pub header: rec_header,
    pub child_start_ns: u64,
    pub child_tgid: u32,
    pub reserved: u32,
    pub comm: [u8; 16],
}
const _: () = assert!(size_of::<process_fork_rec>() == 80);
const _: () = assert!(offset_of!(process_fork_rec, header) == 0);
const _: () = assert!(offset_of!(process_fork_rec, child_start_ns) == 48);
const _: () = assert!(offset_of!(process_fork_rec, child_tgid) == 56);
const _: () = assert!(offset_of!(process_fork_rec, reserved) == 60);
const _: () = assert!(offset_of!(process_fork_rec, comm) == 64);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct file_id {
    pub ino: u64,
    pub dev: u32,
    pub mode: u32,
}
const _: () = assert!(size_of::<file_id>() == 16);
const _: () = assert!(offset_of!(file_id, ino) == 0);
const _: () = assert!(offset_of!(file_id, dev) == 8);
const _: () = assert!(offset_of!(file_id, mode) == 12);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct process_exec_rec {
    pub header: rec_header,
    pub parent_start_ns: u64,
    pub parent_tgid: u32,
    pub uid: u32,
    pub gid: u32,
    pub reserved: u32,
    pub cgroup: u64,
    pub exe: file_id,
    pub exe_bytes: u32,
    pub cwd_bytes: u32,
    pub filename_bytes: u32,
    pub interp_bytes: u32,
    pub argv_bytes: u32,
    pub argv_total_bytes: u32,
}
const _: () = assert!(size_of::<process_exec_rec>() == 120);
const _: () = assert!(offset_of!(process_exec_rec, header) == 0);
const _: () = assert!(offset_of!(process_exec_rec, parent_start_ns) == 48);
const _: () = assert!(offset_of!(process_exec_rec, parent_tgid) == 56);
const _: () = assert!(offset_of!(process_exec_rec, uid) == 60);
const _: () = assert!(offset_of!(process_exec_rec, gid) == 64);
const _: () = assert!(offset_of!(process_exec_rec, reserved) == 68);
const _: () = assert!(offset_of!(process_exec_rec, cgroup) == 72);
const _: () = assert!(offset_of!(process_exec_rec, exe) == 80);
const _: () = assert!(offset_of!(process_exec_rec, exe_bytes) == 96);
const _: () = assert!(offset_of!(process_exec_rec, cwd_bytes) == 100);
const _: () = assert!(offset_of!(process_exec_rec, filename_bytes) == 104);
const _: () = assert!(offset_of!(process_exec_rec, interp_bytes) == 108);
const _: () = assert!(offset_of!(process_exec_rec, argv_bytes) == 112);
const _: () = assert!(offset_of!(process_exec_rec, argv_total_bytes) == 116);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct process_argv_rec {
    pub header: rec_header,
    pub offset: u32,
    pub bytes: u32,
}
const _: () = assert!(size_of::<process_argv_rec>() == 56);
const _: () = assert!(offset_of!(process_argv_rec, header) == 0);
const _: () = assert!(offset_of!(process_argv_rec, offset) == 48);
const _: () = assert!(offset_of!(process_argv_rec, bytes) == 52);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct process_exit_rec {
    pub header: rec_header,
    pub status: u32,
    pub reserved: u32,
    pub user_ns: u64,
    pub system_ns: u64,
    pub max_rss_pages: u64,
    pub storage_read_bytes: u64,
    pub storage_write_bytes: u64,
}
const _: () = assert!(size_of::<process_exit_rec>() == 96);
const _: () = assert!(offset_of!(process_exit_rec, header) == 0);
const _: () = assert!(offset_of!(process_exit_rec, status) == 48);
const _: () = assert!(offset_of!(process_exit_rec, reserved) == 52);
const _: () = assert!(offset_of!(process_exit_rec, user_ns) == 56);
const _: () = assert!(offset_of!(process_exit_rec, system_ns) == 64);
const _: () = assert!(offset_of!(process_exit_rec, max_rss_pages) == 72);
const _: () = assert!(offset_of!(process_exit_rec, storage_read_bytes) == 80);
const _: () = assert!(offset_of!(process_exit_rec, storage_write_bytes) == 88);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct file_open_rec {
    pub header: rec_header,
    pub use_id: u64,
    pub file: file_id,
    pub access: u32,
    pub path_bytes: u32,
}
const _: () = assert!(size_of::<file_open_rec>() == 80);
const _: () = assert!(offset_of!(file_open_rec, header) == 0);
const _: () = assert!(offset_of!(file_open_rec, use_id) == 48);
const _: () = assert!(offset_of!(file_open_rec, file) == 56);
const _: () = assert!(offset_of!(file_open_rec, access) == 72);
const _: () = assert!(offset_of!(file_open_rec, path_bytes) == 76);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct file_use {
    pub use_id: u64,
    pub start_ns: u64,
    pub ino: u64,
    pub last_ns: u64,
    pub opens: u64,
    pub creates: u64,
    pub reads: u64,
    pub read_bytes: u64,
    pub writes: u64,
    pub written_bytes: u64,
    pub access: u32,
    pub label: u32,
}
const _: () = assert!(size_of::<file_use>() == 88);
const _: () = assert!(offset_of!(file_use, use_id) == 0);
const _: () = assert!(offset_of!(file_use, start_ns) == 8);
const _: () = assert!(offset_of!(file_use, ino) == 16);
const _: () = assert!(offset_of!(file_use, last_ns) == 24);
const _: () = assert!(offset_of!(file_use, opens) == 32);
const _: () = assert!(offset_of!(file_use, creates) == 40);
const _: () = assert!(offset_of!(file_use, reads) == 48);
const _: () = assert!(offset_of!(file_use, read_bytes) == 56);
const _: () = assert!(offset_of!(file_use, writes) == 64);
const _: () = assert!(offset_of!(file_use, written_bytes) == 72);
const _: () = assert!(offset_of!(file_use, access) == 80);
const _: () = assert!(offset_of!(file_use, label) == 84);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct file_use_rec {
    pub header: rec_header,
    pub totals: file_use,
}
const _: () = assert!(size_of::<file_use_rec>() == 136);
const _: () = assert!(offset_of!(file_use_rec, header) == 0);
const _: () = assert!(offset_of!(file_use_rec, totals) == 48);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct name_ref {
    pub base_bytes: u32,
    pub name_bytes: u32,
}
const _: () = assert!(size_of::<name_ref>() == 8);
const _: () = assert!(offset_of!(name_ref, base_bytes) == 0);
const _: () = assert!(offset_of!(name_ref, name_bytes) == 4);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct file_delete_rec {
    pub header: rec_header,
    pub name: name_ref,
}
const _: () = assert!(size_of::<file_delete_rec>() == 56);
const _: () = assert!(offset_of!(file_delete_rec, header) == 0);
const _: () = assert!(offset_of!(file_delete_rec, name) == 48);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct file_rename_rec {
    pub header: rec_header,
    pub from: name_ref,
    pub to: name_ref,
}
const _: () = assert!(size_of::<file_rename_rec>() == 64);
const _: () = assert!(offset_of!(file_rename_rec, header) == 0);
const _: () = assert!(offset_of!(file_rename_rec, from) == 48);
const _: () = assert!(offset_of!(file_rename_rec, to) == 56);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct socket_address {
    pub bytes: [u8; 16],
    pub port: u16,
    pub family: u16,
}
const _: () = assert!(size_of::<socket_address>() == 20);
const _: () = assert!(offset_of!(socket_address, bytes) == 0);
const _: () = assert!(offset_of!(socket_address, port) == 16);
const _: () = assert!(offset_of!(socket_address, family) == 18);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct network_rec {
    pub header: rec_header,
    pub socket: u64,
    pub local: socket_address,
    pub remote: socket_address,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub protocol: u32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<network_rec>() == 120);
const _: () = assert!(offset_of!(network_rec, header) == 0);
const _: () = assert!(offset_of!(network_rec, socket) == 48);
const _: () = assert!(offset_of!(network_rec, local) == 56);
const _: () = assert!(offset_of!(network_rec, remote) == 76);
const _: () = assert!(offset_of!(network_rec, sent_bytes) == 96);
const _: () = assert!(offset_of!(network_rec, received_bytes) == 104);
const _: () = assert!(offset_of!(network_rec, protocol) == 112);
const _: () = assert!(offset_of!(network_rec, reserved) == 116);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct tls_data_rec {
    pub header: rec_header,
    pub object: u64,
    pub offset: u64,
    pub socket: u64,
    pub bytes: u32,
    pub direction: u8,
    pub layer: u8,
    pub reserved: [u8; 2],
}
const _: () = assert!(size_of::<tls_data_rec>() == 80);
const _: () = assert!(offset_of!(tls_data_rec, header) == 0);
const _: () = assert!(offset_of!(tls_data_rec, object) == 48);
const _: () = assert!(offset_of!(tls_data_rec, offset) == 56);
const _: () = assert!(offset_of!(tls_data_rec, socket) == 64);
const _: () = assert!(offset_of!(tls_data_rec, bytes) == 72);
const _: () = assert!(offset_of!(tls_data_rec, direction) == 76);
const _: () = assert!(offset_of!(tls_data_rec, layer) == 77);
const _: () = assert!(offset_of!(tls_data_rec, reserved) == 78);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct tls_object_rec {
    pub header: rec_header,
    pub object: u64,
    pub result: i32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<tls_object_rec>() == 64);
const _: () = assert!(offset_of!(tls_object_rec, header) == 0);
const _: () = assert!(offset_of!(tls_object_rec, object) == 48);
const _: () = assert!(offset_of!(tls_object_rec, result) == 56);
const _: () = assert!(offset_of!(tls_object_rec, reserved) == 60);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct tls_socket_rec {
    pub header: rec_header,
    pub object: u64,
    pub socket: u64,
}
const _: () = assert!(size_of::<tls_socket_rec>() == 64);
const _: () = assert!(offset_of!(tls_socket_rec, header) == 0);
const _: () = assert!(offset_of!(tls_socket_rec, object) == 48);
const _: () = assert!(offset_of!(tls_socket_rec, socket) == 56);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct tls_hello_rec {
    pub header: rec_header,
    pub socket: u64,
    pub bytes: u32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<tls_hello_rec>() == 64);
const _: () = assert!(offset_of!(tls_hello_rec, header) == 0);
const _: () = assert!(offset_of!(tls_hello_rec, socket) == 48);
const _: () = assert!(offset_of!(tls_hello_rec, bytes) == 56);
const _: () = assert!(offset_of!(tls_hello_rec, reserved) == 60);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct tls_operand {
    pub offsets: [i32; 2],
    pub base: u8,
    pub index: u8,
    pub loads: u8,
    pub late_loads: u8,
}
const _: () = assert!(size_of::<tls_operand>() == 12);
const _: () = assert!(offset_of!(tls_operand, offsets) == 0);
const _: () = assert!(offset_of!(tls_operand, base) == 8);
const _: () = assert!(offset_of!(tls_operand, index) == 9);
const _: () = assert!(offset_of!(tls_operand, loads) == 10);
const _: () = assert!(offset_of!(tls_operand, late_loads) == 11);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct tls_hook {
    pub object: tls_operand,
    pub call: tls_operand,
    pub buffer: tls_operand,
    pub length: tls_operand,
    pub moved: tls_operand,
    pub skip_head: tls_operand,
    pub associated_data: tls_operand,
    pub associated_data_bytes: tls_operand,
    pub sequence: tls_operand,
    pub direction: u8,
    pub layer: u8,
    pub success: u8,
    pub skip_tail_bytes: u8,
    pub flags: u32,
}
const _: () = assert!(size_of::<tls_hook>() == 116);
const _: () = assert!(offset_of!(tls_hook, object) == 0);
const _: () = assert!(offset_of!(tls_hook, call) == 12);
const _: () = assert!(offset_of!(tls_hook, buffer) == 24);
const _: () = assert!(offset_of!(tls_hook, length) == 36);
const _: () = assert!(offset_of!(tls_hook, moved) == 48);
const _: () = assert!(offset_of!(tls_hook, skip_head) == 60);
const _: () = assert!(offset_of!(tls_hook, associated_data) == 72);
const _: () = assert!(offset_of!(tls_hook, associated_data_bytes) == 84);
const _: () = assert!(offset_of!(tls_hook, sequence) == 96);
const _: () = assert!(offset_of!(tls_hook, direction) == 108);
const _: () = assert!(offset_of!(tls_hook, layer) == 109);
const _: () = assert!(offset_of!(tls_hook, success) == 110);
const _: () = assert!(offset_of!(tls_hook, skip_tail_bytes) == 111);
const _: () = assert!(offset_of!(tls_hook, flags) == 112);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct image_mapped_rec {
    pub header: rec_header,
    pub file: file_id,
    pub path_bytes: u32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<image_mapped_rec>() == 72);
const _: () = assert!(offset_of!(image_mapped_rec, header) == 0);
const _: () = assert!(offset_of!(image_mapped_rec, file) == 48);
const _: () = assert!(offset_of!(image_mapped_rec, path_bytes) == 64);
const _: () = assert!(offset_of!(image_mapped_rec, reserved) == 68);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct channel_open_rec {
    pub header: rec_header,
    pub use_id: u64,
    pub ino: u64,
    pub peer_ino: u64,
    pub access: u32,
    pub channel: u32,
    pub path_bytes: u32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<channel_open_rec>() == 88);
const _: () = assert!(offset_of!(channel_open_rec, header) == 0);
const _: () = assert!(offset_of!(channel_open_rec, use_id) == 48);
const _: () = assert!(offset_of!(channel_open_rec, ino) == 56);
const _: () = assert!(offset_of!(channel_open_rec, peer_ino) == 64);
const _: () = assert!(offset_of!(channel_open_rec, access) == 72);
const _: () = assert!(offset_of!(channel_open_rec, channel) == 76);
const _: () = assert!(offset_of!(channel_open_rec, path_bytes) == 80);
const _: () = assert!(offset_of!(channel_open_rec, reserved) == 84);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct channel_data_rec {
    pub header: rec_header,
    pub ino: u64,
    pub peer_ino: u64,
    pub began_ns: u64,
    pub offset: u64,
    pub bytes: u32,
    pub channel: u8,
    pub received: u8,
    pub reserved: [u8; 2],
}
const _: () = assert!(size_of::<channel_data_rec>() == 88);
const _: () = assert!(offset_of!(channel_data_rec, header) == 0);
const _: () = assert!(offset_of!(channel_data_rec, ino) == 48);
const _: () = assert!(offset_of!(channel_data_rec, peer_ino) == 56);
const _: () = assert!(offset_of!(channel_data_rec, began_ns) == 64);
const _: () = assert!(offset_of!(channel_data_rec, offset) == 72);
const _: () = assert!(offset_of!(channel_data_rec, bytes) == 80);
const _: () = assert!(offset_of!(channel_data_rec, channel) == 84);
const _: () = assert!(offset_of!(channel_data_rec, received) == 85);
const _: () = assert!(offset_of!(channel_data_rec, reserved) == 86);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct channel_key {
    pub ino: u64,
    pub channel: u32,
    pub received: u32,
}
const _: () = assert!(size_of::<channel_key>() == 16);
const _: () = assert!(offset_of!(channel_key, ino) == 0);
const _: () = assert!(offset_of!(channel_key, channel) == 8);
const _: () = assert!(offset_of!(channel_key, received) == 12);

// enum act_argument
pub const ARGUMENT_RESULT: u32 = 7;

// enum passing
pub const PASSED_SENT: u32 = 0;
pub const PASSED_RECEIVED: u32 = 1;
pub const PASSED_BY_PIDFD: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct act_rec {
    pub header: rec_header,
    pub operation: u32,
    pub error: i32,
    pub arguments: [u64; 4],
    pub file: file_id,
    pub name: name_ref,
    pub other: name_ref,
    pub path_bytes: u32,
    pub text_bytes: u32,
}
const _: () = assert!(size_of::<act_rec>() == 128);
const _: () = assert!(offset_of!(act_rec, header) == 0);
const _: () = assert!(offset_of!(act_rec, operation) == 48);
const _: () = assert!(offset_of!(act_rec, error) == 52);
const _: () = assert!(offset_of!(act_rec, arguments) == 56);
const _: () = assert!(offset_of!(act_rec, file) == 88);
const _: () = assert!(offset_of!(act_rec, name) == 104);
const _: () = assert!(offset_of!(act_rec, other) == 112);
const _: () = assert!(offset_of!(act_rec, path_bytes) == 120);
const _: () = assert!(offset_of!(act_rec, text_bytes) == 124);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct act_shape {
    pub fd: u8,
    pub directory: u8,
    pub name: u8,
    pub other_directory: u8,
    pub other: u8,
    pub text: u8,
    pub failed_too: u8,
    pub reserved: u8,
}
const _: () = assert!(size_of::<act_shape>() == 8);
const _: () = assert!(offset_of!(act_shape, fd) == 0);
const _: () = assert!(offset_of!(act_shape, directory) == 1);
const _: () = assert!(offset_of!(act_shape, name) == 2);
const _: () = assert!(offset_of!(act_shape, other_directory) == 3);
const _: () = assert!(offset_of!(act_shape, other) == 4);
const _: () = assert!(offset_of!(act_shape, text) == 5);
const _: () = assert!(offset_of!(act_shape, failed_too) == 6);
const _: () = assert!(offset_of!(act_shape, reserved) == 7);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct dns_rec {
    pub header: rec_header,
    pub server: socket_address,
    pub bytes: u32,
    pub received: u32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<dns_rec>() == 80);
const _: () = assert!(offset_of!(dns_rec, header) == 0);
const _: () = assert!(offset_of!(dns_rec, server) == 48);
const _: () = assert!(offset_of!(dns_rec, bytes) == 68);
const _: () = assert!(offset_of!(dns_rec, received) == 72);
const _: () = assert!(offset_of!(dns_rec, reserved) == 76);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct canary_rec {
    pub header: rec_header,
    pub number: u64,
}
const _: () = assert!(size_of::<canary_rec>() == 56);
const _: () = assert!(offset_of!(canary_rec, header) == 0);
const _: () = assert!(offset_of!(canary_rec, number) == 48);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct image_item {
    pub file: file_id,
    pub tgid: u32,
    pub what: u32,
    pub path_bytes: u32,
    pub name_bytes: u32,
}
const _: () = assert!(size_of::<image_item>() == 32);
const _: () = assert!(offset_of!(image_item, file) == 0);
const _: () = assert!(offset_of!(image_item, tgid) == 16);
const _: () = assert!(offset_of!(image_item, what) == 20);
const _: () = assert!(offset_of!(image_item, path_bytes) == 24);
const _: () = assert!(offset_of!(image_item, name_bytes) == 28);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct file_use_key {
    pub dentry: u64,
    pub mount: u64,
    pub tgid: u32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<file_use_key>() == 24);
const _: () = assert!(offset_of!(file_use_key, dentry) == 0);
const _: () = assert!(offset_of!(file_use_key, mount) == 8);
const _: () = assert!(offset_of!(file_use_key, tgid) == 16);
const _: () = assert!(offset_of!(file_use_key, reserved) == 20);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct socket_use {
    pub start_ns: u64,
    pub first_ns: u64,
    pub last_ns: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub local: socket_address,
    pub remote: socket_address,
    pub tgid: u32,
    pub label: u32,
    pub protocol: u32,
    pub flags: u32,
}
const _: () = assert!(size_of::<socket_use>() == 96);
const _: () = assert!(offset_of!(socket_use, start_ns) == 0);
const _: () = assert!(offset_of!(socket_use, first_ns) == 8);
const _: () = assert!(offset_of!(socket_use, last_ns) == 16);
const _: () = assert!(offset_of!(socket_use, sent_bytes) == 24);
const _: () = assert!(offset_of!(socket_use, received_bytes) == 32);
const _: () = assert!(offset_of!(socket_use, local) == 40);
const _: () = assert!(offset_of!(socket_use, remote) == 60);
const _: () = assert!(offset_of!(socket_use, tgid) == 80);
const _: () = assert!(offset_of!(socket_use, label) == 84);
const _: () = assert!(offset_of!(socket_use, protocol) == 88);
const _: () = assert!(offset_of!(socket_use, flags) == 92);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct scope {
    pub start_ns: u64,
    pub label: u32,
    pub reserved: u32,
}
const _: () = assert!(size_of::<scope>() == 16);
const _: () = assert!(offset_of!(scope, start_ns) == 0);
const _: () = assert!(offset_of!(scope, label) == 8);
const _: () = assert!(offset_of!(scope, reserved) == 12);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct process_item {
    pub start_ns: u64,
    pub parent_start_ns: u64,
    pub tgid: u32,
    pub parent_tgid: u32,
}
const _: () = assert!(size_of::<process_item>() == 24);
const _: () = assert!(offset_of!(process_item, start_ns) == 0);
const _: () = assert!(offset_of!(process_item, parent_start_ns) == 8);
const _: () = assert!(offset_of!(process_item, tgid) == 16);
const _: () = assert!(offset_of!(process_item, parent_tgid) == 20);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct class_stats {
    pub produced: u64,
    pub dropped: [u64; 5],
}
const _: () = assert!(size_of::<class_stats>() == 48);
const _: () = assert!(offset_of!(class_stats, produced) == 0);
const _: () = assert!(offset_of!(class_stats, dropped) == 8);
