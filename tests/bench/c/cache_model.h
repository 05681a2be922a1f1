/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What per-CPU caches of pointers are compared with: struct rseq at a constant distance from the
 * thread pointer, and slabs, one for each vCPU. A slab has a header for each class: the offset of
 * the first free slot, and that behind the last one, in words from the slab's start; and behind the
 * headers the slots of each class, and before those a word with its lowest bit set, which a pop of
 * an empty class finds.
 *
 * The thread and its only user are this program's: it registers with length 32, which any kernel
 * takes, and is linked with a libc that registers nothing.
 */
#ifndef VCPU_RT_BENCH_CACHE_MODEL_H
#define VCPU_RT_BENCH_CACHE_MODEL_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CLASSES 16
#define SLOTS 64
#define VCPUS 256
#define SLAB_SHIFT 14
#define BEGIN_MARK 1
#define SIGNATURE 0x53053053

struct header {
	uint16_t current;
	uint16_t end;
};

/* The 8 bytes before cpu_id are for a model that keeps the address of the slab there. */
struct thread_area {
	uint8_t unused[28];
	union {
		uint64_t cached_slab;	/* its upper half is cpu_id_start */
		struct {
			uint32_t below;
			uint32_t cpu_id_start;
		};
	} __attribute__((packed, aligned(4)));
	uint32_t cpu_id;
	uint64_t rseq_cs;
	uint32_t flags;
	uint32_t node_id;
	uint32_t mm_cid;
	uint32_t end;
} __attribute__((aligned(64)));

static __thread struct thread_area thread_area __attribute__((tls_model("local-exec")));
static char *slabs;

_Static_assert(offsetof(struct thread_area, cpu_id_start) % 32 == 0, "alignment of struct rseq");
_Static_assert(offsetof(struct thread_area, mm_cid) - offsetof(struct thread_area, cpu_id_start) ==
		       24,
	       "layout of struct rseq");

/*
 * The frame of a section: descriptor, signature, the store to rseq_cs. An abort, and a jump to the
 * label 4 out of the code between SECTION_START and SECTION_END, calls `miss` and starts again: the
 * fast path has no instruction for what its caller would do, as if the compiler had known the jump.
 * (Labels of C beside outputs are newer than some compilers, and broken in others.)
 */
#define SECTION_START										\
	".pushsection __rseq_cs, \"aw\"\n\t"							\
	".balign 32\n"										\
	"3:\n\t"										\
	".long 0, 0\n\t"									\
	".quad 1f, 2f - 1f, 4f\n\t"								\
	".popsection\n\t"									\
	".pushsection .text.rseq_abort, \"ax\"\n\t"						\
	".byte 0x0f, 0xb9, 0x3d\n\t"								\
	".long %c[signature]\n"									\
	"4:\n\t"										\
	"call miss\n\t"										\
	"jmp 5f\n\t"										\
	".popsection\n"										\
	"5:\n\t"										\
	"movq $3b, %[rseq_cs]\n"								\
	"1:\n\t"
#define SECTION_END "2:\n\t"
#define SECTION_INPUTS [rseq_cs] "m"(thread_area.rseq_cs), [signature] "i"(SIGNATURE)

static inline char *slab_of(uint32_t vcpu)
{
	return slabs + ((size_t)vcpu << SLAB_SHIFT);
}

/* Every class has room for SLOTS pointers. */
static void start(void)
{
	const size_t bytes = (size_t)VCPUS << SLAB_SHIFT;

	slabs = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (slabs == MAP_FAILED ||
	    syscall(SYS_rseq, &thread_area.cpu_id_start, 32, 0, SIGNATURE) != 0) {
		fprintf(stderr, "memory and a kernel with rseq are needed\n");
		exit(1);
	}
	for (uint32_t vcpu = 0; vcpu < VCPUS; vcpu++) {
		uint64_t *words = (uint64_t *)slab_of(vcpu);
		uint64_t *next = words + 3 * CLASSES;

		for (size_t class = 0; class < CLASSES; class++) {
			*next++ = BEGIN_MARK;
			words[class] = (uint64_t)next;
			next += SLOTS;
			words[class + CLASSES] = (uint64_t)next;
		}
	}
}

#endif
