/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef VCPU_ABI_REQUIRED
#define VCPU_ABI_OPTIONAL
#endif
#include <vcpu_data.h>

#include "counter.h"

static struct vcpu_single64 *word_of(const struct counter *counter)
{
	return (struct vcpu_single64 *)counter->word;
}

void counter_start(struct counter *counter)
{
	const struct vcpu_abi *abi = vcpu_data_find();

	counter->alone = 0;
	counter->before = 0;
	/* An error leaves the one word. */
	if (!abi || abi->alloc(sizeof(struct vcpu_single64), sizeof(uint64_t), &counter->word) != 0)
		counter->word = NULL;
}

void counter_end(struct counter *counter)
{
	if (counter->word)
		(void)vcpu_abi.free(counter->word, sizeof(struct vcpu_single64));
	counter->word = NULL;
}

/* Where there is a word there is a table: which of them is read needs no other test. */
void counter_add(struct counter *counter, uint64_t value)
{
	if (counter->word)
		vcpu_single64_add(&vcpu_abi, word_of(counter), value);
	else
		__atomic_fetch_add(&counter->alone, value, __ATOMIC_RELAXED);
}

static uint64_t total(const struct counter *counter)
{
	if (counter->word)
		return vcpu_single64_sum(&vcpu_abi, word_of(counter));
	return __atomic_load_n(&counter->alone, __ATOMIC_RELAXED);
}

uint64_t counter_sum(const struct counter *counter)
{
	return total(counter) - counter->before;
}

void counter_reset(struct counter *counter)
{
	counter->before = total(counter);
}

int counter_is_per_vcpu(const struct counter *counter)
{
	return counter->word != NULL;
}
