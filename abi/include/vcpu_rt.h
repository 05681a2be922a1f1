/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * vcpu_rt.h: how a library or a program finds the vcpu-rt runtime in its process, and through it
 * the per-vCPU areas and each thread's struct rseq. x86-64 Linux. C99, C++11 and later, gcc and
 * clang. It stands alone: it needs no other header of the project, and may be included together
 * with <linux/rseq.h> and <sys/rseq.h>, in any order.
 *
 * Before the include, say how the symbols are referred to:
 *
 *   #define VCPU_ABI_REQUIRED   Strong references: without the runtime the program does not link,
 *                               or does not start. Works in every form: static, PIE, non-PIE,
 *                               shared library, and it pulls the member out of an archive.
 *
 *   #define VCPU_ABI_OPTIONAL   Weak references: without the runtime their addresses are null and
 *                               vcpu_abi_find() returns null; the consumer then does without, and
 *                               registers rseq itself if it wants it. What to take care of:
 *     - Static program: a weak reference pulls nothing out of an archive. A Rust program on
 *       vcpu-rt has the symbols in its own objects; when linking an archive pass -u vcpu_abi.
 *     - Dynamic program or shared library: compile with -fPIC or -fPIE, so that the address comes
 *       from the GOT. Code for a non-PIE executable gets its null at link time and misses a
 *       runtime that a preload brings.
 *     - The linker's --as-needed drops a shared runtime to which there are only weak references:
 *       put -Wl,--no-as-needed before it (-u vcpu_abi does not help here: GNU ld then fails).
 *
 *   neither                     Types, constants and the helpers that take a table; no symbol.
 *
 *
 * The last form may come first, by another header; the symbols are declared at the first include
 * that asks for them. Errors are negative errno numbers, returned; errno is never touched.
 */
#ifndef VCPU_RT_H
#define VCPU_RT_H

#include <stddef.h>
#include <stdint.h>

#if !defined(__x86_64__) || !defined(__LP64__) || !defined(__linux__)
#error "vcpu_rt.h: only x86-64 Linux with 64-bit pointers is supported"
#endif

#ifdef __cplusplus
#define VCPU_ASSERT(name, condition) static_assert(condition, #name)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define VCPU_ASSERT(name, condition) _Static_assert(condition, #name)
#else
#define VCPU_ASSERT(name, condition) typedef char vcpu_assert_##name[(condition) ? 1 : -1]
#endif
#define VCPU_ASSERT_OFFSET(type, field, offset) \
	VCPU_ASSERT(type##_##field, offsetof(struct type, field) == (offset))
#define VCPU_ASSERT_SIZE(type, bytes, alignment) \
	VCPU_ASSERT(layout_of_##type, \
		    sizeof(struct type) == (bytes) && __alignof__(struct type) == (alignment))

#ifdef __cplusplus
extern "C" {
#endif

/* ---- rseq: memory that a thread shares with the kernel ----------------------------------------
 * Source: Linux include/uapi/linux/rseq.h of 7.3. The names differ from the kernel's so that its
 * header can be included too.
 */

/* The signature before each abort handler: ud1 0x53053053(%rip),%edi, as in glibc. */
#define VCPU_RSEQ_SIG 0x53053053U

/* rseq(2) flags. Unregister; must be alone. */
#define VCPU_RSEQ_FLAG_UNREGISTER (1U << 0)
/* Register with the time slice extension on. Linux 7.0. */
#define VCPU_RSEQ_FLAG_SLICE_EXT_DEFAULT_ON (1U << 1)

/* rseq_cs.flags: historical, a kernel of today answers them with SIGSEGV. */
#define VCPU_RSEQ_CS_FLAG_NO_RESTART_ON_PREEMPT (1U << 0)
#define VCPU_RSEQ_CS_FLAG_NO_RESTART_ON_SIGNAL (1U << 1)
#define VCPU_RSEQ_CS_FLAG_NO_RESTART_ON_MIGRATE (1U << 2)
/* rseq.flags, written by the kernel, Linux 7.0: time slice extension offered; on for the thread. */
#define VCPU_RSEQ_CS_FLAG_SLICE_EXT_AVAILABLE (1U << 4)
#define VCPU_RSEQ_CS_FLAG_SLICE_EXT_ENABLED (1U << 5)

/* cpu_id, as an int32_t, of a thread that is not registered; or that glibc failed to register. */
#define VCPU_RSEQ_CPU_ID_UNINITIALIZED (-1)
#define VCPU_RSEQ_CPU_ID_REGISTRATION_FAILED (-2)
/* mm_cid of a thread that is not registered: no valid index. A rule of vcpu-rt. */
#define VCPU_MM_CID_UNREGISTERED 0xffffffffU

/* Feature sizes, in bytes: the end offset of the last field that the kernel fills. */
#define VCPU_RSEQ_FEATURE_SIZE_ORIG 20		/* flags; Linux 4.18, which does not tell it */
#define VCPU_RSEQ_FEATURE_SIZE_NODE_ID 24	/* node_id */
#define VCPU_RSEQ_FEATURE_SIZE_MM_CID 28	/* mm_cid; Linux 6.3 */
#define VCPU_RSEQ_FEATURE_SIZE_SLICE_CTRL 33	/* slice_ctrl and one byte; Linux 7.0 */

/* Registration lengths in bytes: any kernel, legacy behaviour; least that selects v2 (7.1). */
#define VCPU_RSEQ_LEGACY_LENGTH 32
#define VCPU_RSEQ_V2_MIN_LENGTH 33
/* Alignment in bytes of an area registered with each. */
#define VCPU_RSEQ_LEGACY_ALIGN 32
#define VCPU_RSEQ_V2_ALIGN 64

/* auxv types: feature size in bytes, its alignment in bytes (both Linux 6.3), HWCAP2 bits. */
#define VCPU_AT_RSEQ_FEATURE_SIZE 27
#define VCPU_AT_RSEQ_ALIGN 28
#define VCPU_AT_HWCAP2 26
/* AT_HWCAP2 bit: userspace may execute rdfsbase, wrfsbase, rdgsbase, wrgsbase. */
#define VCPU_HWCAP2_FSGSBASE (1U << 1)

/* Where the threads of the static runtime keep struct rseq: bytes above the thread pointer. Only
 * with VCPU_FEATURE_CONST_OFFSET. And the bytes reserved there. */
#define VCPU_RSEQ_OFFSET 0x100
#define VCPU_RSEQ_AREA_BYTES 256

/* Time slice extension control, Linux 7.0. Accessed by byte. */
struct vcpu_rseq_slice_ctrl {
	uint8_t request;	/* the thread sets 1 to ask; thread or kernel clear it */
	uint8_t granted;	/* the kernel sets 1 when granted; only read by the thread */
	uint16_t reserved;	/* 0 */
};

VCPU_ASSERT_OFFSET(vcpu_rseq_slice_ctrl, request, 0);
VCPU_ASSERT_OFFSET(vcpu_rseq_slice_ctrl, granted, 1);
VCPU_ASSERT_OFFSET(vcpu_rseq_slice_ctrl, reserved, 2);
VCPU_ASSERT_SIZE(vcpu_rseq_slice_ctrl, 4, 2);

/* The kernel's struct rseq. How much of it the kernel fills: rseq_size in the table below, never
 * sizeof. The kernel may change a field at any instruction of the thread, which alone accesses
 * it, each field by one aligned load or store. */
struct vcpu_rseq {
	uint32_t cpu_id_start;	/* a possible CPU number, also unregistered; read only */
	uint32_t cpu_id;	/* current CPU; negative as int32_t: not registered; read only */
	uint64_t rseq_cs;	/* address of the struct rseq_cs in force, or 0 */
	uint32_t flags;		/* VCPU_RSEQ_CS_FLAG_SLICE_EXT_*, Linux 7.0; read only */
	uint32_t node_id;	/* NUMA node, Linux 6.3; read only */
	uint32_t mm_cid;	/* concurrency id of this process, Linux 6.3: dense. Compare with
				 * nr_vcpus before use (0x80000000 seen after a failed execve on
				 * 7.3); read only */
	struct vcpu_rseq_slice_ctrl slice_ctrl;	/* Linux 7.0 */
	uint8_t reserved;	/* keeps a feature size of 33 apart from the legacy length */
	uint8_t end[31];	/* later fields begin here */
} __attribute__((__aligned__(32)));

VCPU_ASSERT_OFFSET(vcpu_rseq, cpu_id_start, 0);
VCPU_ASSERT_OFFSET(vcpu_rseq, cpu_id, 4);
VCPU_ASSERT_OFFSET(vcpu_rseq, rseq_cs, 8);
VCPU_ASSERT_OFFSET(vcpu_rseq, flags, 16);
VCPU_ASSERT_OFFSET(vcpu_rseq, node_id, 20);
VCPU_ASSERT_OFFSET(vcpu_rseq, mm_cid, 24);
VCPU_ASSERT_OFFSET(vcpu_rseq, slice_ctrl, 28);
VCPU_ASSERT_OFFSET(vcpu_rseq, reserved, 32);
VCPU_ASSERT_OFFSET(vcpu_rseq, end, 33);
VCPU_ASSERT_SIZE(vcpu_rseq, 64, 32);

/* The kernel's struct rseq_cs: one critical section, usually constant data. */
struct vcpu_rseq_cs {
	uint32_t version;	/* 0 */
	uint32_t flags;		/* 0 */
	uint64_t start_ip;	/* address of the first instruction */
	uint64_t post_commit_offset;	/* bytes from start_ip to after the commit */
	uint64_t abort_ip;	/* outside the section; the signature stands just before it */
} __attribute__((__aligned__(32)));

VCPU_ASSERT_OFFSET(vcpu_rseq_cs, version, 0);
VCPU_ASSERT_OFFSET(vcpu_rseq_cs, flags, 4);
VCPU_ASSERT_OFFSET(vcpu_rseq_cs, start_ip, 8);
VCPU_ASSERT_OFFSET(vcpu_rseq_cs, post_commit_offset, 16);
VCPU_ASSERT_OFFSET(vcpu_rseq_cs, abort_ip, 24);
VCPU_ASSERT_SIZE(vcpu_rseq_cs, 32, 32);

/* ---- GS mode: the prctl of this project's kernel patches --------------------------------------
 * prctl(VCPU_PR_SET_GS_MODE, &mode, sizeof(mode), 0, 0), and GET, which fills the struct.
 * EINVAL: no such prctl in this kernel, unknown mode, flags not 0, size below 16, arg4 or arg5
 * not 0, or a stride that the mode does not take. E2BIG: size above a page, or a tail that is
 * not zero. EFAULT: bad pointer. ERANGE: stride times possible CPUs leaves the user half.
 * EOPNOTSUPP: no mm_cid, or not a 64-bit task. EBUSY: NONE while other tasks share the memory
 * space. EPERM, ENOSYS: a seccomp filter or an LSM. ARCH_SET_GS answers EBUSY while a mode is on.
 */
#define VCPU_PR_SET_GS_MODE 0x47534d01
#define VCPU_PR_GET_GS_MODE 0x47534d02
#define VCPU_GS_INDEX_MODE_NONE 0U	/* the GS base is the thread's own affair */
#define VCPU_GS_INDEX_MODE_MM_VCPU 1U	/* the GS base is stride * mm_cid */

struct vcpu_prctl_set_gs_mode {
	uint32_t index_mode;	/* VCPU_GS_INDEX_MODE_* */
	uint32_t flags;		/* 0 */
	uint64_t stride;	/* bytes: a page multiple for MM_VCPU, 0 for NONE */
};

VCPU_ASSERT_OFFSET(vcpu_prctl_set_gs_mode, index_mode, 0);
VCPU_ASSERT_OFFSET(vcpu_prctl_set_gs_mode, flags, 4);
VCPU_ASSERT_OFFSET(vcpu_prctl_set_gs_mode, stride, 8);
VCPU_ASSERT_SIZE(vcpu_prctl_set_gs_mode, 16, 8);

/* ---- tunables: environment variables read at start, ignored under AT_SECURE ------------------ */
#define VCPU_TUNABLE_STRIDE "VCPU_RT_STRIDE"	/* power of two, with optional K, M, G */
#define VCPU_TUNABLE_GS "VCPU_RT_GS"		/* auto, on, off */
#define VCPU_TUNABLE_RSEQ "VCPU_RT_RSEQ"	/* auto (on), own, adopt, off */
#define VCPU_TUNABLE_DEBUG "VCPU_RT_DEBUG"	/* 0, 1 */
#define VCPU_STRIDE_MINIMUM 4096		/* bytes, as the two below */
#define VCPU_STRIDE_MAXIMUM 1073741824
#define VCPU_STRIDE_DEFAULT 2097152

/* ---- the table -------------------------------------------------------------------------------*/

#define VCPU_ABI_VERSION_MAJOR 1
#define VCPU_ABI_VERSION_MINOR 1
#define VCPU_ABI_SIZE 200	/* the value of size in version 1.1: bytes in use */
#define VCPU_ABI_SIZE_1_0 120	/* and in version 1.0 */
#define VCPU_ABI_BYTES 256	/* bytes of the symbol, for ever: COPY relocations */

/* Bits of features. */
#define VCPU_FEATURE_RSEQ (1ULL << 0)		/* rseq is registered, by this runtime */
#define VCPU_FEATURE_RSEQ_V2 (1ULL << 1)	/* with a length above 32: v2 */
#define VCPU_FEATURE_NODE_ID (1ULL << 2)	/* the kernel fills node_id */
#define VCPU_FEATURE_MM_CID (1ULL << 3)		/* the kernel fills mm_cid */
#define VCPU_FEATURE_GS_MODE (1ULL << 4)	/* the kernel loads the GS base: mode is GS */
#define VCPU_FEATURE_CONST_OFFSET (1ULL << 5)	/* rseq_offset is VCPU_RSEQ_OFFSET */
#define VCPU_FEATURE_FENCE (1ULL << 6)		/* membarrier offers the rseq fence */
#define VCPU_FEATURE_SLICE_EXT (1ULL << 7)	/* kept; not set by version 1.0 */

/* Values of mode. A ceiling for the process: a thread without registration has no section, it
 * uses the last area (nr_vcpus) by locked instructions. In mode GS the rseq fields of the table say
 * what they say in the other modes, and words may be updated in one of two ways: by single %gs:
 * instructions, which need no registration, or by sections and locks as in modes 1 and 2. A word
 * is updated in one of these ways, for ever: mixed they lose updates. */
#define VCPU_MODE_SHARED 0U		/* locked instructions, on any area */
#define VCPU_MODE_RSEQ_CPU_ID 1U	/* rseq section, area of cpu_id */
#define VCPU_MODE_RSEQ_MM_CID 2U	/* rseq section, area of mm_cid */
#define VCPU_MODE_GS 3U			/* single %gs: instructions, area of mm_cid */

/* What update_word does to a word: an operation, plus the width of the word in bits. */
#define VCPU_UPDATE_LOAD 0U
#define VCPU_UPDATE_STORE 1U
#define VCPU_UPDATE_ADD 2U
#define VCPU_UPDATE_AND 3U
#define VCPU_UPDATE_OR 4U
#define VCPU_UPDATE_XOR 5U
#define VCPU_UPDATE_EXCHANGE 6U
#define VCPU_UPDATE_COMPARE_EXCHANGE 7U
#define VCPU_UPDATE_8 0x000U
#define VCPU_UPDATE_16 0x100U
#define VCPU_UPDATE_32 0x200U
#define VCPU_UPDATE_64 0x300U

/* What update_words does: values of vcpu_words_update.operation. */
#define VCPU_WORDS_COMPARE_EQUAL_STORE 0U
#define VCPU_WORDS_COMPARE_EQUAL_STORE_STORE 1U
#define VCPU_WORDS_COMPARE_EQUAL_COMPARE_EQUAL_STORE 2U
#define VCPU_WORDS_COMPARE_EQUAL_COPY_STORE 3U
#define VCPU_WORDS_COMPARE_NOT_EQUAL_LOAD_STORE 4U
#define VCPU_WORDS_ADD_TO_POINTEE 5U

/* Why an operation over several words committed nothing: a word is not what was expected (-EAGAIN); the
 * thread acts on a shared area, and another one is in the middle of something there (-EBUSY). */
#define VCPU_DIFFERENT (-11)
#define VCPU_BUSY (-16)

/* An operation over several words of 8 bytes, for update_words. What it is about: vcpu_several_words.h. */
struct vcpu_words_update {
	uint32_t operation;	/* VCPU_WORDS_* */
	uint32_t reserved;	/* 0 */
	uint64_t expected;	/* of the first word; or what it must not be */
	void *other;		/* the second word, or where bytes go: in vCPU 0's copy */
	uint64_t value;		/* for that word; the address of the bytes; an offset; an addend */
	uint64_t length;	/* bytes to copy */
	uint64_t desired;	/* the first word's new value; out: what LOAD_STORE took */
};

VCPU_ASSERT_OFFSET(vcpu_words_update, operation, 0);
VCPU_ASSERT_OFFSET(vcpu_words_update, reserved, 4);
VCPU_ASSERT_OFFSET(vcpu_words_update, expected, 8);
VCPU_ASSERT_OFFSET(vcpu_words_update, other, 16);
VCPU_ASSERT_OFFSET(vcpu_words_update, value, 24);
VCPU_ASSERT_OFFSET(vcpu_words_update, length, 32);
VCPU_ASSERT_OFFSET(vcpu_words_update, desired, 40);
VCPU_ASSERT_SIZE(vcpu_words_update, 48, 8);

/* How much is allocated. Later versions append. */
struct vcpu_statistics {
	uint64_t pools;		/* that are mapped */
	uint64_t stride;	/* bytes between areas */
	uint64_t nr_areas;	/* of each pool */
	uint64_t address_space;	/* bytes that the pools take */
	uint64_t objects;	/* that live */
	uint64_t used;		/* bytes of each area that they take */
	uint64_t available;	/* bytes of each area that are free, in pieces of any size */
};

VCPU_ASSERT_OFFSET(vcpu_statistics, pools, 0);
VCPU_ASSERT_OFFSET(vcpu_statistics, stride, 8);
VCPU_ASSERT_OFFSET(vcpu_statistics, nr_areas, 16);
VCPU_ASSERT_OFFSET(vcpu_statistics, address_space, 24);
VCPU_ASSERT_OFFSET(vcpu_statistics, objects, 32);
VCPU_ASSERT_OFFSET(vcpu_statistics, used, 40);
VCPU_ASSERT_OFFSET(vcpu_statistics, available, 48);
VCPU_ASSERT_SIZE(vcpu_statistics, 56, 8);

/* Fields are only appended. Before reading one that is newer than 1.0, ask VCPU_ABI_HAS.
 * Offsets are bytes to be added to the thread pointer (%fs:0). Function fields are never null:
 * without the function they answer -ENOSYS. */
struct vcpu_abi {
	uint32_t size;		/* bytes in use; 0: the runtime is not there (yet) */
	uint16_t version_major;	/* 1 */
	uint16_t version_minor;	/* raised when fields are appended */
	uint64_t features;	/* VCPU_FEATURE_* */
	uint32_t mode;		/* VCPU_MODE_* */
	uint32_t nr_vcpus;	/* every id is below it; never grows */
	uint32_t nr_areas;	/* nr_vcpus + 1: sums run over it */
	uint32_t rseq_sig;	/* signature of registrations and abort handlers */
	int64_t rseq_offset;	/* of struct rseq */
	uint32_t rseq_size;	/* active feature size in bytes; 0: rseq not registered */
	uint32_t rseq_len;	/* registration length in bytes, above 32: v2; 0: none */
	int64_t index_offset;	/* of the uint32_t that indexes areas */
	int64_t registered_offset;	/* of the int32_t that is >= 0 when registered */
	uint64_t stride;	/* bytes from one vCPU's copy to the next */
	uint32_t stride_shift;	/* its binary logarithm */
	uint32_t rseq_flags;	/* flags of the registrations, 0 in 1.0 */

	/* Stores vCPU 0's copy of a new object; all copies are zero. Bytes. 0, -EINVAL (size 0
	 * or above the stride, alignment no power of two or above 4096), -ENOMEM (no room, or
	 * the reservation was refused at start). */
	int (*alloc)(size_t size, size_t alignment, void **object);
	/* Gives an object of that size back. 0, or -EINVAL and nothing was freed. */
	int (*free)(void *object, size_t size);
	/* When it returns 0, every section of another thread on that vCPU (-1: on any; the
	 * runtime may take one id as all) that began before the call has ended or restarted.
	 * -EINVAL, -ENOSYS, -EPERM. */
	int (*fence)(int32_t vcpu);
	/* For threads that the runtime did not make. 0, -EBUSY (registered already), -EPERM (the
	 * block is another thread's: a vfork child), -ENOSYS, -EINVAL. */
	int (*thread_register)(void);
	/* The inverse, before the thread's memory goes. 0, -EPERM, -EINVAL, -ENOSYS. */
	int (*thread_unregister)(void);

	/* Version 1.1: what vcpu_data.h is made of. */
	uint32_t shared_areas;	/* those below it are for locked updates in mode SHARED */
	uint32_t attempts;	/* times to try a section again before a shared area is used */
	/* An update (VCPU_UPDATE_*) of a word, given vCPU 0's copy, where the inline attempt did not
	 * commit: sections until one does, then a locked instruction on a shared area. Returns
	 * what was there before; of STORE, AND, OR and XOR nothing that means anything. */
	uint64_t (*update_word)(void *word, uint32_t update, uint64_t operand, uint64_t expected);
	/* The same for two words aligned to 16: writes desired[2] where they are expected[2], which
	 * becomes what was there. */
	void (*update_pair)(void *words, uint64_t *expected, const uint64_t *desired);
	/* The same for several words. 0, VCPU_DIFFERENT, VCPU_BUSY, -EINVAL: no such operation. */
	int (*update_words)(void *word, struct vcpu_words_update *update);
	/* A lock, zero at first, that is tried and never waited for: 0, or VCPU_BUSY. A fork child
	 * takes over what it inherited without the holder. */
	int (*try_lock)(uint64_t *lock);
	/* By its holder. */
	void (*unlock)(uint64_t *lock);
	/* Makes one area's copy of an object zero, and gives its whole pages back, while nobody uses
	 * it. 0, -EINVAL (no such object, size or area). */
	int (*discard)(void *object, size_t size, uint32_t area);
	/* Fills as much as fits of a struct of that many bytes. 0, -ENOMEM (no areas). */
	int (*statistics)(struct vcpu_statistics *statistics, size_t size);
	/* Bytes of one area that are in memory, through the pointer. 0, -EINVAL, mincore(2)'s. */
	int (*resident)(uint32_t area, uint64_t *bytes);
	/* Ids of this machine are below it, at most nr_vcpus: sums visit these areas and the last. */
	uint32_t (*possible_vcpus)(void);

	uint8_t reserved[56];	/* 0 */
};

VCPU_ASSERT_OFFSET(vcpu_abi, size, 0);
VCPU_ASSERT_OFFSET(vcpu_abi, version_major, 4);
VCPU_ASSERT_OFFSET(vcpu_abi, version_minor, 6);
VCPU_ASSERT_OFFSET(vcpu_abi, features, 8);
VCPU_ASSERT_OFFSET(vcpu_abi, mode, 16);
VCPU_ASSERT_OFFSET(vcpu_abi, nr_vcpus, 20);
VCPU_ASSERT_OFFSET(vcpu_abi, nr_areas, 24);
VCPU_ASSERT_OFFSET(vcpu_abi, rseq_sig, 28);
VCPU_ASSERT_OFFSET(vcpu_abi, rseq_offset, 32);
VCPU_ASSERT_OFFSET(vcpu_abi, rseq_size, 40);
VCPU_ASSERT_OFFSET(vcpu_abi, rseq_len, 44);
VCPU_ASSERT_OFFSET(vcpu_abi, index_offset, 48);
VCPU_ASSERT_OFFSET(vcpu_abi, registered_offset, 56);
VCPU_ASSERT_OFFSET(vcpu_abi, stride, 64);
VCPU_ASSERT_OFFSET(vcpu_abi, stride_shift, 72);
VCPU_ASSERT_OFFSET(vcpu_abi, rseq_flags, 76);
VCPU_ASSERT_OFFSET(vcpu_abi, alloc, 80);
VCPU_ASSERT_OFFSET(vcpu_abi, free, 88);
VCPU_ASSERT_OFFSET(vcpu_abi, fence, 96);
VCPU_ASSERT_OFFSET(vcpu_abi, thread_register, 104);
VCPU_ASSERT_OFFSET(vcpu_abi, thread_unregister, 112);
VCPU_ASSERT_OFFSET(vcpu_abi, shared_areas, VCPU_ABI_SIZE_1_0);
VCPU_ASSERT_OFFSET(vcpu_abi, attempts, 124);
VCPU_ASSERT_OFFSET(vcpu_abi, update_word, 128);
VCPU_ASSERT_OFFSET(vcpu_abi, update_pair, 136);
VCPU_ASSERT_OFFSET(vcpu_abi, update_words, 144);
VCPU_ASSERT_OFFSET(vcpu_abi, try_lock, 152);
VCPU_ASSERT_OFFSET(vcpu_abi, unlock, 160);
VCPU_ASSERT_OFFSET(vcpu_abi, discard, 168);
VCPU_ASSERT_OFFSET(vcpu_abi, statistics, 176);
VCPU_ASSERT_OFFSET(vcpu_abi, resident, 184);
VCPU_ASSERT_OFFSET(vcpu_abi, possible_vcpus, 192);
VCPU_ASSERT_OFFSET(vcpu_abi, reserved, VCPU_ABI_SIZE);
VCPU_ASSERT_SIZE(vcpu_abi, VCPU_ABI_BYTES, 8);

/* Whether the table in this process has the field: the test to make before its first use. */
#define VCPU_ABI_HAS(abi, field) \
	((abi)->size >= offsetof(struct vcpu_abi, field) + sizeof((abi)->field))

/* ---- declared variables ------------------------------------------------------------------------
 * VCPU_PER_VCPU(type, name); at file scope declares a variable with a zero copy on every vCPU, for the
 * life of the process: name.first is vCPU 0's copy. VCPU_DECLARED(name) is that copy as a pointer to the
 * type. The type is not empty, aligned to 4096 at most.
 *
 * Who is linked statically with the runtime has it filled by the runtime's start; elsewhere, as with
 * -lvcpu_rt or in a shared library, a constructor of the variable's own does it. Either way it is there
 * before constructors without a priority, and those of one above 101. A shared library that is loaded
 * with a program before the start of a runtime in that program's own code (an archive) finds none then.
 *
 * Where there is no room for it, the start ends the process with a message, and the constructor does with
 * VCPU_ABI_REQUIRED. With VCPU_ABI_OPTIONAL VCPU_DECLARED(name) is null then, and where there is no
 * runtime: ask that before an operation, which needs a table.
 */
struct vcpu_cell {
	void *first;		/* vCPU 0's copy; filled at start, null where nobody did */
	uint64_t size;		/* bytes, not 0 */
	uint64_t align;		/* bytes, a power of two up to 4096 */
	void (*keep)(void);	/* never called: has the linker keep the runtime's part */
	int (*is_supported)(void);	/* 0: this machine cannot have it; null: every one can */
};

VCPU_ASSERT_OFFSET(vcpu_cell, first, 0);
VCPU_ASSERT_OFFSET(vcpu_cell, size, 8);
VCPU_ASSERT_OFFSET(vcpu_cell, align, 16);
VCPU_ASSERT_OFFSET(vcpu_cell, keep, 24);
VCPU_ASSERT_OFFSET(vcpu_cell, is_supported, 32);
VCPU_ASSERT_SIZE(vcpu_cell, 40, 8);

#define VCPU_PER_VCPU(type, name) \
	static struct vcpu_cell name \
		__attribute__((__used__, __section__("vcpu_rt_declared"), __aligned__(8))) = { \
		0, sizeof(type), __alignof__(type), \
		(void (*)(void))vcpu_alloc, 0 \
	}; \
	static __attribute__((__constructor__(101), __used__)) void vcpu_fill_##name(void) \
	{ \
		vcpu_fill(&name, VCPU_NO_ROOM(name), sizeof(VCPU_NO_ROOM(name)) - 1); \
	} \
	typedef __typeof__(type) vcpu_type_of_##name

#define VCPU_NO_ROOM(name) "vcpu-rt: cannot start: no room for the per-vCPU variable " #name "\n"

#define VCPU_DECLARED(name) ((vcpu_type_of_##name *)(name).first)

/* ---- helpers ---------------------------------------------------------------------------------*/

/* One load at a byte offset from the thread pointer. Volatile, since the kernel writes there. */
static inline uint32_t vcpu_thread_u32(int64_t offset)
{
	uint32_t value;

	__asm__ __volatile__("movl %%fs:(%1), %0" : "=r"(value) : "r"(offset));
	return value;
}

/* 1 when the calling thread is registered with rseq, else 0. */
static inline int vcpu_thread_is_registered(const struct vcpu_abi *abi)
{
	return (int32_t)vcpu_thread_u32(abi->registered_offset) >= 0;
}

/* The area that the calling thread would use now, by a section or a lock, below nr_areas: nr_vcpus
 * when it has none of its own. Outside a critical section the answer may be out of date when it arrives: good for
 * choosing, not for an unlocked update. */
static inline uint32_t vcpu_thread_area(const struct vcpu_abi *abi)
{
	uint32_t index = vcpu_thread_u32(abi->index_offset);

	return vcpu_thread_is_registered(abi) && index < abi->nr_vcpus ? index : abi->nr_vcpus;
}

/* Area's copy of an object, given vCPU 0's as alloc stored it; area below nr_areas. */
static inline void *vcpu_area_address(const struct vcpu_abi *abi, void *object, uint32_t area)
{
	return (char *)object + ((size_t)area << abi->stride_shift);
}

/* The area to visit after one, among those that can hold anything; from the last one on not below
 * nr_areas. */
static inline uint32_t vcpu_next_area(const struct vcpu_abi *abi, uint32_t area)
{
	return area + 1 == abi->possible_vcpus() ? abi->nr_vcpus : area + 1;
}

#define VCPU_FOR_EACH_AREA(abi, area) \
	for ((area) = 0; (area) < (abi)->nr_areas; (area) = vcpu_next_area(abi, area))

/* Adds to this vCPU's copy of a word, given vCPU 0's, by one instruction: never lost, whatever
 * preempts it, in any thread and any handler. Relaxed. Only in mode VCPU_MODE_GS, where each update
 * of that word is such an instruction; other threads may read all its copies. */
static inline void vcpu_gs_add(uint64_t *word, uint64_t value)
{
	__asm__ __volatile__("addq %1, %%gs:(%0)" : : "r"(word), "re"(value) : "memory", "cc");
}

#ifdef __cplusplus
}
#endif

#undef VCPU_ASSERT
#undef VCPU_ASSERT_OFFSET
#undef VCPU_ASSERT_SIZE

#endif /* VCPU_RT_H */

/* ---- symbols ---------------------------------------------------------------------------------*/

#if defined(VCPU_ABI_OPTIONAL) && defined(VCPU_ABI_REQUIRED)
#error "vcpu_rt.h: define VCPU_ABI_OPTIONAL or VCPU_ABI_REQUIRED, not both"
#endif

#if (defined(VCPU_ABI_OPTIONAL) || defined(VCPU_ABI_REQUIRED)) && !defined(VCPU_RT_H_SYMBOLS)
#define VCPU_RT_H_SYMBOLS

#ifdef __cplusplus
extern "C" {
#endif

#ifdef VCPU_ABI_OPTIONAL
#define VCPU_IMPORT __attribute__((__weak__))
#else
#define VCPU_IMPORT
#endif

/* The table. Ask vcpu_abi_find() for it: being linked is not yet being valid. */
extern const struct vcpu_abi vcpu_abi VCPU_IMPORT;

/* glibc's symbols, with glibc's meanings, under names of our own: <sys/rseq.h> declares the
 * originals, in C++ with another language linkage than this place has. */
extern const ptrdiff_t vcpu_rseq_offset __asm__("__rseq_offset") VCPU_IMPORT;
/* Active feature size in bytes, 0 when rseq is not registered. */
extern const unsigned int vcpu_rseq_size __asm__("__rseq_size") VCPU_IMPORT;
/* Flags of the registrations: 0. */
extern const unsigned int vcpu_rseq_flags __asm__("__rseq_flags") VCPU_IMPORT;

/* The functions of the table as symbols; the contract is said there. */
int vcpu_alloc(size_t size, size_t alignment, void **object) VCPU_IMPORT;
int vcpu_free(void *object, size_t size) VCPU_IMPORT;
int vcpu_fence(int32_t vcpu) VCPU_IMPORT;
int vcpu_thread_register(void) VCPU_IMPORT;
int vcpu_thread_unregister(void) VCPU_IMPORT;
/*
 * Of libvcpu_rt alone, where the mode is off unless it is asked for: switches the GS mode on, before the first
 * object (a declared variable is one) and the first thread. 0, or a negative errno: -EBUSY, it is too late, or GS has another owner; -EINVAL, the
 * kernel lacks it; -EPERM, -ENOSYS, a filter; -EOPNOTSUPP, no mm_cid; -ENOMEM, no areas.
 */
int vcpu_request_gs_mode(void) VCPU_IMPORT;
uint64_t vcpu_update_word(void *word, uint32_t update, uint64_t operand,
			  uint64_t expected) VCPU_IMPORT;
void vcpu_update_pair(void *words, uint64_t *expected, const uint64_t *desired) VCPU_IMPORT;
int vcpu_update_words(void *word, struct vcpu_words_update *update) VCPU_IMPORT;
int vcpu_try_lock(uint64_t *lock) VCPU_IMPORT;
void vcpu_unlock(uint64_t *lock) VCPU_IMPORT;
int vcpu_discard(void *object, size_t size, uint32_t area) VCPU_IMPORT;
/* Named like its struct, which in C++ hides a constructor: g++ -Wshadow says so. */
#ifdef __cplusplus
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
int vcpu_statistics(struct vcpu_statistics *statistics, size_t size) VCPU_IMPORT;
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif
int vcpu_resident(uint32_t area, uint64_t *bytes) VCPU_IMPORT;
uint32_t vcpu_possible_vcpus(void) VCPU_IMPORT;

/* The table when a runtime of a layout that this header knows is there and ready, else null. */
static inline const struct vcpu_abi *vcpu_abi_find(void)
{
#ifdef VCPU_ABI_OPTIONAL
	if (&vcpu_abi == NULL)
		return NULL;
#endif
	if (vcpu_abi.size < VCPU_ABI_SIZE_1_0 || vcpu_abi.version_major != VCPU_ABI_VERSION_MAJOR)
		return NULL;
	return &vcpu_abi;
}

#undef VCPU_IMPORT

/* Ends the process with a message, in programs without a libc too: write(2, ..), exit_group(127). */
static __attribute__((__cold__, __noinline__, __noreturn__, __unused__)) void
vcpu_stop(const char *message, size_t length)
{
	long result;

	__asm__ __volatile__("syscall"
			     : "=a"(result)
			     : "a"(1L), "D"(2L), "S"(message), "d"(length)
			     : "rcx", "r11", "memory");
	__asm__ __volatile__("syscall"
			     : "=a"(result)
			     : "a"(231L), "D"(127L)
			     : "rcx", "r11", "memory");
	__builtin_trap();
}

/* What a declared variable's constructor does: nothing where the start did it, or will. */
static __attribute__((__cold__, __noinline__, __unused__)) void
vcpu_fill(struct vcpu_cell *cell, const char *no_room, size_t length)
{
	const struct vcpu_abi *abi = vcpu_abi_find();

	if (cell->first != NULL || abi == NULL)
		return;
#ifdef VCPU_ABI_OPTIONAL
	(void)no_room, (void)length;
	(void)abi->alloc(cell->size, cell->align, &cell->first);
#else
	if (abi->alloc(cell->size, cell->align, &cell->first) != 0)
		vcpu_stop(no_room, length);
#endif
}

#ifdef __cplusplus
}
#endif

#endif /* VCPU_RT_H_SYMBOLS */
