// SPDX-License-Identifier: MIT OR Apache-2.0
//! The check of thread-locals that a C object declares (`c/tls.c`).

use vcpu_rt::{println, thread};

/// The three variables of the calling thread.
#[derive(Clone, Copy)]
pub struct ThreadLocals {
    /// Address of the one that the TLS image gives a value.
    pub initialised: extern "C" fn() -> *mut u64,
    /// Address of the one that starts as zero.
    pub zeroed: extern "C" fn() -> *mut u32,
    /// Address of the one with the large alignment; 96 bytes.
    pub aligned: extern "C" fn() -> *mut u8,
}

impl ThreadLocals {
    /// Checks value and alignment in the main thread and in threads that live side by side, each
    /// of which writes its own copies and must find them again.
    pub fn check(self, alignment: usize) {
        self.check_thread(alignment, 1);
        for round in 0..3 {
            // Later rounds run on cached stacks, whose TLS image must be fresh again.
            thread::scope(|scope| {
                let threads: [_; 4] = core::array::from_fn(|index| {
                    let mark = 2 + round * 4 + index as u32;
                    scope
                        .spawn(move || self.check_thread(alignment, mark))
                        .expect("a thread")
                });
                for thread in threads {
                    thread.join();
                }
            });
        }
        self.check_marks(1);
        println!("alignment={alignment}");
    }

    fn check_thread(self, alignment: usize, mark: u32) {
        let aligned = (self.aligned)();
        assert_eq!(
            aligned.addr() % alignment,
            0,
            "{aligned:p} is not aligned to {alignment}"
        );
        // SAFETY: the three functions give the addresses of the calling thread's own variables.
        unsafe {
            assert_eq!((self.initialised)().read(), 0x1122_3344_5566_7788);
            assert_eq!((self.zeroed)().read(), 0);
            for index in 0..96 {
                assert_eq!(aligned.add(index).read(), 0);
            }
            (self.initialised)().write(u64::from(mark) << 32);
            (self.zeroed)().write(mark);
            aligned.write_bytes(mark as u8, 96);
        }
        for _ in 0..10 {
            thread::yield_now();
        }
        self.check_marks(mark);
    }

    /// Another thread's writes must not have reached this one's copies.
    fn check_marks(self, mark: u32) {
        // SAFETY: as above.
        unsafe {
            assert_eq!((self.initialised)().read(), u64::from(mark) << 32);
            assert_eq!((self.zeroed)().read(), mark);
            for index in 0..96 {
                assert_eq!((self.aligned)().add(index).read(), mark as u8);
            }
        }
    }
}
