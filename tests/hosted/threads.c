/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Threads of every origin count, on both sides of every event that may end a registration. */
#define _GNU_SOURCE
#ifndef VCPU_ABI_REQUIRED
#define VCPU_ABI_OPTIONAL
#endif
#include "per_vcpu.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static const struct vcpu_abi *abi;
static uint64_t *word;
static uint64_t in_handlers;
static const uint64_t ROUNDS = 200000;

static int is_registered_mode(void)
{
	return abi->mode == VCPU_MODE_RSEQ_MM_CID || abi->mode == VCPU_MODE_RSEQ_CPU_ID;
}

static void on_signal(int number)
{
	(void)number;
	add(abi, word, 1);
	__atomic_fetch_add(&in_handlers, 1, __ATOMIC_RELAXED);
}

static void storm(void)
{
	struct itimerval often = { { 0, 500 }, { 0, 500 } };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
}

static void calm(void)
{
	struct itimerval never = { { 0, 0 }, { 0, 0 } };

	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

static void count_rounds(void)
{
	for (uint64_t round = 0; round < ROUNDS; round++) {
		add(abi, word, 1);
		if (round % 4096 == 0)
			sched_yield();
	}
}

static void *count(void *seen)
{
	if (seen)
		*(int *)seen = vcpu_thread_is_registered(abi);
	count_rounds();
	return seen;
}

static int count_c11(void *seen)
{
	count(seen);
	return 7;
}

/* Many threads of pthread_create under a storm of signals: each registered before its code. */
static void scenario_pthread(void)
{
	enum { THREADS = 32 };
	pthread_t threads[THREADS];
	int registered[THREADS];

	storm();
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, count, &registered[i]) == 0);
	for (int i = 0; i < THREADS; i++) {
		void *result;

		CHECK(pthread_join(threads[i], &result) == 0);
		CHECK(result == &registered[i]);
	}
	calm();
	CHECK(sum(abi, word) == THREADS * ROUNDS + in_handlers);
	for (int i = 0; i < THREADS; i++)
		printf("registered_%d=%d\n", i, registered[i]);
}

static void scenario_thrd(void)
{
	thrd_t thread;
	int registered, result;

	CHECK(thrd_create(&thread, count_c11, &registered) == thrd_success);
	CHECK(thrd_join(thread, &result) == thrd_success);
	CHECK(result == 7);
	CHECK(sum(abi, word) == ROUNDS);
	printf("registered_0=%d\n", registered);
}

static int notified;

static void on_timer(union sigval value)
{
	count(value.sival_ptr);
	CHECK(!is_registered_mode() || vcpu_thread_is_registered(abi));
	__atomic_fetch_add(&notified, 1, __ATOMIC_RELEASE);
}

/* Threads that libc makes by itself. */
static void scenario_sigev_thread(void)
{
	int registered = -1;
	struct sigevent event = { .sigev_notify = SIGEV_THREAD,
				  .sigev_notify_function = on_timer,
				  .sigev_value.sival_ptr = &registered };
	struct itimerspec soon = { { 0, 0 }, { 0, 1000000 } };
	timer_t timer;

	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
	while (!__atomic_load_n(&notified, __ATOMIC_ACQUIRE))
		usleep(1000);
	CHECK(sum(abi, word) == ROUNDS);
	CHECK(!is_registered_mode() || in_last_area(abi, word) == 0);
	printf("seen=%d\n", registered);
}

/* Threads that come and go without anybody waiting: their memory goes with them. */
static void *brief(void *done)
{
	add(abi, word, 1);
	__atomic_fetch_add((int *)done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void scenario_detached(void)
{
	enum { THREADS = 4000 };
	static int done;
	pthread_attr_t attributes;

	CHECK(pthread_attr_init(&attributes) == 0);
	CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;

		while (pthread_create(&thread, &attributes, brief, &done) == EAGAIN)
			usleep(1000);
	}
	while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) < THREADS)
		usleep(1000);
	usleep(20000);
	CHECK(sum(abi, word) == THREADS);
}

/* A destructor that counts after ours may have run; it is right, and nothing is lost. */
static pthread_key_t key;

static void late(void *rounds)
{
	add(abi, word, 1);
	if ((intptr_t)rounds > 1)
		CHECK(pthread_setspecific(key, (void *)((intptr_t)rounds - 1)) == 0);
}

static void *with_destructor(void *unused)
{
	CHECK(pthread_setspecific(key, (void *)4) == 0);
	add(abi, word, 1);
	return unused;
}

static void scenario_destructor(void)
{
	pthread_t thread;

	CHECK(pthread_key_create(&key, late) == 0);
	for (int i = 0; i < 100; i++) {
		CHECK(pthread_create(&thread, NULL, with_destructor, NULL) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
	}
	CHECK(sum(abi, word) == 500);
}

static void *cancelled(void *unused)
{
	for (;;) {
		add(abi, word, 1);
		usleep(100);
	}
	return unused;
}

static void scenario_cancel(void)
{
	pthread_t thread;
	void *result;

	for (int i = 0; i < 20; i++) {
		CHECK(pthread_create(&thread, NULL, cancelled, NULL) == 0);
		usleep(500);
		CHECK(pthread_cancel(thread) == 0);
		CHECK(pthread_join(thread, &result) == 0);
		CHECK(result == PTHREAD_CANCELED);
	}
}

/* The child has what the parent has, and its own copies. */
static void scenario_fork(void)
{
	int status, before;
	pid_t child;

	count(NULL);
	before = vcpu_thread_is_registered(abi);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		pthread_t thread;
		int registered;

		CHECK(vcpu_thread_is_registered(abi) == before);
		count(NULL);
		CHECK(pthread_create(&thread, NULL, count, &registered) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		CHECK(sum(abi, word) == 3 * ROUNDS);
		_exit(PASSED);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == PASSED);
	CHECK(sum(abi, word) == ROUNDS);
}

/* The child is not registered, though it runs on a block that is. */
static void scenario_vfork(void)
{
	int status, before = vcpu_thread_is_registered(abi);
	volatile int in_child = -1, answer = 1;
	uint64_t last = in_last_area(abi, word);
	pid_t child = vfork();

	if (child == 0) {
		in_child = vcpu_thread_is_registered(abi);
		answer = abi->thread_register();
		add(abi, word, 5);
		_exit(PASSED);
	}
	CHECK(child > 0);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == PASSED);
	CHECK(in_child == 0);
	CHECK(vcpu_thread_is_registered(abi) == before);
	CHECK(sum(abi, word) == 5);
	if (is_registered_mode()) {
		CHECK(answer == -EPERM);
		CHECK(in_last_area(abi, word) == last + 5);
	}
	add(abi, word, 1);
	CHECK(sum(abi, word) == 6);
}

static void scenario_thread_functions(void)
{
	int registered = vcpu_thread_is_registered(abi);
	int answer = abi->thread_register();
	int first = abi->thread_unregister();
	int second = abi->thread_unregister();
	int after = vcpu_thread_is_registered(abi);
	int again;

	add(abi, word, 1);
	again = abi->thread_register();
	CHECK(sum(abi, word) == 1);
	printf("registered=%d\nregister=%d\nunregister=%d\nunregister_again=%d\n", registered, answer,
	       first, second);
	printf("after=%d\nregister_again=%d\n", after, again);
}

static void scenario_cpu(void)
{
	cpu_set_t one;
	int first = sched_getcpu();

	CHECK(first >= 0);
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
	for (int i = 0; i < 1000; i++)
		CHECK(sched_getcpu() == first);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {
		{ "pthread", scenario_pthread },
		{ "thrd", scenario_thrd },
		{ "sigev-thread", scenario_sigev_thread },
		{ "detached", scenario_detached },
		{ "destructor", scenario_destructor },
		{ "cancel", scenario_cancel },
		{ "fork", scenario_fork },
		{ "vfork", scenario_vfork },
		{ "thread-functions", scenario_thread_functions },
		{ "cpu", scenario_cpu },
	};

	CHECK(argc == 2);
	abi = vcpu_abi_find();
	CHECK(abi);
	word = counter(abi);
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
		if (strcmp(scenarios[i].name, argv[1]) == 0) {
			scenarios[i].run();
			printf("mode=%u\nlast_area=%llu\n", abi->mode,
			       (unsigned long long)in_last_area(abi, word));
			fflush(stdout);
			return PASSED;
		}
	}
	return 2;
}
