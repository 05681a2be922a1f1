/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The cache of examples/c-slab, and a way to look into it while nobody uses it. */
#include "../../../examples/c-slab/c/slab.c"

void c_slab_fill(char *items, unsigned count);

/* Each area's class 0 holds so many items and no other: the first one's `count` from `items` on, and so
 * on. */
void c_slab_fill(char *items, unsigned count)
{
	uint32_t area;

	VCPU_FOR_EACH_AREA(&vcpu_abi, area) {
		void *had[SLAB_SLOTS], *item;
		unsigned index;

		take(copy_in(area), 0, had, SLAB_SLOTS);
		for (index = 0; index < count; index++) {
			item = items++;
			keep(copy_in(area), 0, &item, 1);
		}
	}
}
