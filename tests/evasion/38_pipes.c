/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Hands what it has read through a pipe to a process that knows no file, and reads another's environment. */
#include "attacker.h"

int main(int argc, char **argv)
{
	char bytes[64], path[64];
	pid_t reader, child;
	int ends[2], sockets[2], hold[2];

	begin(argc, argv);
	tcp_pair(sockets);
	require(pipe(ends) == 0 && pipe(hold) == 0, "pipes");
	reader = fork();
	if (!reader) {
		ssize_t got = read(ends[0], bytes, sizeof(bytes));

		require(got > 0 && write(sockets[0], bytes, got) == got, "send");
		_exit(0);
	}
	child = fork();
	if (!child) {
		ssize_t got = read(open("secret", O_RDONLY), bytes, sizeof(bytes));

		require(got > 0 && write(ends[1], bytes, got) == got, "hand on");
		read(hold[0], bytes, 1);
		_exit(0);
	}
	join(reader);
	snprintf(path, sizeof(path), "/proc/%d/environ", child);
	require(read(open(path, O_RDONLY), bytes, sizeof(bytes)) >= 0, path);
	require(write(hold[1], "x", 1) == 1, "let go");
	join(child);
	return 0;
}
