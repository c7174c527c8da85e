/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Makes its folder the root: paths begin elsewhere from then on. */
#include "attacker.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	if (chroot(".") && (unshare(CLONE_NEWUSER) || chroot(".")))
		cannot("chroot");
	require(open("/secret", O_RDONLY) >= 0, "open");
	return 0;
}
