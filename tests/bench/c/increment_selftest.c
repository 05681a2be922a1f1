/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Increments of a per-vCPU counter through the rseq headers of the kernel's selftests: the counter
 * of the mm_cid that was read, added to in a section that tests the mm_cid again, once more when it
 * was aborted.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "aligned_loops.h"
#include "rseq.h"

#define SAMPLES 15
#define INCREMENTS 60000L

struct counter {
	intptr_t value;
} __attribute__((aligned(128)));

static inline __attribute__((always_inline)) void increment(struct counter *counters)
{
	int vcpu;

	do
		vcpu = (int)rseq_current_mm_cid();
	while (rseq_unlikely(rseq_addv(RSEQ_MO_RELAXED, RSEQ_PERCPU_MM_CID, &counters[vcpu].value,
				       1, vcpu)));
}

ALIGNED_LOOPS(increment, struct counter *, counters, increment(counters););

int main(void)
{
	struct counter *counters = calloc(CPU_SETSIZE, sizeof(*counters));
	intptr_t sum = 0;
	int vcpu;

	if (!counters || rseq_register_current_thread() || !rseq_mm_cid_available()) {
		fprintf(stderr, "rseq with mm_cid is needed\n");
		return 1;
	}
	PRINT_SAMPLES(increment, counters, SAMPLES, 1, INCREMENTS);
	for (vcpu = 0; vcpu < CPU_SETSIZE; vcpu++)
		sum += counters[vcpu].value;
	if (sum != (intptr_t)LOOPS * (1 + SAMPLES) * INCREMENTS) {
		fprintf(stderr, "%" PRIdPTR " increments were counted\n", sum);
		return 1;
	}
	return 0;
}
