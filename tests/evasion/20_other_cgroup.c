/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Leaves its cgroup for one that it makes, by cgroup.procs and at birth (CLONE_INTO_CGROUP). */
#include "attacker.h"
#include <linux/sched.h>

static const char *const PLACES[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

static void move_to(const char *folder, const char *text)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
	fd = open(path, O_WRONLY);
	require(fd >= 0 && write(fd, text, strlen(text)) > 0, path);
	close(fd);
}

int main(int argc, char **argv)
{
	struct clone_args arguments = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD };
	char path[PATH_MAX], own[PATH_MAX] = {};
	unsigned place;
	pid_t child;

	begin(argc, argv);
	for (place = 0; place < 2; place++) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", PLACES[place]);
		if (!access(path, W_OK))
			break;
	}
	if (place == 2)
		cannot("no cgroup2 that may be written");
	snprintf(own, sizeof(own), "%s/evasion-%d", PLACES[place], getpid());
	if (mkdir(own, 0755))
		cannot(own);
	arguments.cgroup = open(own, O_PATH | O_DIRECTORY);
	child = syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (!child) {
		mark("born-elsewhere");
		_exit(0);
	}
	join(child);
	child = fork();
	if (!child) {
		move_to(own, "0");
		mark("moved-elsewhere");
		_exit(0);
	}
	join(child);
	require(rmdir(own) == 0, "remove the cgroup");
	return 0;
}
