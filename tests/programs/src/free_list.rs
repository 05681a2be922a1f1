// SPDX-License-Identifier: MIT OR Apache-2.0
//! A worked example of a critical section of one's own, shown in docs/critical-sections.md.
// example: free_list

use core::ptr::{NonNull, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicU64, Ordering};

use vcpu_rt::rseq::MM_CID;
use vcpu_rt::{Local, Parts, Refused, Section, critical_section};

/// The head of a list: an address in the lower 48 bits, and above it the number of changes so far, so
/// that who reads it from outside sees that it changed, even back to the same address.
pub type Head = Section<u64>;

const ADDRESS: u64 = (1 << 48) - 1;
const CHANGE: u64 = 1 << 48;

/// What is in a list begins with the address of the next one, or 0.
#[repr(C)]
#[derive(Default)]
pub struct Node {
    next: AtomicU64,
}

impl Node {
    /// In no list.
    pub const fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
        }
    }
}

/// Puts a node, which is in no list, on the list of this thread's vCPU. This needs no section of one's
/// own: between the load and the commit the head may change as it likes.
pub fn push(list: &Local<Head>, node: &'static Node) -> Result<(), Refused> {
    let address = (&raw const *node).expose_provenance() as u64;
    loop {
        let head = list.load();
        node.next.store(head & ADDRESS, Ordering::Relaxed);
        let new = address | (head & !ADDRESS).wrapping_add(CHANGE);
        match list.compare_equal_store(head, new) {
            Err(Refused::Different) => {}
            done => return done,
        }
    }
}

/// Takes a node from the list of this thread's vCPU; `Ok(None)` where that is empty.
pub fn pop(list: &Local<Head>) -> Result<Option<&'static Node>, Refused> {
    let address = list.in_section(pop_once, pop_alone)?;
    // SAFETY: `push` put the addresses of nodes there that live for ever.
    Ok(unsafe { with_exposed_provenance_mut::<Node>(address as usize).as_ref() })
}

/// One try: what was the first node, or 0. Nobody else takes it between the two loads: who runs on
/// this vCPU after us aborts us first. Stable Rust has no label operands beside outputs, so `end`
/// tells how the section ended; what comes behind the first jump of `abort` is reached by jumps from
/// the section.
fn pop_once(list: Parts<Head>) -> Option<u64> {
    let (address, end): (u64, u32);
    // SAFETY: it touches the copy of the vCPU that it runs on, and reads a node that `push` put there,
    // which lives for ever. The commit is the store to the head.
    unsafe {
        critical_section!(
            code: [
                "mov {head:e}, fs:[{mm_cid}]",
                "cmp {head:e}, {bound:e}",
                "jae 2f",
                "imul {head}, {stride}",
                "add {head}, {first}",
                "mov {new}, [{head}]",
                "mov {address}, {new}",
                "shl {address}, 16",
                "shr {address}, 16",
                "jz 3f",
                "shr {new}, 48",
                "inc {new}",
                "shl {new}, 48",
                "or {new}, [{address}]",
            ],
            commit: "mov [{head}], {new}",
            abort: ["2:", "mov {end:e}, 1", "3:", "jmp 772b"],
            head = out(reg) _,
            new = out(reg) _,
            address = out(reg) address,
            end = inout(reg) 0_u32 => end,
            mm_cid = const MM_CID,
            first = in(reg) list.first.as_ptr(),
            bound = in(reg) list.bound,
            stride = in(reg) list.stride,
        )
    }
    (end == 0).then_some(address)
}

/// The same on a shared area. The lock keeps other pops away; `push` does not take it, so the head is
/// exchanged only if it is as it was.
fn pop_alone(list: NonNull<Head>) -> u64 {
    // SAFETY: the copy is inside a live object.
    let head = unsafe { AtomicU64::from_ptr(list.cast().as_ptr()) };
    loop {
        let seen = head.load(Ordering::Acquire);
        let node = with_exposed_provenance_mut::<Node>((seen & ADDRESS) as usize);
        // SAFETY: null, or a node that lives for ever.
        let Some(node) = (unsafe { node.as_ref() }) else {
            return 0;
        };
        let next = node.next.load(Ordering::Relaxed);
        let new = next | (seen & !ADDRESS).wrapping_add(CHANGE);
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        if head.compare_exchange(seen, new, success, failure).is_ok() {
            return seen & ADDRESS;
        }
    }
}
// end

/// The nodes of one area's list. Nobody changes it meanwhile.
pub fn nodes(list: &Local<Head>, area: u32) -> impl Iterator<Item = &'static Node> {
    let head = list.read(area).unwrap_or(0) & ADDRESS;
    let node = |address: u64| {
        // SAFETY: 0, or the address of a node that lives for ever.
        unsafe { with_exposed_provenance_mut::<Node>(address as usize).as_ref() }
    };
    let next = move |of: &&'static Node| node(of.next.load(Ordering::Relaxed));
    core::iter::successors(node(head), next)
}
