// SPDX-License-Identifier: MIT OR Apache-2.0
//! The no_std programs that the tests run, built in each link form.
//!
//! A form has a target directory of its own, `<target>/forms/<form>`, so that changing the form
//! never rebuilds another. Cargo's own lock on that directory keeps parallel test processes apart.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

/// What the executable's addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relocation {
    /// Fixed addresses: non-PIE.
    Static,
    /// Chosen by the kernel; the runtime relocates itself.
    StaticPie,
}

/// Who links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linker {
    /// The toolchain's own, which is the default of this target.
    RustLld,
    /// GNU ld (`ld.bfd`).
    GnuLd,
}

/// The cargo profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `dev`: unoptimised, with debug assertions.
    Debug,
    /// `release`.
    Release,
    /// `small`: the profile whose size is measured, stripped, with fat LTO.
    Small,
}

/// Whose `_start` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The C toolchain's crt1.o, which calls `__libc_start_main`.
    Crt1,
    /// The runtime's own: linked with `-nostartfiles`.
    Own,
}

/// One way to link a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Fixed or relocated addresses.
    pub relocation: Relocation,
    /// The linker.
    pub linker: Linker,
    /// The profile.
    pub profile: Profile,
    /// The start code.
    pub start: Start,
}

/// The exit status with which a test program says that all its checks held (`PASSED` there).
pub const PASSED: i32 = 93;

const TARGET: &str = "x86_64-unknown-linux-gnu";

const TEST_PROGRAMS: &str = "vcpu-test-programs";

/// The examples, each a package of its name; every other program is of the package of programs
/// that exist for the tests.
const EXAMPLES: [&str; 5] = ["hello", "histogram", "c-consumer", "c-counter", "c-slab"];

impl Form {
    /// The form in which a test runs that is not about linking: what a user gets by default.
    pub const DEFAULT: Self = Self {
        relocation: Relocation::Static,
        linker: Linker::RustLld,
        profile: Profile::Release,
        start: Start::Crt1,
    };

    /// The form that differs from the default in everything: relocated, GNU ld, debug.
    pub const OPPOSITE: Self = Self {
        relocation: Relocation::StaticPie,
        linker: Linker::GnuLd,
        profile: Profile::Debug,
        start: Start::Crt1,
    };

    /// Every combination of relocation, linker and the two main profiles, then the small profile
    /// and the runtime's own `_start` in both relocations.
    pub fn all() -> Vec<Self> {
        let mut forms = Vec::new();
        for relocation in [Relocation::Static, Relocation::StaticPie] {
            for linker in [Linker::RustLld, Linker::GnuLd] {
                for profile in [Profile::Debug, Profile::Release] {
                    forms.push(Self {
                        relocation,
                        linker,
                        profile,
                        start: Start::Crt1,
                    });
                }
            }
            let default = Self {
                relocation,
                ..Self::DEFAULT
            };
            forms.push(Self {
                profile: Profile::Small,
                ..default
            });
            forms.push(Self {
                start: Start::Own,
                ..default
            });
        }
        forms
    }

    /// The path of the program `name` in this form. Its package is built once per test process;
    /// the error is cargo's.
    pub fn program(self, name: &str) -> Result<PathBuf, String> {
        let package = EXAMPLES.into_iter().find(|example| *example == name);
        let package = package.unwrap_or(TEST_PROGRAMS);
        self.built(self.to_string(), package, name, &[])
    }

    /// The path of one of the test programs that need the runtime's feature `test-hooks`, which no
    /// other program has.
    pub fn hooked_program(self, name: &'static str) -> Result<PathBuf, String> {
        let options = ["--features", "test-hooks", "--bin", name];
        self.built(format!("{self}-hooked"), name, name, &options)
    }

    /// `what` is a package, or with `options` a program, built once into `directory`.
    fn built(
        self,
        directory: String,
        what: &'static str,
        name: &str,
        options: &[&str],
    ) -> Result<PathBuf, String> {
        /// What one build came to; the lock is held by the thread that builds.
        type Built = Arc<OnceLock<Result<PathBuf, String>>>;
        static BUILDS: Mutex<BTreeMap<(String, &str), Built>> = Mutex::new(BTreeMap::new());
        let built = {
            let mut builds = BUILDS.lock().map_err(|error| error.to_string())?;
            Arc::clone(builds.entry((directory.clone(), what)).or_default())
        };
        let package = if options.is_empty() {
            what
        } else {
            TEST_PROGRAMS
        };
        let build = || self.build(&directory, package, options);
        Ok(built.get_or_init(build).clone()?.join(name))
    }

    fn build(self, directory: &str, package: &str, options: &[&str]) -> Result<PathBuf, String> {
        let directory = target_directory()?.join("forms").join(directory);
        let mut command = cargo();
        command.args(["build", "--offline", "--quiet", "--target", TARGET]);
        command.args(["--profile", self.profile_name(), "--package", package]);
        command.args(options);
        command.arg("--target-dir").arg(&directory);
        command.env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            self.flags(),
        );
        let output = command
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{package} does not build as {self}:\n{stderr}"));
        }
        Ok(directory.join(TARGET).join(self.profile_directory()))
    }

    /// The rustc flags of this form: a user writes the first two.
    fn flags(self) -> String {
        let mut flags = String::from("-Ctarget-feature=+crt-static");
        flags += match self.relocation {
            Relocation::Static => " -Crelocation-model=static",
            Relocation::StaticPie => " -Crelocation-model=pie",
        };
        if self.linker == Linker::GnuLd {
            flags += " -Clink-self-contained=-linker -Clink-arg=-fuse-ld=bfd";
        }
        if self.start == Start::Own {
            flags += " -Clink-arg=-nostartfiles";
        }
        flags
    }

    fn profile_name(self) -> &'static str {
        match self.profile {
            Profile::Debug => "dev",
            Profile::Release => "release",
            Profile::Small => "small",
        }
    }

    fn profile_directory(self) -> &'static str {
        match self.profile {
            Profile::Debug => "debug",
            Profile::Release => "release",
            Profile::Small => "small",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relocation = match self.relocation {
            Relocation::Static => "static",
            Relocation::StaticPie => "static-pie",
        };
        let linker = match self.linker {
            Linker::RustLld => "rust-lld",
            Linker::GnuLd => "gnu-ld",
        };
        let start = match self.start {
            Start::Crt1 => "",
            Start::Own => "-nostartfiles",
        };
        write!(
            formatter,
            "{relocation}-{linker}-{}{start}",
            self.profile_directory()
        )
    }
}

/// Cargo, in the workspace's root, without the flags that the caller's environment would add.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(variable);
    }
    command
}

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The target directory that this test was built into: the nearest one that cargo tagged.
pub fn target_directory() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    program
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").exists())
        .map(Path::to_path_buf)
        .ok_or_else(|| format!("{} is in no target directory", program.display()))
}
