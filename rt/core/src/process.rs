// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for the whole process: found and chosen once, at start, before any other thread.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use vcpu_abi::{MODE_SHARED, Mode, RSEQ_FEATURE_SIZE_MM_CID, Rseq};

use crate::areas::{self, Reservation};
use crate::auxv::Auxv;
use crate::fence;
use crate::gs_mode::{self, GsMode};
use crate::report::Line;
use crate::rseq::Registration;
use crate::topology::{self, Affinity};
use crate::tunables::{self, GsChoice, RseqChoice, Tunables};

/// How the main thread's registration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RseqState {
    /// Registered.
    Registered,
    /// Not tried: VCPU_RT_RSEQ=off, or the runtime has not started.
    Off,
    /// The kernel refused, see [`Registration::register`].
    Refused(Errno),
}

/// What the runtime found and chose.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// With what threads register.
    pub registration: Registration,
    /// How it went for the main thread.
    pub rseq: RseqState,
    /// The GS mode.
    pub gs: GsMode,
    /// The process's access mode, a ceiling: a thread without registration acts as in shared mode.
    pub mode: Mode,
    /// Whether the kernel offers the fence.
    pub fence: bool,
    /// Every id is below it. 0 before the start.
    pub nr_vcpus: u32,
    /// CPUs that the process may use, at start.
    pub affinity: Affinity,
    /// The areas: `nr_vcpus + 1` of them, and their stride.
    pub reservation: Reservation,
}

/// The value of [`found`] before the start, and in a process that never starts the runtime.
const NOT_STARTED: Found = Found {
    registration: Registration {
        length: 0,
        feature_size: 0,
    },
    rseq: RseqState::Off,
    gs: GsMode::Off,
    mode: Mode::Shared,
    fence: false,
    nr_vcpus: 0,
    affinity: Affinity {
        mask_bits: 0,
        allowed: 0,
        highest: 0,
    },
    reservation: Reservation::NONE,
};

/// Written once by [`start`].
struct StartCell(UnsafeCell<Found>);

// SAFETY: `start` writes it while the process has one thread; afterwards it is only read.
unsafe impl Sync for StartCell {}

static FOUND: StartCell = StartCell(UnsafeCell::new(NOT_STARTED));

// What the fast paths read, as words of their own: one load each.
// A bound is `nr_vcpus` in the mode that goes by the index, else 0, so that every index is out of
// range: before the start, and where a kernel fills mm_cid although the mode goes by cpu_id, since
// two indices for one word would lose updates.
pub(crate) static MM_CID_BOUND: AtomicU32 = AtomicU32::new(0);
pub(crate) static CPU_ID_BOUND: AtomicU32 = AtomicU32::new(0);
static STRIDE_SHIFT: AtomicU32 = AtomicU32::new(0);
static MODE: AtomicU32 = AtomicU32::new(MODE_SHARED);

/// What the runtime found and chose.
#[inline]
pub fn found() -> &'static Found {
    // SAFETY: written only by `start`, whose caller vouches that nobody reads at that time.
    unsafe { &*FOUND.0.get() }
}

/// Binary logarithm of the stride.
#[inline(always)]
pub fn stride_shift() -> u32 {
    STRIDE_SHIFT.load(Ordering::Relaxed)
}

/// The access mode as its number (`vcpu_abi::MODE_*`).
#[inline(always)]
pub fn mode() -> u32 {
    MODE.load(Ordering::Relaxed)
}

/// Registers the main thread, probes the kernel and reserves the areas.
///
/// # Safety
/// Called once, while the process has one thread. `area` is that thread's, as for
/// [`Registration::register`], and holds [`Rseq::UNREGISTERED`].
pub unsafe fn start(
    auxv: &Auxv,
    tunables: &Tunables,
    declared_minimum: u64,
    area: *mut Rseq,
) -> &'static Found {
    let registration = Registration::from_auxv(auxv);
    let rseq = match tunables.rseq {
        RseqChoice::Off => RseqState::Off,
        // SAFETY: by the caller's word.
        _ => match unsafe { registration.register(area) } {
            Ok(()) => RseqState::Registered,
            Err(errno) => RseqState::Refused(errno),
        },
    };
    let gs = match tunables.gs {
        GsChoice::Off => GsMode::Off,
        _ if tunables.rseq == RseqChoice::Off => GsMode::Off,
        _ => gs_mode::probe(),
    };
    let mode = match rseq {
        RseqState::Off | RseqState::Refused(_) => Mode::Shared,
        RseqState::Registered if registration.feature_size >= RSEQ_FEATURE_SIZE_MM_CID => {
            Mode::RseqMmCid
        }
        RseqState::Registered => Mode::RseqCpuId,
    };
    let affinity = Affinity::of_this_thread();
    let nr_vcpus = affinity.mask_bits;
    let stride = tunables::stride(tunables.stride, declared_minimum);
    let minimum = tunables::stride(Some(0), declared_minimum);
    let reservation = areas::reserve(nr_vcpus, stride, minimum);
    let found = Found {
        registration,
        rseq,
        gs,
        mode,
        fence: fence::offered(),
        nr_vcpus,
        affinity,
        reservation,
    };
    // SAFETY: one thread, and no reference from `found` lives across a start.
    unsafe { *FOUND.0.get() = found };
    match mode {
        Mode::Shared | Mode::Gs => {}
        Mode::RseqCpuId => CPU_ID_BOUND.store(nr_vcpus, Ordering::Relaxed),
        Mode::RseqMmCid => MM_CID_BOUND.store(nr_vcpus, Ordering::Relaxed),
    }
    STRIDE_SHIFT.store(reservation.stride.trailing_zeros(), Ordering::Relaxed);
    MODE.store(mode as u32, Ordering::Relaxed);
    self::found()
}

impl Found {
    /// Areas of each object: one per vCPU, and the last for threads without registration.
    pub fn nr_areas(&self) -> u32 {
        self.nr_vcpus + 1
    }

    /// The areas that can hold anything: those of ids that can occur, then the last one.
    pub fn used_areas(&self) -> impl Iterator<Item = u32> + use<> {
        let possible = topology::possible_vcpus(self.nr_vcpus, self.affinity.highest);
        (0..possible).chain(core::iter::once(self.nr_vcpus))
    }

    /// The active feature size, bytes: 0 when rseq is not registered. As glibc's `__rseq_size`.
    pub fn active_feature_size(&self) -> usize {
        if self.mode == Mode::Shared {
            0
        } else {
            self.registration.feature_size
        }
    }

    /// The active registration length, bytes: 0 when rseq is not registered.
    pub fn active_length(&self) -> usize {
        if self.mode == Mode::Shared {
            0
        } else {
            self.registration.length
        }
    }

    /// What VCPU_RT_DEBUG=1 prints.
    #[cold]
    #[inline(never)]
    pub fn describe(&self, line: &mut Line) {
        line.text("mode=").text(mode_name(self.mode)).text(" rseq=");
        match self.rseq {
            RseqState::Registered => line.text("registered"),
            RseqState::Off => line.text("off"),
            RseqState::Refused(errno) => line.text("refused, ").errno(errno),
        };
        line.text(" length=").number(self.active_length() as u64);
        line.text(" feature_size=")
            .number(self.active_feature_size() as u64);
        match self.gs {
            GsMode::Off => line.text(" gs=off"),
            GsMode::Refused(errno) => line.text(" gs=refused, ").errno(errno),
            GsMode::Offered => line.text(" gs=offered, unused"),
        };
        line.text(if self.fence {
            " fence=yes"
        } else {
            " fence=no"
        });
        line.text(" nr_vcpus=").number(u64::from(self.nr_vcpus));
        line.text(" stride=").number(self.reservation.stride);
        if self.reservation.stride != self.reservation.asked {
            line.text(" stride_asked=").number(self.reservation.asked);
        }
        if let Some(errno) = self.reservation.refused {
            line.text(" areas=refused, ").errno(errno);
        }
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
