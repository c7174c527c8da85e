/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Reads files that it has never opened: one that came over a unix socket, one taken from another process. */
#include "attacker.h"

static int received(int from)
{
	char byte, control[CMSG_SPACE(sizeof(int))] = {};
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	int fd;

	require(recvmsg(from, &message, 0) == 1 && CMSG_FIRSTHDR(&message), "receive");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

int main(int argc, char **argv)
{
	char folder[PATH_MAX], line[PATH_MAX + 16], bytes[64];
	int fd, ends[2], pidfd;
	pid_t child;

	begin(argc, argv);
	require(getcwd(folder, sizeof(folder)) != NULL, "folder");
	snprintf(line, sizeof(line), "give %s/secret", folder);
	fd = received(ask_daemon(line));
	require(read(fd, bytes, sizeof(bytes)) > 0, "read");

	require(pipe(ends) == 0, "pipe");
	child = fork();
	if (!child) {
		require(dup2(open("secret1", O_RDONLY), 100) == 100, "open");
		require(write(ends[1], "x", 1) == 1, "say so");
		pause();
	}
	require(read(ends[0], bytes, 1) == 1, "wait");
	pidfd = syscall(SYS_pidfd_open, child, 0);
	fd = syscall(SYS_pidfd_getfd, pidfd, 100, 0);
	if (fd < 0) {
		kill(child, SIGKILL);
		cannot("pidfd_getfd");
	}
	require(read(fd, bytes, sizeof(bytes)) > 0, "read");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
