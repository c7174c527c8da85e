/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Runs before it is watched, with a child; acts when the file `go` is there, by which time both are. */
#include "attacker.h"

static void wait_for(const char *name)
{
	while (access(name, F_OK))
		usleep(10000);
}

int main(int argc, char **argv)
{
	pid_t child;

	begin(argc, argv);
	child = fork();
	if (!child) {
		wait_for("go");
		mark("by-child");
		_exit(0);
	}
	mark("ready");
	wait_for("go");
	mark("by-parent");
	join(child);
	return 0;
}
