/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * io_uring: requests that do what system calls do, without them. Seen when the kernel takes them up, in the
 * process that made them or in a thread of its; what becomes of them is not known then.
 */
#ifndef AGENTSIGHT_URING_H
#define AGENTSIGHT_URING_H

#include "acts.h"

/* include/uapi/linux/io_uring.h */
enum uring_code {
	URING_READV = 1,
	URING_WRITEV = 2,
	URING_READ_FIXED = 4,
	URING_WRITE_FIXED = 5,
	URING_TIMEOUT = 11,
	URING_OPENAT = 18,
	URING_READ = 22,
	URING_WRITE = 23,
	URING_OPENAT2 = 28,
	URING_RENAMEAT = 35,
	URING_UNLINKAT = 36,
	URING_MKDIRAT = 37,
	URING_SYMLINKAT = 38,
	URING_LINKAT = 39,
};

/* A name that the kernel has copied already: unlike a system call's, nobody can change it any more. */
static __always_inline u64 kernel_name_append(struct scratch *s, u64 at, const struct actor *actor,
					      struct name_ref *ref, int dirfd,
					      const struct filename *filename, u8 *flags)
{
	const char *name = BPF_CORE_READ(filename, name);
	struct task_struct *task = actor->task;
	u64 start = at;
	struct path base;
	char first = 0;
	long n;

	bpf_probe_read_kernel(&first, 1, name);
	if (first != '/') {
		struct file *file = dirfd == AT_FDCWD ? NULL : file_of_fd(dirfd);

		if (file)
			base = BPF_CORE_READ(file, f_path);
		else
			base = BPF_CORE_READ(task, fs, pwd);
		at = path_append(at, &base, flags);
		ref->base_bytes = at - start;
	}
	barrier_var(at);
	if (at > SCRATCH_BYTES / 2)
		return start;
	n = bpf_probe_read_kernel_str(&s->bytes[at], WIRE_PATH_BYTES, name);
	if (n <= 0 || n > WIRE_PATH_BYTES)
		return at;
	ref->name_bytes = n;
	return at + n;
}

/* The name in a request's own part: a pointer to it, or since 7.0 a structure that begins with one. */
#define FILENAME_OF(type, own, field)                                                              \
	({                                                                                         \
		struct filename *filename = NULL;                                                  \
		u64 offset = bpf_core_field_exists(struct type, field)                             \
				     ? bpf_core_field_offset(struct type, field)                   \
				     : bpf_core_field_offset(struct type##___delayed, field);      \
		bpf_probe_read_kernel(&filename, sizeof(filename), (void *)(own) + offset);        \
		filename;                                                                          \
	})

/*
 * Appends the names of a request that has one or two.
 * VERIFIER: a request's own part lies where `cmd` is; a kernel in which a field has another form is not asked.
 */
static __always_inline u64 request_names(struct scratch *s, u64 at, const struct actor *actor,
					 struct act_rec *rec, struct io_kiocb *req, u8 code,
					 u8 *flags)
{
	const void *own = __builtin_preserve_access_index(&req->cmd);

	switch (code) {
	case URING_OPENAT:
	case URING_OPENAT2: {
		const struct io_open *op = own;

		return kernel_name_append(s, at, actor, &rec->name, BPF_CORE_READ(op, dfd),
					  FILENAME_OF(io_open, own, filename), flags);
	}
	case URING_UNLINKAT: {
		const struct io_unlink *op = own;

		return kernel_name_append(s, at, actor, &rec->name, BPF_CORE_READ(op, dfd),
					  FILENAME_OF(io_unlink, own, filename), flags);
	}
	case URING_MKDIRAT: {
		const struct io_mkdir *op = own;

		return kernel_name_append(s, at, actor, &rec->name, BPF_CORE_READ(op, dfd),
					  FILENAME_OF(io_mkdir, own, filename), flags);
	}
	case URING_RENAMEAT: {
		const struct io_rename *op = own;

		at = kernel_name_append(s, at, actor, &rec->name, BPF_CORE_READ(op, old_dfd),
					FILENAME_OF(io_rename, own, oldpath), flags);
		return kernel_name_append(s, at, actor, &rec->other, BPF_CORE_READ(op, new_dfd),
					  FILENAME_OF(io_rename, own, newpath), flags);
	}
	case URING_SYMLINKAT:
	case URING_LINKAT: {
		const struct io_link *op = own;

		at = kernel_name_append(s, at, actor, &rec->name, BPF_CORE_READ(op, old_dfd),
					FILENAME_OF(io_link, own, oldpath), flags);
		return kernel_name_append(s, at, actor, &rec->other, BPF_CORE_READ(op, new_dfd),
					  FILENAME_OF(io_link, own, newpath), flags);
	}
	}
	return at;
}

static __always_inline bool has_names(u8 code)
{
	if (!bpf_core_field_exists(struct io_open, filename) &&
	    !bpf_core_field_exists(struct io_open___delayed, filename))
		return false;
	return code == URING_OPENAT || code == URING_OPENAT2 ||
	       (code >= URING_RENAMEAT && code <= URING_LINKAT);
}

/* Counts a read or a write of a file. How much it will be is known only when it is done. */
static __always_inline void request_uses(struct file *file, u8 code)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	u32 mode = BPF_CORE_READ(inode, i_mode);
	bool write = code == URING_WRITE || code == URING_WRITEV || code == URING_WRITE_FIXED;
	bool read = code == URING_READ || code == URING_READV || code == URING_READ_FIXED;

	if ((read || write) && (is_file(mode) || is_channel(mode)))
		file_transferred(file, write, 0);
}

static __always_inline void request_submitted(struct io_kiocb *req)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct actor actor = { .tgid = pid_tgid >> 32, .tid = (u32)pid_tgid };
	struct scratch *s = scratch();
	struct act_rec *rec;
	struct file *file;
	u64 at = sizeof(*rec);
	u64 start, ino = 0;
	u8 code, flags = 0;

	actor.scope = scope_of(actor.tgid);
	if (!actor.scope || !s)
		return;
	actor.task = (struct task_struct *)bpf_get_current_task();
	code = BPF_CORE_READ(req, opcode);
	if (!code || code == URING_TIMEOUT)
		return; /* does nothing */
	if (has_names(code)) {
		if (!act_is_told(OP_IO_URING, code))
			return;
		rec = begin_act(s, &actor, OP_IO_URING);
		at = request_names(s, at, &actor, rec, req, code, &flags);
	} else {
		file = BPF_CORE_READ(req, file);
		if (!file)
			file = file_of_fd(BPF_CORE_READ(req, cqe.fd));
		if (file) {
			request_uses(file, code);
			ino = BPF_CORE_READ(file, f_inode, i_ino);
		}
		if (!is_first(actor.scope, OP_IO_URING, ino << 8 | code))
			return;
		rec = begin_act(s, &actor, OP_IO_URING);
		if (file) {
			struct path path = BPF_CORE_READ(file, f_path);

			start = at;
			file_id_of(&rec->file, BPF_CORE_READ(file, f_inode));
			at = path_append(at, &path, &flags);
			rec->path_bytes = at - start;
		}
	}
	rec->arguments[0] = code;
	rec->header.flags = flags;
	rec->header.length = at;
	barrier_var(at);
	if (at <= SCRATCH_BYTES)
		emit_security(rec, at);
}

#endif
