/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * vcpu_several_words.h: operations over several section words with one commit, librseq's set, and the
 * 16-byte compare-exchange. Include vcpu_data.h, which has all of per-vCPU data.
 *
 * T is uint64_t or void *, WIDTH 64 or _ptr. 0: committed. VCPU_DIFFERENT: a word is not what was
 * expected. VCPU_BUSY: this thread acts on a shared area, and somebody else is in the middle of something
 * there. Where it is not 0, nothing was committed; a second word, or bytes, may be written even so.
 *
 *   int vcpu_sectionWIDTH_compare_equal_store(abi, word, T expected, T desired)
 *   int vcpu_sectionWIDTH_compare_equal_store_store(abi, word, T expected,
 *						     other, uint64_t value, T desired)
 *   int vcpu_sectionWIDTH_compare_equal_compare_equal_store(abi, word, T expected,
 *							     other, uint64_t value, T desired)
 *   int vcpu_sectionWIDTH_compare_equal_copy_store(abi, word, T expected,
 *						    to, const void *from, size_t length, T desired)
 *   int vcpu_section_ptr_compare_not_equal_load_store(abi, word, void *excluded,
 *						       ptrdiff_t offset, void **taken)
 *   int vcpu_section_ptr_add_to_pointee(abi, word, uint64_t value)
 *
 * `other` is a struct vcpu_section64, and `to` a struct vcpu_section8, both in vCPU 0's copy.
 */
#ifndef VCPU_SEVERAL_WORDS_H
#define VCPU_SEVERAL_WORDS_H

#include "vcpu_words.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an operation is, told to the runtime. Never inlined: a struct on the stack costs the function that
 * has it, where stacks are protected. */
#define VCPU_COLD static __attribute__((__noinline__, __cold__, __unused__))

VCPU_COLD int vcpu_update_several(const struct vcpu_abi *abi, void *word, uint32_t operation,
			       uint64_t expected, struct vcpu_section64 *other, uint64_t value,
			       uint64_t desired)
{
	struct vcpu_words_update update;

	update.operation = operation;
	update.reserved = 0;
	update.expected = expected;
	update.other = other;
	update.value = value;
	update.length = 0;
	update.desired = desired;
	return abi->update_words(word, &update);
}

VCPU_COLD int vcpu_update_copy(const struct vcpu_abi *abi, void *word, uint64_t expected,
			    struct vcpu_section8 *to, const void *from, size_t length,
			    uint64_t desired)
{
	struct vcpu_words_update update;

	update.operation = VCPU_WORDS_COMPARE_EQUAL_COPY_STORE;
	update.reserved = 0;
	update.expected = expected;
	update.other = to;
	update.value = (uint64_t)(uintptr_t)from;
	update.length = length;
	update.desired = desired;
	return abi->update_words(word, &update);
}

VCPU_COLD int vcpu_update_pop(const struct vcpu_abi *abi, void *word, void *excluded,
			   ptrdiff_t offset, void **taken)
{
	struct vcpu_words_update update;
	int result;

	update.operation = VCPU_WORDS_COMPARE_NOT_EQUAL_LOAD_STORE;
	update.reserved = 0;
	update.expected = (uint64_t)excluded;
	update.other = NULL;
	update.value = (uint64_t)offset;
	update.length = 0;
	update.desired = 0;
	result = abi->update_words(word, &update);
	if (result == 0)
		*taken = (void *)update.desired;
	return result;
}

#define VCPU_DEFINE_SEVERAL(width, type) \
VCPU_INLINE int vcpu_section##width##_compare_equal_store( \
	const struct vcpu_abi *abi, struct vcpu_section##width *word, type expected, type desired) \
{ \
	if (VCPU_HAS_SECTIONS(abi)) { \
		__asm__ goto(VCPU_SECTION_BEGIN_GOTO(refused) \
			     "cmpq %[expected], (%[word],%%rax)\n\t" \
			     "jne %l[different]\n\t" \
			     "movq %[desired], (%[word],%%rax)\n" \
			     VCPU_SECTION_END \
			     : \
			     : VCPU_SECTION_INPUTS(abi), [word] "r"(word), \
			       [expected] "r"(expected), [desired] "r"(desired) \
			     : "rax", "cc", "memory" \
			     : refused, different); \
		return 0; \
	different: \
		return VCPU_DIFFERENT; \
	refused:; \
	} \
	return vcpu_update_several(abi, word, VCPU_WORDS_COMPARE_EQUAL_STORE, (uint64_t)expected, \
				   NULL, 0, (uint64_t)desired); \
} \
VCPU_INLINE int vcpu_section##width##_compare_equal_store_store( \
	const struct vcpu_abi *abi, struct vcpu_section##width *word, type expected, \
	struct vcpu_section64 *other, uint64_t value, type desired) \
{ \
	if (VCPU_HAS_SECTIONS(abi)) { \
		__asm__ goto(VCPU_SECTION_BEGIN_GOTO(refused) \
			     "cmpq %[expected], (%[word],%%rax)\n\t" \
			     "jne %l[different]\n\t" \
			     "movq %[value], (%[other],%%rax)\n\t" \
			     "movq %[desired], (%[word],%%rax)\n" \
			     VCPU_SECTION_END \
			     : \
			     : VCPU_SECTION_INPUTS(abi), [word] "r"(word), \
			       [expected] "r"(expected), [other] "r"(other), \
			       [value] "r"(value), [desired] "r"(desired) \
			     : "rax", "cc", "memory" \
			     : refused, different); \
		return 0; \
	different: \
		return VCPU_DIFFERENT; \
	refused:; \
	} \
	return vcpu_update_several(abi, word, VCPU_WORDS_COMPARE_EQUAL_STORE_STORE, \
				   (uint64_t)expected, other, value, (uint64_t)desired); \
} \
VCPU_INLINE int vcpu_section##width##_compare_equal_compare_equal_store( \
	const struct vcpu_abi *abi, struct vcpu_section##width *word, type expected, \
	struct vcpu_section64 *other, uint64_t value, type desired) \
{ \
	if (VCPU_HAS_SECTIONS(abi)) { \
		__asm__ goto(VCPU_SECTION_BEGIN_GOTO(refused) \
			     "cmpq %[expected], (%[word],%%rax)\n\t" \
			     "jne %l[different]\n\t" \
			     "cmpq %[value], (%[other],%%rax)\n\t" \
			     "jne %l[different]\n\t" \
			     "movq %[desired], (%[word],%%rax)\n" \
			     VCPU_SECTION_END \
			     : \
			     : VCPU_SECTION_INPUTS(abi), [word] "r"(word), \
			       [expected] "r"(expected), [other] "r"(other), \
			       [value] "r"(value), [desired] "r"(desired) \
			     : "rax", "cc", "memory" \
			     : refused, different); \
		return 0; \
	different: \
		return VCPU_DIFFERENT; \
	refused:; \
	} \
	return vcpu_update_several(abi, word, VCPU_WORDS_COMPARE_EQUAL_COMPARE_EQUAL_STORE, \
				   (uint64_t)expected, other, value, (uint64_t)desired); \
} \
VCPU_INLINE int vcpu_section##width##_compare_equal_copy_store( \
	const struct vcpu_abi *abi, struct vcpu_section##width *word, type expected, \
	struct vcpu_section8 *to, const void *from, size_t length, type desired) \
{ \
	/* What string instructions change is no input, and a jump to a label no output: so all \
	 * three are set in the section, where an abort restarts the copy from the beginning. */ \
	if (VCPU_HAS_SECTIONS(abi)) { \
		__asm__ goto(VCPU_SECTION_BEGIN_GOTO(refused) \
			     "cmpq %[expected], (%[word],%%rax)\n\t" \
			     "jne %l[different]\n\t" \
			     "leaq (%[to],%%rax), %%rdi\n\t" \
			     "movq %[from], %%rsi\n\t" \
			     "movq %[length], %%rcx\n\t" \
			     "rep movsb\n\t" \
			     "movq %[desired], (%[word],%%rax)\n" \
			     VCPU_SECTION_END \
			     : \
			     : VCPU_SECTION_INPUTS(abi), [word] "r"(word), \
			       [expected] "r"(expected), [to] "r"(to), [from] "rm"(from), \
			       [length] "rm"(length), [desired] "r"(desired) \
			     : "rax", "rcx", "rsi", "rdi", "cc", "memory" \
			     : refused, different); \
		return 0; \
	different: \
		return VCPU_DIFFERENT; \
	refused:; \
	} \
	return vcpu_update_copy(abi, word, (uint64_t)expected, to, from, length, \
				(uint64_t)desired); \
}

VCPU_DEFINE_SEVERAL(64, uint64_t)
VCPU_DEFINE_SEVERAL(_ptr, void *)

#undef VCPU_DEFINE_SEVERAL

/* Where the word is not `excluded`, an address: stores what is `offset` bytes behind it into the word,
 * and gives through `taken` what it was: a pop from a list. What is in the list stays readable until a
 * fence after it was taken out. */
VCPU_INLINE int vcpu_section_ptr_compare_not_equal_load_store(
	const struct vcpu_abi *abi, struct vcpu_section_ptr *word, void *excluded, ptrdiff_t offset,
	void **taken)
{
	if (VCPU_HAS_SECTIONS(abi)) {
		uint32_t refused = 0;
		uint64_t distance;
		void *before, *next;

		__asm__ __volatile__(VCPU_SECTION_BEGIN_ALSO("776:\n\t"
							     "movl $2, %[vcpu_refused]\n\t"
							     "jmp 772f\n")
				     "movq (%[word],%[distance]), %[before]\n\t"
				     "cmpq %[excluded], %[before]\n\t"
				     "je 776b\n\t"
				     "movq (%[before],%[offset]), %[next]\n\t"
				     "movq %[next], (%[word],%[distance])\n"
				     VCPU_SECTION_END
				     : [before] "=&r"(before), [next] "=&r"(next),
				       VCPU_SECTION_OUTPUTS(distance, refused)
				     : VCPU_SECTION_INPUTS(abi), [word] "r"(word),
				       [excluded] "r"(excluded), [offset] "r"(offset)
				     : "cc", "memory");
		if (__builtin_expect(!refused, 1)) {
			*taken = before;
			return 0;
		}
		if (refused == 2)
			return VCPU_DIFFERENT;
	}
	return vcpu_update_pop(abi, word, excluded, offset, taken);
}

/* Adds, wrapping, to the word of 8 bytes that the word points to, which such sections of that vCPU
 * alone change. VCPU_DIFFERENT: it is null. */
VCPU_INLINE int vcpu_section_ptr_add_to_pointee(const struct vcpu_abi *abi,
						struct vcpu_section_ptr *word, uint64_t value)
{
	if (VCPU_HAS_SECTIONS(abi)) {
		__asm__ goto(VCPU_SECTION_BEGIN_GOTO(refused)
			     "movq (%[word],%%rax), %%rax\n\t"
			     "testq %%rax, %%rax\n\t"
			     "jz %l[different]\n\t"
			     "addq %[value], (%%rax)\n"
			     VCPU_SECTION_END
			     :
			     : VCPU_SECTION_INPUTS(abi), [word] "r"(word), [value] "er"(value)
			     : "rax", "cc", "memory"
			     : refused, different);
		return 0;
	different:
		return VCPU_DIFFERENT;
	refused:;
	}
	return vcpu_update_several(abi, word, VCPU_WORDS_ADD_TO_POINTEE, 0, NULL, value, 0);
}

/* Two words that are compared and exchanged together, of the single kind. By cmpxchg16b, which x86-64
 * processors have since 2006: who must run on older ones asks vcpu_has_pairs(). */
struct vcpu_pair {
	uint64_t values[2];
} __attribute__((__aligned__(16)));

/* 1 where the processor has the instruction (CPUID 1, ECX bit 13). It is slow: asked once, kept. */
static inline int vcpu_has_pairs(void)
{
	uint32_t eax = 1, ebx, ecx = 0, edx;

	__asm__ __volatile__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return (ecx >> 13) & 1;
}

/* Writes desired[2] where this vCPU's copy is expected[2], and says so by 1; 0: expected is now what
 * is there instead. */
VCPU_INLINE int vcpu_pair_compare_exchange(const struct vcpu_abi *abi, struct vcpu_pair *pair,
					   uint64_t *expected, const uint64_t *desired)
{
	const uint64_t old_low = expected[0], old_high = expected[1];
	uint64_t low = old_low, high = old_high;

	if (abi->mode == VCPU_MODE_GS) {
		__asm__ __volatile__("cmpxchg16b %%gs:(%[pair])"
				     : "+a"(low), "+d"(high)
				     : [pair] "r"(pair), "b"(desired[0]), "c"(desired[1])
				     : "cc", "memory");
	} else {
		uint32_t refused = 1;

		if (VCPU_HAS_SECTIONS(abi)) {
			uint64_t distance;

			refused = 0;
			__asm__ __volatile__(VCPU_SECTION_BEGIN
					     "cmpxchg16b (%[pair],%[distance])\n"
					     VCPU_SECTION_END
					     : "+&a"(low), "+&d"(high),
					       VCPU_SECTION_OUTPUTS(distance, refused)
					     : VCPU_SECTION_INPUTS(abi), [pair] "r"(pair),
					       "b"(desired[0]), "c"(desired[1])
					     : "cc", "memory");
		}
		if (__builtin_expect(refused, 0)) {
			abi->update_pair(pair, expected, desired);
			return expected[0] == old_low && expected[1] == old_high;
		}
	}
	expected[0] = low;
	expected[1] = high;
	return low == old_low && high == old_high;
}

#ifdef __cplusplus
}
#endif

#endif /* VCPU_SEVERAL_WORDS_H */
