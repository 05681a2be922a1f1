// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the initial stack to `main`: the boot order of `docs/runtime.md`.
//!
//! Written with loops and `if` where core has an adaptor or `min`: those come with landing pads, one
//! of which gives the whole program unwind tables. And without a call of a memory function. See
//! `docs/decisions/0004-dropping-the-table.md`.

use core::cell::UnsafeCell;
use core::ffi::c_char;
use core::ptr;

use linux_raw_sys::general::{__NR_fcntl, __NR_openat, AT_FDCWD, F_GETFD, O_RDWR};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use vcpu_core::arch::syscall;
use vcpu_core::auxv::Auxv;
use vcpu_core::process::{Found, found};
use vcpu_core::report::{self, Line};
use vcpu_core::{Errno, hook, tunables};

use crate::block::ThreadBlock;
use crate::program_headers::Segments;
use crate::thread::mapping::Mapping;
use crate::tls::TlsLayout;
use crate::{arch, env, process};

/// A static that the start writes and everybody reads afterwards.
#[repr(transparent)]
pub struct Exported<T>(UnsafeCell<T>);

// SAFETY: written once, while the process has one thread, and then in read-only memory.
unsafe impl<T> Sync for Exported<T> {}

impl<T> Exported<T> {
    /// The value before the start.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Where it is. Only the start may write there.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// What `entry!` defines in the program.
pub struct Program {
    /// The program's main, its result made an exit status.
    pub main: fn() -> i32,
    /// The least stride that the program declares, bytes.
    pub min_stride: u64,
    /// `__rseq_size`, which RELRO covers.
    pub rseq_size: &'static Exported<u32>,
    /// `environ`.
    pub environ: &'static Exported<*const *const c_char>,
}

/// Where the kernel left what it passes to a program.
pub struct InitialStack {
    argument_count: usize,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    auxv: Auxv,
    segments: Segments,
    load_base: usize,
}

impl InitialStack {
    /// # Safety
    /// `stack` is the initial stack pointer: argc, argv, a null, envp, a null, auxv (psABI).
    #[inline(always)]
    unsafe fn read(stack: *const usize, load_base: usize) -> Self {
        // SAFETY: within the initial stack, whose vectors end as the caller says.
        unsafe {
            let argument_count = *stack;
            let arguments = stack.add(1);
            let environment = arguments.add(argument_count + 1);
            let mut end = environment;
            while *end != 0 {
                end = end.add(1);
            }
            let auxv = Auxv::from_pairs(AuxvPairs(end.add(1).cast()));
            Self {
                argument_count,
                arguments: arguments.cast(),
                environment: environment.cast(),
                segments: Segments::of_this_program(&auxv),
                auxv,
                load_base,
            }
        }
    }
}

/// The auxiliary vector of the initial stack, without an end: who reads it stops at AT_NULL.
struct AuxvPairs(*const (usize, usize));

impl Iterator for AuxvPairs {
    type Item = (usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        // SAFETY: not behind AT_NULL.
        unsafe {
            let pair = *self.0;
            self.0 = self.0.add(1);
            Some(pair)
        }
    }
}

/// Stages 2 to 10: from the relocated program to its exit. The entry functions did stages 0 and 1.
///
/// Inlined, so that the program's statics are constants here.
///
/// # Safety
/// Called once, first of all, with the initial stack pointer, the load base, the type of a
/// relocation that was not applied, or 0, and `ROOM_BYTES` of the stack, aligned to 256. `program`
/// is the only user of its statics so far.
#[inline(always)]
pub unsafe fn run(
    stack: *const usize,
    load_base: usize,
    unsupported: u32,
    room: usize,
    program: &Program,
) -> ! {
    // SAFETY: by the caller's word.
    let initial = &unsafe { InitialStack::read(stack, load_base) };
    let auxv = &initial.auxv;
    if unsupported == NEEDS_LOADER {
        stop("linked for a dynamic loader; link it static");
    }
    if unsupported != 0 {
        stop_with(
            Line::new()
                .field("cannot start: relocation type ", u64::from(unsupported))
                .text(" is not supported (37 is an IFUNC of a C object)"),
        );
    }
    // SAFETY: one thread, no block yet.
    let block = unsafe { create_main_block(initial, room) };
    // SAFETY: the vectors of the initial stack, which last as long as the process.
    unsafe {
        env::start(
            initial.argument_count,
            initial.arguments,
            initial.environment,
        )
    };
    let tunables = if auxv.secure {
        open_standard_descriptors();
        tunables::Tunables::default()
    } else {
        tunables::parse(env::TunableEntries::new(), complain)
    };
    crate::stack_overflow::start(auxv.minimum_signal_stack);
    // SAFETY: once, with one thread; the main block is registered until the process ends. The
    // program's statics are writable until they are protected here.
    let protected = unsafe {
        vcpu_core::process::start(auxv, &tunables, block.rseq());
        for hook in hook::all() {
            (hook.start)(&tunables, program.min_stride);
        }
        *program.rseq_size.get() = found().active_feature_size() as u32;
        *program.environ.get() = initial.environment;
        protect_relro(initial, program.rseq_size.get().addr())
    };
    if tunables.debug {
        describe(found(), protected);
    }
    // SAFETY: the linker's bounds of the arrays.
    unsafe { process::run_init_arrays() };
    process::exit((program.main)())
}

/// Stands for the type of a relocation where the program has PT_INTERP.
pub const NEEDS_LOADER: u32 = u32::MAX;

/// Room for the main thread's block and a TLS image of up to 256 bytes, on the initial stack.
pub const ROOM_BYTES: usize = 768;
const ROOM_FOR_IMAGE: usize = ROOM_BYTES - size_of::<ThreadBlock>();

/// Stage 3. The block lies in `room` when it fits there, on the initial stack, whose page the kernel
/// has touched already: a page of .bss would be one more fault, a mapping one more system call.
///
/// # Safety
/// Called once, while the process has one thread and no thread pointer. At `room` are
/// `ROOM_BYTES`, aligned as a block, until the process ends.
#[inline(always)]
unsafe fn create_main_block(initial: &InitialStack, room: usize) -> &'static ThreadBlock {
    let mut layout = TlsLayout::EMPTY;
    if let Some(segment) = initial.segments.tls {
        let (p_vaddr, p_memsz) = (segment.p_vaddr as usize, segment.p_memsz as usize);
        match TlsLayout::of_segment(p_vaddr, p_memsz, segment.p_align as usize) {
            Some(of_segment) => layout = of_segment,
            None => stop("bad size or alignment of PT_TLS"),
        }
        // SAFETY: one thread.
        unsafe { crate::thread::image::start(initial.load_base, segment, layout) };
    }
    let mut end = room + ROOM_BYTES;
    if layout.align > align_of::<ThreadBlock>() || layout.image_offset > ROOM_FOR_IMAGE {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping: it replaces nothing.
        let mapped = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                layout.bytes(),
                protection,
                MapFlags::PRIVATE,
            )
        };
        match mapped {
            Ok(base) => end = base.expose_provenance() + layout.bytes(),
            Err(_) => stop("no memory for PT_TLS"),
        }
    }
    let pointer = layout.thread_pointer_below(end);
    // SAFETY: stage 2 found the segment, and the room holds layout and block. AT_RANDOM
    // is 16 bytes on the initial stack.
    unsafe {
        crate::thread::image::fill(pointer);
        let canary = canary(initial.auxv.random);
        let block = ptr::with_exposed_provenance_mut::<ThreadBlock>(pointer);
        ThreadBlock::create(block, canary, Mapping::EMPTY);
        if arch::thread::set_thread_pointer(pointer, initial.auxv.fsgsbase).is_err() {
            stop("arch_prctl(ARCH_SET_FS) was refused");
        }
        &*block
    }
}

/// The stack canary: AT_RANDOM's first bytes. The lowest is zero, so that a string function
/// cannot write past it unnoticed, nor print it.
///
/// # Safety
/// `random` is 0 or AT_RANDOM.
#[inline(always)]
unsafe fn canary(random: usize) -> usize {
    if random == 0 {
        return 0;
    }
    // SAFETY: 16 bytes by AT_RANDOM's definition; the kernel does not align them.
    unsafe { ptr::read_unaligned(ptr::with_exposed_provenance::<usize>(random)) & !0xff }
}

/// Who starts a set-user-ID program may have closed its standard descriptors, so that the first
/// file it opens would get what it prints. A closed one becomes /dev/null, as in glibc.
#[cold]
fn open_standard_descriptors() {
    for number in 0..3 {
        // SAFETY: asks about a number; opens a device that takes everything.
        let result = unsafe { syscall(__NR_fcntl, [number, F_GETFD as usize, 0, 0]) };
        if result == Err(Errno::BADF) {
            let path = c"/dev/null".as_ptr().expose_provenance();
            // The lowest free number is this one: the lower ones are open by now.
            // SAFETY: a terminated path.
            let opened =
                unsafe { syscall(__NR_openat, [AT_FDCWD as usize, path, O_RDWR as usize, 0]) };
            if opened != Ok(number) {
                // Nowhere to say why.
                process::exit_group(127);
            }
        }
    }
}

/// Stage 8: PT_GNU_RELRO becomes read-only, and with it .data.rel.ro, where the table is and what
/// else is exported. EFAULT: `exported`, an address in it, is not inside, or the last page is not
/// all RELRO's; the program was linked without RELRO, so they stay writable.
///
/// # Safety
/// Everything in RELRO has its last value.
#[inline(always)]
unsafe fn protect_relro(initial: &InitialStack, exported: usize) -> Result<(), Errno> {
    const PAGE: usize = 4096;
    let relro = initial.segments.relro.ok_or(Errno::FAULT)?;
    let start = initial.load_base.wrapping_add(relro.p_vaddr as usize);
    let end = start.wrapping_add(relro.p_memsz as usize);
    let start = start & !(PAGE - 1);
    if exported < start || exported >= end || !end.is_multiple_of(PAGE) {
        return Err(Errno::FAULT);
    }
    // SAFETY: the linker put nothing else on these pages.
    unsafe {
        mprotect(
            ptr::with_exposed_provenance_mut(start),
            end - start,
            MprotectFlags::READ,
        )
    }
}

/// A tunable with a value that is not allowed.
#[cold]
#[inline(never)]
fn complain(complaint: tunables::Complaint<'_>) {
    report::complaint(&complaint).print();
}

/// The line of VCPU_RT_DEBUG=1.
#[cold]
#[inline(never)]
fn describe(found: &Found, protected: Result<(), Errno>) {
    let mut line = Line::new();
    found.describe(&mut line);
    for hook in hook::all() {
        (hook.describe)(&mut line);
    }
    if let Err(errno) = protected {
        line.outcome(" table=", "writable", Some(errno));
    }
    line.print();
}

/// Before there is anything to unwind or to run at exit.
#[cold]
#[inline(never)]
fn stop(message: &str) -> ! {
    stop_with(Line::new().text("cannot start: ").text(message))
}

#[inline(never)]
fn stop_with(line: &mut Line) -> ! {
    line.print();
    process::exit_group(127)
}
