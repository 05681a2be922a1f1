// SPDX-License-Identifier: MIT OR Apache-2.0
//! The start in a process of a C library: whose registration it is, and the areas. It calls nothing of
//! the C library, since it may run while the dynamic linker relocates.

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use vcpu_abi::{RSEQ_FEATURE_SIZE_ORIG, Rseq};
use vcpu_core::auxv::Auxv;
use vcpu_core::process::{self, Found, RseqState, found};
use vcpu_core::report::{self, Line};
use vcpu_core::rseq::Registration;
use vcpu_core::tunables::{self, Complaint, GsChoice, Tunables};
use vcpu_core::{Errno, arch, areas};

use crate::address_if_there;
use crate::choice::{Situation, Way, not_taken_over, ways};
use crate::environment::Environment;
use crate::gs;
use crate::limits;
use crate::symbols::RseqSymbols;

/// What `__rseq_offset` and `__rseq_size` of somebody else say.
#[derive(Clone, Copy, Debug)]
pub struct Theirs {
    /// Bytes from the thread pointer to struct rseq.
    pub offset: isize,
    /// 0: nothing is registered.
    pub size: u32,
}

impl Theirs {
    /// What everybody in the process finds under these names, if anything.
    pub fn as_everybody_finds() -> Option<Self> {
        let offset = address_if_there!("__rseq_offset");
        let size = address_if_there!("__rseq_size");
        // SAFETY: the symbols have these types, and are valid before any constructor.
        unsafe { Self::at(offset, size) }
    }

    /// # Safety
    /// Each address is 0 or of an `isize` and of a `u32`.
    pub unsafe fn at(offset: usize, size: usize) -> Option<Self> {
        if offset == 0 || size == 0 {
            return None;
        }
        // SAFETY: by the caller's word.
        Some(unsafe {
            Self {
                offset: ptr::with_exposed_provenance::<isize>(offset).read(),
                size: ptr::with_exposed_provenance::<u32>(size).read(),
            }
        })
    }

    /// The calling thread's area.
    fn area(self) -> *mut Rseq {
        let pointer = arch::thread_pointer().wrapping_add_signed(self.offset);
        ptr::with_exposed_provenance_mut(pointer)
    }

    /// Whether the calling thread is registered there.
    fn is_active(self) -> bool {
        // SAFETY: `__rseq_offset` is always valid; the kernel may write there.
        let cpu_id = unsafe { ptr::read_volatile(&raw const (*self.area()).cpu_id) };
        self.size != 0 && cpu_id.cast_signed() >= 0
    }

    /// With what the calling thread is registered, which the kernel tells by refusing the same
    /// registration once more: glibc up to 2.40 has length 32, newer ones the kernel's.
    fn registration(self, auxv: &Auxv) -> Result<Registration, Errno> {
        let ours = Registration::from_auxv(auxv);
        let mut last = Errno::INVAL;
        for length in [Registration::LEGACY.length, ours.length] {
            let feature_size = auxv.rseq_feature_size.unwrap_or(RSEQ_FEATURE_SIZE_ORIG);
            let registration = Registration {
                length,
                feature_size: feature_size.clamp(RSEQ_FEATURE_SIZE_ORIG, length),
            };
            // SAFETY: the area of a thread that says it is registered there; if it is not, this is undone.
            match unsafe { registration.register(self.area()) } {
                Err(Errno::BUSY) => return Ok(registration),
                Err(errno) => last = errno,
                Ok(()) => {
                    // SAFETY: registered just now. No handler of ours runs yet.
                    let _as_before = unsafe { registration.unregister(self.area()) };
                    return Err(Errno::INVAL);
                }
            }
        }
        Err(last)
    }
}

/// Says with which registration an area of our own would be registered.
fn try_own(auxv: &Auxv) -> Result<Registration, Errno> {
    /// An area that is registered for a moment: thread-local storage may be written once more.
    #[repr(align(64))]
    struct Scratch(UnsafeCell<Rseq>);
    // SAFETY: used by the start alone.
    unsafe impl Sync for Scratch {}
    static SCRATCH: Scratch = Scratch(UnsafeCell::new(Rseq::UNREGISTERED));

    let registration = Registration::from_auxv(auxv);
    let area = SCRATCH.0.get();
    // SAFETY: large and aligned enough for what `from_auxv` gives; unregistered before anybody else
    // could use it.
    unsafe {
        registration.register(area)?;
        registration.unregister(area)?;
    }
    Ok(registration)
}

/// Undoes their registration for ours, or leaves it as it was.
fn try_take_over(theirs: Theirs, auxv: &Auxv) -> Result<Registration, Errno> {
    let before = theirs.registration(auxv)?;
    // SAFETY: registered with this length. No handler of ours runs yet; theirs do not use mm_cid.
    unsafe { before.unregister(theirs.area())? };
    try_own(auxv).inspect_err(|_| {
        // SAFETY: as it was registered before.
        let _was_allowed_before = unsafe { before.register(theirs.area()) };
    })
}

/// What came of the choice.
struct Registered {
    registration: Registration,
    state: RseqState,
    /// Bytes from the thread pointer to struct rseq.
    offset: isize,
    /// Why theirs was not taken over, where that was asked for.
    not_taken_over: Option<(&'static str, Option<Errno>)>,
}

fn register(
    tunables: &Tunables,
    auxv: &Auxv,
    theirs: Option<Theirs>,
    situation: Situation,
) -> Registered {
    let is_active = theirs.is_some_and(Theirs::is_active);
    let situation = Situation {
        is_active,
        ..situation
    };
    let own_offset = arch::words_offset();
    let why = not_taken_over(tunables.rseq, situation);
    let mut registered = Registered {
        registration: Registration::from_auxv(auxv),
        state: match tunables.rseq {
            tunables::RseqChoice::Off => RseqState::Off,
            _ => RseqState::Absent,
        },
        // Whoever looks finds an area that says "not registered", or what is true of it.
        offset: theirs.map_or(own_offset, |theirs| theirs.offset),
        not_taken_over: why.map(|why| (why, None)),
    };
    for way in ways(tunables.rseq, situation) {
        let (result, reached, offset) = match (way, theirs) {
            (Way::Own, _) => (try_own(auxv), RseqState::Registered, own_offset),
            (Way::Adopt, Some(theirs)) => {
                let registration = theirs.registration(auxv);
                (registration, RseqState::Adopted, theirs.offset)
            }
            (Way::TakeOver, Some(theirs)) => {
                let registration = try_take_over(theirs, auxv);
                (registration, RseqState::TakenOver, own_offset)
            }
            (Way::Adopt | Way::TakeOver, None) => continue,
        };
        match result {
            Ok(registration) => {
                registered.registration = registration;
                registered.state = reached;
                registered.offset = offset;
                break;
            }
            Err(errno) => {
                registered.state = RseqState::Refused(errno);
                if *way == Way::TakeOver {
                    registered.not_taken_over = Some(("refused", Some(errno)));
                }
            }
        }
    }
    registered
}

// In .data although it is zero, beside what else the start writes.
#[unsafe(link_section = ".data.vcpu_rt")]
static STARTED: AtomicBool = AtomicBool::new(false);

/// Whether [`start`] has run.
pub fn is_started() -> bool {
    STARTED.load(Ordering::Acquire)
}

/// Whether threads are registered by the runtime.
pub fn is_owner() -> bool {
    matches!(found().rseq, RseqState::Registered | RseqState::TakenOver)
}

/// Everything but the main thread's own registration and the symbols. It returns what `__rseq_*` are to be:
/// where the registration is the C library's, or nobody's, what they are without us.
///
/// # Safety
/// Called once, at load, while nobody else uses the runtime.
pub unsafe fn start(
    environment: &Environment,
    theirs: Option<Theirs>,
    situation: Situation,
) -> RseqSymbols {
    let auxv = &environment.auxv;
    let mut tunables = tunables::parse(environment.tunables(), |_| {});
    if !tunables.debug {
        report::be_quiet();
    }
    if tunables.debug {
        tunables::parse(environment.tunables(), complain);
    }
    // Whoever sets GS for itself later (Wine) must not find it taken: it is asked for.
    // Before the first code of the program there is one thread.
    if tunables.gs == GsChoice::On && !situation.comes_first && !gs::is_alone() {
        Line::new()
            .text("VCPU_RT_GS=on comes too late: there are other threads")
            .print();
        tunables.gs = GsChoice::Off;
    }
    if tunables.gs == GsChoice::Auto {
        tunables.gs = GsChoice::Off;
    }
    if situation.can_be_unloaded {
        Line::new()
            .text("no rseq: the object with the runtime can be unloaded, dlopen refused RTLD_NODELETE")
            .print();
    }
    let map = if situation.comes_first {
        areas::try_where_nothing_is_locked
    } else {
        areas::try_map
    };
    let registered = register(&tunables, auxv, theirs, situation);
    // SAFETY: by the caller's word.
    unsafe {
        process::settle_hosted(
            registered.registration,
            registered.state,
            registered.offset,
            auxv.fsgsbase,
        );
        areas::start_with(&tunables, 0, limits::pool_bytes(), map);
    }
    if tunables.debug {
        describe(found(), registered.not_taken_over);
    }
    STARTED.store(true, Ordering::Release);
    let size = if is_owner() {
        found().active_feature_size() as u32
    } else {
        theirs.map_or(0, |theirs| theirs.size)
    };
    RseqSymbols {
        offset: registered.offset,
        size,
        flags: 0,
    }
}

/// A tunable with a value that is not allowed.
#[cold]
fn complain(complaint: Complaint<'_>) {
    report::complaint(&complaint).print();
}

#[cold]
fn describe(found: &Found, not_taken_over: Option<(&str, Option<Errno>)>) {
    let mut line = Line::new();
    found.describe(&mut line);
    if let Some((why, errno)) = not_taken_over {
        line.outcome(" own=", why, errno);
    }
    areas::describe(&mut line);
    line.print();
}
