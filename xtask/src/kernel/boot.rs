// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask kernel boot`: any static program as the first process of a machine.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endian, Endianness};
use vcpu_tests::initramfs::Initramfs;

use super::build::{Kernel, build};
use super::console::{self, Verdict};
use super::machine::{End, Machine};
use super::version::Selection;

/// What is booted and on what.
#[derive(Args)]
pub struct Arguments {
    /// The program: a static x86-64 executable
    #[arg(long, value_name = "FILE")]
    init: PathBuf,
    #[command(flatten)]
    machine: Machine,
}

/// What a boot came to.
pub struct Boot {
    /// All that the console showed.
    pub console: String,
    /// The guest's status, or why there is none.
    pub status: Result<u8>,
}

/// Boots the program; its exit status is ours.
pub fn run(selection: &Selection, arguments: &Arguments) -> Result<ExitCode> {
    let path = &arguments.init;
    let program = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure_static(&program).with_context(|| format!("{} cannot be /init", path.display()))?;
    let kernel = build(selection)?;
    let archive = root_file_system().executable("init", &program).finish();
    let boot = boot(&kernel, &arguments.machine, &archive)?;
    Ok(ExitCode::from(boot.status?))
}

/// The directories that a first process mounts things on, and the console that it writes to.
pub fn root_file_system() -> Initramfs {
    let directories = ["dev", "proc", "sys", "tmp"];
    directories
        .iter()
        .fold(Initramfs::default(), |archive, name| {
            archive.directory(name)
        })
        .device("dev/console", 5, 1)
}

/// How often a machine is booted at most, when it has accidents.
const ATTEMPTS: u32 = 3;

/// Boots a kernel with an initramfs; the console goes to stdout as it comes. A boot with an accident,
/// which any kernel can have in the emulator, is repeated.
pub fn boot(kernel: &Kernel, machine: &Machine, initramfs: &[u8]) -> Result<Boot> {
    for _ in 1..ATTEMPTS {
        let boot = boot_once(kernel, machine, initramfs)?;
        let Some(accident) = console::accident(&boot.console) else {
            return Ok(boot);
        };
        println!("\n{accident}; booting again");
    }
    boot_once(kernel, machine, initramfs)
}

fn boot_once(kernel: &Kernel, machine: &Machine, initramfs: &[u8]) -> Result<Boot> {
    let mut seen = Vec::new();
    let mut stdout = io::stdout().lock();
    let end = machine.run(&kernel.image(), initramfs, |bytes| {
        seen.extend_from_slice(bytes);
        stdout.write_all(bytes)?;
        stdout.flush()
    })?;
    let console = String::from_utf8_lossy(&seen).into_owned();
    let status = status(&console, &end);
    Ok(Boot { console, status })
}

fn status(console: &str, end: &End) -> Result<u8> {
    let failed = match (console::verdict(console), end) {
        (_, End::Killed(limit)) => format!("the guest was killed: {limit}"),
        (_, End::Failed(status)) => format!("QEMU failed: {status}"),
        (Verdict::Panic(reason), End::Off) => format!("the guest's kernel panicked: {reason}"),
        (Verdict::Nothing, End::Off) => {
            "the guest ended without a power-off or an exit status".into()
        }
        (Verdict::Status(status), End::Off) => return Ok(status),
    };
    bail!(
        "{failed}; the end of its console:\n{}",
        console::tail(console)
    );
}

/// Fails, with the reason, unless a program can be the first process of a machine without any
/// other file.
fn ensure_static(program: &[u8]) -> Result<()> {
    let Ok(file) = ElfFile64::<Endianness>::parse(program) else {
        bail!("it is not a 64-bit ELF file");
    };
    let header = file.elf_header();
    let endian = header.endian()?;
    let kind = header.e_type(endian);
    ensure!(
        header.e_machine(endian) == elf::EM_X86_64 && endian.is_little_endian(),
        "it is not for x86-64"
    );
    ensure!(
        matches!(kind, elf::ET_EXEC | elf::ET_DYN),
        "it is no executable"
    );
    let mut headers = file.elf_program_headers().iter();
    ensure!(
        !headers.any(|header| header.p_type(endian) == elf::PT_INTERP),
        "it is linked dynamically: it asks for an interpreter"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{End, ensure_static, status};

    #[test]
    fn dynamic_programs_and_other_files_are_refused() {
        let this = std::fs::read("/proc/self/exe").unwrap();
        let error = ensure_static(&this).unwrap_err().to_string();
        assert!(error.contains("dynamically"), "{error}");
        let error = ensure_static(b"#!/bin/sh\n").unwrap_err().to_string();
        assert!(error.contains("ELF"), "{error}");
    }

    #[test]
    fn an_error_has_its_reason_and_the_tail() {
        let killed = End::Killed("it ran longer than 3 s".into());
        let error = status("guest: exit status 0\n", &killed)
            .unwrap_err()
            .to_string();
        assert!(error.contains("longer than 3 s"), "{error}");
        assert!(error.ends_with("guest: exit status 0"), "{error}");
        assert_eq!(status("guest: exit status 3\n", &End::Off).unwrap(), 3);
    }
}
