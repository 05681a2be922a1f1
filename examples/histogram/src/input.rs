// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file as memory, read in a way that survives its truncation.

use core::ffi::CStr;
use core::fmt;
use core::ptr;

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use crate::fault;

/// A path for people: what is not printable ASCII shows as `?`.
pub struct Printable<'a>(pub &'a CStr);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for &byte in self.0.to_bytes() {
            f.write_char(if matches!(byte, b' '..=b'~') {
                char::from(byte)
            } else {
                '?'
            })?;
        }
        Ok(())
    }
}

/// Why a file cannot be counted.
#[derive(Clone, Copy)]
pub enum Problem {
    System(&'static str, Errno),
    Directory,
    NotRegular,
    NoSize,
    Truncated { counted: u64, size: u64 },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::System(call, errno) => match errno {
                Errno::NOENT => f.write_str("no such file"),
                Errno::ACCESS => f.write_str("permission denied"),
                errno => write!(f, "{call} failed with errno {}", errno.raw_os_error()),
            },
            Self::Directory => f.write_str("is a directory"),
            Self::NotRegular => f.write_str("is not a regular file"),
            Self::NoSize => f.write_str("has bytes but no size, so it cannot be mapped"),
            Self::Truncated { counted, size } => {
                write!(
                    f,
                    "was truncated while it was read: {counted} of {size} bytes counted"
                )
            }
        }
    }
}

/// A mapped file.
pub struct Input {
    file: OwnedFd,
    start: *mut core::ffi::c_void,
    pub size: u64,
}

// SAFETY: read-only memory, reached through `fault::copy` only.
unsafe impl Sync for Input {}

impl Input {
    pub fn open(path: &CStr) -> Result<Self, Problem> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| Problem::System("open", errno))?;
        let status = rustix::fs::fstat(&file).map_err(|errno| Problem::System("fstat", errno))?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Problem::Directory),
            _ => return Err(Problem::NotRegular),
        }
        let size = u64::try_from(status.st_size).unwrap_or(0);
        if size == 0 {
            // procfs tells no sizes: an empty file has nothing to read.
            if rustix::io::read(&file, &mut [0; 1]) != Ok(0) {
                return Err(Problem::NoSize);
            }
            // mmap(2) refuses a length of 0.
            return Ok(Self {
                file,
                start: ptr::null_mut(),
                size,
            });
        }
        // SAFETY: a new mapping: it replaces nothing.
        let start = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                size as usize,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                &file,
                0,
            )
        };
        Ok(Self {
            start: start.map_err(|errno| Problem::System("mmap", errno))?,
            file,
            size,
        })
    }

    /// Whether the file is as long as it was. A page that is partly gone reads as zeros, without a
    /// fault, so this is asked after reading.
    pub fn is_whole(&self) -> bool {
        rustix::fs::fstat(&self.file)
            .is_ok_and(|status| u64::try_from(status.st_size).is_ok_and(|size| size >= self.size))
    }

    /// Copies what there is at `offset` into `buffer`, at most its length. Less than that and
    /// than the size: the file was truncated.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let length = self.size.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let from = self.start.cast::<u8>().wrapping_add(offset as usize);
        // SAFETY: inside the mapping; a page that is gone ends the copy.
        unsafe { fault::copy(from, buffer.as_mut_ptr(), length) }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.size > 0 {
            // SAFETY: the mapping is this value's own.
            let _kept_if_refused = unsafe { rustix::mm::munmap(self.start, self.size as usize) };
        }
    }
}
