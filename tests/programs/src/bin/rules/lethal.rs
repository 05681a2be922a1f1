// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mistakes for which the kernel kills: each is made in a child.

use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general as nr;
use vcpu_abi::{RSEQ_FLAG_UNREGISTER, RSEQ_SIG, RseqCs};
use vcpu_rt::process::{self, Fork};
use vcpu_test_programs::signal::alarm_every;
use vcpu_test_programs::syscall::{self, map, sched_yield, syscall};
use vcpu_test_programs::table::abi;

use crate::spin::{area, right, set_rseq_cs, sleep_in_section, spin, spin_at, unsigned_abort_ip};
use crate::{LONG, PATIENCE, SIGNALS};

/// Above every address of user space, with 4 and with 5 levels of page tables.
const NOT_USER: u64 = 0xff00_0000_0000_0000;
const SIGSEGV: i32 = nr::SIGSEGV as i32;
const PAGE: usize = 4096;

/// The wait status of a child that runs `body`, which ends with 0 if it returns.
fn status_of(body: impl FnOnce()) -> i32 {
    // SAFETY: this process has one thread.
    match unsafe { process::fork() }.expect("a child") {
        Fork::Child => {
            // Timers are not inherited.
            alarm_every(PATIENCE);
            body();
            process::exit_group(0)
        }
        Fork::Parent(child) => {
            let mut status = 0_i32;
            let place = (&raw mut status).expose_provenance();
            // SAFETY: wait4(2) writes one int.
            let waited = unsafe { syscall(nr::__NR_wait4, [child as usize, place, 0, 0]) };
            assert_eq!(waited, Ok(child as usize));
            status
        }
    }
}

fn dies(what: &str, body: impl FnOnce()) {
    assert_eq!(status_of(body), SIGSEGV, "{what}");
}

fn survives(what: &str, body: impl FnOnce()) {
    assert_eq!(status_of(body), 0, "{what}");
}

fn dies_with(what: &str, descriptor: RseqCs) {
    dies(what, || {
        spin(&descriptor, LONG);
    });
}

/// What every kernel checks before it goes to an abort handler.
pub fn descriptors() {
    let right = right();
    survives("a right one", || {
        spin(&right, LONG);
    });
    let abort_ip = unsigned_abort_ip();
    dies_with("no signature", RseqCs { abort_ip, ..right });
    let abort_ip = NOT_USER;
    dies_with(
        "an abort handler in the kernel",
        RseqCs { abort_ip, ..right },
    );
    dies("a descriptor in the kernel", || {
        spin_at(NOT_USER, LONG, &AtomicU64::new(0), (&AtomicU64::new(0), 0));
    });
}

/// What kernels before 6.19 check always, and later ones under rseq_debug only.
pub fn checked_descriptors() {
    let right = right();
    dies_with(
        "a version",
        RseqCs {
            version: 1,
            ..right
        },
    );
    dies_with("flags", RseqCs { flags: 1, ..right });
    dies("flags of struct rseq", || {
        // SAFETY: the child's own area.
        unsafe { (&raw mut (*area()).flags).write_volatile(1) };
        spin(&right, LONG);
    });
    let abort_ip = right.start_ip + right.post_commit_offset - 1;
    dies_with("an abort handler inside", RseqCs { abort_ip, ..right });
    let post_commit_offset = NOT_USER;
    dies_with(
        "an end in the kernel",
        RseqCs {
            post_commit_offset,
            ..right
        },
    );
}

/// rseq_cs outlives its section, so the descriptor must: or rseq_cs is cleared first.
pub fn unmapped_descriptor() {
    let unmap = |page| {
        // SAFETY: the page from above, which nobody else knows.
        unsafe { syscall(nr::__NR_munmap, [page, PAGE, 0, 0]) }.expect("it is mapped");
    };
    let leave_a_section = |page: usize| {
        let place = core::ptr::with_exposed_provenance_mut::<RseqCs>(page);
        // SAFETY: a fresh page.
        unsafe { place.write(right()) };
        alarm_every(0);
        spin_at(page as u64, 1, &AtomicU64::new(0), (&AtomicU64::new(0), 0));
    };
    dies("its page is gone", || {
        let page = map(PAGE);
        leave_a_section(page);
        unmap(page);
        wait();
    });
    survives("rseq_cs is cleared first", || {
        let page = map(PAGE);
        leave_a_section(page);
        set_rseq_cs(0);
        unmap(page);
        wait();
    });
    survives("unregistered first", || {
        let page = map(PAGE);
        leave_a_section(page);
        unregister();
        unmap(page);
        wait();
    });
}

/// Until some signals came, at which the kernel looks at rseq_cs.
fn wait() {
    let end = SIGNALS.load(Ordering::Relaxed) + 20;
    alarm_every(PATIENCE);
    while SIGNALS.load(Ordering::Relaxed) < end {
        core::hint::spin_loop();
    }
}

fn unregister() {
    let (address, length) = (area().addr(), abi().rseq_len as usize);
    // SAFETY: the child's only thread; it runs no operation of per-vCPU words any more.
    unsafe { syscall::rseq(address, length, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) }
        .expect("it is registered");
}

/// The kernel writes to the area for as long as it is registered.
pub fn unmapped_area() {
    let move_to_a_page_and_unmap = |unregisters: bool| {
        unregister();
        let page = map(PAGE);
        let length = abi().rseq_len as usize;
        // SAFETY: fresh memory, registered in place of the other area, and unmapped.
        unsafe {
            syscall::rseq(page, length, 0, RSEQ_SIG).expect("nothing is registered");
            if unregisters {
                syscall::rseq(page, length, RSEQ_FLAG_UNREGISTER, RSEQ_SIG).expect("it is");
            }
            syscall(nr::__NR_munmap, [page, PAGE, 0, 0]).expect("it is mapped");
        }
        wait();
        (0..50).for_each(|_| sched_yield());
        wait();
    };
    dies("its area is gone", || move_to_a_page_and_unmap(false));
    survives("unregistered first", || move_to_a_page_and_unmap(true));
}

/// Debug kernels kill whoever makes a system call in a section.
pub fn system_call() {
    dies("a system call in a section", || {
        sleep_in_section();
    });
}

/// The ids are the kernel's: legacy registrations see them written again and again, the others must
/// leave them alone. There the kernel looks when it has another id to write, which never comes on a machine
/// of one processor.
pub fn ids_are_read_only() {
    const SCRIBBLE: u32 = 0x5555;
    let is_one_processor = syscall::pin(1).is_err();
    let scribble = || {
        // SAFETY: the child's own area. No operation of per-vCPU words follows.
        unsafe { (&raw mut (*area()).cpu_id_start).write_volatile(SCRIBBLE) };
        (0..50).for_each(|_| wait_a_little());
        // SAFETY: as above.
        unsafe { (&raw const (*area()).cpu_id_start).read_volatile() }
    };
    let is_v2 = abi().rseq_len > 32;
    if is_v2 && is_one_processor {
        survives("a scribbled id, v2, one processor", || {
            assert_eq!(scribble(), SCRIBBLE, "nobody has looked");
        });
        return;
    }
    let scribble = || {
        let now = scribble();
        assert!(now < abi().nr_vcpus, "{now} was not written over");
    };
    if is_v2 {
        dies("a scribbled id, v2", scribble);
    } else {
        survives("a scribbled id, legacy", scribble);
    }
}

/// Lets others run, and moves.
fn wait_a_little() {
    for cpu in syscall::processors(&ALLOWED) {
        let _not_allowed = syscall::pin(cpu);
        sched_yield();
    }
}

/// The first two processors.
const ALLOWED: [u64; 16] = {
    let mut mask = [0; 16];
    mask[0] = 3;
    mask
};
