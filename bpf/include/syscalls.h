/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What a system call means to us. User space fills the table `operations`, indexed by the system call
 * number of the machine it runs on; the programs know operations only. Append-only, as crates/probe
 * mirrors it and tests that it does.
 */
#ifndef AGENTSIGHT_SYSCALLS_H
#define AGENTSIGHT_SYSCALLS_H

enum operation {
	OP_NONE = 0,
	OP_OPEN = 1, /* returns a descriptor of a file; flags in argument 2 (open) */
	OP_OPENAT = 2, /* the same, flags in argument 3 */
	OP_OPEN_OTHER = 3, /* the same, flags elsewhere or none */
	OP_CREAT = 4,
	OP_READ = 5, /* descriptor in argument 1, returns bytes read */
	OP_WRITE = 6,
	OP_SENDFILE = 7, /* reads argument 2, writes argument 1 */
	OP_COPY_RANGE = 8, /* reads argument 1, writes argument 3 */
	OP_UNLINK = 9,
	OP_UNLINKAT = 10,
	OP_RMDIR = 11,
	OP_RENAME = 12,
	OP_RENAMEAT = 13,
	OP_CONNECT = 14,
	OP_ACCEPT = 15,
	OP_SENDTO = 16, /* descriptor in argument 1, returns bytes, address in argument 5 */
	OP_MMAP = 17,
	OP_READV = 18, /* as OP_READ, with vectors */
	OP_WRITEV = 19,
	OP_RECVFROM = 20, /* flags in argument 4 */
	OP_RECVMSG = 21, /* flags in argument 3 */
	OP_SENDMSG = 22,
	OP_SENDMMSG = 23,
	OP_RECVMMSG = 24,
	OP_SPLICE = 25, /* from argument 1 to argument 3 */
	OP_TEE = 26, /* from argument 1 to argument 2 */
	OP_VMSPLICE = 27, /* to argument 1 */
	OP_IOCTL = 28, /* clones of files only */
	OP_BIND = 29,
	OP_CLONE = 30, /* into new namespaces only */
	OP_CLONE3 = 31,
	OP_MPROTECT = 32, /* to writable code only */
	OP_SOCKET = 33, /* of other families than IP and unix, and raw ones */
	OP_CANARY = 34, /* of the monitor; its number is in argument 2 */
	/* Acts: sent with what they are about, as act_shapes says. */
	OP_ACTS = 40, /* the first one */
	OP_PTRACE = 40,
	OP_PROCESS_VM_READV = 41,
	OP_PROCESS_VM_WRITEV = 42,
	OP_PIDFD_GETFD = 43,
	OP_SETUID = 50,
	OP_SETGID = 51,
	OP_SETREUID = 52,
	OP_SETREGID = 53,
	OP_SETRESUID = 54,
	OP_SETRESGID = 55,
	OP_SETFSUID = 56,
	OP_SETFSGID = 57,
	OP_SETGROUPS = 58,
	OP_CAPSET = 59,
	OP_CREDENTIALS_LAST = 59,
	OP_LINK = 60,
	OP_LINKAT = 61,
	OP_SYMLINK = 62,
	OP_SYMLINKAT = 63,
	OP_CHMOD = 64,
	OP_FCHMOD = 65,
	OP_FCHMODAT = 66,
	OP_CHOWN = 67,
	OP_FCHOWN = 68,
	OP_FCHOWNAT = 69,
	OP_SETXATTR = 70,
	OP_FSETXATTR = 71,
	OP_REMOVEXATTR = 72,
	OP_FREMOVEXATTR = 73,
	OP_TRUNCATE = 74,
	OP_FTRUNCATE = 75,
	OP_MKDIR = 76,
	OP_MKDIRAT = 77,
	OP_MKNOD = 78,
	OP_MKNODAT = 79,
	OP_CHROOT = 90,
	OP_PIVOT_ROOT = 91,
	OP_UNSHARE = 92,
	OP_SETNS = 93,
	OP_NEW_NAMESPACES = 94, /* clone, clone3; argument 1 has the flags */
	OP_MOUNT = 100,
	OP_UMOUNT = 101,
	OP_MOVE_MOUNT = 102,
	OP_OPEN_TREE = 103,
	OP_FSOPEN = 104,
	OP_FSCONFIG = 105,
	OP_FSMOUNT = 106,
	OP_FSPICK = 107,
	OP_MOUNT_SETATTR = 108,
	OP_INIT_MODULE = 110,
	OP_FINIT_MODULE = 111,
	OP_DELETE_MODULE = 112,
	OP_KEXEC_LOAD = 113,
	OP_KEXEC_FILE_LOAD = 114,
	OP_BPF = 115,
	OP_PERF_EVENT_OPEN = 116,
	OP_IO_URING_SETUP = 117,
	OP_IO_URING = 118, /* a request; argument 1 has its code */
	OP_SIGNAL = 120, /* arguments: signal, tgid and start of the target; the text is its comm */
	OP_PASS = 121, /* argument 1: enum passing */
	OP_UNIX_CONNECT = 122, /* arguments: inode, inode of the peer, pid of the peer */
	OP_OTHER_SOCKET = 123, /* arguments: family, type, protocol */
	OP_MAP = 124, /* arguments: protection, flags */
	OP_COUNT = 128,
};

enum passing {
	PASSED_SENT = 0,
	PASSED_RECEIVED = 1,
	PASSED_BY_PIDFD = 2,
};

#define MAX_SYSCALLS 512

#endif
