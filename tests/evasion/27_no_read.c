/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Moves files' bytes without a read: sendfile, splice and tee to a socket, copy_file_range and a clone. */
#include "attacker.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>

int main(int argc, char **argv)
{
	int ends[2], first[2], second[2], to;

	begin(argc, argv);
	tcp_pair(ends);
	require(sendfile(ends[0], open("secret", O_RDONLY), NULL, 64) > 0, "sendfile");
	require(pipe(first) == 0 && pipe(second) == 0, "pipes");
	require(splice(open("secret1", O_RDONLY), NULL, first[1], NULL, 64, 0) > 0, "splice");
	require(tee(first[0], second[1], 64, 0) > 0, "tee");
	require(splice(second[0], NULL, ends[0], NULL, 64, 0) > 0, "splice to the socket");
	to = open("copied", O_CREAT | O_WRONLY, 0600);
	require(copy_file_range(open("secret2", O_RDONLY), NULL, to, NULL, 64, 0) > 0,
		"copy_file_range");
	/* Few file systems can, and what cannot is no attack. */
	ioctl(to, FICLONE, open("secret3", O_RDONLY));
	return 0;
}
