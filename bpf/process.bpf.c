// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Processes: fork, exec, exit. The label of a watched tree is handed on here, at fork, in the kernel,
 * before the child runs: whatever happens later to parents, sessions or names does not matter.
 */
#include "path.h"
#include "scope.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SIGNAL_GROUP_EXIT 0x4 /* include/linux/sched/signal.h */
#define ARGV_CHUNKS 384 /* of WIRE_ARGV_CHUNK_BYTES: 6 MiB, the kernel's own limit */
#define ARGV_CHUNKS_UNROLLED 8 /* without bpf_loop */

static __always_inline void emit_process(void *record, u32 length, u64 wakeup)
{
	if (bpf_ringbuf_output(&process_ring, record, length, wakeup))
		count_refused(CLASS_PROCESS);
}

#define LAZY lazy_wakeup(&process_ring, 8 * 1024 * 1024)

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	u32 tgid = BPF_CORE_READ(parent, tgid);
	u32 child_tgid = BPF_CORE_READ(child, tgid);
	struct process_fork_rec rec = {};
	struct scope inherited = {};
	struct scope *scope;

	if (tgid == child_tgid)
		return 0; /* a thread */
	scope = scope_of(tgid);
	if (!scope)
		return 0;

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
	return 0;
}

struct argv_rest {
	struct scope scope;
	unsigned long argv; /* in the process's memory */
	u32 from; /* bytes that the exec record carried */
	u32 total;
	u32 tgid;
	u32 tid;
};

/* Sends one more chunk of the argument vector. */
static long argv_chunk(u32 index, struct argv_rest *rest)
{
	u32 offset = rest->from + index * WIRE_ARGV_CHUNK_BYTES;
	struct scratch *s = scratch();
	struct process_argv_rec *rec;
	u32 bytes;

	if (!s || offset >= rest->total)
		return 1;
	bytes = rest->total - offset;
	if (bytes > WIRE_ARGV_CHUNK_BYTES)
		bytes = WIRE_ARGV_CHUNK_BYTES;
	barrier_var(bytes);
	if (bytes > WIRE_ARGV_CHUNK_BYTES)
		return 1;
	rec = (void *)s->bytes;
	if (bpf_probe_read_user(&s->bytes[sizeof(*rec)], bytes, (void *)rest->argv + offset)) {
		count_drop(CLASS_PROCESS, DROP_READ_FAULT);
		return 1;
	}
	fill_header(&rec->header, EV_PROCESS_ARGV, CLASS_PROCESS, sizeof(*rec) + bytes,
		    &rest->scope, rest->tgid, rest->tid);
	rec->offset = offset;
	rec->bytes = bytes;
	emit_process(rec, sizeof(*rec) + bytes, LAZY);
	return 0;
}

/* Sends what of the argument vector did not fit into the exec record. */
static __always_inline void emit_argv_rest(struct argv_rest *rest)
{
	u32 chunks = has_bpf_loop ? ARGV_CHUNKS : ARGV_CHUNKS_UNROLLED;
	int i;

	if (has_bpf_loop)
		bpf_loop(ARGV_CHUNKS, argv_chunk, rest, 0);
	else
		for (i = 0; i < ARGV_CHUNKS_UNROLLED; i++)
			if (argv_chunk(i, rest))
				return;
	if (rest->total - rest->from > chunks * WIRE_ARGV_CHUNK_BYTES)
		count_drop(CLASS_PROCESS, DROP_TOO_LONG);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_sched_process_exec, struct task_struct *task, int old_pid,
	     struct linux_binprm *bprm)
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
	u32 at, start, total, bytes;
	long n;
	u8 flags = 0;

	if (!scope)
		return 0;
	s = scratch();
	if (!s)
		return 0;

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
	if (is_new_image(&rec->exe))
		flags |= REC_NEW_IMAGE;
	at = sizeof(*rec);
	path = BPF_CORE_READ(exe, f_path);
	at = path_append(at, &path, &flags);
	rec->exe_bytes = at - sizeof(*rec);

	start = at;
	path = BPF_CORE_READ(task, fs, pwd);
	at = path_append(at, &path, &flags);
	rec->cwd_bytes = at - start;

	/* VERIFIER: the two paths take at most 2 * WIRE_PATH_BYTES, so all of this fits into the scratch. */
	if (at > sizeof(*rec) + 2 * WIRE_PATH_BYTES)
		return 0;
	n = bpf_probe_read_kernel_str(&s->bytes[at], WIRE_PATH_BYTES,
				      BPF_CORE_READ(bprm, filename));
	if (n > 0 && n <= WIRE_PATH_BYTES) {
		rec->filename_bytes = n;
		at += n;
	}
	n = bpf_probe_read_kernel_str(&s->bytes[at], WIRE_PATH_BYTES, BPF_CORE_READ(bprm, interp));
	if (n > 0 && n <= WIRE_PATH_BYTES) {
		rec->interp_bytes = n;
		at += n;
	}

	argv = BPF_CORE_READ(task, mm, arg_start);
	total = BPF_CORE_READ(task, mm, arg_end) - argv;
	bytes = total > WIRE_ARGV_INLINE_BYTES ? WIRE_ARGV_INLINE_BYTES : total;
	barrier_var(bytes);
	if (bytes > WIRE_ARGV_INLINE_BYTES)
		bytes = WIRE_ARGV_INLINE_BYTES;
	if (at > sizeof(*rec) + 4 * WIRE_PATH_BYTES)
		return 0;
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
		return 0;
	/* A program that is new to user space: it is to attach probes before the program gets far. */
	emit_process(rec, at, flags & REC_NEW_IMAGE ? BPF_RB_FORCE_WAKEUP : LAZY);
	if (flags & REC_MORE) {
		struct argv_rest rest = {
			.scope = *scope,
			.argv = argv,
			.from = bytes,
			.total = total,
			.tgid = tgid,
			.tid = tid,
		};

		emit_argv_rest(&rest);
	}
	return 0;
}

/*
 * The tracepoint runs in do_exit() of every thread, after signal->live was decremented and before the
 * files are closed: the thread that finds it at zero is the last one. Its own times are not yet part
 * of the group's, nor are those of a leader that ended before it.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_sched_process_exit, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	u32 tgid = BPF_CORE_READ(task, tgid);
	struct process_exit_rec rec = {};
	struct scope *scope;

	if (BPF_CORE_READ(signal, live.counter) != 0)
		return 0;
	scope = scope_of(tgid);
	if (!scope)
		return 0;

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
