// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hosted form: which reference finds which symbol, what the libraries export, and what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::read::elf::{Dyn, ElfFile64, ProgramHeader};
use object::{Endianness, Object, ObjectSymbol, elf};
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::header::{self, run};
use vcpu_tests::hosted::{self, Form, WITHOUT_LIBC, compiler, directory, source};
use vcpu_tests::old_glibc;
use vcpu_tests::programs::{PASSED, target_directory};
use vcpu_tests::run::{Outcome, Run};

/// What both libraries have.
const TABLE: [&str; 16] = [
    "vcpu_abi",
    "vcpu_alloc",
    "vcpu_discard",
    "vcpu_fence",
    "vcpu_free",
    "vcpu_possible_vcpus",
    "vcpu_request_gs_mode",
    "vcpu_resident",
    "vcpu_statistics",
    "vcpu_thread_register",
    "vcpu_thread_unregister",
    "vcpu_try_lock",
    "vcpu_unlock",
    "vcpu_update_pair",
    "vcpu_update_word",
    "vcpu_update_words",
];
const RSEQ: [&str; 3] = ["__rseq_flags", "__rseq_offset", "__rseq_size"];
const INTERPOSED: [&str; 4] = ["pthread_create", "sched_getcpu", "thrd_create", "vfork"];

/// Means by which an object looks for a symbol, in `tests/hosted/symbols.h`.
const MEANS: [&str; 4] = ["default", "next", "default_version", "next_version"];

/// How the program with the references is linked.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link {
    name: &'static str,
    /// `-fno-pie -no-pie`: references become copies.
    fixed: bool,
    /// Its reference is a normal one, not a weak one.
    normal: bool,
    /// `-lvcpu_rt`, not LD_PRELOAD.
    linked: bool,
}

const LINKS: [Link; 8] = [
    link("pie-weak-preload", false, false, false),
    link("pie-normal-preload", false, true, false),
    link("fixed-weak-preload", true, false, false),
    link("fixed-normal-preload", true, true, false),
    link("pie-weak-linked", false, false, true),
    link("pie-normal-linked", false, true, true),
    link("fixed-weak-linked", true, false, true),
    link("fixed-normal-linked", true, true, true),
];

const fn link(name: &'static str, fixed: bool, normal: bool, linked: bool) -> Link {
    Link {
        name,
        fixed,
        normal,
        linked,
    }
}

fn main() {
    let available = Form::Preload.is_available();
    let mut cases = Vec::new();
    for link in LINKS {
        cases.push(
            Case::new(format!("references::{}", link.name), move || {
                references(link)
            })
            .needs(available.clone())
            .needs(confine::kernel_has_rseq()),
        );
    }
    for (name, body) in [
        (
            "references::without_library",
            without_library as fn() -> Result<(), String>,
        ),
        ("references::static_weak", static_weak),
        ("pkg_config", pkg_config),
        ("hidden_symbols", hidden_symbols),
    ] {
        cases.push(Case::new(name, body).needs(available.clone()));
    }
    for form in [Form::Linked, Form::Static, Form::MuslLinked] {
        let case = Case::new(format!("{form}::at_secure"), move || secure(form));
        let case = case.needs(form.is_available()).needs(confine::root());
        let case = case.needs(confine::nobody_reaches_the_target_directory());
        let honours = target_directory().and_then(|directory| confine::honours_setuid(&directory));
        cases.push(case.needs(honours));
    }
    for (name, form) in [("glibc", Form::Preload), ("musl", Form::MuslLinked)] {
        for (what, body) in [
            ("shared", shared as fn(Form) -> Result<(), String>),
            ("archive", archive),
        ] {
            let body = move || body(form);
            cases.push(Case::new(format!("{name}::{what}"), body).needs(form.is_available()));
        }
    }
    case::run(cases)
}

/// A shared library with references, under this name.
fn library(name: &str) -> Result<PathBuf, String> {
    let path = directory()?.join(format!("lib{name}.so"));
    let mut gcc = compiler("gcc");
    gcc.args(["-fPIC", "-shared", "-o"]).arg(&path);
    run(gcc.arg(source("symbols_library")))?;
    Ok(path)
}

fn rpath(directory: &Path) -> String {
    format!("-Wl,-rpath,{0},-L{0}", directory.display())
}

fn build(link: Link) -> Result<Run, String> {
    let own = directory()?;
    let loaded = library(&format!("loaded-{}", link.name))?;
    let needed = format!("needed-{}", link.name);
    library(&needed)?;
    let program = own.join(format!("symbols-{}", link.name));
    let mut gcc = compiler("gcc");
    gcc.args(if link.fixed {
        ["-fno-pie", "-no-pie"]
    } else {
        ["-fPIE", "-pie"]
    });
    if link.normal {
        gcc.arg("-DNORMAL");
    }
    gcc.arg("-o").arg(&program).arg(source("symbols"));
    gcc.arg(rpath(&own)).arg(format!("-l{needed}"));
    let mut run = Run::new(&program).arg(&loaded).env(WITHOUT_LIBC);
    if link.linked {
        let directory = Form::Linked.libraries()?;
        gcc.arg("-Wl,--no-as-needed")
            .arg(rpath(&directory))
            .arg("-lvcpu_rt");
    } else {
        run = run.env(hosted::preload()?);
    }
    header::run(&mut gcc)?;
    Ok(run)
}

/// glibc's registration is off, so its own `__rseq_size` would be 0, "theirs".
fn references(link: Link) -> Result<(), String> {
    let outcome = build(link)?.run().exits(PASSED);
    for object in ["program", "library", "loaded"] {
        let reference = if object == "program" && !link.normal {
            "weak"
        } else {
            "normal"
        };
        for means in MEANS.iter().chain([&reference, &"default_table"]) {
            finds(&outcome, object, means, "ours");
        }
    }
    // Null is decided when a program with fixed addresses is linked without the library.
    let misses = link.fixed && !link.linked;
    finds(
        &outcome,
        "program",
        "table",
        if misses { "null" } else { "ours" },
    );
    finds(&outcome, "library", "table", "ours");
    Ok(())
}

#[track_caller]
fn finds(outcome: &Outcome, object: &str, means: &str, what: &str) {
    let name = format!("{object}.{means}");
    assert_eq!(outcome.value(&name), what, "{name}");
}

/// The tests above would pass with any library if glibc's symbols were not told from ours.
fn without_library() -> Result<(), String> {
    build(link("alone", false, false, false))?;
    let run = Run::new(directory()?.join("symbols-alone")).env(WITHOUT_LIBC);
    let outcome = run.run().exits(PASSED);
    for means in MEANS {
        finds(&outcome, "program", means, "theirs");
    }
    finds(&outcome, "program", "table", "null");
    finds(&outcome, "program", "default_table", "null");
    Ok(())
}

/// A weak reference pulls no member of an archive; `-u` does.
fn static_weak() -> Result<(), String> {
    let archive = Form::Static.libraries()?.join("libvcpu_rt.a");
    for (option, expected) in [(None, "absent\n"), (Some("-Wl,-u,vcpu_abi"), "size=")] {
        let program = directory()?.join("static-weak");
        let mut gcc = compiler("gcc");
        gcc.args(option).args(["-static", "-o"]).arg(&program);
        header::run(gcc.arg(source("table")).arg(&archive))?;
        let outcome = Run::new(&program).run().exits(PASSED);
        assert!(outcome.stdout.starts_with(expected), "{}", outcome.stdout);
    }
    Ok(())
}

/// What pkg-config's file says links a program whose references are all weak.
fn pkg_config() -> Result<(), String> {
    let file = hosted::dist()?.join("lib/pkgconfig/vcpu_rt.pc");
    let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let prefix = file.parent().expect("a directory").join("../..");
    let value = |name: &str| -> Vec<String> {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("a line");
        let line = line
            .replace("${libdir}", "${prefix}/lib")
            .replace("${includedir}", "${prefix}/include");
        let line = line.replace("${prefix}", &prefix.display().to_string());
        line.split_whitespace().map(str::to_owned).collect()
    };
    for (name, is_static) in [("dynamic", false), ("static", true)] {
        let program = directory()?.join(format!("pkg-config-{name}"));
        let mut gcc = Command::new("gcc");
        gcc.args(value("Cflags: "))
            .arg("-o")
            .arg(&program)
            .arg(source("table"));
        gcc.args(value("Libs: "));
        if is_static {
            gcc.arg("-static").args(value("Libs.private: "));
        } else {
            gcc.arg(rpath(&Form::Linked.libraries()?));
        }
        header::run(&mut gcc)?;
        let outcome = Run::new(&program).run().exits(PASSED);
        assert!(outcome.stdout.starts_with("size="), "{}", outcome.stdout);
    }
    Ok(())
}

/// AT_SECURE: the tunables do not exist, and nothing is printed. (The dynamic linker drops LD_PRELOAD by
/// itself.)
fn secure(form: Form) -> Result<(), String> {
    let program = directory()?.join(format!("secure-{form}"));
    fs::copy(form.program("table")?, &program).map_err(|error| error.to_string())?;
    let mode = fs::Permissions::from_mode(0o4755);
    fs::set_permissions(&program, mode).map_err(|error| error.to_string())?;
    let run = Run::new(&program)
        .env("VCPU_RT_DEBUG=1")
        .env("VCPU_RT_RSEQ=off");
    let outcome = run.as_nobody().run().exits(PASSED);
    assert_eq!(outcome.stderr, "");
    assert_ne!(outcome.number("mode"), 0);
    Ok(())
}

type Elf<'a> = ElfFile64<'a, Endianness>;

/// What the shared library exports, needs, and how it is linked.
fn shared(form: Form) -> Result<(), String> {
    let data = read(&form.libraries()?.join("libvcpu_rt.so"))?;
    let file = Elf::parse(&*data).map_err(|error| error.to_string())?;
    let exported: BTreeSet<&str> = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition() && symbol.name() != Ok("GLIBC_2.35"))
        .filter_map(|symbol| symbol.name().ok())
        .collect();
    let expected = TABLE
        .iter()
        .chain(&RSEQ)
        .chain(&INTERPOSED)
        .copied()
        .collect();
    assert_eq!(exported, expected);
    let versioned: &[&str] = if form.is_musl() { &[] } else { &RSEQ };
    let expected = versioned.iter().map(|name| (*name, "GLIBC_2.35"));
    assert_eq!(versions(&file)?, expected.collect());
    let headers = file.elf_program_headers();
    let kinds: Vec<u32> = headers
        .iter()
        .map(|header| header.p_type(Endianness::Little))
        .collect();
    assert!(kinds.contains(&elf::PT_GNU_RELRO) && kinds.contains(&elf::PT_TLS));
    let stack = headers
        .iter()
        .find(|header| header.p_type(Endianness::Little) == elf::PT_GNU_STACK);
    let flags = stack.ok_or("no PT_GNU_STACK")?.p_flags(Endianness::Little);
    assert_eq!(flags & elf::PF_X, 0, "an executable stack");
    let dynamic = dynamic(&file)?;
    let flags = |tag: u32| {
        dynamic
            .iter()
            .find(|entry| entry.0 == u64::from(tag))
            .map_or(0, |entry| entry.1)
    };
    let wanted = u64::from(elf::DF_1_NODELETE | elf::DF_1_INITFIRST | elf::DF_1_NOW);
    assert_eq!(flags(elf::DT_FLAGS_1) & wanted, wanted);
    assert_ne!(flags(elf::DT_FLAGS) & u64::from(elf::DF_STATIC_TLS), 0);
    let needed = dynamic
        .iter()
        .filter(|entry| entry.0 == u64::from(elf::DT_NEEDED));
    assert_eq!(needed.count(), 1, "the C library alone");
    // musl's ld.so does not know the relocation by which glibc's starts the library.
    let relocations = run(Command::new("readelf")
        .args(["-Wr"])
        .arg(form.libraries()?.join("libvcpu_rt.so")))?;
    assert_eq!(
        relocations.matches("R_X86_64_IRELATIVE").count(),
        usize::from(!form.is_musl())
    );
    Ok(())
}

/// The exported symbols that have a version, and which.
fn versions<'data>(file: &Elf<'data>) -> Result<BTreeMap<&'data str, &'data str>, String> {
    let error = |error: object::Error| error.to_string();
    let sections = file.elf_section_table();
    let table = sections
        .versions(Endianness::Little, file.data())
        .map_err(error)?;
    let Some(table) = table else {
        return Ok(BTreeMap::new());
    };
    let mut versions = BTreeMap::new();
    for symbol in file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition())
    {
        let index = table.version_index(Endianness::Little, symbol.index());
        let version = table.version(index).map_err(error)?;
        let name = symbol.name().map_err(error)?;
        // The version itself is a symbol, too.
        if let Some(version) = version
            && version.name() != name.as_bytes()
        {
            let version = str::from_utf8(version.name()).map_err(|error| error.to_string())?;
            versions.insert(name, version);
        }
    }
    Ok(versions)
}

fn dynamic(file: &Elf<'_>) -> Result<Vec<(u64, u64)>, String> {
    let (endian, data) = (file.endian(), file.data());
    for header in file.elf_program_headers() {
        let entries = header
            .dynamic(endian, data)
            .map_err(|error| error.to_string())?;
        if let Some(entries) = entries {
            let values = entries
                .iter()
                .map(|entry| (entry.d_tag(endian), entry.d_val(endian)));
            return Ok(values.collect());
        }
    }
    Err(String::from("no PT_DYNAMIC"))
}

/// The archive's one object: nothing of Rust is global in it, and all it needs is the C library's.
fn archive(form: Form) -> Result<(), String> {
    let path = form.libraries()?.join("libvcpu_rt.a");
    let listing = run(Command::new("nm")
        .args(["--portability", "--extern-only"])
        .arg(path))?;
    let mut defined = BTreeSet::new();
    let mut needed = BTreeSet::new();
    for line in listing.lines().filter(|line| !line.ends_with(':')) {
        let mut words = line.split(' ');
        let (name, kind) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if matches!(kind, "U" | "w" | "v") {
            needed.insert(name);
        } else {
            defined.insert(name);
        }
    }
    let rseq: &[&str] = if form.is_musl() { &RSEQ } else { &[] };
    assert_eq!(defined, TABLE.iter().chain(rseq).copied().collect());
    let known = BTreeSet::from([
        "__rseq_offset",
        "__rseq_size",
        // The bounds of the declared variables of the program.
        "__start_vcpu_rt_declared",
        "__stop_vcpu_rt_declared",
        "__vcpu_rt_rseq",
        "_GLOBAL_OFFSET_TABLE_",
        "abort",
        "dl_iterate_phdr",
        "environ",
        "getauxval",
        "memcpy",
        "memset",
        "memmove",
        "memcmp",
        "pthread_key_create",
        "pthread_key_delete",
        "pthread_setspecific",
        "strlen",
    ]);
    let unknown: Vec<_> = needed.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A glibc without `__rseq_*`, as before 2.35. The registration is ours then, when glibc's is off.
fn hidden_symbols() -> Result<(), String> {
    let own = directory()?.join("old");
    let loader = old_glibc::make(&own)?;
    let program = Form::Preload.program("table")?;
    let run = Run::new(loader)
        .args(["--library-path", &own.display().to_string(), "--preload"])
        .arg(Form::Preload.libraries()?.join("libvcpu_rt.so"))
        .arg(program)
        .env("VCPU_RT_DEBUG=1")
        .env(WITHOUT_LIBC);
    let outcome = run.run().exits(PASSED);
    assert!(
        outcome.stderr.contains("rseq=registered "),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.number("registered"), 1);
    assert_eq!(outcome.number("__rseq_size"), outcome.number("rseq_size"));
    Ok(())
}
