/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Puts a folder at another place by a bind mount in a mount namespace of its own, by the old and the new calls. */
#include "attacker.h"
#include <sys/mount.h>

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif

int main(int argc, char **argv)
{
	int tree;

	begin(argc, argv);
	require(mkdir("elsewhere", 0700) == 0 && mkdir("third", 0700) == 0, "folders");
	/* Without privileges it takes a user namespace. */
	if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
		cannot("unshare");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount(".", "elsewhere", NULL, MS_BIND, NULL))
		cannot("mount");
	require(open("elsewhere/secret", O_RDONLY) >= 0, "open");
	tree = syscall(SYS_open_tree, AT_FDCWD, ".", OPEN_TREE_CLONE);
	require(tree >= 0 && syscall(SYS_move_mount, tree, "", AT_FDCWD, "third",
				     MOVE_MOUNT_F_EMPTY_PATH) == 0,
		"move_mount");
	require(open("third/secret1", O_RDONLY) >= 0, "open");
	return 0;
}
