/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the attackers share. Each is run as `NN_name FOLDER`; FOLDER holds the files `secret` and `secret1` to
 * `secret4`, which nobody of the tree has opened; two folders up is the socket `daemon` of a process outside
 * the tree (helpers/daemon.c). An attacker acts in its folder, on loopback and on its own children only.
 *
 * Exit codes: 0 the act is done; 77 this machine does not let it be done, and standard error says why;
 * anything else is a broken attacker.
 */
#ifndef ATTACKER_H
#define ATTACKER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CANNOT 77
#define TIME_LIMIT_S 30
#define BUFFER 4096

static char own_folder[PATH_MAX]; /* of the programs */

__attribute__((unused)) static void cannot(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(CANNOT);
}

__attribute__((unused)) static void require(bool is_so, const char *what)
{
	if (!is_so) {
		fprintf(stderr, "failed: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

/* Goes to the folder that the attacker was given. */
__attribute__((unused)) static void begin(int argc, char **argv)
{
	ssize_t length = readlink("/proc/self/exe", own_folder, sizeof(own_folder) - 1);

	require(argc >= 2, "usage: attacker FOLDER");
	require(length > 0, "the own name");
	own_folder[length] = 0;
	*strrchr(own_folder, '/') = 0;
	require(chdir(argv[1]) == 0, "the folder");
	alarm(TIME_LIMIT_S);
}

/* The path of another program of the suite; the last eight are kept. */
__attribute__((unused)) static const char *program(const char *name)
{
	static char paths[8][PATH_MAX + 64];
	static int next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", own_folder, name);
	return path;
}

/* Makes an empty file: the trace by which an attacker shows that it is there. */
__attribute__((unused)) static void mark(const char *name)
{
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);

	require(fd >= 0, name);
	close(fd);
}

__attribute__((unused)) static void join(pid_t child)
{
	int status = 0;

	require(child > 0, "child");
	require(waitpid(child, &status, 0) == child, "wait");
	if (!WIFEXITED(status))
		exit(1);
	if (WEXITSTATUS(status))
		exit(WEXITSTATUS(status));
}

/* A socket that listens at a port of its own on loopback. */
__attribute__((unused)) static int listener(struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t length = sizeof(*address);

	memset(address, 0, sizeof(*address));
	address->sin_family = AF_INET;
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	require(fd >= 0 && bind(fd, (void *)address, length) == 0 && listen(fd, 8) == 0, "listen");
	require(getsockname(fd, (void *)address, &length) == 0, "port");
	return fd;
}

/* A connected pair of TCP sockets. */
__attribute__((unused)) static void tcp_pair(int ends[2])
{
	struct sockaddr_in address;
	int listening = listener(&address);

	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	require(ends[0] >= 0 && connect(ends[0], (void *)&address, sizeof(address)) == 0,
		"connect");
	ends[1] = accept(listening, NULL, NULL);
	require(ends[1] >= 0, "accept");
	close(listening);
}

/* A connection to the daemon outside the tree, which is told what to do. */
__attribute__((unused)) static int ask_daemon(const char *what)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "../../daemon" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	require(fd >= 0, "socket");
	if (connect(fd, (void *)&address, sizeof(address)))
		cannot("no daemon");
	require(write(fd, what, strlen(what)) == (ssize_t)strlen(what), "asking");
	return fd;
}

#endif
