/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Counters that threads add to without sharing a cache line. On a vcpu-rt process each is a per-vCPU
 * word; elsewhere one atomic word: the same library works in both. */
#ifndef COUNTER_H
#define COUNTER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct counter {
	/* vCPU 0's copy (struct vcpu_single64), or null: `alone` counts. */
	void *word;
	uint64_t alone;
	/* What was there when it was reset: nobody writes other vCPUs' copies. */
	uint64_t before;
};

/* Prepares a counter at 0. It needs memory on a vcpu-rt process only; without any it is one word. */
void counter_start(struct counter *counter);
/* Gives its memory back, when nobody uses it any more. */
void counter_end(struct counter *counter);
/* Any thread, any signal handler. */
void counter_add(struct counter *counter, uint64_t value);
/* What was added since the last reset: all of it that happened before, and any part of what did not. */
uint64_t counter_sum(const struct counter *counter);
/* Begins at 0 again; not by two threads at once. */
void counter_reset(struct counter *counter);
/* 1 where the process has per-vCPU data. */
int counter_is_per_vcpu(const struct counter *counter);

#ifdef __cplusplus
}
#endif

#endif /* COUNTER_H */
