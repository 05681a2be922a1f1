// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules of docs/critical-sections.md, each shown on the running kernel: `rules NAME [PATH]`.
#![no_std]
#![no_main]

mod lethal;
mod spin;
mod threads;

use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general as nr;
use vcpu_abi::{RSEQ_FLAG_UNREGISTER, RSEQ_SIG, RseqCs};
use vcpu_rt::{PerVcpu, Single, env, println, rseq, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::arguments::word;
use vcpu_test_programs::signal::{alarm_every, on_alarm};
use vcpu_test_programs::syscall::{self, syscall};
use vcpu_test_programs::table::abi;

use self::spin::{
    End, area, right, rseq_cs, set_rseq_cs, sleep_in_section, spin, spin_at, unsigned_abort_ip,
};

vcpu_rt::entry!(main);

/// Microseconds between signals.
const PATIENCE: i64 = 1000;
/// Turns of a section, or another loop, that signals surely come into: half a second.
const LONG: u64 = 500_000_000;

const ENOEXEC: i32 = 8;
const EFAULT: i32 = 14;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;

/// What the last handler saw: rseq_cs, and where the thread goes on.
static SEEN_RSEQ_CS: AtomicU64 = AtomicU64::new(0);
static SEEN_RIP: AtomicU64 = AtomicU64::new(0);
static SIGNALS: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn look(_: c_int, _: *mut c_void, context: *mut c_void) {
    /// `uc_mcontext.gregs[REG_RIP]` in `ucontext_t`.
    const RIP: usize = 40 + 16 * 8;
    // SAFETY: the kernel passes a ucontext_t.
    let rip = unsafe { context.byte_add(RIP).cast::<u64>().read() };
    SEEN_RSEQ_CS.store(rseq_cs(), Ordering::Relaxed);
    SEEN_RIP.store(rip, Ordering::Relaxed);
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

fn main() -> i32 {
    // SAFETY: the handler reads and stores.
    unsafe { on_alarm(look) };
    match word(1) {
        "signal" => signal(),
        "commit" => commit(),
        "outside" => outside(),
        "descriptors" => lethal::descriptors(),
        "checked-descriptors" => lethal::checked_descriptors(),
        "unmapped-descriptor" => lethal::unmapped_descriptor(),
        "unmapped-area" => lethal::unmapped_area(),
        "read-only" => lethal::ids_are_read_only(),
        "registration" => registration(),
        "vm-child" => threads::vm_child(),
        "failed-exec" => failed_exec(env::args().nth(2).expect("a path")),
        "system-call" => lethal::system_call(),
        "fence" => threads::fence(),
        "page-fault" => page_fault(),
        "sleep" => sleep(),
        "exec" => exec(),
        other => panic!("what is {other}?"),
    }
    println!("shown");
    PASSED
}

/// A signal aborts the section first, then comes the handler: it sees rseq_cs cleared, and returns to
/// the abort handler.
fn signal() {
    SEEN_RSEQ_CS.store(1, Ordering::Relaxed);
    let descriptor = right();
    alarm_every(PATIENCE);
    while SIGNALS.load(Ordering::Relaxed) < 100 {
        let before = SIGNALS.load(Ordering::Relaxed);
        let end = spin(&descriptor, LONG);
        assert_eq!(end, End::Aborted);
        assert_eq!(rseq_cs(), 0);
        // Preemption has no handler.
        if SIGNALS.load(Ordering::Relaxed) == before + 1 {
            assert_eq!(SEEN_RSEQ_CS.load(Ordering::Relaxed), 0);
            let rip = SEEN_RIP.load(Ordering::Relaxed);
            // Or it came right behind the section.
            let in_section = rip.wrapping_sub(descriptor.start_ip) < descriptor.post_commit_offset;
            assert!(!in_section, "a handler would return into the section");
        }
    }
}

/// A section that nobody disturbs commits. It leaves rseq_cs as it is; the kernel clears it later,
/// when it looks and finds the thread elsewhere.
fn commit() {
    let descriptor = right();
    let place = (&raw const descriptor).addr() as u64;
    let left = (0..1000).any(|_| spin(&descriptor, 1) == End::Committed && rseq_cs() == place);
    assert!(
        left,
        "no section of few instructions commits and leaves rseq_cs"
    );
    alarm_every(PATIENCE);
    let before = SIGNALS.load(Ordering::Relaxed);
    while SIGNALS.load(Ordering::Relaxed) == before {
        core::hint::spin_loop();
    }
    assert_eq!(rseq_cs(), 0, "after a signal elsewhere");
}

/// Instructions outside of the range are not aborted: those of a function that the section would
/// call, and those of a section around another one. There is one rseq_cs.
fn outside() {
    let elsewhere = RseqCs {
        start_ip: unsigned_abort_ip(),
        post_commit_offset: 1,
        ..right()
    };
    alarm_every(PATIENCE);
    let before = SIGNALS.load(Ordering::Relaxed);
    assert_eq!(spin(&elsewhere, LONG), End::Committed);
    assert!(SIGNALS.load(Ordering::Relaxed) > before);
    assert_eq!(rseq_cs(), 0);
}

/// A page fault alone is no abort: sections commit by stores to pages that are not there.
fn page_fault() {
    const PAGE: usize = 4096;
    const PAGES: usize = 1000;
    let pages = syscall::map(PAGES * PAGE);
    let descriptor = right();
    let place = (&raw const descriptor).expose_provenance() as u64;
    let committed = (0..PAGES).filter(|page| {
        let word = core::ptr::with_exposed_provenance(pages + page * PAGE);
        // SAFETY: in the mapping, which stays.
        let word = unsafe { &*word };
        spin_at(place, 1, word, (&AtomicU64::new(0), 0)) == End::Committed
    });
    let committed = committed.count();
    // The descriptor ends here (see `unmapped-descriptor`).
    set_rseq_cs(0);
    // The kernel may take the processor at some of them.
    assert!(
        committed > PAGES / 2,
        "{committed} of {PAGES} sections committed"
    );
}

/// A section in which the thread loses the processor in a system call. On kernels without debug
/// checks it is aborted under a legacy registration, and commits under v2.
fn sleep() {
    let expected = if abi().rseq_len > 32 {
        End::Committed
    } else {
        End::Aborted
    };
    assert_eq!(sleep_in_section(), expected);
}

/// After execve the thread is as if it had never registered: the start of the same program registers
/// it, which would be refused otherwise.
fn exec() {
    assert!(rseq::is_registered());
    let path = env::args().next().expect("a program has a path").as_ptr();
    let arguments = [path, c"registration".as_ptr(), core::ptr::null()];
    let place = arguments.as_ptr().expose_provenance();
    // SAFETY: strings, and an array that ends with a null pointer; so does its end, the environment.
    let error = unsafe {
        syscall(
            nr::__NR_execve,
            [path.expose_provenance(), place, place + 16, 0],
        )
    };
    panic!("{error:?}");
}

/// Registering clears rseq_cs, unregistering ends the kernel's interest in it; mm_cid is a valid index
/// then, though nobody's.
fn registration() {
    let (address, length) = (area().addr(), abi().rseq_len as usize);
    let rseq = |address, length, flags| {
        // SAFETY: the calling thread's area, or it is refused. Nothing uses per-vCPU words meanwhile.
        unsafe { syscall::rseq(address, length, flags, RSEQ_SIG) }
    };
    assert_eq!(rseq(address, length, RSEQ_FLAG_UNREGISTER), Ok(0));
    assert_eq!(rseq(address, length, RSEQ_FLAG_UNREGISTER), Err(EINVAL));
    assert_eq!((rseq::cpu_id(), rseq::cpu_id_start()), (u32::MAX, 0));
    assert_eq!((rseq::node_id(), rseq::mm_cid()), (0, 0));
    set_rseq_cs(u64::MAX);
    alarm_every(PATIENCE);
    let before = SIGNALS.load(Ordering::Relaxed);
    while SIGNALS.load(Ordering::Relaxed) == before {
        core::hint::spin_loop();
    }
    assert_eq!(rseq_cs(), u64::MAX, "nobody looks at it");
    assert_eq!(rseq(address + 1, length, 0), Err(EINVAL), "not aligned");
    assert_eq!(rseq(address, 31, 0), Err(EINVAL), "too short");
    assert_eq!(
        rseq(address, length, 1 << 31),
        Err(EINVAL),
        "an unknown flag"
    );
    assert_eq!(rseq(0xff00_0000_0000_0000, length, 0), Err(EFAULT));
    assert_eq!(rseq(address, length, 0), Ok(0));
    assert_eq!(rseq_cs(), 0, "cleared by the registration");
    assert!(rseq::is_registered());
    assert_eq!(spin(&right(), LONG), End::Aborted);
}

/// An execve that fails late leaves the registration. mm_cid may be out of range until the next
/// switch (Linux 7.3): operations bear it. `path` is created, and is no program.
fn failed_exec(path: &CStr) {
    let counter = PerVcpu::<Single>::new().expect("the pool has room");
    let name = path.as_ptr().expose_provenance();
    let flags = (nr::O_CREAT | nr::O_WRONLY) as usize;
    let bytes = c"garbage".as_ptr().expose_provenance();
    // SAFETY: two strings that live.
    unsafe {
        let file = syscall(nr::__NR_open, [name, flags, 0o755, 0]).expect("a file");
        syscall(nr::__NR_write, [file, bytes, 7, 0]).expect("it is open");
        syscall::close(file).expect("it is open");
    }
    let pointers = [path.as_ptr(), core::ptr::null()];
    let arguments = pointers.as_ptr().expose_provenance();
    for turn in 0..100 {
        // SAFETY: a string, and two arrays that end with a null pointer.
        let answer = unsafe { syscall(nr::__NR_execve, [name, arguments, arguments + 8, 0]) };
        let id = rseq::mm_cid();
        counter.add(1);
        assert_eq!(answer, Err(ENOEXEC));
        assert!(
            id < abi().nr_vcpus || id >= 1 << 31,
            "{id:#x} looks like an index and is none"
        );
        assert!(rseq::is_registered());
        assert_eq!(counter.sum(), turn + 1);
    }
    let busy = thread::register().map_err(|errno| errno.raw_os_error());
    assert_eq!(busy, Err(EBUSY), "it is registered");
}
