// SPDX-License-Identifier: MIT OR Apache-2.0
//! An abort at every instruction of every critical section: each operation of per-vCPU words has its
//! exact effect, once, however often and wherever it is aborted, and ends.
//!
//! A breakpoint stops the program, which takes the processor from it: the kernel must resume it at
//! the abort handler of the section. The program `aborts` judges what each operation did.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vcpu_tests::auxv::hide_rseq_feature_size;
use vcpu_tests::case::{self, Case};
use vcpu_tests::confine;
use vcpu_tests::programs::{Form, PASSED, Profile};
use vcpu_tests::run::Run;
use vcpu_tests::sections::{Program, Section};
use vcpu_tests::tracer::Tracee;

/// How often a section is tried again after its first abort (`ATTEMPTS` of the runtime).
const ATTEMPTS: usize = 64;

/// No operation takes more steps, debug builds and the judgement included.
const STEPS: usize = 400_000;

fn main() {
    let mut cases = Vec::new();
    for form in [Form::DEFAULT, Form::OPPOSITE] {
        let body = move || everywhere(form);
        let need = confine::kernel_has_rseq().and_then(|()| match confine::rseq_auxv() {
            (28.., _) => Ok(()),
            _ => Err("this kernel tells no mm_cid to rseq".into()),
        });
        cases.push(Case::new(format!("{form}::everywhere"), body).needs(need));
    }
    case::run(cases)
}

/// Boundaries of instructions, as the file has them.
type Places = BTreeSet<u64>;

/// In both modes that have sections: those that go by cpu_id are others.
fn everywhere(form: Form) -> Result<(), String> {
    let path = form.program("aborts")?;
    let image = fs::read(&path).map_err(|error| error.to_string())?;
    let (mut all, mut aborted) = (Places::new(), Places::new());
    for by_cpu_id in [false, true] {
        let program = Program::parse(&image)?;
        let found = Arc::new(Mutex::new((Places::new(), Places::new())));
        let seen = Arc::clone(&found);
        let run = Run::new(&path)
            .env("VCPU_RT_GS=off")
            .timeout(Duration::from_secs(480))
            .debugged(move |tracee| {
                if by_cpu_id {
                    hide_rseq_feature_size(tracee)?;
                }
                let mut session =
                    Session::start(tracee, &program, by_cpu_id).map_err(io::Error::other)?;
                session.abort_everywhere()?;
                if form.profile == Profile::Release && !by_cpu_id {
                    session.step_through()?;
                }
                let relative =
                    |places: &Places| places.iter().map(|at| at - session.base).collect();
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                *seen = (relative(&session.places()), relative(&session.aborted));
                session.end()
            });
        run.try_run()
            .map_err(|error| error.to_string())?
            .exits(PASSED);
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        all.append(&mut found.0);
        aborted.append(&mut found.1);
    }
    let missing: Vec<_> = all
        .difference(&aborted)
        .map(|at| format!("{at:#x}"))
        .collect();
    println!(
        "{form}: aborts at {} of {} instructions",
        aborted.len(),
        all.len()
    );
    assert!(!all.is_empty(), "the program was not debugged");
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("never aborted at {}", missing.join(" ")))
    }
}

/// The program, stopped at its question for the next operation.
struct Session<'a> {
    tracee: &'a Tracee,
    base: u64,
    by_cpu_id: bool,
    question: u64,
    sections: BTreeMap<u64, Section>,
    /// What breakpoints replaced.
    replaced: BTreeMap<u64, u8>,
    aborted: Places,
}

/// What became of one operation.
struct Performed {
    /// Where it had its effect: `Went` of the program.
    went: u64,
    /// The breakpoints that it came to, in order.
    hits: Vec<u64>,
    name: String,
}

impl Performed {
    /// The breakpoints, each once.
    fn sections(&self) -> Vec<u64> {
        let mut sections = Vec::new();
        for hit in &self.hits {
            if !sections.contains(hit) {
                sections.push(*hit);
            }
        }
        sections
    }

    /// How often it came to one of them.
    fn tries(&self, start: u64) -> usize {
        self.hits.iter().filter(|hit| **hit == start).count()
    }
}

fn without(places: &[u64], one: u64) -> Vec<u64> {
    let others = places.iter().copied();
    others.filter(|place| *place != one).collect()
}

const OWN_AREA: u64 = 0;
const LAST_AREA: u64 = 1;
const NOWHERE: u64 = 2;

impl<'a> Session<'a> {
    fn start(tracee: &'a Tracee, program: &Program, by_cpu_id: bool) -> Result<Self, String> {
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
    fn places(&self) -> Places {
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
    fn answer(&self, number: u64) -> io::Result<()> {
        let mut registers = self.tracee.registers()?;
        registers.rax = number;
        registers.rip = u64::from_le_bytes(self.tracee.read(registers.rsp)?);
        registers.rsp += 8;
        self.tracee.set_registers(&registers)
    }

    /// Has an operation performed; at each breakpoint in `once` for the first time, and at each in
    /// `always`, its section is aborted.
    fn perform(&mut self, number: u64, once: &[u64], always: &[u64]) -> io::Result<Performed> {
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

    /// Aborts every operation at every instruction of each section that it comes to.
    fn abort_everywhere(&mut self) -> io::Result<()> {
        let starts: Vec<u64> = self.sections.keys().copied().collect();
        for number in 0.. {
            // Which sections it has, in order, when none ever succeeds.
            let all = self.perform(number, &[], &starts)?;
            if all.went == NOWHERE {
                return Ok(());
            }
            assert_eq!(all.went, LAST_AREA, "{} aborted without end", all.name);
            let tries = all.hits.len();
            if self.by_cpu_id && tries == 1 {
                // The examples' sections have mm_cid alone, and fall back at once.
                continue;
            }
            // The push of the free list is two operations.
            let bounded = |times| (times * ATTEMPTS..=times * (ATTEMPTS + 1)).contains(&tries);
            assert!(
                bounded(1) || bounded(2),
                "{} ended after {tries} tries",
                all.name
            );
            let chain = all.sections();
            for (index, start) in chain.iter().enumerate() {
                let others = without(&chain, *start);
                self.abort_in(
                    number,
                    (&chain[..index], &others),
                    (*start, all.tries(*start)),
                )?;
            }
            // Where one commits, an attempt may have another one after it.
            for (index, first) in chain.iter().enumerate() {
                let rest = without(&starts, *first);
                let behind = self.perform(number, &[], &rest)?;
                let others = without(&chain, *first);
                for start in behind.sections() {
                    if !chain.contains(&start) {
                        let tries = behind.tries(start);
                        self.abort_in(number, (&chain[..index], &others), (start, tries))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Aborts at each instruction of one section, once and always: `before` are the sections that must be
    /// aborted to come there, `others` those that are aborted when all are.
    fn abort_in(
        &mut self,
        number: u64,
        (before, others): (&[u64], &[u64]),
        (start, tries): (u64, usize),
    ) -> io::Result<()> {
        for place in self.sections[&start].instructions.clone() {
            self.abort_once(number, before, place)?;
            self.abort_always(number, others, place, tries)?;
        }
        Ok(())
    }

    /// One abort at `place`: the next try succeeds. `before` are the sections that must be aborted
    /// to come there.
    fn abort_once(&mut self, number: u64, before: &[u64], place: u64) -> io::Result<()> {
        let once = [before, &[place]].concat();
        // An abort of the scheduler's own may come first.
        for _ in 0..3 {
            let performed = self.perform(number, &once, &[])?;
            assert_eq!(performed.went, OWN_AREA, "{} at {place:#x}", performed.name);
            if performed.hits.contains(&place) {
                assert_eq!(performed.hits, once, "{} at {place:#x}", performed.name);
                return Ok(());
            }
        }
        // In the mode that goes by cpu_id the sections by mm_cid are left before their end.
        Ok(())
    }

    /// Every try is aborted, those of this section at `place`.
    fn abort_always(
        &mut self,
        number: u64,
        others: &[u64],
        place: u64,
        tries: usize,
    ) -> io::Result<()> {
        let always = [others, &[place]].concat();
        let performed = self.perform(number, &[], &always)?;
        assert_eq!(
            performed.went, LAST_AREA,
            "{} at {place:#x}",
            performed.name
        );
        let found = performed.hits.iter().filter(|hit| **hit == place).count();
        // As above: some may be aborted before they come there.
        assert!(
            found == 0 || (tries.saturating_sub(4)..=tries).contains(&found),
            "{}: {found} aborts at {place:#x}, {tries} at the start",
            performed.name
        );
        Ok(())
    }

    /// Steps through every operation: the stop at each instruction aborts each try.
    fn step_through(&mut self) -> io::Result<()> {
        for number in 0.. {
            self.answer(number)?;
            let mut steps = 0;
            while self.tracee.registers()?.rip != self.question {
                self.tracee.step()?;
                steps += 1;
                assert!(steps < STEPS, "operation {number} does not end");
            }
            match self.tracee.registers()?.rdi {
                NOWHERE => return Ok(()),
                went => assert_eq!(went, LAST_AREA, "operation {number}"),
            }
        }
        Ok(())
    }

    /// Leaves the program to itself, at its end.
    fn end(&mut self) -> io::Result<()> {
        self.answer(u64::MAX)?;
        self.remove(self.question)
    }
}
