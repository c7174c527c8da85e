/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Changes whom it acts as, long after its program began: by setresuid, or by a user namespace. */
#include "attacker.h"

#define NOBODY 65534

int main(int argc, char **argv)
{
	pid_t child;

	begin(argc, argv);
	child = fork();
	if (!child) {
		if (syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) ||
		    syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY))
			cannot("setresuid");
		_exit(0);
	}
	join(child);
	child = fork();
	if (!child) {
		if (unshare(CLONE_NEWUSER))
			cannot("unshare");
		mark("by-other-user");
		_exit(0);
	}
	join(child);
	return 0;
}
