// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines on stderr from places where `core::fmt` is too large or not yet safe to use.

use core::mem::MaybeUninit;
use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::tunables::Complaint;

/// Set where the process is somebody else's, who asked for no lines.
// In .data although it is zero, beside what else the start writes.
#[unsafe(link_section = ".data.vcpu_rt")]
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on no line is printed.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// The line about a tunable with a value that is not allowed.
pub fn complaint(complaint: &Complaint<'_>) -> Line {
    let mut line = Line::new();
    line.text(complaint.variable)
        .text("=")
        .value(complaint.value.get(..64).unwrap_or(complaint.value))
        .text(" is not allowed (")
        .text(complaint.allowed)
        .text("); the default, ")
        .text(complaint.default())
        .text(", is used");
    line
}

/// A line under construction. What does not fit is cut; nothing is allocated, nothing panics.
pub struct Line {
    // Not zeroed: that would be a call of memset in each place that prints.
    bytes: [MaybeUninit<u8>; Self::CAPACITY],
    // Bytes written so far, below the capacity: one byte stays free for the line's end.
    length: usize,
}

impl Line {
    const CAPACITY: usize = 400;

    /// A line that begins with the runtime's name.
    pub fn new() -> Self {
        let mut line = Self::empty();
        line.text("vcpu-rt: ");
        line
    }

    /// A line without a beginning.
    pub fn empty() -> Self {
        Self {
            bytes: [const { MaybeUninit::uninit() }; Self::CAPACITY],
            length: 0,
        }
    }

    /// Appends text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.value(text.as_bytes())
    }

    /// Appends bytes from outside; what is not printable ASCII shows as `?`.
    pub fn value(&mut self, value: &[u8]) -> &mut Self {
        for &byte in value {
            self.push(if matches!(byte, b' '..=b'~') {
                byte
            } else {
                b'?'
            });
        }
        self
    }

    /// Appends a decimal number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        if number >= 10 {
            self.number(number / 10);
        }
        self.push(b'0' + (number % 10) as u8);
        self
    }

    /// Appends a name and its decimal number.
    pub fn field(&mut self, name: &str, number: u64) -> &mut Self {
        self.text(name).number(number)
    }

    /// Appends the number of an error.
    pub fn errno(&mut self, errno: Errno) -> &mut Self {
        self.field("errno ", u64::from(errno.raw_os_error().unsigned_abs()))
    }

    /// Appends a name, how it went, and the number of the error if there was one.
    pub fn outcome(&mut self, name: &str, what: &str, errno: Option<Errno>) -> &mut Self {
        self.text(name).text(what);
        if let Some(errno) = errno {
            self.text(", ").errno(errno);
        }
        self
    }

    fn push(&mut self, byte: u8) {
        if self.length < Self::CAPACITY - 1 {
            self.bytes[self.length].write(byte);
            self.length += 1;
        }
    }

    /// The line with its newline, as bytes to write.
    pub fn finish(&mut self) -> &[u8] {
        if let Some(place) = self.bytes.get_mut(self.length) {
            place.write(b'\n');
        }
        // SAFETY: `push` wrote the first `length` bytes and left room for one more, written above.
        unsafe { slice::from_raw_parts(self.bytes.as_ptr().cast(), self.length + 1) }
    }

    /// Writes the line to file descriptor 2 in one write(2). A descriptor that is closed or full
    /// loses it: there is nobody left to tell.
    pub fn print(&mut self) {
        if !(cfg!(vcpu_rt_hosted) && QUIET.load(Ordering::Relaxed)) {
            self.print_in_any_case();
        }
    }

    /// As [`print`](Self::print), quiet or not: the last words of a process.
    pub fn print_in_any_case(&mut self) {
        // SAFETY: a number, not a resource: if nothing is open there, the write fails.
        let stderr = unsafe { BorrowedFd::borrow_raw(2) };
        let _nobody_to_tell = rustix::io::write(stderr, self.finish());
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_leading_zeros() {
        let mut line = Line::empty();
        line.number(0)
            .text(" ")
            .number(10)
            .text(" ")
            .number(u64::MAX);
        assert_eq!(line.finish(), b"0 10 18446744073709551615\n");
    }

    #[test]
    fn a_long_or_unprintable_value_is_cut_and_masked() {
        let mut line = Line::empty();
        line.value(&[0x1b; 1000]);
        let bytes = line.finish();
        assert_eq!(bytes.len(), Line::CAPACITY);
        assert_eq!((bytes[0], bytes[Line::CAPACITY - 1]), (b'?', b'\n'));
    }
}
