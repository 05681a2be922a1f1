/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Loads a plugin, uses it in several threads, closes it, and goes on: `unload PLUGIN`, or in a namespace of its own
 * `unload PLUGIN namespace`; where the dynamic linker does not let a constructor keep its object, `unload PLUGIN
 * refused`. */
#define _GNU_SOURCE
#include "per_vcpu.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

enum { THREADS = 4, ROUNDS = 10000 };

static int is_refused;
static int stays;
static uint32_t (*mode)(void);
static void (*add_rounds)(uint64_t rounds);
static uint64_t (*sum_of_all)(void);
static pthread_barrier_t barrier;

/* In front of the C library's. */
void *dlopen(const char *name, int flags)
{
	void *(*next)(const char *, int) =
		(void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");

	return is_refused && (flags & RTLD_NODELETE) ? NULL : next(name, flags);
}

/* The kernel looks at rseq_cs behind each sleep, and where a thread loses its CPU. */
static void sleep_and_be_preempted(void)
{
	const struct timespec moment = { 0, 1000000 };

	for (int turn = 0; turn < 10; turn++)
		nanosleep(&moment, NULL);
	for (int turn = 0; turn < 10000; turn++)
		sched_yield();
}

static void *use(void *unused)
{
	add_rounds(ROUNDS);
	pthread_barrier_wait(&barrier);
	/* It is closed here. */
	pthread_barrier_wait(&barrier);
	sleep_and_be_preempted();
	if (stays)
		add_rounds(ROUNDS);
	return unused;
}

static void *open_plugin(const char *path, int flags, Lmid_t namespace)
{
	return namespace == LM_ID_BASE ? dlopen(path, flags) : dlmopen(namespace, path, flags);
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	Lmid_t namespace = LM_ID_BASE;
	pthread_key_t key;
	void *plugin;

	CHECK(argc >= 2);
	is_refused = argc == 3 && strcmp(argv[2], "refused") == 0;
	if (argc == 3 && strcmp(argv[2], "namespace") == 0)
		namespace = LM_ID_NEWLM;
	/* A value that another C library in the process must not take for one of its own. */
	CHECK(pthread_key_create(&key, NULL) == 0 && pthread_setspecific(key, &key) == 0);
	plugin = open_plugin(argv[1], RTLD_NOW, namespace);
	if (!plugin) {
		puts(dlerror());
		return 1;
	}
	mode = (uint32_t (*)(void))dlsym(plugin, "plugin_mode");
	add_rounds = (void (*)(uint64_t))dlsym(plugin, "plugin_add");
	sum_of_all = (uint64_t (*)(void))dlsym(plugin, "plugin_sum");
	CHECK(mode && add_rounds && sum_of_all);
	CHECK(dlinfo(plugin, RTLD_DI_LMID, &namespace) == 0);
	printf("mode=%u\n", mode());
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, use, NULL) == 0);
	add_rounds(ROUNDS);
	pthread_barrier_wait(&barrier);
	CHECK(dlclose(plugin) == 0);
	stays = open_plugin(argv[1], RTLD_NOW | RTLD_NOLOAD, namespace) != NULL;
	printf("stays=%d\n", stays);
	fflush(stdout);
	pthread_barrier_wait(&barrier);
	sleep_and_be_preempted();
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(pthread_getspecific(key) == &key);
	/* One by its constructor. */
	if (stays)
		CHECK(sum_of_all() == 1 + (2 * THREADS + 1) * ROUNDS);
	return PASSED;
}
