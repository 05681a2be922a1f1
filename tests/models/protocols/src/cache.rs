// SPDX-License-Identifier: MIT OR Apache-2.0
//! One class of a cache, on one vCPU. Addresses are places: place 1 is the first of the array.

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

// Steps of what a push or a pop does when its section missed.
const LOOK: u8 = 10;
const REOPEN: u8 = 20;
const START: u8 = 30;
const START_SECTION: u8 = 34;

// Steps of a drain or a resize.
const UNMARK: u8 = 11;
const SET_BOUNDS: u8 = 12;
const UNLOCK: u8 = 14;
const STAY_CLOSED: u8 = 15;

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

    /// A push or a pop, instruction by instruction.
    fn step_section(&self, machine: &mut Machine, thread: usize, operation: Operation) {
        let [current, item, second, _] = machine.threads[thread].registers;
        let held = machine.threads[thread].held;
        let step = machine.threads[thread].step;
        match (step, operation) {
            (0, Operation::Push) if held == 0 => machine.end(thread),
            (0, _) => {
                machine.threads[thread].registers[0] = machine.load(thread, CURRENT);
                machine.next(thread);
            }
            (1, Operation::Push) if current >= machine.load(thread, END) => {
                machine.threads[thread].step = LOOK;
            }
            (1, Operation::Pop) if current == 0 => machine.threads[thread].step = LOOK,
            (1, Operation::PopBatch) => {
                let begin = machine.load(thread, BEGIN);
                machine.threads[thread].step = if current <= begin { LOOK } else { 2 };
                machine.threads[thread].registers[2] = u8::from(current.saturating_sub(begin) > 1);
            }
            (1, _) => machine.next(thread),
            (2, Operation::Push) => {
                machine.store(thread, PLACES + current, held.trailing_zeros() as u8);
                machine.next(thread);
            }
            (2, _) => {
                let item = machine.load(thread, PLACES + current - 1);
                machine.threads[thread].registers[1] = item;
                machine.next(thread);
                if operation == Operation::Pop && item & MARK != 0 {
                    machine.threads[thread].step = LOOK;
                }
            }
            (3, Operation::PopBatch) if second > 0 => {
                let next = machine.load(thread, PLACES + current - 2);
                // Two items in one register.
                machine.threads[thread].registers[1] = item | (next + 1) << 4;
                machine.next(thread);
            }
            (_, Operation::Push) => {
                machine.store(thread, CURRENT, current + 1);
                machine.threads[thread].held = held & (held - 1);
                machine.end(thread);
            }
            (4, Operation::PopBatch) => {
                machine.store(thread, CURRENT, current - 2);
                machine.threads[thread].held |= 1 << (item & 0xf) | 1 << ((item >> 4) - 1);
                machine.end(thread);
            }
            (..) => {
                machine.store(thread, CURRENT, current - 1);
                machine.threads[thread].held |= 1 << item;
                machine.end(thread);
            }
        }
    }

    /// What was in the way of a section, and what is done about it.
    fn step_missed(&self, machine: &mut Machine, thread: usize, operation: Operation) {
        let step = machine.threads[thread].step;
        match step {
            LOOK => {
                let is_closed = machine.load(thread, BEGIN) == CLOSED;
                let is_fresh = machine.load(thread, END) == 0;
                match operation {
                    _ if is_closed => machine.threads[thread].step = REOPEN,
                    Operation::Push if is_fresh => machine.threads[thread].step = START,
                    _ => machine.end(thread),
                }
            }
            REOPEN | START if !self.lock(machine, thread) => machine.end(thread),
            21 if machine.load(thread, BEGIN) == CLOSED => {
                machine.next(thread);
                machine.fence(self);
            }
            21 => machine.threads[thread].step = 25,
            22 => self.change_items(machine, thread, |item| item & !MARK),
            23 => self.open_end(machine, thread),
            24 => self.open_begin(machine, thread),
            31 => {
                let is_closed = machine.load(thread, BEGIN) == CLOSED;
                let is_fresh = !is_closed && machine.load(thread, END) == 0;
                machine.threads[thread].step = if is_fresh { 32 } else { 37 };
            }
            32 => {
                machine.store(thread, BEGIN, 1);
                machine.next(thread);
            }
            33 if machine.load(thread, CURRENT) == 0 => {
                machine.store(thread, CAPACITY, self.slots);
                machine.next(thread);
            }
            33 => machine.threads[thread].step = 36,
            START_SECTION => {
                let is_first = machine.load(thread, CURRENT) == 0;
                machine.threads[thread].step = if is_first { 35 } else { 37 };
            }
            35 => {
                machine.store(thread, CURRENT, 1);
                machine.next(thread);
            }
            36 => {
                let end = 1 + machine.load(thread, CAPACITY);
                machine.store(thread, END, end);
                machine.next(thread);
            }
            25 | 37 => {
                machine.store(thread, LOCK, 0);
                self.try_again(machine, thread);
            }
            _ => machine.next(thread),
        }
    }

    /// Once; how often does not matter.
    fn try_again(&self, machine: &mut Machine, thread: usize) {
        let state = &mut machine.threads[thread];
        state.step = 0;
        state.registers[3] += 1;
        if state.registers[3] == 2 {
            machine.end(thread);
        }
    }

    /// Of what is inside now: a pop's commit may become visible before all are changed.
    fn change_items(&self, machine: &mut Machine, thread: usize, change: impl Fn(u8) -> u8) {
        for place in 1..machine.load(thread, CURRENT) {
            let item = machine.load(thread, PLACES + place);
            machine.store(thread, PLACES + place, change(item));
        }
        machine.next(thread);
    }

    /// A fence of a drain or a resize; where it is refused, `otherwise` is the next step.
    fn change_fence(&self, machine: &mut Machine, thread: usize, fence: Missing, otherwise: u8) {
        machine.next(thread);
        if self.refused == Some(fence) {
            machine.threads[thread].step = otherwise;
        } else if self.missing != fence {
            machine.fence(self);
        }
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

    /// A drain or a resize.
    fn step_change(&self, machine: &mut Machine, thread: usize, operation: Operation) {
        let [before, after, taken, capacity] = machine.threads[thread].registers;
        let step = machine.threads[thread].step;
        match step {
            0 if !self.lock(machine, thread) => machine.end(thread),
            1 if self.missing != Missing::Begin => {
                machine.store(thread, BEGIN, CLOSED);
                machine.next(thread);
            }
            2 if self.missing != Missing::End => {
                machine.store(thread, END, 0);
                machine.next(thread);
            }
            3 => self.change_fence(machine, thread, Missing::ClosingFence, SET_BOUNDS),
            4 if self.missing != Missing::Marks => {
                self.change_items(machine, thread, |item| item | MARK);
            }
            5 => self.change_fence(machine, thread, Missing::MarkingFence, UNMARK),
            6 => {
                let before = machine.load(thread, CURRENT);
                let held = before.saturating_sub(1);
                let after = match operation {
                    Operation::Drain(count) => before - count.min(held),
                    Operation::Resize(capacity) if before > 0 => 1 + held.min(capacity),
                    _ => 1,
                };
                let capacity = machine.load(thread, CAPACITY);
                machine.threads[thread].registers = [before, after, 0, capacity];
                machine.next(thread);
            }
            7 => {
                if let Operation::Resize(capacity) = operation {
                    machine.store(thread, CAPACITY, capacity);
                }
                machine.next(thread);
            }
            8 => {
                let places = after.max(1)..before.max(1);
                let items = places.map(|place| machine.load(thread, PLACES + place) & !MARK);
                machine.threads[thread].registers[2] = items.fold(0, |set, item| set | 1 << item);
                machine.next(thread);
            }
            9 if before != after => {
                machine.store(thread, CURRENT, after);
                machine.threads[thread].held |= Items::from(taken);
                machine.next(thread);
            }
            9 => machine.threads[thread].step = UNMARK,
            10 => self.change_fence(machine, thread, Missing::OpeningFence, STAY_CLOSED),
            UNMARK => self.change_items(machine, thread, |item| item & !MARK),
            SET_BOUNDS => self.open_end(machine, thread),
            13 => self.open_begin(machine, thread),
            UNLOCK => {
                machine.store(thread, LOCK, 0);
                machine.end(thread);
            }
            STAY_CLOSED => {
                machine.store(thread, CURRENT, before);
                machine.threads[thread].held &= !Items::from(taken);
                machine.next(thread);
            }
            16 => {
                machine.store(thread, CAPACITY, capacity);
                machine.threads[thread].step = UNLOCK;
            }
            _ => machine.next(thread),
        }
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
