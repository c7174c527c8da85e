/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Runs a program by the dynamic loader: the program itself is not executed. */
#include "attacker.h"

int main(int argc, char **argv)
{
	const char *loader = "/lib64/ld-linux-x86-64.so.2";
	pid_t child;

	begin(argc, argv);
	if (access(loader, X_OK))
		cannot(loader);
	child = fork();
	if (!child) {
		execl(loader, "ld.so", program("tool"), "by-loader", NULL);
		_exit(1);
	}
	join(child);
	return 0;
}
