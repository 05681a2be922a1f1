/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Stands behind the shared library in the order of lookups, and holds new threads before that library's code in them, as
 * long as the program says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

int holder_holds;
void holder_release(void);

static struct held {
	void *(*code)(void *);
	void *argument;
} all[1024];
static unsigned int next;

static void *hold(void *held)
{
	struct held it = *(struct held *)held;

	while (__atomic_load_n(&holder_holds, __ATOMIC_ACQUIRE))
		syscall(SYS_futex, &holder_holds, FUTEX_WAIT, 1, NULL, NULL, 0);
	return it.code(it.argument);
}

void holder_release(void)
{
	__atomic_store_n(&holder_holds, 0, __ATOMIC_RELEASE);
	syscall(SYS_futex, &holder_holds, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*code)(void *),
		   void *argument)
{
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
		(int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(
			RTLD_NEXT, "pthread_create");
	struct held *held = &all[next++ % (sizeof(all) / sizeof(*all))];

	held->code = code;
	held->argument = argument;
	return create(thread, attributes, hold, held);
}
