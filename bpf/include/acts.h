/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Acts: on other processes, on names and attributes, on the kernel. What an act is about is said by a table
 * that user space fills, so that a call more is a line more. Those on names and attributes go with files; the
 * others have a ring of their own, which no flood of files or bytes can fill.
 */
#ifndef AGENTSIGHT_ACTS_H
#define AGENTSIGHT_ACTS_H

#include "file.h"
#include "syscalls.h"

const volatile struct act_shape act_shapes[OP_COUNT] = {};

/* A system call that has returned. */
struct call {
	u64 arguments[6];
	s64 result;
	u64 compat; /* whether it was one of the 32-bit table */
};

/* VERIFIER: what does not fit into the five arguments of a global function, nor on the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct call);
} calls SEC(".maps");

/* Acts that are told once: programs that make code turn pages writable and back all the time. */
struct once_key {
	u64 start_ns;
	u64 what;
	u32 operation;
	u32 reserved;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct once_key);
	__type(value, u8);
} acts_told SEC(".maps");

static __always_inline struct call *this_call(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&calls, &zero);
}

static __always_inline bool is_first(const struct scope *scope, u32 operation, u64 what)
{
	struct once_key key = { .start_ns = scope->start_ns, .what = what, .operation = operation };
	u8 told = 1;

	if (bpf_map_lookup_elem(&acts_told, &key))
		return false;
	bpf_map_update_elem(&acts_told, &key, &told, BPF_ANY);
	return true;
}

#define ACTS_PER_SECOND 512
#define SECOND_NS 1000000000ull

struct act_rate {
	u64 began_ns;
	u64 count;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct once_key);
	__type(value, struct act_rate);
} act_rates SEC(".maps");

/*
 * Whether an act may be told: not if the process does nothing else but this for the moment, so that it cannot
 * push out of the ring what others do, or what else it does itself. Those that are not told are counted.
 * VERIFIER: a global function, for a stack frame of its own.
 */
__weak __noinline int act_is_told(u64 operation, u64 what)
{
	struct scope *scope = scope_of(bpf_get_current_pid_tgid() >> 32);
	struct act_rate fresh = { .began_ns = bpf_ktime_get_boot_ns(), .count = 1 };
	struct once_key key = { .what = what, .operation = operation };
	struct act_rate *rate;

	if (!scope)
		return false;
	key.start_ns = scope->start_ns;
	rate = bpf_map_lookup_elem(&act_rates, &key);
	if (!rate || fresh.began_ns - rate->began_ns >= SECOND_NS) {
		bpf_map_update_elem(&act_rates, &key, &fresh, BPF_ANY);
		return true;
	}
	rate->count += 1;
	if (rate->count <= ACTS_PER_SECOND)
		return true;
	count_drop(CLASS_SECURITY, DROP_FLOOD);
	return false;
}

static __always_inline void emit_security(void *record, u32 length)
{
	if (bpf_ringbuf_output(&security_ring, record, length, lazy_wakeup(&security_ring)))
		count_refused(CLASS_SECURITY);
}

static __always_inline bool is_on_name(u32 operation)
{
	return operation >= OP_LINK && operation <= OP_MKNODAT;
}

static __always_inline struct act_rec *begin_act(struct scratch *s, const struct actor *actor,
						 u32 operation)
{
	u8 class = is_on_name(operation) ? CLASS_FILE : CLASS_SECURITY;
	struct act_rec *rec = (void *)s->bytes;

	__builtin_memset(rec, 0, sizeof(*rec));
	fill_header(&rec->header, EV_ACT, class, sizeof(*rec), actor->scope, actor->tgid,
		    actor->tid);
	rec->operation = operation;
	return rec;
}

/* Argument `number` of the call, from 1 on. */
static __always_inline u64 argument(const struct call *call, u8 number)
{
	if (number == ARGUMENT_RESULT)
		return call->result;
	number -= 1;
	return number < 6 ? call->arguments[number] : 0;
}

static __always_inline void credentials_of(struct act_rec *rec, struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);

	rec->arguments[0] = BPF_CORE_READ(cred, uid.val) | (u64)BPF_CORE_READ(cred, euid.val) << 32;
	rec->arguments[1] = BPF_CORE_READ(cred, gid.val) | (u64)BPF_CORE_READ(cred, egid.val) << 32;
	bpf_probe_read_kernel(&rec->arguments[2], sizeof(u64),
			      __builtin_preserve_access_index(&cred->cap_effective));
}

/*
 * Sends the act that the call in `calls` was.
 * VERIFIER: a global function, checked once; it takes scalars only (5.10).
 */
__weak __noinline int act(u64 operation)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct actor actor = { .tgid = pid_tgid >> 32, .tid = (u32)pid_tgid };
	struct scratch *s = scratch();
	const volatile struct act_shape *shape;
	struct call *call = this_call();
	struct act_rec *rec;
	u64 at = sizeof(*rec); /* VERIFIER: 64 bits, as above */
	u32 i;
	u8 flags = 0;
	long n;

	actor.task = (struct task_struct *)bpf_get_current_task();
	actor.scope = scope_of(actor.tgid);
	barrier_var(operation);
	if (!s || !actor.scope || !call || operation >= OP_COUNT)
		return 0;
	shape = &act_shapes[operation];
	if (call->result < 0 && !shape->failed_too)
		return 0;
	/* The first argument of these says what is done. */
	if (!is_on_name(operation) &&
	    !act_is_told(operation,
			 operation == OP_BPF || operation == OP_PTRACE ? call->arguments[0] : 0))
		return 0;
	rec = begin_act(s, &actor, operation);
	rec->error = call->result < 0 ? -call->result : 0;
	for (i = 0; i < 4; i++)
		rec->arguments[i] = call->arguments[i];
	if (operation >= OP_SETUID && operation <= OP_CREDENTIALS_LAST)
		credentials_of(rec, actor.task);
	if (shape->fd) {
		struct file *file = file_of_fd(argument(call, shape->fd));

		if (file) {
			struct path path = BPF_CORE_READ(file, f_path);

			file_id_of(&rec->file, BPF_CORE_READ(file, f_inode));
			at = path_append(at, &path, &flags);
			rec->path_bytes = at - sizeof(*rec);
		}
	}
	if (shape->name) {
		int directory = shape->directory ? argument(call, shape->directory) : AT_FDCWD;

		at = name_append(s, at, &actor, &rec->name, directory,
				 (void *)argument(call, shape->name), &flags);
	}
	if (shape->other) {
		int directory = shape->other_directory ? argument(call, shape->other_directory)
						       : AT_FDCWD;

		at = name_append(s, at, &actor, &rec->other, directory,
				 (void *)argument(call, shape->other), &flags);
	}
	if (shape->text) {
		barrier_var(at);
		if (at > SCRATCH_BYTES - WIRE_TEXT_BYTES)
			return 0;
		n = bpf_probe_read_user_str(&s->bytes[at], WIRE_TEXT_BYTES,
					    (void *)argument(call, shape->text));
		if (n > 0 && n <= WIRE_TEXT_BYTES) {
			rec->text_bytes = n;
			at += n;
		}
	}
	rec->header.flags = flags;
	rec->header.length = at;
	barrier_var(at);
	if (at > SCRATCH_BYTES)
		return 0;
	if (is_on_name(operation))
		emit_file(rec, at);
	else
		emit_security(rec, at);
	return 0;
}

#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_TYPE 0xf
#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 0x20

/*
 * Memory that is written behind the back of write(): a shared mapping of a file, or writable code. What these
 * functions find out replaces the arguments of the call.
 */
static __always_inline void memory_mapped(const struct actor *actor, struct call *call)
{
	u64 protection = call->arguments[2], flags = call->arguments[3], what = 0;
	int fd = call->arguments[4];

	if (!(protection & PROT_WRITE))
		return;
	if (fd >= 0 && !(flags & MAP_ANONYMOUS)) {
		struct file *file;
		struct inode *inode;

		if ((flags & MAP_TYPE) == MAP_PRIVATE)
			return;
		file = file_of_fd(fd);
		if (!file)
			return;
		inode = BPF_CORE_READ(file, f_inode);
		if (!is_file(BPF_CORE_READ(inode, i_mode)))
			return;
		what = BPF_CORE_READ(inode, i_ino);
	} else {
		if (!(protection & PROT_EXEC))
			return;
		call->arguments[4] = -1;
	}
	if (!is_first(actor->scope, OP_MAP, what))
		return;
	call->arguments[0] = protection;
	call->arguments[1] = flags;
	call->result = 0;
	act(OP_MAP);
}

static __always_inline void memory_protected(const struct actor *actor, struct call *call)
{
	u64 protection = call->arguments[2];

	if ((protection & (PROT_WRITE | PROT_EXEC)) != (PROT_WRITE | PROT_EXEC) ||
	    !is_first(actor->scope, OP_MAP, 0))
		return;
	call->arguments[0] = protection;
	call->arguments[1] = MAP_ANONYMOUS;
	call->arguments[4] = -1;
	act(OP_MAP);
}

#define CLONE_NEW 0x7e020080 /* CLONE_NEWTIME, CLONE_NEWNS and the others */

static __always_inline void namespaces_made(struct call *call, u64 flags)
{
	flags &= CLONE_NEW;
	if (!flags)
		return;
	call->arguments[0] = flags;
	act(OP_NEW_NAMESPACES);
}

#define AF_NETLINK 16
#define SOCK_RAW 3
#define NETLINK_ROUTE 0

/* A socket by which something else than the usual is done. getaddrinfo asks for routes all the time. */
static __always_inline void socket_made(const struct call *call)
{
	u64 family = call->arguments[0], type = call->arguments[1] & 0xf;
	bool inet = family == 2 || family == 10;

	if (family <= 1 || (inet && type != SOCK_RAW) ||
	    (family == AF_NETLINK && call->arguments[2] == NETLINK_ROUTE))
		return;
	act(OP_OTHER_SOCKET);
}

/* A unix socket was connected: to a daemon, which may act for the tree. */
static __always_inline void unix_connected(const struct actor *actor, u32 fd)
{
	struct file *file = file_of_fd(fd);
	struct unix_address *address = NULL;
	struct scratch *s = scratch();
	const struct unix_sock *unix;
	struct act_rec *rec;
	struct pid *peer;
	struct sock *sk;
	u32 bytes;

	if (!s || !file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return;
	sk = sock_of_file(file);
	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_family) != AF_UNIX)
		return;
	if (!act_is_told(OP_UNIX_CONNECT, 0))
		return;
	rec = begin_act(s, actor, OP_UNIX_CONNECT);
	rec->arguments[0] = BPF_CORE_READ(file, f_inode, i_ino);
	rec->arguments[1] = peer_ino_of(sk);
	peer = BPF_CORE_READ(sk, sk_peer_pid);
	if (peer)
		rec->arguments[2] = (u32)BPF_CORE_READ(peer, numbers[0].nr);
	/* The other side has the address of the socket that listens. */
	unix = (const void *)sk;
	unix = (const void *)BPF_CORE_READ(unix, peer);
	if (unix)
		address = BPF_CORE_READ(unix, addr);
	if (address) {
		bytes = BPF_CORE_READ(address, len);
		bytes = bytes > 2 ? bytes - 2 : 0;
		barrier_var(bytes);
		if (bytes > 108)
			bytes = 108;
		if (!bpf_probe_read_kernel(
			    &s->bytes[sizeof(*rec)], bytes,
			    __builtin_preserve_access_index(&address->name[0].sun_path)))
			rec->text_bytes = bytes;
	}
	rec->header.length = sizeof(*rec) + rec->text_bytes;
	if (rec->text_bytes <= 108)
		emit_security(rec, sizeof(*rec) + rec->text_bytes);
}

#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MAX_PASSED 16 /* descriptors of a message that are told */

/*
 * Files that came, or went, with a message.
 * VERIFIER: apart, for its loop.
 */
__weak __noinline int files_passed(u64 message, u64 received)
{
	u64 control[2] = {}; /* msg_control, msg_controllen */
	struct {
		u64 bytes;
		u32 level;
		u32 type;
	} head = {};
	u32 i;

	bpf_probe_read_user(control, sizeof(control), (void *)message + 32);
	if (!control[0] || control[1] < sizeof(head) + sizeof(u32))
		return 0;
	bpf_probe_read_user(&head, sizeof(head), (void *)control[0]);
	if (head.level != SOL_SOCKET || head.type != SCM_RIGHTS)
		return 0;
	for (i = 0; i < MAX_PASSED; i++) {
		struct call *call = this_call();
		u32 fd;

		if (!call || sizeof(head) + (i + 1) * sizeof(fd) > head.bytes)
			return 0;
		if (bpf_probe_read_user(&fd, sizeof(fd),
					(void *)control[0] + sizeof(head) + i * sizeof(fd)))
			return 0;
		call->arguments[0] = received;
		call->arguments[4] = fd;
		call->result = 0;
		act(OP_PASS);
	}
	if (sizeof(head) + (MAX_PASSED + 1) * sizeof(u32) <= head.bytes)
		count_drop(CLASS_SECURITY, DROP_TOO_LONG);
	return 0;
}

#endif
