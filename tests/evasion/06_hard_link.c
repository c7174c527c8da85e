/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Gives a file a second, harmless name and reads it by that. */
#include "attacker.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	require(link("secret", "harmless") == 0, "link");
	require(open("harmless", O_RDONLY) >= 0, "open");
	return 0;
}
