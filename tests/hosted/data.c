/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Per-vCPU data by vcpu_data.h on the runtime that is there, and the C libraries of the examples: many
 * threads, exact results. */
#define _GNU_SOURCE
#ifndef VCPU_ABI_REQUIRED
#define VCPU_ABI_OPTIONAL
#endif
#include "per_vcpu.h"

#define EXPECT CHECK
#define ABI (&vcpu_abi)
#include "../fixtures/header/steps.h"

#include "../../examples/c-counter/c/counter.c"
#include "../../examples/c-slab/c/slab.c"

static struct counter hits;
static unsigned char is_taken[THREADS][16];
static uint64_t wrong;

/* Counts, and has its items in the cache and out of it; each is in one place. */
static void *use_libraries(void *mine)
{
	unsigned char *own = (unsigned char *)mine, *item;
	unsigned class_ = 0, turn;

	for (turn = 0; turn < TURNS; turn++) {
		counter_add(&hits, 3);
		item = turn < 16 ? own + turn : (unsigned char *)slab_pop(class_);
		if (!item) {
			class_ = (class_ + 1) % SLAB_CLASSES;
			continue;
		}
		if (__atomic_exchange_n(item, 1, __ATOMIC_RELAXED))
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
		__atomic_store_n(item, 0, __ATOMIC_RELAXED);
		while (!slab_push(class_, item))
			class_ = (class_ + 1) % SLAB_CLASSES;
	}
	return NULL;
}

/* All items of all areas, once. */
static unsigned drain(void)
{
	void *items[SLAB_SLOTS];
	unsigned count = 0, class_;
	uint32_t area;
	int drained, index;

	for (area = 0; area < slab_areas(); area = slab_next_area(area)) {
		for (class_ = 0; class_ < SLAB_CLASSES; class_++) {
			drained = slab_drain(area, class_, items, SLAB_SLOTS);
			CHECK(drained >= 0);
			for (index = 0; index < drained; index++)
				wrong += (*(unsigned char *)items[index])++;
			count += (unsigned)drained;
		}
	}
	return count;
}

int main(void)
{
	const struct vcpu_abi *abi = vcpu_data_find();
	struct vcpu_statistics before, after;
	pthread_t threads[THREADS];
	struct words *words;
	void *object;
	int thread;

	CHECK(abi);
	CHECK(abi->statistics(&before, sizeof(before)) == 0);
	CHECK(abi->alloc(sizeof(struct words), 64, &object) == 0);
	CHECK(abi->statistics(&after, sizeof(after)) == 0 && after.objects == before.objects + 1);
	words = (struct words *)object;
	CHECK(run_steps(words) == 0);
	printf("mode=%u\n", (unsigned)abi->mode);
	/* What was added by locks. */
	printf("last_area=%lu\n",
	       (unsigned long)vcpu_single64_read(abi, &words->single64_returned, abi->nr_vcpus));
	CHECK(abi->discard(object, sizeof(struct words), 0) == 0);
	CHECK(vcpu_single64_read(abi, &words->single64_returned, 0) == 0);
	CHECK(abi->free(object, sizeof(struct words)) == 0);

	counter_start(&hits);
	CHECK(counter_is_per_vcpu(&hits));
	CHECK(slab_start() == 0);
	for (thread = 0; thread < THREADS; thread++)
		CHECK(pthread_create(&threads[thread], NULL, use_libraries, is_taken[thread]) == 0);
	for (thread = 0; thread < THREADS; thread++)
		CHECK(pthread_join(threads[thread], NULL) == 0);
	CHECK(counter_sum(&hits) == 3ULL * THREADS * TURNS);
	CHECK(drain() == sizeof(is_taken));
	CHECK(wrong == 0);
	counter_end(&hits);
	return PASSED;
}
