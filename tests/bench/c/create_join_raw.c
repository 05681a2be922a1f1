/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The floor of a thread's creation and join: a bare clone with the flags of a thread, on the same
 * stack each time, whose child ends at once; the parent waits on the word that the kernel clears.
 * No thread-local storage is set up and no C runs in the child.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nanoseconds.h"

#define SAMPLES 20
#define PAIRS 1000

static _Alignas(16) char stack[65536];
static _Atomic int thread_id;

/* Returns in the parent only: the child's stack has no frame to return to. */
static long clone_and_exit(void)
{
	const long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			   CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
	register _Atomic int *child_thread_id __asm__("r10") = &thread_id;
	register long thread_pointer __asm__("r8") = 0;
	long result;

	__asm__ volatile("syscall\n\t"
			 "testq %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "movl %[exit], %%eax\n\t"
			 "xorl %%edi, %%edi\n\t"
			 "syscall\n"
			 "1:"
			 : "=a"(result)
			 : "0"((long)SYS_clone), "D"(flags), "S"(stack + sizeof(stack)),
			   "d"(&thread_id), "r"(child_thread_id), "r"(thread_pointer),
			   [exit] "i"(SYS_exit)
			 : "rcx", "r11", "memory", "cc");
	return result;
}

static int create_and_join(int pairs)
{
	int pair, left;

	for (pair = 0; pair < pairs; pair++) {
		if (clone_and_exit() < 0)
			return -1;
		while ((left = atomic_load(&thread_id)) != 0)
			syscall(SYS_futex, &thread_id, FUTEX_WAIT, left, NULL, NULL, 0);
	}
	return 0;
}

int main(void)
{
	int sample;

	if (create_and_join(PAIRS))
		return 1;
	for (sample = 0; sample < SAMPLES; sample++) {
		const double start = nanoseconds();

		if (create_and_join(PAIRS))
			return 1;
		printf("%.1f\n", (nanoseconds() - start) / PAIRS);
	}
	return 0;
}
