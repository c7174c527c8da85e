/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Does nothing: no row's check may hold for it. */
#include "attacker.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	return 0;
}
