/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Where a probed function keeps what is of interest: struct tls_operand, evaluated at entry as far as it can be,
 * and at return. The only file that knows registers and calling conventions.
 */
#ifndef AGENTSIGHT_OPERANDS_H
#define AGENTSIGHT_OPERANDS_H

#include "tls.h"

static __always_inline u64 load(u64 address, s32 offset)
{
	u64 value = 0;

	bpf_probe_read_user(&value, sizeof(value), (void *)address + offset);
	return value;
}

static __always_inline u64 c_argument(struct pt_regs *regs, u8 index)
{
	switch (index) {
	case 0:
		return PT_REGS_PARM1_CORE(regs);
	case 1:
		return PT_REGS_PARM2_CORE(regs);
	case 2:
		return PT_REGS_PARM3_CORE(regs);
	case 3:
		return PT_REGS_PARM4_CORE(regs);
	case 4:
		return PT_REGS_PARM5_CORE(regs);
#if defined(__TARGET_ARCH_x86)
	case 5:
		return PT_REGS_PARM6_CORE(regs);
	default: /* behind the return address */
		return load(PT_REGS_SP_CORE(regs), 8 + 8 * (index - 6));
#elif defined(__TARGET_ARCH_arm64)
	case 5:
	case 6:
	case 7:
		return BPF_CORE_READ((struct user_pt_regs *)regs, regs[index & 7]);
	default:
		return load(PT_REGS_SP_CORE(regs), 8 * (index - 8));
#endif
	}
}

/* ABIInternal of Go: cmd/compile/abi-internal.md */
static __always_inline u64 go_register(struct pt_regs *regs, u8 index)
{
#if defined(__TARGET_ARCH_x86)
	switch (index) {
	case 0:
		return BPF_CORE_READ(regs, ax);
	case 1:
		return BPF_CORE_READ(regs, bx);
	case 2:
		return BPF_CORE_READ(regs, cx);
	case 3:
		return BPF_CORE_READ(regs, di);
	case 4:
		return BPF_CORE_READ(regs, si);
	default:
		return 0;
	}
#elif defined(__TARGET_ARCH_arm64)
	return BPF_CORE_READ((struct user_pt_regs *)regs, regs[index & 15]);
#endif
}

static __always_inline u64 goroutine(struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	return BPF_CORE_READ(regs, r14);
#elif defined(__TARGET_ARCH_arm64)
	return BPF_CORE_READ((struct user_pt_regs *)regs, regs[28]);
#endif
}

/* Takes the object that the thread's last HOOK_OWNER call named; if there is none, the thread stands for it. */
static __always_inline u64 take_owner(void)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tid = (u32)pid_tgid;
	struct tls_thread *thread = bpf_map_lookup_elem(&tls_threads, &tid);
	u64 owner;

	if (!thread || thread->tgid != pid_tgid >> 32 || !thread->owner)
		return tid;
	owner = thread->owner;
	thread->owner = 0;
	return owner;
}

/* What of an operand is there at entry: its base, and the loads that are not late. */
static __always_inline u64 evaluate_early(struct pt_regs *regs, const struct tls_operand *operand)
{
	u64 value;

	switch (operand->base) {
	case BASE_ARGUMENT:
		value = c_argument(regs, operand->index);
		break;
	case BASE_GO_ARGUMENT:
		value = go_register(regs, operand->index);
		break;
	case BASE_GOROUTINE:
		value = goroutine(regs);
		break;
	case BASE_THREAD:
		value = (u32)bpf_get_current_pid_tgid();
		break;
	case BASE_STACK:
		value = PT_REGS_SP_CORE(regs);
		break;
	case BASE_OWNER:
		value = take_owner();
		break;
	default:
		return 0;
	}
	if (operand->loads >= 1 && operand->late_loads < operand->loads)
		value = load(value, operand->offsets[0]);
	if (operand->loads >= 2 && operand->late_loads == 0)
		value = load(value, operand->offsets[1]);
	return value;
}

/* The rest of it, at return. */
static __always_inline u64 evaluate_late(struct pt_regs *regs, const struct tls_operand *operand,
					 u64 early)
{
	u64 value = early;
	bool all = false;

	if (operand->base == BASE_RETURN) {
		value = PT_REGS_RC_CORE(regs);
		all = true;
	} else if (operand->base == BASE_GO_RESULT) {
		value = go_register(regs, operand->index);
		all = true;
	}
	if (operand->loads >= 1 && (all || operand->late_loads == operand->loads))
		value = load(value, operand->offsets[0]);
	if (operand->loads >= 2 && (all || operand->late_loads))
		value = load(value, operand->offsets[1]);
	return value;
}

#endif
