// SPDX-License-Identifier: MIT OR Apache-2.0
//! Steps before exec that take something away from a program: system calls, memory, privileges,
//! the file system. And what the machine must be like for them.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::programs::target_directory;
use crate::run::Run;

/// A user without privileges: Debian's `nobody`, but any id that is nobody's would do.
pub const NOBODY: u32 = 65534;

/// The answer of a call that returns -1 and errno.
fn checked(answer: libc::c_int) -> io::Result<()> {
    if answer == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

impl Run {
    /// The system calls of these numbers answer `errno`.
    pub fn without_calls(self, numbers: &[libc::c_long], errno: libc::c_int) -> Self {
        self.filtered(filter(numbers, errno))
    }

    /// The system call of this number answers `errno` where the argument at `index` is `value`.
    pub fn without_call_of(
        self,
        number: libc::c_long,
        index: u32,
        value: u32,
        errno: libc::c_int,
    ) -> Self {
        let mut program = filter(&[number], errno);
        // Behind the test of the number; each argument has 64 bits, behind number, architecture and address.
        let load = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 16 + 8 * index);
        let is_other = libc::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value)
        };
        program[1].jf += 2;
        program.splice(2..2, [load, is_other]);
        self.filtered(program)
    }

    /// With this filter.
    fn filtered(self, mut program: Vec<libc::sock_filter>) -> Self {
        let step = move || {
            let length = u16::try_from(program.len()).expect("filters are short");
            let program = libc::sock_fprog {
                len: length,
                filter: program.as_mut_ptr(),
            };
            // SAFETY: integers, and a filter that lives for the call: the kernel copies it.
            unsafe {
                checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
                checked(libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                ))
            }
        };
        // SAFETY: two system calls.
        unsafe { self.before_exec(step) }
    }

    /// Sets a resource limit, soft and hard.
    pub fn limit(self, resource: libc::__rlimit_resource_t, value: libc::rlim_t) -> Self {
        let limit = libc::rlimit {
            rlim_cur: value,
            rlim_max: value,
        };
        // SAFETY: one system call, which reads one struct.
        unsafe { self.before_exec(move || checked(libc::setrlimit(resource, &raw const limit))) }
    }

    /// Runs the program as [`NOBODY`], without supplementary groups. Needs root.
    pub fn as_nobody(self) -> Self {
        // SAFETY: system calls with integers. The raw ones: glibc's wrappers tell every thread.
        unsafe {
            self.before_exec(|| {
                let call = |number: libc::c_long, id: u32| {
                    let answer = libc::syscall(number, libc::c_ulong::from(id), 0);
                    if answer == -1 {
                        Err(io::Error::last_os_error())
                    } else {
                        Ok(())
                    }
                };
                call(libc::SYS_setgroups, 0)?;
                call(libc::SYS_setgid, NOBODY)?;
                call(libc::SYS_setuid, NOBODY)
            })
        }
    }

    /// Makes `directory` the root of the program's file system. Needs root.
    pub fn in_root(self, directory: &Path) -> Self {
        let directory = CString::new(directory.as_os_str().as_bytes()).expect("no NUL in a path");
        // SAFETY: two system calls with strings that live.
        unsafe {
            self.before_exec(move || {
                checked(libc::chroot(directory.as_ptr()))?;
                checked(libc::chdir(c"/".as_ptr()))
            })
        }
    }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).expect("BPF codes have 16 bits"),
        jt: 0,
        jf: 0,
        k,
    }
}

/// "If the number is one of these, answer errno; else allow", as classic BPF (seccomp(2)). The
/// architecture is not tested: the test's own programs make 64-bit calls only.
fn filter(numbers: &[libc::c_long], errno: libc::c_int) -> Vec<libc::sock_filter> {
    let answer = libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for &number in numbers {
        let number = u32::try_from(number).expect("system calls have small numbers");
        let test = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number);
        program.push(libc::sock_filter { jf: 1, ..test });
        program.push(statement(libc::BPF_RET | libc::BPF_K, answer));
    }
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ALLOW,
    ));
    program
}

/// What a case needs that changes its identity or its root.
pub fn root() -> Result<(), String> {
    // SAFETY: no arguments, no errors.
    if unsafe { libc::geteuid() } == 0 {
        Ok(())
    } else {
        Err("needs root".into())
    }
}

/// What a case needs that runs a program as [`NOBODY`]: every directory on the way to the target
/// directory lets others pass.
pub fn nobody_reaches_the_target_directory() -> Result<(), String> {
    let target = target_directory()?;
    for directory in target.ancestors() {
        let metadata = directory.metadata().map_err(|error| error.to_string())?;
        if metadata.permissions().mode() & 0o001 == 0 {
            return Err(format!("{} is closed to others", directory.display()));
        }
    }
    Ok(())
}

/// What a case needs that gives a program privileges by its file's mode.
pub fn honours_setuid(directory: &Path) -> Result<(), String> {
    let path = CString::new(directory.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: statvfs is plain data, for which zeroes are a value.
    let mut status = unsafe { std::mem::zeroed::<libc::statvfs>() };
    // SAFETY: a C string and a struct to fill, both alive.
    checked(unsafe { libc::statvfs(path.as_ptr(), &raw mut status) })
        .map_err(|error| error.to_string())?;
    if status.f_flag & libc::ST_NOSUID == 0 {
        Ok(())
    } else {
        Err(format!("{} is mounted nosuid", directory.display()))
    }
}

/// What a case needs that asks the running kernel for rseq.
pub fn kernel_has_rseq() -> Result<(), String> {
    // A length of 1 is refused with EINVAL where the system call exists.
    // SAFETY: the kernel refuses the call before it uses the address.
    let answer = unsafe { libc::syscall(libc::SYS_rseq, 0, 1, 0, 0) };
    let errno = io::Error::last_os_error().raw_os_error();
    if answer == -1 && errno == Some(libc::EINVAL) {
        Ok(())
    } else {
        Err(format!(
            "this kernel has no rseq, or a filter hides it: {errno:?}"
        ))
    }
}

/// Whether memory can be sealed (mseal(2), Linux 6.10).
pub fn kernel_has_mseal() -> Result<(), String> {
    const SYS_MSEAL: libc::c_long = 462;
    // SAFETY: no bytes are sealed.
    match unsafe { libc::syscall(SYS_MSEAL, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err("this kernel has no mseal".into()),
    }
}

/// The kernel's feature size and the alignment for it, from the auxiliary vector; 0 where the
/// kernel does not tell.
pub fn rseq_auxv() -> (u64, u64) {
    const AT_RSEQ_FEATURE_SIZE: libc::c_ulong = 27;
    const AT_RSEQ_ALIGN: libc::c_ulong = 28;
    // SAFETY: a look-up by number.
    unsafe {
        (
            libc::getauxval(AT_RSEQ_FEATURE_SIZE),
            libc::getauxval(AT_RSEQ_ALIGN),
        )
    }
}

/// What a case needs that looks at single pages of a process (CONFIG_PROC_PAGE_MONITOR).
pub fn kernel_shows_pages() -> Result<(), String> {
    for path in ["/proc/self/pagemap", "/proc/self/smaps_rollup"] {
        std::fs::File::open(path).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}
