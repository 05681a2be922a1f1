/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A shared library that declares a variable. */
#define VCPU_ABI_REQUIRED
#include <vcpu_data.h>

VCPU_PER_VCPU(struct vcpu_single64, library_hits);

void library_hit(void);
uint64_t library_sum(void);

void library_hit(void)
{
	vcpu_single64_inc(&vcpu_abi, VCPU_DECLARED(library_hits));
}

uint64_t library_sum(void)
{
	return vcpu_single64_sum(&vcpu_abi, VCPU_DECLARED(library_hits));
}
