/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A weak reference to the table, in a program that has the table only where something refers to it. */
#define VCPU_ABI_OPTIONAL
#include <vcpu_rt.h>

uint32_t vcpu_test_lean(void);

/* The table's size, after its allocator gave an object and took it back; 0 where either is missing. */
uint32_t vcpu_test_lean(void)
{
	const struct vcpu_abi *abi = vcpu_abi_find();
	void *object = NULL;

	if (!abi || abi->alloc(8, 8, &object) || !object || abi->free(object, 8))
		return 0;
	return abi->size;
}
