/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Opens, reads, renames and removes files by io_uring: no system call names them. */
#include "uring.h"

int main(int argc, char **argv)
{
	struct ring ring;
	char bytes[64];
	int fd;

	begin(argc, argv);
	open_ring(&ring, 0);
	fd = request(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_OPENAT,
						   .fd = AT_FDCWD,
						   .addr = (uintptr_t)"secret",
						   .open_flags = O_RDONLY });
	require(fd >= 0, "open");
	require(request(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_READ,
						      .fd = fd,
						      .addr = (uintptr_t)bytes,
						      .len = sizeof(bytes) }) > 0,
		"read");
	/* 5.11 brought these two. */
	request(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_RENAMEAT,
					      .fd = AT_FDCWD,
					      .addr = (uintptr_t)"secret1",
					      .len = AT_FDCWD,
					      .addr2 = (uintptr_t)"renamed" });
	request(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_UNLINKAT,
					      .fd = AT_FDCWD,
					      .addr = (uintptr_t)"secret2" });
	return 0;
}
