// SPDX-License-Identifier: MIT OR Apache-2.0
//! One area for each mm_cid, and the words in it that are counted up by one `%gs:` instruction.

use core::arch::asm;
use core::ptr::with_exposed_provenance;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use vcpu_guest_programs::base::LARGEST_STRIDE;
use vcpu_guest_programs::machine::nr_cpu_ids;
use vcpu_guest_programs::memory;

pub const STRIDE: u64 = LARGEST_STRIDE as u64;

/// Increments of one call of [`Areas::count`].
pub const CHUNK: u64 = 10_000;
const LOOPS: u32 = 100;

/// The words of an area.
#[derive(Clone, Copy)]
pub enum Word {
    /// Counted by threads.
    Threads = 0,
    /// Counted by signal handlers.
    Handlers = 8,
}

/// Where area 0 is, for the handler.
static START: AtomicUsize = AtomicUsize::new(0);

pub struct Areas {
    start: usize,
    count: usize,
}

impl Areas {
    /// Maps an area for each mm_cid that there can be.
    pub fn map() -> Self {
        let count = nr_cpu_ids();
        let start = memory::map(count * STRIDE as usize);
        START.store(start, Ordering::Release);
        Self { start, count }
    }

    /// Counts [`CHUNK`] times, by as many instructions.
    pub fn count(&self) {
        let word = self.start + Word::Threads as usize;
        // SAFETY: with the mode on, `%gs:word` is the word of the area that no other running
        // thread has, and one instruction is not torn by a switch. In the areas or, if the base is
        // wrong, a crash: the test's failure. Flags change, memory is written.
        unsafe {
            asm!(
                "2:",
                ".rept 100",
                "inc qword ptr gs:[{word}]",
                ".endr",
                "dec {loops:e}",
                "jnz 2b",
                word = in(reg) word,
                loops = inout(reg) LOOPS => _,
                options(nostack),
            );
        }
    }

    /// The sum of a word over all areas.
    pub fn sum(&self, word: Word) -> u64 {
        (0..self.count)
            .map(|area| {
                let place = self.start + word as usize + area * STRIDE as usize;
                // SAFETY: inside the mapping; other threads may count meanwhile.
                let word = unsafe { &*with_exposed_provenance::<AtomicU64>(place) };
                word.load(Ordering::Relaxed)
            })
            .sum()
    }
}

const _: () = assert!(CHUNK == LOOPS as u64 * 100);

/// Counts once, in the handlers' word.
pub fn count_in_handler() {
    let word = START.load(Ordering::Relaxed) + Word::Handlers as usize;
    // SAFETY: as in `count`.
    unsafe { asm!("inc qword ptr gs:[{}]", in(reg) word, options(nostack)) };
}
