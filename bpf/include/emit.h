/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Sends records to user space and counts what could not be sent. */
#ifndef AGENTSIGHT_EMIT_H
#define AGENTSIGHT_EMIT_H

#include "maps.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* Keeps clang from reasoning a bound away that the verifier needs to see. */
#define barrier_var(var) asm volatile("" : "+r"(var))

/*
 * Since 7.0 a program at a tracepoint may be preempted. Until it runs again, the kernel leaves the same
 * program out for all other tasks on that CPU, and what a program prepares in `scratches` may be
 * overwritten. Set by user space before loading, since 6.12 has bpf_preempt_disable as well but allows no
 * global functions under it, and has no need of it.
 */
const volatile bool is_preemptible __weak = false;
extern void bpf_preempt_disable(void) __weak __ksym;
extern void bpf_preempt_enable(void) __weak __ksym;

/* To be the first thing that a program does, and the last. */
static __always_inline void program_begins(void)
{
	if (is_preemptible)
		bpf_preempt_disable();
}

static __always_inline void program_ends(void)
{
	if (is_preemptible)
		bpf_preempt_enable();
}

static __always_inline struct class_stats *class_stats(u32 class)
{
	return bpf_map_lookup_elem(&stats, &class);
}

/* Counts a record that was to be made and could not; every such record was also produced. */
static __always_inline void count_drop(u32 class, enum drop_reason reason)
{
	struct class_stats *s = class_stats(class);

	if (s && reason < DROP_COUNT) {
		__sync_fetch_and_add(&s->produced, 1);
		__sync_fetch_and_add(&s->dropped[reason], 1);
	}
}

static __always_inline void fill_header(struct rec_header *h, u16 kind, u8 class, u32 length,
					const struct scope *scope, u32 tgid, u32 tid)
{
	struct class_stats *s = class_stats(class);

	h->kind = kind;
	h->cpu = bpf_get_smp_processor_id();
	h->length = length;
	h->ktime_ns = bpf_ktime_get_boot_ns();
	/* Atomic although per CPU: a socket may change state in an interrupt. */
	if (s)
		__sync_fetch_and_add(&s->produced, 1);
	h->sequence = s ? s->produced : 0;
	h->start_ns = scope->start_ns;
	h->tgid = tgid;
	h->tid = tid;
	h->label = scope->label;
	h->class = class;
	h->flags = 0;
	h->reserved = 0;
}

/* Counts a record whose header was filled and that the ring refused. */
static __always_inline void count_refused(u32 class)
{
	struct class_stats *s = class_stats(class);

	if (s)
		__sync_fetch_and_add(&s->dropped[DROP_RING_FULL], 1);
}

/*
 * Bulk traffic does not wake the reader, which comes by every few milliseconds of its own accord, until
 * the ring is a quarter full. A wake-up costs more than the record.
 */
static __always_inline u64 lazy_wakeup(void *ring)
{
	/* Asked for, as user space makes the rings smaller where memory is short. */
	u64 ring_bytes = bpf_ringbuf_query(ring, BPF_RB_RING_SIZE);

	if (bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) > ring_bytes / 4)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

static __always_inline struct scratch *scratch(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&scratches, &zero);
}

#endif
