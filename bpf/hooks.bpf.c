// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Plaintext of TLS at functions of any shape: those of record layers, of Go, of GnuTLS and NSS. User
 * space describes each function (struct tls_hook), the probe's cookie says which one it is.
 */
#include "operands.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define MAX_HOOKS 4096
#define OPERANDS 8
#define GNUTLS_E_AGAIN (-28)
#define GNUTLS_E_INTERRUPTED (-52)
#define CONTENT_APPLICATION_DATA 0x17 /* RFC 8446, section 5.1 */
#define AAD_TLS_1_3 5 /* the header of the record */
#define AAD_TLS_1_2 13 /* number and header of the record */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_HOOKS);
	__type(key, u32);
	__type(value, struct tls_hook);
} tls_hooks SEC(".maps");

struct hook_call_key {
	u64 call;
	u32 tgid;
	u32 hook;
};
/* Operands as far as they were known at entry, in the order of struct tls_hook. */
struct hook_call {
	u64 values[OPERANDS];
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct hook_call_key);
	__type(value, struct hook_call);
} hook_calls SEC(".maps");

/*
 * The call that each thread entered last. A function of a library may hand its data on to another one
 * that is probed, by a call or by a jump, as gnutls_record_send does: only the outer one counts.
 */
struct hook_last_call {
	struct hook_call_key key;
	u64 object;
	u64 buffer;
	u64 stack;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct hook_last_call);
} hook_last_calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct tls_stream_key);
	__type(value, u8);
} hook_objects SEC(".maps");

/*
 * What a library took from its user and could not send at once, by its object: a record's worth, which is a
 * chunk. The user may overwrite its buffer before it is sent.
 */
struct tls_kept {
	u64 bytes;
	u8 data[WIRE_TLS_CHUNK_BYTES];
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 128);
	__type(key, struct tls_stream_key);
	__type(value, struct tls_kept);
} tls_kept SEC(".maps");

/* VERIFIER: what a new entry of tls_kept is made from, as it fits on no stack. Nothing is written to it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct tls_kept);
} tls_kept_empty SEC(".maps");

enum {
	OBJECT,
	CALL,
	BUFFER,
	LENGTH,
	MOVED,
	SKIP_HEAD,
	ASSOCIATED_DATA,
	ASSOCIATED_DATA_BYTES,
};

static __always_inline u8 byte_at(u64 address)
{
	u8 byte = 0;

	bpf_probe_read_user(&byte, 1, (void *)address);
	return byte;
}

/*
 * Whether a record of which nothing tells the type is one of the protocol itself: change cipher spec, an
 * alert, a message of the handshake (RFC 8446, sections 4, 5 and 6). None of the protocols that TLS carries
 * has data like these: as HTTP/2 they would be frames of a megabyte.
 */
static __always_inline bool is_protocol_record(u64 buffer, u64 bytes)
{
	u8 head[4] = {};
	u64 message;

	bpf_probe_read_user(head, sizeof(head), (void *)buffer);
	if (bytes <= 2)
		return bytes == 1 ? head[0] == 1 : head[0] == 1 || head[0] == 2;
	message = 4 + (head[2] << 8 | head[3]);
	switch (head[0]) {
	case 1: /* client hello */
	case 16: /* client key exchange */
		return head[1] == 0 && message == bytes;
	case 11: /* certificate, others may follow */
	case 15: /* certificate verify, likewise */
	case 20: /* finished */
	case 24: /* key update */
		return head[1] == 0 && message <= bytes;
	}
	return false;
}

/* Whether nothing but the thread tells whose record it is. */
static __always_inline bool is_of_thread(const struct tls_hook *hook, u64 object)
{
	return hook->layer == LAYER_THREAD && object == (u32)bpf_get_current_pid_tgid();
}

static __always_inline u8 layer_of(const struct tls_hook *hook, u64 object)
{
	if (hook->layer == LAYER_THREAD && !is_of_thread(hook, object))
		return LAYER_RECORD;
	return hook->layer & 3;
}

/* Captures what a call moved, if it is application data. Returns whether it is. */
static __always_inline bool captured(const struct tls_hook *hook, const struct hook_call *call)
{
	u64 buffer = call->values[BUFFER];
	u64 length = hook->moved.base ? call->values[MOVED] : call->values[LENGTH];
	u64 tail = hook->skip_tail_bytes;
	bool inner_type = hook->flags & HOOK_INNER_TYPE;

	if (hook->associated_data_bytes.base) {
		u64 bytes = call->values[ASSOCIATED_DATA_BYTES];

		if (bytes == AAD_TLS_1_3) {
			inner_type = true;
			tail = 1;
		} else if (bytes != AAD_TLS_1_2 ||
			   byte_at(call->values[ASSOCIATED_DATA] + 8) != CONTENT_APPLICATION_DATA) {
			return false;
		}
	}
	if (hook->skip_head.base) {
		u64 head = call->values[SKIP_HEAD];

		if (head >= length)
			return false;
		buffer += head;
		length -= head;
	}
	if (length <= tail)
		return false;
	length -= tail;
	if (inner_type && byte_at(buffer + length) != CONTENT_APPLICATION_DATA)
		return false;
	if (hook->layer == LAYER_THREAD && is_protocol_record(buffer, length))
		return false;
	capture(call->values[OBJECT], buffer, length,
		HOW(hook->direction & 1, layer_of(hook, call->values[OBJECT])));
	return true;
}

/*
 * A write of GnuTLS would have blocked. The library has sealed a record of the data, and the user may say
 * "go on" by a call with neither buffer nor length, whose result counts the bytes of this buffer.
 */
static __always_inline void keep(const struct tls_stream_key *key, const struct hook_call *call)
{
	u32 zero = 0;
	struct tls_kept *kept = bpf_map_lookup_elem(&tls_kept_empty, &zero);
	u64 bytes = call->values[LENGTH];

	if (!kept || !call->values[BUFFER] || bpf_map_update_elem(&tls_kept, key, kept, BPF_ANY))
		return;
	kept = bpf_map_lookup_elem(&tls_kept, key);
	if (!kept)
		return;
	if (bytes > WIRE_TLS_CHUNK_BYTES)
		bytes = WIRE_TLS_CHUNK_BYTES;
	barrier_var(bytes);
	if (bytes <= WIRE_TLS_CHUNK_BYTES &&
	    !bpf_probe_read_user(kept->data, bytes, (void *)call->values[BUFFER]))
		kept->bytes = bytes;
}

/*
 * Sends the first bytes of what was kept as the next ones of the object's stream.
 * VERIFIER: a global function, for a stack frame of its own.
 */
__weak __noinline int copy_kept(u64 object, u64 bytes, u32 how)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tgid = pid_tgid >> 32, tid = (u32)pid_tgid;
	struct tls_stream_key key = { .object = object, .tgid = tgid };
	struct scope *scope = scope_of(tgid);
	struct tls_stream *stream;
	struct class_stats *s;
	struct tls_kept *kept;
	u64 offset, socket;

	if (!scope || !open_stream(object, how))
		return 0;
	stream = bpf_map_lookup_elem(&tls_streams, &key);
	kept = bpf_map_lookup_elem(&tls_kept, &key);
	if (!stream || !kept) {
		count_drop(CLASS_TLS, DROP_READ_FAULT);
		return 0;
	}
	if (bytes > WIRE_TLS_CHUNK_BYTES)
		bytes = WIRE_TLS_CHUNK_BYTES;
	socket = stream->socket;
	offset = stream->offsets[how & 1];
	stream->offsets[how & 1] = offset + bytes;
	if (bytes <= 2048)
		COPY_CHUNK(2048, bpf_probe_read_kernel, kept->data);
	else
		COPY_CHUNK(16384, bpf_probe_read_kernel, kept->data);
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

/* The write that has been kept is done. Returns whether the call's own buffer is to be captured. */
static __always_inline bool kept_is_sent(const struct tls_hook *hook, struct tls_stream_key *key,
					 const struct hook_call *call)
{
	struct tls_kept *kept = bpf_map_lookup_elem(&tls_kept, key);
	u64 sent = call->values[MOVED];
	bool is_kept = kept && !call->values[BUFFER] && sent <= kept->bytes;

	if (is_kept)
		copy_kept(key->object, sent, HOW(hook->direction & 1, hook->layer & 3));
	if (kept)
		bpf_map_delete_elem(&tls_kept, key);
	return !is_kept;
}

static __always_inline bool succeeded(const struct tls_hook *hook, u64 result)
{
	switch (hook->success) {
	case SUCCESS_POSITIVE:
		return (s32)result > 0;
	case SUCCESS_POSITIVE_64:
		return (s64)result > 0;
	case SUCCESS_ONE:
		return (u32)result == 1;
	case SUCCESS_ZERO:
		return (u32)result == 0;
	default:
		return true;
	}
}

static __always_inline const struct tls_hook *hook_of(void *ctx, u32 *index)
{
	*index = bpf_get_attach_cookie(ctx);
	return bpf_map_lookup_elem(&tls_hooks, index);
}

/* Whether the call is made inside one that has the same data. If not, the next ones may be inside it. */
static __always_inline bool is_inner(struct pt_regs *regs, u32 tid, const struct tls_hook *hook,
				     const struct hook_call_key *key, const struct hook_call *call)
{
	struct hook_last_call last = {
		.key = *key,
		.object = call->values[OBJECT],
		.buffer = call->values[BUFFER],
		.stack = PT_REGS_SP_CORE(regs),
	};
	struct hook_last_call *outer = bpf_map_lookup_elem(&hook_last_calls, &tid);

	/* A stack that moves says nothing; what makes objects has no data. */
	if (hook->call.base == BASE_GOROUTINE || !hook->buffer.base)
		return false;
	if (outer && outer->key.tgid == key->tgid && outer->key.hook != key->hook &&
	    outer->object == last.object && outer->buffer == last.buffer &&
	    outer->stack >= last.stack && bpf_map_lookup_elem(&hook_calls, &outer->key))
		return true;
	bpf_map_update_elem(&hook_last_calls, &tid, &last, BPF_ANY);
	return false;
}

/*
 * Whether the thread may write for the object inside the call. What opens records does not; a goroutine
 * that reads waits, while its thread writes for others.
 */
static __always_inline bool may_write(const struct tls_hook *hook)
{
	return (hook->direction & 1) == TLS_SENT ||
	       (hook->call.base != BASE_GOROUTINE && hook->layer != LAYER_RECORD);
}

/*
 * The thread begins to seal a record of the object. With the first one of a direction, the object is new: its
 * memory may have been another's, of a connection that is still there.
 */
static __always_inline void own(const struct tls_stream_key *object, u32 tid, u64 sequence)
{
	struct tls_thread fresh = { .owner = object->object, .tgid = object->tgid };
	struct tls_thread *thread = bpf_map_lookup_elem(&tls_threads, &tid);
	struct tls_stream *stream;

	if (thread && thread->tgid == object->tgid)
		thread->owner = object->object;
	else
		bpf_map_update_elem(&tls_threads, &tid, &fresh, BPF_ANY);
	if (sequence)
		return;
	stream = bpf_map_lookup_elem(&tls_streams, object);
	if (stream)
		stream->socket = 0;
}

/* Whether the object is one that a hook has seen before. */
static __always_inline bool is_created(const struct tls_hook *hook,
				       const struct tls_stream_key *object)
{
	if (hook->layer == LAYER_THREAD)
		return !is_of_thread(hook, object->object);
	return bpf_map_lookup_elem(&hook_objects, object);
}

/*
 * Whether it is known at entry that the call seals a record, and of what kind. What seals the handshake's is gone
 * soon, its memory another connection's: it is not joined to a socket.
 */
static __always_inline bool seals_at_entry(const struct tls_hook *hook)
{
	return hook->flags & HOOK_AT_ENTRY && hook->layer == LAYER_RECORD;
}

SEC("uprobe")
int BPF_UPROBE(hook_enter)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct hook_call_key key = { .tgid = pid_tgid >> 32 };
	struct tls_stream_key object = { .tgid = pid_tgid >> 32 };
	const struct tls_hook *hook;
	struct hook_call call;

	if (!scope_of(key.tgid))
		return 0;
	hook = hook_of(ctx, &key.hook);
	if (!hook)
		return 0;
	call.values[OBJECT] = evaluate_early(ctx, &hook->object);
	object.object = call.values[OBJECT];
	if (hook->flags & HOOK_OWNER) {
		own(&object, (u32)pid_tgid, evaluate_early(ctx, &hook->sequence));
		return 0;
	}
	if (hook->flags & HOOK_ENDS) {
		bpf_map_delete_elem(&tls_streams, &object);
		bpf_map_delete_elem(&hook_objects, &object);
		bpf_map_delete_elem(&tls_kept, &object);
		emit_object(EV_TLS_FREE, object.object, 0);
		return 0;
	}
	if (hook->flags & HOOK_ONLY_CREATED && !is_created(hook, &object))
		return 0;
	if (may_write(hook) && !seals_at_entry(hook))
		note_object(object.object, key.tgid, (u32)pid_tgid, layer_of(hook, object.object));
	call.values[CALL] = evaluate_early(ctx, &hook->call);
	call.values[BUFFER] = evaluate_early(ctx, &hook->buffer);
	call.values[LENGTH] = evaluate_early(ctx, &hook->length);
	call.values[MOVED] = evaluate_early(ctx, &hook->moved);
	call.values[SKIP_HEAD] = evaluate_early(ctx, &hook->skip_head);
	call.values[ASSOCIATED_DATA] = evaluate_early(ctx, &hook->associated_data);
	call.values[ASSOCIATED_DATA_BYTES] = evaluate_early(ctx, &hook->associated_data_bytes);
	if (hook->flags & HOOK_AT_ENTRY) {
		bool is_data = captured(hook, &call);

		if (!seals_at_entry(hook))
			return 0;
		if (is_data)
			note_object(object.object, key.tgid, (u32)pid_tgid, LAYER_RECORD);
		else
			note_no_object(key.tgid, (u32)pid_tgid);
		return 0;
	}
	key.call = call.values[CALL];
	if (is_inner(ctx, (u32)pid_tgid, hook, &key, &call))
		return 0;
	bpf_map_update_elem(&hook_calls, &key, &call, BPF_ANY);
	return 0;
}

static __always_inline int returned(struct pt_regs *regs, u64 result, u64 stack)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct hook_call_key key = { .tgid = pid_tgid >> 32 };
	const struct tls_hook *hook;
	struct tls_stream_key object = { .tgid = key.tgid };
	struct hook_call *found, call;
	u8 one = 1;

	if (!scope_of(key.tgid))
		return 0;
	hook = hook_of(regs, &key.hook);
	if (!hook)
		return 0;
	switch (hook->call.base) {
	case BASE_GOROUTINE:
		key.call = goroutine(regs);
		break;
	case BASE_STACK:
		key.call = stack;
		break;
	default:
		key.call = (u32)pid_tgid;
	}
	found = bpf_map_lookup_elem(&hook_calls, &key);
	if (!found)
		return 0;
	call = *found;
	bpf_map_delete_elem(&hook_calls, &key);
	object.object = call.values[OBJECT];
	if (hook->flags & HOOK_KEEPS &&
	    ((s32)result == GNUTLS_E_AGAIN || (s32)result == GNUTLS_E_INTERRUPTED))
		keep(&object, &call);
	if (!succeeded(hook, result))
		return 0;
	call.values[OBJECT] = evaluate_late(regs, &hook->object, call.values[OBJECT]);
	if (hook->flags & HOOK_CREATES) {
		object.object = call.values[OBJECT];
		bpf_map_update_elem(&hook_objects, &object, &one, BPF_ANY);
		return 0;
	}
	call.values[BUFFER] = evaluate_late(regs, &hook->buffer, call.values[BUFFER]);
	call.values[LENGTH] = evaluate_late(regs, &hook->length, call.values[LENGTH]);
	call.values[MOVED] = evaluate_late(regs, &hook->moved, call.values[MOVED]);
	if (hook->flags & HOOK_KEEPS && !kept_is_sent(hook, &object, &call))
		return 0;
	captured(hook, &call);
	return 0;
}

SEC("uretprobe")
int BPF_URETPROBE(hook_return)
{
	u64 stack = PT_REGS_SP_CORE(ctx);

#if defined(__TARGET_ARCH_x86)
	stack -= 8; /* the return address has been popped */
#endif
	return returned(ctx, PT_REGS_RC_CORE(ctx), stack);
}

/* At a return instruction: the stack pointer is that of entry, the result is in Go's registers. */
SEC("uprobe")
int BPF_UPROBE(hook_return_instruction)
{
	return returned(ctx, go_register(ctx, 0), PT_REGS_SP_CORE(ctx));
}
