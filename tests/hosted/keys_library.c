/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Has made KEYS pthread keys, or all that there are, before any other constructor runs (-z initfirst). */
#include <pthread.h>

static void destructor(void *unused)
{
	(void)unused;
}

__attribute__((constructor)) static void make_keys(void)
{
	pthread_key_t key;
	int made = 0;

	while (made < KEYS && pthread_key_create(&key, destructor) == 0)
		made++;
}
