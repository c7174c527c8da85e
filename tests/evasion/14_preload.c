/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Puts an object of its own in front of a program's libraries. */
#include "attacker.h"

int main(int argc, char **argv)
{
	char preload[PATH_MAX + 80];
	pid_t child;

	begin(argc, argv);
	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", program("preloaded.so"));
	child = fork();
	if (!child) {
		char *environment[] = { preload, NULL };

		execle(program("tool"), "tool", NULL, environment);
		_exit(1);
	}
	join(child);
	require(access("preloaded", F_OK) == 0, "preloading");
	return 0;
}
