// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Plaintext of TLS, at the functions by which a program hands it to its TLS library and takes it back.
 *
 * Data is read when the function returns: only then is it known how much of it was taken (a write that
 * would block is tried again with the same bytes) or given. It travels in numbered chunks, each with its
 * offset in its stream, so that a hole shows.
 */
#include "emit.h"
#include "scope.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

_Static_assert(WIRE_TLS_CHUNK_BYTES == 16384, "the largest size class holds a whole chunk");

#define LOOP_CHUNKS 8192 /* of WIRE_TLS_CHUNK_BYTES: 128 MiB a call */
#define UNROLLED_CHUNKS 64 /* without bpf_loop: 1 MiB a call */

/*
 * Calls that have been entered and not returned from. A call is known by its thread and the place of its
 * frame on the stack, since one call may be made inside another: Node writes what waited for the
 * handshake from a callback of the very SSL_read that completed it.
 *
 * Least recently used, because a thread that ends inside a call never returns.
 */
struct tls_call_key {
	u64 frame;
	u32 tid;
	u32 reserved;
};
struct tls_call {
	u64 object;
	u64 buffer;
	u64 length_pointer; /* where the _ex functions say how much; 0 if they return it */
	u32 direction;
	u32 reserved;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tls_call_key);
	__type(value, struct tls_call);
} tls_calls SEC(".maps");

/* The call that each thread entered last. */
struct tls_last_call {
	struct tls_call call;
	u64 frame;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, struct tls_last_call);
} tls_last_calls SEC(".maps");

struct tls_stream_key {
	u64 object;
	u32 tgid;
	u32 reserved;
};
struct tls_stream {
	u64 offsets[2]; /* by direction */
	u64 exec_id;
	u64 start_ns;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tls_stream_key);
	__type(value, struct tls_stream);
} tls_streams SEC(".maps");

struct tls_copy {
	struct scope scope;
	u64 object;
	u64 buffer;
	u64 total;
	u64 offset; /* of the first byte in its stream */
	u32 tgid;
	u32 tid;
	u32 direction;
};

/* VERIFIER: a ring reservation has a constant size, so there is one for each class of sizes. */
#define COPY_CHUNK(capacity)                                                                       \
	do {                                                                                       \
		struct {                                                                           \
			struct tls_data_rec rec;                                                   \
			u8 bytes[capacity];                                                        \
		} *out = bpf_ringbuf_reserve(&tls_ring, sizeof(*out), 0);                          \
		if (!out)                                                                          \
			goto full;                                                                 \
		fill_header(&out->rec.header, EV_TLS_DATA, CLASS_TLS, sizeof(out->rec) + bytes,    \
			    &copy->scope, copy->tgid, copy->tid);                                  \
		out->rec.object = copy->object;                                                    \
		out->rec.offset = copy->offset + done;                                             \
		out->rec.bytes = bytes;                                                            \
		out->rec.direction = copy->direction;                                              \
		out->rec.reserved[0] = out->rec.reserved[1] = out->rec.reserved[2] = 0;            \
		barrier_var(bytes);                                                                \
		if (bytes > capacity ||                                                            \
		    bpf_probe_read_user(out->bytes, bytes, (void *)copy->buffer + done)) {         \
			bpf_ringbuf_discard(out, BPF_RB_NO_WAKEUP);                                \
			goto fault;                                                                \
		}                                                                                  \
		bpf_ringbuf_submit(out, lazy_wakeup(&tls_ring, 32 * 1024 * 1024));                 \
	} while (0)

static long copy_chunk(u32 index, struct tls_copy *copy)
{
	u64 done = (u64)index * WIRE_TLS_CHUNK_BYTES;
	struct class_stats *s;
	u64 bytes;

	if (done >= copy->total)
		return 1;
	bytes = copy->total - done;
	if (bytes > WIRE_TLS_CHUNK_BYTES)
		bytes = WIRE_TLS_CHUNK_BYTES;
	if (bytes <= 448)
		COPY_CHUNK(448);
	else if (bytes <= 2048)
		COPY_CHUNK(2048);
	else if (bytes <= 6144)
		COPY_CHUNK(6144);
	else
		COPY_CHUNK(16384);
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

static __always_inline void capture(const struct tls_call *call, u64 bytes)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct tls_copy copy = {};
	struct tls_stream *stream;
	struct scope *scope;
	u32 i;

	copy.tgid = pid_tgid >> 32;
	copy.tid = (u32)pid_tgid;
	scope = scope_of(copy.tgid);
	if (!scope)
		return;
	stream = stream_of(copy.tgid, call->object, scope);
	if (!stream)
		return;
	copy.scope = *scope;
	copy.object = call->object;
	copy.buffer = call->buffer;
	copy.direction = call->direction & 1;
	copy.total = bytes;
	/* The library allows one thread at a time in an object, so this needs no atomic. */
	copy.offset = stream->offsets[copy.direction];
	stream->offsets[copy.direction] += bytes;

	if (has_bpf_loop) {
		bpf_loop(LOOP_CHUNKS, copy_chunk, &copy, 0);
		if (bytes > (u64)LOOP_CHUNKS * WIRE_TLS_CHUNK_BYTES)
			count_drop(CLASS_TLS, DROP_TOO_LONG);
		return;
	}
	for (i = 0; i < UNROLLED_CHUNKS; i++)
		if (copy_chunk(i, &copy))
			return;
	if (bytes > (u64)UNROLLED_CHUNKS * WIRE_TLS_CHUNK_BYTES)
		count_drop(CLASS_TLS, DROP_TOO_LONG);
}

/* The stack pointer on entry, which is where the return address is or, on other machines, would be. */
static __always_inline u64 frame_at_entry(struct pt_regs *regs)
{
	return PT_REGS_SP_CORE(regs);
}

/* The same, from the stack pointer after the return. */
static __always_inline u64 frame_at_return(struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	return PT_REGS_SP_CORE(regs) - 8; /* the return address has been popped */
#else
	return PT_REGS_SP_CORE(regs);
#endif
}

static __always_inline int enter(struct pt_regs *regs, u32 direction, u64 length_pointer)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct tls_call_key key = { .tid = (u32)pid_tgid };
	struct tls_last_call *outer, last = {};

	if (!scope_of(pid_tgid >> 32))
		return 0;
	key.frame = frame_at_entry(regs);
	last.frame = key.frame;
	last.call.object = PT_REGS_PARM1_CORE(regs);
	last.call.buffer = PT_REGS_PARM2_CORE(regs);
	last.call.length_pointer = length_pointer;
	last.call.direction = direction;
	outer = bpf_map_lookup_elem(&tls_last_calls, &key.tid);
	/* A function of the library that calls another one with the same data, as SSL_write_ex does. */
	if (outer && key.frame < outer->frame && outer->call.object == last.call.object &&
	    outer->call.buffer == last.call.buffer && outer->call.direction == direction &&
	    bpf_map_lookup_elem(&tls_calls,
				&(struct tls_call_key){ .frame = outer->frame, .tid = key.tid }))
		return 0;
	if (bpf_map_update_elem(&tls_calls, &key, &last.call, BPF_ANY))
		count_drop(CLASS_TLS, DROP_MAP_FULL);
	bpf_map_update_elem(&tls_last_calls, &key.tid, &last, BPF_ANY);
	return 0;
}

/* Takes the call that returns here out of the map. */
static __always_inline bool leave(struct pt_regs *regs, struct tls_call *call)
{
	struct tls_call_key key = { .tid = (u32)bpf_get_current_pid_tgid() };
	struct tls_call *found;

	key.frame = frame_at_return(regs);
	found = bpf_map_lookup_elem(&tls_calls, &key);
	if (!found)
		return false;
	*call = *found;
	bpf_map_delete_elem(&tls_calls, &key);
	return true;
}

SEC("uprobe")
int BPF_UPROBE(tls_read_enter)
{
	return enter(ctx, TLS_RECEIVED, 0);
}

SEC("uprobe")
int BPF_UPROBE(tls_read_ex_enter)
{
	return enter(ctx, TLS_RECEIVED, PT_REGS_PARM4_CORE(ctx));
}

SEC("uprobe")
int BPF_UPROBE(tls_write_enter)
{
	return enter(ctx, TLS_SENT, 0);
}

SEC("uprobe")
int BPF_UPROBE(tls_write_ex_enter)
{
	return enter(ctx, TLS_SENT, PT_REGS_PARM4_CORE(ctx));
}

/* SSL_write_ex2(ssl, buf, num, flags, *written): OpenSSL 3.3 */
SEC("uprobe")
int BPF_UPROBE(tls_write_ex2_enter)
{
	return enter(ctx, TLS_SENT, PT_REGS_PARM5_CORE(ctx));
}

SEC("uretprobe")
int BPF_URETPROBE(tls_return)
{
	int ret = (int)PT_REGS_RC_CORE(ctx);
	struct tls_call call;
	u64 bytes = 0;

	if (!leave(ctx, &call) || ret <= 0)
		return 0;
	if (!call.length_pointer)
		bytes = ret;
	else if (bpf_probe_read_user(&bytes, sizeof(bytes), (void *)call.length_pointer))
		count_drop(CLASS_TLS, DROP_READ_FAULT);
	if (bytes)
		capture(&call, bytes);
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

SEC("uprobe")
int BPF_UPROBE(tls_handshake_enter)
{
	return enter(ctx, TLS_HANDSHAKE, 0);
}

SEC("uretprobe")
int BPF_URETPROBE(tls_handshake_return)
{
	struct tls_call call;

	if (leave(ctx, &call))
		emit_object(EV_TLS_HANDSHAKE, call.object, (int)PT_REGS_RC_CORE(ctx));
	return 0;
}

SEC("uprobe")
int BPF_UPROBE(tls_free)
{
	u64 object = PT_REGS_PARM1_CORE(ctx);
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct tls_stream_key key = { .object = object, .tgid = tgid };

	if (!object || !scope_of(tgid))
		return 0;
	/* SSL_free only drops a reference, but an object in use is not freed by those who use it. */
	bpf_map_delete_elem(&tls_streams, &key);
	emit_object(EV_TLS_FREE, object, 0);
	return 0;
}
