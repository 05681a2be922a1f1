// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registration of a thread's struct rseq (rseq(2), `kernel/rseq.c`).

use core::ptr;

use linux_raw_sys::general::__NR_rseq;
use rustix::io::Errno;
use vcpu_abi::{
    RSEQ_FEATURE_SIZE_MM_CID, RSEQ_FEATURE_SIZE_ORIG, RSEQ_FLAG_UNREGISTER, RSEQ_LEGACY_LENGTH,
    RSEQ_SIG, Rseq,
};

use crate::arch;
use crate::auxv::Auxv;

/// With what every thread of the process registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Registration length, bytes. Above 32 it selects v2 (Linux 7.1).
    pub length: usize,
    /// The part of struct rseq that the kernel fills, bytes.
    pub feature_size: usize,
}

impl Registration {
    /// What a kernel before 6.3 takes, and every kernel since: length 32, alignment 32.
    pub const LEGACY: Self = Self {
        length: RSEQ_LEGACY_LENGTH,
        feature_size: RSEQ_FEATURE_SIZE_ORIG,
    };

    /// From the auxiliary vector. A kernel that wants more than the bytes that a thread has for it, or a
    /// larger alignment than they have, gets the legacy length.
    #[inline]
    pub fn from_auxv(auxv: &Auxv) -> Self {
        let Some(feature_size) = auxv.rseq_feature_size else {
            return Self::LEGACY;
        };
        let align_fits = match auxv.rseq_align {
            None => true,
            Some(align) => align <= arch::AREA_ALIGN,
        };
        if feature_size <= arch::AREA_BYTES && align_fits {
            let mut registration = Self::LEGACY;
            if feature_size > registration.length {
                registration.length = feature_size;
            }
            if feature_size > registration.feature_size {
                registration.feature_size = feature_size;
            }
            registration
        } else {
            // A legacy registration ends with mm_cid: slice_ctrl works in v2 only.
            Self {
                feature_size: RSEQ_FEATURE_SIZE_MM_CID,
                ..Self::LEGACY
            }
        }
    }

    /// Registers `area` for the calling thread.
    ///
    /// # Errors
    /// ENOSYS (before Linux 4.18, or CONFIG_RSEQ=n), EPERM or whatever a seccomp filter answers,
    /// EINVAL (length, alignment, or another area is registered), EBUSY (this area is registered
    /// already). The thread is then as unregistered as before.
    ///
    /// # Safety
    /// `area` is the calling thread's, aligned to [`arch::AREA_ALIGN`], with
    /// [`arch::AREA_BYTES`] behind it, or it is the C library's, for this length. It stays mapped until [`unregister`](Self::unregister) or the thread's end.
    pub unsafe fn register(self, area: *mut Rseq) -> Result<(), Errno> {
        // SAFETY: the kernel writes within `length`, which fits the area.
        unsafe { self.call(area, 0) }
    }

    /// Unregisters `area` and writes the unregistered state into it, which the kernel does not
    /// do: it leaves mm_cid = 0, a valid index, behind.
    ///
    /// # Errors
    /// EINVAL or EPERM: the area is not what the calling thread registered. It is left alone.
    ///
    /// # Safety
    /// `area` was registered by the calling thread with this length. All signals that a handler has are blocked,
    /// or no handler goes by this area: between the system call and the writes it would take mm_cid = 0 for its own.
    pub unsafe fn unregister(self, area: *mut Rseq) -> Result<(), Errno> {
        // SAFETY: the kernel writes within `length`, which fits the area.
        unsafe { self.call(area, RSEQ_FLAG_UNREGISTER)? };
        // SAFETY: the caller's own area. Volatile: the next reader is assembly, or the kernel.
        unsafe {
            ptr::write_volatile(&raw mut (*area).cpu_id, Rseq::UNREGISTERED.cpu_id);
            ptr::write_volatile(&raw mut (*area).mm_cid, Rseq::UNREGISTERED.mm_cid);
        }
        Ok(())
    }

    /// # Safety
    /// As for [`register`](Self::register).
    unsafe fn call(self, area: *mut Rseq, flags: u32) -> Result<(), Errno> {
        let arguments = [area.addr(), self.length, flags as usize, RSEQ_SIG as usize];
        // SAFETY: by the caller's word.
        unsafe { arch::syscall(__NR_rseq, arguments) }.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(feature_size: usize, align: usize) -> Registration {
        Registration::from_auxv(&Auxv {
            rseq_feature_size: Some(feature_size),
            rseq_align: Some(align),
            ..Auxv::default()
        })
    }

    #[test]
    fn lengths_of_known_and_future_kernels() {
        assert_eq!(
            Registration::from_auxv(&Auxv::default()),
            Registration::LEGACY
        );
        assert_eq!(
            of(28, 32),
            Registration {
                length: 32,
                feature_size: 28
            }
        );
        assert_eq!(
            of(33, 64),
            Registration {
                length: 33,
                feature_size: 33
            }
        );
        assert_eq!(
            of(256, 256),
            Registration {
                length: 256,
                feature_size: 256
            }
        );
        let refused = Registration {
            length: 32,
            feature_size: 28,
        };
        assert_eq!(of(257, 512), refused);
        assert_eq!(of(64, 512), refused);
    }
}
