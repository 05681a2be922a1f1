/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A shared object that is loaded and unloaded. With WITH_RUNTIME the runtime is in it, and its variable is declared;
 * else that is allocated. */
#define VCPU_ABI_REQUIRED
#include "per_vcpu.h"

#include <vcpu_data.h>

uint32_t plugin_mode(void);
void plugin_add(uint64_t rounds);
uint64_t plugin_sum(void);

#ifdef WITH_RUNTIME
VCPU_PER_VCPU(struct vcpu_single64, hits);
#define HITS VCPU_DECLARED(hits)
#else
static struct vcpu_single64 *hits;
#define HITS hits
#endif

/* Behind the runtime's constructor, whose ever it is. */
__attribute__((constructor(101))) static void start(void)
{
	CHECK(vcpu_data_find() == &vcpu_abi);
#ifndef WITH_RUNTIME
	hits = (struct vcpu_single64 *)(void *)counter(&vcpu_abi);
#endif
	vcpu_single64_inc(&vcpu_abi, HITS);
}

uint32_t plugin_mode(void)
{
	return vcpu_abi.mode;
}

void plugin_add(uint64_t rounds)
{
	while (rounds--)
		vcpu_single64_inc(&vcpu_abi, HITS);
}

uint64_t plugin_sum(void)
{
	return vcpu_single64_sum(&vcpu_abi, HITS);
}
