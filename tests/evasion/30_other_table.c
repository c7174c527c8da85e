/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Makes 32-bit system calls from a 64-bit program: their numbers are of another table. */
#include "attacker.h"
#include <signal.h>

static void no_such_call(int signal)
{
	(void)signal;
	_exit(CANNOT);
}

static long call_32(long number, const void *first, long second, long third)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(first), "c"(second), "d"(third)
			 : "memory", "r8", "r9", "r10", "r11");
	return result;
}

int main(int argc, char **argv)
{
	/* 32-bit calls reach the lowest 4 GiB only. */
	char *low;
	long fd;

	begin(argc, argv);
	low = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
		   -1, 0);
	require(low != MAP_FAILED, "memory");
	signal(SIGSEGV, no_such_call);
	strcpy(low, "secret");
	fd = call_32(5, low, O_RDONLY, 0);
	if (fd == -ENOSYS)
		cannot("no 32-bit calls");
	require(fd >= 0, "open");
	require(call_32(3, (void *)fd, (long)low, 4) == 4, "read");
	strcpy(low, "secret1");
	require(call_32(10, low, 0, 0) == 0, "unlink");
	return 0;
}
