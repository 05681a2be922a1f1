/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A class has three words in each area, all addresses in its array there: `current`, behind the last
 * item; `end`, which a push must stay below; `begin`, which a pop must stay above. Sections write `current`
 * alone, by their commit. Who drains another vCPU's class stores 0 to `end` and the highest address to
 * `begin`: the comparisons that a push and a pop make anyway then fail, and after a fence no section is
 * left that has loaded the bounds before. (They are loaded before `current`: so one that saw them open
 * again sees the new `current`, and one fence is enough.)
 *
 * Threads that are not on a vCPU use the copy of a shared area, under its lock, which is tried.
 */
#ifndef VCPU_ABI_REQUIRED
#define VCPU_ABI_OPTIONAL
#endif
#include <vcpu_data.h>

#include <errno.h>

#include "slab.h"

struct class_words {
	uint64_t current;
	uint64_t end;
	uint64_t begin;
	uint64_t lock;
};

struct slab {
	struct class_words classes[SLAB_CLASSES];
	void *slots[SLAB_CLASSES][SLAB_SLOTS];
};

/* vCPU 0's copy; null before the start and where there is no runtime. */
static struct slab *first;

/* How a section ended. */
enum { DONE, REFUSED, MISSED };

static struct slab *copy_in(uint32_t area)
{
	return (struct slab *)vcpu_area_address(&vcpu_abi, first, area);
}

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Lets sections in: `begin` last, by which others see that it is done. */
static void open_class(struct slab *slab, unsigned class_)
{
	struct class_words *words = &slab->classes[class_];

	store(&words->end, (uint64_t)(uintptr_t)(slab->slots[class_] + SLAB_SLOTS));
	store(&words->begin, (uint64_t)(uintptr_t)slab->slots[class_]);
}

/* `begin` first, by which others see that it is closed. */
static void close_class(struct slab *slab, unsigned class_)
{
	store(&slab->classes[class_].begin, UINT64_MAX);
	store(&slab->classes[class_].end, 0);
}

static int is_closed(const struct slab *slab, unsigned class_)
{
	return load(&slab->classes[class_].begin) == UINT64_MAX;
}

int slab_start(void)
{
	const struct vcpu_abi *abi = vcpu_data_find();
	void *object;
	uint32_t area;
	unsigned class_;
	int error;

	if (!abi)
		return -ENOSYS;
	error = abi->alloc(sizeof(struct slab), 64, &object);
	if (error)
		return error;
	first = (struct slab *)object;
	VCPU_FOR_EACH_AREA(abi, area) {
		struct slab *slab = copy_in(area);

		for (class_ = 0; class_ < SLAB_CLASSES; class_++) {
			store(&slab->classes[class_].current,
			      (uint64_t)(uintptr_t)slab->slots[class_]);
			open_class(slab, class_);
		}
	}
	return 0;
}

/* One try to keep items; how many bytes of them in *moved, and how far this copy is in *distance. */
static int push_section(struct class_words *words, void *const *items, uint64_t bytes,
			uint64_t *moved, uint64_t *distance)
{
	uint32_t refused = 0;
	uint64_t slot, left, item, at;

	__asm__ __volatile__(VCPU_SECTION_BEGIN_ALSO("776:\n\t"
						     "movl $2, %[vcpu_refused]\n\t"
						     "jmp 772f\n")
			     "movq 8(%[words],%[distance]), %[moved]\n\t"
			     "movq (%[words],%[distance]), %[slot]\n\t"
			     "subq %[slot], %[moved]\n\t"
			     "jbe 776b\n\t"
			     "cmpq %[bytes], %[moved]\n\t"
			     "cmovaq %[bytes], %[moved]\n\t"
			     "movq %[moved], %[left]\n"
			     "775:\n\t"
			     "movq -8(%[items],%[left]), %[item]\n\t"
			     "movq %[item], -8(%[slot],%[left])\n\t"
			     "subq $8, %[left]\n\t"
			     "jne 775b\n\t"
			     "addq %[moved], %[slot]\n\t"
			     "movq %[slot], (%[words],%[distance])\n"
			     VCPU_SECTION_END
			     : [moved] "=&r"(*moved), [slot] "=&r"(slot), [left] "=&r"(left),
			       [item] "=&r"(item), VCPU_SECTION_OUTPUTS(at, refused)
			     : VCPU_SECTION_INPUTS(&vcpu_abi), [words] "r"(words),
			       [items] "r"(items), [bytes] "rm"(bytes)
			     : "cc", "memory");
	*distance = at;
	return (int)refused;
}

/* The same to take some. Items are written where they go before it is sure that they are taken. */
static int pop_section(struct class_words *words, void **items, uint64_t bytes, uint64_t *moved,
		       uint64_t *distance)
{
	uint32_t refused = 0;
	uint64_t slot, left, item, at;

	__asm__ __volatile__(VCPU_SECTION_BEGIN_ALSO("776:\n\t"
						     "movl $2, %[vcpu_refused]\n\t"
						     "jmp 772f\n")
			     "movq 16(%[words],%[distance]), %[left]\n\t"
			     "movq (%[words],%[distance]), %[slot]\n\t"
			     "movq %[slot], %[moved]\n\t"
			     "subq %[left], %[moved]\n\t"
			     "jbe 776b\n\t"
			     "cmpq %[bytes], %[moved]\n\t"
			     "cmovaq %[bytes], %[moved]\n\t"
			     "subq %[moved], %[slot]\n\t"
			     "movq %[moved], %[left]\n"
			     "775:\n\t"
			     "movq -8(%[slot],%[left]), %[item]\n\t"
			     "movq %[item], -8(%[items],%[left])\n\t"
			     "subq $8, %[left]\n\t"
			     "jne 775b\n\t"
			     "movq %[slot], (%[words],%[distance])\n"
			     VCPU_SECTION_END
			     : [moved] "=&r"(*moved), [slot] "=&r"(slot), [left] "=&r"(left),
			       [item] "=&r"(item), VCPU_SECTION_OUTPUTS(at, refused)
			     : VCPU_SECTION_INPUTS(&vcpu_abi), [words] "r"(words),
			       [items] "r"(items), [bytes] "rm"(bytes)
			     : "cc", "memory");
	*distance = at;
	return (int)refused;
}

/* In a fork child a class may be closed by a thread that is not there: the lock's holder is not either. */
static int reopen(struct slab *slab, unsigned class_)
{
	uint64_t *lock = &slab->classes[class_].lock;

	if (vcpu_abi.try_lock(lock))
		return 0;
	if (is_closed(slab, class_))
		open_class(slab, class_);
	vcpu_abi.unlock(lock);
	return 1;
}

/* Items between a copy of a shared area, or one that is stopped, and the caller's: the caller alone. */
static unsigned keep(struct slab *slab, unsigned class_, void *const *items, unsigned count)
{
	uint64_t *current = &slab->classes[class_].current;
	void **slot = (void **)(uintptr_t)load(current);
	unsigned kept = 0;

	while (kept < count && slot < slab->slots[class_] + SLAB_SLOTS)
		*slot++ = items[kept++];
	store(current, (uint64_t)(uintptr_t)slot);
	return kept;
}

static unsigned take(struct slab *slab, unsigned class_, void **items, unsigned count)
{
	uint64_t *current = &slab->classes[class_].current;
	void **end = (void **)(uintptr_t)load(current);
	unsigned held = (unsigned)(end - slab->slots[class_]);
	unsigned taken = held < count ? held : count, index;

	for (index = 0; index < taken; index++)
		items[index] = end[(ptrdiff_t)index - (ptrdiff_t)taken];
	store(current, (uint64_t)(uintptr_t)(end - taken));
	return taken;
}

unsigned slab_push_batch(unsigned class_, void *const *items, unsigned count)
{
	uint64_t moved, distance;
	struct slab *slab;
	uint32_t attempt;

	if (!first || count == 0 || class_ >= SLAB_CLASSES)
		return 0;
	for (attempt = 0; vcpu_abi.mode != VCPU_MODE_SHARED && attempt < vcpu_abi.attempts;
	     attempt++) {
		int how = push_section(&first->classes[class_], items, 8ULL * count, &moved,
				       &distance);

		if (how == DONE)
			return (unsigned)(moved / 8);
		if (how == MISSED) {
			slab = (struct slab *)(void *)((char *)first + distance);
			if (!is_closed(slab, class_) || !reopen(slab, class_))
				return 0;
		}
		if (how == REFUSED &&
		    !vcpu_thread_may_retry(&vcpu_abi, &first->classes[class_].current))
			break;
	}
	slab = (struct slab *)vcpu_shared_address(&vcpu_abi, first);
	if (vcpu_abi.try_lock(&slab->classes[class_].lock))
		return 0;
	count = keep(slab, class_, items, count);
	vcpu_abi.unlock(&slab->classes[class_].lock);
	return count;
}

unsigned slab_pop_batch(unsigned class_, void **items, unsigned count)
{
	uint64_t moved, distance;
	struct slab *slab;
	uint32_t attempt;

	if (!first || count == 0 || class_ >= SLAB_CLASSES)
		return 0;
	for (attempt = 0; vcpu_abi.mode != VCPU_MODE_SHARED && attempt < vcpu_abi.attempts;
	     attempt++) {
		int how = pop_section(&first->classes[class_], items, 8ULL * count, &moved,
				      &distance);

		if (how == DONE)
			return (unsigned)(moved / 8);
		if (how == MISSED) {
			slab = (struct slab *)(void *)((char *)first + distance);
			if (!is_closed(slab, class_) || !reopen(slab, class_))
				return 0;
		}
		if (how == REFUSED &&
		    !vcpu_thread_may_retry(&vcpu_abi, &first->classes[class_].current))
			break;
	}
	slab = (struct slab *)vcpu_shared_address(&vcpu_abi, first);
	if (vcpu_abi.try_lock(&slab->classes[class_].lock))
		return 0;
	count = take(slab, class_, items, count);
	vcpu_abi.unlock(&slab->classes[class_].lock);
	return count;
}

/* The fast path: one section, and what it cannot do is done by the other. */
unsigned slab_push(unsigned class_, void *item)
{
	if (first && class_ < SLAB_CLASSES && VCPU_HAS_SECTIONS(&vcpu_abi)) {
		__asm__ goto(VCPU_SECTION_BEGIN_GOTO(missed)
			     "addq %[words], %%rax\n\t"
			     "movq 8(%%rax), %%rdx\n\t"
			     "movq (%%rax), %%rcx\n\t"
			     "cmpq %%rdx, %%rcx\n\t"
			     "jae %l[missed]\n\t"
			     "movq %[item], (%%rcx)\n\t"
			     "addq $8, %%rcx\n\t"
			     "movq %%rcx, (%%rax)\n"
			     VCPU_SECTION_END
			     :
			     : VCPU_SECTION_INPUTS(&vcpu_abi),
			       [words] "r"(&first->classes[class_]), [item] "r"(item)
			     : "rax", "rcx", "rdx", "cc", "memory"
			     : missed);
		return 1;
	}
missed:
	return slab_push_batch(class_, &item, 1);
}

void *slab_pop(unsigned class_)
{
	void *item = NULL;

	if (first && class_ < SLAB_CLASSES && VCPU_HAS_SECTIONS(&vcpu_abi)) {
		uint32_t refused = 0;
		uint64_t distance, slot, begin;

		__asm__ __volatile__(VCPU_SECTION_BEGIN
				     "addq %[words], %[distance]\n\t"
				     "movq 16(%[distance]), %[begin]\n\t"
				     "movq (%[distance]), %[slot]\n\t"
				     "cmpq %[begin], %[slot]\n\t"
				     "jbe 773b\n\t"
				     "movq -8(%[slot]), %[item]\n\t"
				     "subq $8, %[slot]\n\t"
				     "movq %[slot], (%[distance])\n"
				     VCPU_SECTION_END
				     : [item] "=&r"(item), [slot] "=&r"(slot), [begin] "=&r"(begin),
				       VCPU_SECTION_OUTPUTS(distance, refused)
				     : VCPU_SECTION_INPUTS(&vcpu_abi),
				       [words] "r"(&first->classes[class_])
				     : "cc", "memory");
		if (!refused)
			return item;
	}
	return slab_pop_batch(class_, &item, 1) ? item : NULL;
}

int slab_drain(uint32_t area, unsigned class_, void **items, unsigned count)
{
	struct slab *slab;
	int result = 0;

	if (!first || class_ >= SLAB_CLASSES || area >= vcpu_abi.nr_areas)
		return -EINVAL;
	slab = copy_in(area);
	if (vcpu_abi.try_lock(&slab->classes[class_].lock))
		return -EBUSY;
	/* On shared areas nobody runs a section, and whoever else is here holds the lock. */
	if (vcpu_abi.mode != VCPU_MODE_SHARED && area < vcpu_abi.nr_vcpus) {
		close_class(slab, class_);
		result = vcpu_abi.fence(-1);
	}
	if (result == 0)
		result = (int)take(slab, class_, items, count);
	if (is_closed(slab, class_))
		open_class(slab, class_);
	vcpu_abi.unlock(&slab->classes[class_].lock);
	return result;
}

uint32_t slab_areas(void)
{
	return first ? vcpu_abi.nr_areas : 0;
}

uint32_t slab_next_area(uint32_t area)
{
	return vcpu_next_area(&vcpu_abi, area);
}
