/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * vcpu_data.h: per-vCPU data for C and C++: what DEFINE_PER_CPU, this_cpu_add and alloc_percpu are to
 * the kernel. It needs a runtime with a table of version 1.1, which vcpu_data_find() looks for.
 *
 *   #define VCPU_ABI_REQUIRED		or VCPU_ABI_OPTIONAL: see vcpu_rt.h
 *   #include <vcpu_data.h>
 *
 *   VCPU_PER_VCPU(struct vcpu_single64, hits);
 *
 *   vcpu_single64_inc(&vcpu_abi, VCPU_DECLARED(hits));
 *   printf("%" PRIu64 "\n", vcpu_single64_sum(&vcpu_abi, VCPU_DECLARED(hits)));
 *
 * Objects are declared, or allocated by the table's alloc, and made of the words of vcpu_words.h.
 * Their copies are also Rust's: vcpu_single64 is its Single<u64>, vcpu_section_ptr its
 * Section<*mut T>, and both languages may update one object at once. Copies that another vCPU may
 * drain: vcpu_section.h, the table's try_lock and its fence; examples/c-slab is made so.
 *
 * A shared object with any of these operations must not be unloaded (dlclose): threads have the addresses of its
 * descriptors in rseq_cs, where the kernel reads them later. Link it with -Wl,-z,nodelete, as pkg-config says.
 */
#include "vcpu_rt.h"	/* each time: a later include may ask for the symbols */

#ifndef VCPU_DATA_H
#define VCPU_DATA_H

#include "vcpu_several_words.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The NUMA node of the CPU that the thread runs on; -1 where nobody knows. */
static inline int32_t vcpu_thread_node(const struct vcpu_abi *abi)
{
	if (!(abi->features & VCPU_FEATURE_NODE_ID) || !vcpu_thread_is_registered(abi))
		return -1;
	return (int32_t)vcpu_thread_u32(abi->rseq_offset +
					(int64_t)offsetof(struct vcpu_rseq, node_id));
}

/* The mode in which this thread's sections run now: the process's, or shared where it has no area of its
 * own. In mode GS single words need no registration. */
static inline uint32_t vcpu_thread_mode(const struct vcpu_abi *abi)
{
	return vcpu_thread_area(abi) < abi->nr_vcpus ? abi->mode : VCPU_MODE_SHARED;
}

/* Whether a section of one's own that was refused may commit when it is tried again: not in a thread without
 * registration. A runtime that registers threads at their first operation does it here. `word`: any word of 8
 * bytes of the caller's, which is loaded. */
static inline int vcpu_thread_may_retry(const struct vcpu_abi *abi, void *word)
{
	if (abi->mode == VCPU_MODE_SHARED)
		return 0;
	if (!vcpu_thread_is_registered(abi))
		(void)abi->update_word(word, VCPU_UPDATE_LOAD | VCPU_UPDATE_64, 0, 0);
	return vcpu_thread_is_registered(abi);
}

/* Where this thread updates by locks, and under the table's try_lock, what its sections do not: in vCPU
 * 0's copy's place the copy of the last area, or in the shared mode of one that the thread hashes to. */
static inline void *vcpu_shared_address(const struct vcpu_abi *abi, void *object)
{
	if (abi->mode == VCPU_MODE_SHARED)
		return (char *)object + vcpu_shared_distance(abi);
	return vcpu_area_address(abi, object, abi->nr_vcpus);
}

#ifdef __cplusplus
}
#endif

#endif /* VCPU_DATA_H */

#if defined(VCPU_RT_H_SYMBOLS) && !defined(VCPU_DATA_H_SYMBOLS)
#define VCPU_DATA_H_SYMBOLS

#ifdef __cplusplus
extern "C" {
#endif

/* The table where it has what this header needs, else null. */
static inline const struct vcpu_abi *vcpu_data_find(void)
{
	const struct vcpu_abi *abi = vcpu_abi_find();

	return abi != NULL && VCPU_ABI_HAS(abi, possible_vcpus) ? abi : NULL;
}

#ifdef __cplusplus
}
#endif

#endif /* VCPU_DATA_H_SYMBOLS */
