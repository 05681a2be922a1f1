// SPDX-License-Identifier: MIT OR Apache-2.0
//! Formatted output on standard output and standard error, without an allocator.

use core::fmt::{self, Write};
use core::mem::MaybeUninit;
use core::slice;

use linux_raw_sys::general::__NR_writev;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use vcpu_core::arch::syscall;

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1.
    Output = 1,
    /// File descriptor 2.
    Error = 2,
}

impl Stream {
    /// Writes all bytes, whatever the number of write(2) calls that takes.
    ///
    /// # Errors
    /// As write(2), EINTR excepted. Part of the bytes may be written then.
    pub fn write_all(self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match rustix::io::write(self.descriptor(), bytes) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn descriptor(self) -> BorrowedFd<'static> {
        // SAFETY: a number, not a resource: if nothing is open there, a write fails.
        unsafe { BorrowedFd::borrow_raw(self as i32) }
    }
}

/// Collects formatted pieces so that a line of up to 512 bytes is one write(2), which threads do
/// not tear apart.
struct Buffer {
    stream: Stream,
    // Not zeroed: that would be a call of memset in each program that prints.
    bytes: [MaybeUninit<u8>; Self::CAPACITY],
    length: usize,
    result: Result<(), Errno>,
}

impl Buffer {
    const CAPACITY: usize = 512;

    fn new(stream: Stream) -> Self {
        Self {
            stream,
            bytes: [const { MaybeUninit::uninit() }; Self::CAPACITY],
            length: 0,
            result: Ok(()),
        }
    }

    fn push(&mut self, text: &str) {
        for &byte in text.as_bytes() {
            if self.length == Self::CAPACITY {
                self.flush();
            }
            if let Some(place) = self.bytes.get_mut(self.length) {
                place.write(byte);
                self.length += 1;
            }
        }
    }

    fn flush(&mut self) {
        if self.result.is_ok() {
            // SAFETY: `push` wrote the first `length` bytes.
            let bytes = unsafe { slice::from_raw_parts(self.bytes.as_ptr().cast(), self.length) };
            self.result = self.stream.write_all(bytes);
        }
        self.length = 0;
    }
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        self.result.map_err(|_| fmt::Error)
    }
}

/// Prints formatted text and then `end`.
///
/// # Errors
/// As [`Stream::write_all`].
#[inline(always)]
pub fn print(stream: Stream, text: fmt::Arguments<'_>, end: &'static str) -> Result<(), Errno> {
    // A constant text needs no formatting and no buffer, and with this inlined, no code for them.
    match text.as_str() {
        Some(text) => print_constant(stream, text, end),
        None => print_formatted(stream, text, end),
    }
}

fn print_constant(stream: Stream, text: &str, end: &str) -> Result<(), Errno> {
    let (text, end) = (text.as_bytes(), end.as_bytes());
    // `struct iovec`. The call is made here, since rustix's function comes with a landing pad, and
    // one in a program is enough to give all of it unwind tables.
    let pieces = [
        [text.as_ptr().expose_provenance(), text.len()],
        [end.as_ptr().expose_provenance(), end.len()],
    ];
    let arguments = [
        stream as usize,
        pieces.as_ptr().expose_provenance(),
        pieces.len(),
        0,
    ];
    // SAFETY: the kernel reads the two pieces.
    let mut written = match unsafe { syscall(__NR_writev, arguments) } {
        Ok(count) => count,
        Err(Errno::INTR) => 0,
        Err(errno) => return Err(errno),
    };
    for piece in &[text, end] {
        match piece.get(written..) {
            Some(rest) => {
                written = 0;
                stream.write_all(rest)?;
            }
            None => written -= piece.len(),
        }
    }
    Ok(())
}

fn print_formatted(stream: Stream, text: fmt::Arguments<'_>, end: &str) -> Result<(), Errno> {
    let mut buffer = Buffer::new(stream);
    // An error of the stream is in the buffer; one of a Display cuts the text.
    let _in_the_buffer = buffer.write_fmt(text);
    buffer.push(end);
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
