/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The capture of plaintext, common to all functions that are probed.
 *
 * It travels in numbered chunks, each with its offset in its stream, so that a hole shows.
 */
#ifndef AGENTSIGHT_TLS_H
#define AGENTSIGHT_TLS_H

#include "emit.h"
#include "scope.h"

_Static_assert(WIRE_TLS_CHUNK_BYTES == 16384, "the largest size class holds a whole chunk");

/*
 * VERIFIER: chunks are sent in blocks, by functions that are checked once each. One loop over all of them
 * would leave a branch to be explored in every iteration, of which no more than 8192 may wait.
 */
#define BLOCK_CHUNKS 128 /* of WIRE_TLS_CHUNK_BYTES: 2 MiB */
#define BLOCK_BYTES ((u64)BLOCK_CHUNKS * WIRE_TLS_CHUNK_BYTES)
#define MAX_BLOCKS 64 /* 128 MiB a call */

struct tls_stream_key {
	u64 object;
	u32 tgid;
	u32 reserved;
};
struct tls_stream {
	u64 offsets[2]; /* by direction */
	u64 exec_id;
	u64 start_ns;
	u64 socket; /* that carries it, once it is known */
	u64 socket_began_ns; /* its first use, as memory of sockets and objects is used again */
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tls_stream_key);
	__type(value, struct tls_stream);
} tls_streams __weak SEC(".maps");

/*
 * What a thread does with TLS: the object whose function it entered last, as long as that object's socket
 * is not known, and the TLS socket that it read last. A TLS record that a thread writes next (or inside
 * the function) is that object's; data that an object gives comes from the socket read last. The owner is
 * the object whose record the thread is about to seal.
 */
struct tls_thread {
	u64 pending_object;
	u64 read_socket;
	u64 owner;
	u32 tgid;
	u32 pending_layer; /* enum tls_layer */
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, struct tls_thread);
} tls_threads __weak SEC(".maps");

static __always_inline struct tls_stream *stream_of(u32 tgid, u64 object, const struct scope *scope)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct tls_stream_key key = { .object = object, .tgid = tgid };
	u64 exec_id = BPF_CORE_READ(task, self_exec_id);
	struct tls_stream *stream = bpf_map_lookup_elem(&tls_streams, &key);
	struct tls_stream fresh = { .exec_id = exec_id, .start_ns = scope->start_ns };

	/* An address means nothing across exec, nor to a later process with the same pid. */
	if (stream && stream->exec_id == exec_id && stream->start_ns == scope->start_ns)
		return stream;
	if (bpf_map_update_elem(&tls_streams, &key, &fresh, BPF_ANY)) {
		count_drop(CLASS_TLS, DROP_MAP_FULL);
		return NULL;
	}
	return bpf_map_lookup_elem(&tls_streams, &key);
}

/* The stream's socket, if it is known and still the same. */
static __always_inline u64 socket_of_stream(struct tls_stream *stream)
{
	struct socket_use *use;
	u64 socket = stream->socket;

	if (!socket)
		return 0;
	use = bpf_map_lookup_elem(&socket_uses, &socket);
	if (use && use->first_ns == stream->socket_began_ns && use->flags & SOCKET_BOUND)
		return socket;
	stream->socket = 0;
	return 0;
}

static __always_inline void bind_socket(struct tls_stream *stream, u64 object, u64 socket,
					const struct scope *scope, u32 tgid, u32 tid)
{
	struct socket_use *use = bpf_map_lookup_elem(&socket_uses, &socket);
	struct tls_socket_rec *rec;

	if (!use)
		return;
	stream->socket = socket;
	stream->socket_began_ns = use->first_ns;
	use->flags |= SOCKET_BOUND;
	rec = bpf_ringbuf_reserve(&tls_ring, sizeof(*rec), 0);
	if (!rec) {
		count_drop(CLASS_TLS, DROP_RING_FULL);
		return;
	}
	fill_header(&rec->header, EV_TLS_SOCKET, CLASS_TLS, sizeof(*rec), scope, tgid, tid);
	rec->object = object;
	rec->socket = socket;
	bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);
}

/* A function on the object was entered: what the thread writes from now on may be the object's. */
static __always_inline void note_object(u64 object, u32 tgid, u32 tid, u8 layer)
{
	struct tls_stream_key key = { .object = object, .tgid = tgid };
	struct tls_stream *stream = bpf_map_lookup_elem(&tls_streams, &key);
	struct tls_thread fresh = { .pending_object = object,
				    .tgid = tgid,
				    .pending_layer = layer };
	struct tls_thread *thread;

	if (stream && layer == LAYER_THREAD)
		stream->socket = 0; /* each time another one */
	thread = bpf_map_lookup_elem(&tls_threads, &tid);
	/* What the thread writes from now on is not that of another object that it began before. */
	if (stream && socket_of_stream(stream))
		object = 0;
	if (thread && thread->tgid == tgid) {
		thread->pending_object = object;
		thread->pending_layer = layer;
	} else if (object) {
		bpf_map_update_elem(&tls_threads, &tid, &fresh, BPF_ANY);
	}
}

/* What the thread writes next is no object's data. */
static __always_inline void note_no_object(u32 tgid, u32 tid)
{
	struct tls_thread *thread = bpf_map_lookup_elem(&tls_threads, &tid);

	if (thread && thread->tgid == tgid)
		thread->pending_object = 0;
}

/* The thread moved TLS records over the socket; `opening`: its first ones. */
static __always_inline void note_tls_socket(u64 socket, bool sent, bool opening,
					    const struct scope *scope, u32 tgid, u32 tid)
{
	struct tls_thread *thread = bpf_map_lookup_elem(&tls_threads, &tid);
	struct tls_thread fresh = { .read_socket = socket, .tgid = tgid };
	struct tls_stream *stream;
	u64 object;

	if (thread && thread->tgid != tgid)
		thread = NULL;
	if (!sent) {
		if (thread)
			thread->read_socket = socket;
		else
			bpf_map_update_elem(&tls_threads, &tid, &fresh, BPF_ANY);
		return;
	}
	if (!thread || !thread->pending_object)
		return;
	/* No record that was sealed is the first one of a connection: the socket of this one was full. */
	if (opening && thread->pending_layer != LAYER_STREAM)
		return;
	object = thread->pending_object;
	thread->pending_object = 0;
	stream = stream_of(tgid, object, scope);
	if (stream && !socket_of_stream(stream))
		bind_socket(stream, object, socket, scope, tgid, tid);
}

#define HOW(direction, layer) ((direction) | (layer) << 1)

/* VERIFIER: a ring reservation has a constant size, so there is one for each class of sizes. */
#define COPY_CHUNK(capacity, read, source)                                                         \
	do {                                                                                       \
		struct {                                                                           \
			struct tls_data_rec rec;                                                   \
			u8 bytes[capacity];                                                        \
		} *out = bpf_ringbuf_reserve(&tls_ring, sizeof(*out), 0);                          \
		if (!out)                                                                          \
			goto full;                                                                 \
		fill_header(&out->rec.header, EV_TLS_DATA, CLASS_TLS, sizeof(out->rec) + bytes,    \
			    scope, tgid, tid);                                                     \
		out->rec.object = object;                                                          \
		out->rec.offset = offset;                                                          \
		out->rec.bytes = bytes;                                                            \
		out->rec.socket = socket;                                                          \
		out->rec.direction = how & 1;                                                      \
		out->rec.layer = how >> 1;                                                         \
		out->rec.reserved[0] = out->rec.reserved[1] = 0;                                   \
		barrier_var(bytes);                                                                \
		if (bytes > capacity || read(out->bytes, bytes, source)) {                         \
			bpf_ringbuf_discard(out, BPF_RB_NO_WAKEUP);                                \
			goto fault;                                                                \
		}                                                                                  \
		bpf_ringbuf_submit(out, lazy_wakeup(&tls_ring));                                   \
	} while (0)

/*
 * Sends bytes, up to WIRE_TLS_CHUNK_BYTES, as the next ones of the object's stream.
 * VERIFIER: a global function takes scalars only (5.10), and looks the rest up.
 */
__weak __noinline int copy_chunk(u64 object, u64 buffer, u64 bytes, u32 how)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tgid = pid_tgid >> 32, tid = (u32)pid_tgid;
	struct tls_stream_key key = { .object = object, .tgid = tgid };
	struct scope *scope = scope_of(tgid);
	struct tls_stream *stream;
	struct class_stats *s;
	u64 offset, socket;

	if (!scope)
		return 0;
	stream = bpf_map_lookup_elem(&tls_streams, &key);
	if (!stream) {
		/* Another thread freed the object while it was in use. */
		count_drop(CLASS_TLS, DROP_READ_FAULT);
		return 0;
	}
	if (bytes > WIRE_TLS_CHUNK_BYTES)
		bytes = WIRE_TLS_CHUNK_BYTES;
	socket = how >> 1 == LAYER_CLEARTEXT ? object : stream->socket;
	/* The library allows one thread at a time in an object, so this needs no atomic. */
	offset = stream->offsets[how & 1];
	stream->offsets[how & 1] = offset + bytes;
	if (bytes <= 448)
		COPY_CHUNK(448, bpf_probe_read_user, (void *)buffer);
	else if (bytes <= 2048)
		COPY_CHUNK(2048, bpf_probe_read_user, (void *)buffer);
	else if (bytes <= 6144)
		COPY_CHUNK(6144, bpf_probe_read_user, (void *)buffer);
	else
		COPY_CHUNK(16384, bpf_probe_read_user, (void *)buffer);
	return 0;

full:
	count_drop(CLASS_TLS, DROP_RING_FULL);
	return 0;
fault:
	/* The header has been counted as produced. */
	s = class_stats(CLASS_TLS);
	if (s)
		__sync_fetch_and_add(&s->dropped[DROP_READ_FAULT], 1);
	return 0;
}

/*
 * Sends up to BLOCK_CHUNKS chunks.
 * VERIFIER: it is the callee that bounds the bytes; a choice in here would be explored anew in every
 * iteration.
 */
__weak __noinline int copy_block(u64 object, u64 buffer, u64 bytes, u32 how)
{
	u32 i;

	for (i = 0; i < BLOCK_CHUNKS; i++) {
		u64 done = (u64)i * WIRE_TLS_CHUNK_BYTES;

		if (done >= bytes)
			return 0;
		copy_chunk(object, buffer + done, bytes - done, how);
	}
	return 0;
}

/* The stream goes on behind what was too long to be sent. */
static __always_inline void skip_rest(u64 object, u64 bytes, u32 how)
{
	struct tls_stream_key key = { .object = object };
	struct tls_stream *stream;

	key.tgid = bpf_get_current_pid_tgid() >> 32;
	stream = bpf_map_lookup_elem(&tls_streams, &key);
	if (stream)
		stream->offsets[how & 1] += bytes;
	count_drop(CLASS_TLS, DROP_TOO_LONG);
}

/*
 * Makes sure that the object has a stream, and that the stream knows its socket if that can be told.
 * VERIFIER: apart from capture() for its stack, which counts for all that capture() calls.
 */
__weak __noinline int open_stream(u64 object, u32 how)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tgid = pid_tgid >> 32, tid = (u32)pid_tgid;
	struct scope *scope = scope_of(tgid);
	struct tls_thread *thread;
	struct tls_stream *stream;
	u64 socket;

	if (!scope)
		return 0;
	stream = stream_of(tgid, object, scope);
	if (!stream)
		return 0;
	if (how >> 1 == LAYER_CLEARTEXT)
		return 1;
	socket = socket_of_stream(stream);
	if ((how & 1) == TLS_SENT)
		return 1;
	/*
	 * What opens a record has no use beyond one direction's key: its memory is soon another's, while the
	 * connection that it served goes on.
	 */
	if (socket && how >> 1 != LAYER_RECORD)
		return 1;
	thread = bpf_map_lookup_elem(&tls_threads, &tid);
	if (thread && thread->tgid == tgid && thread->read_socket && thread->read_socket != socket)
		bind_socket(stream, object, thread->read_socket, scope, tgid, tid);
	return 1;
}

/*
 * Sends `total` bytes at `buffer` of the current process as the next ones of the object's stream.
 * VERIFIER: a global function, checked once and not again for each place that calls it.
 */
__weak __noinline int capture(u64 object, u64 buffer, u64 total, u32 how)
{
	u32 i;

	if (!open_stream(object, how))
		return 0;
	for (i = 0; i < MAX_BLOCKS; i++) {
		u64 done = (u64)i * BLOCK_BYTES;

		if (done >= total)
			return 0;
		copy_block(object, buffer + done, total - done, how);
	}
	if (total > MAX_BLOCKS * BLOCK_BYTES)
		skip_rest(object, total - MAX_BLOCKS * BLOCK_BYTES, how);
	return 0;
}

static __always_inline void emit_object(u16 kind, u64 object, s32 result)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct tls_object_rec *rec;
	struct scope *scope = scope_of(pid_tgid >> 32);

	if (!scope)
		return;
	rec = bpf_ringbuf_reserve(&tls_ring, sizeof(*rec), 0);
	if (!rec) {
		count_drop(CLASS_TLS, DROP_RING_FULL);
		return;
	}
	fill_header(&rec->header, kind, CLASS_TLS, sizeof(*rec), scope, pid_tgid >> 32,
		    (u32)pid_tgid);
	rec->object = object;
	rec->result = result;
	rec->reserved = 0;
	bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);
}

#endif
