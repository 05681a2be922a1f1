// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user's cache directory: downloads, built kernels, and the locks that keep two builds of the
//! same thing apart.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use anyhow::{Context, Result, bail};

use super::long::INTERVAL;

/// `$XDG_CACHE_HOME/vcpu-rt/NAME` or `~/.cache/vcpu-rt/NAME`, made where it is missing.
pub fn directory(name: &str) -> Result<PathBuf> {
    let set = |variable: &str| {
        let value = env::var_os(variable).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set")?;
    let directory = cache.join("vcpu-rt").join(name);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// An exclusive lock on a file, held until it is dropped or the process ends.
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Lock {
    /// Takes the lock if nobody has it.
    pub fn try_take(path: &Path) -> Result<Option<Self>> {
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        // SAFETY: the descriptor is open for the call.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(Some(Self(file)));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
        Ok(None)
    }

    /// Takes the lock, and says so now and then while another process has it.
    pub fn take(path: &Path) -> Result<Self> {
        let mut said: Option<Instant> = None;
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(lock);
            }
            if said.is_none_or(|time| time.elapsed() >= INTERVAL) {
                eprintln!("waiting for another process that has {}", path.display());
                said = Some(Instant::now());
            }
            thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Fails unless the file system of a directory has that many bytes for us.
pub fn ensure_free(directory: &Path, needed: u64) -> Result<()> {
    let path = CString::new(directory.as_os_str().as_bytes())?;
    // SAFETY: the structure holds integers only; the call below overwrites them.
    let mut system: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a C string and a structure, both alive for the call.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut system) } != 0 {
        return Err(io::Error::last_os_error()).context(format!("{}", directory.display()));
    }
    let free = system.f_bavail * system.f_frsize;
    if free < needed {
        bail!(
            "a kernel build needs {} MiB in {}, where {} MiB are free; XDG_CACHE_HOME names another place",
            needed >> 20,
            directory.display(),
            free >> 20
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Lock, ensure_free};

    #[test]
    fn a_lock_is_held_until_it_is_dropped() {
        let path = std::env::temp_dir().join(format!("vcpu-rt-lock.{}", std::process::id()));
        let lock = Lock::take(&path).unwrap();
        assert!(Lock::try_take(&path).unwrap().is_none());
        drop(lock);
        assert!(Lock::try_take(&path).unwrap().is_some());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn no_disk_has_16_eib() {
        let error = ensure_free(&std::env::temp_dir(), u64::MAX).unwrap_err();
        assert!(error.to_string().contains("MiB are free"), "{error}");
        ensure_free(&std::env::temp_dir(), 1).unwrap();
    }
}
