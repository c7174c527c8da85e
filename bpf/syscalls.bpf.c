// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Everything that is seen at the return of a system call: the kernel has resolved names and descriptors
 * by then, and the objects behind them are read, not what the caller passed.
 *
 * One raw tracepoint instead of a tracepoint a call: with reads and writes among the calls of interest
 * it costs watched and unwatched processes less (docs/adr/0002-one-syscall-exit-program.md).
 */
#include "mode.h"
#include "channel.h"
#include "network.h"
#include "syscalls.h"
#include "uring.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Operation of each system call number; filled by user space before loading. */
const volatile u8 operations[MAX_SYSCALLS] = {};
/* The same for 32-bit programs, which have numbers of their own. */
const volatile u8 operations_32[MAX_SYSCALLS] = {};

/* Ourselves; set by user space before loading. */
const volatile u32 monitor_tgid = 0;

#define EINPROGRESS 115
#define TS_COMPAT 2
#define MSG_PEEK 2
#define X32_SYSCALL_BIT 0x40000000
#define MSGHDR_BYTES 56
#define MMSGHDR_BYTES 64

#define FD_HOW(fd, form, write) ((u32)(fd) | (u64)(form) << 32 | (u64)(write) << 40)

/*
 * Bytes went from or to a descriptor.
 * VERIFIER: a global function, checked once and not for each call and each operation; it takes scalars only
 * (5.10).
 */
__weak __noinline int transferred(u64 fd_how, u64 bytes, u64 address, u64 count, u64 to)
{
	struct file *file = file_of_fd((u32)fd_how);
	struct transfer *moved = this_transfer();
	bool is_flow;
	u32 mode;

	if (!moved || !file || !bytes)
		return 0;
	moved->data.address = address;
	moved->data.count = count;
	moved->data.to = to;
	moved->data.form = (u8)(fd_how >> 32);
	moved->file = (u64)file;
	moved->bytes = bytes;
	moved->write = fd_how >> 40 & 1;
	mode = BPF_CORE_READ(file, f_inode, i_mode);
	if ((mode & S_IFMT) == S_IFSOCK) {
		u64 socket = socket_transferred();

		if (socket && is_wanted(socket))
			capture_cleartext(socket, moved);
	}
	is_flow = channel_found();
	if (is_flow || is_file(mode))
		file_transferred(file, moved->write, bytes);
	if (is_flow)
		channel_flowed();
	return 0;
}

static __always_inline void image_mapped(const struct actor *actor, u32 fd)
{
	struct file *file = file_of_fd(fd);
	struct image_mapped_rec *rec;
	struct file_id id = {};
	struct inode *inode;
	struct scratch *s;
	struct path path;
	u32 at = sizeof(*rec);
	u8 flags = 0;

	if (!file)
		return;
	inode = BPF_CORE_READ(file, f_inode);
	file_id_of(&id, inode);
	if (!is_new_image(&id))
		return;
	s = scratch();
	if (!s)
		return;
	rec = (void *)s->bytes;
	fill_header(&rec->header, EV_IMAGE_MAPPED, CLASS_PROCESS, 0, actor->scope, actor->tgid,
		    actor->tid);
	rec->file = id;
	rec->reserved = 0;
	path = BPF_CORE_READ(file, f_path);
	at = path_append(at, &path, &flags);
	rec->path_bytes = at - sizeof(*rec);
	rec->header.flags = flags;
	rec->header.length = at;
	if (at > sizeof(*rec) + WIRE_PATH_BYTES)
		return;
	if (bpf_ringbuf_output(&process_ring, rec, at, BPF_RB_FORCE_WAKEUP))
		count_refused(CLASS_PROCESS);
}

#define FICLONE 0x40049409
#define FICLONERANGE 0x4020940d

/* Data of one file became another's, without a read or a write. The sizes are the file systems' business. */
static __always_inline void file_cloned(const struct call *call)
{
	u32 command = call->arguments[1];
	u64 range[3] = {}; /* struct file_clone_range */

	if (command == FICLONE) {
		transferred(FD_HOW(call->arguments[2], DATA_NONE, false), 1, 0, 0, 0);
		transferred(FD_HOW(call->arguments[0], DATA_NONE, true), 1, 0, 0, 0);
	} else if (command == FICLONERANGE) {
		bpf_probe_read_user(range, sizeof(range), (void *)call->arguments[2]);
		transferred(FD_HOW(range[0], DATA_NONE, false), range[2], 0, 0, 0);
		transferred(FD_HOW(call->arguments[0], DATA_NONE, true), range[2], 0, 0, 0);
	}
}

static __always_inline bool is_write(u32 op)
{
	return op == OP_WRITE || op == OP_WRITEV || op == OP_SENDTO || op == OP_SENDMSG;
}

static __always_inline u32 form_of(u32 op)
{
	switch (op) {
	case OP_READV:
	case OP_WRITEV:
		return DATA_VECTOR;
	case OP_RECVMSG:
	case OP_SENDMSG:
		return DATA_MESSAGE;
	}
	return DATA_FLAT;
}

/*
 * A message is moved with each element of a vector of them.
 * VERIFIER: apart, for its loop.
 */
__weak __noinline int transferred_messages(u64 fd, u64 write, u64 address, u64 count)
{
	u32 i;

	for (i = 0; i < MAX_VECTORS; i++) {
		u64 message = address + (u64)i * MMSGHDR_BYTES;
		u32 bytes = 0;

		if (i >= count)
			return 0;
		bpf_probe_read_user(&bytes, sizeof(bytes), (void *)message + MSGHDR_BYTES);
		transferred(FD_HOW(fd, DATA_MESSAGE, write), bytes, message, 0, 0);
	}
	if (count > MAX_VECTORS)
		count_drop(CLASS_NETWORK, DROP_TOO_LONG);
	return 0;
}

/* The call that returns, whichever table its number is of. Returns its operation. */
static __always_inline u32 call_of(struct call *call, struct task_struct *task,
				   struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	/* VERIFIER: 64 bits, so that a bound is known of the very register that is used */
	u64 nr = (u32)BPF_CORE_READ(regs, orig_ax);

	/* Set on the way in, for `int 0x80` and sysenter, and cleared after this. */
	call->compat = BPF_CORE_READ(task, thread_info.status) & TS_COMPAT;
	if (call->compat) {
		barrier_var(nr);
		if (nr >= MAX_SYSCALLS)
			return OP_NONE;
		call->arguments[0] = (u32)BPF_CORE_READ(regs, bx);
		call->arguments[1] = (u32)BPF_CORE_READ(regs, cx);
		call->arguments[2] = (u32)BPF_CORE_READ(regs, dx);
		call->arguments[3] = (u32)BPF_CORE_READ(regs, si);
		call->arguments[4] = (u32)BPF_CORE_READ(regs, di);
		call->arguments[5] = (u32)BPF_CORE_READ(regs, bp);
		return operations_32[nr];
	}
	nr &= ~(u64)X32_SYSCALL_BIT;
#else
	u64 nr = (u32)BPF_CORE_READ(regs, syscallno);

	call->compat = 0;
#endif
	barrier_var(nr);
	if (nr >= MAX_SYSCALLS)
		return OP_NONE;
	call->arguments[0] = PT_REGS_PARM1_CORE_SYSCALL(regs);
	call->arguments[1] = PT_REGS_PARM2_CORE_SYSCALL(regs);
	call->arguments[2] = PT_REGS_PARM3_CORE_SYSCALL(regs);
	call->arguments[3] = PT_REGS_PARM4_CORE_SYSCALL(regs);
	call->arguments[4] = PT_REGS_PARM5_CORE_SYSCALL(regs);
	return operations[nr];
}

/* Bytes that a call moved. Vectors and messages of 32-bit programs have another form: counted only. */
static __always_inline void call_transferred(const struct call *call, u32 op)
{
	const u64 *a = call->arguments;
	u32 form = form_of(op);
	u64 to = 0;

	if (op == OP_RECVFROM && a[3] & MSG_PEEK)
		return; /* comes again */
	if (op == OP_RECVMSG && a[2] & MSG_PEEK)
		return;
	if (op == OP_SENDTO || op == OP_RECVFROM)
		to = a[4];
	if (call->compat && form != DATA_FLAT)
		form = DATA_NONE;
	transferred(FD_HOW(a[0], form, is_write(op)), call->result, a[1], a[2], to);
	if (form == DATA_MESSAGE)
		files_passed(a[1], op == OP_RECVMSG);
}

/* Bytes that the kernel moved from one descriptor to another. */
static __always_inline void copied(u32 from, u32 to, u64 bytes)
{
	transferred(FD_HOW(from, DATA_NONE, false), bytes, 0, 0, 0);
	transferred(FD_HOW(to, DATA_NONE, true), bytes, 0, 0, 0);
}

/*
 * Calls that change names.
 * VERIFIER: this and the functions below are global ones, for stack frames of their own.
 */
__weak __noinline int names_changed(u32 op)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct actor actor = { .tgid = pid_tgid >> 32, .tid = (u32)pid_tgid };
	struct call *call = this_call();
	const u64 *a;

	actor.task = (struct task_struct *)bpf_get_current_task();
	actor.scope = scope_of(actor.tgid);
	if (!actor.scope || !call)
		return 0;
	a = call->arguments;
	switch (op) {
	case OP_UNLINK:
		file_deleted(&actor, AT_FDCWD, (void *)a[0], false);
		break;
	case OP_RMDIR:
		file_deleted(&actor, AT_FDCWD, (void *)a[0], true);
		break;
	case OP_UNLINKAT:
		file_deleted(&actor, a[0], (void *)a[1], a[2] & AT_REMOVEDIR);
		break;
	case OP_RENAME:
		file_renamed(&actor, AT_FDCWD, (void *)a[0], AT_FDCWD, (void *)a[1]);
		break;
	case OP_RENAMEAT:
		file_renamed(&actor, a[0], (void *)a[1], a[2], (void *)a[3]);
		break;
	}
	return 0;
}

/* Calls that make sockets, or give them an address. */
__weak __noinline int sockets_changed(u32 op)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct actor actor = { .tgid = pid_tgid >> 32, .tid = (u32)pid_tgid };
	struct call *call = this_call();

	actor.scope = scope_of(actor.tgid);
	if (!actor.scope || !call)
		return 0;
	switch (op) {
	case OP_CONNECT:
		socket_connected(&actor, call->arguments[0]);
		unix_connected(&actor, call->arguments[0]);
		break;
	case OP_ACCEPT:
		socket_accepted(&actor, call->result);
		break;
	case OP_BIND:
		socket_named(&actor, call->arguments[0]);
		break;
	case OP_SOCKET:
		socket_made(call);
		break;
	}
	return 0;
}

/* Calls that map memory, or change what may be done with it. */
__weak __noinline int memory_changed(u32 op)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct actor actor = { .tgid = pid_tgid >> 32, .tid = (u32)pid_tgid };
	struct call *call = this_call();

	actor.scope = scope_of(actor.tgid);
	if (!actor.scope || !call)
		return 0;
	if (op == OP_MPROTECT) {
		memory_protected(&actor, call);
		return 0;
	}
	if (call->arguments[2] & PROT_EXEC && (int)call->arguments[4] >= 0)
		image_mapped(&actor, call->arguments[4]);
	memory_mapped(&actor, call);
	return 0;
}

static __always_inline void call_acted(struct call *call, u32 op)
{
	act(op);
	if (call->result >= 0 && op >= OP_CHMOD && op <= OP_FCHMODAT)
		mode_changed(op);
	if (op == OP_PIDFD_GETFD && call->result >= 0) {
		call->arguments[0] = PASSED_BY_PIDFD;
		call->arguments[4] = call->result;
		act(OP_PASS);
	}
}

/* Bytes that calls moved between two descriptors, or by many messages. */
static __always_inline void call_copied(const struct call *call, u32 op)
{
	const u64 *a = call->arguments;
	s64 bytes = call->result;

	switch (op) {
	case OP_SENDMMSG:
	case OP_RECVMMSG:
		if (!call->compat)
			transferred_messages(a[0], op == OP_SENDMMSG, a[1], bytes);
		break;
	case OP_SENDFILE:
		copied(a[1], a[0], bytes);
		break;
	case OP_COPY_RANGE:
	case OP_SPLICE:
		copied(a[0], a[2], bytes);
		break;
	case OP_TEE:
		copied(a[0], a[1], bytes);
		break;
	case OP_VMSPLICE:
		transferred(FD_HOW(a[0], DATA_NONE, true), bytes, 0, 0, 0);
		break;
	}
}

/* Calls that make namespaces along with a process. */
static __always_inline void call_cloned(struct call *call, u32 op)
{
	u64 flags = call->arguments[0];

	if (op == OP_CLONE3 && bpf_probe_read_user(&flags, sizeof(flags), (void *)flags))
		return;
	namespaces_made(call, flags);
}

/*
 * The monitor makes a harmless call now and then, and waits for its record: if it does not come, the monitor
 * sees nothing any more, whatever the reason.
 */
__weak __noinline int canary_sang(u64 number)
{
	struct scope nobody = {};
	struct canary_rec *rec = bpf_ringbuf_reserve(&security_ring, sizeof(*rec), 0);

	if (!rec) {
		count_drop(CLASS_SECURITY, DROP_RING_FULL);
		return 0;
	}
	fill_header(&rec->header, EV_CANARY, CLASS_SECURITY, sizeof(*rec), &nobody, monitor_tgid,
		    0);
	rec->number = number;
	bpf_ringbuf_submit(rec, 0);
	return 0;
}

static __always_inline void call_returned(struct pt_regs *regs, long ret)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32, op;
	struct call *call = this_call();
	bool is_watched = scope_of(tgid);
	const u64 *a;

	/* VERIFIER and cost: most processes are not watched, and that is one lookup. */
	if ((!is_watched && tgid != monitor_tgid) || !call)
		return;
	op = call_of(call, (struct task_struct *)bpf_get_current_task(), regs);
	if (op == OP_NONE)
		return;
	if (!is_watched) {
		if (op == OP_CANARY)
			canary_sang(call->arguments[1]);
		return;
	}
	call->result = ret;
	a = call->arguments;
	if (op >= OP_ACTS) {
		call_acted(call, op);
		return;
	}
	/* That a socket of a strange family was asked for counts, even if there is none. */
	if (ret < 0 && op != OP_SOCKET && !(op == OP_CONNECT && ret == -EINPROGRESS))
		return;

	switch (op) {
	case OP_OPEN:
		file_opened(ret, a[1]);
		break;
	case OP_OPENAT:
		file_opened(ret, a[2]);
		break;
	case OP_OPEN_OTHER:
		file_opened(ret, 0);
		break;
	case OP_CREAT:
		file_opened(ret, O_TRUNC);
		break;
	case OP_READ:
	case OP_READV:
	case OP_RECVFROM:
	case OP_RECVMSG:
	case OP_WRITE:
	case OP_WRITEV:
	case OP_SENDTO:
	case OP_SENDMSG:
		call_transferred(call, op);
		break;
	case OP_SENDMMSG:
	case OP_RECVMMSG:
	case OP_SENDFILE:
	case OP_COPY_RANGE:
	case OP_SPLICE:
	case OP_TEE:
	case OP_VMSPLICE:
		call_copied(call, op);
		break;
	case OP_IOCTL:
		file_cloned(call);
		break;
	case OP_UNLINK:
	case OP_RMDIR:
	case OP_UNLINKAT:
	case OP_RENAME:
	case OP_RENAMEAT:
		names_changed(op);
		break;
	case OP_CONNECT:
	case OP_ACCEPT:
	case OP_BIND:
	case OP_SOCKET:
		sockets_changed(op);
		break;
	case OP_MMAP:
	case OP_MPROTECT:
		memory_changed(op);
		break;
	case OP_CLONE:
	case OP_CLONE3:
		call_cloned(call, op);
		break;
	}
}

#define SIGPIPE 13
#define SIGXFSZ 25
#define SEND_SIG_NOINFO 0 /* of the current process; since 7.x, also those of kill() */
#define SEND_SIG_PRIV 1 /* of the kernel */

/* `info` may be one of the above and no address. Codes above 0 are the kernel's. */
static __always_inline bool is_of_kernel(int signal, struct kernel_siginfo *info,
					 struct task_struct *target, u32 tgid)
{
	if ((u64)info == SEND_SIG_NOINFO)
		return (signal == SIGPIPE || signal == SIGXFSZ) &&
		       BPF_CORE_READ(target, tgid) == tgid;
	return (u64)info == SEND_SIG_PRIV || BPF_CORE_READ(info, si_code) > 0;
}

/* A signal of one process to another, or to itself by kill(); not those of the kernel. */
static __always_inline void signal_generated(int signal, struct kernel_siginfo *info,
					     struct task_struct *target)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct actor actor = { .tgid = pid_tgid >> 32, .tid = (u32)pid_tgid };
	struct scratch *s;
	struct act_rec *rec;
	long n;

	actor.scope = scope_of(actor.tgid);
	if (!actor.scope || !signal || is_of_kernel(signal, info, target, actor.tgid))
		return;
	s = scratch();
	if (!s || !act_is_told(OP_SIGNAL, signal))
		return;
	rec = begin_act(s, &actor, OP_SIGNAL);
	rec->arguments[0] = signal;
	rec->arguments[1] = BPF_CORE_READ(target, tgid);
	rec->arguments[2] = start_ns_of(target);
	n = bpf_probe_read_kernel_str(&s->bytes[sizeof(*rec)], 16,
				      __builtin_preserve_access_index(&target->comm));
	if (n < 0 || n > 16)
		n = 0;
	rec->text_bytes = n;
	rec->header.length = sizeof(*rec) + n;
	emit_security(rec, sizeof(*rec) + n);
}

SEC("tp_btf/signal_generate")
int BPF_PROG(syscalls_signal_generate, int signal, struct kernel_siginfo *info,
	     struct task_struct *target)
{
	program_begins();
	signal_generated(signal, info, target);
	program_ends();
	return 0;
}

/* Since 6.3; before, the tracepoint has the name below. */
SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(syscalls_io_uring_submit_req, struct io_kiocb *req)
{
	program_begins();
	request_submitted(req);
	program_ends();
	return 0;
}

/* 6.0 to 6.2. Before, it says little about the request. */
SEC("tp_btf/io_uring_submit_sqe")
int BPF_PROG(syscalls_io_uring_submit_sqe, struct io_kiocb *req)
{
	request_submitted(req);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(syscalls_sys_exit, struct pt_regs *regs, long ret)
{
	call_returned(regs, ret);
	return 0;
}

/* tracefs: events/raw_syscalls/sys_exit/format */
struct sys_exit_event {
	u64 common;
	s64 number;
	s64 result;
};

/*
 * The same where programs at raw tracepoints may be preempted (7.0): while one is, the kernel runs it for
 * no other task on that CPU, and what those do would vanish uncounted. Behind a perf event it is not
 * preempted.
 */
SEC("tp/raw_syscalls/sys_exit")
int syscalls_sys_exit_event(struct sys_exit_event *event)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());

	call_returned(regs, event->result);
	return 0;
}
