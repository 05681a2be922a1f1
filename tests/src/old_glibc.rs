// SPDX-License-Identifier: MIT OR Apache-2.0
//! A glibc without `__rseq_*`, as before 2.35: copies of this machine's ld.so and libc, in which the symbol has
//! another name of the same hash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::header::run;

/// Makes it in `directory`, and returns the path of its ld.so.
///
/// # Errors
/// The files are not there, or lack the symbol.
pub fn make(directory: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(directory).map_err(|error| error.to_string())?;
    hide("/lib/x86_64-linux-gnu/libc.so.6", directory)?;
    hide("/lib64/ld-linux-x86-64.so.2", directory)
}

/// `t` and `H` for `s` and `i` leave the hash of DT_GNU_HASH as it is: 33 * 's' + 'i'.
fn hide(path: &str, directory: &Path) -> Result<PathBuf, String> {
    let mut bytes = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let (name, other) = (b"\0__rseq_size\0", b"\0__rseq_tHze\0");
    let places: Vec<usize> = bytes
        .windows(name.len())
        .enumerate()
        .filter_map(|(place, window)| (window == name).then_some(place))
        .collect();
    if places.is_empty() {
        return Err(format!("{path} has no __rseq_size"));
    }
    for place in places {
        bytes[place..place + name.len()].copy_from_slice(other);
    }
    let file = Path::new(path).file_name().expect("a file");
    let copy = directory.join(file);
    fs::write(&copy, bytes).map_err(|error| error.to_string())?;
    run(Command::new("chmod").arg("755").arg(&copy))?;
    Ok(copy)
}
