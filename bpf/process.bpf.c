// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Processes: fork, exec, exit. The label of a watched tree is handed on here, at fork, in the kernel,
 * before the child runs: whatever happens later to parents, sessions or names does not matter.
 */
#include "image.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SIGNAL_GROUP_EXIT 0x4 /* include/linux/sched/signal.h */
#define ARGV_CHUNKS 384 /* of WIRE_ARGV_CHUNK_BYTES: 6 MiB, the kernel's own limit */

static __always_inline void emit_process(void *record, u32 length, u64 wakeup)
{
	if (bpf_ringbuf_output(&process_ring, record, length, wakeup))
		count_refused(CLASS_PROCESS);
}

#define LAZY lazy_wakeup(&process_ring)

static __always_inline void process_forked(struct task_struct *parent, struct task_struct *child)
{
	u32 tgid = BPF_CORE_READ(parent, tgid);
	u32 child_tgid = BPF_CORE_READ(child, tgid);
	struct process_fork_rec rec = {};
	struct scope inherited = {};
	struct scope *scope;

	if (tgid == child_tgid)
		return; /* a thread */
	scope = scope_of(tgid);
	if (!scope)
		return;

	inherited.label = scope->label;
	inherited.start_ns = BPF_CORE_READ(child, start_boottime);
	if (bpf_map_update_elem(&scopes, &child_tgid, &inherited, BPF_ANY))
		count_drop(CLASS_PROCESS, DROP_MAP_FULL);

	fill_header(&rec.header, EV_PROCESS_FORK, CLASS_PROCESS, sizeof(rec), scope, tgid,
		    BPF_CORE_READ(parent, pid));
	rec.child_tgid = child_tgid;
	rec.child_start_ns = inherited.start_ns;
	BPF_CORE_READ_STR_INTO(&rec.comm, parent, comm);
	emit_process(&rec, sizeof(rec), LAZY);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	program_begins();
	process_forked(parent, child);
	program_ends();
	return 0;
}

/*
 * Sends bytes of the argument vector of the current process, up to one chunk of them.
 * VERIFIER: a global function, checked once and not for each chunk. Its arguments are 64 bits wide, as the
 * upper half of a narrower one is unknown.
 */
__weak __noinline int argv_chunk(u64 argv, u64 offset, u64 bytes)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct scope *scope = scope_of(pid_tgid >> 32);
	struct scratch *s = scratch();
	struct process_argv_rec *rec;

	if (!s || !scope)
		return 0;
	if (bytes > WIRE_ARGV_CHUNK_BYTES)
		bytes = WIRE_ARGV_CHUNK_BYTES;
	barrier_var(bytes);
	if (bytes > WIRE_ARGV_CHUNK_BYTES)
		return 0;
	rec = (void *)s->bytes;
	if (bpf_probe_read_user(&s->bytes[sizeof(*rec)], bytes, (void *)argv + offset)) {
		count_drop(CLASS_PROCESS, DROP_READ_FAULT);
		return 0;
	}
	fill_header(&rec->header, EV_PROCESS_ARGV, CLASS_PROCESS, sizeof(*rec) + bytes, scope,
		    pid_tgid >> 32, (u32)pid_tgid);
	rec->offset = offset;
	rec->bytes = bytes;
	emit_process(rec, sizeof(*rec) + bytes, LAZY);
	return 0;
}

/* Sends what of the argument vector did not fit into the exec record. */
static __always_inline void emit_argv_rest(u64 argv, u32 from, u32 total)
{
	u32 i;

	for (i = 0; i < ARGV_CHUNKS; i++) {
		u32 offset = from + i * WIRE_ARGV_CHUNK_BYTES;

		if (offset >= total)
			return;
		argv_chunk(argv, offset, total - offset);
	}
	if (total - from > ARGV_CHUNKS * WIRE_ARGV_CHUNK_BYTES)
		count_drop(CLASS_PROCESS, DROP_TOO_LONG);
}

/*
 * Appends a string of the kernel's to the record, and returns how many bytes it takes.
 * VERIFIER: two paths and two strings fit into the scratch, which shows only here.
 */
static __always_inline u32 append_string(struct scratch *s, u64 at, const char *string)
{
	long n;

	barrier_var(at);
	if (at > SCRATCH_BYTES - WIRE_PATH_BYTES)
		return 0;
	n = bpf_probe_read_kernel_str(&s->bytes[at], WIRE_PATH_BYTES, string);
	return n > 0 ? n : 0;
}

static __always_inline void process_executed(struct task_struct *task, struct linux_binprm *bprm)
{
	u32 tgid = BPF_CORE_READ(task, tgid);
	u32 tid = BPF_CORE_READ(task, pid);
	struct scope *scope = scope_of(tgid);
	struct process_exec_rec *rec;
	struct task_struct *parent;
	const struct cred *cred;
	unsigned long argv;
	struct scratch *s;
	struct file *exe;
	struct path path;
	u64 at, start; /* VERIFIER: 64 bits, so that a bound is known of the very register that is used */
	u32 total, bytes;
	u8 flags = 0;

	if (!scope)
		return;
	s = scratch();
	if (!s)
		return;

	rec = (void *)s->bytes;
	__builtin_memset(rec, 0, sizeof(*rec));
	fill_header(&rec->header, EV_PROCESS_EXEC, CLASS_PROCESS, 0, scope, tgid, tid);
	parent = BPF_CORE_READ(task, real_parent);
	rec->parent_tgid = BPF_CORE_READ(parent, tgid);
	rec->parent_start_ns = start_ns_of(parent);
	cred = BPF_CORE_READ(task, cred);
	rec->uid = BPF_CORE_READ(cred, uid.val);
	rec->gid = BPF_CORE_READ(cred, gid.val);
	rec->cgroup = bpf_get_current_cgroup_id();

	exe = BPF_CORE_READ(bprm, file);
	file_id_of(&rec->exe, BPF_CORE_READ(exe, f_inode));
	if (is_new_image(&rec->exe)) {
		flags |= REC_NEW_IMAGE;
		image_started(&rec->exe);
	}
	if (!BPF_CORE_READ(exe, f_inode, i_nlink))
		flags |= REC_DELETED;
	at = sizeof(*rec);
	path = BPF_CORE_READ(exe, f_path);
	at = path_append(at, &path, &flags);
	rec->exe_bytes = at - sizeof(*rec);

	start = at;
	path = BPF_CORE_READ(task, fs, pwd);
	at = path_append(at, &path, &flags);
	rec->cwd_bytes = at - start;

	rec->filename_bytes = append_string(s, at, BPF_CORE_READ(bprm, filename));
	at += rec->filename_bytes;
	rec->interp_bytes = append_string(s, at, BPF_CORE_READ(bprm, interp));
	at += rec->interp_bytes;

	argv = BPF_CORE_READ(task, mm, arg_start);
	total = BPF_CORE_READ(task, mm, arg_end) - argv;
	bytes = total > WIRE_ARGV_INLINE_BYTES ? WIRE_ARGV_INLINE_BYTES : total;
	barrier_var(bytes);
	if (bytes > WIRE_ARGV_INLINE_BYTES)
		bytes = WIRE_ARGV_INLINE_BYTES;
	barrier_var(at);
	if (at > sizeof(*rec) + 4 * WIRE_PATH_BYTES)
		return;
	if (bpf_probe_read_user(&s->bytes[at], bytes, (void *)argv)) {
		flags |= REC_ARGV_CUT;
		count_drop(CLASS_PROCESS, DROP_READ_FAULT);
		bytes = 0;
	} else if (total > bytes) {
		flags |= REC_MORE;
	}
	rec->argv_bytes = bytes;
	rec->argv_total_bytes = total;
	at += bytes;
	rec->header.flags = flags;
	rec->header.length = at;
	if (at > SCRATCH_BYTES)
		return;
	/* A program that is new to user space: it is to attach probes before the program gets far. */
	emit_process(rec, at, flags & REC_NEW_IMAGE ? BPF_RB_FORCE_WAKEUP : LAZY);
	if (flags & REC_MORE)
		emit_argv_rest(argv, bytes, total);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_sched_process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	program_begins();
	process_executed(task, bprm);
	program_ends();
	return 0;
}

/*
 * The tracepoint runs in do_exit() of every thread, after signal->live was decremented and before the
 * files are closed: the thread that finds it at zero is the last one. Its own times are not yet part
 * of the group's, nor are those of a leader that ended before it.
 */
static __always_inline void process_exited(struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	u32 tgid = BPF_CORE_READ(task, tgid);
	struct process_exit_rec rec = {};
	struct scope *scope;

	if (BPF_CORE_READ(signal, live.counter) != 0)
		return;
	scope = scope_of(tgid);
	if (!scope)
		return;

	fill_header(&rec.header, EV_PROCESS_EXIT, CLASS_PROCESS, sizeof(rec), scope, tgid,
		    BPF_CORE_READ(task, pid));
	if (BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT)
		rec.status = BPF_CORE_READ(signal, group_exit_code);
	else
		rec.status = BPF_CORE_READ(leader, exit_code);
	rec.user_ns = BPF_CORE_READ(signal, utime) + BPF_CORE_READ(task, utime);
	rec.system_ns = BPF_CORE_READ(signal, stime) + BPF_CORE_READ(task, stime);
	rec.storage_read_bytes = BPF_CORE_READ(signal, ioac.read_bytes);
	rec.storage_write_bytes = BPF_CORE_READ(signal, ioac.write_bytes);
	rec.storage_read_bytes += BPF_CORE_READ(task, ioac.read_bytes);
	rec.storage_write_bytes += BPF_CORE_READ(task, ioac.write_bytes);
	if (leader != task) {
		rec.user_ns += BPF_CORE_READ(leader, utime);
		rec.system_ns += BPF_CORE_READ(leader, stime);
	}
	rec.max_rss_pages = BPF_CORE_READ(signal, maxrss);
	emit_process(&rec, sizeof(rec), LAZY);
	bpf_map_delete_elem(&scopes, &tgid);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_sched_process_exit, struct task_struct *task)
{
	program_begins();
	process_exited(task);
	program_ends();
	return 0;
}

/*
 * All processes that run, for sessions that begin after them. /proc has their start times in clock ticks
 * only, which do not name a process.
 */
SEC("iter/task")
int process_iter_task(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct process_item item = {};
	struct task_struct *parent;

	if (!task || BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid))
		return 0;
	item.tgid = BPF_CORE_READ(task, tgid);
	item.start_ns = BPF_CORE_READ(task, start_boottime);
	parent = BPF_CORE_READ(task, real_parent);
	item.parent_tgid = BPF_CORE_READ(parent, tgid);
	item.parent_start_ns = start_ns_of(parent);
	bpf_seq_write(seq, &item, sizeof(item));
	return 0;
}
