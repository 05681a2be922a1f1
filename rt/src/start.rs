// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the initial stack to `main`: the boot order of `docs/runtime.md`.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int};
use core::ptr;

use linux_raw_sys::elf_uapi::elf64_phdr;
use linux_raw_sys::general::{__NR_fcntl, __NR_openat, AT_FDCWD, F_GETFD, O_RDWR};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use vcpu_abi::VcpuAbi;
use vcpu_core::arch::syscall;
use vcpu_core::auxv::Auxv;
use vcpu_core::process::Found;
use vcpu_core::report::Line;
use vcpu_core::{Errno, table, tunables};

use crate::block::ThreadBlock;
use crate::program_headers::{self, PT_GNU_RELRO, PT_TLS, find};
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
}

/// A function of an init or fini array (gABI). glibc passes the arguments of main to the former.
pub type InitFunction = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// What `entry!` defines in the program.
pub struct Program {
    /// The program's main, its result made an exit status.
    pub main: fn() -> i32,
    /// The least stride that the program declares, bytes.
    pub min_stride: u64,
    /// `vcpu_abi`.
    pub table: &'static Exported<VcpuAbi>,
    /// `__rseq_offset`.
    pub rseq_offset: &'static Exported<isize>,
    /// `__rseq_size`.
    pub rseq_size: &'static Exported<u32>,
    /// `__rseq_flags`: always 0, as in glibc.
    pub rseq_flags: &'static Exported<u32>,
    /// `environ`.
    pub environ: &'static Exported<*const *const c_char>,
    /// `__preinit_array_start`, `__preinit_array_end`, then the same for init and fini.
    pub arrays: [*const InitFunction; 6],
}

/// Where the kernel left what it passes to a program.
pub struct InitialStack {
    argument_count: usize,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    auxv: Auxv,
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
            let mut pair = end.add(1);
            let pairs = core::iter::from_fn(|| {
                let entry = (*pair, *pair.add(1));
                pair = pair.add(2);
                Some(entry)
            });
            Self {
                argument_count,
                arguments: arguments.cast(),
                environment: environment.cast(),
                auxv: Auxv::from_pairs(pairs),
                load_base,
            }
        }
    }
}

/// Stages 1 to 10: from the relocated program to its exit. The entry functions did stages 0 and 2.
///
/// # Safety
/// Called once, first of all, with the initial stack pointer, the load base, and the type of a
/// relocation that was not applied, or 0. `program` is the only user of its statics so far.
pub unsafe fn run(stack: *const usize, load_base: usize, unsupported: u32, program: &Program) -> ! {
    // SAFETY: by the caller's word.
    let initial = &unsafe { InitialStack::read(stack, load_base) };
    let auxv = &initial.auxv;
    if auxv.interpreter_base != 0 {
        stop("cannot start: this program was linked for a dynamic loader; link it static");
    }
    if unsupported != 0 {
        stop_with(
            Line::new()
                .text("cannot start: relocation type ")
                .number(u64::from(unsupported))
                .text(" is not supported (8, RELATIVE, is; 37 is an IFUNC of a C object)"),
        );
    }
    // SAFETY: this process's auxv.
    let headers = unsafe { program_headers::of_this_program(auxv) };
    // SAFETY: one thread, no block yet.
    let block = unsafe { create_main_block(initial, headers) };
    // SAFETY: the vectors of the initial stack, which last as long as the process.
    unsafe {
        env::start(
            initial.argument_count,
            initial.arguments,
            initial.environment,
        )
    };
    process::start(program.arrays);
    let tunables = if auxv.secure {
        open_standard_descriptors();
        tunables::Tunables::default()
    } else {
        tunables::parse(env::entries().map(CStr::to_bytes), complain)
    };
    // SAFETY: once, with one thread; the main block is registered until the process ends.
    let found =
        unsafe { vcpu_core::process::start(auxv, &tunables, program.min_stride, block.rseq()) };
    crate::stack_overflow::start(auxv.minimum_signal_stack);
    if tunables.stride.is_some() {
        tell_of_smaller_stride(found);
    }
    // SAFETY: one thread; the statics are writable until they are protected here.
    let protected = unsafe {
        publish(program, found, initial.environment);
        protect_relro(initial.load_base, headers, program)
    };
    if tunables.debug {
        describe(found, protected);
    }
    // SAFETY: the linker's bounds of the arrays.
    unsafe { process::run_init_arrays() };
    process::exit((program.main)())
}

/// Stage 3. The block lies in .bss when it fits there, which saves a system call.
///
/// # Safety
/// Called once, while the process has one thread and no thread pointer.
#[inline(always)]
unsafe fn create_main_block(
    initial: &InitialStack,
    headers: &'static [elf64_phdr],
) -> &'static ThreadBlock {
    #[repr(C, align(256))]
    struct Room(UnsafeCell<[u8; 1536]>);
    // SAFETY: used here, once.
    unsafe impl Sync for Room {}
    static ROOM: Room = Room(UnsafeCell::new([0; 1536]));

    let segment = find(headers, PT_TLS);
    let layout = match segment {
        None => TlsLayout::EMPTY,
        Some(segment) => {
            let (p_vaddr, p_memsz) = (segment.p_vaddr as usize, segment.p_memsz as usize);
            match TlsLayout::of_segment(p_vaddr, p_memsz, segment.p_align as usize) {
                Some(layout) => layout,
                None => stop("cannot start: PT_TLS has a bad size or alignment"),
            }
        }
    };
    let mut room = ROOM.0.get().addr()..ROOM.0.get().addr() + size_of::<Room>();
    if layout.bytes() > size_of::<Room>() && layout != TlsLayout::EMPTY {
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
            Ok(base) => room = base.addr()..base.expose_provenance() + layout.bytes(),
            Err(errno) => stop_with(
                Line::new()
                    .text("cannot start: thread-local storage needs bytes: ")
                    .number(layout.bytes() as u64)
                    .text(", ")
                    .errno(errno),
            ),
        }
    } else {
        let _exposed_for_the_pointer_below = ROOM.0.get().expose_provenance();
    }
    let pointer = layout.thread_pointer_below(room.end);
    // SAFETY: stages 0 and 1 found the segment, and the room holds layout and block. AT_RANDOM
    // is 16 bytes on the initial stack.
    unsafe {
        crate::thread::image::start(initial.load_base, segment, layout);
        crate::thread::image::fill(pointer);
        let canary = canary(initial.auxv.random);
        let block = ptr::with_exposed_provenance_mut::<ThreadBlock>(pointer);
        ThreadBlock::create(block, canary, Mapping::EMPTY);
        if arch::thread::set_thread_pointer(pointer, initial.auxv.fsgsbase).is_err() {
            stop("cannot start: arch_prctl(ARCH_SET_FS) was refused");
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

/// Stage 8, first half.
///
/// # Safety
/// One thread; the program's statics are still writable.
#[inline(always)]
unsafe fn publish(program: &Program, found: &Found, environment: *const *const c_char) {
    // SAFETY: by the caller's word nobody else uses them.
    unsafe {
        table::fill(&mut *program.table.0.get(), found);
        *program.rseq_offset.0.get() = vcpu_abi::RSEQ_OFFSET as isize;
        *program.rseq_size.0.get() = found.active_feature_size() as u32;
        *program.rseq_flags.0.get() = 0;
        *program.environ.0.get() = environment;
    }
}

/// Stage 8, second half: PT_GNU_RELRO becomes read-only, and with it the table, which lies in
/// .data.rel.ro. EFAULT: the program was linked without RELRO, so the table stays writable.
///
/// # Safety
/// The program's own headers; everything in RELRO has its last value.
#[inline(always)]
unsafe fn protect_relro(
    load_base: usize,
    headers: &'static [elf64_phdr],
    program: &Program,
) -> Result<(), Errno> {
    const PAGE: usize = 4096;
    let relro = find(headers, PT_GNU_RELRO).ok_or(Errno::FAULT)?;
    let start = load_base.wrapping_add(relro.p_vaddr as usize) & !(PAGE - 1);
    let end = load_base.wrapping_add((relro.p_vaddr + relro.p_memsz) as usize) & !(PAGE - 1);
    let published = [
        (program.table.0.get().addr(), size_of::<VcpuAbi>()),
        (program.rseq_offset.0.get().addr(), size_of::<isize>()),
        (program.rseq_size.0.get().addr(), size_of::<u32>()),
        (program.rseq_flags.0.get().addr(), size_of::<u32>()),
    ];
    if published
        .iter()
        .any(|&(at, bytes)| at < start || at + bytes > end)
    {
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
    Line::new()
        .text(complaint.variable)
        .text("=")
        .value(
            complaint
                .value
                .get(..complaint.value.len().min(64))
                .unwrap_or(&[]),
        )
        .text(" is not allowed (")
        .text(complaint.allowed)
        .text("); ")
        .text(complaint.taken)
        .text(" is used")
        .print();
}

/// The line of VCPU_RT_DEBUG=1.
#[cold]
#[inline(never)]
fn describe(found: &Found, protected: Result<(), Errno>) {
    let mut line = Line::new();
    found.describe(&mut line);
    if let Err(errno) = protected {
        line.text(" table=writable, ").errno(errno);
    }
    line.print();
}

/// The stride that the user asked for could not be reserved.
#[cold]
#[inline(never)]
fn tell_of_smaller_stride(found: &Found) {
    let reservation = &found.reservation;
    let mut line = Line::new();
    line.text("a stride of ")
        .number(reservation.asked)
        .text(" needs more address space than the kernel gives; ");
    if reservation.refused.is_some() {
        line.text("there are no per-vCPU areas").print();
    } else if reservation.stride < reservation.asked {
        line.number(reservation.stride).text(" is used").print();
    }
}

/// Before there is anything to unwind or to run at exit.
#[cold]
#[inline(never)]
fn stop(message: &str) -> ! {
    stop_with(Line::new().text(message))
}

fn stop_with(line: &mut Line) -> ! {
    line.print();
    process::exit_group(127)
}
