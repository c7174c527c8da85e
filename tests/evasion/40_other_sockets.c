/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Asks for sockets of other families, by which data leaves beside TCP and UDP. */
#include "attacker.h"
#include <linux/netlink.h>

int main(int argc, char **argv)
{
	begin(argc, argv);
	/* That they were asked for counts, and not whether the kernel has them. */
	close(socket(AF_PACKET, SOCK_RAW, 0));
	close(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	close(socket(AF_VSOCK, SOCK_STREAM, 0));
	close(socket(AF_ALG, SOCK_SEQPACKET, 0));
	close(socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
	return 0;
}
