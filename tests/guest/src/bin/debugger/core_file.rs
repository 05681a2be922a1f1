// SPDX-License-Identifier: MIT OR Apache-2.0
//! A core file has the base in each thread's general registers (NT_PRSTATUS).

use core::sync::atomic::Ordering;

use elf::ElfBytes;
use elf::abi::PT_NOTE;
use elf::endian::NativeEndian;
use elf::note::Note;
use linux_raw_sys::general::SIGILL;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};
use vcpu_guest_programs::base::observe_whole;
use vcpu_guest_programs::check::skip;
use vcpu_guest_programs::gs::turn_on;
use vcpu_guest_programs::process::{fork, wait_for};
use vcpu_guest_programs::ptrace::register;
use vcpu_guest_programs::{check_eq, file, memory};
use vcpu_rt::println;

use super::{STRIDE, Told, check_found, check_possible, in_company, move_on};

const PATTERN: &str = "/proc/sys/kernel/core_pattern";
const PATH: &str = "/tmp/core";
/// `NT_PRSTATUS` (`include/uapi/linux/elf.h`).
const NT_PRSTATUS: u32 = 1;
/// Where `struct elf_prstatus` (`include/linux/elfcore.h`) has the registers.
const REGISTERS: usize = 112;
/// A core begins with its headers and notes; memory follows.
const START_BYTES: usize = 512 << 10;
const CRASHES: u32 = 10;

pub fn bases() {
    match file::put(PATTERN, PATH) {
        Ok(()) => {}
        Err(Errno::NOENT) => skip("this kernel has no COREDUMP"),
        Err(errno) => panic!("{PATTERN}: {errno:?}"),
    }
    // SAFETY: atomics.
    let told: &Told = unsafe { memory::shared() };
    let (mut exact, mut not_zero) = (0, 0);
    for turn in 0..CRASHES {
        let child = fork(|| crash(told, turn as usize));
        let end = wait_for(child).terminating_signal();
        check_eq!(
            end,
            Some(SIGILL.cast_signed()),
            "the signal that ended the child"
        );
        let base = crashed_base();
        exact += u32::from(base == told.base.load(Ordering::Acquire));
        not_zero += u32::from(base != 0);
    }
    println!("cores={CRASHES}, base as the thread saw it={exact}, not zero={not_zero}");
    check_found(exact, not_zero);
}

fn crash(told: &Told, turn: usize) -> i32 {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    setrlimit(Resource::Core, unlimited).expect("the first process may");
    turn_on(STRIDE);
    in_company(told, || {
        move_on(turn);
        for _ in 0..100 {
            told.base.store(observe_whole().base, Ordering::Release);
        }
        // SAFETY: the end that is asked for.
        unsafe { core::arch::asm!("ud2") };
    });
    0
}

/// The base of the thread that crashed, which comes first, after a look at those of all.
fn crashed_base() -> u64 {
    let mut start = [0_u8; START_BYTES];
    let data = file::read_into(PATH, &mut start);
    let data = data.unwrap_or_else(|errno| panic!("{PATH}: {errno:?}"));
    let core = ElfBytes::<NativeEndian>::minimal_parse(data).expect("a core is an ELF file");
    let segments = core.segments().expect("a core has segments");
    let mut first = None;
    let mut threads = 0;
    for segment in segments.iter().filter(|segment| segment.p_type == PT_NOTE) {
        let notes = core.segment_data_as_notes(&segment);
        for note in notes.expect("notes are in the file") {
            let Note::Unknown(note) = note else { continue };
            if note.name != b"CORE\0" || note.n_type != u64::from(NT_PRSTATUS) {
                continue;
            }
            let place = REGISTERS + register::GS_BASE * 8;
            let base = note.desc.get(place..place + 8);
            let base = base.and_then(|bytes| bytes.try_into().ok());
            let base = u64::from_le_bytes(base.expect("the note has all registers"));
            check_possible(base, "gs_base of a thread in a core");
            threads += 1;
            first.get_or_insert(base);
        }
    }
    check_eq!(threads > 1, true, "the core has notes of several threads");
    first.expect("there was one")
}
