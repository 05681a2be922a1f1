// SPDX-License-Identifier: MIT OR Apache-2.0
//! Formatted output on standard output and standard error, without an allocator.

use core::fmt::{self, Write};

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1.
    Output,
    /// File descriptor 2.
    Error,
}

impl Stream {
    /// Writes all bytes, whatever the number of write(2) calls that takes.
    ///
    /// # Errors
    /// As write(2), EINTR excepted. Part of the bytes may be written then.
    pub fn write_all(self, mut bytes: &[u8]) -> Result<(), Errno> {
        let number = match self {
            Self::Output => 1,
            Self::Error => 2,
        };
        // SAFETY: a number, not a resource: if nothing is open there, the write fails.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        while !bytes.is_empty() {
            match rustix::io::write(descriptor, bytes) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// Collects formatted pieces so that a line of up to 512 bytes is one write(2), which threads do
/// not tear apart.
struct Buffer {
    stream: Stream,
    bytes: [u8; 512],
    length: usize,
    result: Result<(), Errno>,
}

impl Buffer {
    fn flush(&mut self) {
        if self.result.is_ok() {
            self.result = self
                .stream
                .write_all(self.bytes.get(..self.length).unwrap_or(&[]));
        }
        self.length = 0;
    }
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.length == self.bytes.len() {
                self.flush();
            }
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
        self.result.map_err(|_| fmt::Error)
    }
}

/// Prints formatted text and then `end`.
///
/// # Errors
/// As [`Stream::write_all`].
#[inline(always)]
pub fn print(stream: Stream, text: fmt::Arguments<'_>, end: &'static str) -> Result<(), Errno> {
    // A constant text needs no formatting, and with this inlined, no code for it.
    match text.as_str() {
        Some(text) => print_constant(stream, text, end),
        None => print_formatted(stream, text, end),
    }
}

fn print_constant(stream: Stream, text: &str, end: &str) -> Result<(), Errno> {
    let mut buffer = Buffer {
        stream,
        bytes: [0; 512],
        length: 0,
        result: Ok(()),
    };
    let _in_the_buffer = buffer.write_str(text);
    let _in_the_buffer = buffer.write_str(end);
    buffer.flush();
    buffer.result
}

fn print_formatted(stream: Stream, text: fmt::Arguments<'_>, end: &str) -> Result<(), Errno> {
    let mut buffer = Buffer {
        stream,
        bytes: [0; 512],
        length: 0,
        result: Ok(()),
    };
    // An error of the stream is in the buffer; one of a Display cuts the text.
    let _in_the_buffer = buffer.write_fmt(text);
    let _in_the_buffer = buffer.write_str(end);
    buffer.flush();
    buffer.result
}

/// Prints on standard output. A stream that cannot be written loses the text; use
/// [`io::print`](crate::io::print) to know.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {{
        let _ = $crate::io::print(
            $crate::io::Stream::Output,
            ::core::format_args!($($text)*),
            "",
        );
    }};
}

/// As [`print!`], with a newline.
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => {{
        let _ = $crate::io::print(
            $crate::io::Stream::Output,
            ::core::format_args!($($text)*),
            "\n",
        );
    }};
}

/// Prints on standard error. A stream that cannot be written loses the text.
#[macro_export]
macro_rules! eprint {
    ($($text:tt)*) => {{
        let _ = $crate::io::print(
            $crate::io::Stream::Error,
            ::core::format_args!($($text)*),
            "",
        );
    }};
}

/// As [`eprint!`], with a newline.
#[macro_export]
macro_rules! eprintln {
    ($($text:tt)*) => {{
        let _ = $crate::io::print(
            $crate::io::Stream::Error,
            ::core::format_args!($($text)*),
            "\n",
        );
    }};
}
