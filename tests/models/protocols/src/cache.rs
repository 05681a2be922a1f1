// SPDX-License-Identifier: MIT OR Apache-2.0
//! One class of a cache, on one vCPU. Addresses are places: place 1 is the first of the array.

mod drain_and_resize;
mod missed;
mod section;

use self::missed::{LOOK, START_SECTION};
use crate::machine::{Items, Machine, Model};

const LOCK: u8 = 0;
const CURRENT: u8 = 1;
const BEGIN: u8 = 2;
const END: u8 = 3;
const CAPACITY: u8 = 4;
/// The word of place 0, beneath the array.
const PLACES: u8 = 5;

/// `begin` while sections are stopped.
const CLOSED: u8 = u8::MAX;

/// In items that are not given to pops; what is beneath the array.
const MARK: u8 = 1 << 7;

/// What threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Puts in the lowest item that the thread holds.
    Push,
    /// Takes one.
    Pop,
    /// Takes two, or one, by the section for many.
    PopBatch,
    /// Takes so many at most, from another vCPU.
    Drain(u8),
    /// Makes room for so many, from another vCPU, and takes the rest.
    Resize(u8),
}

/// What is left out, to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing.
    Nothing,
    /// The fence after closing.
    ClosingFence,
    /// The marks, which stop pops of one item.
    Marks,
    /// The fence after them.
    MarkingFence,
    /// The fence between a new `current` and opening.
    OpeningFence,
    /// The store that stops pops of many.
    Begin,
    /// The store that stops pushes.
    End,
    /// The lock.
    Lock,
}

/// The threads' programs.
#[derive(Debug)]
pub struct Cache {
    /// Of each thread.
    pub programs: Vec<Vec<Operation>>,
    /// Places.
    pub slots: u8,
    /// What is left out.
    pub missing: Missing,
    /// Which fence of a drain or a resize the kernel refuses, if any.
    pub refused: Option<Missing>,
}

impl Cache {
    /// The memory of a class that nobody used.
    #[must_use]
    pub fn fresh(&self) -> Vec<u8> {
        let mut memory = vec![0; usize::from(PLACES + self.slots + 1)];
        memory[usize::from(PLACES)] = MARK;
        memory
    }

    /// The memory of a class that has the items 0, 1 and so on, so many.
    #[must_use]
    pub fn with(&self, items: u8) -> Vec<u8> {
        let mut memory = self.fresh();
        memory[usize::from(CAPACITY)] = self.slots;
        memory[usize::from(CURRENT)] = 1 + items;
        memory[usize::from(BEGIN)] = 1;
        memory[usize::from(END)] = 1 + self.slots;
        for item in 0..items {
            memory[usize::from(PLACES + 1 + item)] = item;
        }
        memory
    }

    fn operation(&self, machine: &Machine, thread: usize) -> Operation {
        self.programs[thread][usize::from(machine.threads[thread].operation)]
    }

    fn lock(&self, machine: &mut Machine, thread: usize) -> bool {
        machine.compare_exchange(thread, LOCK, 0, 1) || self.missing == Missing::Lock
    }

    /// Of what is inside now: a pop's commit may become visible before all are changed.
    fn change_items(&self, machine: &mut Machine, thread: usize, change: impl Fn(u8) -> u8) {
        for place in 1..machine.load(thread, CURRENT) {
            let item = machine.load(thread, PLACES + place);
            machine.store(thread, PLACES + place, change(item));
        }
        machine.next(thread);
    }

    fn open_end(&self, machine: &mut Machine, thread: usize) {
        let end = match machine.load(thread, CURRENT) {
            0 => 0,
            _ => 1 + machine.load(thread, CAPACITY),
        };
        machine.store(thread, END, end);
        machine.next(thread);
    }

    fn open_begin(&self, machine: &mut Machine, thread: usize) {
        let begin = u8::from(machine.load(thread, CURRENT) != 0);
        machine.store(thread, BEGIN, begin);
        machine.next(thread);
    }
}

impl Model for Cache {
    fn operations(&self, thread: usize) -> usize {
        self.programs[thread].len()
    }

    fn section(&self, machine: &Machine, thread: usize) -> Option<u8> {
        match (
            self.operation(machine, thread),
            machine.threads[thread].step,
        ) {
            (Operation::Drain(_) | Operation::Resize(_), _) => None,
            (_, 0..=4) => Some(0),
            (_, 34..=35) => Some(START_SECTION),
            _ => None,
        }
    }

    fn step(&self, machine: &mut Machine, thread: usize) {
        let operation = self.operation(machine, thread);
        match operation {
            Operation::Drain(_) | Operation::Resize(_) => {
                self.step_change(machine, thread, operation);
            }
            _ if machine.threads[thread].step < LOOK => {
                self.step_section(machine, thread, operation);
            }
            _ => self.step_missed(machine, thread, operation),
        }
    }

    fn inside(&self, memory: &[u8]) -> Result<Items, String> {
        let mut inside = 0;
        for place in 1..memory[usize::from(CURRENT)] {
            let item = memory[usize::from(PLACES + place)] & !MARK;
            if inside & 1 << item != 0 {
                return Err(format!("item {item} is inside twice"));
            }
            inside |= 1 << item;
        }
        Ok(inside)
    }

    /// Alone, with a lock that it takes over: it pops all that is inside, and fills the array.
    fn check_child(&self, memory: Vec<u8>) -> Result<(), String> {
        let inside = self.inside(&memory)?;
        let all = usize::from(self.slots) + 1;
        let child = Cache {
            programs: vec![[vec![Operation::Pop; all], vec![Operation::Push; all + 1]].concat()],
            slots: self.slots,
            missing: Missing::Nothing,
            refused: None,
        };
        let mut machine = Machine::new(memory, &[0]);
        machine.memory[usize::from(LOCK)] = 0;
        run_alone(&child, &mut machine, all)?;
        if machine.threads[0].held != inside {
            return Err(format!("a child pops {:#b}", machine.threads[0].held));
        }
        // Of other items, so many that the array must be full in the end.
        machine.threads[0].held = Items::MAX;
        run_alone(&child, &mut machine, 2 * all + 1)?;
        let pushed = machine.threads[0].held.count_zeros() as u8;
        let capacities = self
            .programs
            .iter()
            .flatten()
            .map(|operation| match operation {
                Operation::Resize(capacity) => *capacity,
                _ => self.slots,
            });
        if pushed != self.slots && capacities.clone().all(|capacity| capacity != pushed) {
            return Err(format!("a child has room for {pushed} items"));
        }
        Ok(())
    }
}

/// The only thread makes its steps up to some operation.
fn run_alone(child: &Cache, machine: &mut Machine, operations: usize) -> Result<(), String> {
    for _ in 0..1000 {
        if usize::from(machine.threads[0].operation) == operations {
            return Ok(());
        }
        child.step(machine, 0);
    }
    Err("a child does not come to an end".into())
}
