// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel threads of a process: io_uring's workers share its memory and take mm_cids, but never run
//! in user space. Threads look at their bases while workers read; then the question is put whether
//! NONE counts a worker as company, and that everything ends well whatever the answer.
#![no_std]
#![no_main]

use core::mem::zeroed;
use core::ptr::{null_mut, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::{Errno, write};
use rustix::io_uring::{
    IORING_OFF_CQ_RING, IORING_OFF_SQ_RING, IORING_OFF_SQES, IoringEnterFlags, IoringOp,
    IoringSqeFlags, io_uring_enter, io_uring_params, io_uring_ptr, io_uring_setup, io_uring_sqe,
};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::pipe::pipe;
use vcpu_guest_programs::base::{prepare, verify, verify_many};
use vcpu_guest_programs::check::skip;
use vcpu_guest_programs::gs::{NONE, PAGE, STRIDE, begin, mm_vcpu, set, turn_on};
use vcpu_guest_programs::process::check_in_child;
use vcpu_guest_programs::threads::under_storm;
use vcpu_guest_programs::{check_eq, file};
use vcpu_rt::{println, thread};

vcpu_rt::entry!(main);

const ENTRIES: u32 = 8;
/// Reads that workers do while threads look.
const ROUNDS: u64 = 100;

/// The rings, mapped. They stay as long as the process.
struct Ring {
    descriptor: OwnedFd,
    parameters: io_uring_params,
    submissions: usize,
    completions: usize,
    entries: usize,
}

impl Ring {
    fn new() -> Result<Self, Errno> {
        // SAFETY: a struct of numbers.
        let mut parameters: io_uring_params = unsafe { zeroed() };
        // SAFETY: the kernel fills the parameters.
        let descriptor = unsafe { io_uring_setup(ENTRIES, &mut parameters) }?;
        let map = |offset| {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            let descriptor = descriptor.as_fd();
            // SAFETY: a new mapping. A page holds rings and entries of this number.
            let start = unsafe {
                mmap(
                    null_mut(),
                    PAGE,
                    protection,
                    MapFlags::SHARED,
                    descriptor,
                    offset,
                )
            };
            start.map(|start| start.expose_provenance())
        };
        Ok(Self {
            submissions: map(IORING_OFF_SQ_RING)?,
            completions: map(IORING_OFF_CQ_RING)?,
            entries: map(IORING_OFF_SQES)?,
            parameters,
            descriptor,
        })
    }

    /// A word of a ring.
    fn word(&self, ring: usize, offset: u32) -> &AtomicU32 {
        // SAFETY: the offsets are the kernel's, inside the page; both sides use the word atomically.
        unsafe { &*with_exposed_provenance_mut::<AtomicU32>(ring + offset as usize) }
    }

    /// Has a worker read one byte from `source` to `place`.
    fn read_by_worker(&self, source: &OwnedFd, place: usize) {
        let offsets = &self.parameters.sq_off;
        let tail = self.word(self.submissions, offsets.tail);
        let position = tail.load(Ordering::Relaxed);
        let index = position % ENTRIES;
        let entry = with_exposed_provenance_mut::<io_uring_sqe>(self.entries);
        // SAFETY: the entry is free: each read is waited for before the ring is full.
        unsafe {
            let mut read: io_uring_sqe = zeroed();
            read.opcode = IoringOp::Read;
            // Never in the caller's own context.
            read.flags = IoringSqeFlags::ASYNC;
            read.fd = source.as_raw_fd();
            read.addr_or_splice_off_in.addr = io_uring_ptr::new(with_exposed_provenance_mut(place));
            read.len.len = 1;
            read.off_or_addr2.off = u64::MAX;
            entry.add(index as usize).write(read);
        }
        self.word(self.submissions, offsets.array + 4 * index)
            .store(index, Ordering::Relaxed);
        tail.store(position + 1, Ordering::Release);
        // SAFETY: one entry was filled.
        let taken = unsafe { io_uring_enter(&self.descriptor, 1, 0, IoringEnterFlags::empty()) };
        check_eq!(taken, Ok(1), "entries that io_uring_enter took");
    }

    /// Waits until one read is done.
    fn wait(&self) {
        let offsets = &self.parameters.cq_off;
        let (head, tail) = (
            self.word(self.completions, offsets.head),
            self.word(self.completions, offsets.tail),
        );
        let position = head.load(Ordering::Relaxed);
        while tail.load(Ordering::Acquire) == position {
            let flags = IoringEnterFlags::GETEVENTS;
            // SAFETY: no entries.
            let waited = unsafe { io_uring_enter(&self.descriptor, 0, 1, flags) };
            check_eq!(
                matches!(waited, Ok(_) | Err(Errno::INTR)),
                true,
                "{waited:?}"
            );
        }
        // `struct io_uring_cqe`: user data, then the result.
        let mask = self.parameters.cq_entries - 1;
        let completion = offsets.cqes + 16 * (position & mask);
        let result = self.word(self.completions, completion + 8);
        check_eq!(
            result.load(Ordering::Relaxed),
            1,
            "the result of a worker's read"
        );
        head.store(position + 1, Ordering::Release);
    }
}

fn main() {
    begin();
    prepare();
    let ring = match Ring::new() {
        Ok(ring) => ring,
        Err(Errno::NOSYS) => skip("this kernel has no IO_URING"),
        Err(errno) => panic!("io_uring: {errno:?}"),
    };
    turn_on(STRIDE);
    let (source, sink) = pipe().expect("a pipe");
    let place = vcpu_guest_programs::memory::map(PAGE);
    let work = |_, enough: &AtomicBool| {
        while !enough.load(Ordering::Acquire) {
            verify_many(STRIDE, 1000, "a thread beside workers");
        }
    };
    let mut most_workers = 0;
    under_storm(6, ROUNDS, work, |_, round| {
        // Three workers that wait, at the same time.
        (0..3).for_each(|index| ring.read_by_worker(&source, place + index));
        if round % 10 == 0 {
            thread::sleep(Duration::from_millis(1));
            most_workers = most_workers.max(workers());
        }
        check_eq!(write(&sink, &[1, 2, 3]), Ok(3), "write to the pipe");
        (0..3).for_each(|_| ring.wait());
        verify(STRIDE, "the thread that has workers");
    });
    println!("workers={most_workers}");
    check_eq!(most_workers > 0, true, "there were workers");
    back_to_none(&ring, &source, &sink, place);
}

/// With a worker that waits, NONE is either refused or taken: both are right, as workers have no
/// base.
fn back_to_none(ring: &Ring, source: &OwnedFd, sink: &OwnedFd, place: usize) {
    ring.read_by_worker(source, place);
    while workers() == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let answer = set(NONE);
    println!("NONE with a worker that waits: {answer:?}");
    match answer {
        Ok(()) => {
            verify(0, "after NONE with a worker");
            check_eq!(set(mm_vcpu(STRIDE)), Ok(()), "SET with a worker");
        }
        Err(errno) => check_eq!(errno, Errno::BUSY, "NONE with a worker"),
    }
    verify(STRIDE, "with a worker that waits");
    check_eq!(write(sink, &[1]), Ok(1), "write to the pipe");
    ring.wait();
    // A worker may stay as long as the process. A fork child has none.
    println!("NONE with a worker that has no work: {:?}", set(NONE));
    check_in_child("a child without workers", || {
        check_eq!(set(NONE), Ok(()), "NONE in a child without workers");
        verify(0, "a child without workers, after NONE");
    });
}

/// How many of this process's threads are workers of io_uring, by their names.
fn workers() -> usize {
    let tasks = rustix::fs::open(
        "/proc/self/task",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    );
    let tasks = tasks.expect("/proc is mounted");
    let mut buffer = [core::mem::MaybeUninit::uninit(); 4096];
    let mut entries = rustix::fs::RawDir::new(&tasks, &mut buffer);
    let mut count = 0;
    while let Some(entry) = entries.next() {
        let entry = entry.expect("the directory can be read");
        let name = entry.file_name().to_str().unwrap_or("");
        count += usize::from(is_worker(name));
    }
    count
}

fn is_worker(thread: &str) -> bool {
    use core::fmt::Write;
    let mut path = vcpu_guest_programs::machine::Text::<64>::default();
    let mut name = [0_u8; 32];
    write!(path, "/proc/self/task/{thread}/comm").is_ok()
        && file::read_into(path.as_str(), &mut name).is_ok_and(|name| name.starts_with(b"iou-wrk"))
}
