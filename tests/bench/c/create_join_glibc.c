/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A thread's creation and join by the C library, with its default attributes. */
#include <pthread.h>
#include <stdio.h>

#include "nanoseconds.h"

#define SAMPLES 20
#define PAIRS 1000

static void *nothing(void *argument)
{
	return argument;
}

static int create_and_join(int pairs)
{
	pthread_t thread;
	int pair;

	for (pair = 0; pair < pairs; pair++)
		if (pthread_create(&thread, NULL, nothing, NULL) || pthread_join(thread, NULL))
			return -1;
	return 0;
}

int main(void)
{
	int sample;

	if (create_and_join(PAIRS))
		return 1;
	for (sample = 0; sample < SAMPLES; sample++) {
		const double start = nanoseconds();

		if (create_and_join(PAIRS))
			return 1;
		printf("%.1f\n", (nanoseconds() - start) / PAIRS);
	}
	return 0;
}
