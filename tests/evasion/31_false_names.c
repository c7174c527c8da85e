/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Calls itself something else: by prctl, by the first argument, and by writing over its arguments. */
#include "attacker.h"

int main(int argc, char **argv)
{
	pid_t child;

	begin(argc, argv);
	prctl(PR_SET_NAME, "innocent");
	memset(argv[0], 'i', strlen(argv[0]));
	mark("by-renamed");
	child = fork();
	if (!child) {
		execl(program("tool"), "innocent", NULL);
		_exit(1);
	}
	join(child);
	return 0;
}
