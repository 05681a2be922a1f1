/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A C object that is always linked with the runtime declares its counter, which then is there before
 * any of its code runs.
 */
#define VCPU_ABI_REQUIRED
#include <vcpu_rt.h>

#include "consumer.h"

VCPU_PER_VCPU(uint64_t, counter);

/* As consumer_count(). */
void declared_count(uint64_t n)
{
	const struct vcpu_abi *abi = vcpu_abi_find();

	if (abi->mode == VCPU_MODE_GS)
		vcpu_gs_add((uint64_t *)counter.first, n);
	else
		__atomic_fetch_add((uint64_t *)vcpu_area_address(abi, counter.first,
								 vcpu_thread_area(abi)),
				   n, __ATOMIC_RELAXED);
}

uint64_t declared_sum(void)
{
	const struct vcpu_abi *abi = vcpu_abi_find();
	uint64_t sum = 0;
	uint32_t area;

	for (area = 0; area < abi->nr_areas; area++)
		sum += __atomic_load_n((uint64_t *)vcpu_area_address(abi, counter.first, area),
				       __ATOMIC_RELAXED);
	return sum;
}
