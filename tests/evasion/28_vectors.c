/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Reads and writes by the calls that move several pieces, or at a place, or several messages. */
#include "attacker.h"
#include <sys/uio.h>

int main(int argc, char **argv)
{
	char left[4], right[8];
	struct iovec pieces[2] = { { left, 4 }, { right, 8 } };
	struct mmsghdr messages[2] = { { .msg_hdr = { .msg_iov = &pieces[0], .msg_iovlen = 1 } },
				       { .msg_hdr = { .msg_iov = &pieces[1], .msg_iovlen = 1 } } };
	int pair[2], fd;

	begin(argc, argv);
	require(readv(open("secret", O_RDONLY), pieces, 2) == 12, "readv");
	require(pread(open("secret1", O_RDONLY), right, 8, 2) == 8, "pread");
	require(syscall(SYS_preadv2, open("secret2", O_RDONLY), pieces, 2, 0L, 0L, 0) == 12,
		"preadv2");
	fd = open("secret3", O_WRONLY);
	require(pwritev(fd, pieces, 2, 1) == 12, "pwritev");
	require(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0, "sockets");
	require(sendmmsg(pair[0], messages, 2, 0) == 2 &&
			recvmmsg(pair[1], messages, 2, 0, NULL) == 2,
		"messages");
	return 0;
}
