/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Floods the ring of acts, with signals to itself, while another process does one forbidden thing. */
#include "attacker.h"
#include <signal.h>

#define FLOODERS 3
#define FLOOD_MS 2000

static void flood(void)
{
	for (;;)
		kill(getpid(), SIGWINCH);
}

int main(int argc, char **argv)
{
	pid_t children[FLOODERS], forbidden;
	int i;

	begin(argc, argv);
	for (i = 0; i < FLOODERS; i++) {
		children[i] = fork();
		if (!children[i])
			flood();
	}
	usleep(FLOOD_MS * 1000 / 2);
	forbidden = fork();
	if (!forbidden) {
		require(syscall(SYS_bpf, 99, NULL, 0) < 0 && link("secret", "taken") == 0,
			"the act");
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
