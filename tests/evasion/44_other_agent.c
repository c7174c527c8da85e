/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Has another vendor's agent do what its own hooks forbid: a program by the name of `codex`. */
#include "attacker.h"

int main(int argc, char **argv)
{
	pid_t child;

	begin(argc, argv);
	require(symlink(program("tool"), "codex") == 0, "link");
	child = fork();
	if (!child) {
		execl("./codex", "codex", "by-other-agent", NULL);
		_exit(1);
	}
	join(child);
	return 0;
}
