/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Opens by O_PATH and again, by openat2, by creat and by a handle. */
#include "attacker.h"
#include <linux/openat2.h>

int main(int argc, char **argv)
{
	struct open_how how = { .flags = O_RDONLY };
	struct {
		struct file_handle handle;
		unsigned char bytes[MAX_HANDLE_SZ];
	} place = { .handle.handle_bytes = MAX_HANDLE_SZ };
	char path[64], byte;
	int fd, mount, folder;

	begin(argc, argv);
	fd = open("secret", O_PATH);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	require(open(path, O_RDONLY) >= 0, "open again");
	require(syscall(SYS_openat2, AT_FDCWD, "secret1", &how, sizeof(how)) >= 0, "openat2");
	require(creat("secret2", 0600) >= 0, "creat");
	require(syscall(SYS_name_to_handle_at, AT_FDCWD, "secret3", &place.handle, &mount, 0) == 0,
		"handle");
	folder = open(".", O_RDONLY | O_DIRECTORY);
	fd = syscall(SYS_open_by_handle_at, folder, &place.handle, O_RDONLY);
	if (fd < 0)
		cannot("open_by_handle_at");
	require(read(fd, &byte, 1) == 1, "read");
	return 0;
}
