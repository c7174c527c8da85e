/*
 * Times pairs of SSL_write and SSL_read on a TLS 1.3 connection inside one process, over memory: no system
 * call is made meanwhile. usage: tls_pair BYTES BATCHES PAIRS_A_BATCH
 *
 * Between batches it waits, so that who watches can empty its buffers. Prints JSON.
 */
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_US 60000

static void require(int is_so, const char *what)
{
	if (!is_so) {
		fprintf(stderr, "failed: %s\n", what);
		exit(1);
	}
}

static SSL_CTX *server_context(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();

	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	require(X509_set_pubkey(certificate, key) && X509_sign(certificate, key, EVP_sha256()), "sign");
	require(SSL_CTX_use_certificate(context, certificate) == 1, "certificate");
	require(SSL_CTX_use_PrivateKey(context, key) == 1, "key");
	return context;
}

static SSL *end_of(SSL_CTX *context, BIO *bio)
{
	SSL *ssl = SSL_new(context);

	SSL_set_bio(ssl, bio, bio);
	return ssl;
}

static void pairs(SSL *from, SSL *to, char *bytes, char *got, int count, int pairs)
{
	while (pairs--) {
		int left = count;

		require(SSL_write(from, bytes, count) == count, "write");
		while (left > 0) {
			int read = SSL_read(to, got, left);

			require(read > 0, "read");
			left -= read;
		}
	}
}

static double now_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int argc, char **argv)
{
	int bytes, batches, pairs_a_batch, i;
	double wall = 0, cpu = 0;
	BIO *left, *right;
	SSL *client, *server;
	char *data, *got;

	require(argc == 4, "usage: tls_pair BYTES BATCHES PAIRS_A_BATCH");
	bytes = atoi(argv[1]);
	batches = atoi(argv[2]);
	pairs_a_batch = atoi(argv[3]);
	data = malloc(bytes);
	got = malloc(bytes);
	memset(data, 'x', bytes);

	require(BIO_new_bio_pair(&left, bytes + 65536, &right, bytes + 65536) == 1, "memory");
	client = end_of(SSL_CTX_new(TLS_client_method()), left);
	server = end_of(server_context(), right);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	for (i = 0; i < 8; i++) {
		SSL_do_handshake(client);
		SSL_do_handshake(server);
	}
	require(SSL_is_init_finished(client) && SSL_is_init_finished(server), "handshake");

	pairs(client, server, data, got, bytes, pairs_a_batch / 4 + 1);
	for (i = 0; i < batches; i++) {
		double wall_before, cpu_before;

		usleep(PAUSE_US);
		wall_before = now_ns(CLOCK_MONOTONIC);
		cpu_before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
		pairs(client, server, data, got, bytes, pairs_a_batch);
		cpu += now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_before;
		wall += now_ns(CLOCK_MONOTONIC) - wall_before;
	}
	printf("{\"wall_ns\": %.1f, \"cpu_ns\": %.1f}\n", wall / batches / pairs_a_batch,
	       cpu / batches / pairs_a_batch);
	return 0;
}
