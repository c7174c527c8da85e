/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Runs a program that is in no folder: one of memory, and one that has been removed. */
#include "attacker.h"
#include <sys/sendfile.h>

static void copy_to(int to)
{
	int from = open(program("tool"), O_RDONLY);
	struct stat status;

	require(from >= 0 && to >= 0 && fstat(from, &status) == 0, "files");
	require(sendfile(to, from, NULL, status.st_size) == status.st_size, "copy");
	close(from);
}

static void run(int fd, char *mark)
{
	char *arguments[] = { "innocent", mark, NULL };
	pid_t child = fork();

	if (!child) {
		syscall(SYS_execveat, fd, "", arguments, environ, AT_EMPTY_PATH);
		_exit(1);
	}
	join(child);
}

int main(int argc, char **argv)
{
	int fd, writer;

	begin(argc, argv);
	fd = memfd_create("hidden", 0);
	copy_to(fd);
	run(fd, "by-memory");
	writer = open("removed", O_CREAT | O_WRONLY, 0700);
	copy_to(writer);
	close(writer);
	fd = open("removed", O_RDONLY);
	require(fd >= 0 && unlink("removed") == 0, "remove");
	run(fd, "by-removed");
	return 0;
}
