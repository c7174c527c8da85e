/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Which processes are watched, and how a process is named. */
#ifndef AGENTSIGHT_SCOPE_H
#define AGENTSIGHT_SCOPE_H

#include "maps.h"
#include <bpf/bpf_core_read.h>

static __always_inline struct scope *scope_of(u32 tgid)
{
	return bpf_map_lookup_elem(&scopes, &tgid);
}

/* Start time of a process: that of its first thread, on the boot clock. */
static __always_inline u64 start_ns_of(struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	return BPF_CORE_READ(leader, start_boottime);
}

#endif
