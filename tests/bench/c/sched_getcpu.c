/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched_getcpu(3), whosever it is. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>

#include "nanoseconds.h"

#define SAMPLES 20
#define CALLS 2000000

static int call(int calls)
{
	int all = 0;

	while (calls--)
		all |= sched_getcpu();
	return all;
}

int main(void)
{
	int sample;

	if (call(CALLS) < 0)
		return 1;
	for (sample = 0; sample < SAMPLES; sample++) {
		const double start = nanoseconds();

		if (call(CALLS) < 0)
			return 1;
		printf("%.4f\n", (nanoseconds() - start) / CALLS);
	}
	return 0;
}
