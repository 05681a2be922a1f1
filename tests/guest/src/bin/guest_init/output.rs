// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program's output: passed on to the console, and searched for the reason of a skip.

use core::fmt;

use rustix::fd::OwnedFd;
use rustix::io::{Errno, read};
use vcpu_rt::io::Stream;

/// One line of text, cut at its capacity.
#[derive(Clone, Copy)]
pub struct Line {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl Line {
    const CAPACITY: usize = 200;
    const EMPTY: Self = Self {
        bytes: [0; Self::CAPACITY],
        length: 0,
    };

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes().trim_ascii().escape_ascii())
    }
}

/// The reason in a line: what follows `SKIP: ` at its start, or `# SKIP` in it, which is TAP.
fn skip_reason(line: &Line) -> Option<Line> {
    let bytes = line.bytes();
    let tap = b"# SKIP";
    let rest = bytes.strip_prefix(b"SKIP: ").or_else(|| {
        let start = bytes.windows(tap.len()).position(|window| window == tap)?;
        bytes.get(start + tap.len()..)
    })?;
    let mut reason = Line::EMPTY;
    rest.iter().for_each(|byte| reason.push(*byte));
    Some(reason)
}

/// What a program has written so far.
pub struct Output {
    pipe: OwnedFd,
    line: Line,
    skip: Option<Line>,
    ended: bool,
}

impl Output {
    /// Of the program at the other end of `pipe`, which does not block.
    pub fn new(pipe: OwnedFd) -> Self {
        Self {
            pipe,
            line: Line::EMPTY,
            skip: None,
            ended: false,
        }
    }

    /// The pipe, while something may come.
    pub fn pipe(&self) -> Option<&OwnedFd> {
        (!self.ended).then_some(&self.pipe)
    }

    /// Passes on what is there: at most 1 MiB, so that a program that writes without end does not
    /// keep its time limit from being looked at.
    pub fn pass_on(&mut self) {
        let mut bytes = [0_u8; 4096];
        for _ in 0..256 {
            match read(&self.pipe, &mut bytes[..]) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    // A console that cannot be written is nothing that could be told.
                    let _lost = Stream::Output.write_all(&bytes[..count]);
                    bytes[..count].iter().for_each(|byte| self.take(*byte));
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(_) => self.ended = true,
            }
            return;
        }
    }

    fn take(&mut self, byte: u8) {
        if byte != b'\n' {
            return self.line.push(byte);
        }
        if let Some(reason) = skip_reason(&self.line) {
            self.skip = Some(reason);
        }
        self.line = Line::EMPTY;
    }

    /// Ends a line that was left open, so that the report is a line of its own, and returns the
    /// reason of a skip, if one was given.
    pub fn finish(mut self) -> Option<Line> {
        if self.line.length > 0 {
            let _lost = Stream::Output.write_all(b"\n");
            self.take(b'\n');
        }
        self.skip
    }
}
