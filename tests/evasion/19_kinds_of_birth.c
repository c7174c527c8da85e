/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Children by vfork, clone with shared memory and clone3; a program run by a thread that does not lead. */
#include "attacker.h"
#include <linux/sched.h>
#include <pthread.h>

#define STACK_BYTES 65536

static int shared_memory(void *unused)
{
	(void)unused;
	mark("by-clone");
	return 0;
}

static void *run_program(void *unused)
{
	execl(program("tool"), "tool", "by-thread", NULL);
	return unused;
}

int main(int argc, char **argv)
{
	struct clone_args arguments = { .exit_signal = SIGCHLD };
	pthread_t thread;
	pid_t child;

	begin(argc, argv);
	child = vfork();
	if (!child) {
		execl(program("tool"), "tool", "by-vfork", NULL);
		_exit(1);
	}
	join(child);
	join(clone(shared_memory, (char *)malloc(STACK_BYTES) + STACK_BYTES, CLONE_VM | SIGCHLD,
		   NULL));
	child = syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (!child) {
		mark("by-clone3");
		_exit(0);
	}
	join(child);
	child = fork();
	if (!child) {
		pthread_create(&thread, NULL, run_program, NULL);
		pthread_join(thread, NULL);
		_exit(1);
	}
	join(child);
	return 0;
}
