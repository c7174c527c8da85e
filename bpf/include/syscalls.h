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
};

#define MAX_SYSCALLS 512

#endif
