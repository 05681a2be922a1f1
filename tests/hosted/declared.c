/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Declared variables, whoever fills them: there before the program's constructors, and exact. Where there
 * is no runtime, or no room, the program counts by itself. */
#ifndef VCPU_ABI_REQUIRED
#define VCPU_ABI_OPTIONAL
#endif
#include <pthread.h>
#include <vcpu_data.h>

#include "per_vcpu.h"

#define THREADS 4
#define TURNS 20000

/* Larger than the least stride. */
struct counts {
	struct vcpu_single64 hits;
	struct vcpu_section32 others[1600];
};

VCPU_PER_VCPU(struct counts, counts);
VCPU_PER_VCPU(struct vcpu_single8[3], small);

static uint64_t alone;
static int in_constructor;

__attribute__((constructor)) static void construct(void)
{
	in_constructor = VCPU_DECLARED(counts) != NULL;
}

static void count(void)
{
	if (VCPU_DECLARED(counts)) {
		vcpu_single64_inc(&vcpu_abi, &VCPU_DECLARED(counts)->hits);
		vcpu_section32_add(&vcpu_abi, &VCPU_DECLARED(counts)->others[1599], 2);
	} else {
		__atomic_fetch_add(&alone, 1, __ATOMIC_RELAXED);
	}
	if (VCPU_DECLARED(small))
		vcpu_single8_inc(&vcpu_abi, &(*VCPU_DECLARED(small))[2]);
}

static void *work(void *argument)
{
	int turn;

	for (turn = 0; turn < TURNS; turn++)
		count();
	return argument;
}

int main(void)
{
	pthread_t threads[THREADS];
	int thread;

	printf("in_constructor=%d\n", in_constructor);
	printf("declared=%d\n", VCPU_DECLARED(counts) != NULL);
	printf("small=%d\n", VCPU_DECLARED(small) != NULL);
	for (thread = 0; thread < THREADS; thread++)
		CHECK(pthread_create(&threads[thread], NULL, work, NULL) == 0);
	for (thread = 0; thread < THREADS; thread++)
		CHECK(pthread_join(threads[thread], NULL) == 0);
	if (VCPU_DECLARED(counts)) {
		CHECK(vcpu_single64_sum(&vcpu_abi, &VCPU_DECLARED(counts)->hits) == THREADS * TURNS);
		CHECK(vcpu_section32_sum(&vcpu_abi, &VCPU_DECLARED(counts)->others[1599]) ==
		      2 * THREADS * TURNS);
		CHECK(alone == 0);
	} else {
		CHECK(alone == THREADS * TURNS);
	}
	if (VCPU_DECLARED(small))
		CHECK(vcpu_single8_sum(&vcpu_abi, &(*VCPU_DECLARED(small))[2]) ==
		      (uint8_t)(THREADS * TURNS));
	return PASSED;
}
