// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rseq critical sections of an executable, as its section `__rseq_cs` lists them.

use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, OpAccess};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ObjectSymbol};

use crate::tracer::Tracee;

/// What `abi/include/vcpu_rt.h` and glibc register with.
pub const SIGNATURE: u32 = vcpu_abi::RSEQ_SIG;

/// One critical section, with the addresses of the running program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The boundaries of its instructions, from start_ip until before the end of the commit.
    pub instructions: Vec<u64>,
    /// Behind the commit.
    pub end: u64,
    /// Where an abort resumes.
    pub abort_ip: u64,
}

impl Section {
    /// start_ip.
    pub fn start(&self) -> u64 {
        self.instructions[0]
    }
}

/// An executable whose sections are of interest.
pub struct Program {
    entry: u64,
    descriptors: u64,
    pointers: u64,
    count: u64,
    symbols: Vec<(String, u64)>,
}

impl Program {
    /// Reads an executable that has both sections.
    pub fn parse(image: &[u8]) -> Result<Self, String> {
        let file = ElfFile64::<LittleEndian>::parse(image).map_err(|error| error.to_string())?;
        let section = |name| {
            let section = file.section_by_name(name).ok_or(format!("no {name}"))?;
            Ok::<_, String>((section.address(), section.size()))
        };
        let (descriptors, bytes) = section("__rseq_cs")?;
        let (pointers, pointer_bytes) = section("__rseq_cs_ptr_array")?;
        if bytes % 32 != 0 || bytes / 32 != pointer_bytes / 8 {
            return Err(format!(
                "{bytes} bytes of descriptors, and {pointer_bytes} of pointers to them"
            ));
        }
        let symbols = file
            .symbols()
            .filter_map(|symbol| Some((symbol.name().ok()?.to_owned(), symbol.address())));
        Ok(Self {
            entry: file.entry(),
            descriptors,
            pointers,
            count: bytes / 32,
            symbols: symbols.collect(),
        })
    }

    /// Where the program was loaded, seen at its exec.
    pub fn base(&self, tracee: &Tracee) -> Result<u64, String> {
        let registers = tracee.registers().map_err(|error| error.to_string())?;
        Ok(registers.rip - self.entry)
    }

    /// The address of a symbol, before the base is added.
    pub fn symbol(&self, name: &str) -> Result<u64, String> {
        let found = self.symbols.iter().find(|(symbol, _)| symbol == name);
        found
            .map(|(_, address)| *address)
            .ok_or_else(|| format!("no symbol {name}"))
    }

    /// Every section, read from a program that has relocated itself. The error tells what is wrong
    /// with one.
    pub fn sections(&self, tracee: &Tracee, base: u64) -> Result<Vec<Section>, String> {
        let places = (0..self.count).map(|index| base + self.descriptors + 32 * index);
        let mut pointers = Vec::new();
        for index in 0..self.count {
            let [pointer] = words(tracee, base + self.pointers + 8 * index)?;
            pointers.push(pointer);
        }
        pointers.sort_unstable();
        if !pointers.iter().copied().eq(places.clone()) {
            return Err("__rseq_cs_ptr_array does not list each descriptor once".into());
        }
        places.map(|place| section(tracee, place)).collect()
    }
}

/// Reads and checks the descriptor at `place`.
fn section(tracee: &Tracee, place: u64) -> Result<Section, String> {
    let [version_and_flags, start, length, abort_ip] = words(tracee, place)?;
    let wrong = |what: &str| Err(format!("the descriptor at {place:#x}: {what}"));
    if version_and_flags != 0 {
        return wrong("version or flags");
    }
    if abort_ip.wrapping_sub(start) < length {
        return wrong("the abort handler is in the section");
    }
    let signature = tracee
        .read(abort_ip - 4)
        .map_err(|error| error.to_string())?;
    if u32::from_le_bytes(signature) != SIGNATURE {
        return wrong("no signature before the abort handler");
    }
    let end = start + length;
    let code: [u8; 256] = tracee.read(start).map_err(|error| error.to_string())?;
    let mut decoder = Decoder::with_ip(64, &code, start, DecoderOptions::NONE);
    let mut instructions = Vec::new();
    let mut last = Instruction::default();
    while decoder.ip() < end {
        instructions.push(decoder.ip());
        last = decoder.decode();
        if last.is_invalid() {
            return wrong("it does not decode");
        }
    }
    if decoder.ip() != end || !may_read_or_write(&last) {
        return wrong("it does not end behind an instruction with memory");
    }
    Ok(Section {
        instructions,
        end,
        abort_ip,
    })
}

/// The commit. (Loads have sections too: their last instruction is a load.)
fn may_read_or_write(instruction: &Instruction) -> bool {
    let mut factory = InstructionInfoFactory::new();
    let memory = factory.info(instruction).used_memory();
    memory
        .iter()
        .any(|used| used.access() != OpAccess::NoMemAccess)
}

fn words<const N: usize>(tracee: &Tracee, address: u64) -> Result<[u64; N], String> {
    let mut words = [0; N];
    for (place, word) in (address..).step_by(8).zip(&mut words) {
        let bytes = tracee.read(place).map_err(|error| error.to_string())?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}
