/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the program finds, by the symbols, and what the kernel says of it. */
#define _GNU_SOURCE
#ifndef VCPU_ABI_REQUIRED
#define VCPU_ABI_OPTIONAL
#endif
#include "per_vcpu.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

static void *area(int64_t offset)
{
	char *pointer;

	__asm__("movq %%fs:0, %0" : "=r"(pointer));
	return pointer + offset;
}

/* The kernel's answer to the same registration once more: EBUSY when it has it. */
static int answer(const struct vcpu_abi *abi)
{
	long result = syscall(SYS_rseq, area(abi->rseq_offset), abi->rseq_len, 0, abi->rseq_sig);

	return result == 0 ? 0 : errno;
}

/* `table own`: registered by us, by whatever length the kernel offers. `table adopted`: by glibc. */
static void must_be(const struct vcpu_abi *abi, const char *who)
{
	unsigned long offered = getauxval(27);	/* AT_RSEQ_FEATURE_SIZE */
	unsigned long length = offered > 32 ? offered : 32;

	CHECK(vcpu_thread_is_registered(abi));
	CHECK(answer(abi) == EBUSY);
	if (strcmp(who, "own") == 0) {
		CHECK(abi->rseq_len == length);
		CHECK(((abi->features & VCPU_FEATURE_RSEQ_V2) != 0) == (length > 32));
		CHECK(vcpu_rseq_size == abi->rseq_size);
		CHECK(vcpu_rseq_offset == abi->rseq_offset);
	} else {
		CHECK(strcmp(who, "adopted") == 0);
		CHECK(vcpu_rseq_offset == abi->rseq_offset);
		CHECK(vcpu_rseq_size >= 20 && abi->rseq_size >= vcpu_rseq_size);
	}
}

static const struct vcpu_abi *in_constructor;
static int registered_in_constructor = -1;

__attribute__((constructor)) static void look(void)
{
	in_constructor = vcpu_abi_find();
	if (in_constructor)
		registered_in_constructor = vcpu_thread_is_registered(in_constructor);
}

int main(int argc, char **argv)
{
	const struct vcpu_abi *abi = vcpu_abi_find();
	char byte;

	if (!abi) {
		puts("absent");
		return PASSED;
	}
	if (argc == 2 && strcmp(argv[1], "write") == 0) {
		puts("writing");
		fflush(stdout);
		*(volatile uint32_t *)&abi->nr_vcpus = 1;
		return 1;
	}
	if (argc == 2)
		must_be(abi, argv[1]);
	printf("size=%u\nmode=%u\nfeatures=%llu\n", abi->size, abi->mode,
	       (unsigned long long)abi->features);
	printf("rseq_offset=%lld\nrseq_size=%u\nrseq_len=%u\n", (long long)abi->rseq_offset,
	       abi->rseq_size, abi->rseq_len);
	printf("nr_vcpus=%u\nstride=%llu\n", abi->nr_vcpus, (unsigned long long)abi->stride);
	printf("registered=%d\n", vcpu_thread_is_registered(abi));
	printf("cpu_id=%d\n", *(volatile int *)area(abi->rseq_offset + 4));
	printf("constructor=%d\nregistered_in_constructor=%d\n", in_constructor == abi,
	       registered_in_constructor);
	printf("__rseq_offset=%lld\n", (long long)vcpu_rseq_offset);
	printf("__rseq_size=%u\n__rseq_flags=%u\n", vcpu_rseq_size, vcpu_rseq_flags);
	if (abi->rseq_len)
		printf("answer=%d\n", answer(abi));
	byte = *(volatile char *)&abi->reserved[sizeof(abi->reserved) - 1];
	printf("end=%d\n", byte);
	add(abi, counter(abi), 1);
	return PASSED;
}
