/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The clock of the C benchmark programs; a program's own time, never that of its start. */
#ifndef VCPU_RT_BENCH_NANOSECONDS_H
#define VCPU_RT_BENCH_NANOSECONDS_H

#include <time.h>

static inline double nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

#endif
