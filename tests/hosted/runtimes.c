/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Two runtimes in a process: the program's archive, and the shared library. One registers threads, the other has adopted
 * that. What the owner undoes is undone for both. */
#define _GNU_SOURCE
#include "per_vcpu.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

static const struct vcpu_abi *owner, *adopter;
static uint64_t *word;
static volatile sig_atomic_t handled;

static void on_signal(int number)
{
	(void)number;
	add(adopter, word, 5);
	handled++;
}

/* The signal that comes as soon as it can after the kernel's part of it is sent by who traces this. */
static void scenario_unregister(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	add(adopter, word, 1);
	CHECK(in_last_area(adopter, word) == 0);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(owner->thread_unregister() == 0);
	CHECK(handled == 1);
	CHECK(in_last_area(adopter, word) == 5);
	CHECK((int)vcpu_thread_u32(adopter->index_offset) == -1);
	add(adopter, word, 1);
	CHECK(in_last_area(adopter, word) == 6);
	CHECK(sum(adopter, word) == 7);
	/* The mask is as it was. */
	CHECK(raise(SIGUSR1) == 0);
	CHECK(handled == 2);
}

/* Destructors that run after the owner's, in a thread that the adopter has seen registered. */
static pthread_key_t key;

static void late(void *rounds)
{
	CHECK((int)vcpu_thread_u32(adopter->index_offset) == -1);
	add(adopter, word, 1);
	if ((intptr_t)rounds > 1)
		CHECK(pthread_setspecific(key, (void *)((intptr_t)rounds - 1)) == 0);
}

static void *with_destructor(void *unused)
{
	owner->thread_register();
	add(adopter, word, 1);
	CHECK(pthread_setspecific(key, (void *)3) == 0);
	return unused;
}

static void scenario_destructor(void)
{
	enum { THREADS = 50 };
	pthread_t thread;

	CHECK(pthread_key_create(&key, late) == 0);
	for (int i = 0; i < THREADS; i++) {
		CHECK(pthread_create(&thread, NULL, with_destructor, NULL) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
	}
	CHECK(in_last_area(adopter, word) == 3 * THREADS);
	CHECK(sum(adopter, word) == 4 * THREADS);
}

int main(int argc, char **argv)
{
	const struct vcpu_abi *program = vcpu_abi_find(), *library;
	void *object;

	CHECK(argc == 4);
	object = dlopen(argv[2], RTLD_NOW);
	CHECK(object);
	library = dlsym(object, "vcpu_abi");
	CHECK(library && program && library != program);
	owner = strcmp(argv[3], "library") == 0 ? library : program;
	adopter = owner == library ? program : library;
	CHECK(owner->rseq_offset == adopter->rseq_offset);
	CHECK(owner->mode != VCPU_MODE_SHARED && owner->mode == adopter->mode);
	word = counter(adopter);
	if (strcmp(argv[1], "unregister") == 0)
		scenario_unregister();
	else if (strcmp(argv[1], "destructor") == 0)
		scenario_destructor();
	else
		return 2;
	return PASSED;
}
