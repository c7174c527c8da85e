/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Writes a script and runs it by its first line, and a command by a shell's argument. */
#include "attacker.h"

int main(int argc, char **argv)
{
	const char text[] = "#!/bin/sh\n: > by-script\n";
	pid_t child;
	int fd;

	begin(argc, argv);
	fd = open("script", O_CREAT | O_WRONLY, 0700);
	require(fd >= 0 && write(fd, text, sizeof(text) - 1) > 0 && close(fd) == 0, "script");
	child = fork();
	if (!child) {
		execl("./script", "innocent", NULL);
		_exit(1);
	}
	join(child);
	child = fork();
	if (!child) {
		execl("/bin/sh", "sh", "-c", ": > by-argument", NULL);
		_exit(1);
	}
	join(child);
	return 0;
}
