/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A C library that counts by the table that it finds. */
#define VCPU_ABI_REQUIRED
#include "per_vcpu.h"

uint32_t users_start(void);
void users_add(void);
uint64_t users_sum(void);
uint64_t users_in_last_area(void);

static const struct vcpu_abi *abi;
static uint64_t *word;

uint32_t users_start(void)
{
	abi = vcpu_abi_find();
	if (!abi)
		abort();
	word = counter(abi);
	return abi->mode;
}

void users_add(void)
{
	add(abi, word, 1);
}

uint64_t users_sum(void)
{
	return sum(abi, word);
}

uint64_t users_in_last_area(void)
{
	return in_last_area(abi, word);
}
