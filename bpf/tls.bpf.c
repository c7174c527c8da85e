// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Plaintext of TLS libraries of the OpenSSL family, at the functions by which a program hands it to its
 * library and takes it back.
 *
 * Data is read when the function returns: only then is it known how much of it was taken (a write that
 * would block is tried again with the same bytes) or given.
 */
#include "tls.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

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
	note_object(last.call.object, pid_tgid >> 32, key.tid, LAYER_STREAM);
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
		capture(call.object, call.buffer, bytes, HOW(call.direction & 1, LAYER_STREAM));
	return 0;
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
