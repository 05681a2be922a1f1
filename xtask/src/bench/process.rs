// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processes that are measured: pinned, started the cheapest way, and waited for.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::zeroed;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The CPUs that this process may use.
pub fn allowed_cpus() -> Result<Vec<usize>> {
    // SAFETY: a cpu_set_t is an array of integers; zero is the empty set.
    let mut allowed: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: the pointer and the size are those of one cpu_set_t.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&allowed), &raw mut allowed) } != 0 {
        return Err(io::Error::last_os_error()).context("sched_getaffinity");
    }
    let size = usize::try_from(libc::CPU_SETSIZE)?;
    Ok((0..size)
        // SAFETY: every number is below CPU_SETSIZE.
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &allowed) })
        .collect())
}

/// Lets this process, and so everything it starts, use these CPUs.
pub fn use_cpus(cpus: &[usize]) -> Result<()> {
    // SAFETY: as above.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    for &cpu in cpus {
        // SAFETY: the number is below CPU_SETSIZE: it comes from such a set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the pointer and the size are those of one cpu_set_t.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } != 0 {
        return Err(io::Error::last_os_error()).context("sched_setaffinity");
    }
    Ok(())
}

/// Pins this process, and so everything it starts, to the last CPU that it may use. The first one
/// is where a machine's interrupts usually go.
pub fn pin_to_one_cpu() -> Result<()> {
    let Some(&cpu) = allowed_cpus()?.last() else {
        bail!("this process may run on no CPU below {}", libc::CPU_SETSIZE)
    };
    use_cpus(&[cpu])?;
    println!("pinned to CPU {cpu}");
    Ok(())
}

/// The path as execve wants it.
pub fn c_path(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Starts a program with this environment, of one entry or none, and waits for it: the time from before the spawn
/// (which the C library does by vfork, so our own size does not count) to after its exit.
pub fn time_to_exit(path: &CStr, entry: Option<&CStr>) -> Result<Duration> {
    let arguments = [path.as_ptr().cast_mut(), null_mut()];
    let entry = entry.map_or(null_mut(), |entry| entry.as_ptr().cast_mut());
    let environment = [entry, null_mut()];
    let mut pid = 0;
    let mut status = 0;
    let start = Instant::now();
    // SAFETY: a path and two null-terminated arrays of C strings, alive until the call returns.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            null(),
            null(),
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error)).with_context(|| format!("{path:?}"));
    }
    // SAFETY: the child is ours; a null usage pointer asks for none.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, null_mut()) };
    let time = start.elapsed();
    if waited != pid || status != 0 {
        bail!("{path:?} ended with wait status {status:#x}");
    }
    Ok(time)
}
