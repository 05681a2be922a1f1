// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every operation, aborted at every instruction of each section that it comes to.

use std::io;

use crate::session::{ATTEMPTS, LAST_AREA, NOWHERE, OWN_AREA, Session};

/// No operation takes more steps, debug builds and the judgement included.
const STEPS: usize = 400_000;

fn without(places: &[u64], one: u64) -> Vec<u64> {
    let others = places.iter().copied();
    others.filter(|place| *place != one).collect()
}

impl Session<'_> {
    /// Aborts every operation at every instruction of each section that it comes to.
    pub fn abort_everywhere(&mut self) -> io::Result<()> {
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
    pub fn step_through(&mut self) -> io::Result<()> {
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
}
