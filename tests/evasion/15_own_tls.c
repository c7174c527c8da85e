/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Speaks TLS by code of its own: a greeting, then ciphertext that no library of this machine has sealed. */
#include "attacker.h"

#define RECORD_BYTES 1200

/* ClientHello (RFC 8446, 4.1.2) with one suite and the server's name `secret.test`. */
static const unsigned char HELLO[] = {
	0x16, 0x03, 0x01, 0x00, 0x49, 0x01, 0x00, 0x00, 0x45, 0x03, 0x03, /* record, message, version */
	1,    2,    3,	  4,	5,    6,    7,	  8,	9,    10,   11,	  12,
	13,   14,   15,	  16,	17,   18,   19,	  20,	21,   22,   23,	  24,
	25,   26,   27,	  28,	29,   30,   31,	  32, /* random */
	0x00, 0x00, 0x02, 0x13, 0x01, 0x01, 0x00, /* session, suites, compression */
	0x00, 0x1a, 0x00, 0x00, 0x00, 0x10, 0x00, 0x0e, 0x00, 0x00, 0x0b, 's',
	'e',  'c',  'r',  'e',	't',  '.',  't',  'e',	's',  't', /* server_name */
	0x00, 0x2b, 0x00, 0x02, 0x03, 0x04, /* supported_versions */
};

int main(int argc, char **argv)
{
	unsigned char record[RECORD_BYTES] = { 0x17, 0x03, 0x03, (RECORD_BYTES - 5) >> 8,
					       (RECORD_BYTES - 5) & 0xff };
	unsigned char got[RECORD_BYTES];
	int ends[2], i;

	begin(argc, argv);
	tcp_pair(ends);
	require(write(ends[0], HELLO, sizeof(HELLO)) == sizeof(HELLO), "hello");
	for (i = 0; i < 8; i++) {
		require(write(ends[0], record, sizeof(record)) == sizeof(record), "record");
		require(read(ends[1], got, sizeof(got)) > 0, "read");
		require(write(ends[1], record, sizeof(record)) == sizeof(record), "record");
		require(read(ends[0], got, sizeof(got)) > 0, "read");
	}
	/* Silence is told within a second. */
	usleep(1500000);
	return 0;
}
