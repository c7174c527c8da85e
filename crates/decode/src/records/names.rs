//! Names of what system calls are asked for by number.

use agentsight_wire as wire;

/// Requests of ptrace(2) that begin something; the others continue it.
pub(super) fn ptrace_name(request: u64) -> String {
    let name = match request {
        0 => "traceme",
        1 | 2 => "peek",
        4 | 5 => "poke",
        13 | 0x4205 => "set_registers",
        16 => "attach",
        0x4206 => "seize",
        _ => return format!("ptrace.{request:#x}"),
    };
    format!("ptrace.{name}")
}

/// Commands of bpf(2), in the order of their numbers (include/uapi/linux/bpf.h).
const BPF_COMMANDS: &[&str] = &[
    "map_create",
    "map_lookup",
    "map_update",
    "map_delete",
    "map_next_key",
    "prog_load",
    "obj_pin",
    "obj_get",
    "prog_attach",
    "prog_detach",
    "prog_test_run",
    "prog_next_id",
    "map_next_id",
    "prog_fd_by_id",
    "map_fd_by_id",
    "obj_info_by_fd",
    "prog_query",
    "raw_tracepoint_open",
    "btf_load",
    "btf_fd_by_id",
    "task_fd_query",
    "map_lookup_and_delete",
    "map_freeze",
    "btf_next_id",
    "map_lookup_batch",
    "map_lookup_and_delete_batch",
    "map_update_batch",
    "map_delete_batch",
    "link_create",
    "link_update",
    "link_fd_by_id",
    "link_next_id",
    "enable_stats",
    "iter_create",
    "link_detach",
    "prog_bind_map",
    "token_create",
];

/// Codes of io_uring requests (include/uapi/linux/io_uring.h).
const URING_CODES: &[&str] = &[
    "nop",
    "readv",
    "writev",
    "fsync",
    "read_fixed",
    "write_fixed",
    "poll_add",
    "poll_remove",
    "sync_file_range",
    "sendmsg",
    "recvmsg",
    "timeout",
    "timeout_remove",
    "accept",
    "async_cancel",
    "link_timeout",
    "connect",
    "fallocate",
    "openat",
    "close",
    "files_update",
    "statx",
    "read",
    "write",
    "fadvise",
    "madvise",
    "send",
    "recv",
    "openat2",
    "epoll_ctl",
    "splice",
    "provide_buffers",
    "remove_buffers",
    "tee",
    "shutdown",
    "renameat",
    "unlinkat",
    "mkdirat",
    "symlinkat",
    "linkat",
    "msg_ring",
    "fsetxattr",
    "setxattr",
    "fgetxattr",
    "getxattr",
    "socket",
    "uring_cmd",
    "send_zc",
    "sendmsg_zc",
    "read_multishot",
    "waitid",
    "futex_wait",
    "futex_wake",
    "futex_waitv",
    "fixed_fd_install",
    "ftruncate",
    "bind",
    "listen",
];

fn nth(names: &[&str], number: u64) -> String {
    usize::try_from(number)
        .ok()
        .and_then(|number| names.get(number))
        .map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

pub(super) fn bpf_name(command: u64) -> String {
    nth(BPF_COMMANDS, command)
}

pub(super) fn uring_name(code: u64) -> String {
    nth(URING_CODES, code)
}

pub(super) fn operation_name(operation: u32) -> &'static str {
    match operation {
        wire::OP_SETUID => "setuid",
        wire::OP_SETGID => "setgid",
        wire::OP_SETREUID => "setreuid",
        wire::OP_SETREGID => "setregid",
        wire::OP_SETRESUID => "setresuid",
        wire::OP_SETRESGID => "setresgid",
        wire::OP_SETFSUID => "setfsuid",
        wire::OP_SETFSGID => "setfsgid",
        wire::OP_SETGROUPS => "setgroups",
        wire::OP_CAPSET => "capset",
        wire::OP_CHROOT => "chroot",
        wire::OP_PIVOT_ROOT => "pivot_root",
        wire::OP_UNSHARE => "unshare",
        wire::OP_SETNS => "setns",
        wire::OP_NEW_NAMESPACES => "clone",
        wire::OP_MOUNT => "mount",
        wire::OP_UMOUNT => "umount",
        wire::OP_MOVE_MOUNT => "move_mount",
        wire::OP_OPEN_TREE => "open_tree",
        wire::OP_FSOPEN => "fsopen",
        wire::OP_FSCONFIG => "fsconfig",
        wire::OP_FSMOUNT => "fsmount",
        wire::OP_FSPICK => "fspick",
        wire::OP_MOUNT_SETATTR => "mount_setattr",
        wire::OP_INIT_MODULE => "init_module",
        wire::OP_FINIT_MODULE => "finit_module",
        wire::OP_DELETE_MODULE => "delete_module",
        wire::OP_KEXEC_LOAD => "kexec_load",
        wire::OP_KEXEC_FILE_LOAD => "kexec_file_load",
        wire::OP_PERF_EVENT_OPEN => "perf_event_open",
        wire::OP_IO_URING_SETUP => "io_uring.setup",
        _ => "other",
    }
}

/// Address families (include/linux/socket.h). Of IP only raw sockets come here.
pub(super) fn family_name(family: u32) -> String {
    let name = match family {
        2 => "inet.raw",
        10 => "inet6.raw",
        15 => "key",
        16 => "netlink",
        17 => "packet",
        29 => "can",
        31 => "bluetooth",
        38 => "alg",
        40 => "vsock",
        44 => "xdp",
        _ => return format!("family.{family}"),
    };
    name.to_owned()
}
