// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads at work on something, and what disturbs them.

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use core::time::Duration;

use linux_raw_sys::general::__NR_wait4;
use vcpu_rt::process::{self, Fork};
use vcpu_rt::signal::{SIGALRM, SignalSet, block, unblock};
use vcpu_rt::{println, thread};
use vcpu_test_programs::PASSED;
use vcpu_test_programs::signal::{alarm_every, on_alarm};
use vcpu_test_programs::syscall::{
    affinity, gettid, monotonic, pin, pin_thread, processors, syscall,
};

/// The most workers. The thread of this number is the one that works on other vCPUs' areas.
pub const THREADS: usize = 64;

/// What is to happen.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Workers.
    pub threads: usize,
    /// Between signals, microseconds; 0: none.
    alarm: i64,
    is_moved: bool,
    forks: bool,
}

impl How {
    pub fn named(name: &str) -> Self {
        let plain = Self {
            threads: THREADS,
            alarm: 0,
            is_moved: false,
            forks: false,
        };
        match name {
            "threads" => plain,
            "pair" => Self {
                threads: 1,
                ..plain
            },
            // An unoptimised handler takes more than 50 us, and nothing else would run.
            "alarm" => Self {
                alarm: if cfg!(debug_assertions) { 2000 } else { 50 },
                ..plain
            },
            "moved" => Self {
                is_moved: true,
                ..plain
            },
            "fork" => Self {
                threads: 8,
                alarm: 2000,
                forks: true,
                ..plain
            },
            other => panic!("what is {other}?"),
        }
    }
}

/// What the threads do. `me` is a thread's number, `THREADS` of the remote one.
pub trait Work: Sync {
    /// One step of a worker or of the remote thread.
    fn step(&self, me: usize, random: &mut Random);
    /// What the handler does on top of thread `me`.
    fn interrupt(&self, me: usize);
    /// Checks all, in a fork child, which has thread `me` only. On top of an instruction of that thread, or
    /// between two steps.
    fn check_child(&self, me: usize, is_on_top: bool);
}

vcpu_rt::thread_local! {
    static ME: Cell<usize> = Cell::new(usize::MAX);
}

static WORK: handed_over::Place = handed_over::Place::new();
static HANDLED: AtomicUsize = AtomicUsize::new(0);
static FORKS: AtomicUsize = AtomicUsize::new(0);
static FORKING: AtomicU32 = AtomicU32::new(0);
/// Set in a child that goes on until the thread's next step.
static IS_CHILD: AtomicU32 = AtomicU32::new(0);
/// Set when the time is over.
static IS_OVER: AtomicU32 = AtomicU32::new(0);
/// Made by all threads.
static STEPS: AtomicUsize = AtomicUsize::new(0);
static THREAD_IDS: [AtomicUsize; THREADS + 1] = [const { AtomicUsize::new(0) }; THREADS + 1];

/// Where the handler finds the work.
mod handed_over {
    use super::{How, Work};
    use core::cell::UnsafeCell;

    pub struct Place(UnsafeCell<Option<(How, &'static dyn Work)>>);

    // SAFETY: written before there are threads and signals.
    unsafe impl Sync for Place {}

    impl Place {
        pub const fn new() -> Self {
            Self(UnsafeCell::new(None))
        }

        /// # Safety
        /// Nobody else runs.
        pub unsafe fn set(&self, how: How, work: &'static dyn Work) {
            // SAFETY: by the caller's word.
            unsafe { *self.0.get() = Some((how, work)) }
        }

        pub fn get(&self) -> (How, &'static dyn Work) {
            // SAFETY: not written any more.
            unsafe { *self.0.get() }.expect("it was set")
        }
    }
}

/// Pseudo-random numbers (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as usize % bound
    }
}

/// Has all threads make steps for so long.
pub fn run(how: How, milliseconds: usize, work: &'static dyn Work) {
    block(SignalSet::of(SIGALRM));
    // SAFETY: no thread has started.
    unsafe { WORK.set(how, work) };
    if how.alarm > 0 {
        // SAFETY: the handler does what may be done on top of any instruction.
        unsafe { on_alarm(handler) };
        alarm_every(how.alarm);
    }
    let time = Duration::from_millis(milliseconds as u64);
    thread::scope(|scope| {
        for me in (0..how.threads).chain([THREADS]) {
            scope
                .spawn(move || steps(me, how.threads, work))
                .expect("a thread");
        }
        if how.is_moved {
            move_around(time);
        } else {
            thread::sleep(time);
        }
        IS_OVER.store(1, SeqCst);
        // At once: on a busy machine handlers may take all the time that threads need to see it.
        alarm_every(0);
    });
    println!("steps={}", STEPS.load(SeqCst));
    println!("handled={}", HANDLED.load(SeqCst));
    println!("forks={}", FORKS.load(SeqCst));
    assert_eq!(HANDLED.load(SeqCst) > 0, how.alarm > 0, "signals");
    assert_eq!(FORKS.load(SeqCst) > 0, how.forks, "forks");
}

fn steps(me: usize, threads: usize, work: &dyn Work) {
    THREAD_IDS[me].store(gettid(), SeqCst);
    ME.with(|place| place.set(me));
    // Some act on the last area.
    if me % 8 == 7 {
        let _in_shared_mode_all_do = thread::unregister();
    }
    if threads == 1 {
        // Where there are two processors, both are busy all the time.
        let allowed = affinity();
        let cpu = processors(&allowed).nth(usize::from(me == THREADS));
        if let Some(cpu) = cpu {
            pin(cpu).expect("it is allowed");
        }
    }
    unblock(SignalSet::of(SIGALRM));
    let mut random = Random::new(me);
    let mut steps = 0;
    while IS_OVER.load(SeqCst) == 0 {
        work.step(me, &mut random);
        steps += 1;
        end_as_child(me, work);
    }
    block(SignalSet::of(SIGALRM));
    // The last signal may have come behind the last step.
    end_as_child(me, work);
    STEPS.fetch_add(steps, SeqCst);
}

fn end_as_child(me: usize, work: &dyn Work) {
    if IS_CHILD.load(SeqCst) == 1 {
        work.check_child(me, false);
        process::exit_group(PASSED);
    }
}

/// Moves the threads from processor to processor, half of them here, half of them there.
fn move_around(time: Duration) {
    let allowed = affinity();
    let end = monotonic() + time;
    for cpu in processors(&allowed).cycle() {
        if monotonic() > end {
            return;
        }
        for (index, id) in THREAD_IDS.iter().enumerate() {
            let id = id.load(SeqCst);
            if index % 2 == cpu % 2 && id != 0 {
                pin_thread(id, cpu).expect("it runs until it is told to end");
            }
        }
        thread::sleep(Duration::from_micros(200));
    }
}

unsafe extern "C" fn handler(_: c_int, _: *mut c_void, _: *mut c_void) {
    let me = ME.with(Cell::get);
    let (how, work) = WORK.get();
    HANDLED.fetch_add(1, SeqCst);
    work.interrupt(me);
    if how.forks && FORKING.swap(1, SeqCst) == 0 {
        fork(me, work);
    }
}

/// Forks, and waits for the child's verdict. The child checks here, or goes on to the end of what
/// its thread was in the middle of.
fn fork(me: usize, work: &dyn Work) {
    let is_on_top = FORKS.fetch_add(1, SeqCst).is_multiple_of(2);
    // SAFETY: the child does only what may be done in a signal handler.
    match unsafe { process::fork() }.expect("a child") {
        Fork::Child if is_on_top => {
            work.check_child(me, true);
            process::exit_group(PASSED);
        }
        Fork::Child => {
            // On top of what goes on below.
            work.interrupt(me);
            IS_CHILD.store(1, SeqCst);
        }
        Fork::Parent(child) => {
            let mut status = 0_i32;
            let place = (&raw mut status).expose_provenance();
            // SAFETY: wait4(2) writes one int.
            let waited = unsafe { syscall(__NR_wait4, [child as usize, place, 0, 0]) };
            assert_eq!((waited, status), (Ok(child as usize), PASSED << 8));
            FORKING.store(0, SeqCst);
        }
    }
}
