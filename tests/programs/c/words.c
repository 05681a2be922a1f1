/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A function for each operation of vcpu_data.h, for programs in Rust and for those who look at its
 * instructions. src/in_c.rs has their declarations. */
#define VCPU_ABI_REQUIRED
#include <vcpu_data.h>

#define VALUE(kind, width, type) \
type c_##kind##width##_load(struct vcpu_##kind##width *word); \
type c_##kind##width##_load(struct vcpu_##kind##width *word) \
{ \
	return vcpu_##kind##width##_load(&vcpu_abi, word); \
} \
void c_##kind##width##_store(struct vcpu_##kind##width *word, type value); \
void c_##kind##width##_store(struct vcpu_##kind##width *word, type value) \
{ \
	vcpu_##kind##width##_store(&vcpu_abi, word, value); \
} \
type c_##kind##width##_exchange(struct vcpu_##kind##width *word, type value); \
type c_##kind##width##_exchange(struct vcpu_##kind##width *word, type value) \
{ \
	return vcpu_##kind##width##_exchange(&vcpu_abi, word, value); \
} \
int c_##kind##width##_compare_exchange(struct vcpu_##kind##width *word, type *expected, \
				       type desired); \
int c_##kind##width##_compare_exchange(struct vcpu_##kind##width *word, type *expected, \
				       type desired) \
{ \
	return vcpu_##kind##width##_compare_exchange(&vcpu_abi, word, expected, desired); \
}

#define CHANGE(kind, width, type, name) \
void c_##kind##width##name(struct vcpu_##kind##width *word, type value); \
void c_##kind##width##name(struct vcpu_##kind##width *word, type value) \
{ \
	vcpu_##kind##width##name(&vcpu_abi, word, value); \
}

#define STEP(kind, width, name) \
void c_##kind##width##name(struct vcpu_##kind##width *word); \
void c_##kind##width##name(struct vcpu_##kind##width *word) \
{ \
	vcpu_##kind##width##name(&vcpu_abi, word); \
}

#define INTEGER(kind, width, type) \
VALUE(kind, width, type) \
CHANGE(kind, width, type, _add) \
CHANGE(kind, width, type, _sub) \
CHANGE(kind, width, type, _and) \
CHANGE(kind, width, type, _or) \
CHANGE(kind, width, type, _xor) \
STEP(kind, width, _inc) \
STEP(kind, width, _dec) \
type c_##kind##width##_add_return(struct vcpu_##kind##width *word, type value); \
type c_##kind##width##_add_return(struct vcpu_##kind##width *word, type value) \
{ \
	return vcpu_##kind##width##_add_return(&vcpu_abi, word, value); \
} \
type c_##kind##width##_sum(struct vcpu_##kind##width *word); \
type c_##kind##width##_sum(struct vcpu_##kind##width *word) \
{ \
	return vcpu_##kind##width##_sum(&vcpu_abi, word); \
}

#define KIND(kind) \
INTEGER(kind, 8, uint8_t) \
INTEGER(kind, 16, uint16_t) \
INTEGER(kind, 32, uint32_t) \
INTEGER(kind, 64, uint64_t) \
VALUE(kind, _ptr, void *)

KIND(single)
KIND(section)

#define SEVERAL(width, type) \
int c_section##width##_compare_equal_store(struct vcpu_section##width *word, type expected, \
					   type desired); \
int c_section##width##_compare_equal_store(struct vcpu_section##width *word, type expected, \
					   type desired) \
{ \
	return vcpu_section##width##_compare_equal_store(&vcpu_abi, word, expected, desired); \
} \
int c_section##width##_compare_equal_store_store(struct vcpu_section##width *word, type expected, \
						 struct vcpu_section64 *other, uint64_t value, \
						 type desired); \
int c_section##width##_compare_equal_store_store(struct vcpu_section##width *word, type expected, \
						 struct vcpu_section64 *other, uint64_t value, \
						 type desired) \
{ \
	return vcpu_section##width##_compare_equal_store_store(&vcpu_abi, word, expected, other, \
							       value, desired); \
} \
int c_section##width##_compare_equal_compare_equal_store( \
	struct vcpu_section##width *word, type expected, struct vcpu_section64 *other, \
	uint64_t value, type desired); \
int c_section##width##_compare_equal_compare_equal_store( \
	struct vcpu_section##width *word, type expected, struct vcpu_section64 *other, \
	uint64_t value, type desired) \
{ \
	return vcpu_section##width##_compare_equal_compare_equal_store( \
		&vcpu_abi, word, expected, other, value, desired); \
} \
int c_section##width##_compare_equal_copy_store(struct vcpu_section##width *word, type expected, \
						struct vcpu_section8 *to, const void *from, \
						size_t length, type desired); \
int c_section##width##_compare_equal_copy_store(struct vcpu_section##width *word, type expected, \
						struct vcpu_section8 *to, const void *from, \
						size_t length, type desired) \
{ \
	return vcpu_section##width##_compare_equal_copy_store(&vcpu_abi, word, expected, to, from, \
							      length, desired); \
}

SEVERAL(64, uint64_t)
SEVERAL(_ptr, void *)

int c_section_ptr_compare_not_equal_load_store(struct vcpu_section_ptr *word, void *excluded,
					       ptrdiff_t offset, void **taken);
int c_section_ptr_compare_not_equal_load_store(struct vcpu_section_ptr *word, void *excluded,
					       ptrdiff_t offset, void **taken)
{
	return vcpu_section_ptr_compare_not_equal_load_store(&vcpu_abi, word, excluded, offset,
							     taken);
}

int c_section_ptr_add_to_pointee(struct vcpu_section_ptr *word, uint64_t value);
int c_section_ptr_add_to_pointee(struct vcpu_section_ptr *word, uint64_t value)
{
	return vcpu_section_ptr_add_to_pointee(&vcpu_abi, word, value);
}

int c_pair_compare_exchange(struct vcpu_pair *pair, uint64_t *expected, const uint64_t *desired);
int c_pair_compare_exchange(struct vcpu_pair *pair, uint64_t *expected, const uint64_t *desired)
{
	return vcpu_pair_compare_exchange(&vcpu_abi, pair, expected, desired);
}

/* The loops in which the compiler asks once for what never changes. */
void c_loop_inc(struct vcpu_single64 *word, uint64_t turns);
void c_loop_inc(struct vcpu_single64 *word, uint64_t turns)
{
	while (turns-- > 0)
		vcpu_single64_inc(&vcpu_abi, word);
}

void c_loop_section_add(struct vcpu_section64 *word, uint64_t turns);
void c_loop_section_add(struct vcpu_section64 *word, uint64_t turns)
{
	while (turns-- > 0)
		vcpu_section64_add(&vcpu_abi, word, 1);
}

/* What the calling thread is told of itself. */
uint32_t c_thread_mode(void);
uint32_t c_thread_mode(void)
{
	return vcpu_thread_mode(&vcpu_abi);
}

int32_t c_thread_node(void);
int32_t c_thread_node(void)
{
	return vcpu_thread_node(&vcpu_abi);
}
