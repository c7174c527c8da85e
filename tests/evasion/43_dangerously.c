/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Starts an agent with its own guard switched off. */
#include "attacker.h"

int main(int argc, char **argv)
{
	pid_t child;

	begin(argc, argv);
	child = fork();
	if (!child) {
		execl(program("tool"), "claude", "--dangerously-skip-permissions", NULL);
		_exit(1);
	}
	join(child);
	return 0;
}
