// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that work while the main thread makes a storm.

use core::sync::atomic::{AtomicBool, Ordering};

use rustix::process::setpriority_process;
use vcpu_rt::thread::{self, ScopedJoinHandle};

use crate::machine;

/// Threads that [`under_storm`] takes.
pub const MOST: usize = 256;

/// The threads, for those who disturb them.
pub struct Workers<'a, 'scope>(&'a [Option<ScopedJoinHandle<'scope, ()>>]);

impl Workers<'_, '_> {
    /// The ids of those that still run. One may end before its id is used.
    pub fn running(&self) -> impl Iterator<Item = u32> + Clone {
        let running = |thread: &&ScopedJoinHandle<'_, ()>| !thread.is_finished();
        let threads = self.0.iter().flatten().filter(running);
        threads.map(ScopedJoinHandle::id).filter(|id| *id != 0)
    }

    /// Whether all have ended.
    pub fn ended(&self) -> bool {
        self.0.iter().flatten().all(ScopedJoinHandle::is_finished)
    }
}

/// Starts threads that run `work`, all at the same time, with their number and a flag. Calls `storm` again and again; after
/// `rounds` calls the flag says that the storm was long enough, and the work may end. Returns the
/// number of calls made until all work ended.
pub fn under_storm(
    threads: usize,
    rounds: u64,
    work: impl Fn(usize, &AtomicBool) + Sync,
    mut storm: impl FnMut(&Workers<'_, '_>, u64),
) -> u64 {
    assert!((1..=MOST).contains(&threads), "{threads} threads");
    let enough = AtomicBool::new(rounds == 0);
    // While one thread is in execve, clone(2) of another one is EAGAIN (copy_fs, `in_exec`): nobody
    // begins before all exist.
    let go = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut handles = [const { None }; MOST];
        for (index, place) in handles.iter_mut().enumerate().take(threads) {
            let (work, enough, go) = (&work, &enough, &go);
            let started = scope.spawn(move || {
                while !go.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                work(index, enough);
            });
            *place = Some(started.unwrap_or_else(|error| panic!("thread {index}: {error}")));
        }
        // Before all that compute: a storm that waits for its turn is a breeze.
        let favoured = setpriority_process(None, -19);
        assert!(favoured.is_ok(), "setpriority: {favoured:?}");
        go.store(true, Ordering::Release);
        let workers = Workers(&handles[..threads]);
        let mut round = 0;
        while !workers.ended() {
            storm(&workers, round);
            round += 1;
            if round >= rounds {
                enough.store(true, Ordering::Release);
            }
        }
        let restored = setpriority_process(None, 0);
        assert!(restored.is_ok(), "setpriority: {restored:?}");
        // Joined, they are gone for the kernel as well, not only for the scope.
        handles
            .into_iter()
            .flatten()
            .for_each(ScopedJoinHandle::join);
        round
    })
}

/// Runs `work` in so many threads, and returns when they are gone for the kernel as well.
pub fn in_threads(threads: usize, work: impl Fn() + Sync) {
    thread::scope(|scope| {
        let mut handles = [const { None }; MOST];
        for place in &mut handles[..threads] {
            let started = scope.spawn(&work);
            *place = Some(started.unwrap_or_else(|error| panic!("{error}")));
        }
        handles
            .into_iter()
            .flatten()
            .for_each(ScopedJoinHandle::join);
    });
}

/// One round of a storm: moves every other thread to one CPU, the rest to the next, so that some
/// have company and some are alone, at any instruction.
pub fn move_all(workers: &Workers<'_, '_>, round: u64) {
    let cpus = machine::allowed_cpus();
    let count = machine::numbers(&cpus).count();
    for (index, thread) in workers.running().enumerate() {
        let place = (round as usize + index % 2) % count;
        let cpu = machine::numbers(&cpus).nth(place).unwrap_or(0);
        // It may have ended.
        let _no_such_thread = machine::move_to(thread, cpu);
    }
}
