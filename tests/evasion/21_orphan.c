/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A grandchild in a session of its own, whose parents are gone when it acts. */
#include "attacker.h"

int main(int argc, char **argv)
{
	pid_t child;

	begin(argc, argv);
	child = fork();
	if (!child) {
		setsid();
		if (fork())
			_exit(0);
		while (getppid() == child)
			usleep(1000);
		usleep(100000);
		mark("by-orphan");
		_exit(0);
	}
	join(child);
	/* Nobody waits for an orphan: it is given the time that it needs. */
	while (access("by-orphan", F_OK))
		usleep(10000);
	return 0;
}
