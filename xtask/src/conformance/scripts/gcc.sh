# shellcheck shell=sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# A file built with optimization at link time, by several processes, and run.
cat >main.c <<'END'
#include <pthread.h>
#include <stdio.h>
static void *work(void *sum) { for (long i = 0; i < 100000; i++) *(long *)sum += i % 13; return sum; }
int main(void)
{
	long sums[4] = { 0 };
	pthread_t threads[4];
	for (int i = 0; i < 4; i++) if (pthread_create(&threads[i], NULL, work, &sums[i])) return 1;
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
	printf("%ld %ld\n", sums[0], sums[3]);
	return 0;
}
END
gcc -O2 -flto -o main main.c -pthread
sha256sum main
./main
