// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines on stderr from places where `core::fmt` is too large or not yet safe to use.

use rustix::fd::BorrowedFd;

/// A line under construction. What does not fit is cut; nothing is allocated, nothing panics.
pub struct Line {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl Line {
    const CAPACITY: usize = 400;

    /// A line that begins with the runtime's name.
    pub fn new() -> Self {
        Self::empty().text("vcpu-rt: ")
    }

    /// A line without a beginning.
    pub fn empty() -> Self {
        Self { bytes: [0; Self::CAPACITY], length: 0 }
    }

    /// Appends text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.value(text.as_bytes())
    }

    /// Appends bytes from outside; what is not printable ASCII shows as `?`.
    #[must_use]
    pub fn value(mut self, value: &[u8]) -> Self {
        for &byte in value {
            self.push(if matches!(byte, b' '..=b'~') { byte } else { b'?' });
        }
        self
    }

    /// Appends a decimal number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        // 20 digits hold 2^64 - 1.
        let mut divisor = 10_000_000_000_000_000_000_u64;
        while divisor > 1 && number / divisor == 0 {
            divisor /= 10;
        }
        while divisor > 0 {
            self.push(b'0' + (number / divisor % 10) as u8);
            divisor /= 10;
        }
        self
    }

    fn push(&mut self, byte: u8) {
        // One byte stays free for the line's end.
        if self.length < Self::CAPACITY - 1
            && let Some(place) = self.bytes.get_mut(self.length)
        {
            *place = byte;
            self.length += 1;
        }
    }

    /// The line with its newline, as bytes to write.
    pub fn finish(&mut self) -> &[u8] {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = b'\n';
        }
        self.bytes.get(..self.length + 1).unwrap_or(&[])
    }

    /// Writes the line to file descriptor 2 in one write(2). A descriptor that is closed or full
    /// loses it: there is nobody left to tell.
    pub fn print(mut self) {
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
        let line = Line::empty().number(0).text(" ").number(10).text(" ").number(u64::MAX);
        let mut line = line;
        assert_eq!(line.finish(), b"0 10 18446744073709551615\n");
    }

    #[test]
    fn a_long_or_unprintable_value_is_cut_and_masked() {
        let mut line = Line::empty().value(&[0x1b; 1000]);
        let bytes = line.finish();
        assert_eq!(bytes.len(), Line::CAPACITY);
        assert_eq!((bytes[0], bytes[Line::CAPACITY - 1]), (b'?', b'\n'));
    }
}
