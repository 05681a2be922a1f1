// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask demo`: the main job, on the files named or on the toolchain's own binaries.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::command::{command, output};
use crate::program::{Form, Profile, build};

/// Builds examples/histogram in the default form and runs it. The files are named from where the
/// caller stands, so the program runs there.
pub fn run(files: &[PathBuf]) -> Result<ExitCode> {
    let histogram = build("histogram", Form::Static, Profile::Release)?;
    let files = if files.is_empty() {
        toolchain_files()?
    } else {
        files.to_vec()
    };
    let status = Command::new(&histogram)
        .arg("--check")
        .args(&files)
        .status()
        .with_context(|| format!("cannot run {}", histogram.display()))?;
    // As a shell tells of a signal: the program's reader may have gone (SIGPIPE).
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(u8::try_from(
        code.context("neither a status nor a signal")?,
    )?))
}

/// The compiler and its driver library: a few hundred MB that every user of this project has.
fn toolchain_files() -> Result<Vec<PathBuf>> {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let sysroot = output(command(&rustc).args(["--print", "sysroot"]))?;
    let sysroot = Path::new(sysroot.trim_end());
    let compiler = sysroot.join("bin/rustc");
    let library = sysroot.join("lib");
    let entries =
        fs::read_dir(&library).with_context(|| format!("cannot list {}", library.display()))?;
    let mut driver = None;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("librustc_driver") && name.ends_with(".so") {
            driver = Some(path);
        }
    }
    let Some(driver) = driver else {
        bail!(
            "no librustc_driver in {}: name the files to count",
            library.display()
        );
    };
    Ok(vec![compiler, driver])
}
