/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Threads that are made but cannot run yet, many at once (holder_library.c holds them): each is registered before its
 * code all the same. */
#define _GNU_SOURCE
#define VCPU_ABI_OPTIONAL
#include "per_vcpu.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { THREADS = 400, STACK = 32768 };

static const struct vcpu_abi *abi;
static uint64_t *word;
static int *holds;
static void (*release)(void);
static int registered;

/* A process and its child have threads on them. */
static char stacks[2][THREADS][STACK] __attribute__((aligned(4096)));

static void *code(void *unused)
{
	if (vcpu_thread_is_registered(abi))
		__atomic_fetch_add(&registered, 1, __ATOMIC_RELAXED);
	add(abi, word, 1);
	return unused;
}

static void create(pthread_t *threads, char (*stack)[STACK])
{
	pthread_attr_t attributes;

	*holds = 1;
	for (int i = 0; i < THREADS; i++) {
		CHECK(pthread_attr_init(&attributes) == 0);
		CHECK(pthread_attr_setstack(&attributes, stack[i], STACK) == 0);
		CHECK(pthread_create(&threads[i], &attributes, code, NULL) == 0);
	}
}

static void join(pthread_t *threads)
{
	release();
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Nothing can be mapped any more, or again. */
static void limit_memory(int is_limited)
{
	struct rlimit limit;

	CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
	limit.rlim_cur = is_limited ? 0 : limit.rlim_max;
	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void scenario_pending(void)
{
	pthread_t threads[THREADS];

	create(threads, stacks[0]);
	join(threads);
	CHECK(sum(abi, word) == THREADS);
}

static void scenario_no_memory(void)
{
	pthread_t threads[THREADS];

	limit_memory(1);
	create(threads, stacks[0]);
	join(threads);
	limit_memory(0);
	CHECK(sum(abi, word) == THREADS);
}

/* A child without the threads that its parent waits for has their places, and needs no others. */
static void scenario_fork(void)
{
	pthread_t threads[THREADS];
	int status;
	pid_t child;

	create(threads, stacks[0]);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		limit_memory(1);
		create(threads, stacks[1]);
		join(threads);
		limit_memory(0);
		CHECK(registered == THREADS);
		_exit(PASSED);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == PASSED);
	join(threads);
}

int main(int argc, char **argv)
{
	void *for_libc;

	CHECK(argc == 2);
	abi = vcpu_abi_find();
	holds = dlsym(RTLD_DEFAULT, "holder_holds");
	release = (void (*)(void))dlsym(RTLD_DEFAULT, "holder_release");
	CHECK(abi && holds && release);
	word = counter(abi);
	/* What libc needs for each thread besides its stack. */
	CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 22) && mallopt(M_TRIM_THRESHOLD, 1 << 23));
	for_libc = malloc(1 << 20);
	CHECK(for_libc);
	free(for_libc);
	if (strcmp(argv[1], "pending") == 0)
		scenario_pending();
	else if (strcmp(argv[1], "no_memory") == 0)
		scenario_no_memory();
	else if (strcmp(argv[1], "fork") == 0)
		scenario_fork();
	else
		return 2;
	printf("threads=%d\nregistered=%d\n", THREADS, registered);
	return PASSED;
}
