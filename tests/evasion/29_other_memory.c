/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Reaches into a child: by ptrace, by process_vm_writev and by its memory's file. */
#include "attacker.h"
#include <sys/ptrace.h>
#include <sys/uio.h>

static volatile char target[16] = "untouched";

int main(int argc, char **argv)
{
	struct iovec from = { "by-vm", 6 }, to = { (void *)target, 6 };
	char path[64];
	pid_t child;
	int fd;

	begin(argc, argv);
	child = fork();
	if (!child)
		for (;;)
			pause();
	if (process_vm_writev(child, &from, 1, &to, 1, 0) != 6)
		cannot("process_vm_writev");
	snprintf(path, sizeof(path), "/proc/%d/mem", child);
	fd = open(path, O_RDWR);
	require(fd >= 0 && pwrite(fd, "by-file", 8, (uintptr_t)target) == 8, "its memory");
	require(ptrace(PTRACE_ATTACH, child, NULL, NULL) == 0, "ptrace");
	waitpid(child, NULL, 0);
	require(ptrace(PTRACE_POKEDATA, child, (void *)target, (void *)0x41414141) == 0, "poke");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
