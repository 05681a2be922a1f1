// SPDX-License-Identifier: MIT OR Apache-2.0
//! Small files, /proc and /sys above all.

use core::slice;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// The bytes that [`contents`] takes: plans are short.
const LARGEST: usize = 1 << 20;

/// Reads into `buffer` until it is full or the file ends, and returns what was read.
pub fn read_into<'a>(path: &str, buffer: &'a mut [u8]) -> Result<&'a mut [u8], Errno> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let length = fill(&file, buffer)?;
    Ok(&mut buffer[..length])
}

fn fill(file: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut length = 0;
    while length < buffer.len() {
        match read(file, &mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(length)
}

/// A file's contents and a newline, in memory that stays.
///
/// # Errors
/// As open(2), read(2) and mmap(2); EFBIG beyond 1 MiB.
pub fn contents(path: &str) -> Result<&'static mut [u8], Errno> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, which nobody unmaps.
    let bytes: &'static mut [u8] = unsafe {
        let start = mmap_anonymous(core::ptr::null_mut(), LARGEST, protection, flags)?;
        slice::from_raw_parts_mut(start.cast(), LARGEST)
    };
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let length = fill(&file, bytes)?;
    let last = bytes.get_mut(length).ok_or(Errno::FBIG)?;
    *last = b'\n';
    Ok(&mut bytes[..=length])
}

/// Writes `text` to a file that exists, in one call, as /proc and /sys want it.
pub fn put(path: &str, text: &str) -> Result<(), Errno> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    match write(&file, text.as_bytes())? {
        count if count == text.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// Makes an executable file with these contents.
pub fn create_executable(path: &str, contents: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o755))?;
    let mut rest = contents;
    while !rest.is_empty() {
        let count = write(&file, rest)?;
        rest = &rest[count..];
    }
    Ok(())
}
