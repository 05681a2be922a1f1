// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plan: which programs `guest_init` runs. One case a line, words separated by spaces:
//! `NAME SECONDS [KEY=VALUE ...] /PROGRAM [ARG ...]`; what follows `#` at a line's start is a comment.

use core::ffi::{CStr, c_char};
use core::fmt;
use core::ptr;
use core::time::Duration;

/// The words that a list of strings has room for.
pub const CAPACITY: usize = 32;

/// A list of strings as execve(2) takes it.
pub struct Strings<'a> {
    // One more than there are words: the last is always null.
    pointers: [*const c_char; CAPACITY + 1],
    words: [&'a CStr; CAPACITY],
    length: usize,
}

impl<'a> Strings<'a> {
    const EMPTY: Self = Self {
        pointers: [ptr::null(); CAPACITY + 1],
        words: [c""; CAPACITY],
        length: 0,
    };

    fn push(&mut self, word: &'a CStr) -> Result<(), Malformed<'a>> {
        let place = self
            .words
            .get_mut(self.length)
            .ok_or(Malformed::TooManyWords)?;
        *place = word;
        self.pointers[self.length] = word.as_ptr();
        self.length += 1;
        Ok(())
    }

    /// The strings, then a null pointer.
    pub fn pointers(&self) -> &[*const c_char] {
        &self.pointers[..=self.length]
    }

    /// The strings.
    pub fn words(&self) -> &[&'a CStr] {
        &self.words[..self.length]
    }
}

/// One line of the plan.
pub struct Case<'a> {
    /// What the report calls it.
    pub name: &'a CStr,
    /// After this time the program is killed.
    pub limit: Duration,
    /// The program's environment.
    pub environment: Strings<'a>,
    /// The program and its arguments; there is at least one word.
    pub arguments: Strings<'a>,
}

/// What is wrong with a line.
#[derive(Debug)]
pub enum Malformed<'a> {
    /// It ends after the name.
    NoSeconds,
    /// The second word is no number above 0.
    BadSeconds(&'a CStr),
    /// A word before the program that is neither `KEY=VALUE` nor an absolute path.
    NeitherVariableNorProgram(&'a CStr),
    /// It ends before a word that begins with `/`.
    NoProgram,
    /// More variables or arguments than [`CAPACITY`].
    TooManyWords,
    /// A zero byte in the text.
    ZeroByte,
}

impl fmt::Display for Malformed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSeconds => f.write_str("no time limit"),
            Self::BadSeconds(word) => write!(f, "{word:?} is no number of seconds"),
            Self::NeitherVariableNorProgram(word) => {
                write!(f, "{word:?} is neither KEY=VALUE nor /PROGRAM")
            }
            Self::NoProgram => f.write_str("no /PROGRAM"),
            Self::TooManyWords => write!(f, "more than {} words", CAPACITY),
            Self::ZeroByte => f.write_str("a zero byte"),
        }
    }
}

/// The first word of a line, for the report about one that is malformed.
pub fn first_word(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b' ' || *byte == b'\n')
        .find(|word| !word.is_empty())
        .unwrap_or(b"")
}

/// Reads a line, which must end with a newline. Words are made strings in place. `None`: nothing
/// but blanks or a comment.
///
/// # Errors
/// See [`Malformed`].
pub fn parse(line: &mut [u8]) -> Result<Option<Case<'_>>, Malformed<'_>> {
    if line.contains(&0) {
        return Err(Malformed::ZeroByte);
    }
    if matches!(first_word(line), [] | [b'#', ..]) {
        return Ok(None);
    }
    for byte in line.iter_mut() {
        if matches!(byte, b' ' | b'\n') {
            *byte = 0;
        }
    }
    let mut words = line
        .split_inclusive(|byte| *byte == 0)
        .filter_map(|word| CStr::from_bytes_with_nul(word).ok())
        .filter(|word| !word.is_empty());
    let name = words.next().ok_or(Malformed::NoSeconds)?;
    let seconds = words.next().ok_or(Malformed::NoSeconds)?;
    let limit = seconds.to_str().ok().and_then(|text| text.parse().ok());
    let limit = limit.filter(|limit| *limit > 0);
    let limit = Duration::from_secs(limit.ok_or(Malformed::BadSeconds(seconds))?);
    let mut environment = Strings::EMPTY;
    let mut arguments = Strings::EMPTY;
    loop {
        let word = words.next().ok_or(Malformed::NoProgram)?;
        if word.to_bytes().starts_with(b"/") {
            arguments.push(word)?;
            break;
        }
        if !word.to_bytes().contains(&b'=') {
            return Err(Malformed::NeitherVariableNorProgram(word));
        }
        environment.push(word)?;
    }
    for word in words {
        arguments.push(word)?;
    }
    Ok(Some(Case {
        name,
        limit,
        environment,
        arguments,
    }))
}
