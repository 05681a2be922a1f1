// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine: CPUs, time, the kernel's version.

use core::fmt::Write;
use core::time::Duration;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::file;
use crate::gs::PAGE;
use crate::memory;

/// Time since boot.
pub fn uptime() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// The kernel's nr_cpu_ids: one more than the highest possible CPU.
pub fn nr_cpu_ids() -> usize {
    let mut text = [0_u8; 256];
    let text = file::read_into("/sys/devices/system/cpu/possible", &mut text)
        .expect("/sys is mounted and lists CPUs");
    // A list of ranges, the highest at the end: `0-3`.
    let last = text.trim_ascii().rsplit(|byte| matches!(byte, b'-' | b','));
    let last = last
        .map(|number| core::str::from_utf8(number).unwrap_or(""))
        .next();
    let last: usize = last.and_then(|last| last.parse().ok()).expect("a number");
    last + 1
}

/// The CPUs that the calling thread may run on.
pub fn allowed_cpus() -> CpuSet {
    sched_getaffinity(None).expect("the mask has room")
}

/// The numbers in a set of CPUs.
pub fn numbers(set: &CpuSet) -> impl Iterator<Item = usize> + Clone + use<> {
    let set = *set;
    (0..CpuSet::MAX_CPU).filter(move |cpu| set.is_set(*cpu))
}

/// Moves a thread, by its id, to a CPU; 0 is the calling thread.
///
/// # Errors
/// ESRCH: it has ended. EINVAL: the CPU is offline.
pub fn move_to(thread: u32, cpu: usize) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(Pid::from_raw(thread.cast_signed()), &set)
}

/// Takes a CPU offline or brings it back.
///
/// # Errors
/// ENOENT: this CPU cannot be taken offline. EBUSY: not now.
pub fn set_online(cpu: usize, online: bool) -> Result<(), Errno> {
    let mut path = Text::<64>::default();
    let _fits = write!(path, "/sys/devices/system/cpu/cpu{cpu}/online");
    file::put(path.as_str(), if online { "1" } else { "0" })
}

/// The kernel's version: 6.12 is (6, 12).
pub fn kernel_version() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().unwrap_or("");
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map_while(|number| number.parse().ok());
    let first = numbers.next().expect("a release begins with a number");
    (first, numbers.next().unwrap_or(0))
}

/// The kernel's TASK_SIZE_MAX: what user space may have, less a guard page. 56 bits with paging by
/// five levels, which gives addresses above 47 bits only to those who ask for them.
pub fn task_size_max() -> u64 {
    let hint = core::ptr::without_provenance_mut(1 << 50);
    let (flags, protection) = (MapFlags::PRIVATE, ProtFlags::READ);
    // SAFETY: a new mapping wherever the kernel likes.
    let start = unsafe { mmap_anonymous(hint, PAGE, protection, flags) }.expect("a page");
    let start = start.expose_provenance();
    memory::unmap(start, PAGE);
    let bits = if start >> 47 != 0 { 56 } else { 47 };
    (1 << bits) - PAGE as u64
}

/// Text of up to `N` bytes; what does not fit is an error.
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }
}

impl<const N: usize> Text<N> {
    /// The text.
    pub fn as_str(&self) -> &str {
        // Written by `write_str` alone, in whole pieces.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.length + text.len();
        let place = self
            .bytes
            .get_mut(self.length..end)
            .ok_or(core::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
