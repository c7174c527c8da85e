/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The same with the removal of names, of which no descriptor is left to look at: a thread writes a harmless
 * name over each, which is true before the call and after it, and no file's.
 */
#include "attacker.h"
#include <pthread.h>

#define VICTIMS 100
#define TRIES 2000000

static char path[16];
static char victim[16];
static volatile bool over;

static void *flip(void *unused)
{
	while (!over) {
		memcpy(path, "harmless-x", 11);
		memcpy(path, victim, 11);
	}
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int i, tries = 0;

	begin(argc, argv);
	for (i = 0; i < VICTIMS; i++) {
		snprintf(victim, sizeof(victim), "victim-%03d", i);
		mark(victim);
	}
	snprintf(victim, sizeof(victim), "victim-000");
	require(pthread_create(&thread, NULL, flip, NULL) == 0, "thread");
	for (i = 0; i < VICTIMS && tries < TRIES; tries++) {
		if (unlink(path) == 0)
			i++;
		snprintf(victim, sizeof(victim), "victim-%03d", i < VICTIMS ? i : 0);
	}
	over = true;
	pthread_join(thread, NULL);
	require(i == VICTIMS, "the victims");
	return 0;
}
