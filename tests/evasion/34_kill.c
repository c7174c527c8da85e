/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Ends the monitor that has started it, and acts then. */
#include "attacker.h"
#include <signal.h>

int main(int argc, char **argv)
{
	char path[64], comm[32] = {};
	pid_t monitor = getppid();
	int fd;

	begin(argc, argv);
	snprintf(path, sizeof(path), "/proc/%d/comm", monitor);
	fd = open(path, O_RDONLY);
	require(fd >= 0 && read(fd, comm, sizeof(comm) - 1) > 0, path);
	/* Nobody else's process: only one that calls itself so is ended. */
	if (strncmp(comm, "agentsight", 10))
		cannot("the parent is no monitor");
	mark("before");
	/* What was done before is written within a second. */
	usleep(1500000);
	require(kill(monitor, SIGSTOP) == 0 && kill(monitor, SIGKILL) == 0, "kill");
	mark("after");
	return 0;
}
