/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Thread-locals of a C object. Compiled several times, with NAME (a prefix of every symbol) and
 * ALIGNMENT (of the aligned variable) given on the command line: a program has one PT_TLS, so
 * each alignment needs a program of its own.
 */
#include <stdint.h>

#define JOIN_AGAIN(a, b) a##b
#define JOIN(a, b) JOIN_AGAIN(a, b)
#define LOCAL(name) JOIN(NAME, name)

/* Aligned to 8 only: it comes first, so p_vaddr need not be congruent to 0 modulo p_align. */
__thread uint64_t LOCAL(_initialised) = 0x1122334455667788;
__thread uint32_t LOCAL(_zeroed);
__thread unsigned char LOCAL(_aligned)[96] __attribute__((aligned(ALIGNMENT)));

uint64_t *LOCAL(_initialised_address)(void)
{
	return &LOCAL(_initialised);
}

uint32_t *LOCAL(_zeroed_address)(void)
{
	return &LOCAL(_zeroed);
}

unsigned char *LOCAL(_aligned_address)(void)
{
	return LOCAL(_aligned);
}
