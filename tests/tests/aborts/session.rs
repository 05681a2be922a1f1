// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program, stopped: breakpoints in its sections, one operation, one abort.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use vcpu_tests::sections::{Program, Section};
use vcpu_tests::tracer::Tracee;

/// How often a section is tried again after its first abort (`ATTEMPTS` of the runtime).
pub const ATTEMPTS: usize = 64;

/// Boundaries of instructions, as the file has them.
pub type Places = BTreeSet<u64>;

/// The program, stopped at its question for the next operation.
pub struct Session<'a> {
    pub tracee: &'a Tracee,
    pub base: u64,
    pub by_cpu_id: bool,
    pub question: u64,
    pub sections: BTreeMap<u64, Section>,
    /// What breakpoints replaced.
    replaced: BTreeMap<u64, u8>,
    pub aborted: Places,
}

/// What became of one operation.
pub struct Performed {
    /// Where it had its effect: `Went` of the program.
    pub went: u64,
    /// The breakpoints that it came to, in order.
    pub hits: Vec<u64>,
    pub name: String,
}

impl Performed {
    /// The breakpoints, each once.
    pub fn sections(&self) -> Vec<u64> {
        let mut sections = Vec::new();
        for hit in &self.hits {
            if !sections.contains(hit) {
                sections.push(*hit);
            }
        }
        sections
    }

    /// How often it came to one of them.
    pub fn tries(&self, start: u64) -> usize {
        self.hits.iter().filter(|hit| **hit == start).count()
    }
}

pub const OWN_AREA: u64 = 0;
pub const LAST_AREA: u64 = 1;
pub const NOWHERE: u64 = 2;

impl<'a> Session<'a> {
    pub fn start(tracee: &'a Tracee, program: &Program, by_cpu_id: bool) -> Result<Self, String> {
        let base = program.base(tracee)?;
        let question = base + program.symbol("next_operation")?;
        let mut session = Self {
            tracee,
            base,
            by_cpu_id,
            question,
            sections: BTreeMap::new(),
            replaced: BTreeMap::new(),
            aborted: Places::new(),
        };
        let text = |error: io::Error| error.to_string();
        session.set(question).map_err(text)?;
        tracee.to_breakpoint().map_err(text)?;
        assert_eq!(session.place().map_err(text)?, question);
        let sections = program.sections(tracee, base)?;
        session.sections = sections.into_iter().map(|one| (one.start(), one)).collect();
        Ok(session)
    }

    /// Every boundary of every section.
    pub fn places(&self) -> Places {
        let sections = self.sections.values();
        sections
            .flat_map(|section| section.instructions.iter().copied())
            .collect()
    }

    /// The section that has an instruction at `place`.
    fn section_of(&self, place: u64) -> &Section {
        let (_, section) = self
            .sections
            .range(..=place)
            .next_back()
            .expect("a breakpoint in one");
        section
    }

    fn set(&mut self, place: u64) -> io::Result<()> {
        let [byte] = self.tracee.read(place)?;
        self.replaced.entry(place).or_insert(byte);
        self.tracee.write(place, &[0xcc])
    }

    fn remove(&mut self, place: u64) -> io::Result<()> {
        let byte = self.replaced.remove(&place).expect("a breakpoint is there");
        self.tracee.write(place, &[byte])
    }

    /// The breakpoint at which the program stopped.
    fn place(&self) -> io::Result<u64> {
        Ok(self.tracee.registers()?.rip - 1)
    }

    /// Answers the question: returns `number` from the function at whose first instruction the
    /// program is.
    pub fn answer(&self, number: u64) -> io::Result<()> {
        let mut registers = self.tracee.registers()?;
        registers.rax = number;
        registers.rip = u64::from_le_bytes(self.tracee.read(registers.rsp)?);
        registers.rsp += 8;
        self.tracee.set_registers(&registers)
    }

    /// Has an operation performed; at each breakpoint in `once` for the first time, and at each in
    /// `always`, its section is aborted.
    pub fn perform(&mut self, number: u64, once: &[u64], always: &[u64]) -> io::Result<Performed> {
        for place in once.iter().chain(always) {
            self.set(*place)?;
        }
        self.answer(number)?;
        let mut hits = Vec::new();
        loop {
            self.tracee.to_breakpoint()?;
            let place = self.place()?;
            if place == self.question {
                break;
            }
            hits.push(place);
            // An operation must end by itself.
            assert!(
                hits.len() <= 2 * ATTEMPTS + 8,
                "aborted without end at {place:#x}"
            );
            self.abort_at(place)?;
            if once.contains(&place) {
                self.remove(place)?;
            }
        }
        for place in once.iter().chain(always) {
            if self.replaced.contains_key(place) {
                self.remove(*place)?;
            }
        }
        let registers = self.tracee.registers()?;
        let mut name = [0; 64];
        let length = usize::try_from(registers.rdx)
            .unwrap_or(name.len())
            .min(name.len());
        for (at, byte) in (registers.rsi..).zip(&mut name[..length]) {
            [*byte] = self.tracee.read(at)?;
        }
        Ok(Performed {
            went: registers.rdi,
            hits,
            name: String::from_utf8_lossy(&name[..length]).into_owned(),
        })
    }

    /// The program stopped in the section before the instruction at `place`, and shall go on there:
    /// the kernel must take it to the abort handler instead.
    fn abort_at(&mut self, place: u64) -> io::Result<()> {
        let abort_ip = self.section_of(place).abort_ip;
        self.go_on_at(place)?;
        self.set(abort_ip)?;
        self.tracee.to_breakpoint()?;
        let resumed = self.place()?;
        assert_eq!(
            resumed, abort_ip,
            "stopped at {place:#x}, then resumed at {resumed:#x}, not at the abort handler {abort_ip:#x}"
        );
        self.remove(abort_ip)?;
        self.go_on_at(abort_ip)?;
        self.aborted.insert(place);
        Ok(())
    }

    fn go_on_at(&self, place: u64) -> io::Result<()> {
        let mut registers = self.tracee.registers()?;
        registers.rip = place;
        self.tracee.set_registers(&registers)
    }

    /// Leaves the program to itself, at its end.
    pub fn end(&mut self) -> io::Result<()> {
        self.answer(u64::MAX)?;
        self.remove(self.question)
    }
}
