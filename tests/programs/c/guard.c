/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A function with a stack protector, and an overflow of its buffer when it is told to. */
#include <stddef.h>

/* Writes `length` bytes behind the compiler's back into a buffer of 16. */
int guard_fill(size_t length)
{
	char buffer[16];
	volatile char *byte = buffer;
	size_t i;

	for (i = 0; i < length; i++)
		byte[i] = 'x';
	return byte[0];
}
