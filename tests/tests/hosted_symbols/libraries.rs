// SPDX-License-Identifier: MIT OR Apache-2.0
//! The libraries themselves: what they export and need, and how they are linked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use object::read::elf::{Dyn, ElfFile64, ProgramHeader};
use object::{Endianness, Object, ObjectSymbol, elf};
use vcpu_tests::elf::TABLE;
use vcpu_tests::header::run;
use vcpu_tests::hosted::Form;

/// What both libraries have besides [`TABLE`].
const REQUEST: &str = "vcpu_request_gs_mode";
const RSEQ: [&str; 3] = ["__rseq_flags", "__rseq_offset", "__rseq_size"];
const INTERPOSED: [&str; 4] = ["pthread_create", "sched_getcpu", "thrd_create", "vfork"];

type Elf<'a> = ElfFile64<'a, Endianness>;

/// What the shared library exports, needs, and how it is linked.
pub fn shared(form: Form) -> Result<(), String> {
    let data = read(&form.libraries()?.join("libvcpu_rt.so"))?;
    let file = Elf::parse(&*data).map_err(|error| error.to_string())?;
    let exported: BTreeSet<&str> = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition() && symbol.name() != Ok("GLIBC_2.35"))
        .filter_map(|symbol| symbol.name().ok())
        .collect();
    let expected = TABLE
        .iter()
        .chain(&[REQUEST])
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
pub fn archive(form: Form) -> Result<(), String> {
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
    let expected = TABLE.iter().chain(&[REQUEST]).chain(rseq);
    assert_eq!(defined, expected.copied().collect());
    let known = BTreeSet::from([
        "__rseq_offset",
        "__rseq_size",
        // The bounds of the declared variables of the program.
        "__start_vcpu_rt_declared",
        // By which glibc is known.
        "__libc_stack_end",
        "__stop_vcpu_rt_declared",
        // Only in what defines `__rseq_*`.
        "__vcpu_rt_rseq",
        "__vcpu_rt_rseq_end",
        "_GLOBAL_OFFSET_TABLE_",
        "abort",
        "dl_iterate_phdr",
        "dlsym",
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
