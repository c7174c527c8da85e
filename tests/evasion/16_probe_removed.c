/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Takes the probes out of its own memory: writes the library's bytes, as they are in its file, over its code.
 * The copies are this process's alone; the library's file and other processes keep their probes.
 */
#include "tls.h"
#include <elf.h>
#include <link.h>

static int is_library(struct dl_phdr_info *info, size_t size, void *found)
{
	(void)size;
	if (!strstr(info->dlpi_name, "libssl"))
		return 0;
	*(struct dl_phdr_info *)found = *info;
	return 1;
}

static void restore(void)
{
	struct dl_phdr_info library = {};
	int i, fd;

	require(dl_iterate_phdr(is_library, &library) == 1, "the library");
	fd = open(library.dlpi_name, O_RDONLY);
	require(fd >= 0, "its file");
	for (i = 0; i < library.dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &library.dlpi_phdr[i];
		char *from = (char *)library.dlpi_addr + part->p_vaddr;
		char *page = (char *)((uintptr_t)from & -4096L);
		size_t bytes = part->p_filesz + (from - page);

		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
			continue;
		if (mprotect(page, bytes, PROT_READ | PROT_WRITE | PROT_EXEC))
			cannot("mprotect");
		require(pread(fd, from, part->p_filesz, part->p_offset) == (ssize_t)part->p_filesz,
			"restore");
	}
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address;
	pid_t server;
	SSL *ssl;

	begin(argc, argv);
	/* Loads what the library loads when it is first used. */
	SSL_CTX_free(SSL_CTX_new(TLS_client_method()));
	restore();
	server = serve(listener(&address));
	ssl = greet(&address);
	exchange(ssl);
	usleep(1500000);
	close(SSL_get_fd(ssl));
	join(server);
	return 0;
}
