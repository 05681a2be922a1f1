// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many vCPU ids there can be.

use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general::__NR_sched_getaffinity;
use rustix::fs::{Mode, OFlags};

use crate::arch;

/// The most CPUs that Linux supports on x86-64 (CONFIG_NR_CPUS, `arch/x86/Kconfig`).
pub const MAX_CPUS: u32 = 8192;

/// What sched_getaffinity(2) tells of the machine, without a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Bits in the kernel's mask: at least nr_cpu_ids, so every cpu_id and mm_cid is below it.
    pub mask_bits: u32,
    /// CPUs that this process may use.
    pub allowed: u32,
    /// The highest of them.
    pub highest: u32,
}

impl Affinity {
    /// Where the call is refused (seccomp): the largest bound, and a guess for spreading.
    const UNKNOWN: Self = Self { mask_bits: MAX_CPUS, allowed: 64, highest: 0 };

    /// Asks the kernel.
    pub fn of_this_thread() -> Self {
        let mut mask = [0_u64; MAX_CPUS as usize / 64];
        let arguments = [0, size_of_val(&mask), mask.as_mut_ptr().expose_provenance(), 0];
        // SAFETY: the kernel writes at most `size_of_val(&mask)` bytes to the mask.
        match unsafe { arch::syscall(__NR_sched_getaffinity, arguments) } {
            Ok(bytes) => Self::from_mask(&mask, bytes),
            Err(_) => Self::UNKNOWN,
        }
    }

    /// `bytes` is what the call returned: the size of the kernel's mask.
    fn from_mask(mask: &[u64], bytes: usize) -> Self {
        let mut affinity = Self { mask_bits: (bytes as u32).saturating_mul(8), allowed: 0, highest: 0 };
        for (index, word) in mask.iter().enumerate().filter(|(_, word)| **word != 0) {
            affinity.allowed += word.count_ones();
            affinity.highest = index as u32 * 64 + (63 - word.leading_zeros());
        }
        if affinity.mask_bits == 0 || affinity.mask_bits > MAX_CPUS || affinity.allowed == 0 {
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
    let possible = read_possible()
        .filter(|&highest| highest >= highest_allowed)
        .map_or(bound, |highest| (highest + 1).min(bound));
    POSSIBLE.store(possible, Ordering::Relaxed);
    possible
}

fn read_possible() -> Option<u32> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/sys/devices/system/cpu/possible", flags, Mode::empty()).ok()?;
    let mut text = [0; 64];
    let length = rustix::io::read(&file, &mut text).ok()?;
    highest_in_list(text.get(..length)?)
}

/// The last number of a CPU list such as `0-3,8-11` (cpuset(7), "List format").
fn highest_in_list(text: &[u8]) -> Option<u32> {
    let text = text.trim_ascii_end();
    // A list that fills the buffer was cut: its last number is not the last.
    if text.len() >= 63 {
        return None;
    }
    let last = text.rsplit(|byte| matches!(byte, b'-' | b',')).next()?;
    let number = core::str::from_utf8(last).ok()?.parse().ok()?;
    (number < MAX_CPUS).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(highest_in_list(b"0-1\n"), Some(1));
        assert_eq!(highest_in_list(b"0\n"), Some(0));
        assert_eq!(highest_in_list(b"0-3,8-11\n"), Some(11));
        assert_eq!(highest_in_list(b"0-8191"), Some(8191));
        assert_eq!(highest_in_list(b"0-8192"), None);
        assert_eq!(highest_in_list(b""), None);
        assert_eq!(highest_in_list(b"0-\n"), None);
        assert_eq!(highest_in_list(&[b'1'; 64]), None);
    }

    #[test]
    fn masks() {
        let mut mask = [0; 128];
        mask[0] = 0b1010;
        mask[1] = 1;
        let affinity = Affinity { mask_bits: 256, allowed: 3, highest: 64 };
        assert_eq!(Affinity::from_mask(&mask, 32), affinity);
        assert_eq!(Affinity::from_mask(&mask, 0), Affinity::UNKNOWN);
        assert_eq!(Affinity::from_mask(&[0; 128], 32), Affinity::UNKNOWN);
    }
}
