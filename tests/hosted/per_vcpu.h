/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the programs here share: a counter updated as docs/abi.md says, from nothing but the table. */
#ifndef PER_VCPU_H
#define PER_VCPU_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vcpu_rt.h>

/* The exit status with which a program says that all its checks held. */
#define PASSED 93

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			fflush(stdout); \
			_exit(1); \
		} \
	} while (0)

/* 1 when the addition was made by a section, else 0 and nothing was done. */
static inline int section_add(const struct vcpu_abi *abi, uint64_t *word, uint64_t value)
{
	uint64_t scratch;
	uint32_t refused = 0;

	__asm__ __volatile__(
		".pushsection __rseq_cs, \"aw\"\n\t"
		".balign 32\n"
		"774:\n\t"
		".long 0, 0\n\t"
		".quad 771f, 772f - 771f, 773f\n\t"
		".popsection\n\t"
		".pushsection __rseq_cs_ptr_array, \"awo\", @progbits, __rseq_cs\n\t"
		".quad 774b\n\t"
		".popsection\n\t"
		".pushsection .text.rseq_abort, \"ax\"\n\t"
		".byte 0x0f, 0xb9, 0x3d\n\t"
		".long 0x53053053\n"
		"773:\n\t"
		"movl $1, %[refused]\n\t"
		"jmp 772f\n\t"
		".popsection\n\t"
		"leaq 774b(%%rip), %[scratch]\n\t"
		"movq %[scratch], %%fs:8(%[rseq])\n"
		"771:\n\t"
		"cmpl $0, %%fs:(%[registered])\n\t"
		"js 773b\n\t"
		"movl %%fs:(%[index]), %k[scratch]\n\t"
		"cmpl %[bound], %k[scratch]\n\t"
		"jae 773b\n\t"
		"imulq %[stride], %[scratch]\n\t"
		"addq %[value], (%[word],%[scratch])\n"
		"772:\n"
		: [scratch] "=&r"(scratch), [refused] "+&r"(refused)
		: [rseq] "r"(abi->rseq_offset), [registered] "r"(abi->registered_offset),
		  [index] "r"(abi->index_offset), [bound] "m"(abi->nr_vcpus),
		  [stride] "m"(abi->stride), [word] "r"(word), [value] "r"(value)
		: "cc", "memory");
	return !refused;
}

/* Adds in every mode; a thread of which nothing is known asks once to be registered. */
static __thread int has_asked;

static inline void add(const struct vcpu_abi *abi, uint64_t *word, uint64_t value)
{
	if (abi->mode == VCPU_MODE_GS) {
		vcpu_gs_add(word, value);
		return;
	}
	if (abi->mode != VCPU_MODE_SHARED) {
		if (section_add(abi, word, value))
			return;
		if (!vcpu_thread_is_registered(abi) && !has_asked) {
			has_asked = 1;
			abi->thread_register();
		}
		for (int attempt = 0; attempt < 64; attempt++)
			if (section_add(abi, word, value))
				return;
	}
	__atomic_fetch_add((uint64_t *)vcpu_area_address(abi, word, abi->nr_vcpus), value,
			   __ATOMIC_RELAXED);
}

static inline uint64_t in_area(const struct vcpu_abi *abi, uint64_t *word, uint32_t area)
{
	return __atomic_load_n((uint64_t *)vcpu_area_address(abi, word, area), __ATOMIC_RELAXED);
}

/* What was added by threads without registration. */
static inline uint64_t in_last_area(const struct vcpu_abi *abi, uint64_t *word)
{
	return in_area(abi, word, abi->nr_vcpus);
}

static inline uint64_t sum(const struct vcpu_abi *abi, uint64_t *word)
{
	uint64_t all = 0;

	for (uint32_t area = 0; area < abi->nr_areas; area++)
		all += in_area(abi, word, area);
	return all;
}

static inline uint64_t *counter(const struct vcpu_abi *abi)
{
	void *word;

	if (abi->alloc(sizeof(uint64_t), 64, &word) != 0) {
		puts("no counter");
		exit(1);
	}
	return (uint64_t *)word;
}

#endif
