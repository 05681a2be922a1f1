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

/* The empty assembly keeps the compiler from unrolling the loop. */
#define LOOP_AT(name, offset, type, context, body)						\
	__attribute__((noinline)) void name##_at_##offset(type context, long rounds)		\
	{											\
		__asm__ volatile(".balign 64\n\t"						\
				 ".fill (" #offset " + 64 - %c[lead]) %% 64, 1, 0x90"		\
				 : "+r"(context), "+r"(rounds)					\
				 : [lead] "i"(LEAD));						\
		do {										\
			body									\
			__asm__ volatile("");							\
		} while (--rounds);								\
	}

#define ALIGNED_LOOPS(name, type, context, body)						\
	LOOP_AT(name, 0, type, context, body)							\
	LOOP_AT(name, 8, type, context, body)							\
	LOOP_AT(name, 16, type, context, body)							\
	LOOP_AT(name, 24, type, context, body)							\
	LOOP_AT(name, 32, type, context, body)							\
	LOOP_AT(name, 40, type, context, body)							\
	LOOP_AT(name, 48, type, context, body)							\
	LOOP_AT(name, 56, type, context, body)							\
	static void (*const name##_loops[LOOPS])(type, long) = {				\
		name##_at_0,  name##_at_8,  name##_at_16, name##_at_24,				\
		name##_at_32, name##_at_40, name##_at_48, name##_at_56,				\
	}

/* Runs each loop once, and then as often as there are samples. */
#define PRINT_SAMPLES(name, context, samples, rounds, operations)				\
	do {											\
		for (int loop = 0; loop < LOOPS; loop++) {					\
			name##_loops[loop](context, rounds);					\
			for (int sample = 0; sample < (samples); sample++) {			\
				const double start = nanoseconds();				\
												\
				name##_loops[loop](context, rounds);				\
				printf("%.4f ", (nanoseconds() - start) /			\
							((double)(rounds) * (operations)));	\
			}									\
			printf("\n");								\
		}										\
	} while (0)

#endif
