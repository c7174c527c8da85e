#define _GNU_SOURCE
/*
 * Posts files over TLS. usage: post MODE URL CA_PEM BODY_FILE...
 *
 * MODE is `one`, or one of these:
 * `forget` removes its own program file before it connects. `late` connects after 15 ms, as one does whose server is
 * not on the same machine. `rekey` has both sides change their keys before each request but the first.
 */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
	int fd = socket(AF_INET, SOCK_STREAM, 0);

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

static void write_all(SSL *ssl, const char *bytes, long count)
{
	require(SSL_write(ssl, bytes, count) == count, "write");
}

/* Reads an answer: all of them are in chunks or say their length. */
static void read_answer(SSL *ssl)
{
	size_t capacity = 1 << 20, count = 0;
	char *answer = malloc(capacity), *body = NULL, *field;
	size_t length = 0;

	for (;;) {
		int got;

		require(count + 1 < capacity, "an answer below 1 MiB");
		got = SSL_read(ssl, answer + count, capacity - count - 1);
		require(got > 0, "read");
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
	char head[512], host[64] = "", port[8] = "";
	SSL_CTX *context;
	SSL *ssl;
	int i, fd;

	require(count > 4, "usage: post one|forget|late|rekey URL CA_PEM BODY_FILE...");
	require(sscanf(arguments[2], "https://%63[^:]:%7[0-9]", host, port) == 2, "URL");
	if (!strcmp(arguments[1], "forget"))
		require(unlink(arguments[0]) == 0, "unlink");
	if (!strcmp(arguments[1], "late"))
		usleep(15000);
	context = SSL_CTX_new(TLS_client_method());
	require(SSL_CTX_load_verify_locations(context, arguments[3], NULL) == 1, "CA_PEM");
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	fd = connect_to(host, port);
	ssl = SSL_new(context);
	SSL_set_fd(ssl, fd);
	require(SSL_connect(ssl) == 1, "handshake");
	for (i = 4; i < count; i++) {
		long bytes;
		char *body = read_file(arguments[i], &bytes);

		if (!strcmp(arguments[1], "rekey") && i > 4)
			require(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), "key update");
		snprintf(head, sizeof(head),
			 "POST /v1/messages HTTP/1.1\r\nHost: %s:%s\r\n"
			 "Content-Type: application/json\r\nContent-Length: %ld\r\n\r\n",
			 host, port, bytes);
		write_all(ssl, head, strlen(head));
		write_all(ssl, body, bytes);
		read_answer(ssl);
		free(body);
	}
	SSL_shutdown(ssl);
	SSL_free(ssl);
	SSL_CTX_free(context);
	close(fd);
	return 0;
}
