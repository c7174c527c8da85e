/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Files that are made executable after they were written, as linkers and downloads do. */
#ifndef AGENTSIGHT_MODE_H
#define AGENTSIGHT_MODE_H

#include "acts.h"

/*
 * The call in `calls` has changed a mode.
 * VERIFIER: a global function, checked once; it takes scalars only (5.10).
 */
__weak __noinline int mode_changed(u64 operation)
{
	struct actor actor = { .tgid = bpf_get_current_pid_tgid() >> 32 };
	struct call *call = this_call();
	struct scratch *s = scratch();
	struct name_ref name = {};
	struct image_item *item;
	int directory = AT_FDCWD;
	u64 at = sizeof(*item), argument = 0;
	u8 flags = 0;

	if (!call || !s)
		return 0;
	if (operation == OP_FCHMODAT) {
		directory = call->arguments[0];
		argument = 1;
	}
	if (!(call->arguments[argument + 1] & EXECUTABLE))
		return 0;
	if (operation == OP_FCHMOD) {
		struct file *file = file_of_fd(call->arguments[0]);

		if (file)
			image_written((u64)file, true);
		return 0;
	}
	actor.task = (struct task_struct *)bpf_get_current_task();
	item = (void *)s->bytes;
	__builtin_memset(item, 0, sizeof(*item));
	at = name_append(s, at, &actor, &name, directory, (void *)call->arguments[argument],
			 &flags);
	item->what = IMAGE_NAMED;
	item->tgid = actor.tgid;
	item->path_bytes = name.base_bytes;
	item->name_bytes = name.name_bytes;
	barrier_var(at);
	if (!flags && name.name_bytes && at <= SCRATCH_BYTES)
		bpf_ringbuf_output(&image_ring, item, at, BPF_RB_FORCE_WAKEUP);
	return 0;
}

#endif
