// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's Linux 6.1, the last longterm kernel without AT_RSEQ_FEATURE_SIZE, and QEMU to run it.
//!
//! The image is taken from the package without installing it and kept in the user's cache.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::run::{Outcome, Run};

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// A kernel image that QEMU can boot.
#[derive(Clone)]
pub struct OldKernel {
    image: PathBuf,
}

impl OldKernel {
    /// The kernel from the cache, or from Debian's archive; the error is the reason to skip.
    pub fn find() -> Result<Self, String> {
        if !Path::new(QEMU).exists() {
            return Err(format!("{QEMU} is not installed"));
        }
        let cache = cache_directory()?;
        let image = cache.join("vmlinuz-6.1-amd64");
        if !image.exists() {
            fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
            fetch(&cache, &image)?;
        }
        Ok(Self { image })
    }

    /// Boots the kernel with this initramfs and returns when the machine is off, or the time
    /// limit has passed. Always emulated: the point is the kernel, not the processor.
    pub fn boot(&self, initramfs: &Path, timeout: Duration) -> Outcome {
        Run::new(QEMU)
            .arg("-nodefaults")
            .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "512"])
            .args(["-display", "none", "-serial", "stdio", "-no-reboot"])
            .args(["-append", "console=ttyS0 quiet panic=-1"])
            .arg("-kernel")
            .arg(&self.image)
            .arg("-initrd")
            .arg(initramfs)
            .timeout(timeout)
            .run()
    }
}

fn cache_directory() -> Result<PathBuf, String> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(home)
        .map(|cache| cache.join("vcpu-rt"))
        .ok_or_else(|| "neither XDG_CACHE_HOME nor HOME is set".into())
}

/// Takes the image out of the package that `linux-image-amd64` depends on.
fn fetch(cache: &Path, image: &Path) -> Result<(), String> {
    let dependencies = output(Command::new("apt-cache").args(["depends", "linux-image-amd64"]))?;
    let package = dependencies
        .split_whitespace()
        .find(|word| word.starts_with("linux-image-6.1."))
        .ok_or("apt knows no linux-image-6.1 package for linux-image-amd64")?;
    let work = cache.join(format!("{package}.{}", std::process::id()));
    fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    let fetched = unpack(package, &work, image);
    fs::remove_dir_all(&work).map_err(|error| error.to_string())?;
    fetched
}

fn unpack(package: &str, work: &Path, image: &Path) -> Result<(), String> {
    output(
        Command::new("apt-get")
            .args(["download", package])
            .current_dir(work),
    )?;
    let archive = fs::read_dir(work)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| format!("apt-get downloaded no archive of {package}"))?;
    let archive: OsString = archive.into();
    output(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(archive)
            .arg(work),
    )?;
    let kernel = package.replacen("linux-image", "boot/vmlinuz", 1);
    // Renamed at the end, so that a test at the same time sees the whole image or none.
    fs::rename(work.join(kernel), image).map_err(|error| format!("{package}: {error}"))
}

/// A helper's stdout; its failure is the reason to skip.
fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().last().unwrap_or("no message");
        return Err(format!("{name} failed: {last}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
