/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Changes a file by memory, without a write. */
#include "attacker.h"

int main(int argc, char **argv)
{
	char *memory;
	int fd;

	begin(argc, argv);
	fd = open("secret", O_RDWR);
	memory = mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	require(memory != MAP_FAILED, "map");
	memory[0] = 'X';
	return 0;
}
