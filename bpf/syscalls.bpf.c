// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Everything that is seen at the return of a system call: the kernel has resolved names and descriptors
 * by then, and the objects behind them are read, not what the caller passed.
 *
 * One raw tracepoint instead of a tracepoint a call: with reads and writes among the calls of interest
 * it costs watched and unwatched processes less (docs/adr/0002-one-syscall-exit-program.md).
 */
#include "channel.h"
#include "network.h"
#include "syscalls.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Operation of each system call number; filled by user space before loading. */
const volatile u8 operations[MAX_SYSCALLS] = {};

#define PROT_EXEC 4
#define EINPROGRESS 115
#define TS_COMPAT 2
#define MSG_PEEK 2

#define FD_HOW(fd, form, write) ((u32)(fd) | (u64)(form) << 32 | (u64)(write) << 40)

/*
 * Bytes went from or to a descriptor.
 * VERIFIER: a global function, checked once and not for each call and each operation; it takes scalars only
 * (5.10).
 */
__weak __noinline int transferred(u64 fd_how, u64 bytes, u64 address, u64 count, u64 to)
{
	struct user_data data = {
		.address = address, .count = count, .to = to, .form = (u8)(fd_how >> 32)
	};
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct actor actor = { .tgid = pid_tgid >> 32, .tid = (u32)pid_tgid };
	bool write = fd_how >> 40 & 1;
	struct inode *inode;
	struct file *file;
	u32 mode;

	actor.scope = scope_of(actor.tgid);
	file = file_of_fd((u32)fd_how);
	if (!actor.scope || !file || !bytes)
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	mode = BPF_CORE_READ(inode, i_mode);
	if (is_file(mode)) {
		file_transferred(&actor, file, inode, write, bytes);
		if ((mode & S_IFMT) == S_IFCHR)
			terminal_transferred(&actor, file, inode, write, bytes, &data);
	} else if (is_channel(mode)) {
		if ((mode & S_IFMT) == S_IFSOCK)
			socket_transferred(&actor, file, write, bytes, &data);
		channel_transferred(&actor, file, inode, mode, write, bytes, &data);
	}
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

static __always_inline u32 syscall_number(struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	return BPF_CORE_READ(regs, orig_ax);
#else
	return BPF_CORE_READ(regs, syscallno);
#endif
}

static __always_inline void call_returned(struct pt_regs *regs, long ret)
{
	u32 nr = syscall_number(regs);
	u64 to = 0;
	struct task_struct *task;
	struct actor actor = {};
	u64 pid_tgid;
	u32 op;

	if (nr >= MAX_SYSCALLS)
		return;
	op = operations[nr];
	if (op == OP_NONE)
		return;
	if (ret < 0 && !(op == OP_CONNECT && ret == -EINPROGRESS))
		return;
	pid_tgid = bpf_get_current_pid_tgid();
	actor.tgid = pid_tgid >> 32;
	actor.scope = scope_of(actor.tgid);
	if (!actor.scope)
		return;
	actor.tid = (u32)pid_tgid;
	task = (struct task_struct *)bpf_get_current_task();
	actor.task = task;
#if defined(__TARGET_ARCH_x86)
	/* The numbers of 32-bit calls are others. */
	if (BPF_CORE_READ(task, thread_info.status) & TS_COMPAT)
		return;
#endif

	switch (op) {
	case OP_OPEN:
		file_opened(&actor, ret, PT_REGS_PARM2_CORE_SYSCALL(regs));
		break;
	case OP_OPENAT:
		file_opened(&actor, ret, PT_REGS_PARM3_CORE_SYSCALL(regs));
		break;
	case OP_OPEN_OTHER:
		file_opened(&actor, ret, 0);
		break;
	case OP_CREAT:
		file_opened(&actor, ret, O_TRUNC);
		break;
	case OP_RECVFROM:
		if (PT_REGS_PARM4_CORE_SYSCALL(regs) & MSG_PEEK)
			break; /* comes again */
		goto transfer;
	case OP_RECVMSG:
		if (PT_REGS_PARM3_CORE_SYSCALL(regs) & MSG_PEEK)
			break;
		goto transfer;
	case OP_SENDTO:
		to = PT_REGS_PARM5_CORE_SYSCALL(regs);
		goto transfer;
	case OP_READ:
	case OP_READV:
	case OP_WRITE:
	case OP_WRITEV:
	case OP_SENDMSG:
transfer:
		transferred(FD_HOW(PT_REGS_PARM1_CORE_SYSCALL(regs), form_of(op), is_write(op)), ret,
			    PT_REGS_PARM2_CORE_SYSCALL(regs), PT_REGS_PARM3_CORE_SYSCALL(regs), to);
		break;
	case OP_SENDFILE:
		transferred(FD_HOW(PT_REGS_PARM2_CORE_SYSCALL(regs), DATA_NONE, false), ret, 0, 0, 0);
		transferred(FD_HOW(PT_REGS_PARM1_CORE_SYSCALL(regs), DATA_NONE, true), ret, 0, 0, 0);
		break;
	case OP_COPY_RANGE:
		transferred(FD_HOW(PT_REGS_PARM1_CORE_SYSCALL(regs), DATA_NONE, false), ret, 0, 0, 0);
		transferred(FD_HOW(PT_REGS_PARM3_CORE_SYSCALL(regs), DATA_NONE, true), ret, 0, 0, 0);
		break;
	case OP_UNLINK:
		file_deleted(&actor, AT_FDCWD, (void *)PT_REGS_PARM1_CORE_SYSCALL(regs), false);
		break;
	case OP_RMDIR:
		file_deleted(&actor, AT_FDCWD, (void *)PT_REGS_PARM1_CORE_SYSCALL(regs), true);
		break;
	case OP_UNLINKAT:
		file_deleted(&actor, PT_REGS_PARM1_CORE_SYSCALL(regs),
			     (void *)PT_REGS_PARM2_CORE_SYSCALL(regs),
			     PT_REGS_PARM3_CORE_SYSCALL(regs) & AT_REMOVEDIR);
		break;
	case OP_RENAME:
		file_renamed(&actor, AT_FDCWD, (void *)PT_REGS_PARM1_CORE_SYSCALL(regs), AT_FDCWD,
			     (void *)PT_REGS_PARM2_CORE_SYSCALL(regs));
		break;
	case OP_RENAMEAT:
		file_renamed(&actor, PT_REGS_PARM1_CORE_SYSCALL(regs),
			     (void *)PT_REGS_PARM2_CORE_SYSCALL(regs),
			     PT_REGS_PARM3_CORE_SYSCALL(regs),
			     (void *)PT_REGS_PARM4_CORE_SYSCALL(regs));
		break;
	case OP_CONNECT:
		socket_connected(&actor, PT_REGS_PARM1_CORE_SYSCALL(regs));
		break;
	case OP_ACCEPT:
		socket_accepted(&actor, ret);
		break;
	case OP_MMAP:
		if (PT_REGS_PARM3_CORE_SYSCALL(regs) & PROT_EXEC &&
		    (int)PT_REGS_PARM5_CORE_SYSCALL(regs) >= 0)
			image_mapped(&actor, PT_REGS_PARM5_CORE_SYSCALL(regs));
		break;
	}
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
