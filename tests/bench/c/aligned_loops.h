/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The same loop at eight places of a 64-byte line, as the Rust programs have it: functions whose
 * names end in _at_0, _at_8, .. _at_56, and an array of them. The samples of each are printed in
 * nanoseconds an operation: a line for each loop, a column for each sample.
 */
#ifndef VCPU_RT_BENCH_ALIGNED_LOOPS_H
#define VCPU_RT_BENCH_ALIGNED_LOOPS_H

#include <stddef.h>
#include <stdio.h>

#include "nanoseconds.h"

#define LOOPS 8

/*
 * The bytes between the padding and the loop, which are the compiler's business. The benchmark
 * compiles without, looks, and compiles again with what it saw.
 */
#ifndef LEAD
#define LEAD 0
#endif

/* A body with loops, of which the first one is meant. */
#define FUNCTION_AT(name, offset, type, context, rounds, body)					\
	__attribute__((noinline)) void name##_at_##offset(type context, long rounds)		\
	{											\
		__asm__ volatile(".balign 64\n\t"						\
				 ".fill (" #offset " + 64 - %c[lead]) %% 64, 1, 0x90"		\
				 : "+r"(context), "+r"(rounds)					\
				 : [lead] "i"(LEAD));						\
		body										\
	}

#define ALIGNED_FUNCTIONS(name, type, context, rounds, body)					\
	FUNCTION_AT(name, 0, type, context, rounds, body)					\
	FUNCTION_AT(name, 8, type, context, rounds, body)					\
	FUNCTION_AT(name, 16, type, context, rounds, body)					\
	FUNCTION_AT(name, 24, type, context, rounds, body)					\
	FUNCTION_AT(name, 32, type, context, rounds, body)					\
	FUNCTION_AT(name, 40, type, context, rounds, body)					\
	FUNCTION_AT(name, 48, type, context, rounds, body)					\
	FUNCTION_AT(name, 56, type, context, rounds, body)					\
	static void (*const name##_functions[LOOPS])(type, long) = {				\
		name##_at_0,  name##_at_8,  name##_at_16, name##_at_24,				\
		name##_at_32, name##_at_40, name##_at_48, name##_at_56,				\
	}

/* The empty assembly keeps the compiler from unrolling the loop. */
#define ALIGNED_LOOPS(name, type, context, body)						\
	ALIGNED_FUNCTIONS(name, type, context, rounds, do {					\
		body										\
		__asm__ volatile("");								\
	} while (--rounds);)

/* Takes a sample of each function that does not count, and then the others. */
#define PRINT_SAMPLES(name, context, samples, calls, rounds)					\
	do {											\
		for (int function = 0; function < LOOPS; function++) {				\
			for (int sample = 0; sample <= (samples); sample++) {			\
				const double start = nanoseconds();				\
				double time;							\
												\
				for (int call = 0; call < (calls); call++)			\
					name##_functions[function](context, rounds);		\
				time = nanoseconds() - start;					\
				if (sample)							\
					printf("%.4f ", time / ((double)(calls) * (rounds)));	\
			}									\
			printf("\n");								\
		}										\
	} while (0)

#endif
