/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Copies a program to a harmless name and runs the copy. */
#include "attacker.h"
#include <sys/sendfile.h>

int main(int argc, char **argv)
{
	struct stat status;
	int from, to;
	pid_t child;

	begin(argc, argv);
	from = open(program("tool"), O_RDONLY);
	to = open("innocent", O_CREAT | O_WRONLY, 0700);
	require(from >= 0 && to >= 0 && fstat(from, &status) == 0, "files");
	require(sendfile(to, from, NULL, status.st_size) == status.st_size, "copy");
	close(to);
	child = fork();
	if (!child) {
		execl("./innocent", "innocent", NULL);
		_exit(1);
	}
	join(child);
	return 0;
}
