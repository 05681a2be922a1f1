// SPDX-License-Identifier: MIT OR Apache-2.0
//! A 32-bit program, a few instructions long: an ELF image of one segment.
//!
//! Its exit status is 0, or tells the first thing that was not as it must be: 11, 12: GET, SET by
//! the 32-bit entry is not EOPNOTSUPP; 13: set_thread_area; 14, 15: `%gs` does not reach what the
//! program's descriptor says after sched_yield, nanosleep; 16, 17: GET, SET by the 64-bit entry,
//! from a 64-bit code segment, is not EOPNOTSUPP.

use core::arch::global_asm;

use vcpu_abi::{PR_GET_GS_MODE, PR_SET_GS_MODE};

/// Where the program is loaded.
const ADDRESS: u32 = 0x0804_8000;
/// Bytes of the ELF header and one program header.
const HEADERS: u32 = 52 + 32;

global_asm!(
    ".pushsection .rodata.vcpu_guest_compat, \"a\"",
    ".code32",
    "vcpu_guest_compat_start:",
    "sub esp, 64",
    "xor esi, esi",
    "xor edi, edi",
    // prctl(PR_GET_GS_MODE, esp, 16, 0, 0)
    "mov eax, 172",
    "mov ebx, {get}",
    "mov ecx, esp",
    "mov edx, 16",
    "int 0x80",
    "cmp eax, -95",
    "mov ebx, 11",
    "jne 9f",
    // prctl(PR_SET_GS_MODE, {{MM_VCPU, 0, 4096}}, 16, 0, 0)
    "mov dword ptr [esp], 1",
    "mov dword ptr [esp + 4], 0",
    "mov dword ptr [esp + 8], 4096",
    "mov dword ptr [esp + 12], 0",
    "mov eax, 172",
    "mov ebx, {set}",
    "int 0x80",
    "cmp eax, -95",
    "mov ebx, 12",
    "jne 9f",
    // set_thread_area({{-1, &word, 0xfffff, seg_32bit | limit_in_pages | useable}})
    // The call leaves the address of the word behind it.
    "call 2f",
    ".long 0x5ca1ab1e",
    "2:",
    "pop ebp",
    "mov dword ptr [esp], -1",
    "mov [esp + 4], ebp",
    "mov dword ptr [esp + 8], 0xfffff",
    "mov dword ptr [esp + 12], 0x51",
    "mov eax, 243",
    "mov ebx, esp",
    "int 0x80",
    "test eax, eax",
    "mov ebx, 13",
    "jne 9f",
    // The selector of the entry that the kernel chose, ring 3.
    "mov eax, [esp]",
    "lea eax, [eax * 8 + 3]",
    "mov gs, ax",
    // 200 times sched_yield()
    "mov ebp, 200",
    "3:",
    "mov eax, 158",
    "int 0x80",
    "cmp dword ptr gs:[0], 0x5ca1ab1e",
    "mov ebx, 14",
    "jne 9f",
    "dec ebp",
    "jnz 3b",
    // nanosleep({{0, 1000000}}, NULL)
    "mov dword ptr [esp], 0",
    "mov dword ptr [esp + 4], 1000000",
    "mov eax, 162",
    "mov ebx, esp",
    "xor ecx, ecx",
    "int 0x80",
    "cmp dword ptr gs:[0], 0x5ca1ab1e",
    "mov ebx, 15",
    "jne 9f",
    // On in the 64-bit code segment, by a far jump: a far return would do on processors, but QEMU
    // reads its stack as the kernel, which SMAP forbids.
    ".byte 0xea",
    ".long 5f - vcpu_guest_compat_start + {address}",
    ".short 0x33",
    // exit_group(ebx)
    "9:",
    "mov eax, 252",
    "int 0x80",
    "ud2",
    ".code64",
    "5:",
    "mov eax, 157",
    "mov edi, {get}",
    "mov esi, esp",
    "mov edx, 16",
    "xor r10d, r10d",
    "xor r8d, r8d",
    "syscall",
    "cmp rax, -95",
    "mov edi, 16",
    "jne 6f",
    "mov dword ptr [rsp], 1",
    "mov dword ptr [rsp + 4], 0",
    "mov dword ptr [rsp + 8], 4096",
    "mov dword ptr [rsp + 12], 0",
    "mov eax, 157",
    "mov edi, {set}",
    "syscall",
    "cmp rax, -95",
    "mov edi, 17",
    "jne 6f",
    "xor edi, edi",
    "6:",
    "mov eax, 231",
    "syscall",
    "ud2",
    "vcpu_guest_compat_end:",
    ".popsection",
    get = const PR_GET_GS_MODE,
    set = const PR_SET_GS_MODE,
    address = const ADDRESS + HEADERS,
);

unsafe extern "C" {
    // The program's bytes, from the first symbol to the second.
    safe static vcpu_guest_compat_start: [u8; 0];
    safe static vcpu_guest_compat_end: [u8; 0];
}

fn code() -> &'static [u8] {
    let start = vcpu_guest_compat_start.as_ptr();
    let length = vcpu_guest_compat_end.as_ptr().addr() - start.addr();
    let start = core::ptr::with_exposed_provenance(start.expose_provenance());
    // SAFETY: constant bytes between two symbols of one section.
    unsafe { core::slice::from_raw_parts(start, length) }
}

/// Writes the image and returns its length: a header, one program header, the code behind them,
/// all of it one segment that may be read and executed.
pub fn image(place: &mut [u8]) -> usize {
    let code = code();
    let length = HEADERS as usize + code.len();
    place[..8].copy_from_slice(b"\x7fELF\x01\x01\x01\0");
    // Type EXEC, machine 386; version, entry, offsets, flags; header sizes and counts.
    let halves = |low: u32, high: u32| low | high << 16;
    let segment = [
        1,
        0,
        ADDRESS,
        ADDRESS,
        length as u32,
        length as u32,
        5,
        4096,
    ];
    let header = [
        halves(2, 3),
        1,
        ADDRESS + HEADERS,
        52,
        0,
        0,
        halves(52, 32),
        halves(1, 0),
        halves(0, 0),
    ];
    for (word, value) in place[16..]
        .chunks_exact_mut(4)
        .zip(header.into_iter().chain(segment))
    {
        word.copy_from_slice(&value.to_le_bytes());
    }
    place[HEADERS as usize..length].copy_from_slice(code);
    length
}
