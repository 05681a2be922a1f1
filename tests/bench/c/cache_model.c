/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A cache of pointers as others make it, pushed to and popped from: 32 items one by one, and back
 * (cache_model batch); one item in each of 16 classes, and back (cache_model classes).
 *
 * MODEL_MM_CID: the slab is found by mm_cid, which is compared with a bound, shifted by a constant
 * and added to a base that stays in a register.
 *
 * MODEL_CACHED: the slab's address stands in the thread's block, where its upper half is
 * cpu_id_start, so that the kernel overwrites it whenever the thread may have moved: bit 63, which
 * no CPU number has, tells that it is valid. (This is what TCMalloc does, but for its prefetches.)
 */
#include "cache_model.h"

#include <string.h>

#include "aligned_loops.h"

#define SAMPLES 9
#define MISSES 1000000

#ifdef MODEL_CACHED
#define CACHED_BIT 63
#define FIND_SLAB										\
	"movq %[cached_slab], %[slab]\n\t"							\
	"btrq %[cached_bit], %[slab]\n\t"							\
	"jnc 4b\n\t"
#define FIND_SLAB_INPUTS									\
	[cached_slab] "m"(thread_area.cached_slab), [cached_bit] "i"(CACHED_BIT)
#else
#define FIND_SLAB										\
	"movl %[mm_cid], %k[slab]\n\t"								\
	"cmpl %[vcpus], %k[slab]\n\t"								\
	"jae 4b\n\t"									\
	"shlq %[slab_shift], %[slab]\n\t"							\
	"addq %[slabs], %[slab]\n\t"
#define FIND_SLAB_INPUTS									\
	[mm_cid] "m"(thread_area.mm_cid), [vcpus] "i"(VCPUS), [slab_shift] "i"(SLAB_SHIFT),	\
		[slabs] "r"(base)
#endif

static __attribute__((noreturn)) void fail(void)
{
	fprintf(stderr, "an item was lost\n");
	exit(1);
}

/*
 * After an abort, and where the kernel has overwritten the address of the slab, which is stored
 * again. Full or empty is no class of this program.
 */
__attribute__((used, no_caller_saved_registers, target("general-regs-only"))) void miss(void)
{
	static unsigned long misses;

	if (++misses > MISSES)
		__builtin_trap();
#ifdef MODEL_CACHED
	uint64_t address;

	/* The store commits only on the vCPU whose number was read. */
	__asm__ volatile(SECTION_START
			 "movl %[mm_cid], %k[address]\n\t"
			 "shlq %[slab_shift], %[address]\n\t"
			 "addq %[slabs], %[address]\n\t"
			 "btsq %[cached_bit], %[address]\n\t"
			 "movq %[address], %[cached_slab]\n" SECTION_END
			 : [address] "=&r"(address), [cached_slab] "=m"(thread_area.cached_slab)
			 : SECTION_INPUTS, [mm_cid] "m"(thread_area.mm_cid),
			   [slab_shift] "i"(SLAB_SHIFT), [slabs] "r"(slabs),
			   [cached_bit] "i"(CACHED_BIT)
			 : "memory", "cc");
#endif
}

static inline __attribute__((always_inline)) void push(char *base, size_t class, void *item)
{
	uintptr_t slab, current;

	__asm__ volatile(SECTION_START FIND_SLAB
			 "movq (%[slab], %[class], 8), %[current]\n\t"
			 "cmpq 128(%[slab], %[class], 8), %[current]\n\t"
			 "jae 4b\n\t"
			 "movq %[item], (%[current])\n\t"
			 "addq $8, %[current]\n\t"
			 "movq %[current], (%[slab], %[class], 8)\n" SECTION_END
			 : [slab] "=&r"(slab), [current] "=&r"(current)
			 : SECTION_INPUTS, FIND_SLAB_INPUTS, [class] "r"(class), [item] "r"(item)
			 : "memory", "cc");
}

static inline __attribute__((always_inline)) void *pop(char *base, size_t class)
{
	uintptr_t slab, current;
	void *item;

	__asm__ volatile(SECTION_START FIND_SLAB
			 "movq (%[slab], %[class], 8), %[current]\n\t"
			 "movq -8(%[current]), %[item]\n\t"
			 "testb %[begin_mark], %b[item]\n\t"
			 "jnz 4b\n\t"
			 "subq $8, %[current]\n\t"
			 "movq %[current], (%[slab], %[class], 8)\n" SECTION_END
			 : [slab] "=&r"(slab), [current] "=&r"(current), [item] "=&r"(item)
			 : SECTION_INPUTS, FIND_SLAB_INPUTS, [class] "r"(class),
			   [begin_mark] "i"(BEGIN_MARK)
			 : "memory", "cc");
	return item;
}

#define BATCH 32
#define OPERATIONS 32000

/* Pushes one item as often as `count` says, and pops as often. */
#define PUSH_AND_POP(count, class_of)								\
	for (size_t number = 0; number < (size_t)(count); number++)				\
		push(base, class_of(number), base);						\
	for (size_t number = 0; number < (size_t)(count); number++)				\
		__asm__ volatile("" : : "r"(pop(base, class_of(number))));

#define ONE_CLASS(number) 0
#define OWN_CLASS(number) (number)

ALIGNED_FUNCTIONS(batch, char *, base, count, PUSH_AND_POP(count, ONE_CLASS));
ALIGNED_FUNCTIONS(classes, char *, base, count, PUSH_AND_POP(count, OWN_CLASS));

/* Items come back in the order that is wanted, and the classes are empty afterwards. */
static void check(void)
{
	for (size_t class = 0; class < CLASSES; class++) {
		for (size_t number = 0; number < BATCH; number++)
			push(slabs, class, slabs + 8 * (CLASSES * number + class));
	}
	for (size_t class = 0; class < CLASSES; class++) {
		for (size_t number = BATCH; number-- > 0;) {
			if (pop(slabs, class) != slabs + 8 * (CLASSES * number + class))
				fail();
		}
	}
}

int main(int count, char **arguments)
{
	if (count != 2)
		return 1;
	start();
	check();
	if (strcmp(arguments[1], "batch") == 0)
		PRINT_SAMPLES(batch, slabs, SAMPLES, OPERATIONS / BATCH, BATCH);
	else if (strcmp(arguments[1], "classes") == 0)
		PRINT_SAMPLES(classes, slabs, SAMPLES, OPERATIONS / CLASSES, CLASSES);
	else
		return 1;
	check();
	return 0;
}
