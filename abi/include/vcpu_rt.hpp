/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * vcpu_rt.hpp: per-vCPU data for C++11 and later, over vcpu_data.h.
 *
 *   struct Statistics {
 *	vcpu::single<uint64_t> hits;
 *	vcpu::section<Node *> free_list;
 *   };
 *   vcpu::object<Statistics> statistics(vcpu_data_find());
 *   if (statistics)
 *	statistics->hits.inc(abi);
 *
 * A word's address is that in vCPU 0's copy; its methods act on the copy of the vCPU that the thread
 * runs on. They have the names and the meaning of the functions in vcpu_words.h and
 * vcpu_several_words.h; `and`, `or` and `xor` are bit_and, bit_or and bit_xor. What words of the one
 * kind have not, they have not; what a type has not (sums of pointers, several words of less than 8
 * bytes) does not compile. `vcpu::pair` is struct vcpu_pair.
 */
#ifndef VCPU_RT_HPP
#define VCPU_RT_HPP

#include "vcpu_data.h"

#include <type_traits>

namespace vcpu {

using table = struct ::vcpu_abi;

namespace detail {

/* The C type that carries a value of so many bytes, or an address. */
template <typename T, size_t Bytes = sizeof(T)> struct carrier;
template <typename T> struct carrier<T, 1> { using type = uint8_t; };
template <typename T> struct carrier<T, 2> { using type = uint16_t; };
template <typename T> struct carrier<T, 4> { using type = uint32_t; };
template <typename T> struct carrier<T, 8> { using type = uint64_t; };
template <typename T> struct carrier<T *, 8> { using type = void *; };

template <typename Raw, typename T> Raw to_raw(T value) { return static_cast<Raw>(value); }
template <typename Raw, typename T> Raw to_raw(T *value)
{
	return const_cast<void *>(static_cast<const volatile void *>(value));
}

/* A value of 8 bytes as the second word of an operation over several. */
template <typename T> uint64_t to_bits(T value) { return static_cast<uint64_t>(value); }
template <typename T> uint64_t to_bits(T *value)
{
	return reinterpret_cast<uintptr_t>(to_raw<void *>(value));
}

template <typename T> struct from {
	template <typename Raw> static T raw(Raw value) { return static_cast<T>(value); }
};
template <typename T> struct from<T *> {
	static T *raw(void *value) { return static_cast<T *>(value); }
};

/* The C functions of one type of word, by names that do not have it. */
template <typename Raw> struct single_functions;
template <typename Raw> struct section_functions;

#define VCPU_VALUE_FUNCTIONS(kind, width, raw) \
	using word = struct vcpu_##kind##width; \
	static raw load(const table *abi, word *w) { return vcpu_##kind##width##_load(abi, w); } \
	static void store(const table *abi, word *w, raw value) \
	{ \
		vcpu_##kind##width##_store(abi, w, value); \
	} \
	static raw exchange(const table *abi, word *w, raw value) \
	{ \
		return vcpu_##kind##width##_exchange(abi, w, value); \
	} \
	static bool compare_exchange(const table *abi, word *w, raw *expected, raw desired) \
	{ \
		return vcpu_##kind##width##_compare_exchange(abi, w, expected, desired) != 0; \
	} \
	static raw read(const table *abi, word *w, uint32_t area) \
	{ \
		return vcpu_##kind##width##_read(abi, w, area); \
	}

#define VCPU_INTEGER_FUNCTIONS(kind, width, raw) \
	template <> struct kind##_functions<raw> { \
		VCPU_VALUE_FUNCTIONS(kind, width, raw) \
		static void add(const table *abi, word *w, raw v) { vcpu_##kind##width##_add(abi, w, v); } \
		static void sub(const table *abi, word *w, raw v) { vcpu_##kind##width##_sub(abi, w, v); } \
		static void bit_and(const table *abi, word *w, raw v) { vcpu_##kind##width##_and(abi, w, v); } \
		static void bit_or(const table *abi, word *w, raw v) { vcpu_##kind##width##_or(abi, w, v); } \
		static void bit_xor(const table *abi, word *w, raw v) { vcpu_##kind##width##_xor(abi, w, v); } \
		static raw add_return(const table *abi, word *w, raw v) \
		{ \
			return vcpu_##kind##width##_add_return(abi, w, v); \
		} \
		static raw sum(const table *abi, word *w) { return vcpu_##kind##width##_sum(abi, w); } \
	};

#define VCPU_KIND_FUNCTIONS(kind) \
	VCPU_INTEGER_FUNCTIONS(kind, 8, uint8_t) \
	VCPU_INTEGER_FUNCTIONS(kind, 16, uint16_t) \
	VCPU_INTEGER_FUNCTIONS(kind, 32, uint32_t) \
	VCPU_INTEGER_FUNCTIONS(kind, 64, uint64_t) \
	template <> struct kind##_functions<void *> { VCPU_VALUE_FUNCTIONS(kind, _ptr, void *) };

VCPU_KIND_FUNCTIONS(single)
VCPU_KIND_FUNCTIONS(section)

#undef VCPU_KIND_FUNCTIONS
#undef VCPU_INTEGER_FUNCTIONS
#undef VCPU_VALUE_FUNCTIONS

/* The same of several words. */
template <typename Raw> struct several_functions;

#define VCPU_SEVERAL_FUNCTIONS(width, raw) \
	template <> struct several_functions<raw> { \
		using word = struct vcpu_section##width; \
		using other_word = struct vcpu_section64; \
		static int compare_equal_store(const table *abi, word *w, raw expected, raw desired) \
		{ \
			return vcpu_section##width##_compare_equal_store(abi, w, expected, desired); \
		} \
		static int compare_equal_store_store(const table *abi, word *w, raw expected, \
						     other_word *other, uint64_t value, \
						     raw desired) \
		{ \
			return vcpu_section##width##_compare_equal_store_store( \
				abi, w, expected, other, value, desired); \
		} \
		static int compare_equal_compare_equal_store(const table *abi, word *w, raw expected, \
							     other_word *other, uint64_t value, \
							     raw desired) \
		{ \
			return vcpu_section##width##_compare_equal_compare_equal_store( \
				abi, w, expected, other, value, desired); \
		} \
		static int compare_equal_copy_store(const table *abi, word *w, raw expected, \
						    struct vcpu_section8 *to, const void *from, \
						    size_t length, raw desired) \
		{ \
			return vcpu_section##width##_compare_equal_copy_store( \
				abi, w, expected, to, from, length, desired); \
		} \
	};

VCPU_SEVERAL_FUNCTIONS(64, uint64_t)
VCPU_SEVERAL_FUNCTIONS(_ptr, void *)

#undef VCPU_SEVERAL_FUNCTIONS

template <typename T, size_t Bytes = sizeof(T)> class section_word;

/* What words of both kinds have. */
template <typename T, template <typename> class Functions> class word {
	static_assert(std::is_integral<T>::value || std::is_enum<T>::value || std::is_pointer<T>::value,
		      "a per-vCPU word is an integer, an enum or a pointer");

protected:
	using raw = typename carrier<T>::type;
	using c = Functions<raw>;

	mutable typename c::word value_;

	/* Each other's words are second words, and places for bytes. */
	template <typename, size_t> friend class section_word;

public:
	using value_type = T;

	T load(const table *abi) const { return from<T>::raw(c::load(abi, &value_)); }
	void store(const table *abi, T value) { c::store(abi, &value_, to_raw<raw>(value)); }
	T exchange(const table *abi, T value)
	{
		return from<T>::raw(c::exchange(abi, &value_, to_raw<raw>(value)));
	}
	bool compare_exchange(const table *abi, T &expected, T desired)
	{
		raw seen = to_raw<raw>(expected);
		bool done = c::compare_exchange(abi, &value_, &seen, to_raw<raw>(desired));

		expected = from<T>::raw(seen);
		return done;
	}
	T read(const table *abi, uint32_t area) const
	{
		return from<T>::raw(c::read(abi, &value_, area));
	}

	/* Of integers. */
	void add(const table *abi, T value) { c::add(abi, &value_, to_raw<raw>(value)); }
	void sub(const table *abi, T value) { c::sub(abi, &value_, to_raw<raw>(value)); }
	void inc(const table *abi) { add(abi, static_cast<T>(1)); }
	void dec(const table *abi) { sub(abi, static_cast<T>(1)); }
	void bit_and(const table *abi, T value) { c::bit_and(abi, &value_, to_raw<raw>(value)); }
	void bit_or(const table *abi, T value) { c::bit_or(abi, &value_, to_raw<raw>(value)); }
	void bit_xor(const table *abi, T value) { c::bit_xor(abi, &value_, to_raw<raw>(value)); }
	T add_return(const table *abi, T value)
	{
		return from<T>::raw(c::add_return(abi, &value_, to_raw<raw>(value)));
	}
	T sum(const table *abi) const { return from<T>::raw(c::sum(abi, &value_)); }
};

/* What words of the section kind have beside that. */
template <typename T, size_t Bytes> class section_word : public word<T, section_functions> {};

/* Those of 8 bytes, of which `other` is any. */
template <typename T> class section_word<T, 8> : public word<T, section_functions> {
	using raw = typename carrier<T>::type;
	using several = several_functions<raw>;

	template <typename U> static struct vcpu_section64 *second(section_word<U, 8> &other)
	{
		return reinterpret_cast<struct vcpu_section64 *>(&other.value_);
	}

public:
	int compare_equal_store(const table *abi, T expected, T desired)
	{
		return several::compare_equal_store(abi, &this->value_, to_raw<raw>(expected),
						    to_raw<raw>(desired));
	}
	template <typename U>
	int compare_equal_store_store(const table *abi, T expected, section_word<U, 8> &other,
				      typename section_word<U, 8>::value_type value, T desired)
	{
		return several::compare_equal_store_store(
			abi, &this->value_, to_raw<raw>(expected), second(other), to_bits(value),
			to_raw<raw>(desired));
	}
	template <typename U>
	int compare_equal_compare_equal_store(const table *abi, T expected,
					      section_word<U, 8> &other,
					      typename section_word<U, 8>::value_type value,
					      T desired)
	{
		return several::compare_equal_compare_equal_store(
			abi, &this->value_, to_raw<raw>(expected), second(other), to_bits(value),
			to_raw<raw>(desired));
	}
	/* `to`: the first of `length` words of one byte. */
	template <typename Byte>
	int compare_equal_copy_store(const table *abi, T expected, section_word<Byte, 1> *to,
				     const void *from, size_t length, T desired)
	{
		return several::compare_equal_copy_store(abi, &this->value_,
							 to_raw<raw>(expected), &to->value_, from,
							 length, to_raw<raw>(desired));
	}
};

} /* namespace detail */

/* A word of the single kind. */
template <typename T> class single : public detail::word<T, detail::single_functions> {};

/* A word of the section kind. */
template <typename T> class section : public detail::section_word<T> {};

template <typename T> class section<T *> : public detail::section_word<T *> {
	/* What add_to_pointee adds, where it may be asked to. */
	using addend = typename std::conditional<std::is_integral<T>::value, T, uint64_t>::type;

public:
	/* A pop from a list: `offset` bytes behind each address is the next one. */
	int compare_not_equal_load_store(const table *abi, T *excluded, ptrdiff_t offset, T *&taken)
	{
		void *found = nullptr;
		int result = vcpu_section_ptr_compare_not_equal_load_store(
			abi, &this->value_, detail::to_raw<void *>(excluded), offset, &found);

		if (result == 0)
			taken = static_cast<T *>(found);
		return result;
	}
	/* To the integer of 8 bytes that it points to. */
	int add_to_pointee(const table *abi, addend value)
	{
		static_assert(std::is_integral<T>::value && sizeof(T) == 8,
			      "the word points to an integer of 8 bytes");
		return vcpu_section_ptr_add_to_pointee(abi, &this->value_,
						       detail::to_bits(value));
	}
};

/* Two words of 8 bytes that are compared and exchanged together, of the single kind. */
class pair {
	struct vcpu_pair value_;

public:
	bool compare_exchange(const table *abi, uint64_t (&expected)[2], const uint64_t (&desired)[2])
	{
		return vcpu_pair_compare_exchange(abi, &value_, expected, desired) != 0;
	}
};

/* An object on every vCPU, zero at first, freed with the handle. Without a table, or without memory, the
 * handle is false. What it points to is vCPU 0's copy. */
template <typename T> class object {
	static_assert(std::is_standard_layout<T>::value && std::is_trivially_destructible<T>::value,
		      "a per-vCPU object consists of words");

	const table *abi_;
	T *first_;

public:
	explicit object(const table *abi) : abi_(abi), first_(nullptr)
	{
		void *first = nullptr;

		if (abi != nullptr && abi->alloc(sizeof(T), alignof(T), &first) == 0)
			first_ = static_cast<T *>(first);
	}
	object(const object &) = delete;
	object &operator=(const object &) = delete;
	~object()
	{
		if (first_ != nullptr)
			(void)abi_->free(first_, sizeof(T));
	}

	explicit operator bool() const { return first_ != nullptr; }
	T *operator->() const { return first_; }
	T &operator*() const { return *first_; }
	const table *abi() const { return abi_; }
};

} /* namespace vcpu */

#endif /* VCPU_RT_HPP */
