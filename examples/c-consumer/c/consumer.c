/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A C library that uses per-vCPU areas where the program's runtime offers them, and one counter
 * where it does not. It knows the runtime by the header alone.
 */
#define VCPU_ABI_OPTIONAL
#include <vcpu_rt.h>

#include "consumer.h"

static uint64_t alone;
static void *counter;

int consumer_start(void)
{
	const struct vcpu_abi *abi = vcpu_abi_find();

	if (!abi)
		return 0;
	return abi->alloc(sizeof(uint64_t), sizeof(uint64_t), &counter);
}

/*
 * In the GS mode by one instruction, which needs no lock. Else locked, so that it is right wherever
 * the thread has moved since it read its area: the area spreads the threads, the lock keeps the
 * count. The mode never changes, so the two never meet at one word.
 */
void consumer_count(uint64_t n)
{
	const struct vcpu_abi *abi = vcpu_abi_find();

	if (!abi || !counter)
		__atomic_fetch_add(&alone, n, __ATOMIC_RELAXED);
	else if (abi->mode == VCPU_MODE_GS)
		vcpu_gs_add((uint64_t *)counter, n);
	else
		__atomic_fetch_add((uint64_t *)vcpu_area_address(abi, counter,
								 vcpu_thread_area(abi)),
				   n, __ATOMIC_RELAXED);
}

uint64_t consumer_sum(void)
{
	const struct vcpu_abi *abi = vcpu_abi_find();
	uint64_t sum = __atomic_load_n(&alone, __ATOMIC_RELAXED);
	uint32_t area;

	if (!abi || !counter)
		return sum;
	for (area = 0; area < abi->nr_areas; area++)
		sum += __atomic_load_n((uint64_t *)vcpu_area_address(abi, counter, area),
				       __ATOMIC_RELAXED);
	return sum;
}

uint32_t consumer_found_mode(void)
{
	const struct vcpu_abi *abi = vcpu_abi_find();

	return abi ? abi->mode : CONSUMER_ALONE;
}
