// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many vCPU ids there can be.

use core::mem::MaybeUninit;
use core::slice;
use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general::{
    __NR_close, __NR_openat, __NR_read, __NR_sched_getaffinity, AT_FDCWD, O_CLOEXEC, O_RDONLY,
};

use rustix::io::Errno;

use crate::arch;

/// The most CPUs that Linux supports on x86-64 (CONFIG_NR_CPUS, `arch/x86/Kconfig`).
pub const MAX_CPUS: u32 = 8192;

/// What sched_getaffinity(2) tells of the machine, without a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Bits in the kernel's mask: at least nr_cpu_ids, so every cpu_id and mm_cid is below it.
    pub mask_bits: u32,
    /// CPUs that this process may use; 0 where the kernel did not tell anything.
    pub allowed: u32,
    /// The highest of them.
    pub highest: u32,
}

impl Affinity {
    /// Where the call is refused (seccomp): the largest bound that a released kernel has, and no
    /// spreading: an area that is not of a possible CPU would be missing from sums.
    const UNKNOWN: Self = Self {
        mask_bits: MAX_CPUS,
        allowed: 0,
        highest: 0,
    };

    /// Whether the kernel told: else `mask_bits` is a guess.
    pub fn is_known(self) -> bool {
        self.allowed > 0
    }

    /// Asks the kernel. First for few CPUs: the buffer for the most that there can be may be the
    /// first thing that touches another page of the stack.
    pub fn of_this_thread() -> Self {
        match Self::ask::<16>() {
            Ok(affinity) => affinity,
            Err(Errno::INVAL) => Self::of_this_thread_on_a_large_machine(),
            Err(_) => Self::UNKNOWN,
        }
    }

    #[cold]
    #[inline(never)]
    fn of_this_thread_on_a_large_machine() -> Self {
        match Self::ask::<{ MAX_CPUS as usize / 64 }>() {
            Ok(affinity) => affinity,
            Err(_) => Self::UNKNOWN,
        }
    }

    /// sched_getaffinity(2) with a mask of so many words. EINVAL: the kernel's is longer.
    fn ask<const WORDS: usize>() -> Result<Self, Errno> {
        // Not zeroed: that would be a call of memset.
        let mut mask = [const { MaybeUninit::<u64>::uninit() }; WORDS];
        let arguments = [
            0,
            size_of_val(&mask),
            mask.as_mut_ptr().expose_provenance(),
            0,
        ];
        // SAFETY: the kernel writes at most `size_of_val(&mask)` bytes to the mask.
        let bytes = unsafe { arch::syscall(__NR_sched_getaffinity, arguments)? };
        // SAFETY: the call returns how many bytes it wrote: whole words, at most all of them.
        let words = unsafe { slice::from_raw_parts(mask.as_ptr().cast(), bytes / 8) };
        Ok(Self::from_mask(words))
    }

    /// `mask` is the kernel's, as long as the kernel has it.
    fn from_mask(mask: &[u64]) -> Self {
        let mut affinity = Self {
            mask_bits: 0,
            allowed: 0,
            highest: 0,
        };
        for &word in mask {
            let mut left = word;
            while left != 0 {
                affinity.allowed += 1;
                affinity.highest = affinity.mask_bits + left.trailing_zeros();
                left &= left - 1;
            }
            affinity.mask_bits += u64::BITS;
        }
        if affinity.mask_bits > MAX_CPUS || affinity.allowed == 0 {
            return Self::UNKNOWN;
        }
        affinity
    }
}

/// 1 + the highest possible CPU, once read; 0 before.
static POSSIBLE: AtomicU32 = AtomicU32::new(0);

/// A bound on every id that can occur on this machine, at most `bound`: 1 + the highest possible
/// CPU of `/sys/devices/system/cpu/possible`, which is read at the first call. Without that file
/// it is `bound`. A file that denies a CPU that this process was allowed to use is not believed.
pub fn possible_vcpus(bound: u32, highest_allowed: u32) -> u32 {
    let cached = POSSIBLE.load(Ordering::Relaxed);
    if cached != 0 {
        return cached;
    }
    let possible = match read_possible() {
        Some(highest) if highest >= highest_allowed && highest < bound => highest + 1,
        _ => bound,
    };
    POSSIBLE.store(possible, Ordering::Relaxed);
    possible
}

fn read_possible() -> Option<u32> {
    let path = c"/sys/devices/system/cpu/possible"
        .as_ptr()
        .expose_provenance();
    let mut text = [0_u8; 64];
    let place = text.as_mut_ptr().expose_provenance();
    let flags = (O_RDONLY | O_CLOEXEC) as usize;
    // SAFETY: a terminated path, and a buffer of the size that read(2) is told.
    let length = unsafe {
        let file = arch::syscall(__NR_openat, [AT_FDCWD as usize, path, flags, 0]).ok()?;
        let length = arch::syscall(__NR_read, [file, place, text.len(), 0]);
        let _closed_in_any_case = arch::syscall(__NR_close, [file, 0, 0, 0]);
        length.ok()?
    };
    highest_in_list(text.get(..length)?)
}

/// The last number of a CPU list such as `0-3,8-11` (cpuset(7), "List format"), as it ends with
/// a newline. `None` where the text is not such a list, or was cut.
fn highest_in_list(text: &[u8]) -> Option<u32> {
    let mut number = None;
    for index in 0..text.len() {
        match text.get(index)? {
            digit @ b'0'..=b'9' => {
                let digit = u32::from(digit - b'0');
                number = Some(
                    number
                        .unwrap_or(0_u32)
                        .checked_mul(10)?
                        .checked_add(digit)?,
                );
            }
            b'-' | b',' if number.is_some() => number = None,
            b'\n' if index + 1 == text.len() => {
                return match number {
                    Some(cpu) if cpu < MAX_CPUS => number,
                    _ => None,
                };
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(highest_in_list(b"0-1\n"), Some(1));
        assert_eq!(highest_in_list(b"0\n"), Some(0));
        assert_eq!(highest_in_list(b"0-3,8-11\n"), Some(11));
        assert_eq!(highest_in_list(b"0-8191\n"), Some(8191));
        assert_eq!(highest_in_list(b"0-8192\n"), None);
        assert_eq!(highest_in_list(b""), None);
        assert_eq!(highest_in_list(b"0-\n"), None);
        assert_eq!(highest_in_list(b",1\n"), None);
        assert_eq!(highest_in_list(b"0-1,2"), None, "cut");
        assert_eq!(highest_in_list(b"99999999999\n"), None);
    }

    #[test]
    fn masks() {
        let mut mask = [0; 4];
        mask[0] = 0b1010;
        mask[1] = 1;
        let affinity = Affinity {
            mask_bits: 256,
            allowed: 3,
            highest: 64,
        };
        assert_eq!(Affinity::from_mask(&mask), affinity);
        assert!(affinity.is_known() && !Affinity::UNKNOWN.is_known());
        assert_eq!(Affinity::from_mask(&[]), Affinity::UNKNOWN);
        assert_eq!(Affinity::from_mask(&[0; 4]), Affinity::UNKNOWN);
        assert_eq!(Affinity::from_mask(&[1; 129]), Affinity::UNKNOWN);
    }
}
