// SPDX-License-Identifier: MIT OR Apache-2.0
//! The functions of the C library in front of which this library stands: those that make threads, so that
//! they are registered before their code; vfork, whose child is not; sched_getcpu, which knows one
//! registration only.

use core::arch::global_asm;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::{offset_of, transmute};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use vcpu_abi::Rseq;
use vcpu_core::arch::{self, ThreadWords, UNKNOWN};
use vcpu_core::process::found;
use vcpu_core::thread::VFORK_CHILD;
use vcpu_rt_hosted::libc;

use crate::starts::{self, Start};

/// `EAGAIN` of pthread_create(3), `thrd_error` of thrd_create(3).
const EAGAIN: c_int = 11;
const THRD_ERROR: c_int = 2;

/// A function behind ours, looked for once.
struct Next {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Next {
    const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            address: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Null where there is none.
    fn get(&self) -> *mut c_void {
        let known = self.address.load(Ordering::Relaxed);
        if !known.is_null() {
            return known;
        }
        let name: *const c_char = self.name.as_ptr();
        // SAFETY: a terminated name.
        let address = unsafe { libc::dlsym(libc::RTLD_NEXT, name) };
        self.address.store(address, Ordering::Relaxed);
        address
    }
}

/// Both of the functions that make threads, up to their types of attributes and code.
type Create = unsafe extern "C" fn(*mut c_void, *const c_void, Start, *mut c_void) -> c_int;
type CreateC11 = unsafe extern "C" fn(*mut c_void, Start, *mut c_void) -> c_int;

/// Has `make` make a thread of the code, which runs when the thread is registered, or known to be.
fn with_entry(
    code: Start,
    argument: *mut c_void,
    make: impl FnOnce(Start, *mut c_void) -> c_int,
) -> c_int {
    let slot = if found().rseq.is_registered() {
        starts::put(code, argument)
    } else {
        None
    };
    let Some(slot) = slot else {
        return make(code, argument);
    };
    let result = make(starts::entry, ptr::from_ref(slot).cast_mut().cast());
    if result != 0 {
        slot.give_back();
    }
    result
}

/// pthread_create(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut c_void,
    attributes: *const c_void,
    code: Start,
    argument: *mut c_void,
) -> c_int {
    static NEXT: Next = Next::new(c"pthread_create");
    let next = NEXT.get();
    if next.is_null() {
        return EAGAIN;
    }
    // SAFETY: the function of this name; the rest is the caller's word.
    unsafe {
        let next = transmute::<*mut c_void, Create>(next);
        with_entry(code, argument, |code, argument| {
            next(thread, attributes, code, argument)
        })
    }
}

/// thrd_create(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn thrd_create(thread: *mut c_void, code: Start, argument: *mut c_void) -> c_int {
    static NEXT: Next = Next::new(c"thrd_create");
    let next = NEXT.get();
    if next.is_null() {
        return THRD_ERROR;
    }
    // SAFETY: as above.
    unsafe {
        let next = transmute::<*mut c_void, CreateC11>(next);
        with_entry(code, argument, |code, argument| {
            next(thread, code, argument)
        })
    }
}

// sched_getcpu(3), as short as glibc's but for the offset, which is 0 before the start. Negative: the thread is not
// registered.
global_asm!(
    ".pushsection .text.sched_getcpu, \"ax\", @progbits",
    ".balign 16",
    ".globl sched_getcpu",
    ".type sched_getcpu, @function",
    "sched_getcpu:",
    ".cfi_startproc",
    "mov rax, qword ptr [rip + {offset}]",
    "test rax, rax",
    "jz {ask}",
    "mov eax, fs:[rax + {cpu_id}]",
    "test eax, eax",
    "js {ask}",
    "ret",
    ".cfi_endproc",
    ".size sched_getcpu, . - sched_getcpu",
    ".popsection",
    offset = sym arch::OFFSET,
    cpu_id = const Rseq::CPU_ID_OFFSET,
    ask = sym ask_for_cpu,
);

#[cold]
extern "C" fn ask_for_cpu() -> c_int {
    static NEXT: Next = Next::new(c"sched_getcpu");
    let next = NEXT.get();
    if next.is_null() {
        return -1;
    }
    // SAFETY: the function of this name.
    let next = unsafe { transmute::<*mut c_void, extern "C" fn() -> c_int>(next) };
    next()
}

// vfork(2). The child runs on this thread's block, where it is not registered, until it executes
// another program or exits; then the parent, which waited, goes on. So the words say so meanwhile: sections are
// kept out first, and let in last. The child uses the parent's stack: the return address is kept in a register, as in
// every vfork. %r8 and %r10 are the words, %r9 their place; the system call changes %rax, %rcx and %r11.
global_asm!(
    ".pushsection .text.vfork, \"ax\", @progbits",
    ".globl vfork",
    ".type vfork, @function",
    "vfork:",
    ".cfi_startproc",
    "pop rdi",
    ".cfi_adjust_cfa_offset -8",
    ".cfi_register rip, rdi",
    "mov r9, qword ptr [rip + __vcpu_rt_thread@GOTTPOFF]",
    "mov r8, fs:[r9 + {words}]",
    "mov r10, fs:[r9 + {bounds}]",
    "mov qword ptr fs:[r9 + {bounds}], 0",
    "movabs rax, {child}",
    "mov fs:[r9 + {words}], rax",
    "mov eax, 58",
    "syscall",
    "push rdi",
    ".cfi_adjust_cfa_offset 8",
    ".cfi_offset rip, -8",
    "test eax, eax",
    "jz 20f",
    "mov fs:[r9 + {words}], r8",
    "mov fs:[r9 + {bounds}], r10",
    "cmp eax, -4095",
    "jae 21f",
    "20: ret",
    "21: neg eax",
    "push rax",
    ".cfi_adjust_cfa_offset 8",
    "call qword ptr [rip + __errno_location@GOTPCREL]",
    "pop rcx",
    ".cfi_adjust_cfa_offset -8",
    "mov [rax], ecx",
    "mov rax, -1",
    "ret",
    ".cfi_endproc",
    ".size vfork, . - vfork",
    ".popsection",
    words = const offset_of!(ThreadWords, registered),
    bounds = const offset_of!(ThreadWords, bounds),
    child = const ((VFORK_CHILD as u64) << 32 | UNKNOWN.cast_unsigned() as u64),
);

const _: () = assert!(
    offset_of!(ThreadWords, state) == offset_of!(ThreadWords, registered) + 4,
    "vfork writes both at once"
);
