//! Which operation each system call of this architecture stands for (`bpf/include/syscalls.h`).

use agentsight_bpf::types::act_shape;
use agentsight_wire as wire;

/// System call numbers and the operations that they are.
pub(crate) const OPERATIONS: &[(libc::c_long, u32)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, wire::OP_OPEN),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, wire::OP_CREAT),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, wire::OP_UNLINK),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, wire::OP_RMDIR),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, wire::OP_RENAME),
    (libc::SYS_openat, wire::OP_OPENAT),
    (libc::SYS_openat2, wire::OP_OPEN_OTHER),
    (libc::SYS_open_by_handle_at, wire::OP_OPEN_OTHER),
    (libc::SYS_read, wire::OP_READ),
    (libc::SYS_pread64, wire::OP_READ),
    (libc::SYS_readv, wire::OP_READV),
    (libc::SYS_preadv, wire::OP_READV),
    (libc::SYS_preadv2, wire::OP_READV),
    (libc::SYS_recvfrom, wire::OP_RECVFROM),
    (libc::SYS_recvmsg, wire::OP_RECVMSG),
    (libc::SYS_write, wire::OP_WRITE),
    (libc::SYS_pwrite64, wire::OP_WRITE),
    (libc::SYS_writev, wire::OP_WRITEV),
    (libc::SYS_pwritev, wire::OP_WRITEV),
    (libc::SYS_pwritev2, wire::OP_WRITEV),
    (libc::SYS_sendmsg, wire::OP_SENDMSG),
    (libc::SYS_sendto, wire::OP_SENDTO),
    (libc::SYS_sendfile, wire::OP_SENDFILE),
    (libc::SYS_copy_file_range, wire::OP_COPY_RANGE),
    (libc::SYS_unlinkat, wire::OP_UNLINKAT),
    (libc::SYS_renameat, wire::OP_RENAMEAT),
    (libc::SYS_renameat2, wire::OP_RENAMEAT),
    (libc::SYS_connect, wire::OP_CONNECT),
    (libc::SYS_accept, wire::OP_ACCEPT),
    (libc::SYS_accept4, wire::OP_ACCEPT),
    (libc::SYS_mmap, wire::OP_MMAP),
    (libc::SYS_sendmmsg, wire::OP_SENDMMSG),
    (libc::SYS_recvmmsg, wire::OP_RECVMMSG),
    (libc::SYS_splice, wire::OP_SPLICE),
    (libc::SYS_tee, wire::OP_TEE),
    (libc::SYS_vmsplice, wire::OP_VMSPLICE),
    (libc::SYS_ioctl, wire::OP_IOCTL),
    (libc::SYS_bind, wire::OP_BIND),
    (libc::SYS_socket, wire::OP_SOCKET),
    (libc::SYS_clone, wire::OP_CLONE),
    (libc::SYS_clone3, wire::OP_CLONE3),
    (libc::SYS_mprotect, wire::OP_MPROTECT),
    (libc::SYS_pkey_mprotect, wire::OP_MPROTECT),
    (libc::SYS_memfd_create, wire::OP_OPEN_OTHER),
    (libc::SYS_ptrace, wire::OP_PTRACE),
    (libc::SYS_process_vm_readv, wire::OP_PROCESS_VM_READV),
    (libc::SYS_process_vm_writev, wire::OP_PROCESS_VM_WRITEV),
    (libc::SYS_pidfd_getfd, wire::OP_PIDFD_GETFD),
    (libc::SYS_setuid, wire::OP_SETUID),
    (libc::SYS_setgid, wire::OP_SETGID),
    (libc::SYS_setreuid, wire::OP_SETREUID),
    (libc::SYS_setregid, wire::OP_SETREGID),
    (libc::SYS_setresuid, wire::OP_SETRESUID),
    (libc::SYS_setresgid, wire::OP_SETRESGID),
    (libc::SYS_setfsuid, wire::OP_SETFSUID),
    (libc::SYS_setfsgid, wire::OP_SETFSGID),
    (libc::SYS_setgroups, wire::OP_SETGROUPS),
    (libc::SYS_capset, wire::OP_CAPSET),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, wire::OP_LINK),
    (libc::SYS_linkat, wire::OP_LINKAT),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, wire::OP_SYMLINK),
    (libc::SYS_symlinkat, wire::OP_SYMLINKAT),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, wire::OP_CHMOD),
    (libc::SYS_fchmod, wire::OP_FCHMOD),
    (libc::SYS_fchmodat, wire::OP_FCHMODAT),
    (FCHMODAT2, wire::OP_FCHMODAT),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chown, wire::OP_CHOWN),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lchown, wire::OP_CHOWN),
    (libc::SYS_fchown, wire::OP_FCHOWN),
    (libc::SYS_fchownat, wire::OP_FCHOWNAT),
    (libc::SYS_setxattr, wire::OP_SETXATTR),
    (libc::SYS_lsetxattr, wire::OP_SETXATTR),
    (libc::SYS_fsetxattr, wire::OP_FSETXATTR),
    (libc::SYS_removexattr, wire::OP_REMOVEXATTR),
    (libc::SYS_lremovexattr, wire::OP_REMOVEXATTR),
    (libc::SYS_fremovexattr, wire::OP_FREMOVEXATTR),
    (libc::SYS_truncate, wire::OP_TRUNCATE),
    (libc::SYS_ftruncate, wire::OP_FTRUNCATE),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, wire::OP_MKDIR),
    (libc::SYS_mkdirat, wire::OP_MKDIRAT),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, wire::OP_MKNOD),
    (libc::SYS_mknodat, wire::OP_MKNODAT),
    (libc::SYS_chroot, wire::OP_CHROOT),
    (libc::SYS_pivot_root, wire::OP_PIVOT_ROOT),
    (libc::SYS_unshare, wire::OP_UNSHARE),
    (libc::SYS_setns, wire::OP_SETNS),
    (libc::SYS_mount, wire::OP_MOUNT),
    (libc::SYS_umount2, wire::OP_UMOUNT),
    (libc::SYS_move_mount, wire::OP_MOVE_MOUNT),
    (libc::SYS_open_tree, wire::OP_OPEN_TREE),
    (libc::SYS_fsopen, wire::OP_FSOPEN),
    (libc::SYS_fsconfig, wire::OP_FSCONFIG),
    (libc::SYS_fsmount, wire::OP_FSMOUNT),
    (libc::SYS_fspick, wire::OP_FSPICK),
    (libc::SYS_mount_setattr, wire::OP_MOUNT_SETATTR),
    (libc::SYS_init_module, wire::OP_INIT_MODULE),
    (libc::SYS_finit_module, wire::OP_FINIT_MODULE),
    (libc::SYS_delete_module, wire::OP_DELETE_MODULE),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_kexec_load, wire::OP_KEXEC_LOAD),
    (libc::SYS_kexec_file_load, wire::OP_KEXEC_FILE_LOAD),
    (libc::SYS_bpf, wire::OP_BPF),
    (libc::SYS_perf_event_open, wire::OP_PERF_EVENT_OPEN),
    (libc::SYS_io_uring_setup, wire::OP_IO_URING_SETUP),
    (CANARY, wire::OP_CANARY),
];

/// The call by which the monitor checks that it sees: `getpriority` has no effect.
pub(crate) const CANARY: libc::c_long = libc::SYS_getpriority;

/// Since Linux 6.6; the same number everywhere.
const FCHMODAT2: libc::c_long = 452;

/// The same for 32-bit programs on x86-64 (arch/x86/entry/syscalls/syscall_32.tbl).
#[cfg(target_arch = "x86_64")]
pub(crate) const OPERATIONS_32: &[(libc::c_long, u32)] = &[
    (3, wire::OP_READ),
    (4, wire::OP_WRITE),
    (5, wire::OP_OPEN),
    (8, wire::OP_CREAT),
    (9, wire::OP_LINK),
    (10, wire::OP_UNLINK),
    (14, wire::OP_MKNOD),
    (15, wire::OP_CHMOD),
    (16, wire::OP_CHOWN),
    (21, wire::OP_MOUNT),
    (22, wire::OP_UMOUNT),
    (23, wire::OP_SETUID),
    (26, wire::OP_PTRACE),
    (38, wire::OP_RENAME),
    (39, wire::OP_MKDIR),
    (40, wire::OP_RMDIR),
    (46, wire::OP_SETGID),
    (52, wire::OP_UMOUNT),
    (54, wire::OP_IOCTL),
    (61, wire::OP_CHROOT),
    (70, wire::OP_SETREUID),
    (71, wire::OP_SETREGID),
    (81, wire::OP_SETGROUPS),
    (83, wire::OP_SYMLINK),
    (92, wire::OP_TRUNCATE),
    (93, wire::OP_FTRUNCATE),
    (94, wire::OP_FCHMOD),
    (95, wire::OP_FCHOWN),
    (120, wire::OP_CLONE),
    (125, wire::OP_MPROTECT),
    (128, wire::OP_INIT_MODULE),
    (129, wire::OP_DELETE_MODULE),
    (138, wire::OP_SETFSUID),
    (139, wire::OP_SETFSGID),
    (145, wire::OP_READV),
    (146, wire::OP_WRITEV),
    (164, wire::OP_SETRESUID),
    (170, wire::OP_SETRESGID),
    (180, wire::OP_READ),
    (181, wire::OP_WRITE),
    (182, wire::OP_CHOWN),
    (185, wire::OP_CAPSET),
    (187, wire::OP_SENDFILE),
    (192, wire::OP_MMAP),
    (193, wire::OP_TRUNCATE),
    (194, wire::OP_FTRUNCATE),
    (198, wire::OP_CHOWN),
    (203, wire::OP_SETREUID),
    (204, wire::OP_SETREGID),
    (206, wire::OP_SETGROUPS),
    (207, wire::OP_FCHOWN),
    (208, wire::OP_SETRESUID),
    (210, wire::OP_SETRESGID),
    (212, wire::OP_CHOWN),
    (213, wire::OP_SETUID),
    (214, wire::OP_SETGID),
    (215, wire::OP_SETFSUID),
    (216, wire::OP_SETFSGID),
    (217, wire::OP_PIVOT_ROOT),
    (226, wire::OP_SETXATTR),
    (227, wire::OP_SETXATTR),
    (228, wire::OP_FSETXATTR),
    (235, wire::OP_REMOVEXATTR),
    (236, wire::OP_REMOVEXATTR),
    (237, wire::OP_FREMOVEXATTR),
    (239, wire::OP_SENDFILE),
    (295, wire::OP_OPENAT),
    (296, wire::OP_MKDIRAT),
    (297, wire::OP_MKNODAT),
    (298, wire::OP_FCHOWNAT),
    (301, wire::OP_UNLINKAT),
    (302, wire::OP_RENAMEAT),
    (303, wire::OP_LINKAT),
    (304, wire::OP_SYMLINKAT),
    (306, wire::OP_FCHMODAT),
    (310, wire::OP_UNSHARE),
    (313, wire::OP_SPLICE),
    (315, wire::OP_TEE),
    (316, wire::OP_VMSPLICE),
    (333, wire::OP_READV),
    (334, wire::OP_WRITEV),
    (336, wire::OP_PERF_EVENT_OPEN),
    (342, wire::OP_OPEN_OTHER),
    (346, wire::OP_SETNS),
    (347, wire::OP_PROCESS_VM_READV),
    (348, wire::OP_PROCESS_VM_WRITEV),
    (350, wire::OP_FINIT_MODULE),
    (353, wire::OP_RENAMEAT),
    (356, wire::OP_OPEN_OTHER),
    (357, wire::OP_BPF),
    (359, wire::OP_SOCKET),
    (361, wire::OP_BIND),
    (362, wire::OP_CONNECT),
    (364, wire::OP_ACCEPT),
    (369, wire::OP_SENDTO),
    (370, wire::OP_SENDMSG),
    (371, wire::OP_RECVFROM),
    (372, wire::OP_RECVMSG),
    (377, wire::OP_COPY_RANGE),
    (425, wire::OP_IO_URING_SETUP),
    (428, wire::OP_OPEN_TREE),
    (429, wire::OP_MOVE_MOUNT),
    (430, wire::OP_FSOPEN),
    (431, wire::OP_FSCONFIG),
    (432, wire::OP_FSMOUNT),
    (433, wire::OP_FSPICK),
    (435, wire::OP_CLONE3),
    (437, wire::OP_OPEN_OTHER),
    (438, wire::OP_PIDFD_GETFD),
    (442, wire::OP_MOUNT_SETATTR),
    (452, wire::OP_FCHMODAT),
];

/// 32-bit programs of other machines are not decoded.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const OPERATIONS_32: &[(libc::c_long, u32)] = &[];

const NONE: act_shape = act_shape {
    fd: 0,
    directory: 0,
    name: 0,
    other_directory: 0,
    other: 0,
    text: 0,
    failed_too: 0,
    reserved: 0,
};
/// What counts as an act even if the kernel refused it.
const TRIED: act_shape = act_shape {
    failed_too: 1,
    ..NONE
};

const fn fd(fd: u8) -> act_shape {
    act_shape { fd, ..NONE }
}

const fn name(directory: u8, name: u8) -> act_shape {
    act_shape {
        directory,
        name,
        ..NONE
    }
}

const fn names(from: (u8, u8), to: (u8, u8)) -> act_shape {
    act_shape {
        directory: from.0,
        name: from.1,
        other_directory: to.0,
        other: to.1,
        ..NONE
    }
}

const fn with_text(shape: act_shape, text: u8) -> act_shape {
    act_shape { text, ..shape }
}

const fn tried(shape: act_shape) -> act_shape {
    act_shape {
        failed_too: 1,
        ..shape
    }
}

/// What each act is about: numbers of the call's arguments, from 1 on.
const SHAPES: &[(u32, act_shape)] = &[
    (wire::OP_PTRACE, TRIED),
    (wire::OP_PROCESS_VM_READV, TRIED),
    (wire::OP_PROCESS_VM_WRITEV, TRIED),
    (wire::OP_PIDFD_GETFD, TRIED),
    (wire::OP_LINK, names((0, 1), (0, 2))),
    (wire::OP_LINKAT, names((1, 2), (3, 4))),
    (wire::OP_SYMLINK, with_text(names((0, 0), (0, 2)), 1)),
    (wire::OP_SYMLINKAT, with_text(names((0, 0), (2, 3)), 1)),
    (wire::OP_CHMOD, name(0, 1)),
    (wire::OP_FCHMOD, fd(1)),
    (wire::OP_FCHMODAT, name(1, 2)),
    (wire::OP_CHOWN, name(0, 1)),
    (wire::OP_FCHOWN, fd(1)),
    (wire::OP_FCHOWNAT, name(1, 2)),
    (wire::OP_SETXATTR, with_text(name(0, 1), 2)),
    (wire::OP_FSETXATTR, with_text(fd(1), 2)),
    (wire::OP_REMOVEXATTR, with_text(name(0, 1), 2)),
    (wire::OP_FREMOVEXATTR, with_text(fd(1), 2)),
    (wire::OP_TRUNCATE, name(0, 1)),
    (wire::OP_FTRUNCATE, fd(1)),
    (wire::OP_MKDIR, name(0, 1)),
    (wire::OP_MKDIRAT, name(1, 2)),
    (wire::OP_MKNOD, name(0, 1)),
    (wire::OP_MKNODAT, name(1, 2)),
    (wire::OP_CHROOT, tried(name(0, 1))),
    (wire::OP_PIVOT_ROOT, tried(names((0, 1), (0, 2)))),
    (wire::OP_UNSHARE, TRIED),
    (wire::OP_SETNS, tried(fd(1))),
    (wire::OP_MOUNT, tried(with_text(names((0, 1), (0, 2)), 3))),
    (wire::OP_UMOUNT, tried(name(0, 1))),
    (wire::OP_MOVE_MOUNT, tried(names((1, 2), (3, 4)))),
    (wire::OP_OPEN_TREE, tried(name(1, 2))),
    (wire::OP_FSOPEN, tried(with_text(NONE, 1))),
    (wire::OP_FSCONFIG, tried(with_text(NONE, 3))),
    (wire::OP_FSMOUNT, TRIED),
    (wire::OP_FSPICK, tried(name(1, 2))),
    (wire::OP_MOUNT_SETATTR, tried(name(1, 2))),
    (wire::OP_INIT_MODULE, TRIED),
    (wire::OP_FINIT_MODULE, tried(fd(1))),
    (wire::OP_DELETE_MODULE, tried(with_text(NONE, 1))),
    (wire::OP_KEXEC_LOAD, TRIED),
    (wire::OP_KEXEC_FILE_LOAD, tried(fd(1))),
    (wire::OP_BPF, TRIED),
    (wire::OP_PERF_EVENT_OPEN, TRIED),
    (wire::OP_IO_URING_SETUP, TRIED),
    (wire::OP_OTHER_SOCKET, TRIED),
    (wire::OP_PASS, fd(5)),
    (wire::OP_MAP, fd(5)),
];

/// Fills the kernel side's table of what acts are about.
pub(crate) fn fill_shapes(table: &mut [act_shape]) {
    for &(operation, shape) in SHAPES {
        if let Some(entry) = usize::try_from(operation)
            .ok()
            .and_then(|operation| table.get_mut(operation))
        {
            *entry = shape;
        }
    }
}

/// Fills one of the kernel side's tables of numbers.
pub(crate) fn fill(table: &mut [u8], operations: &[(libc::c_long, u32)]) {
    for &(number, operation) in operations {
        if let Some(entry) = usize::try_from(number)
            .ok()
            .and_then(|number| table.get_mut(number))
        {
            *entry = u8::try_from(operation).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_its_table_once() {
        for operations in [OPERATIONS, OPERATIONS_32] {
            let mut numbers: Vec<_> = operations.iter().map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            let count = numbers.len();
            numbers.dedup();
            assert_eq!(numbers.len(), count);

            let mut table = [0; 512];
            fill(&mut table, operations);
            assert_eq!(
                table.iter().filter(|&&operation| operation != 0).count(),
                count
            );
        }
    }
}
