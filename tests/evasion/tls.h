/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A TLS conversation of a program with itself, over loopback. */
#ifndef TLS_H
#define TLS_H

#include "attacker.h"
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

static SSL_CTX *server_context(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();

	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	require(X509_set_pubkey(certificate, key) && X509_sign(certificate, key, EVP_sha256()),
		"sign");
	require(SSL_CTX_use_certificate(context, certificate) == 1, "certificate");
	require(SSL_CTX_use_PrivateKey(context, key) == 1, "key");
	return context;
}

/* Serves one connection in a child: sends back what comes. */
static pid_t serve(int listening)
{
	pid_t child = fork();
	char bytes[BUFFER];
	SSL *ssl;
	int got;

	if (child)
		return child;
	ssl = SSL_new(server_context());
	SSL_set_fd(ssl, accept(listening, NULL, NULL));
	require(SSL_accept(ssl) == 1, "accept");
	while ((got = SSL_read(ssl, bytes, sizeof(bytes))) > 0)
		SSL_write(ssl, bytes, got);
	_exit(0);
}

static SSL *greet(const struct sockaddr_in *address)
{
	SSL *ssl = SSL_new(SSL_CTX_new(TLS_client_method()));
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	require(fd >= 0 && connect(fd, (void *)address, sizeof(*address)) == 0, "connect");
	SSL_set_fd(ssl, fd);
	SSL_set_tlsext_host_name(ssl, "secret.test");
	require(SSL_connect(ssl) == 1, "handshake");
	return ssl;
}

static void exchange(SSL *ssl)
{
	char bytes[BUFFER];
	int i;

	memset(bytes, 'x', sizeof(bytes));
	for (i = 0; i < 4; i++) {
		int left = sizeof(bytes);

		require(SSL_write(ssl, bytes, sizeof(bytes)) == sizeof(bytes), "write");
		while (left > 0) {
			int got = SSL_read(ssl, bytes, left);

			require(got > 0, "read");
			left -= got;
		}
	}
}

#endif
