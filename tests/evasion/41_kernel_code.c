/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Tries to load code into the kernel: text that is no module, which the kernel refuses. */
#include "attacker.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	require(syscall(SYS_finit_module, open("secret", O_RDONLY), "", 0) < 0, "refused");
	require(syscall(SYS_init_module, "no module", 9, "") < 0, "refused");
	require(syscall(SYS_kexec_file_load, -1, -1, 0, "", 0) < 0, "refused");
	return 0;
}
