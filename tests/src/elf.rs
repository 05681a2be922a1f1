// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads an executable and complains about what a static program on this runtime must not be.

use object::elf;
use object::read::elf::{Dyn, ElfFile64, ElfSymbol64, FileHeader, ProgramHeader};
use object::{LittleEndian, Object, ObjectSymbol, ObjectSymbolTable, SymbolFlags};

const ENDIAN: LittleEndian = LittleEndian;

/// The symbols that must lie in RELRO, with the sizes that the ABI fixes.
pub const PROTECTED: [(&str, u64); 4] = [
    ("vcpu_abi", 256),
    ("__rseq_offset", 8),
    ("__rseq_size", 4),
    ("__rseq_flags", 4),
];

/// The table and its functions, which a program on the runtime and the libraries of the hosted form export alike.
pub const TABLE: [&str; 15] = [
    "vcpu_abi",
    "vcpu_alloc",
    "vcpu_discard",
    "vcpu_fence",
    "vcpu_free",
    "vcpu_possible_vcpus",
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

/// A symbol that other objects of the link see: global or weak, defined, of default visibility.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exported {
    /// Its name.
    pub name: String,
    /// Its address in the file's own terms.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// The exported symbols of an executable, by name; empty when it is stripped.
pub fn exported(image: &[u8]) -> Result<Vec<Exported>, String> {
    symbols(image, |symbol, visibility| {
        symbol.is_global() && visibility == elf::STV_DEFAULT
    })
}

/// Every symbol that an executable defines, hidden and local ones as well.
pub fn defined(image: &[u8]) -> Result<Vec<Exported>, String> {
    symbols(image, |_, _| true)
}

fn symbols(
    image: &[u8],
    wanted: impl Fn(&ElfSymbol64<'_, '_, LittleEndian>, u8) -> bool,
) -> Result<Vec<Exported>, String> {
    let file = parse(image)?;
    let Some(table) = file.symbol_table() else {
        return Ok(Vec::new());
    };
    let mut symbols = Vec::new();
    for symbol in table.symbols().filter(ObjectSymbol::is_definition) {
        let SymbolFlags::Elf { st_other, .. } = symbol.flags() else {
            continue;
        };
        if wanted(&symbol, st_other & 3) {
            let name = symbol.name().map_err(|error| error.to_string())?.to_owned();
            symbols.push(Exported {
                name,
                address: symbol.address(),
                size: symbol.size(),
            });
        }
    }
    symbols.sort();
    Ok(symbols)
}

/// All that is wrong with an executable; empty when it is as it must be.
pub fn complaints(image: &[u8]) -> Result<Vec<String>, String> {
    let file = parse(image)?;
    let mut complaints = segments(&file);
    complaints.extend(dynamic(&file, image)?);
    complaints.extend(protected(&file, &exported(image)?));
    Ok(complaints)
}

fn parse(image: &[u8]) -> Result<ElfFile64<'_, LittleEndian>, String> {
    ElfFile64::parse(image).map_err(|error| format!("not an ELF file: {error}"))
}

/// The program headers of one type.
fn headers<'file>(
    file: &'file ElfFile64<'_, LittleEndian>,
    kind: u32,
) -> impl Iterator<Item = &'file elf::ProgramHeader64<LittleEndian>> {
    file.elf_program_headers()
        .iter()
        .filter(move |header| header.p_type(ENDIAN) == kind)
}

fn segments(file: &ElfFile64<'_, LittleEndian>) -> Vec<String> {
    let mut complaints = Vec::new();
    if headers(file, elf::PT_INTERP).next().is_some() {
        complaints.push("it names an interpreter".into());
    }
    match headers(file, elf::PT_GNU_STACK).next() {
        None => complaints.push("no PT_GNU_STACK: the kernel may make the stack executable".into()),
        Some(stack) if stack.p_flags(ENDIAN) & elf::PF_X != 0 => {
            complaints.push("the stack is executable".into());
        }
        Some(_) => {}
    }
    for load in headers(file, elf::PT_LOAD) {
        if load.p_flags(ENDIAN) & (elf::PF_W | elf::PF_X) == elf::PF_W | elf::PF_X {
            let address = load.p_vaddr(ENDIAN);
            complaints.push(format!(
                "the segment at {address:#x} is writable and executable"
            ));
        }
    }
    complaints
}

/// A static program may have a dynamic section (static-pie does), but it may ask for no library
/// and for no write to its text.
fn dynamic(file: &ElfFile64<'_, LittleEndian>, image: &[u8]) -> Result<Vec<String>, String> {
    let mut complaints = Vec::new();
    for header in headers(file, elf::PT_DYNAMIC) {
        let entries = header
            .dynamic(ENDIAN, image)
            .map_err(|error| error.to_string())?;
        for entry in entries.unwrap_or_default() {
            let value = entry.d_val(ENDIAN);
            match u32::try_from(entry.d_tag(ENDIAN)).unwrap_or(u32::MAX) {
                elf::DT_NEEDED => complaints.push("it needs a shared library".into()),
                elf::DT_TEXTREL => complaints.push("it has text relocations".into()),
                elf::DT_FLAGS if value & u64::from(elf::DF_TEXTREL) != 0 => {
                    complaints.push("it has text relocations".into());
                }
                _ => {}
            }
        }
    }
    let machine = file.elf_header().e_machine(ENDIAN);
    if machine != elf::EM_X86_64 {
        complaints.push(format!("it is for machine {machine}"));
    }
    Ok(complaints)
}

/// What the runtime publishes is read-only once it is filled, because RELRO covers it.
fn protected(file: &ElfFile64<'_, LittleEndian>, symbols: &[Exported]) -> Vec<String> {
    let Some(relro) = headers(file, elf::PT_GNU_RELRO).next() else {
        return vec!["no PT_GNU_RELRO".into()];
    };
    // The kernel protects whole pages: what shares the last one with writable data is not covered.
    let start = relro.p_vaddr(ENDIAN);
    let end = (start + relro.p_memsz(ENDIAN)) & !0xfff;
    let mut complaints = Vec::new();
    if symbols.is_empty() {
        return complaints; // Stripped: the unstripped forms are checked.
    }
    for (name, size) in PROTECTED {
        match symbols.iter().find(|symbol| symbol.name == name) {
            None => complaints.push(format!("{name} is not exported")),
            Some(symbol) if symbol.size != size => {
                complaints.push(format!("{name} has {} bytes, not {size}", symbol.size));
            }
            Some(symbol) if symbol.address < start || symbol.address + size > end => {
                complaints.push(format!("{name} is outside of RELRO"));
            }
            Some(_) => {}
        }
    }
    complaints
}

/// Whether PT_TLS starts at a multiple of its alignment, as linkers mostly, but not always, do.
pub fn tls_is_congruent(image: &[u8]) -> Result<bool, String> {
    let file = parse(image)?;
    let tls = headers(&file, elf::PT_TLS)
        .next()
        .ok_or("it has no PT_TLS")?;
    Ok(tls.p_vaddr(ENDIAN).is_multiple_of(tls.p_align(ENDIAN)))
}
