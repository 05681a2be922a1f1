// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs that ours are compared with: C, compiled here, and the kernel's own selftests.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::{command, is_installed, root, run, target_directory};
use crate::program::Form;

/// Debian's package of the kernel whose selftests are compared with.
const KERNEL: &str = "linux-source-6.12";

/// Where the programs that are measured lie.
pub fn bench_directory() -> Result<PathBuf> {
    let path = target_directory().join("bench");
    fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

/// gcc, and the package that has it.
pub const GCC: (&str, &str) = ("gcc", "gcc");

/// musl's wrapper of gcc, likewise.
pub const MUSL_GCC: (&str, &str) = ("musl-gcc", "musl-tools");

/// Compiles tests/bench/c/NAME.c to `file`, with further flags and sources, by the C compiler's
/// defaults and -O2.
pub fn compile(
    compiler: (&str, &str),
    name: &str,
    flags: &[OsString],
    sources: &[&Path],
    file: &str,
) -> Result<PathBuf> {
    let path = bench_directory()?.join(file);
    let mut compiler = c_compiler(compiler)?;
    compiler.args(["-O2", "-Wall", "-o"]).arg(&path).args(flags);
    run(compiler.arg(source(&format!("{name}.c"))).args(sources))?;
    Ok(path)
}

/// The three instructions that any process needs to end: the floor of exec to exit.
pub fn assemble_floor() -> Result<PathBuf> {
    let path = bench_directory()?.join("nothing-floor");
    let mut compiler = c_compiler(GCC)?;
    compiler.args(["-nostdlib", "-static", "-o"]).arg(&path);
    run(compiler.arg(source("nothing_floor.S")))?;
    Ok(path)
}

/// musl's program that does nothing. Its gcc wrapper gives `-static-pie` an interpreter and the
/// wrong start file, so that form is linked by hand from the same library.
pub fn musl_nothing(form: Form) -> Result<PathBuf> {
    let directory = bench_directory()?;
    let nothing = source("nothing.c");
    let mut compiler = c_compiler(MUSL_GCC)?;
    compiler.args(["-O2", "-o"]);
    match form {
        Form::Static => {
            let path = directory.join("nothing-musl-static");
            run(compiler.arg(&path).arg("-static").arg(&nothing))?;
            Ok(path)
        }
        Form::StaticPie => {
            let path = directory.join("nothing-musl-static-pie");
            let object = directory.join("nothing-musl.o");
            run(compiler.arg(&object).args(["-fPIE", "-c"]).arg(&nothing))?;
            let library = Path::new("/usr/lib/x86_64-linux-musl");
            let mut linker = c_compiler(GCC)?;
            linker
                .args(["-static-pie", "-nostartfiles", "-nostdlib", "-o"])
                .arg(&path);
            linker.args([library.join("rcrt1.o"), library.join("crti.o"), object]);
            linker
                .arg(library.join("libc.a"))
                .arg("-lgcc")
                .arg(library.join("crtn.o"));
            run(&mut linker)?;
            Ok(path)
        }
    }
}

/// The tools folder of the kernel's source, of which only what the rseq selftests need is unpacked,
/// into the user's cache: nothing of it enters the checkout.
pub fn kernel_tools() -> Result<PathBuf> {
    let cache = cache_directory()?;
    let tools = cache.join(KERNEL).join("tools");
    if tools.join("testing/selftests/rseq/rseq.c").is_file() {
        return Ok(tools);
    }
    println!(
        "unpacking the rseq selftests of {KERNEL} into {}",
        cache.display()
    );
    let partial = cache.join(format!("{KERNEL}.partial"));
    fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    let script = format!(
        "set -euo pipefail
        apt-get -qq -o APT::Sandbox::User=root download {KERNEL}
        dpkg-deb --fsys-tarfile {KERNEL}_*.deb | tar -xO ./usr/src/{KERNEL}.tar.xz |
            tar -xJ --strip-components=1 {KERNEL}/tools/include \
                {KERNEL}/tools/testing/selftests/kselftest.h {KERNEL}/tools/testing/selftests/rseq
        rm {KERNEL}_*.deb"
    );
    run(command("bash").current_dir(&partial).args(["-c", &script])).with_context(|| {
        format!("{KERNEL} is needed: a Debian with that package, after `apt-get update`")
    })?;
    fs::rename(&partial, cache.join(KERNEL))?;
    Ok(tools)
}

fn cache_directory() -> Result<PathBuf> {
    let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => Path::new(&home).join(".cache"),
        (None, None) => bail!("neither XDG_CACHE_HOME nor HOME is set: no place for a cache"),
    };
    Ok(base.join("vcpu-rt"))
}

fn source(name: &str) -> PathBuf {
    root().join("tests/bench/c").join(name)
}

fn c_compiler((program, package): (&str, &str)) -> Result<std::process::Command> {
    if !is_installed(program) {
        bail!("{program} is missing: apt-get install {package}");
    }
    Ok(command(program))
}
