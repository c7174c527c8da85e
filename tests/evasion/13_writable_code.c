/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Makes memory that it writes and runs, by mmap and by mprotect. */
#include "attacker.h"

int main(int argc, char **argv)
{
	const unsigned char code[] = { 0xc3 }; /* ret */
	void *memory;

	begin(argc, argv);
	memory = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(memory != MAP_FAILED, "memory");
	memcpy(memory, code, sizeof(code));
	if (mprotect(memory, BUFFER, PROT_READ | PROT_WRITE | PROT_EXEC))
		cannot("mprotect");
	((void (*)(void))memory)();
	return 0;
}
