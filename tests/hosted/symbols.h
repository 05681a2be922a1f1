/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The references of one object, by all means that there are. */
#ifndef SYMBOLS_H
#define SYMBOLS_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

extern const unsigned int __rseq_size;
extern const unsigned int weak_size __asm__("__rseq_size") __attribute__((__weak__));
/* The first field of the table, which is as long as it needs to be for a copy of it. */
extern const struct {
	uint32_t size;
	char rest[252];
} weak_table __asm__("vcpu_abi") __attribute__((__weak__));

static void show(const char *where, const char *how, const void *found)
{
	const char *what = !found ? "null" : *(const volatile uint32_t *)found ? "ours" : "theirs";

	printf("%s.%s=%s\n", where, how, what);
}

static inline void references(const char *where)
{
	show(where, "table", &weak_table);
#ifdef NORMAL
	show(where, "normal", &__rseq_size);
#else
	show(where, "weak", &weak_size);
#endif
	show(where, "default", dlsym(RTLD_DEFAULT, "__rseq_size"));
	show(where, "next", dlsym(RTLD_NEXT, "__rseq_size"));
	show(where, "default_version", dlvsym(RTLD_DEFAULT, "__rseq_size", "GLIBC_2.35"));
	show(where, "next_version", dlvsym(RTLD_NEXT, "__rseq_size", "GLIBC_2.35"));
	show(where, "default_table", dlsym(RTLD_DEFAULT, "vcpu_abi"));
}

#endif
