#define _GNU_SOURCE
/*
 * Posts files over TLS. usage: post MODE URL CA_PEM BODY_FILE...
 *
 * The socket is full most of the time. A record that could not be sent is asked for again with the same bytes
 * (MODE `same`), or without any, when the buffer holds other ones (MODE `none`). Both are what GnuTLS asks for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PIECE_BYTES 40000 /* more than two records */
#define SOCKET_BYTES 4096

static void require(int is_so, const char *what)
{
	if (!is_so) {
		fprintf(stderr, "failed: %s\n", what);
		exit(1);
	}
}

static int connect_to(const char *host, const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), bytes = SOCKET_BYTES;

	require(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) == 0, "buffer");
	require(inet_pton(AF_INET, host, &address.sin_addr) == 1, "address");
	require(connect(fd, (void *)&address, sizeof(address)) == 0, "connect");
	return fd;
}

static char *read_file(const char *path, long *bytes)
{
	FILE *file = fopen(path, "rb");
	char *content;

	require(file && fseek(file, 0, SEEK_END) == 0, path);
	*bytes = ftell(file);
	rewind(file);
	content = malloc(*bytes);
	require(content && fread(content, 1, *bytes, file) == (size_t)*bytes, path);
	fclose(file);
	return content;
}

/* What is sent does not wait. */
static ssize_t push(gnutls_transport_ptr_t fd, const void *bytes, size_t count)
{
	return send((int)(long)fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t pull(gnutls_transport_ptr_t fd, void *bytes, size_t count)
{
	return recv((int)(long)fd, bytes, count, 0);
}

static int blocked_times;

static ssize_t send_piece(gnutls_session_t tls, int fd, char *piece, size_t count, int forget)
{
	ssize_t sent = gnutls_record_send(tls, piece, count);

	while (sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED) {
		struct pollfd ready = { .fd = fd, .events = POLLOUT };

		blocked_times++;
		poll(&ready, 1, -1);
		if (forget) {
			memset(piece, 'z', count);
			sent = gnutls_record_send(tls, NULL, 0);
		} else {
			sent = gnutls_record_send(tls, piece, count);
		}
	}
	require(sent > 0, "send");
	return sent;
}

static void send_all(gnutls_session_t tls, int fd, const char *bytes, size_t count, int forget)
{
	static char piece[PIECE_BYTES];

	while (count) {
		size_t length = count < sizeof(piece) ? count : sizeof(piece);
		ssize_t sent;

		memcpy(piece, bytes, length);
		sent = send_piece(tls, fd, piece, length, forget);
		bytes += sent;
		count -= sent;
	}
}

/* Reads an answer: all of them are in chunks or say their length. */
static void read_answer(gnutls_session_t tls)
{
	size_t capacity = 1 << 20, count = 0, length = 0;
	char *answer = malloc(capacity), *body = NULL, *field;

	for (;;) {
		ssize_t got;

		require(count + 1 < capacity, "an answer below 1 MiB");
		got = gnutls_record_recv(tls, answer + count, capacity - count - 1);
		if (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED)
			continue;
		require(got > 0, "receive");
		count += got;
		answer[count] = 0;
		if (!body) {
			body = strstr(answer, "\r\n\r\n");
			if (!body)
				continue;
			body += 4;
			field = strcasestr(answer, "content-length: ");
			if (field && field < body)
				length = strtoul(field + 16, NULL, 10);
		}
		if (length ? count >= body - answer + length :
			     !memcmp(answer + count - 7, "\r\n0\r\n\r\n", 7))
			break;
	}
	require(!strncmp(answer, "HTTP/1.1 200", 12), "status 200");
	free(answer);
}

int main(int count, char **arguments)
{
	gnutls_certificate_credentials_t trusted;
	char head[512], host[64] = "", port[8] = "";
	gnutls_session_t tls;
	int i, fd, forget, result;

	require(count > 4, "usage: post same|none URL CA_PEM BODY_FILE...");
	forget = !strcmp(arguments[1], "none");
	require(sscanf(arguments[2], "https://%63[^:]:%7[0-9]", host, port) == 2, "URL");
	gnutls_certificate_allocate_credentials(&trusted);
	require(gnutls_certificate_set_x509_trust_file(trusted, arguments[3],
						       GNUTLS_X509_FMT_PEM) > 0, "CA_PEM");
	gnutls_init(&tls, GNUTLS_CLIENT);
	gnutls_set_default_priority(tls);
	gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, trusted);
	gnutls_session_set_verify_cert(tls, NULL, 0);
	fd = connect_to(host, port);
	gnutls_transport_set_ptr(tls, (gnutls_transport_ptr_t)(long)fd);
	gnutls_transport_set_push_function(tls, push);
	gnutls_transport_set_pull_function(tls, pull);
	do
		result = gnutls_handshake(tls);
	while (result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED);
	require(result == 0, gnutls_strerror(result));
	for (i = 4; i < count; i++) {
		long bytes;
		char *body = read_file(arguments[i], &bytes);

		snprintf(head, sizeof(head),
			 "POST /v1/messages HTTP/1.1\r\nHost: %s:%s\r\n"
			 "Content-Type: application/json\r\nContent-Length: %ld\r\n\r\n",
			 host, port, bytes);
		send_all(tls, fd, head, strlen(head), forget);
		send_all(tls, fd, body, bytes, forget);
		read_answer(tls);
		free(body);
	}
	require(blocked_times > 0, "a socket that was full");
	gnutls_bye(tls, GNUTLS_SHUT_WR);
	gnutls_deinit(tls);
	return 0;
}
