/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * vcpu_words.h: words of per-vCPU data and their updates. Include vcpu_data.h, which has all of it.
 *
 * For each KIND in single, section, and each WIDTH in 8, 16, 32, 64 and _ptr there is a type
 * struct vcpu_KINDWIDTH (vcpu_single64, vcpu_section_ptr) and, with its value's type T (uint8_t to
 * uint64_t, void *):
 *
 *   T    vcpu_KINDWIDTH_load(abi, word)
 *   void vcpu_KINDWIDTH_store(abi, word, value)
 *   T    vcpu_KINDWIDTH_exchange(abi, word, value)
 *   int  vcpu_KINDWIDTH_compare_exchange(abi, word, &expected, desired)
 *            1, or 0 and what is there instead in expected
 *   T    vcpu_KINDWIDTH_read(abi, word, area)      another vCPU's copy
 *
 * and for integers, all of them wrapping
 *
 *   void vcpu_KINDWIDTH_add(abi, word, value), _sub, _and, _or, _xor
 *   void vcpu_KINDWIDTH_inc(abi, word), _dec
 *   T    vcpu_KINDWIDTH_add_return(abi, word, value)   this vCPU's copy after the addition
 *   T    vcpu_KINDWIDTH_sum(abi, word)                 over all areas; exact when nobody adds
 *
 * `abi` is the table (&vcpu_abi, or what vcpu_data_find() returned), `word` the word in vCPU 0's copy of
 * an object. Each acts on the copy of the vCPU on which the thread runs at that instant, once, in any
 * thread and any handler, and ends in a bounded number of steps. Relaxed; commits on section words are
 * releases. A compare_exchange that fails writes what it found. One attempt is inline: in the mode GS
 * one instruction on single words, otherwise a critical section or in the shared mode a locked
 * instruction; the runtime's update_word does the rest.
 */
#ifndef VCPU_WORDS_H
#define VCPU_WORDS_H

#include "vcpu_section.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The kind of a word says for life who changes it: a single word one update at a time on the own vCPU;
 * a section word the commit of a section, and others behind a stop flag and a fence. The types keep them
 * apart. The member is what one copy holds: never accessed directly, but while nobody else does. */
struct vcpu_single8 { uint8_t value; };
struct vcpu_single16 { uint16_t value; };
struct vcpu_single32 { uint32_t value; };
struct vcpu_single64 { uint64_t value; };
struct vcpu_single_ptr { void *value; };
struct vcpu_section8 { uint8_t value; };
struct vcpu_section16 { uint16_t value; };
struct vcpu_section32 { uint32_t value; };
struct vcpu_section64 { uint64_t value; };
struct vcpu_section_ptr { void *value; };

#define VCPU_INLINE static inline __attribute__((__always_inline__))

/* How far the copy for this thread's locked updates is from vCPU 0's in the shared mode: threads are
 * spread by their thread pointers (Fibonacci hashing of the page number). */
VCPU_INLINE size_t vcpu_shared_distance(const struct vcpu_abi *abi)
{
	uint64_t pointer;
	uint32_t hash;

	__asm__("movq %%fs:0, %0" : "=r"(pointer));
	hash = (uint32_t)(pointer >> 12) * 0x9e3779b9U;
	return (size_t)(((uint64_t)hash * abi->shared_areas) >> 32) << abi->stride_shift;
}

/* What differs between the kinds: whether an update is one %gs: instruction where it can be. */
#define VCPU_IS_GS_single(abi) ((abi)->mode == VCPU_MODE_GS)
#define VCPU_IS_GS_section(abi) 0
#define VCPU_HAS_SECTIONS(abi) __builtin_expect((abi)->mode != VCPU_MODE_SHARED, 1)

/* The value in the area's copy for locked updates. */
#define VCPU_SHARED_VALUE(abi, kind, width, word) \
	(&((struct vcpu_##kind##width *)(void *)((char *)(word) + vcpu_shared_distance(abi)))->value)

/* An update without a result. (`name` begins with an underscore: `and` is an operator of C++.) */
#define VCPU_DEFINE_CHANGE(kind, width, type, update, constraint, name, operation, instruction, locked) \
VCPU_INLINE void vcpu_##kind##width##name(const struct vcpu_abi *abi, \
					     struct vcpu_##kind##width *word, type value) \
{ \
	if (VCPU_IS_GS_##kind(abi)) { \
		__asm__ __volatile__(instruction ", %%gs:(%[word])" \
				     : \
				     : [word] "r"(word), [value] constraint(value) \
				     : "cc", "memory"); \
		return; \
	} \
	if (VCPU_HAS_SECTIONS(abi)) { \
		__asm__ goto(VCPU_SECTION_BEGIN_GOTO(refused) \
			     instruction ", (%[word],%%rax)\n" \
			     VCPU_SECTION_END \
			     : \
			     : VCPU_SECTION_INPUTS(abi), [word] "r"(word), [value] constraint(value) \
			     : "rax", "cc", "memory" \
			     : refused); \
		return; \
	refused: \
		(void)abi->update_word(word, operation | update, (uint64_t)value, 0); \
		return; \
	} \
	locked(VCPU_SHARED_VALUE(abi, kind, width, word), value); \
}

#define VCPU_LOCKED_STORE(place, value) __atomic_store_n(place, value, __ATOMIC_RELEASE)
#define VCPU_LOCKED_ADD(place, value) (void)__atomic_fetch_add(place, value, __ATOMIC_ACQ_REL)
#define VCPU_LOCKED_AND(place, value) (void)__atomic_fetch_and(place, value, __ATOMIC_ACQ_REL)
#define VCPU_LOCKED_OR(place, value) (void)__atomic_fetch_or(place, value, __ATOMIC_ACQ_REL)
#define VCPU_LOCKED_XOR(place, value) (void)__atomic_fetch_xor(place, value, __ATOMIC_ACQ_REL)

/* What values of every type have: `s` is the instructions' suffix, `r` the modifier of registers. */
#define VCPU_DEFINE_VALUE(kind, width, type, update, s, r, constraint) \
VCPU_DEFINE_CHANGE(kind, width, type, update, constraint, _store, VCPU_UPDATE_STORE, \
		   "mov" s " %" r "[value]", VCPU_LOCKED_STORE) \
VCPU_INLINE type vcpu_##kind##width##_load(const struct vcpu_abi *abi, \
					   struct vcpu_##kind##width *word) \
{ \
	type value; \
\
	if (VCPU_IS_GS_##kind(abi)) { \
		__asm__ __volatile__("mov" s " %%gs:(%[word]), %" r "[value]" \
				     : [value] "=r"(value) \
				     : [word] "r"(word) \
				     : "memory"); \
		return value; \
	} \
	if (VCPU_HAS_SECTIONS(abi)) { \
		uint32_t refused = 0; \
		uint64_t distance; \
\
		__asm__ __volatile__(VCPU_SECTION_BEGIN \
				     "mov" s " (%[word],%[distance]), %" r "[value]\n" \
				     VCPU_SECTION_END \
				     : [value] "=&r"(value), VCPU_SECTION_OUTPUTS(distance, refused) \
				     : VCPU_SECTION_INPUTS(abi), [word] "r"(word) \
				     : "cc", "memory"); \
		if (__builtin_expect(!refused, 1)) \
			return value; \
		return (type)abi->update_word(word, VCPU_UPDATE_LOAD | update, 0, 0); \
	} \
	return __atomic_load_n(VCPU_SHARED_VALUE(abi, kind, width, word), __ATOMIC_ACQUIRE); \
} \
VCPU_INLINE type vcpu_##kind##width##_exchange(const struct vcpu_abi *abi, \
					       struct vcpu_##kind##width *word, type value) \
{ \
	type before; \
\
	if (VCPU_IS_GS_##kind(abi)) { \
		/* Not xchg, which locks whether told or not. */ \
		__asm__ __volatile__("mov" s " %%gs:(%[word]), %" r "[before]\n" \
				     "775:\n\t" \
				     "cmpxchg" s " %" r "[value], %%gs:(%[word])\n\t" \
				     "jne 775b" \
				     : [before] "=&a"(before) \
				     : [word] "r"(word), [value] "r"(value) \
				     : "cc", "memory"); \
		return before; \
	} \
	if (VCPU_HAS_SECTIONS(abi)) { \
		uint32_t refused = 0; \
		uint64_t distance; \
\
		__asm__ __volatile__(VCPU_SECTION_BEGIN \
				     "mov" s " (%[word],%[distance]), %" r "[before]\n\t" \
				     "mov" s " %" r "[value], (%[word],%[distance])\n" \
				     VCPU_SECTION_END \
				     : [before] "=&r"(before), VCPU_SECTION_OUTPUTS(distance, refused) \
				     : VCPU_SECTION_INPUTS(abi), [word] "r"(word), [value] "r"(value) \
				     : "cc", "memory"); \
		if (__builtin_expect(!refused, 1)) \
			return before; \
		return (type)abi->update_word(word, VCPU_UPDATE_EXCHANGE | update, (uint64_t)value, 0); \
	} \
	return __atomic_exchange_n(VCPU_SHARED_VALUE(abi, kind, width, word), value, \
				   __ATOMIC_ACQ_REL); \
} \
VCPU_INLINE int vcpu_##kind##width##_compare_exchange(const struct vcpu_abi *abi, \
						      struct vcpu_##kind##width *word, \
						      type *expected, type desired) \
{ \
	type before = *expected; \
	int done; \
\
	if (VCPU_IS_GS_##kind(abi)) { \
		__asm__ __volatile__("cmpxchg" s " %" r "[desired], %%gs:(%[word])" \
				     : "+a"(before) \
				     : [word] "r"(word), [desired] "r"(desired) \
				     : "cc", "memory"); \
	} else if (VCPU_HAS_SECTIONS(abi)) { \
		uint32_t refused = 0; \
		uint64_t distance; \
\
		__asm__ __volatile__(VCPU_SECTION_BEGIN \
				     "cmpxchg" s " %" r "[desired], (%[word],%[distance])\n" \
				     VCPU_SECTION_END \
				     : "+&a"(before), VCPU_SECTION_OUTPUTS(distance, refused) \
				     : VCPU_SECTION_INPUTS(abi), [word] "r"(word), \
				       [desired] "r"(desired) \
				     : "cc", "memory"); \
		if (__builtin_expect(refused, 0)) \
			before = (type)abi->update_word(word, VCPU_UPDATE_COMPARE_EXCHANGE | update, \
							(uint64_t)desired, (uint64_t)before); \
	} else { \
		(void)__atomic_compare_exchange_n(VCPU_SHARED_VALUE(abi, kind, width, word), \
						  &before, desired, 0, __ATOMIC_ACQ_REL, \
						  __ATOMIC_ACQUIRE); \
	} \
	done = before == *expected; \
	*expected = before; \
	return done; \
} \
static inline type vcpu_##kind##width##_read(const struct vcpu_abi *abi, \
					     struct vcpu_##kind##width *word, uint32_t area) \
{ \
	struct vcpu_##kind##width *copy = \
		(struct vcpu_##kind##width *)vcpu_area_address(abi, word, area); \
\
	return __atomic_load_n(&copy->value, __ATOMIC_ACQUIRE); \
}

/* What integers have beside that. */
#define VCPU_DEFINE_INTEGER(kind, width, type, update, s, r) \
VCPU_DEFINE_VALUE(kind, width, type, update, s, r, "er") \
VCPU_DEFINE_CHANGE(kind, width, type, update, "er", _add, VCPU_UPDATE_ADD, \
		   "add" s " %" r "[value]", VCPU_LOCKED_ADD) \
VCPU_DEFINE_CHANGE(kind, width, type, update, "er", _and, VCPU_UPDATE_AND, \
		   "and" s " %" r "[value]", VCPU_LOCKED_AND) \
VCPU_DEFINE_CHANGE(kind, width, type, update, "er", _or, VCPU_UPDATE_OR, \
		   "or" s " %" r "[value]", VCPU_LOCKED_OR) \
VCPU_DEFINE_CHANGE(kind, width, type, update, "er", _xor, VCPU_UPDATE_XOR, \
		   "xor" s " %" r "[value]", VCPU_LOCKED_XOR) \
VCPU_INLINE void vcpu_##kind##width##_sub(const struct vcpu_abi *abi, \
					  struct vcpu_##kind##width *word, type value) \
{ \
	vcpu_##kind##width##_add(abi, word, (type)(0 - value)); \
} \
VCPU_INLINE void vcpu_##kind##width##_inc(const struct vcpu_abi *abi, \
					  struct vcpu_##kind##width *word) \
{ \
	vcpu_##kind##width##_add(abi, word, 1); \
} \
VCPU_INLINE void vcpu_##kind##width##_dec(const struct vcpu_abi *abi, \
					  struct vcpu_##kind##width *word) \
{ \
	vcpu_##kind##width##_add(abi, word, (type)-1); \
} \
VCPU_INLINE type vcpu_##kind##width##_add_return(const struct vcpu_abi *abi, \
						 struct vcpu_##kind##width *word, type value) \
{ \
	type before = value; \
\
	if (VCPU_IS_GS_##kind(abi)) { \
		__asm__ __volatile__("xadd" s " %" r "[before], %%gs:(%[word])" \
				     : [before] "+r"(before) \
				     : [word] "r"(word) \
				     : "cc", "memory"); \
	} else if (VCPU_HAS_SECTIONS(abi)) { \
		uint32_t refused = 0; \
		uint64_t distance; \
\
		__asm__ __volatile__(VCPU_SECTION_BEGIN \
				     "xadd" s " %" r "[before], (%[word],%[distance])\n" \
				     VCPU_SECTION_END \
				     : [before] "+&r"(before), VCPU_SECTION_OUTPUTS(distance, refused) \
				     : VCPU_SECTION_INPUTS(abi), [word] "r"(word) \
				     : "cc", "memory"); \
		if (__builtin_expect(refused, 0)) \
			before = (type)abi->update_word(word, VCPU_UPDATE_ADD | update, \
							(uint64_t)value, 0); \
	} else { \
		before = __atomic_fetch_add(VCPU_SHARED_VALUE(abi, kind, width, word), value, \
					    __ATOMIC_ACQ_REL); \
	} \
	return (type)(before + value); \
} \
static inline type vcpu_##kind##width##_sum(const struct vcpu_abi *abi, \
					    struct vcpu_##kind##width *word) \
{ \
	type sum = 0; \
	uint32_t area; \
\
	VCPU_FOR_EACH_AREA(abi, area) \
		sum = (type)(sum + vcpu_##kind##width##_read(abi, word, area)); \
	return sum; \
}

#define VCPU_DEFINE_KIND(kind) \
VCPU_DEFINE_INTEGER(kind, 8, uint8_t, VCPU_UPDATE_8, "b", "b") \
VCPU_DEFINE_INTEGER(kind, 16, uint16_t, VCPU_UPDATE_16, "w", "w") \
VCPU_DEFINE_INTEGER(kind, 32, uint32_t, VCPU_UPDATE_32, "l", "k") \
VCPU_DEFINE_INTEGER(kind, 64, uint64_t, VCPU_UPDATE_64, "q", "q") \
VCPU_DEFINE_VALUE(kind, _ptr, void *, VCPU_UPDATE_64, "q", "q", "r")

VCPU_DEFINE_KIND(single)
VCPU_DEFINE_KIND(section)

#undef VCPU_DEFINE_KIND
#undef VCPU_DEFINE_INTEGER
#undef VCPU_DEFINE_VALUE
#undef VCPU_DEFINE_CHANGE
#undef VCPU_LOCKED_STORE
#undef VCPU_LOCKED_ADD
#undef VCPU_LOCKED_AND
#undef VCPU_LOCKED_OR
#undef VCPU_LOCKED_XOR

#ifdef __cplusplus
}
#endif

#endif /* VCPU_WORDS_H */
