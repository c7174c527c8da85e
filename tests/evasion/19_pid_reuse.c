/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Two children, one after the other, with one pid. */
#include "attacker.h"
#include <linux/sched.h>

static pid_t with_pid(pid_t pid)
{
	struct clone_args arguments = { .exit_signal = SIGCHLD,
					.set_tid = (uintptr_t)&pid,
					.set_tid_size = 1 };

	return syscall(SYS_clone3, &arguments, sizeof(arguments));
}

int main(int argc, char **argv)
{
	pid_t first, second;

	begin(argc, argv);
	first = fork();
	if (!first) {
		mark("by-first");
		_exit(0);
	}
	join(first);
	second = with_pid(first);
	if (second < 0)
		cannot("clone3 with a pid of one's own");
	if (!second) {
		mark("by-second");
		_exit(0);
	}
	join(second);
	return 0;
}
