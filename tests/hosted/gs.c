/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The GS mode, at start by the tunable or by the program's own call. */
#define _GNU_SOURCE
#ifndef VCPU_ABI_REQUIRED
#define VCPU_ABI_OPTIONAL
#endif
#include "per_vcpu.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

static const uint64_t ROUNDS = 100000;
static const struct vcpu_abi *abi;
static uint64_t *word;

static void *count(void *unused)
{
	for (uint64_t round = 0; round < ROUNDS; round++)
		add(abi, word, 1);
	return unused;
}

static void *wait_forever(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void show(const char *name)
{
	printf("%s=%u\nfeature_%s=%d\n", name, abi->mode, name,
	       (abi->features & VCPU_FEATURE_GS_MODE) != 0);
}

int main(int argc, char **argv)
{
	pthread_t thread;
	void *library;
	int again;

	CHECK(argc >= 2);
	if (strcmp(argv[1], "late") == 0) {
		CHECK(pthread_create(&thread, NULL, wait_forever, NULL) == 0);
		library = dlopen(argv[2], RTLD_NOW);
		CHECK(library);
		abi = dlsym(library, "vcpu_abi");
	} else {
		abi = vcpu_abi_find();
	}
	CHECK(abi);
	show("at_start");
	if (strcmp(argv[1], "request") == 0) {
		printf("request=%d\n", vcpu_request_gs_mode());
	} else if (strcmp(argv[1], "after-alloc") == 0) {
		counter(abi);
		printf("request=%d\n", vcpu_request_gs_mode());
	} else if (strcmp(argv[1], "after-thread") == 0) {
		CHECK(pthread_create(&thread, NULL, wait_forever, NULL) == 0);
		printf("request=%d\n", vcpu_request_gs_mode());
	}
	show("mode");
	/* Where the kernel has it for sure: "start must", "request must", then "threads". */
	if (argc >= 3 && strcmp(argv[2], "must") == 0)
		CHECK(abi->mode == VCPU_MODE_GS);
	word = counter(abi);
	again = argc == 4 && strcmp(argv[3], "threads") == 0 ? 8 : 0;
	count(NULL);
	for (int i = 0; i < again; i++)
		CHECK(pthread_create(&thread, NULL, count, NULL) == 0 &&
		      pthread_join(thread, NULL) == 0);
	CHECK(sum(abi, word) == (1 + again) * ROUNDS);
	printf("last_area=%llu\n", (unsigned long long)in_last_area(abi, word));
	for (uint32_t area = 0; area < abi->nr_vcpus; area++)
		if (in_area(abi, word, area))
			printf("area=%u\n", area);
	return PASSED;
}
