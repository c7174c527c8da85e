/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Floods the monitor with files while another process does one forbidden thing. */
#include "attacker.h"
#include <signal.h>

#define FLOODERS 3
#define FLOOD_MS 2000
#define FILES 50 /* of each: the record of a session is not what is to be flooded */

static void flood(int number)
{
	char name[64];
	int i;

	for (i = 0;; i++) {
		int fd;

		snprintf(name, sizeof(name), "flood-%d-%d", number, i % FILES);
		fd = open(name, O_CREAT | O_WRONLY, 0600);
		if (write(fd, "x", 1) != 1)
			_exit(1);
		close(fd);
		unlink(name);
	}
}

int main(int argc, char **argv)
{
	pid_t children[FLOODERS], forbidden;
	int i;

	begin(argc, argv);
	for (i = 0; i < FLOODERS; i++) {
		children[i] = fork();
		if (!children[i])
			flood(i);
	}
	usleep(FLOOD_MS * 1000 / 2);
	forbidden = fork();
	if (!forbidden) {
		require(chmod("secret", 0777) == 0 && link("secret", "taken") == 0, "the act");
		_exit(0);
	}
	join(forbidden);
	usleep(FLOOD_MS * 1000 / 2);
	for (i = 0; i < FLOODERS; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	return 0;
}
