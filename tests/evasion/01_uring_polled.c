/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The same with a thread of the kernel that takes requests up (SQPOLL): not even io_uring_enter is called. */
#include "uring.h"

int main(int argc, char **argv)
{
	struct ring ring;
	int fd;

	begin(argc, argv);
	open_ring(&ring, IORING_SETUP_SQPOLL);
	fd = request(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_OPENAT,
						   .fd = AT_FDCWD,
						   .addr = (uintptr_t)"secret",
						   .open_flags = O_RDONLY });
	require(fd >= 0, "open");
	return 0;
}
