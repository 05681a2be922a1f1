// SPDX-License-Identifier: MIT OR Apache-2.0
//! Those who do not count: who reads the memory by /proc, and a main thread that has ended.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use linux_raw_sys::general::__NR_exit;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::pread;
use vcpu_guest_programs::base::verify;
use vcpu_guest_programs::gs::{NONE, get, mm_vcpu, set};
use vcpu_guest_programs::machine::Text;
use vcpu_guest_programs::process::{expect_exit, fork};
use vcpu_guest_programs::syscall::syscall;
use vcpu_guest_programs::{check_eq, memory};
use vcpu_rt::{process, thread};

use super::{STRIDE, taken};

/// What the reader says when it has everything open, and what it is told.
const READY: u32 = 1;
const LEAVE: u32 = 2;

pub fn kinds() {
    check_eq!(set(mm_vcpu(STRIDE)), Ok(()), "SET");
    taken("nothing");
    own_files();
    read_by_another_process();
    // In a process of its own, whose end is another thread's.
    let child = fork(leader_has_ended);
    expect_exit(child, 0, "a process whose main thread ended first");
}

/// /proc/self/mem and maps, open: they hold the memory.
fn own_files() {
    let open = |path| open(path, OFlags::RDONLY, Mode::empty()).expect("/proc is mounted");
    let files = [
        open("/proc/self/mem"),
        open("/proc/self/maps"),
        open("/proc/self/environ"),
    ];
    let mut bytes = [0_u8; 64];
    for file in &files[1..] {
        rustix::io::read(file, &mut bytes).expect("it can be read");
    }
    taken("its own files of /proc were opened");
    drop(files);
}

/// A child that reads its parent's memory all the time: the kernel counts it as a user meanwhile.
fn read_by_another_process() {
    use core::fmt::Write;
    // SAFETY: an atomic.
    let state: &AtomicU32 = unsafe { memory::shared() };
    let parent = rustix::process::getpid().as_raw_nonzero();
    let child = fork(|| {
        let mut path = Text::<32>::default();
        write!(path, "/proc/{parent}/mem").expect("it fits");
        let file = open(path.as_str(), OFlags::RDONLY, Mode::empty()).expect("the parent's memory");
        let place = core::ptr::from_ref(state).addr() as u64;
        let mut bytes = [0_u8; 8];
        while state.load(Ordering::Acquire) != LEAVE {
            check_eq!(
                pread(&file, &mut bytes, place),
                Ok(8),
                "read of the parent's memory"
            );
            state
                .compare_exchange(0, READY, Ordering::AcqRel, Ordering::Relaxed)
                .ok();
        }
        0
    });
    while state.load(Ordering::Acquire) != READY {
        thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..200 {
        check_eq!(
            set(mm_vcpu(STRIDE)),
            Ok(()),
            "SET while another process reads the memory"
        );
        check_eq!(
            set(NONE),
            Ok(()),
            "NONE while another process reads the memory"
        );
    }
    state.store(LEAVE, Ordering::Release);
    expect_exit(child, 0, "the reader");
}

/// The main thread is a zombie, and the other thread is alone.
fn leader_has_ended() -> i32 {
    check_eq!(set(mm_vcpu(STRIDE)), Ok(()), "SET");
    let work = || {
        // The kernel may still be busy with the main thread's end.
        for attempt in 0.. {
            match set(NONE) {
                Ok(()) => break,
                Err(errno) => assert!(
                    attempt < 2000,
                    "NONE after the main thread's end: {errno:?}"
                ),
            }
            thread::sleep(Duration::from_millis(1));
        }
        check_eq!(get(), Ok(NONE), "GET after NONE");
        verify(0, "a thread whose main thread has ended");
        process::exit_group(0);
    };
    thread::spawn(work).expect("a thread").detach();
    // SAFETY: ends the main thread only; what it owns stays.
    let found = unsafe { syscall(__NR_exit, [1]) };
    panic!("exit returned {found:?}")
}
