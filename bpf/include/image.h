/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Programs that the tree makes, changes or runs for the first time. User space is told at once: it wants to have
 * looked at them before they are run or get far, and must take its probes out of a file that is no longer
 * the one that it looked at.
 */
#ifndef AGENTSIGHT_IMAGE_H
#define AGENTSIGHT_IMAGE_H

#include "path.h"
#include "scope.h"

#define EXECUTABLE 0111

/* Not one of the rings of records: these are no events, and another thread of user space reads them. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} image_ring __weak SEC(".maps");

/*
 * The file was opened for writing. `address` is that of its struct file, `created` whether it is new.
 * VERIFIER: a global function, so that it counts once and not in each place that opens files.
 */
__weak __noinline int image_written(u64 address, u32 created)
{
	struct file *file = (void *)address;
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct image_item *item;
	struct image_key key = {};
	struct scratch *s;
	struct path path;
	u32 at = sizeof(*item);
	struct file_id id = {};
	u8 flags = 0;

	file_id_of(&id, inode);
	key.ino = id.ino;
	key.dev = id.dev;
	/* It is to be looked at anew. */
	if (bpf_map_delete_elem(&images_seen, &key) && !(created && id.mode & EXECUTABLE))
		return 0;
	s = scratch();
	if (!s)
		return 0;
	item = (void *)s->bytes;
	item->file = id;
	item->tgid = bpf_get_current_pid_tgid() >> 32;
	path = BPF_CORE_READ(file, f_path);
	at = path_append(at, &path, &flags);
	item->what = IMAGE_WRITTEN;
	item->name_bytes = 0;
	item->path_bytes = flags ? 0 : at - sizeof(*item);
	if (at <= sizeof(*item) + WIRE_PATH_BYTES)
		bpf_ringbuf_output(&image_ring, item, at, BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* The current process runs a program that is new to user space. */
static __always_inline void image_started(const struct file_id *id)
{
	struct image_item item = { .file = *id, .what = IMAGE_STARTED };

	item.tgid = bpf_get_current_pid_tgid() >> 32;
	bpf_ringbuf_output(&image_ring, &item, sizeof(item), BPF_RB_FORCE_WAKEUP);
}

#endif
