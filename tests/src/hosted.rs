// SPDX-License-Identifier: MIT OR Apache-2.0
//! The libraries of the hosted form, and C programs that use them, compiled when a test asks for them.

pub mod rust;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::{fmt, fs};

use crate::header;
use crate::programs::{cargo, target_directory, workspace};
use crate::run::Run;

/// How a program comes to the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// A PIE that knows of no library, with LD_PRELOAD.
    Preload,
    /// The same without: it may load the library by itself.
    Late,
    /// A PIE with `-lvcpu_rt`.
    Linked,
    /// The same with fixed addresses: it has copies of the symbols.
    LinkedFixed,
    /// A dynamic program with the archive.
    Archive,
    /// A static program with the archive.
    Static,
    /// As `Linked`, on musl.
    MuslLinked,
    /// As `LinkedFixed`, on musl.
    MuslFixed,
    /// As `Static`, on musl.
    MuslStatic,
}

/// Every form in which the library is there from the beginning.
pub const FORMS: [Form; 8] = [
    Form::Preload,
    Form::Linked,
    Form::LinkedFixed,
    Form::Archive,
    Form::Static,
    Form::MuslLinked,
    Form::MuslFixed,
    Form::MuslStatic,
];

/// Whose registration a program is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it comes: glibc's is on.
    AsItIs,
    /// glibc's is off, by its tunable.
    WithoutLibc,
    /// As it comes, with VCPU_RT_RSEQ=own.
    Own,
    /// glibc's is off, with VCPU_RT_RSEQ=own.
    OwnWithoutLibc,
    /// VCPU_RT_RSEQ=off.
    Off,
}

/// Every way.
pub const WAYS: [Way; 5] = [
    Way::AsItIs,
    Way::WithoutLibc,
    Way::Own,
    Way::OwnWithoutLibc,
    Way::Off,
];

/// What `VCPU_RT_DEBUG=1` says of the registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// glibc's is used.
    Adopted,
    /// Ours.
    Registered,
    /// Ours, in place of glibc's.
    TakenOver,
    /// There is none.
    Absent,
    /// None is wanted.
    Off,
}

impl State {
    /// Its word in the line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Registered => "registered",
            Self::TakenOver => "taken over",
            Self::Absent => "absent",
            Self::Off => "off",
        }
    }

    /// Whether threads are registered.
    pub fn is_registered(self) -> bool {
        matches!(self, Self::Adopted | Self::Registered | Self::TakenOver)
    }

    /// Whether it is the runtime that registers them.
    pub fn is_own(self) -> bool {
        matches!(self, Self::Registered | Self::TakenOver)
    }
}

impl Form {
    /// Whether the C library is musl.
    pub fn is_musl(self) -> bool {
        matches!(self, Self::MuslLinked | Self::MuslFixed | Self::MuslStatic)
    }

    /// Whether the shared library is in the process.
    pub fn is_shared(self) -> bool {
        !matches!(self, Self::Archive | Self::Static | Self::MuslStatic)
    }

    /// What comes of a way here: the table of docs/hosted.md.
    pub fn state(self, way: Way) -> State {
        let without_libc = matches!(way, Way::WithoutLibc | Way::OwnWithoutLibc) || self.is_musl();
        match way {
            Way::Off => State::Off,
            Way::AsItIs | Way::WithoutLibc if !without_libc => State::Adopted,
            Way::AsItIs | Way::WithoutLibc if self.is_shared() || self.is_musl() => {
                State::Registered
            }
            Way::AsItIs | Way::WithoutLibc => State::Absent,
            Way::Own | Way::OwnWithoutLibc if without_libc => State::Registered,
            Way::Own | Way::OwnWithoutLibc if self.is_shared() => State::TakenOver,
            Way::Own | Way::OwnWithoutLibc => State::Adopted,
        }
    }

    /// The compiler, and what it needs of the machine.
    fn compiler(self) -> &'static str {
        if self.is_musl() { "musl-gcc" } else { "gcc" }
    }

    /// Whether such programs can be made here.
    pub fn is_available(self) -> Result<(), String> {
        header::available(self.compiler())?;
        header::available("objcopy")
    }

    /// The program of `tests/hosted/NAME.c` in this form, compiled once per test process.
    pub fn program(self, name: &'static str) -> Result<PathBuf, String> {
        type Built = Arc<OnceLock<Result<PathBuf, String>>>;
        static BUILDS: Mutex<BTreeMap<(Form, &str), Built>> = Mutex::new(BTreeMap::new());
        let built = {
            let mut builds = BUILDS.lock().map_err(|error| error.to_string())?;
            Arc::clone(builds.entry((self, name)).or_default())
        };
        built.get_or_init(|| self.compile(name)).clone()
    }

    fn compile(self, name: &str) -> Result<PathBuf, String> {
        let program = directory()?.join(format!("{name}-{self}"));
        let libraries = self.libraries()?;
        let mut compiler = compiler(self.compiler());
        compiler.arg("-o").arg(&program);
        compiler.arg(source(name));
        if !matches!(self, Self::Preload | Self::Late) {
            compiler.arg("-DVCPU_ABI_REQUIRED");
        }
        match self {
            Self::Preload | Self::Late | Self::Linked | Self::Archive | Self::MuslLinked => {
                compiler.args(["-fPIE", "-pie"])
            }
            Self::LinkedFixed | Self::MuslFixed => compiler.args(["-fno-pie", "-no-pie"]),
            Self::Static | Self::MuslStatic => compiler.arg("-static"),
        };
        match self {
            Self::Preload | Self::Late => {}
            Self::Linked | Self::LinkedFixed | Self::MuslLinked | Self::MuslFixed => {
                let mut path = OsString::from("-Wl,-rpath,");
                path.push(&libraries);
                compiler
                    .arg(path)
                    .arg("-L")
                    .arg(&libraries)
                    .arg("-lvcpu_rt");
            }
            Self::Archive | Self::Static | Self::MuslStatic => {
                compiler.arg(libraries.join("libvcpu_rt.a"));
            }
        }
        header::run(&mut compiler)?;
        Ok(program)
    }

    /// Where the libraries for this form are.
    pub fn libraries(self) -> Result<PathBuf, String> {
        let lib = dist()?.join("lib");
        Ok(if self.is_musl() {
            lib.join("musl")
        } else {
            lib
        })
    }

    /// To run the program in this form and way.
    pub fn run(self, name: &'static str, way: Way) -> Result<Run, String> {
        let mut run = Run::new(self.program(name)?);
        if self == Self::Preload {
            run = run.env(preload()?);
        }
        Ok(match way {
            Way::AsItIs => run,
            Way::WithoutLibc => run.env(WITHOUT_LIBC),
            Way::Own => run.env("VCPU_RT_RSEQ=own"),
            Way::OwnWithoutLibc => run.env(WITHOUT_LIBC).env("VCPU_RT_RSEQ=own"),
            Way::Off => run.env("VCPU_RT_RSEQ=off"),
        })
    }
}

/// glibc's own switch.
pub const WITHOUT_LIBC: &str = "GLIBC_TUNABLES=glibc.pthread.rseq=0";

/// The environment entry that preloads the shared library.
pub fn preload() -> Result<OsString, String> {
    let mut entry = OsString::from("LD_PRELOAD=");
    entry.push(Form::Preload.libraries()?.join("libvcpu_rt.so"));
    Ok(entry)
}

/// A C compiler with what every program here is compiled with.
pub fn compiler(name: &str) -> Command {
    let mut compiler = Command::new(name);
    compiler.args([
        "-std=gnu11",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pthread",
    ]);
    compiler.arg("-I").arg(workspace().join("abi/include"));
    compiler
}

/// A source file of the programs here.
pub fn source(name: &str) -> PathBuf {
    workspace()
        .join("tests/hosted")
        .join(name)
        .with_extension("c")
}

/// A directory for what the tests make; the next run writes over it.
pub fn directory() -> Result<PathBuf, String> {
    let path = target_directory()?.join("hosted/tests");
    fs::create_dir_all(&path).map_err(|error| error.to_string())?;
    Ok(path)
}

/// The options by which a program finds the libraries of a directory, when it is linked and when it runs.
pub fn rpath(directory: &Path) -> String {
    format!("-Wl,-rpath,{0},-L{0}", directory.display())
}

/// The words of one line of pkg-config's file, by its beginning: `Libs: `.
pub fn pkg_config(name: &str) -> Result<Vec<String>, String> {
    let file = dist()?.join("lib/pkgconfig/vcpu_rt.pc");
    let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let prefix = file.parent().expect("a directory").join("../..");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.ok_or_else(|| format!("no {name:?} in {}", file.display()))?;
    let line = line
        .replace("${libdir}", "${prefix}/lib")
        .replace("${includedir}", "${prefix}/include")
        .replace("${prefix}", &prefix.display().to_string());
    Ok(line.split_whitespace().map(str::to_owned).collect())
}

/// What `cargo xtask dist` installs, made once per test process.
pub fn dist() -> Result<PathBuf, String> {
    static DIST: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    DIST.get_or_init(|| {
        let target = target_directory()?;
        let mut xtask = cargo();
        xtask.args(["run", "--offline", "--quiet", "--package", "xtask", "dist"]);
        xtask.env("CARGO_TARGET_DIR", &target);
        header::run(&mut xtask)?;
        Ok(target.join("dist"))
    })
    .clone()
}

impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Preload => "preload",
            Self::Late => "late",
            Self::Linked => "linked",
            Self::LinkedFixed => "linked-fixed",
            Self::Archive => "archive",
            Self::Static => "static",
            Self::MuslLinked => "musl-linked",
            Self::MuslFixed => "musl-fixed",
            Self::MuslStatic => "musl-static",
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AsItIs => "as-it-is",
            Self::WithoutLibc => "without-libc",
            Self::Own => "own",
            Self::OwnWithoutLibc => "own-without-libc",
            Self::Off => "off",
        })
    }
}
