/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A daemon outside the tree, as docker, dbus or a terminal multiplexer is one: does what it is asked for.
 * usage: daemon SOCKET. Takes `make PATH`, which makes a file, and `give PATH`, which sends an open one.
 */
#include "../attacker.h"

#define LIFE_S 600

static void give(int to, const char *path)
{
	int fd = open(path, O_RDONLY);
	char byte = 'x', control[CMSG_SPACE(sizeof(fd))] = {};
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	sendmsg(to, &message, 0);
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	require(argc == 2 && strlen(argv[1]) < sizeof(address.sun_path), "usage: daemon SOCKET");
	strcpy(address.sun_path, argv[1]);
	require(bind(fd, (void *)&address, sizeof(address)) == 0 && listen(fd, 8) == 0, "listen");
	alarm(LIFE_S);
	for (;;) {
		int client = accept(fd, NULL, NULL);
		char line[BUFFER] = {};
		ssize_t length = read(client, line, sizeof(line) - 1);

		if (length > 5 && !strncmp(line, "make ", 5))
			close(open(line + 5, O_CREAT | O_WRONLY, 0600));
		if (length > 5 && !strncmp(line, "give ", 5))
			give(client, line + 5);
		/* An answer also says that it is done. */
		if (write(client, "ok", 2) < 0)
			perror("answer");
		close(client);
	}
}
