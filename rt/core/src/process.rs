// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for the whole process: found and chosen once, at start, before any other thread.

use core::cell::UnsafeCell;

use rustix::io::Errno;
use vcpu_abi::{Mode, RSEQ_FEATURE_SIZE_MM_CID, Rseq};

use crate::access::Access;
use crate::areas::{self, Reservation};
use crate::auxv::Auxv;
use crate::fence;
use crate::gs_mode::GsMode;
use crate::report::Line;
use crate::rseq::Registration;
use crate::topology::{self, Affinity};
use crate::tunables::{RseqChoice, Tunables};

/// How the main thread's registration ended. In a process that the runtime starts there is no C library to
/// share with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RseqState {
    /// Not tried: VCPU_RT_RSEQ=off, or the runtime has not started.
    Off,
    /// There is none to adopt, and none of our own that others would find.
    #[cfg(vcpu_rt_hosted)]
    Absent,
    /// Registered, by the runtime.
    Registered,
    /// Registered by the C library, whose registration is used.
    #[cfg(vcpu_rt_hosted)]
    Adopted,
    /// Registered by the runtime, in place of the C library's registration.
    #[cfg(vcpu_rt_hosted)]
    TakenOver,
    /// The kernel refused, see [`Registration::register`].
    Refused(Errno),
}

impl RseqState {
    /// Whether the main thread is registered.
    #[inline]
    pub fn is_registered(self) -> bool {
        match self {
            Self::Registered => true,
            #[cfg(vcpu_rt_hosted)]
            Self::Adopted | Self::TakenOver => true,
            _ => false,
        }
    }
}

/// What the runtime found and chose.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// With what threads register.
    pub registration: Registration,
    /// How it went for the main thread.
    pub rseq: RseqState,
    /// The process's access mode. In the modes by rseq it is a ceiling: a thread without registration
    /// acts as in shared mode.
    pub mode: Mode,
    /// Whether the kernel offers the fence.
    pub fence: bool,
    /// AT_HWCAP2 says that FSGSBASE instructions may be used.
    pub(crate) fsgsbase: bool,
    // What the areas' stage found: read by the methods below, which see to it that the program
    // has that stage, and by code that works on objects of `areas::alloc`, which does the same.
    pub(crate) nr_vcpus: u32,
    pub(crate) affinity: Affinity,
    pub(crate) reservation: Reservation,
    pub(crate) gs: GsMode,
}

/// The value of [`found`] before the start, and in a process that never starts the runtime. All
/// of it is zero, so that it takes no bytes of the file.
const NOT_STARTED: Found = Found {
    registration: Registration {
        length: 0,
        feature_size: 0,
    },
    rseq: RseqState::Off,
    mode: Mode::Shared,
    fence: false,
    fsgsbase: false,
    nr_vcpus: 0,
    affinity: Affinity {
        mask_bits: 0,
        allowed: 0,
        highest: 0,
    },
    reservation: Reservation::NONE,
    gs: GsMode::Off,
};

/// Written once by [`start`].
struct StartCell(UnsafeCell<Found>);

// SAFETY: `start` writes it while the process has one thread; afterwards it is only read.
unsafe impl Sync for StartCell {}

/// In .data although it is zero: see "Pages" in docs/runtime.md.
#[unsafe(link_section = ".data.vcpu_rt")]
static FOUND: StartCell = StartCell(UnsafeCell::new(NOT_STARTED));

/// What the runtime found and chose.
#[inline]
pub fn found() -> &'static Found {
    // SAFETY: written only by `start`, whose caller vouches that nobody reads at that time.
    unsafe { &*FOUND.0.get() }
}

/// Registers the main thread and asks for the fence. For a process that the runtime starts. The areas and the GS mode follow, where the
/// program has them: [`crate::areas::start`].
///
/// # Safety
/// Called once, while the process has one thread. `area` is that thread's, as for
/// [`Registration::register`], and holds [`Rseq::UNREGISTERED`].
#[inline(always)]
pub unsafe fn start(auxv: &Auxv, tunables: &Tunables, area: *mut Rseq) {
    let registration = Registration::from_auxv(auxv);
    let rseq = match tunables.rseq {
        RseqChoice::Off => RseqState::Off,
        // SAFETY: by the caller's word.
        _ => match unsafe { registration.register(area) } {
            Ok(()) => RseqState::Registered,
            Err(errno) => RseqState::Refused(errno),
        },
    };
    // SAFETY: by the caller's word.
    unsafe { settle(registration, rseq, auxv.fsgsbase) };
}

/// Remembers how registration went.
///
/// # Safety
/// Called once, while nobody else uses the runtime.
#[inline(always)]
pub unsafe fn settle(registration: Registration, rseq: RseqState, fsgsbase: bool) {
    let mode = if !rseq.is_registered() {
        Mode::Shared
    } else if registration.feature_size >= RSEQ_FEATURE_SIZE_MM_CID {
        Mode::RseqMmCid
    } else {
        Mode::RseqCpuId
    };
    // SAFETY: one thread, and no reference from `found` lives across a start.
    let found = unsafe { &mut *FOUND.0.get() };
    found.registration = registration;
    found.rseq = rseq;
    found.mode = mode;
    found.fence = fence::offered();
    found.fsgsbase = fsgsbase;
}

/// As [`settle`], where struct rseq is so many bytes from the thread pointer.
///
/// # Safety
/// As for [`settle`].
#[cfg(vcpu_rt_hosted)]
pub unsafe fn settle_hosted(
    registration: Registration,
    rseq: RseqState,
    offset: isize,
    fsgsbase: bool,
) {
    // SAFETY: by the caller's word.
    unsafe {
        crate::arch::set_rseq_offset(offset);
        settle(registration, rseq, fsgsbase);
    }
}

/// Remembers what the areas' stage found, and settles the mode.
///
/// # Safety
/// As for [`start`]: one thread, and no reference from [`found`] is in use.
pub(crate) unsafe fn set_areas(affinity: Affinity, reservation: Reservation, gs: GsMode) {
    // SAFETY: by the caller's word.
    let found = unsafe { &mut *FOUND.0.get() };
    found.nr_vcpus = affinity.mask_bits;
    found.affinity = affinity;
    found.reservation = reservation;
    found.gs = gs;
    if gs == GsMode::On {
        found.mode = Mode::Gs;
    }
    if found.reservation.refused.is_none() {
        // SAFETY: by the caller's word; objects come later.
        unsafe { Access::settle(found) };
    }
}

impl Found {
    /// Every id is below it. 0 before the start.
    pub fn nr_vcpus(&self) -> u32 {
        areas::keep();
        self.nr_vcpus
    }

    /// CPUs that the process may use, at start.
    pub fn affinity(&self) -> Affinity {
        areas::keep();
        self.affinity
    }

    /// The areas: their stride.
    pub fn reservation(&self) -> &Reservation {
        areas::keep();
        &self.reservation
    }

    /// The stride, at most 2^30 ([`crate::tunables`]), for code that has an object.
    #[inline(always)]
    pub(crate) fn stride(&self) -> u32 {
        self.reservation.stride as u32
    }

    /// What came of the GS mode.
    pub fn gs(&self) -> GsMode {
        areas::keep();
        self.gs
    }

    /// Areas of each object: one per vCPU, and the last for threads without registration.
    pub fn nr_areas(&self) -> u32 {
        self.nr_vcpus() + 1
    }

    /// Ids of this machine are below it, at most [`nr_vcpus`](Self::nr_vcpus).
    pub fn possible_vcpus(&self) -> u32 {
        topology::possible_vcpus(self.nr_vcpus(), self.affinity.highest)
    }

    /// The areas that can hold anything: those of ids that can occur, then the last one.
    pub fn used_areas(&self) -> impl Iterator<Item = u32> + use<> {
        UsedAreas {
            next: 0,
            possible: self.possible_vcpus(),
            last: self.nr_vcpus,
        }
    }

    /// The active feature size, bytes: 0 when rseq is not registered. As glibc's `__rseq_size`.
    pub fn active_feature_size(&self) -> usize {
        if self.rseq.is_registered() {
            self.registration.feature_size
        } else {
            0
        }
    }

    /// The active registration length, bytes: 0 when rseq is not registered.
    pub fn active_length(&self) -> usize {
        if self.rseq.is_registered() {
            self.registration.length
        } else {
            0
        }
    }

    /// What VCPU_RT_DEBUG=1 prints, without what hooks say of themselves.
    #[cold]
    #[inline(never)]
    pub fn describe(&self, line: &mut Line) {
        let (rseq, refused) = match self.rseq {
            RseqState::Off => ("off", None),
            #[cfg(vcpu_rt_hosted)]
            RseqState::Absent => ("absent", None),
            RseqState::Registered => ("registered", None),
            #[cfg(vcpu_rt_hosted)]
            RseqState::Adopted => ("adopted", None),
            #[cfg(vcpu_rt_hosted)]
            RseqState::TakenOver => ("taken over", None),
            RseqState::Refused(errno) => ("refused", Some(errno)),
        };
        line.text("mode=").text(mode_name(self.mode));
        line.outcome(" rseq=", rseq, refused);
        line.field(" length=", self.active_length() as u64);
        line.field(" feature_size=", self.active_feature_size() as u64);
        line.outcome(" fence=", if self.fence { "yes" } else { "no" }, None);
    }
}

/// See [`Found::used_areas`].
struct UsedAreas {
    next: u32,
    /// Ids that can occur are below it.
    possible: u32,
    last: u32,
}

impl Iterator for UsedAreas {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.next > self.last {
            return None;
        }
        let area = self.next;
        self.next = if area + 1 == self.possible {
            self.last
        } else {
            area + 1
        };
        Some(area)
    }
}

/// The mode's name as programs print it.
pub fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Shared => "shared",
        Mode::RseqCpuId => "rseq-cpu_id",
        Mode::RseqMmCid => "rseq-mm_cid",
        Mode::Gs => "gs",
    }
}
