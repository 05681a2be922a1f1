/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A seccomp filter that refuses rseq(2) comes when threads are registered: they cannot be unregistered at their ends, which
 * must not kill the process. */
#define _GNU_SOURCE
#ifndef VCPU_ABI_REQUIRED
#define VCPU_ABI_OPTIONAL
#endif
#include "per_vcpu.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* musl has no linux/seccomp.h: "the number is 334? errno EPERM: allowed". */
struct statement {
	uint16_t code;
	uint8_t if_true, if_false;
	uint32_t operand;
};

static void refuse_rseq(void)
{
	enum { SET_MODE_FILTER = 1, EVERY_THREAD = 1, NO_NEW_PRIVILEGES = 38 };
	static struct statement statements[] = { { 0x20, 0, 0, 0 },
						 { 0x15, 0, 1, 334 },
						 { 0x06, 0, 0, 0x00050000 | EPERM },
						 { 0x06, 0, 0, 0x7fff0000 } };
	struct {
		unsigned short length;
		struct statement *statements;
	} program = { 4, statements };

	CHECK(prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0);
	CHECK(syscall(SYS_seccomp, SET_MODE_FILTER, EVERY_THREAD, &program) == 0);
}

static const struct vcpu_abi *abi;
static uint64_t *word;
static int up, goes_on;

static void *code(void *unused)
{
	add(abi, word, 1);
	__atomic_fetch_add(&up, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&goes_on, __ATOMIC_ACQUIRE))
		usleep(1000);
	add(abi, word, 1);
	return unused;
}

static int threads(void)
{
	DIR *directory = opendir("/proc/self/task");
	int entries = 0;

	CHECK(directory);
	while (readdir(directory))
		entries++;
	CHECK(closedir(directory) == 0);
	return entries - 2;
}

int main(void)
{
	enum { THREADS = 200 };
	pthread_attr_t attributes;
	pthread_t thread;

	abi = vcpu_abi_find();
	CHECK(abi);
	word = counter(abi);
	CHECK(pthread_attr_init(&attributes) == 0);
	CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread, &attributes, code, NULL) == 0);
	while (__atomic_load_n(&up, __ATOMIC_ACQUIRE) < THREADS)
		usleep(1000);
	CHECK(in_last_area(abi, word) == 0);
	refuse_rseq();
	__atomic_store_n(&goes_on, 1, __ATOMIC_RELEASE);
	while (threads() > 1)
		usleep(1000);
	CHECK(sum(abi, word) == 2 * THREADS);
	/* A thread of now is not registered, and counts. */
	CHECK(pthread_create(&thread, NULL, code, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(sum(abi, word) == 2 * THREADS + 2);
	return PASSED;
}
