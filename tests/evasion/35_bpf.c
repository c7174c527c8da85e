/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Looks for the kernel programs and tables of the monitor, as it would have to before it changed them. */
#include "attacker.h"
#include <linux/bpf.h>

static long bpf(int command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

int main(int argc, char **argv)
{
	union bpf_attr attributes = {};

	begin(argc, argv);
	bpf(BPF_PROG_GET_NEXT_ID, &attributes);
	memset(&attributes, 0, sizeof(attributes));
	if (bpf(BPF_MAP_GET_NEXT_ID, &attributes))
		cannot("bpf");
	attributes.map_id = attributes.next_id;
	attributes.next_id = 0;
	/* Opened and closed: nothing in it is looked at. */
	close(bpf(BPF_MAP_GET_FD_BY_ID, &attributes));
	return 0;
}
