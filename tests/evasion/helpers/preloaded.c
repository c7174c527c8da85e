/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* An object that is put in front of others by LD_PRELOAD. */
#include "../attacker.h"

__attribute__((constructor)) static void loaded(void)
{
	mark("preloaded");
}
