/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Connects and sends by io_uring. */
#include "uring.h"

int main(int argc, char **argv)
{
	struct sockaddr_in address;
	struct ring ring;
	int listening, fd, accepted;
	char bytes[16];

	begin(argc, argv);
	listening = listener(&address);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	open_ring(&ring, 0);
	require(request(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_CONNECT,
						      .fd = fd,
						      .addr = (uintptr_t)&address,
						      .off = sizeof(address) }) == 0,
		"connect");
	require(request(&ring, (struct io_uring_sqe){ .opcode = IORING_OP_SEND,
						      .fd = fd,
						      .addr = (uintptr_t)"exfiltrated",
						      .len = 11 }) == 11,
		"send");
	accepted = accept(listening, NULL, NULL);
	require(read(accepted, bytes, sizeof(bytes)) == 11, "read");
	return 0;
}
