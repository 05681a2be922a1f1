/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * vcpu_section.h: the frame of a critical section on per-vCPU data, in gcc's and clang's inline
 * assembly (AT&T syntax). vcpu_data.h is made of it; docs/c-api.md has an example of one's own, and
 * docs/critical-sections.md the rules. In short: the code between BEGIN and END may be restarted at any
 * instruction, its last one is the commit, and nothing before that may be seen by others. No call, no
 * stack, no system call.
 *
 * A section that has no outputs leaves by a jump to a label of C:
 *
 *   __asm__ goto(VCPU_SECTION_BEGIN_GOTO(refused)	# %rax: from vCPU 0's copy to this one's
 *		    "addq %[value], (%[word],%%rax)\n"	# the commit
 *		    VCPU_SECTION_END
 *		    :
 *		    : VCPU_SECTION_INPUTS(abi), [word] "r"(word), [value] "r"(value)
 *		    : "rax", "cc", "memory"
 *		    : refused);
 *
 * One that has outputs sets a flag instead, since compilers that have labels beside outputs are new:
 *
 *   uint32_t refused = 0;
 *   uint64_t distance;
 *
 *   __asm__ __volatile__(VCPU_SECTION_BEGIN
 *			    "movq (%[word],%[distance]), %[value]\n"
 *			    VCPU_SECTION_END
 *			    : [value] "=&r"(value), VCPU_SECTION_OUTPUTS(distance, refused)
 *			    : VCPU_SECTION_INPUTS(abi), [word] "r"(word)
 *			    : "cc", "memory");
 *
 * Refused: the section was aborted, or the thread has no area of its own: nothing was committed. Not for
 * VCPU_MODE_SHARED, in which nobody may run a section. Labels 771 to 774 are the frame's. A shared object with
 * sections is linked with -Wl,-z,nodelete: see vcpu_data.h.
 */
#ifndef VCPU_SECTION_H
#define VCPU_SECTION_H

#include "vcpu_rt.h"

/* The descriptor, where debuggers look for it; the array of pointers beside it (the convention of the
 * kernel's selftests); the signature, as the operand of an instruction that is never executed, and
 * behind it what an abort continues with. "?": in the group of the function, which linkers drop as a
 * whole where C++ has it twice. "o": kept as long as the descriptors. */
#define VCPU_SECTION_FRAME(abort) \
	".pushsection __rseq_cs, \"aw?\"\n\t" \
	".balign 32\n" \
	"774:\n\t" \
	".long 0, 0\n\t" \
	".quad 771f, 772f - 771f, 773f\n\t" \
	".popsection\n\t" \
	".pushsection __rseq_cs_ptr_array, \"awo?\", @progbits, __rseq_cs\n\t" \
	".balign 8\n\t" \
	".quad 774b\n\t" \
	".popsection\n\t" \
	".pushsection .text.rseq_abort, \"ax?\"\n\t" \
	".byte 0x0f, 0xb9, 0x3d\n\t" \
	".long 0x53053053\n" \
	"773:\n\t" \
	abort "\n\t" \
	".popsection\n\t"

/* The store to rseq_cs (8 bytes into struct rseq), in one instruction where addresses are fixed. */
#if defined(__PIC__) || defined(__PIE__)
#define VCPU_SECTION_ENTER(scratch) \
	"leaq 774b(%%rip), " scratch "\n\t" \
	"movq " scratch ", %%fs:8(%[vcpu_rseq])\n"
#else
#define VCPU_SECTION_ENTER(scratch) \
	"movq $774b, %%fs:8(%[vcpu_rseq])\n"
#endif

/* The first instructions of every section: is the thread registered, is its id one of an area, and how far
 * is that. Both tests are needed: where a libc registers threads, one that is not (yet) has an mm_cid of
 * 0 in its block, which is valid, and Linux 7.3 shows an mm_cid that is not valid after a failed execve. */
#define VCPU_SECTION_DISTANCE(distance, distance32, refused) \
	"771:\n\t" \
	"cmpl $0, %%fs:(%[vcpu_registered])\n\t" \
	"js " refused "\n\t" \
	"movl %%fs:(%[vcpu_index]), " distance32 "\n\t" \
	"cmpl %[vcpu_bound], " distance32 "\n\t" \
	"jae " refused "\n\t" \
	"imulq %[vcpu_stride], " distance "\n\t"

#define VCPU_SECTION_BEGIN_GOTO(label) \
	VCPU_SECTION_FRAME("jmp %l[" #label "]") \
	VCPU_SECTION_ENTER("%%rax") \
	VCPU_SECTION_DISTANCE("%%rax", "%%eax", "%l[" #label "]")

#define VCPU_SECTION_BEGIN \
	VCPU_SECTION_BEGIN_ALSO("")

/* `also`: code for other ways out of the section, behind an abort's. */
#define VCPU_SECTION_BEGIN_ALSO(also) \
	VCPU_SECTION_FRAME("movl $1, %[vcpu_refused]\n\tjmp 772f\n" also) \
	VCPU_SECTION_ENTER("%[distance]") \
	VCPU_SECTION_DISTANCE("%[distance]", "%k[distance]", "773b")

#define VCPU_SECTION_END "772:\n"

#define VCPU_SECTION_INPUTS(abi) \
	[vcpu_rseq] "r"((abi)->rseq_offset), \
	[vcpu_index] "r"((abi)->index_offset), \
	[vcpu_registered] "r"((abi)->registered_offset), \
	[vcpu_bound] "m"((abi)->nr_vcpus), \
	[vcpu_stride] "m"((abi)->stride)

#define VCPU_SECTION_OUTPUTS(distance64, refused) \
	[distance] "=&r"(distance64), [vcpu_refused] "+&r"(refused)

#endif /* VCPU_SECTION_H */
