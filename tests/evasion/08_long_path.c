/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Hides a file below names longer than a path may be, and behind names with a line's end and no UTF-8. */
#include "attacker.h"

#define LEVELS 30

int main(int argc, char **argv)
{
	char name[201] = {};
	int folder, level;

	begin(argc, argv);
	memset(name, 'd', sizeof(name) - 1);
	folder = open(".", O_PATH | O_DIRECTORY);
	for (level = 0; level < LEVELS; level++) {
		int below;

		require(mkdirat(folder, name, 0700) == 0, "folder");
		below = openat(folder, name, O_PATH | O_DIRECTORY);
		require(below >= 0, "folder");
		close(folder);
		folder = below;
	}
	require(openat(folder, "deep", O_CREAT | O_WRONLY, 0600) >= 0, "deep file");
	mark("two\nlines\xff");
	return 0;
}
