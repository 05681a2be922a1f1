/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Increments of a per-vCPU counter through the rseq headers of the kernel's selftests: the counter
 * of the mm_cid that was read, added to in a section that tests the mm_cid again, once more when it
 * was aborted. The loop stands at eight places of a 64-byte line: a line of output each, a column
 * for each sample.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "nanoseconds.h"
#include "rseq.h"

#define SAMPLES 40
#define INCREMENTS 100000L

struct counter {
	intptr_t value;
} __attribute__((aligned(128)));

/*
 * The bytes between the padding and the loop: the compiler reads the thread pointer once, there.
 * The benchmark compiles without, looks, and compiles again with what it saw.
 */
#ifndef LEAD
#define LEAD 0
#endif

#define INCREMENT_AT(offset)									\
	__attribute__((noinline)) void increment_at_##offset(struct counter *counters,		\
							     long increments)			\
	{											\
		__asm__ volatile(".balign 64\n\t"						\
				 ".fill (" #offset " + 64 - %c[lead]) %% 64, 1, 0x90"		\
				 : "+r"(counters), "+r"(increments)				\
				 : [lead] "i"(LEAD));						\
		do {										\
			int vcpu;								\
												\
			do									\
				vcpu = (int)rseq_current_mm_cid();				\
			while (rseq_unlikely(rseq_addv(RSEQ_MO_RELAXED, RSEQ_PERCPU_MM_CID,	\
						       &counters[vcpu].value, 1, vcpu)));	\
		} while (--increments);								\
	}

INCREMENT_AT(0)
INCREMENT_AT(8)
INCREMENT_AT(16)
INCREMENT_AT(24)
INCREMENT_AT(32)
INCREMENT_AT(40)
INCREMENT_AT(48)
INCREMENT_AT(56)

static void (*const loops[])(struct counter *, long) = {
	increment_at_0,	 increment_at_8,  increment_at_16, increment_at_24,
	increment_at_32, increment_at_40, increment_at_48, increment_at_56,
};

#define LOOPS (sizeof(loops) / sizeof(loops[0]))

int main(void)
{
	struct counter *counters = calloc(CPU_SETSIZE, sizeof(*counters));
	intptr_t sum = 0;
	size_t loop;
	int vcpu;

	if (!counters || rseq_register_current_thread() || !rseq_mm_cid_available()) {
		fprintf(stderr, "rseq with mm_cid is needed\n");
		return 1;
	}
	for (loop = 0; loop < LOOPS; loop++) {
		int sample;

		loops[loop](counters, INCREMENTS);
		for (sample = 0; sample < SAMPLES; sample++) {
			const double start = nanoseconds();

			loops[loop](counters, INCREMENTS);
			printf("%.4f ", (nanoseconds() - start) / INCREMENTS);
		}
		printf("\n");
	}
	for (vcpu = 0; vcpu < CPU_SETSIZE; vcpu++)
		sum += counters[vcpu].value;
	if (sum != (intptr_t)LOOPS * (1 + SAMPLES) * INCREMENTS) {
		fprintf(stderr, "%" PRIdPTR " increments were counted\n", sum);
		return 1;
	}
	return 0;
}
