/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The memory that a system call moved bytes from or to. */
#ifndef AGENTSIGHT_DATA_H
#define AGENTSIGHT_DATA_H

#include "emit.h"

/* Memory of the process that a call read from or wrote to. */
enum data_form {
	DATA_NONE,
	DATA_FLAT, /* a buffer */
	DATA_VECTOR, /* struct iovec[] */
	DATA_MESSAGE, /* struct msghdr */
};
struct user_data {
	u64 address;
	u64 count; /* DATA_VECTOR: elements */
	u64 to; /* DATA_FLAT: destination address, or 0 */
	u32 form; /* enum data_form */
};

struct user_vector {
	u64 base;
	u64 bytes;
};

/*
 * Bytes that a call has moved, while they are looked at.
 * VERIFIER: what the functions that do so would otherwise hand on from one to the next: a global function
 * takes five scalars (5.10), and all that are active share 512 bytes of stack (before 6.13).
 */
struct transfer {
	struct user_data data;
	u64 file; /* address of the struct file */
	u64 bytes;
	u64 write; /* or a read */
	/* Of a channel: its end, its kind and the beginning of its flow. */
	u64 ino;
	u64 peer_ino;
	u64 began_ns;
	u64 kind;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct transfer);
} transfers __weak SEC(".maps");

static __always_inline struct transfer *this_transfer(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&transfers, &zero);
}

#define MAX_VECTORS 64

/* A number of vectors and of bytes in them, as one argument. */
#define COUNT_SHIFT 56
#define BYTES_MASK (((u64)1 << COUNT_SHIFT) - 1)

static __always_inline u64 vectors_of(const struct user_data *data, u64 bytes)
{
	u64 count = data->count;

	if (count > MAX_VECTORS + 1)
		count = MAX_VECTORS + 1;
	return count << COUNT_SHIFT | (bytes & BYTES_MASK);
}

/* A message's data is its vectors; its destination, if it has one, comes first. */
static __always_inline void unfold_message(struct user_data *data)
{
	u64 header[4] = {}; /* msg_name, msg_namelen, msg_iov, msg_iovlen */

	if (data->form != DATA_MESSAGE)
		return;
	bpf_probe_read_user(header, sizeof(header), (void *)data->address);
	data->form = DATA_VECTOR;
	data->to = header[0];
	data->address = header[2];
	data->count = header[3];
}

#define WORD(a, b, c, d) ((u32)(a) | (u32)(b) << 8 | (u32)(c) << 16 | (u32)(d) << 24)

/* Where the first of `bytes` bytes lie, and how many of them lie there. */
static __always_inline struct user_vector first_piece(const struct user_data *data, u64 bytes)
{
	struct user_vector piece = { .base = data->address, .bytes = bytes };

	if (data->form == DATA_VECTOR)
		bpf_probe_read_user(&piece, sizeof(piece), (void *)data->address);
	if (piece.bytes > bytes)
		piece.bytes = bytes;
	return piece;
}

static __always_inline u64 first_bytes(const struct user_data *data)
{
	struct user_vector vector = first_piece(data, sizeof(u64));
	u64 bytes = 0;

	if (data->form != DATA_NONE)
		bpf_probe_read_user(&bytes, sizeof(bytes), (void *)vector.base);
	return bytes;
}

#endif
