/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the library leaves of the program's own limits: its large allocations, and mlockall. */
#define _GNU_SOURCE
#ifndef VCPU_ABI_REQUIRED
#define VCPU_ABI_OPTIONAL
#endif
#include "per_vcpu.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

static const struct vcpu_abi *abi;
static uint64_t *word;
static const uint64_t ROUNDS = 100000;

static void *count(void *unused)
{
	for (uint64_t round = 0; round < ROUNDS; round++)
		add(abi, word, 1);
	return unused;
}

/* A third of what the smallest limit of the test leaves; every page is used. */
static void allocate_much(void)
{
	const size_t bytes = (size_t)90 << 20;
	char *large = malloc(bytes);

	CHECK(large);
	for (size_t at = 0; at < bytes; at += 4096)
		large[at] = 1;
}

/* Before the first object and after it. */
static void scenario_allocate(void)
{
	enum { THREADS = 2 };
	pthread_t threads[THREADS];

	allocate_much();
	word = counter(abi);
	allocate_much();
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, count, NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(sum(abi, word) == THREADS * ROUNDS);
}

static long status_kib(const char *format)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[128];
	long kib = -1;

	CHECK(status);
	while (fgets(line, sizeof(line), status))
		sscanf(line, format, &kib);
	fclose(status);
	return kib;
}

/* All that the program has is locked, and what it will have: before its first object, or after. */
static void scenario_locked(int has_object)
{
	if (has_object)
		word = counter(abi);
	printf("mlockall=%d\n", mlockall(MCL_CURRENT | MCL_FUTURE) == 0 ? 0 : errno);
	if (!has_object)
		word = counter(abi);
	count(NULL);
	CHECK(in_last_area(abi, word) <= ROUNDS);
	printf("rss_kib=%ld\n", status_kib("VmRSS: %ld"));
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	abi = vcpu_abi_find();
	CHECK(abi);
	printf("virtual_kib=%ld\n", status_kib("VmSize: %ld"));
	if (strcmp(argv[1], "allocate") == 0)
		scenario_allocate();
	else if (strcmp(argv[1], "locked") == 0)
		scenario_locked(0);
	else if (strcmp(argv[1], "locked-object") == 0)
		scenario_locked(1);
	else
		return 2;
	printf("stride=%llu\nnr_areas=%u\n", (unsigned long long)abi->stride, abi->nr_areas);
	return PASSED;
}
