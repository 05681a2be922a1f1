// SPDX-License-Identifier: MIT OR Apache-2.0
//! SET while other threads are inside KVM_RUN: between the runs of a virtual CPU the processor keeps
//! the guest's value where the kernel keeps the user's GS base, so an interrupt must not touch it.
//! Each thread runs a guest that checks its own value. `kvm set THREADS CHANGES`, and, to see what
//! interrupts alone do, `kvm membarrier THREADS TIMES`: the mode stays off, and any kernel can do it.
#![no_std]
#![no_main]

use core::mem::zeroed;
use core::ptr::{null_mut, with_exposed_provenance, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use linux_raw_sys::general::membarrier_cmd::{
    self, MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
};
use linux_raw_sys::general::{__NR_ioctl, __NR_membarrier};
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use vcpu_guest_programs::arguments::{number, word};
use vcpu_guest_programs::base::prepare;
use vcpu_guest_programs::check::skip;
use vcpu_guest_programs::generations::Generations;
use vcpu_guest_programs::gs::{PAGE, begin};
use vcpu_guest_programs::syscall::syscall;
use vcpu_guest_programs::{check_eq, memory};
use vcpu_rt::{println, thread};

vcpu_rt::entry!(main);

/// `_IO(KVMIO, n)` and its kin (`include/uapi/linux/kvm.h`).
const KVM_CREATE_VM: u32 = 0xae01;
const KVM_GET_VCPU_MMAP_SIZE: u32 = 0xae04;
const KVM_CREATE_VCPU: u32 = 0xae41;
const KVM_SET_USER_MEMORY_REGION: u32 = 0x4020_ae46;
const KVM_RUN: u32 = 0xae80;
const KVM_GET_REGS: u32 = 0x8090_ae81;
const KVM_SET_REGS: u32 = 0x4090_ae82;
const KVM_GET_SREGS: u32 = 0x8138_ae83;
const KVM_SET_SREGS: u32 = 0x4138_ae84;

/// `struct kvm_run`: the exit reason at offset 8, and at 32 what belongs to it. Of an internal error
/// that is its kind.
const EXIT_REASON: usize = 8;
const EXIT_DETAIL: usize = 32;
const EXIT_IO: u32 = 2;
/// Words of `struct kvm_regs`: rax first, rip the 17th, rflags the last; of `struct kvm_sregs`,
/// which begins with cs: base and, at byte 12, the selector.
const REGISTERS: usize = 18;
const RIP: usize = 16;
const RFLAGS: usize = 17;
const SEGMENT_REGISTERS: usize = 0x138 / 8;

/// The guest, in real mode: writes its value to MSR_KERNEL_GS_BASE (0xc0000102), and again and again
/// reads it back. `out 0x10` says that it is still there, `out 0x11` that it is not.
const GUEST: [u8; 41] = [
    0x66, 0xb9, 0x02, 0x01, 0x00, 0xc0, // mov ecx, 0xc0000102
    0x66, 0xb8, 0x00, 0x50, 0x34, 0x12, // mov eax, 0x12345000
    0x66, 0x31, 0xd2, // xor edx, edx
    0x0f, 0x30, // wrmsr
    // 17: the loop
    0xbb, 0x00, 0x04, // mov bx, 1024
    // 20:
    0x0f, 0x32, // rdmsr
    0x66, 0x3d, 0x00, 0x50, 0x34, 0x12, // cmp eax, 0x12345000
    0x75, 0x07, // jne 37
    0x4b, // dec bx
    0x75, 0xf3, // jnz 20
    0xe6, 0x10, // out 0x10, al
    0xeb, 0xec, // jmp 17
    // 37:
    0xe6, 0x11, // out 0x11, al
    0xeb, 0xfc, // jmp 37
];

fn ioctl(file: &OwnedFd, request: u32, argument: usize) -> Result<usize, Errno> {
    // SAFETY: the callers pass what the request asks for.
    unsafe {
        syscall(
            __NR_ioctl,
            [file.as_raw_fd() as usize, request as usize, argument],
        )
    }
}

fn ioctl_file(file: &OwnedFd, request: u32) -> OwnedFd {
    let descriptor = ioctl(file, request, 0);
    let descriptor = descriptor.unwrap_or_else(|errno| panic!("ioctl {request:#x}: {errno:?}"));
    // SAFETY: a new descriptor, which nobody else has.
    unsafe { OwnedFd::from_raw_fd(descriptor as i32) }
}

/// A virtual machine of one CPU and one page of memory.
struct Guest {
    cpu: OwnedFd,
    /// `struct kvm_run`.
    run: usize,
    _machine: OwnedFd,
}

impl Guest {
    fn new(kvm: &OwnedFd) -> Self {
        let machine = ioctl_file(kvm, KVM_CREATE_VM);
        let memory = memory::map(PAGE);
        // SAFETY: a fresh page.
        unsafe { with_exposed_provenance_mut::<[u8; GUEST.len()]>(memory).write(GUEST) };
        // struct kvm_userspace_memory_region: slot and flags, guest address, size, user address.
        let region = [0, 0x1000, PAGE, memory];
        let place = (&raw const region).expose_provenance();
        let answer = ioctl(&machine, KVM_SET_USER_MEMORY_REGION, place);
        check_eq!(answer, Ok(0), "KVM_SET_USER_MEMORY_REGION");
        let cpu = ioctl_file(&machine, KVM_CREATE_VCPU);
        let length = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0).expect("KVM_GET_VCPU_MMAP_SIZE");
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping.
        let run = unsafe {
            mmap(
                null_mut(),
                length,
                protection,
                MapFlags::SHARED,
                cpu.as_fd(),
                0,
            )
        };
        let guest = Self {
            cpu,
            run: run.expect("mmap of the virtual CPU").expose_provenance(),
            _machine: machine,
        };
        guest.start_at(0x1000);
        guest
    }

    fn start_at(&self, address: u64) {
        // SAFETY: numbers.
        let mut segments: [u64; SEGMENT_REGISTERS] = unsafe { zeroed() };
        let place = (&raw mut segments).expose_provenance();
        check_eq!(
            ioctl(&self.cpu, KVM_GET_SREGS, place),
            Ok(0),
            "KVM_GET_SREGS"
        );
        // cs: base 0, and of the second word only the limit stays; the selector is its upper half.
        segments[0] = 0;
        segments[1] &= !(0xffff << 32);
        let place = (&raw const segments).expose_provenance();
        check_eq!(
            ioctl(&self.cpu, KVM_SET_SREGS, place),
            Ok(0),
            "KVM_SET_SREGS"
        );
        let mut registers = [0_u64; REGISTERS];
        registers[RIP] = address;
        registers[RFLAGS] = 2;
        let place = (&raw const registers).expose_provenance();
        check_eq!(ioctl(&self.cpu, KVM_SET_REGS, place), Ok(0), "KVM_SET_REGS");
    }

    /// A word of `struct kvm_run`.
    fn word(&self, offset: usize) -> u32 {
        let word = with_exposed_provenance::<u32>(self.run + offset);
        // SAFETY: inside the mapping, written by the kernel before KVM_RUN returned.
        unsafe { word.read_volatile() }
    }

    /// Runs until the guest says something.
    fn run(&self) {
        match ioctl(&self.cpu, KVM_RUN, 0) {
            Ok(_) => {}
            Err(Errno::INTR) => return,
            Err(errno) => panic!("KVM_RUN: {errno:?}"),
        }
        let mut registers = [0_u64; REGISTERS];
        let place = (&raw mut registers).expose_provenance();
        check_eq!(ioctl(&self.cpu, KVM_GET_REGS, place), Ok(0), "KVM_GET_REGS");
        check_eq!(
            self.word(EXIT_REASON),
            EXIT_IO,
            "why KVM_RUN returned, detail {:#x}, rip {:#x}",
            self.word(EXIT_DETAIL),
            registers[RIP]
        );
        // The guest's loop has its `out` at 33, the other one is at 37.
        let found = registers[RIP] < 0x1000 + 37;
        let value = registers[0];
        check_eq!(
            found,
            true,
            "the guest's MSR_KERNEL_GS_BASE, which is {value:#x}, stays"
        );
    }
}

fn membarrier(command: membarrier_cmd) {
    // SAFETY: integers only.
    let answer = unsafe { syscall(__NR_membarrier, [command as usize, 0, 0]) };
    check_eq!(answer, Ok(0), "membarrier");
}

fn main() {
    let by_set = match word(1) {
        "set" => true,
        "membarrier" => false,
        other => panic!("what is {other}?"),
    };
    let (threads, changes) = (number(2), number(3));
    if by_set {
        begin();
    } else {
        membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    }
    prepare();
    let kvm = match open("/dev/kvm", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(kvm) => kvm,
        Err(errno) => skip(format_args!("no /dev/kvm: {errno:?}")),
    };
    let generations = Generations::new();
    let stop = AtomicBool::new(false);
    let runs = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            let work = || {
                let guest = Guest::new(&kvm);
                while !stop.load(Ordering::Acquire) {
                    guest.run();
                    generations.observe();
                    runs.fetch_add(1, Ordering::Relaxed);
                }
            };
            scope.spawn(work).expect("a thread");
        }
        for _ in 0..changes {
            if by_set {
                generations.advance();
            } else {
                membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
            }
            thread::sleep(Duration::from_micros(500));
        }
        while runs.load(Ordering::Acquire) < threads as u64 * 10 {
            thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Release);
    });
    println!("runs={} changes={changes}", runs.into_inner());
}
