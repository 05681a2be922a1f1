/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Per-vCPU data in the program's own constructors: the archive's comes before the first of them. */
#ifndef VCPU_ABI_REQUIRED
#define VCPU_ABI_REQUIRED
#endif
#include "per_vcpu.h"

#include <vcpu_data.h>

VCPU_PER_VCPU(struct vcpu_single64, hits);

static const struct vcpu_abi *found;

__attribute__((constructor(101))) static void first(void)
{
	found = vcpu_data_find();
	vcpu_single64_inc(&vcpu_abi, VCPU_DECLARED(hits));
}

__attribute__((constructor)) static void later(void)
{
	vcpu_single64_inc(&vcpu_abi, VCPU_DECLARED(hits));
}

int main(void)
{
	CHECK(found == &vcpu_abi);
	vcpu_single64_inc(&vcpu_abi, VCPU_DECLARED(hits));
	CHECK(vcpu_single64_sum(&vcpu_abi, VCPU_DECLARED(hits)) == 3);
	return PASSED;
}
