/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Takes the switch of the kernel's tracing into its hand. Writes what it says already: nothing changes. */
#include "attacker.h"

int main(int argc, char **argv)
{
	const char *path = "/sys/kernel/tracing/tracing_on";
	char state;
	int fd;

	begin(argc, argv);
	fd = open(path, O_RDWR);
	if (fd < 0)
		cannot(path);
	require(pread(fd, &state, 1, 0) == 1 && pwrite(fd, &state, 1, 0) == 1, path);
	return 0;
}
