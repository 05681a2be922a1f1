/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Every operation of the C++ wrapper on words of every type that it is for, from many threads: exact. */
#include <climits>
#include <thread>
#include <vector>

#include <vcpu_rt.hpp>

#include "per_vcpu.h"

static const int threads = 4;
static const uint64_t turns = 4000;

enum class Level : uint8_t { none, some = 5 };
enum class Wide : int64_t { none, some = -5 };

/* The words of one type, with what integers have. */
template <template <typename> class Kind, typename T> struct Integers {
	Kind<T> added, returned, exchanged, bits, flipped;

	void turn(const vcpu::table *abi, uint64_t number)
	{
		T seen = exchanged.load(abi);

		added.add(abi, T(7));
		added.sub(abi, T(5));
		added.inc(abi);
		added.dec(abi);
		(void)returned.add_return(abi, T(3));
		while (!exchanged.compare_exchange(abi, seen, T(seen + 1)))
			;
		bits.bit_or(abi, T(0x5a));
		bits.bit_and(abi, T(0x0f));
		flipped.bit_xor(abi, T(number / 2));
	}

	void check(const vcpu::table *abi, uint64_t steps) const
	{
		T bit = 0, flip = 0;
		uint32_t area;

		CHECK(added.sum(abi) == T(2 * steps));
		CHECK(returned.sum(abi) == T(3 * steps));
		CHECK(exchanged.sum(abi) == T(steps));
		VCPU_FOR_EACH_AREA(abi, area) {
			bit = T(bit | bits.read(abi, area));
			flip = T(flip ^ flipped.read(abi, area));
		}
		CHECK(bit == 0x0a || bit == 0x5a);
		CHECK(flip == 0);
	}
};

/* The least value has no negative. */
template <typename Word, typename T> void edge(const vcpu::table *abi, Word &word, T least)
{
	word.sub(abi, least);
	CHECK(word.sum(abi) == least);
	word.add(abi, least);
	CHECK(word.sum(abi) == 0);
}

template <template <typename> class Kind> struct OfKind {
	Integers<Kind, int8_t> signed8;
	Integers<Kind, unsigned char> unsigned8;
	Integers<Kind, short> signed16;
	Integers<Kind, uint16_t> unsigned16;
	Integers<Kind, int> signed32;
	Integers<Kind, uint32_t> unsigned32;
	Integers<Kind, int64_t> signed64;
	Integers<Kind, uint64_t> unsigned64;
	Integers<Kind, long long> signed_long;
	Integers<Kind, unsigned long long> unsigned_long;
	Kind<Level> level;
	Kind<bool> is_set;
	Kind<const int *> pointer;
	Kind<int> least;
	Kind<int64_t> least64;

	void turn(const vcpu::table *abi, uint64_t number)
	{
		static const int target = 0;
		const int *seen = nullptr;

		signed8.turn(abi, number);
		unsigned8.turn(abi, number);
		signed16.turn(abi, number);
		unsigned16.turn(abi, number);
		signed32.turn(abi, number);
		unsigned32.turn(abi, number);
		signed64.turn(abi, number);
		unsigned64.turn(abi, number);
		signed_long.turn(abi, number);
		unsigned_long.turn(abi, number);
		level.store(abi, Level::some);
		is_set.store(abi, true);
		(void)pointer.compare_exchange(abi, seen, &target);
		CHECK(seen == nullptr || seen == &target);
		seen = pointer.exchange(abi, &target);
		CHECK(seen == nullptr || seen == &target);
	}

	void check(const vcpu::table *abi, uint64_t steps)
	{
		uint32_t area, levels = 0, set = 0, pointers = 0;

		signed8.check(abi, steps);
		unsigned8.check(abi, steps);
		signed16.check(abi, steps);
		unsigned16.check(abi, steps);
		signed32.check(abi, steps);
		unsigned32.check(abi, steps);
		signed64.check(abi, steps);
		unsigned64.check(abi, steps);
		signed_long.check(abi, steps);
		unsigned_long.check(abi, steps);
		VCPU_FOR_EACH_AREA(abi, area) {
			levels += level.read(abi, area) == Level::some;
			set += is_set.read(abi, area);
			pointers += pointer.read(abi, area) != nullptr;
		}
		CHECK(levels > 0 && set > 0 && pointers > 0);
		edge(abi, least, INT_MIN);
		edge(abi, least64, INT64_MIN);
	}
};

/* An operation over several words, until nobody else is in the middle of one where the thread acts. */
template <typename Operation> int until_not_busy(Operation operation)
{
	int result;

	do
		result = operation();
	while (result == VCPU_BUSY);
	return result;
}

/* Words of 8 bytes with one commit: `word` counts by compare_equal_store, its neighbours by the others. */
template <typename T, typename Other> struct Several {
	vcpu::section<T> word, beside, guarded, log;
	vcpu::section<Other> other;
	vcpu::section<unsigned char> bytes[16];

	/* T and Other count by any cast from numbers. */
	static T number(uint64_t value) { return (T)value; }

	template <typename Operation> void until_done(const vcpu::table *abi, vcpu::section<T> &place,
						      Operation operation)
	{
		T seen;

		do
			seen = place.load(abi);
		while (until_not_busy([&] {
			       return operation(seen, number((uint64_t)seen + 1));
		       }) != 0);
	}

	void turn(const vcpu::table *abi)
	{
		const unsigned char text[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

		until_done(abi, word, [&](T seen, T next) {
			return word.compare_equal_store(abi, seen, next);
		});
		until_done(abi, beside, [&](T seen, T next) {
			return beside.compare_equal_store_store(abi, seen, other, (Other)9, next);
		});
		until_done(abi, guarded, [&](T seen, T next) {
			Other before = other.load(abi);

			return guarded.compare_equal_compare_equal_store(abi, seen, other, before,
									 next);
		});
		until_done(abi, log, [&](T seen, T next) {
			return log.compare_equal_copy_store(abi, seen, bytes, text, 16, next);
		});
		CHECK(until_not_busy([&] {
			      return word.compare_equal_store(abi, number(UINT64_MAX), number(0));
		      }) == VCPU_DIFFERENT);
		CHECK(until_not_busy([&] {
			      return guarded.compare_equal_compare_equal_store(
				      abi, guarded.load(abi), other, (Other)10, number(0));
		      }) == VCPU_DIFFERENT);
	}

	uint64_t sum(const vcpu::table *abi, const vcpu::section<T> &place) const
	{
		uint64_t all = 0;
		uint32_t area;

		VCPU_FOR_EACH_AREA(abi, area)
			all += (uint64_t)place.read(abi, area);
		return all;
	}

	void check(const vcpu::table *abi, uint64_t steps) const
	{
		uint32_t area;

		CHECK(sum(abi, word) == steps);
		CHECK(sum(abi, beside) == steps);
		CHECK(sum(abi, guarded) == steps);
		CHECK(sum(abi, log) == steps);
		VCPU_FOR_EACH_AREA(abi, area) {
			if (log.read(abi, area) != number(0)) {
				for (int at = 0; at < 16; at++)
					CHECK(bytes[at].read(abi, area) == at + 1);
			}
			CHECK(other.read(abi, area) == (Other)0 || other.read(abi, area) == (Other)9);
		}
	}
};

struct Node {
	uint64_t payload;
	Node *next;
};

struct Words {
	OfKind<vcpu::single> single;
	OfKind<vcpu::section> section;
	Several<uint64_t, uint64_t> unsigned64;
	Several<int64_t, Node *> signed64;
	Several<unsigned long long, int64_t> unsigned_long;
	Several<Wide, Wide> wide;
	Several<Node *, const char *> node;
	Several<void *, unsigned long long> address;
	vcpu::section<Node *> list;
	vcpu::section<uint64_t *> pointee;
	vcpu::section<int64_t *> signed_pointee;
	vcpu::pair pair;
};

static void work(const vcpu::table *abi, Words &words)
{
	for (uint64_t turn = 0; turn < turns; turn++) {
		uint64_t seen[2] = {0, 0};

		words.single.turn(abi, turn);
		words.section.turn(abi, turn);
		words.unsigned64.turn(abi);
		words.signed64.turn(abi);
		words.unsigned_long.turn(abi);
		words.wide.turn(abi);
		words.node.turn(abi);
		words.address.turn(abi);
		CHECK(until_not_busy([&] { return words.pointee.add_to_pointee(abi, 3); }) == 0);
		CHECK(until_not_busy([&] { return words.signed_pointee.add_to_pointee(abi, -3); }) ==
		      0);
		for (;;) {
			const uint64_t next[2] = {seen[0] + 1, seen[1] + 2};

			if (words.pair.compare_exchange(abi, seen, next))
				break;
		}
	}
}

/* A copy's place, before anybody else is there: the word's first bytes are its value. */
template <typename Word, typename T>
void put(const vcpu::table *abi, Word &word, uint32_t area, T *value)
{
	*static_cast<T **>(vcpu_area_address(abi, &word, area)) = value;
}

int main()
{
	const vcpu::table *abi = vcpu_data_find();
	vcpu::object<Words> words(abi);

	CHECK(words);
	std::vector<uint64_t> numbers(abi->nr_areas);
	std::vector<int64_t> signed_numbers(abi->nr_areas);
	std::vector<Node> nodes(abi->nr_areas);
	Node *taken = nullptr;
	uint32_t area;

	CHECK(until_not_busy([&] { return words->pointee.add_to_pointee(abi, 3); }) == VCPU_DIFFERENT);
	VCPU_FOR_EACH_AREA(abi, area) {
		put(abi, words->pointee, area, &numbers[area]);
		put(abi, words->signed_pointee, area, &signed_numbers[area]);
		put(abi, words->list, area, &nodes[area]);
	}
	CHECK(until_not_busy([&] {
		      return words->list.compare_not_equal_load_store(
			      abi, nullptr, offsetof(Node, next), taken);
	      }) == 0);
	CHECK(taken >= &nodes[0] && taken <= &nodes.back());

	std::vector<std::thread> all;
	for (int thread = 0; thread < threads; thread++)
		all.emplace_back([&] { work(abi, *words); });
	for (std::thread &thread : all)
		thread.join();

	const uint64_t steps = threads * turns;
	uint64_t added = 0, first = 0, second = 0;
	int64_t signed_added = 0;
	words->single.check(abi, steps);
	words->section.check(abi, steps);
	words->unsigned64.check(abi, steps);
	words->signed64.check(abi, steps);
	words->unsigned_long.check(abi, steps);
	words->wide.check(abi, steps);
	words->node.check(abi, steps);
	words->address.check(abi, steps);
	VCPU_FOR_EACH_AREA(abi, area) {
		const uint64_t *pair =
			static_cast<uint64_t *>(vcpu_area_address(abi, &words->pair, area));

		added += numbers[area];
		signed_added += signed_numbers[area];
		first += pair[0];
		second += pair[1];
	}
	CHECK(added == 3 * steps);
	CHECK(signed_added == -3 * int64_t(steps));
	CHECK(first == steps && second == 2 * steps);
	printf("mode=%u\n", abi->mode);
	return PASSED;
}
