/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Maps shared by all programs. They are weak definitions, which libbpf's linker merges into one when it
 * links the object files, after checking that they agree.
 */
#ifndef AGENTSIGHT_MAPS_H
#define AGENTSIGHT_MAPS_H

#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include "wire.h"

/* Set by user space before loading, when the kernel has bpf_get_current_task_btf (5.11). */
const volatile bool has_task_btf __weak = false;

#define MAX_PROCESSES 65536

/* The watched processes, by tgid. A process that is not here sends nothing to user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROCESSES);
	__type(key, u32);
	__type(value, struct scope);
} scopes __weak SEC(".maps");

/* One ring a kind of traffic, so that a flood of one cannot push out another. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} process_ring __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024);
} file_ring __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} network_ring __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 32 * 1024 * 1024);
} tls_ring __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} stdio_ring __weak SEC(".maps");

/* For what must not be lost whatever else floods. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 * 1024 * 1024);
} security_ring __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CLASS_COUNT);
	__type(key, u32);
	__type(value, struct class_stats);
} stats __weak SEC(".maps");

/* Where a record of variable length is put together before it goes to a ring. */
#define SCRATCH_BYTES 32768
struct scratch {
	u8 bytes[SCRATCH_BYTES];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratch);
} scratches __weak SEC(".maps");

/* What each process does with each file; read and cleaned by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, struct file_use_key);
	__type(value, struct file_use);
} file_uses __weak SEC(".maps");

/*
 * Files that user space was told to look for TLS code in, by inode and device: once is enough, as probes
 * belong to the file.
 */
struct image_key {
	u64 ino;
	u32 dev;
	u32 reserved;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct image_key);
	__type(value, u8);
} images_seen __weak SEC(".maps");

/* Sockets of watched processes, by address of the kernel's struct sock. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, struct socket_use);
} socket_uses __weak SEC(".maps");

#endif
