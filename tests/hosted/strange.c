/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Threads that glibc did not make, or made before the library came. */
#define _GNU_SOURCE
#include "per_vcpu.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static const uint64_t ROUNDS = 400000;
static const struct vcpu_abi *abi;
static uint64_t *word;

static void count_rounds(void)
{
	for (uint64_t round = 0; round < ROUNDS; round++) {
		add(abi, word, 1);
		if (round % 1024 == 0)
			syscall(SYS_sched_yield);
	}
}

static void *count(void *unused)
{
	count_rounds();
	return unused;
}

/* What the first addition of a thread finds: an area that says mm_cid 0, which is somebody's. */
struct seen {
	int registered, cpu_id, mm_cid, after;
	int tid;
};

static uint32_t field(int64_t offset)
{
	return vcpu_thread_u32(abi->rseq_offset + offset);
}

static int cloned(void *argument)
{
	struct seen *seen = argument;

	seen->registered = vcpu_thread_is_registered(abi);
	seen->cpu_id = (int)field(4);
	seen->mm_cid = (int)field(24);
	count_rounds();
	seen->after = vcpu_thread_is_registered(abi);
	abi->thread_unregister();
	syscall(SYS_exit, 0);
	return 0;
}

/* A thread block of glibc's own making: zero where a thread that glibc starts is not. */
static void *thread_block(void)
{
	void *(*allocate)(void *) = (void *(*)(void *))dlsym(RTLD_DEFAULT, "_dl_allocate_tls");
	char *own, *block;

	CHECK(allocate);
	block = allocate(NULL);
	CHECK(block);
	__asm__("movq %%fs:0, %0" : "=r"(own));
	memcpy(block + 0x28, own + 0x28, 16);	/* stack and pointer guards */
	*(void **)block = block;
	*(void **)(block + 0x10) = block;
	return block;
}

static void scenario_clone(void)
{
	enum { THREADS = 8, STACK = 1 << 16 };
	static struct seen seen[THREADS];
	pthread_t ordinary[2];
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			  CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
			  CLONE_CHILD_CLEARTID;

	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&ordinary[i], NULL, count, NULL) == 0);
	for (int i = 0; i < THREADS; i++) {
		char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		CHECK(stack != MAP_FAILED);
		seen[i].tid = -1;
		CHECK(clone(cloned, stack + STACK, flags, &seen[i], &seen[i].tid, thread_block(),
			    &seen[i].tid) > 0);
	}
	for (int i = 0; i < THREADS; i++) {
		int tid;

		while ((tid = __atomic_load_n(&seen[i].tid, __ATOMIC_ACQUIRE)) != 0)
			syscall(SYS_futex, &seen[i].tid, FUTEX_WAIT, tid, NULL, NULL, 0);
	}
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(ordinary[i], NULL) == 0);
	CHECK(sum(abi, word) == (THREADS + 2) * ROUNDS);
	for (int i = 0; i < THREADS; i++) {
		CHECK(seen[i].registered == 0);
		CHECK(seen[i].after == 1);
	}
	printf("first_cpu_id=%d\nfirst_mm_cid=%d\n", seen[0].cpu_id, seen[0].mm_cid);
}

static pthread_barrier_t barrier;

static void *early(void *unused)
{
	pthread_barrier_wait(&barrier);
	/* The library comes here. */
	pthread_barrier_wait(&barrier);
	CHECK(!vcpu_thread_is_registered(abi));
	count_rounds();
	CHECK(vcpu_thread_is_registered(abi));
	return unused;
}

static void find(void *library)
{
	abi = dlsym(library, "vcpu_abi");
	CHECK(abi && abi->size >= 120);
	word = counter(abi);
}

/* Threads that were there before the library. */
static void scenario_dlopen(const char *path)
{
	enum { THREADS = 8 };
	pthread_t threads[THREADS];
	void *library;

	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, early, NULL) == 0);
	pthread_barrier_wait(&barrier);
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		puts(dlerror());
		_exit(1);
	}
	find(library);
	CHECK(vcpu_thread_is_registered(abi));
	pthread_barrier_wait(&barrier);
	count_rounds();
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(sum(abi, word) == (THREADS + 1) * ROUNDS);
	CHECK(in_last_area(abi, word) == 0);
	/* It stays. */
	CHECK(dlclose(library) == 0);
	add(abi, word, 1);
	CHECK(dlopen(path, RTLD_NOW | RTLD_NOLOAD) == library);
	printf("__rseq_size=%u\n", *(unsigned int *)dlsym(RTLD_DEFAULT, "__rseq_size"));
}

/* After mlockall(MCL_FUTURE) the areas are not filled, or the process would need all of them at once. In a namespace
 * of its own the library meets a libc that has not started yet. */
static void scenario_locked(const char *path, Lmid_t namespace)
{
	FILE *status;
	char line[128];
	long kib = -1;

	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
		printf("mlockall=%d\n", errno);
		return;
	}
	find(dlmopen(namespace, path, RTLD_NOW));
	add(abi, word, 1);
	status = fopen("/proc/self/status", "r");
	CHECK(status);
	while (fgets(line, sizeof(line), status))
		sscanf(line, "VmRSS: %ld", &kib);
	printf("mlockall=0\nrss_kib=%ld\n", kib);
}

static void *wait_for_end(void *unused)
{
	pthread_barrier_wait(&barrier);
	return unused;
}

/* The library meets a libc that has not started yet, and a program that has, with another thread. */
static void scenario_namespace(const char *path)
{
	pthread_t thread;

	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, wait_for_end, NULL) == 0);
	find(dlmopen(LM_ID_NEWLM, path, RTLD_NOW));
	pthread_barrier_wait(&barrier);
	CHECK(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	if (strcmp(argv[1], "clone") == 0) {
		find(dlopen(argv[2], RTLD_NOW | RTLD_NOLOAD));
		scenario_clone();
	} else if (strcmp(argv[1], "dlopen") == 0) {
		scenario_dlopen(argv[2]);
	} else if (strcmp(argv[1], "locked") == 0) {
		scenario_locked(argv[2], LM_ID_BASE);
	} else if (strcmp(argv[1], "locked_namespace") == 0) {
		scenario_locked(argv[2], LM_ID_NEWLM);
	} else if (strcmp(argv[1], "namespace") == 0) {
		scenario_namespace(argv[2]);
	} else {
		return 2;
	}
	printf("mode=%u\nrseq_len=%u\n", abi->mode, abi->rseq_len);
	return PASSED;
}
