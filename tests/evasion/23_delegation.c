/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Has a daemon outside the tree act for it. */
#include "attacker.h"

int main(int argc, char **argv)
{
	char folder[PATH_MAX], line[PATH_MAX + 16], answer[8];
	int fd;

	begin(argc, argv);
	require(getcwd(folder, sizeof(folder)) != NULL, "folder");
	snprintf(line, sizeof(line), "make %s/by-daemon", folder);
	fd = ask_daemon(line);
	require(read(fd, answer, sizeof(answer)) > 0, "answer");
	require(access("by-daemon", F_OK) == 0, "the daemon's act");
	return 0;
}
