/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Acts as the first process of a pid namespace of its own, where its number is another one. */
#include "attacker.h"

int main(int argc, char **argv)
{
	pid_t child;

	begin(argc, argv);
	/* Without privileges it takes a user namespace. */
	if (unshare(CLONE_NEWPID) && unshare(CLONE_NEWUSER | CLONE_NEWPID))
		cannot("unshare");
	child = fork();
	if (!child) {
		require(getpid() == 1, "a number of its own");
		mark("by-first-process");
		if (!fork()) {
			mark("by-second-process");
			_exit(0);
		}
		wait(NULL);
		_exit(0);
	}
	join(child);
	return 0;
}
