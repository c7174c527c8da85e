/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Names files and programs by way of /proc, so that no rule about names knows them. */
#include "attacker.h"

int main(int argc, char **argv)
{
	char path[2 * PATH_MAX], folder[PATH_MAX];
	pid_t child;
	int fd;

	begin(argc, argv);
	require(getcwd(folder, sizeof(folder)) != NULL, "folder");
	snprintf(path, sizeof(path), "/proc/self/root%s/secret", folder);
	require(open(path, O_RDONLY) >= 0, "open by the root");
	fd = open(".", O_PATH | O_DIRECTORY);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/secret1", fd);
	require(open(path, O_RDONLY) >= 0, "open by a descriptor");
	child = fork();
	if (!child) {
		snprintf(path, sizeof(path), "/proc/self/root%s", program("tool"));
		execl(path, path, NULL);
		_exit(1);
	}
	join(child);
	return 0;
}
