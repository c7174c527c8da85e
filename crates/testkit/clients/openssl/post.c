#define _GNU_SOURCE
/*
 * Posts files over TLS. usage: post MODE URL CA_PEM BODY_FILE...
 *
 * MODE is `one`, or one of these:
 * `forget` removes its own program file before it connects. `late` connects after 15 ms, as one does whose server is
 * not on the same machine. `rekey` has both sides change their keys before each request but the first. `early`
 * has a connection a request, each of which goes on from the one before and sends its request before the server has
 * answered anything.
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

static SSL_SESSION *last_session;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION_free(last_session);
	last_session = session;
	return 1;
}

static void write_early(SSL *ssl, const char *bytes, long count)
{
	size_t written = 0;

	require(SSL_write_early_data(ssl, bytes, count, &written) == 1 && written == (size_t)count,
		"early data");
}

/* Posts every file over a connection of its own. */
static void post_early(SSL_CTX *context, const char *host, const char *port, char **files)
{
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, keep_session);
	for (; *files; files++) {
		int fd = connect_to(host, port), is_early = last_session != NULL;
		SSL *ssl = SSL_new(context);
		char head[512], *body;
		long bytes;

		body = read_file(*files, &bytes);
		snprintf(head, sizeof(head),
			 "POST /v1/messages HTTP/1.1\r\nHost: %s:%s\r\n"
			 "Content-Type: application/json\r\nContent-Length: %ld\r\n\r\n",
			 host, port, bytes);
		SSL_set_fd(ssl, fd);
		if (is_early) {
			require(SSL_set_session(ssl, last_session), "session");
			write_early(ssl, head, strlen(head));
			write_early(ssl, body, bytes);
		}
		require(SSL_connect(ssl) == 1, "handshake");
		if (is_early) {
			require(SSL_get_early_data_status(ssl) == SSL_EARLY_DATA_ACCEPTED,
				"early data that is accepted");
		} else {
			write_all(ssl, head, strlen(head));
			write_all(ssl, body, bytes);
		}
		read_answer(ssl);
		free(body);
		SSL_shutdown(ssl);
		SSL_free(ssl);
		close(fd);
	}
}

int main(int count, char **arguments)
{
	char head[512], host[64] = "", port[8] = "";
	SSL_CTX *context;
	SSL *ssl;
	int i, fd;

	require(count > 4, "usage: post one|forget|late|rekey|early URL CA_PEM BODY_FILE...");
	require(sscanf(arguments[2], "https://%63[^:]:%7[0-9]", host, port) == 2, "URL");
	if (!strcmp(arguments[1], "forget"))
		require(unlink(arguments[0]) == 0, "unlink");
	if (!strcmp(arguments[1], "late"))
		usleep(15000);
	context = SSL_CTX_new(TLS_client_method());
	require(SSL_CTX_load_verify_locations(context, arguments[3], NULL) == 1, "CA_PEM");
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	if (!strcmp(arguments[1], "early")) {
		post_early(context, host, port, arguments + 4);
		return 0;
	}
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
