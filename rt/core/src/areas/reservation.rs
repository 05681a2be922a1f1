// SPDX-License-Identifier: MIT OR Apache-2.0
//! What start does for the areas: it reserves the first pool, or finds out whether it could, and switches the
//! GS mode on.

use rustix::io::Errno;

use crate::areas::bound;
use crate::areas::layout::Layout;
use crate::areas::mapping::map_where_nothing_is_locked;
use crate::declared;
use crate::gs_mode::{self, GsMode};
use crate::hook::Hook;
use crate::process;
use crate::report::Line;
use crate::tunables::{self, GsChoice, Tunables};

/// Maps so many bytes and gives their address, or 0 where it only finds out whether it could.
type Map = fn(usize) -> Result<usize, Errno>;

/// What was reserved at start.
#[derive(Clone, Copy, Debug)]
pub struct Reservation {
    /// Where the first pool is; 0 where the first object brings it, and where the kernel refused even
    /// the smallest stride.
    pub(super) place: usize,
    /// Bytes between areas, a power of two.
    pub stride: u64,
    /// The stride that the tunable, the program or the default asked for.
    pub asked: u64,
    /// Why there are no areas, where there are none.
    pub refused: Option<Errno>,
}

impl Reservation {
    /// Before the start, and in a program without areas.
    pub(crate) const NONE: Self = Self {
        place: 0,
        stride: 0,
        asked: 0,
        refused: None,
    };

    /// Whether nothing was asked for.
    pub(crate) fn is_none(&self) -> bool {
        self.asked == 0
    }

    /// ENOSYS before the start; ENOMEM where the kernel refused the areas, for whatever reason.
    pub(super) fn usable(&self) -> Result<(), Errno> {
        match self.refused {
            Some(_) => Err(Errno::NOMEM),
            None if self.is_none() => Err(Errno::NOSYS),
            None => Ok(()),
        }
    }
}

/// The areas start in every program that has [`alloc`] or [`free`], which keep this.
#[unsafe(link_section = "vcpu_rt_start")]
pub(crate) static START: Hook = Hook { start, describe };

/// A program that contains a call of this has the areas.
#[inline(always)]
pub(crate) fn keep() {
    START.keep();
}

/// Finds how many vCPUs there can be, reserves the areas and switches the GS mode on where it may, if
/// that was not done. A stride that the user asked for and that does not fit the address space is
/// told on standard error.
///
/// # Safety
/// Called after [`process::start`], while the process has one thread, and no reference from
/// [`process::found`] is in use.
pub unsafe fn start(tunables: &Tunables, declared_minimum: u64) {
    // SAFETY: by the caller's word.
    unsafe {
        start_with(
            tunables,
            declared_minimum,
            usize::MAX,
            map_where_nothing_is_locked,
        )
    }
}

/// As [`start`], in a process that is somebody else's: `map` maps the first pool, or leaves that to the first
/// object, and a pool takes at most `most` bytes where the user has not asked for a stride.
///
/// # Safety
/// As for [`start`].
#[inline(always)]
pub unsafe fn start_with(tunables: &Tunables, declared_minimum: u64, most: usize, map: Map) {
    if !process::found().reservation.is_none() {
        return;
    }
    let mut declared_minimum = declared_minimum;
    let declared = declared::bytes().next_power_of_two();
    if declared > declared_minimum {
        declared_minimum = declared;
    }
    let stride = tunables::stride(tunables.stride, declared_minimum);
    let minimum = tunables::stride(Some(0), declared_minimum);
    let (affinity, covers_all) = bound::of_this_process();
    let most = match tunables.stride {
        Some(_) => usize::MAX,
        None => most,
    };
    let reservation = reserve(affinity.mask_bits, stride, minimum, most, map);
    let gs = match tunables.gs {
        GsChoice::Off => GsMode::Off,
        _ if reservation.refused.is_some() => GsMode::Off,
        _ if !covers_all => GsMode::Unbounded,
        // SAFETY: one thread, by the caller's word. The kernel told how many CPUs there can be, and
        // there are as many areas (docs/decisions/0006).
        choice => unsafe {
            gs_mode::switch_on(choice, reservation.stride, process::found().fsgsbase)
        },
    };
    // SAFETY: by the caller's word.
    unsafe {
        process::set_areas(affinity, reservation, gs);
        declared::start();
    }
    if tunables.stride.is_some() {
        tell_of_smaller_stride(&reservation);
    }
}

/// Says what was found and chosen, for VCPU_RT_DEBUG=1.
pub fn describe(line: &mut Line) {
    let found = process::found();
    let reservation = &found.reservation;
    let (gs, refused) = match found.gs {
        GsMode::Off => ("off", None),
        GsMode::On => ("on", None),
        GsMode::Unbounded => ("unbounded", None),
        GsMode::Foreign => ("foreign", None),
        GsMode::GetRefused(errno) => ("refused by PR_GET_GS_MODE", Some(errno)),
        GsMode::SetRefused(errno) => ("refused by PR_SET_GS_MODE", Some(errno)),
    };
    line.outcome(" gs=", gs, refused);
    line.field(" nr_vcpus=", u64::from(found.nr_vcpus));
    line.field(" stride=", reservation.stride);
    if reservation.stride != reservation.asked {
        line.field(" stride_asked=", reservation.asked);
    }
    if let Some(errno) = reservation.refused {
        line.outcome(" areas=", "refused", Some(errno));
    }
}

/// The stride that the user asked for could not be reserved.
fn tell_of_smaller_stride(reservation: &Reservation) {
    let mut line = Line::new();
    line.text("a stride of ")
        .number(reservation.asked)
        .text(" needs more address space than the kernel gives; ");
    if reservation.refused.is_some() {
        line.text("there are no per-vCPU areas").print();
    } else if reservation.stride < reservation.asked {
        line.number(reservation.stride).text(" is used").print();
    }
}

/// Reserves the areas of `nr_vcpus` vCPUs and the last one. A reservation that is refused (RLIMIT_AS,
/// overcommit mode 2), or larger than `most`, is tried again with half the stride, down to `minimum`.
fn reserve(nr_vcpus: u32, asked: u64, minimum: u64, most: usize, map: Map) -> Reservation {
    let mut stride = asked;
    loop {
        let layout = Layout {
            nr_areas: nr_vcpus as usize + 1,
            stride: stride as usize,
        };
        let is_least = stride / 2 < minimum;
        if layout.bytes() > most && !is_least {
            stride /= 2;
            continue;
        }
        match map(layout.bytes()) {
            Ok(place) => {
                return Reservation {
                    place,
                    stride,
                    asked,
                    refused: None,
                };
            }
            Err(_) if !is_least => stride /= 2,
            Err(errno) => {
                return Reservation {
                    place: 0,
                    stride: asked,
                    asked,
                    refused: Some(errno),
                };
            }
        }
    }
}
