/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Changes the record that the monitor writes: one byte in the middle of each segment in `../store`. */
#include "attacker.h"
#include <ftw.h>

static int changed;

static int change(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	char byte = 0;
	int fd;

	(void)where;
	if (kind != FTW_F || !strstr(path, ".seg") || status->st_size < 64)
		return 0;
	fd = open(path, O_RDWR);
	require(fd >= 0 && pread(fd, &byte, 1, status->st_size / 2) == 1, path);
	byte ^= 1;
	require(pwrite(fd, &byte, 1, status->st_size / 2) == 1, path);
	changed++;
	return 0;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	mark("before");
	/* By then something is written. */
	usleep(1500000);
	nftw("../store", change, 8, FTW_PHYS);
	require(changed > 0, "a segment");
	return 0;
}
