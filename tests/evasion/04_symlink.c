/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Reads a file by a symbolic link with a harmless name. */
#include "attacker.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	require(symlink("secret", "harmless") == 0, "link");
	require(open("harmless", O_RDONLY) >= 0, "open");
	return 0;
}
