/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Files. The first use of a file by a process sends a record with the resolved path; every use counts
 * in the map `file_uses`, which user space reads and empties. So fifty thousand opens of a thousand
 * files cost a thousand records, and none is missing from the totals.
 */
#ifndef AGENTSIGHT_FILE_H
#define AGENTSIGHT_FILE_H

#include "image.h"

#define FMODE_READ 0x1 /* include/linux/fs.h */
#define FMODE_WRITE 0x2
#define FMODE_CREATED 0x100000
#define O_TRUNC 01000
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFIFO 0010000
#define S_IFREG 0100000
#define S_IFDIR 0040000
#define S_IFCHR 0020000
#define S_IFBLK 0060000
#define AF_UNIX 1
#define AT_FDCWD -100
#define AT_REMOVEDIR 0x200

struct actor {
	struct task_struct *task;
	struct scope *scope;
	u32 tgid;
	u32 tid;
};

static __always_inline void emit_file(void *record, u32 length)
{
	if (bpf_ringbuf_output(&file_ring, record, length, lazy_wakeup(&file_ring)))
		count_refused(CLASS_FILE);
}

static __always_inline bool is_file(u32 mode)
{
	u32 type = mode & S_IFMT;

	return type == S_IFREG || type == S_IFDIR || type == S_IFCHR || type == S_IFBLK;
}

static __always_inline void emit_file_open(const struct actor *actor, const struct path *path,
					   struct inode *inode, u64 use_id, u32 access, u8 flags)
{
	struct scratch *s = scratch();
	struct file_open_rec *rec;
	u32 at = sizeof(*rec);

	if (!s)
		return;
	rec = (void *)s->bytes;
	fill_header(&rec->header, EV_FILE_OPEN, CLASS_FILE, 0, actor->scope, actor->tgid,
		    actor->tid);
	rec->use_id = use_id;
	rec->access = access;
	file_id_of(&rec->file, inode);
	at = path_append(at, path, &flags);
	rec->path_bytes = at - sizeof(*rec);
	rec->header.flags = flags;
	rec->header.length = at;
	if (at <= sizeof(*rec) + WIRE_PATH_BYTES)
		emit_file(rec, at);
}

static __always_inline void emit_file_use(const struct actor *actor, const struct file_use *use)
{
	struct scope owner = { .start_ns = use->start_ns, .label = use->label };
	struct file_use_rec *rec = bpf_ringbuf_reserve(&file_ring, sizeof(*rec), 0);

	if (!rec) {
		count_drop(CLASS_FILE, DROP_RING_FULL);
		return;
	}
	fill_header(&rec->header, EV_FILE_USE, CLASS_FILE, sizeof(*rec), &owner, actor->tgid,
		    actor->tid);
	rec->totals = *use;
	bpf_ringbuf_submit(rec, lazy_wakeup(&file_ring));
}

/* Inode number of the socket that a unix socket is connected to, or 0. */
static __always_inline u64 peer_ino_of(const struct sock *sk)
{
	const struct unix_sock *unix = (const void *)sk;
	struct sock *peer = BPF_CORE_READ(unix, peer);

	if (!peer)
		return 0;
	return BPF_CORE_READ(peer, sk_socket, file, f_inode, i_ino);
}

static __always_inline struct sock *sock_of_file(struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);

	return BPF_CORE_READ(socket, sk);
}

static __always_inline void emit_channel_open(const struct actor *actor, struct file *file,
					      struct inode *inode, u32 mode, u64 use_id, u32 access)
{
	struct path path = BPF_CORE_READ(file, f_path);
	struct channel_open_rec *rec;
	struct scratch *s = scratch();
	u32 at = sizeof(*rec);
	u8 flags = 0;

	if (!s)
		return;
	rec = (void *)s->bytes;
	fill_header(&rec->header, EV_CHANNEL_OPEN, CLASS_STDIO, 0, actor->scope, actor->tgid,
		    actor->tid);
	rec->use_id = use_id;
	rec->ino = BPF_CORE_READ(inode, i_ino);
	rec->peer_ino = 0;
	rec->access = access;
	rec->reserved = 0;
	if ((mode & S_IFMT) == S_IFSOCK) {
		rec->channel = CHANNEL_UNIX;
		rec->peer_ino = peer_ino_of(sock_of_file(file));
	} else {
		rec->channel = CHANNEL_PIPE;
		at = path_append(at, &path, &flags);
	}
	rec->path_bytes = at - sizeof(*rec);
	rec->header.flags = flags;
	rec->header.length = at;
	if (at > sizeof(*rec) + WIRE_PATH_BYTES)
		return;
	if (bpf_ringbuf_output(&stdio_ring, rec, at, lazy_wakeup(&stdio_ring)))
		count_refused(CLASS_STDIO);
}

static __always_inline bool is_channel(u32 mode)
{
	u32 type = mode & S_IFMT;

	return type == S_IFIFO || type == S_IFSOCK;
}

/*
 * An entry while it is put together.
 * VERIFIER: the stack has no room for it. Used at system calls only, which do not interrupt each other.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct file_use);
} uses_begun __weak SEC(".maps");

/* The process's entry for the file, made (and announced) if there is none. */
static __always_inline struct file_use *file_use_of(const struct actor *actor, struct file *file,
						    struct inode *inode, u32 access, u8 flags)
{
	struct path path = BPF_CORE_READ(file, f_path);
	struct file_use_key key = {
		.dentry = (u64)path.dentry,
		.mount = (u64)path.mnt,
		.tgid = actor->tgid,
	};
	struct file_use *use = bpf_map_lookup_elem(&file_uses, &key);
	struct file_use *fresh;
	u32 mode, zero = 0;

	if (use && use->ino == BPF_CORE_READ(inode, i_ino) &&
	    use->start_ns == actor->scope->start_ns)
		return use;
	/* The kernel gave the dentry's memory to another file, or the pid to another process. */
	if (use)
		emit_file_use(actor, use);

	fresh = bpf_map_lookup_elem(&uses_begun, &zero);
	if (!fresh)
		return NULL;
	__builtin_memset(fresh, 0, sizeof(*fresh));
	fresh->use_id = bpf_ktime_get_boot_ns();
	fresh->start_ns = actor->scope->start_ns;
	fresh->ino = BPF_CORE_READ(inode, i_ino);
	fresh->label = actor->scope->label;
	fresh->access = access;
	mode = BPF_CORE_READ(inode, i_mode);
	if (is_channel(mode))
		emit_channel_open(actor, file, inode, mode, fresh->use_id, access);
	else
		emit_file_open(actor, &path, inode, fresh->use_id, access, flags);
	if (bpf_map_update_elem(&file_uses, &key, fresh, BPF_ANY)) {
		count_drop(CLASS_FILE, DROP_MAP_FULL);
		return NULL;
	}
	return bpf_map_lookup_elem(&file_uses, &key);
}

enum touch {
	TOUCHED_READ,
	TOUCHED_WRITE,
	TOUCHED_OPEN,
};

/*
 * Counts a use of a file, of which `address` is that of its struct file.
 * VERIFIER: a global function, checked once and with a stack frame of its own.
 */
__weak __noinline int file_touched(u64 address, u64 touch, u64 access, u64 bytes)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct actor actor = { .tgid = pid_tgid >> 32, .tid = (u32)pid_tgid };
	struct file *file = (void *)address;
	struct file_use *use;

	actor.scope = scope_of(actor.tgid);
	if (!actor.scope)
		return 0;
	use = file_use_of(&actor, file, BPF_CORE_READ(file, f_inode), access,
			  touch == TOUCHED_OPEN ? 0 : REC_INHERITED);
	if (!use)
		return 0;
	if (touch == TOUCHED_OPEN) {
		__sync_fetch_and_add(&use->opens, 1);
		if (access & ACCESS_CREATE)
			__sync_fetch_and_add(&use->creates, 1);
	} else if (touch == TOUCHED_WRITE) {
		__sync_fetch_and_add(&use->writes, 1);
		__sync_fetch_and_add(&use->written_bytes, bytes);
	} else {
		__sync_fetch_and_add(&use->reads, 1);
		__sync_fetch_and_add(&use->read_bytes, bytes);
	}
	use->access |= (u32)access;
	use->last_ns = bpf_ktime_get_boot_ns();
	return 0;
}

static __always_inline void file_transferred(struct file *file, bool write, u64 bytes)
{
	file_touched((u64)file, write ? TOUCHED_WRITE : TOUCHED_READ,
		     write ? ACCESS_WRITE : ACCESS_READ, bytes);
}

static __always_inline void file_opened(u32 fd, u32 open_flags)
{
	struct file *file = file_of_fd(fd);
	struct inode *inode;
	u32 mode, access;

	if (!file)
		return;
	inode = BPF_CORE_READ(file, f_inode);
	if (!is_file(BPF_CORE_READ(inode, i_mode)))
		return;
	mode = BPF_CORE_READ(file, f_mode);
	access = mode & (FMODE_READ | FMODE_WRITE);
	if (mode & FMODE_CREATED)
		access |= ACCESS_CREATE;
	if (open_flags & O_TRUNC)
		access |= ACCESS_TRUNCATE;
	if (access & FMODE_WRITE)
		image_written((u64)file, access & ACCESS_CREATE);
	file_touched((u64)file, TOUCHED_OPEN, access, 0);
}

/* "/proc/self/fd/N/", by which programs name files in a folder that they hold open. */
#define SELF_FD "/proc/self/fd/"
#define SELF_CWD "/proc/self/cwd/"
#define SELF_CWD_BYTES (sizeof(SELF_CWD) - 1)
#define NO_FD -1 /* not AT_FDCWD, which is another */
#define SELF_FD_BYTES (sizeof(SELF_FD) - 1)
#define FD_DIGITS 7

/*
 * The descriptor that a name begins with in one of these forms, and how long that beginning is; NO_FD if
 * it has another form. The descriptor's file is resolved as any other's, the name would lead nowhere later.
 * VERIFIER: unrolled, so that the stack is read at known places.
 */
static __always_inline int fd_in_name(const char *user_name, u32 *length)
{
	char head[SELF_FD_BYTES + FD_DIGITS + 1] = {};
	bool is_cwd = true;
	int fd = 0;
	u32 i;

	bpf_probe_read_user_str(head, sizeof(head), user_name);
#pragma unroll
	for (i = 0; i < SELF_CWD_BYTES; i++)
		is_cwd &= head[i] == SELF_CWD[i];
	if (is_cwd) {
		*length = SELF_CWD_BYTES;
		return AT_FDCWD;
	}
#pragma unroll
	for (i = 0; i < SELF_FD_BYTES; i++)
		if (head[i] != SELF_FD[i])
			return NO_FD;
#pragma unroll
	for (i = 0; i < FD_DIGITS; i++) {
		char c = head[SELF_FD_BYTES + i];

		if (c == '/' && i > 0) {
			*length = SELF_FD_BYTES + i + 1;
			return fd;
		}
		if (c < '0' || c > '9')
			return NO_FD;
		fd = fd * 10 + (c - '0');
	}
	return NO_FD;
}

/*
 * Appends a name as the program gave it, and the directory that it is relative to. At the return of
 * unlink or rename the old name no longer leads anywhere, so the name is all there is; a second thread
 * may have rewritten it since (docs/reference/coverage.md).
 */
static __always_inline u32 name_append(struct scratch *s, u32 at, const struct actor *actor,
				       struct name_ref *ref, int dirfd, const char *user_name,
				       u8 *flags)
{
	struct path base;
	u32 start = at, skipped = 0;
	char first = 0;
	long n;
	int fd;

	ref->base_bytes = 0;
	ref->name_bytes = 0;
	bpf_probe_read_user(&first, 1, user_name);
	if (first == '/') {
		fd = fd_in_name(user_name, &skipped);
		if (fd != NO_FD) {
			dirfd = fd;
			user_name += skipped;
			first = 0;
		}
	}
	if (first != '/') {
		if (dirfd == AT_FDCWD) {
			struct task_struct *task = actor->task;

			base = BPF_CORE_READ(task, fs, pwd);
		} else {
			struct file *file = file_of_fd(dirfd);

			if (!file)
				return at;
			base = BPF_CORE_READ(file, f_path);
		}
		at = path_append(at, &base, flags);
		ref->base_bytes = at - start;
	}
	/* VERIFIER: two names with their directories fit into half of the scratch. */
	if (at > SCRATCH_BYTES / 2)
		return start;
	n = bpf_probe_read_user_str(&s->bytes[at], WIRE_PATH_BYTES, user_name);
	if (n <= 0 || n > WIRE_PATH_BYTES)
		return at;
	ref->name_bytes = n;
	return at + n;
}

static __always_inline void file_deleted(const struct actor *actor, int dirfd, const char *name,
					 bool directory)
{
	struct scratch *s = scratch();
	struct file_delete_rec *rec;
	u8 flags = directory ? REC_DIRECTORY : 0;
	u32 at = sizeof(*rec);

	if (!s)
		return;
	rec = (void *)s->bytes;
	fill_header(&rec->header, EV_FILE_DELETE, CLASS_FILE, 0, actor->scope, actor->tgid,
		    actor->tid);
	at = name_append(s, at, actor, &rec->name, dirfd, name, &flags);
	rec->header.flags = flags;
	rec->header.length = at;
	if (at <= SCRATCH_BYTES)
		emit_file(rec, at);
}

static __always_inline void file_renamed(const struct actor *actor, int from_dirfd,
					 const char *from, int to_dirfd, const char *to)
{
	struct scratch *s = scratch();
	struct file_rename_rec *rec;
	u32 at = sizeof(*rec);
	u8 flags = 0;

	if (!s)
		return;
	rec = (void *)s->bytes;
	fill_header(&rec->header, EV_FILE_RENAME, CLASS_FILE, 0, actor->scope, actor->tgid,
		    actor->tid);
	at = name_append(s, at, actor, &rec->from, from_dirfd, from, &flags);
	at = name_append(s, at, actor, &rec->to, to_dirfd, to, &flags);
	rec->header.flags = flags;
	rec->header.length = at;
	if (at <= SCRATCH_BYTES)
		emit_file(rec, at);
}

#endif
