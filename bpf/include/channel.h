/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Pipes, unix sockets and terminals: who is at which end, how much went through, and what.
 *
 * Each use of an end counts in `file_uses`, as for files. Of what goes through, the head is captured; a flow
 * that begins like JSON-RPC (or a Language Server's header) is captured whole, for MCP: at the end that comes
 * first, as one of them may not be watched, and as a long write returns after the reads that it fed.
 */
#ifndef AGENTSIGHT_CHANNEL_H
#define AGENTSIGHT_CHANNEL_H

#include "data.h"
#include "file.h"

#define MAJOR_TTY_AUX 5 /* Documentation/admin-guide/devices.txt */
#define MINOR_PTMX 2
#define MAJOR_PTS_FIRST 136
#define MAJOR_PTS_LAST 143

/* Bytes of a flow's beginning that are captured whatever they are; set by user space. */
const volatile u32 channel_head_bytes = 4096;
/* Bytes of a flow that looks like JSON-RPC which are captured before user space has confirmed it. */
#define PROBATION_BYTES (1u << 20)

enum flow_flags {
	FLOW_SNIFFED = 1,
	FLOW_CANDIDATE = 2, /* begins like JSON-RPC */
	FLOW_IGNORED = 4,
	FLOW_CONFIRMED = 8,
};

struct channel_flow {
	u64 began_ns;
	u64 moved[2]; /* bytes read, bytes written */
	/*
	 * Of these, bytes that were captured or left out. Two CPUs may read it at once: then a piece is sent
	 * twice, which its offset shows to user space.
	 */
	u64 covered;
	u32 flags;
	u32 writer; /* process that wrote last: terminals only */
	u32 reader;
	u32 reserved;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct channel_key);
	__type(value, struct channel_flow);
} channel_flows SEC(".maps");

/* Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct channel_key);
	__type(value, u32);
} channel_verdicts SEC(".maps");

/* The flow that a process at the end `ino` moves bytes of: a socket receives its peer's. */
static __always_inline void flow_key(struct channel_key *key, u64 ino, u64 peer_ino, u32 kind,
				     bool received)
{
	key->ino = ino;
	key->channel = kind;
	key->received = 0;
	if (received && kind == CHANNEL_UNIX) {
		if (peer_ino)
			key->ino = peer_ino;
		else
			key->received = 1;
	}
}

/* VERIFIER: a ring reservation has a constant size, so there is one for each class of sizes. */
#define CHANNEL_CHUNK(capacity)                                                                    \
	do {                                                                                       \
		struct {                                                                           \
			struct channel_data_rec rec;                                               \
			u8 bytes[capacity];                                                        \
		} *out = bpf_ringbuf_reserve(&stdio_ring, sizeof(*out), 0);                        \
		if (!out) {                                                                        \
			count_drop(CLASS_STDIO, DROP_RING_FULL);                                   \
			return 0;                                                                  \
		}                                                                                  \
		fill_header(&out->rec.header, EV_CHANNEL_DATA, CLASS_STDIO,                        \
			    sizeof(out->rec) + bytes, scope, pid_tgid >> 32, (u32)pid_tgid);       \
		out->rec.ino = moved->ino;                                                         \
		out->rec.peer_ino = moved->peer_ino;                                               \
		out->rec.began_ns = moved->began_ns;                                               \
		out->rec.offset = offset;                                                          \
		out->rec.bytes = bytes;                                                            \
		out->rec.channel = moved->kind;                                                    \
		out->rec.received = !moved->write;                                                 \
		out->rec.reserved[0] = out->rec.reserved[1] = 0;                                   \
		barrier_var(bytes);                                                                \
		if (bytes > capacity || bpf_probe_read_user(out->bytes, bytes, (void *)buffer)) {  \
			bpf_ringbuf_discard(out, BPF_RB_NO_WAKEUP);                                \
			goto fault;                                                                \
		}                                                                                  \
		bpf_ringbuf_submit(out, lazy_wakeup(&stdio_ring));                                 \
	} while (0)

/* Sends bytes, up to WIRE_CHANNEL_CHUNK_BYTES, of the flow that the transfer is part of. */
__weak __noinline int channel_chunk(u64 buffer, u64 bytes, u64 offset)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct scope *scope = scope_of(pid_tgid >> 32);
	struct transfer *moved = this_transfer();
	struct class_stats *s;

	if (!scope || !moved)
		return 0;
	if (bytes > WIRE_CHANNEL_CHUNK_BYTES)
		bytes = WIRE_CHANNEL_CHUNK_BYTES;
	if (bytes <= 448)
		CHANNEL_CHUNK(448);
	else if (bytes <= 4096)
		CHANNEL_CHUNK(4096);
	else
		CHANNEL_CHUNK(16384);
	return 0;

fault:
	/* The header has been counted as produced. */
	s = class_stats(CLASS_STDIO);
	if (s)
		__sync_fetch_and_add(&s->dropped[DROP_READ_FAULT], 1);
	return 0;
}

#define CHANNEL_CHUNKS 2048 /* 32 MiB a buffer */

/* Sends a buffer of a flow. */
__weak __noinline int channel_buffer(u64 buffer, u64 bytes, u64 offset)
{
	u32 i;

	for (i = 0; i < CHANNEL_CHUNKS; i++) {
		u64 done = (u64)i * WIRE_CHANNEL_CHUNK_BYTES;

		if (done >= bytes)
			return 0;
		channel_chunk(buffer + done, bytes - done, offset + done);
	}
	if (bytes > (u64)CHANNEL_CHUNKS * WIRE_CHANNEL_CHUNK_BYTES)
		count_drop(CLASS_STDIO, DROP_TOO_LONG);
	return 0;
}

/*
 * Sends what the vectors of the transfer hold, `left` bytes of them.
 * VERIFIER: apart, so that the loop is checked once.
 */
__weak __noinline int channel_vectors(u64 left, u64 offset)
{
	u32 i;

	for (i = 0; i < MAX_VECTORS; i++) {
		struct transfer *moved = this_transfer();
		struct user_vector vector = {};

		if (!moved || !left || i >= moved->data.count)
			return 0;
		bpf_probe_read_user(&vector, sizeof(vector),
				    (void *)moved->data.address + i * sizeof(vector));
		if (vector.bytes > left)
			vector.bytes = left;
		if (vector.bytes)
			channel_buffer(vector.base, vector.bytes, offset);
		left -= vector.bytes;
		offset += vector.bytes;
	}
	if (left)
		count_drop(CLASS_STDIO, DROP_TOO_LONG);
	return 0;
}

/* Whether a flow that begins like this may be JSON-RPC, or a Language Server's. */
static __always_inline bool is_candidate(u64 first)
{
	u8 c = first, next = first >> 8;

	if (c == '{')
		return next == '"' || next == ' ' || next == '\n' || next == '\r' || !next;
	if (c == '[')
		return next == '{';
	return (u32)first == WORD('C', 'o', 'n', 't');
}

/* How many of the next bytes are wanted. */
static __always_inline u64 wanted(struct channel_flow *flow, const struct channel_key *key,
				  u32 kind, u64 offset, u64 bytes)
{
	u64 limit = channel_head_bytes;

	if (flow->flags & FLOW_CANDIDATE && !(flow->flags & (FLOW_CONFIRMED | FLOW_IGNORED))) {
		u32 *verdict = bpf_map_lookup_elem(&channel_verdicts, key);

		if (verdict && *verdict == VERDICT_CAPTURE)
			flow->flags |= FLOW_CONFIRMED;
		else if (verdict && *verdict == VERDICT_IGNORE)
			flow->flags |= FLOW_IGNORED;
	}
	if (flow->flags & FLOW_CONFIRMED)
		return bytes;
	if (kind == CHANNEL_TERMINAL && !(flow->flags & FLOW_CANDIDATE))
		return 0;
	if (flow->flags & FLOW_CANDIDATE && !(flow->flags & FLOW_IGNORED))
		limit = PROBATION_BYTES;
	if (offset >= limit)
		return 0;
	return bytes < limit - offset ? bytes : limit - offset;
}

static __always_inline void emit_terminal_open(const struct actor *actor, u64 ino, u32 access)
{
	struct channel_open_rec *rec = bpf_ringbuf_reserve(&stdio_ring, sizeof(*rec), 0);

	if (!rec) {
		count_drop(CLASS_STDIO, DROP_RING_FULL);
		return;
	}
	fill_header(&rec->header, EV_CHANNEL_OPEN, CLASS_STDIO, sizeof(*rec), actor->scope,
		    actor->tgid, actor->tid);
	rec->use_id = 0;
	rec->ino = ino;
	rec->peer_ino = 0;
	rec->access = access;
	rec->channel = CHANNEL_TERMINAL;
	rec->path_bytes = 0;
	rec->reserved = 0;
	bpf_ringbuf_submit(rec, lazy_wakeup(&stdio_ring));
}

/* A process of the tree that is at one side of a flow which is followed on a terminal. */
static __always_inline void note_terminal(const struct actor *actor, struct channel_flow *flow,
					  u64 ino, bool write)
{
	u32 *last = write ? &flow->writer : &flow->reader;

	if (!(flow->flags & FLOW_CANDIDATE) || *last == actor->tgid)
		return;
	*last = actor->tgid;
	emit_terminal_open(actor, ino, write ? ACCESS_WRITE : ACCESS_READ);
}

/*
 * Counts and looks at the bytes of the transfer, whose channel has been found.
 * VERIFIER: a global function, for a stack frame of its own.
 */
__weak __noinline int channel_flowed(void)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct actor actor = { .tgid = pid_tgid >> 32, .tid = (u32)pid_tgid };
	struct transfer *moved = this_transfer();
	struct channel_flow *flow, fresh = {};
	u64 offset, covered, take, bytes;
	struct channel_key key;
	struct user_data *data;
	bool write;

	actor.scope = scope_of(actor.tgid);
	if (!actor.scope || !moved)
		return 0;
	data = &moved->data;
	bytes = moved->bytes;
	write = moved->write;
	flow_key(&key, moved->ino, moved->peer_ino, moved->kind, !write);
	flow = bpf_map_lookup_elem(&channel_flows, &key);
	if (!flow) {
		fresh.began_ns = bpf_ktime_get_boot_ns();
		/* What was thought of another flow of this number says nothing of this one. */
		bpf_map_delete_elem(&channel_verdicts, &key);
		bpf_map_update_elem(&channel_flows, &key, &fresh, BPF_NOEXIST);
		flow = bpf_map_lookup_elem(&channel_flows, &key);
		if (!flow) {
			count_drop(CLASS_STDIO, DROP_MAP_FULL);
			return 0;
		}
	}
	moved->began_ns = flow->began_ns;
	offset = flow->moved[write];
	flow->moved[write] = offset + bytes;
	if (data->form == DATA_NONE)
		return 0;
	unfold_message(data);
	if (!(flow->flags & FLOW_SNIFFED)) {
		flow->flags |= FLOW_SNIFFED;
		if (is_candidate(first_bytes(data)))
			flow->flags |= FLOW_CANDIDATE;
	}
	if (moved->kind == CHANNEL_TERMINAL)
		note_terminal(&actor, flow, moved->ino, write);
	covered = flow->covered;
	if (offset + bytes <= covered)
		return 0;
	flow->covered = offset + bytes;
	if (data->form == DATA_FLAT && covered > offset) {
		data->address += covered - offset;
		bytes -= covered - offset;
		offset = covered;
	}
	take = wanted(flow, &key, moved->kind, offset, bytes);
	if (!take)
		return 0;
	if (data->form == DATA_FLAT)
		channel_buffer(data->address, take, offset);
	else
		channel_vectors(take, offset);
	return 0;
}

/* A pipe or a unix socket. Sockets of other families are not for here. */
static __always_inline bool find_channel(struct transfer *moved, struct file *file,
					 struct inode *inode, u32 mode)
{
	moved->ino = BPF_CORE_READ(inode, i_ino);
	moved->peer_ino = 0;
	moved->kind = CHANNEL_PIPE;
	if ((mode & S_IFMT) == S_IFSOCK) {
		struct sock *sk = sock_of_file(file);

		if (!sk || BPF_CORE_READ(sk, __sk_common.skc_family) != AF_UNIX)
			return false;
		moved->kind = CHANNEL_UNIX;
		moved->peer_ino = peer_ino_of(sk);
	}
	return true;
}

/* A character device: if it is one side of a pseudo-terminal, that is a channel. */
static __always_inline bool find_terminal(struct transfer *moved, struct file *file,
					  struct inode *inode)
{
	u32 device = BPF_CORE_READ(inode, i_rdev);
	u32 major = device >> 20, minor = device & 0xfffff;
	bool controls = major == MAJOR_TTY_AUX && minor == MINOR_PTMX;
	u64 index = minor;

	if (controls) {
		struct tty_file_private *private = BPF_CORE_READ(file, private_data);

		index = (u32)BPF_CORE_READ(private, tty, index);
	} else if (major < MAJOR_PTS_FIRST || major > MAJOR_PTS_LAST) {
		return false;
	}
	moved->ino = index * 2 + (controls == !!moved->write);
	moved->peer_ino = 0;
	moved->kind = CHANNEL_TERMINAL;
	return true;
}

/*
 * Finds the channel that the transfer moved bytes of, if it is one.
 * VERIFIER: a global function, for a stack frame of its own.
 */
__weak __noinline int channel_found(void)
{
	struct transfer *moved = this_transfer();
	struct inode *inode;
	struct file *file;
	u32 mode;

	if (!moved)
		return false;
	file = (void *)moved->file;
	inode = BPF_CORE_READ(file, f_inode);
	mode = BPF_CORE_READ(inode, i_mode);
	if ((mode & S_IFMT) == S_IFCHR)
		return find_terminal(moved, file, inode);
	return is_channel(mode) && find_channel(moved, file, inode, mode);
}

#endif
