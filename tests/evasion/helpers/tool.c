/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A program that others run. It is linked dynamically, so that a loader and preloaded objects have their say. */
#include "../attacker.h"

int main(int argc, char **argv)
{
	if (argc > 1)
		mark(argv[1]);
	return 0;
}
