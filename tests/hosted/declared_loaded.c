/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Loads declared_library.c's library, and counts by it. */
#include <dlfcn.h>
#include <pthread.h>

#include "per_vcpu.h"

#define THREADS 4
#define TURNS 20000

static void (*hit)(void);

static void *work(void *argument)
{
	int turn;

	for (turn = 0; turn < TURNS; turn++)
		hit();
	return argument;
}

int main(int argc, char **argv)
{
	uint64_t (*library_sum)(void);
	pthread_t threads[THREADS];
	void *library;
	int thread;

	CHECK(argc == 2);
	library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	if (!library)
		puts(dlerror());
	CHECK(library);
	*(void **)&hit = dlsym(library, "library_hit");
	*(void **)&library_sum = dlsym(library, "library_sum");
	for (thread = 0; thread < THREADS; thread++)
		CHECK(pthread_create(&threads[thread], NULL, work, NULL) == 0);
	for (thread = 0; thread < THREADS; thread++)
		CHECK(pthread_join(threads[thread], NULL) == 0);
	CHECK(library_sum() == THREADS * TURNS);
	return PASSED;
}
