/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Paths as the kernel holds them: a walk from a dentry to the root of the process, across mounts. The
 * helper bpf_d_path is not to be had in tracepoints; this is the same walk, written as its components
 * from the last to the first.
 */
#ifndef AGENTSIGHT_PATH_H
#define AGENTSIGHT_PATH_H

#include "emit.h"

/*
 * Deepest path that is resolved whole. A deeper one keeps its last components and is marked.
 * VERIFIER: the loop is unrolled by the verifier on kernels without open-coded iterators.
 */
#define PATH_DEPTH 48

#define PATH_CUT_BIT 0x80000000u

/*
 * Appends the path, as the current task sees it, to scratch->bytes[at..] and returns the new end, with PATH_CUT_BIT set if the
 * outermost components are missing.
 * VERIFIER: a global function, which is checked once and not again for each way in which the caller may
 * arrive; such a function takes scalars only (5.10), so addresses of kernel objects are passed as such.
 */
__weak __noinline u32 path_walk(u32 at, u64 mount_address, u64 dentry_address)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct vfsmount *vfsmount = (void *)mount_address;
	struct dentry *dentry = (void *)dentry_address;
	struct mount *mount = container_of(vfsmount, struct mount, mnt);
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	struct dentry *root_dentry = BPF_CORE_READ(fs, root.dentry);
	struct vfsmount *root_mount = BPF_CORE_READ(fs, root.mnt);
	u32 limit = at + WIRE_PATH_BYTES - WIRE_NAME_BYTES;
	struct scratch *s = scratch();
	int i;

	if (!s)
		return at | PATH_CUT_BIT;
	for (i = 0; i < PATH_DEPTH; i++) {
		struct dentry *parent;
		const unsigned char *name;
		long n;

		if (dentry == root_dentry && vfsmount == root_mount)
			return at;
		parent = BPF_CORE_READ(dentry, d_parent);
		if (dentry == BPF_CORE_READ(vfsmount, mnt_root)) {
			struct mount *up = BPF_CORE_READ(mount, mnt_parent);

			/* A mount that is mounted on nothing: the namespace's root, or an object
			 * without a place in any tree, such as a memfd, which has a name at least.
			 */
			if (up == mount && i > 0)
				return at;
			if (up != mount) {
				dentry = BPF_CORE_READ(mount, mnt_mountpoint);
				mount = up;
				vfsmount = (void *)up + bpf_core_field_offset(struct mount, mnt);
				continue;
			}
		}
		if (at > limit)
			break;
		name = BPF_CORE_READ(dentry, d_name.name);
		barrier_var(at);
		if (at > SCRATCH_BYTES - WIRE_NAME_BYTES)
			break;
		n = bpf_probe_read_kernel_str(&s->bytes[at], WIRE_NAME_BYTES, name);
		if (n <= 0)
			break;
		at += n;
		if (parent == dentry)
			return at;
		dentry = parent;
	}
	return at | PATH_CUT_BIT;
}

static __always_inline u32 path_append(u32 at, const struct path *path, u8 *flags)
{
	u32 end = path_walk(at, (u64)path->mnt, (u64)path->dentry);

	if (end & PATH_CUT_BIT)
		*flags |= REC_PATH_CUT;
	return end & ~PATH_CUT_BIT;
}

static __always_inline void file_id_of(struct file_id *id, struct inode *inode)
{
	id->ino = BPF_CORE_READ(inode, i_ino);
	id->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	id->mode = BPF_CORE_READ(inode, i_mode);
}

/*
 * The open file behind a descriptor of the current task that a system call has just used, or NULL. The
 * call succeeded, so the table is as long as that; it never shrinks.
 */
static __always_inline struct file *file_of_fd(u32 fd)
{
	struct file **table, *file = NULL;

	if (has_task_btf) {
		struct task_struct *task = bpf_get_current_task_btf();

		table = task->files->fdt->fd;
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		table = BPF_CORE_READ(task, files, fdt, fd);
	}
	bpf_probe_read_kernel(&file, sizeof(file), &table[fd]);
	return file;
}

/* Whether user space has not been told of the file before. If the map is full it is told again. */
static __always_inline bool is_new_image(const struct file_id *id)
{
	struct image_key key = { .ino = id->ino, .dev = id->dev };
	u8 seen = 1;

	if (bpf_map_lookup_elem(&images_seen, &key))
		return false;
	bpf_map_update_elem(&images_seen, &key, &seen, BPF_ANY);
	return true;
}

#endif
