// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a push or a pop does when its section missed.

use super::{BEGIN, CAPACITY, CLOSED, CURRENT, Cache, END, LOCK, MARK, Operation};
use crate::machine::Machine;

// Steps of what a push or a pop does when its section missed.
pub(super) const LOOK: u8 = 10;
const REOPEN: u8 = 20;
const START: u8 = 30;
pub(super) const START_SECTION: u8 = 34;

impl Cache {
    /// What was in the way of a section, and what is done about it.
    pub(super) fn step_missed(&self, machine: &mut Machine, thread: usize, operation: Operation) {
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
}
