/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What an allocator has before its central lists, in the shape of TCMalloc's per-CPU slab: for each class
 * of sizes an array of pointers on every vCPU, last in, first out. Nothing waits: who is told that there
 * is none, or no room, does what it does without a cache. All may be called in signal handlers. */
#ifndef SLAB_H
#define SLAB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLAB_CLASSES 8
#define SLAB_SLOTS 32

/* Once, while the process has one thread. 0, or a negative errno: there is no runtime (-ENOSYS), or no
 * memory; then every push and pop says that there is no room, and none. */
int slab_start(void);
/* Keeps an item, and says how many: 1, or 0. */
unsigned slab_push(unsigned class_, void *item);
/* The last item, or null. */
void *slab_pop(unsigned class_);
/* Keeps as many as there is room for, from the first on, and says how many. */
unsigned slab_push_batch(unsigned class_, void *const *items, unsigned count);
/* Takes as many of the last ones as there are, at most `count`, and says how many. */
unsigned slab_pop_batch(unsigned class_, void **items, unsigned count);
/* Takes items out of one area, another vCPU's or the last one, in the order in which they were put there:
 * how many, or a negative errno. -EBUSY: somebody else does so; the fence's; nothing was changed. */
int slab_drain(uint32_t area, unsigned class_, void **items, unsigned count);
/* Areas: drain each that slab_next_area gives, from 0 until it is not below. */
uint32_t slab_areas(void);
uint32_t slab_next_area(uint32_t area);

#ifdef __cplusplus
}
#endif

#endif /* SLAB_H */
